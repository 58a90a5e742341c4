"""Clears intents out of the way of a request: asks the holder's anchor for its fate, and makes decided intents final.

Whoever meets an intent does this, so a transaction whose coordinator is gone is finished by the next one who cares.
Waiting polls: with wound-wait a waiter is younger than the one it waits for, so nobody waits in a circle, and a missed
wake-up costs a pause, never a hang.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from reference_db.api import (
    Conflict,
    IntentConflict,
    Pushed,
    PushKind,
    PushTransaction,
    RangeError,
    RecordState,
    ResolveIntents,
    TimedOut,
    Transaction,
    TransactionStatus,
)
from reference_db.gateway.cutting import group_keys
from reference_db.gateway.router import Router
from reference_db.timestamp import Timestamp
from reference_db.trace import Trace

POLL_FIRST_S = 0.004
POLL_MOST_S = 0.1


@dataclass(frozen=True, slots=True)
class Cleared:
    """The way is free: `pushed` goes with the repeated request. Or `error`: it is not, and the request must end."""

    pushed: tuple[Pushed, ...] = ()
    error: RangeError | None = None


class Pusher:
    """Pushes on behalf of the requests of one node."""

    def __init__(self, router: Router, random_stream: random.Random, trace: Trace | None = None) -> None:
        self._router = router
        self._random = random_stream
        self._trace = trace

    async def clear(
        self,
        conflict: IntentConflict,
        deadline: float,
        pusher: Transaction | None = None,
        pushed: tuple[Pushed, ...] = (),
    ) -> Cleared:
        """Push every transaction in the way once, resolve what is decided, wait where we are the younger."""
        by_id = {one.transaction_id: one for one in pushed}
        holders: dict[bytes, list[Conflict]] = {}
        for one in conflict.conflicts:
            holders.setdefault(one.transaction.id, []).append(one)
        for held in holders.values():
            error = await self._clear_one(held, conflict.kind, conflict.above, deadline, pusher, by_id)
            if error is not None:
                return Cleared(error=error)
        return Cleared(tuple(by_id.values()))

    async def _clear_one(
        self,
        held: list[Conflict],
        kind: PushKind,
        above: Timestamp,
        deadline: float,
        pusher: Transaction | None,
        pushed: dict[bytes, Pushed],
    ) -> RangeError | None:
        holder = held[0].transaction
        pause = POLL_FIRST_S
        while True:
            reply = await self._router.send(
                (PushTransaction(holder, kind, pusher, above),), deadline, repeatable=True
            )
            if reply.error is not None:
                # A push changes nothing of the request itself, so whatever happened to it, the request has not.
                return TimedOut(f"waiting for a lock: {getattr(reply.error, 'reason', reply.error)}")
            state = reply.results[0]
            assert isinstance(state, RecordState), f"a push was answered with {state!r}"
            if state.status != TransactionStatus.PENDING:
                return await self._resolve(held, state, deadline)
            if kind == PushKind.TIMESTAMP:
                if self._trace is not None:
                    self._trace.mark("a reader pushed a transaction's timestamp")
                pushed[holder.id] = Pushed(holder.id, state.floor)
                return None
            if self._trace is not None:
                self._trace.mark("a writer waits for an older transaction")
            left = deadline - self._router.now()
            if left <= 0:
                return TimedOut("waiting for a lock that an older transaction holds")
            await asyncio.sleep(min(pause * (0.5 + self._random.random()), left))
            pause = min(2 * pause, POLL_MOST_S)

    async def _resolve(self, held: list[Conflict], state: RecordState, deadline: float) -> RangeError | None:
        status = (
            TransactionStatus.COMMITTED
            if state.status == TransactionStatus.COMMITTED
            else TransactionStatus.ABORTED
        )
        if self._trace is not None:
            if status == TransactionStatus.COMMITTED:
                self._trace.mark("somebody resolved the intents of a committed transaction")
            else:
                self._trace.mark("somebody resolved the intents of an aborted transaction")
        for keys in group_keys([one.key for one in held], self._router.directory):
            resolve = ResolveIntents(held[0].transaction.id, tuple(keys), status, state.commit_timestamp)
            reply = await self._router.send((resolve,), deadline, repeatable=True)
            if reply.error is not None:
                return TimedOut(f"resolving an intent: {getattr(reply.error, 'reason', reply.error)}")
        return None
