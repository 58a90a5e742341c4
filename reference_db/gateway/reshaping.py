"""Splits ranges on behalf of whoever asks: finds the range, gets an id that no range ever had, and tells its leader.

Ids come from a counter that is a key like any other, but for the system's part of the keyspace that it lies in
(`SYSTEM_END`), so it is replicated, moves with its range, and needs nobody who could be down alone. Each id is taken by
one compare-and-set; one whose outcome is not known is never used. To take one costs a round in the first range, and
needs that range; splits that come fast could take them in blocks.
"""

from __future__ import annotations

import asyncio
import random

from reference_db.api import (
    SYSTEM_END,
    Ambiguous,
    BadRequest,
    CompareAndSet,
    Compared,
    Get,
    IntentConflict,
    Key,
    RangeError,
    ReadUncertain,
    Reshaped,
    SplitRange,
    TimedOut,
    ValueResult,
)
from reference_db.api import ClientError as Refusal
from reference_db.gateway.coordinator import Failed
from reference_db.gateway.router import Router
from reference_db.ranges.descriptor import Descriptor, decode_descriptor

RANGE_IDS = b"\x00range-ids"
"""The largest id that was ever given to a range that came from a split, in decimal digits."""
AGAIN_S = 0.01


class Reshaper:
    """Changes of ranges that this node is asked for."""

    def __init__(self, router: Router, random_stream: random.Random, first_ranges: int) -> None:
        """`first_ranges`: how many ranges the cluster began with; their ids are 1 to this."""
        assert RANGE_IDS < SYSTEM_END, f"{RANGE_IDS!r} is a key that clients may use"
        self._router = router
        self._random = random_stream
        self._first_ranges = first_ranges

    async def split(self, key: Key, deadline: float) -> list[Descriptor]:
        """Cut the range of a key in two before it; the ranges that came of it, or the one that begins there already.
        Raises Failed; after `Ambiguous` it may have been done."""
        if key < SYSTEM_END:
            raise Failed(BadRequest(f"a range can be split at keys from {SYSTEM_END!r} on, not at {key!r}"))
        known = self._router.directory.find(key)
        if known.start == key:
            return [known]
        right_id = await self._take_id(deadline)
        reply = await self._router.send((SplitRange(key, right_id),), deadline, repeatable=False)
        if reply.error is not None:
            raise _failed(reply.error)
        result = reply.results[0]
        assert isinstance(result, Reshaped), f"a split was answered with {result!r}"
        descriptors = [decode_descriptor(encoded) for encoded in result.descriptors]
        for descriptor in descriptors:
            self._router.directory.learn(descriptor)
        return descriptors

    async def _take_id(self, deadline: float) -> int:
        """An id that no range ever had. Raises Failed."""
        known = await self._until_read(deadline)
        while True:
            new = 1 + (self._first_ranges if known is None else int(known))
            wish = CompareAndSet(RANGE_IDS, known, b"%d" % new)
            reply = await self._router.send((wish,), deadline, repeatable=False)
            match reply.error:
                case None:
                    result = reply.results[0]
                    assert isinstance(result, Compared), f"a compare-and-set was answered with {result!r}"
                    if result.applied:
                        return new
                    known = result.current
                case Ambiguous() if self._router.now() < deadline:
                    # Perhaps it was taken, and nobody will ever have it.
                    known = await self._until_read(deadline)
                case error:
                    raise _failed(error)

    async def _until_read(self, deadline: float) -> bytes | None:
        while True:
            reply = await self._router.send((Get(RANGE_IDS),), deadline, repeatable=True)
            match reply.error:
                case None:
                    result = reply.results[0]
                    assert isinstance(result, ValueResult), f"a get was answered with {result!r}"
                    return result.value
                case ReadUncertain() | IntentConflict() if self._router.now() < deadline:
                    await asyncio.sleep(AGAIN_S * (0.5 + self._random.random()))
                case error:
                    raise _failed(error)


def _failed(error: RangeError) -> Failed:
    return Failed(error) if isinstance(error, Refusal) else Failed(TimedOut(str(error)))
