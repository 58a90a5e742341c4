"""Splits and merges ranges on behalf of whoever asks, and undoes merges that nobody has finished.

A split finds the range, gets an id that no range ever had, and tells the leader. A merge takes the steps of
`ranges.merge`, one after the other; whatever goes wrong, it is undone, by the same node or, if that dies, by the one
that leads the frozen range.

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
    AbsorbRange,
    Ambiguous,
    AwaitFrozen,
    BadRequest,
    BumpRange,
    CompareAndSet,
    Compared,
    FreezeRange,
    Get,
    IntentConflict,
    Key,
    RangeError,
    RangeReply,
    RangeRequest,
    ReadUncertain,
    Reshaped,
    SplitRange,
    ThawRange,
    TimedOut,
    Unavailable,
    ValueResult,
)
from reference_db.api import ClientError as Refusal
from reference_db.gateway.moving import Mover
from reference_db.gateway.open_transaction import Failed
from reference_db.gateway.router import Router
from reference_db.ranges.descriptor import Descriptor, decode_descriptor, encode_descriptor

RANGE_IDS = b"\x00range-ids"
"""The largest id that was ever given to a range that came from a split, in decimal digits."""
AGAIN_S = 0.01
FROZEN_S = 1.0
"""How long all replicas of a range may take to freeze before a merge is given up: its clients wait meanwhile."""
ABSORB_S = 1.0
"""How long the left range may take."""
UNDO_S = 5.0
"""How long this node tries to undo a merge, before it leaves that to the frozen range's leader."""


class Reshaper:
    """Changes of ranges that this node is asked for."""

    def __init__(self, router: Router, random_stream: random.Random, first_ranges: int, mover: Mover) -> None:
        """`first_ranges`: how many ranges the cluster began with; their ids are 1 to this. `mover` brings ranges that
        are to be merged to the same nodes."""
        assert RANGE_IDS < SYSTEM_END, f"{RANGE_IDS!r} is a key that clients may use"
        self._router = router
        self._random = random_stream
        self._first_ranges = first_ranges
        self._mover = mover

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

    async def merge(self, key: Key, deadline: float) -> Descriptor:
        """Merge the range of a key with its right neighbour; the range that came of it. Raises Failed; what is under
        way then is undone, at the latest by the frozen range's leader, unless it was done after all."""
        directory = self._router.directory
        left = directory.find(key)
        if left.end is None:
            raise Failed(BadRequest(f"range {left.id} is the last one: there is nothing to merge it with"))
        right = directory.find(left.end)
        if left.is_moving or right.is_moving or sorted(left.replicas) != sorted(right.replicas):
            left, right = await self._mover.align(left, right, deadline)
        assert left.end is not None, f"{left} has no right neighbour"
        freeze = FreezeRange(left.end, left.id, left.generation, left.start)
        limit = min(deadline, self._router.now() + FROZEN_S)
        reply = await self._router.send((freeze,), limit, repeatable=True)
        if isinstance(reply.error, (Ambiguous, TimedOut)):
            # It may be frozen, and in which generation is not known: its leader will notice.
            raise Failed(
                Unavailable(f"range {right.id} did not answer whether it is frozen; it will be thawed")
            )
        right = _only(reply)
        frozen_at = reply.timestamp
        assert right.merging is not None, f"{right} was frozen, and is not"
        try:
            if not await self._all_frozen(right, limit):
                raise Failed(
                    Unavailable(f"not every replica of range {right.id} has answered; it is thawed again")
                )
            absorb = AbsorbRange(left.start, encode_descriptor(right))
            limit = min(deadline, self._router.now() + ABSORB_S)
            reply = await self._router.send((absorb,), limit, repeatable=True, timestamp=frozen_at)
            return self._learn(_only(reply))
        except Failed as failed:
            merged = await self.undo(right)
            if merged is not None:
                return merged
            raise failed

    async def _all_frozen(self, right: Descriptor, deadline: float) -> bool:
        """Whether every replica says that it is frozen, durably, in time."""
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[RangeReply]] = []
        for node in right.replicas:
            answer: asyncio.Future[RangeReply] = loop.create_future()
            wait = AwaitFrozen(right.start, right.generation)
            request = RangeRequest(self._router.next_id(), right.id, right.generation, (wait,))
            self._router.ask(node, request, deadline, answer.set_result)
            answers.append(answer)
        return all([reply.error is None for reply in await asyncio.gather(*answers)])

    async def undo(self, right: Descriptor) -> Descriptor | None:
        """Let a frozen range serve again, unless it was absorbed: then the range that did. Raises Failed where neither
        could be found out; then its leader will try again."""
        merging = right.merging
        assert merging is not None, f"{right} is not frozen"
        deadline = self._router.now() + UNDO_S
        bump = BumpRange(merging.left_start, merging.left_id, merging.left_generation)
        left = self._learn(_only(await self._router.send((bump,), deadline, repeatable=True)))
        if right.id in left.absorbed:
            return left
        thaw = ThawRange(right.start, right.id, right.generation)
        self._learn(_only(await self._router.send((thaw,), deadline, repeatable=True)))
        return None

    def _learn(self, descriptor: Descriptor) -> Descriptor:
        self._router.directory.learn(descriptor)
        return descriptor

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


def _only(reply: RangeReply) -> Descriptor:
    """The one range that a step was answered with. Raises Failed."""
    if reply.error is not None:
        raise _failed(reply.error)
    (result,) = reply.results
    assert isinstance(result, Reshaped), f"a change of a range was answered with {result!r}"
    (encoded,) = result.descriptors
    return decode_descriptor(encoded)


def _failed(error: RangeError) -> Failed:
    return Failed(error) if isinstance(error, Refusal) else Failed(TimedOut(str(error)))
