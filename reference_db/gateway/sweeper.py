"""Tidies up behind transactions whose coordinator is gone, without waiting for somebody to stumble over them.

The leader of a range looks at its intents and records every few seconds. What it has seen unchanged for a while has
lost its coordinator, or has a very slow one. An intent is pushed: its holder is aborted only once its anchor has found
it silent for long enough. A decided record has all its intents resolved and is then forgotten. Both only do what any
coordinator or pusher may do at any time, so it does not matter who else is at it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from reference_db.api import (
    Conflict,
    DeleteRecord,
    IntentConflict,
    Overloaded,
    PushKind,
    RangeOperation,
    RangeReply,
    ResolveIntents,
    TransactionStatus,
)
from reference_db.gateway.cutting import group_keys, range_of
from reference_db.gateway.pusher import Pusher
from reference_db.gateway.router import Router
from reference_db.trace import Trace
from reference_db.txn.record import TransactionRecord
from reference_db.txn.state import RangeState

PATIENCE_SWEEPS = 3
"""How many sweeps a coordinator has to do its own work."""
BUDGET_S = 1.0
"""How long one push or resolution may take."""
MOST_AT_ONCE = 100
REFUSED_FIRST_S = 0.02
REFUSED_MOST_S = 0.2
"""A sweep sends much at once. What an overloaded node refuses of it comes again after such a pause, first and longest:
left for the next sweep, leftovers would come faster than they go."""

_UNDECIDED = (TransactionStatus.PENDING, TransactionStatus.STAGING)


class Sweeper:
    """The sweeps of one node, over the ranges that it leads."""

    def __init__(self, router: Router, pusher: Pusher, trace: Trace | None = None) -> None:
        self._router = router
        self._pusher = pusher
        self._trace = trace
        self._seen: dict[tuple[int, bytes, bytes], int] = {}
        """(range, transaction, key or b"" for the record): in how many sweeps in a row it was there."""

    async def sweep(self, led: Iterable[tuple[int, RangeState, int]]) -> None:
        """One sweep over (range id, state, term) of the ranges that this node leads."""
        seen: dict[tuple[int, bytes, bytes], int] = {}
        intents: list[Conflict] = []
        records: list[TransactionRecord] = []
        for range_id, state, _term in led:
            for key, intent in state.locks.items():
                mark = (range_id, intent.transaction.id, key)
                seen[mark] = self._seen.get(mark, 0) + 1
                if seen[mark] > PATIENCE_SWEEPS:
                    intents.append(Conflict(key, intent.transaction, intent.timestamp))
            for record in list(state.records.values()):
                mark = (range_id, record.transaction.id, b"")
                seen[mark] = self._seen.get(mark, 0) + 1
                if seen[mark] > PATIENCE_SWEEPS:
                    records.append(record)
        self._seen = seen
        by_holder: dict[bytes, list[Conflict]] = {}
        for conflict in intents[:MOST_AT_ONCE]:
            by_holder.setdefault(conflict.transaction.id, []).append(conflict)
        if by_holder and self._trace is not None:
            self._trace.mark("an intent without a coordinator was swept")
        # All at the same time: one whose anchor is not there must not keep the others waiting.
        deadline = self._router.now() + BUDGET_S
        await asyncio.gather(
            *(
                self._pusher.clear(IntentConflict(tuple(held), PushKind.ABORT), deadline)
                for held in by_holder.values()
            ),
            *(
                self._pusher.settle(record.transaction, deadline)
                for record in records[:MOST_AT_ONCE]
                if record.status in _UNDECIDED
            ),
            self._finish(
                [record for record in records if record.status not in _UNDECIDED][:MOST_AT_ONCE],
                deadline,
            ),
        )

    async def _finish(self, records: list[TransactionRecord], deadline: float) -> None:
        """Resolve the intents of decided records, and forget those of which none is left. One request asks a range for
        many: a range that has room for few gets through with them all the same."""
        if not records:
            return
        directory = self._router.directory
        unresolved: dict[bytes, int] = {}
        resolved: dict[tuple[int, int], list[ResolveIntents]] = {}
        for record in records:
            groups = group_keys(record.keys, directory)
            unresolved[record.transaction.id] = len(groups)
            for mine in groups:
                resolved.setdefault(range_of(mine[0], directory), []).append(
                    ResolveIntents(record.transaction.id, tuple(mine), record.status, record.commit_timestamp)
                )

        async def resolve_together(together: list[ResolveIntents]) -> None:
            reply = await self._send(tuple(together), deadline)
            if reply.error is None:
                for one in together:
                    unresolved[one.transaction_id] -= 1

        await asyncio.gather(*(resolve_together(some) for _, some in sorted(resolved.items())))
        forgotten: dict[tuple[int, int], list[DeleteRecord]] = {}
        for record in records:
            if not unresolved[record.transaction.id]:
                at = range_of(record.transaction.anchor, directory)
                forgotten.setdefault(at, []).append(DeleteRecord(record.transaction))
        if forgotten and self._trace is not None:
            self._trace.mark("a record without a coordinator was swept")
        await asyncio.gather(*(self._send(tuple(some), deadline) for _, some in sorted(forgotten.items())))

    async def _send(self, operations: tuple[RangeOperation, ...], deadline: float) -> RangeReply:
        pause = REFUSED_FIRST_S
        while True:
            reply = await self._router.send(operations, deadline, repeatable=True)
            left = deadline - self._router.now()
            if left <= 0 or not isinstance(reply.error, Overloaded):
                return reply
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, REFUSED_MOST_S)
