"""Clears intents out of the way of a request: asks the holder's anchor for its fate, and makes decided intents final.

Whoever meets an intent does this, so a transaction whose coordinator is gone is finished by the next one who cares.
A STAGING transaction may be committed though nobody has written so. Who meets its intent waits for its coordinator to
say; where that one is silent, or the one who waits is older and might be waited for, recovery finds out: every key that
the record names is asked for its intent, and an intent that is not there is kept from ever coming (`QueryIntent`). All
are there: it is committed, else it is aborted (Taft et al., CockroachDB, SIGMOD 2020, section 3.3).

Waiting polls: with wound-wait a waiter is younger than the one it waits for, so nobody waits in a circle, and a missed
wake-up costs a pause, never a hang.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from reference_db.api import (
    CheckLock,
    Conflict,
    IntentConflict,
    IntentState,
    LockState,
    Pushed,
    PushKind,
    PushTransaction,
    QueryIntent,
    RangeError,
    RangeReply,
    RecordState,
    RecoverTransaction,
    ResolveIntents,
    TimedOut,
    Transaction,
    TransactionProtocol,
    TransactionStatus,
)
from reference_db.gateway.cutting import group_keys
from reference_db.gateway.router import Part, Router
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
        if holder.protocol == TransactionProtocol.TWO_PHASE:
            # Nobody but its coordinator knows what becomes of it: all that is left is to look again.
            if self._trace is not None:
                self._trace.mark("a lock of two-phase commit was in the way")
            await asyncio.sleep(max(min(POLL_MOST_S, deadline - self._router.now()), 0))
            return (
                None
                if self._router.now() < deadline
                else TimedOut("waiting for a lock that only its owner removes")
            )
        pause = POLL_FIRST_S
        has_waited = False
        while True:
            reply = await self._router.send(
                (PushTransaction(holder, kind, pusher, above),), deadline, repeatable=True
            )
            if reply.error is not None:
                # A push changes nothing of the request itself, so whatever happened to it, the request has not.
                return TimedOut(f"waiting for a lock: {getattr(reply.error, 'reason', reply.error)}")
            state = reply.results[0]
            assert isinstance(state, RecordState), f"a push was answered with {state!r}"
            if state.status == TransactionStatus.STAGING and state.keys and has_waited:
                reply = await self.recover(holder, state, deadline)
                if reply.error is not None:
                    return TimedOut(
                        f"recovering a transaction: {getattr(reply.error, 'reason', reply.error)}"
                    )
                state = reply.results[0]
                assert isinstance(state, RecordState), f"a recovery was answered with {state!r}"
            is_staging = state.status == TransactionStatus.STAGING
            if state.status != TransactionStatus.PENDING and not is_staging:
                return await self._resolve(held, state, deadline)
            is_record = holder.protocol == TransactionProtocol.RECORD
            if kind == PushKind.TIMESTAMP and is_record and not is_staging:
                if self._trace is not None:
                    self._trace.mark("a reader pushed a transaction's timestamp")
                pushed[holder.id] = Pushed(holder.id, state.floor)
                return None
            if self._trace is not None:
                if is_staging:
                    self._trace.mark("somebody waits for a transaction that may be committed")
                elif kind == PushKind.TIMESTAMP:
                    self._trace.mark("a reader waits for a primary lock")
                else:
                    self._trace.mark("a writer waits for an older transaction")
            left = deadline - self._router.now()
            if left <= 0:
                return TimedOut("waiting for a lock that another transaction holds")
            await asyncio.sleep(min(pause * (0.5 + self._random.random()), left))
            pause = min(2 * pause, POLL_MOST_S)
            has_waited = True

    async def recover(self, holder: Transaction, state: RecordState, deadline: float) -> RangeReply:
        """Find out what became of a STAGING transaction, and have its record say so. `state` names its keys. The reply
        carries its `RecordState` then, decided unless somebody else was at it; or why that could not be found out."""
        if holder.protocol == TransactionProtocol.PRIMARY_LOCK:
            return await self._recover_by_locks(holder, state, deadline)
        staged_at = state.commit_timestamp
        parts: list[Part] = [
            tuple([QueryIntent(key, holder.id) for key in mine])
            for mine in group_keys(state.keys, self._router.directory)
        ]
        committed = True
        for reply in await self._router.send_together(parts, deadline, timestamp=staged_at):
            if reply.error is not None:
                return reply
            for result in reply.results:
                assert isinstance(result, IntentState), (
                    f"a question for an intent was answered with {result!r}"
                )
                committed = committed and result.found
        return await self._decide_for(holder, staged_at, committed, deadline)

    async def _recover_by_locks(self, holder: Transaction, state: RecordState, deadline: float) -> RangeReply:
        """The same of a transaction whose locks are its commit: are all there?"""
        parts: list[Part] = [
            tuple([CheckLock(key, holder) for key in mine])
            for mine in group_keys(state.keys, self._router.directory)
        ]
        committed, at = True, state.commit_timestamp
        for reply in await self._router.send_together(parts, deadline):
            if reply.error is not None:
                return reply
            for result in reply.results:
                assert isinstance(result, LockState), f"a question for a lock was answered with {result!r}"
                committed = committed and result.found
                at = max(at, result.commit_from)
        return await self._decide_for(holder, at, committed, deadline)

    async def _decide_for(
        self, holder: Transaction, staged_at: Timestamp, committed: bool, deadline: float
    ) -> RangeReply:
        decide = RecoverTransaction(holder, staged_at, committed)
        reply = await self._router.send((decide,), deadline, repeatable=True)
        if reply.error is None and self._trace is not None:
            if committed:
                self._trace.mark("a staging transaction was recovered as committed")
            else:
                self._trace.mark("a staging transaction was recovered as aborted")
        return reply

    async def settle(self, holder: Transaction, deadline: float) -> None:
        """Push a transaction that nobody seems to drive; nobody waits for it."""
        push = PushTransaction(holder, PushKind.ABORT)
        reply = await self._router.send((push,), deadline, repeatable=True)
        if reply.error is None:
            state = reply.results[0]
            assert isinstance(state, RecordState), f"a push was answered with {state!r}"
            if state.status == TransactionStatus.STAGING and state.keys:
                await self.recover(holder, state, deadline)

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
        # One intent may have been met several times, by reads of intervals that overlap for instance.
        for keys in group_keys(list(dict.fromkeys(one.key for one in held)), self._router.directory):
            resolve = ResolveIntents(held[0].transaction.id, tuple(keys), status, state.commit_timestamp)
            reply = await self._router.send((resolve,), deadline, repeatable=True)
            if reply.error is not None:
                return TimedOut(f"resolving an intent: {getattr(reply.error, 'reason', reply.error)}")
        return None
