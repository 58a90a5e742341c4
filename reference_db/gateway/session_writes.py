"""Writes of sessions: sent until there is an answer, since what was carried out already is answered and not repeated.

Whatever is refused after an attempt that may have arrived is not definite, for the earlier attempt may yet have been
carried out: it comes back as `Ambiguous`, and the client may send the same write again, through whatever node.
"""

from __future__ import annotations

import asyncio
import random

import msgspec

from reference_db.api import (
    Add,
    Ambiguous,
    BadRequest,
    ClientAdd,
    ClientCompareAndSet,
    ClientDelete,
    ClientOperation,
    ClientPut,
    CompareAndSet,
    Delete,
    IntentConflict,
    Pushed,
    Put,
    RangeReply,
    ReadUncertain,
    SessionWrite,
    TimedOut,
    Unavailable,
)
from reference_db.gateway.pusher import Pusher
from reference_db.gateway.router import ATTEMPT_S, Router
from reference_db.storage.keys import SESSION_ID_BYTES
from reference_db.timestamp import HybridClock

PAUSE_S = 0.02


class SessionWrites:
    """Opens sessions and sends their writes, on one node."""

    def __init__(
        self, router: Router, pusher: Pusher, clock: HybridClock, random_stream: random.Random
    ) -> None:
        self._router = router
        self._pusher = pusher
        self._clock = clock
        self._random = random_stream

    def open(self) -> list[bytes | int]:
        """A new session: what `OpenSession` is answered with."""
        since = self._clock.now()
        return [self._random.randbytes(SESSION_ID_BYTES), since.wall_ns, since.logical]

    async def write(self, operation: ClientOperation, write: SessionWrite, deadline: float) -> RangeReply:
        """The leader's reply, or an error: definite only if no attempt, here or before, can have been carried out."""
        match operation:
            case ClientPut(transaction=0):
                single: Put | Delete | CompareAndSet | Add = Put(operation.key, operation.value)
            case ClientDelete(transaction=0):
                single = Delete(operation.key)
            case ClientCompareAndSet():
                single = CompareAndSet(operation.key, operation.expected, operation.new)
            case ClientAdd():
                single = Add(operation.key, operation.amount)
            case _:
                text = f"{type(operation).__name__} belongs to no session: single writes outside of transactions do"
                return RangeReply(0, error=BadRequest(text))
        may_have_arrived = write.is_retry
        pushed: tuple[Pushed, ...] = ()
        now = self._router.now
        while True:
            write = msgspec.structs.replace(write, is_retry=may_have_arrived)
            reply = await self._router.send(
                (single,),
                min(deadline, now() + ATTEMPT_S),
                repeatable=False,
                timestamp=write.since,
                pushed=pushed,
                write=write,
            )
            match reply.error:
                case None:
                    return reply
                case IntentConflict() as conflict:
                    cleared = await self._pusher.clear(conflict, deadline, None, pushed)
                    if cleared.error is not None:
                        reason = getattr(cleared.error, "reason", str(cleared.error))
                        return _refusal(may_have_arrived, TimedOut(reason))
                    pushed = cleared.pushed
                    continue
                case Ambiguous():
                    may_have_arrived = True
                case TimedOut() | Unavailable() | ReadUncertain():
                    pass
                case error:
                    return _refusal(may_have_arrived, error)
            if now() >= deadline:
                return _refusal(may_have_arrived, reply.error)
            await asyncio.sleep(PAUSE_S * (0.5 + self._random.random()))


def _refusal(may_have_arrived: bool, error: object) -> RangeReply:
    """A refusal of the last attempt says nothing about those before it."""
    if may_have_arrived:
        return RangeReply(0, error=Ambiguous(f"an earlier attempt may have arrived; the last one: {error}"))
    return RangeReply(0, error=error)  # type: ignore[arg-type]
