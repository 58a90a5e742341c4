"""Protocol `two-phase`, as in textbooks: the decision is in the coordinator's memory only. Kept as a warning.

1. Prepare: lay intents in all ranges at once. Each range that takes them has voted yes. One that cannot, because
   another transaction's intent is there, has voted no; nobody waits for a lock with locks of its own, so nobody waits
   in a circle.
2. Decide: all votes are yes, and what was read is the same at the largest timestamp of the votes (as in protocol
   `record`). Nothing is written. Answer the client.
3. Tell every range the decision, again and again until it has answered.

Nobody but the coordinator knows what was decided, so nobody but the coordinator can make an intent final or remove it.
If its node dies between the first intent and the last answer of step 3, the intents that are left stand for ever, and
whoever needs those keys waits for ever: the blocking problem of two-phase commit (Gray 1978; Bernstein, Hadzilacos,
Goodman 1987, 7.4). The other two protocols are its two remedies. A run with `kill` finds the locks when all is over.
"""

from __future__ import annotations

import asyncio

from reference_db.api import (
    IntentConflict,
    RangeOperation,
    RangeReply,
    ResolveIntents,
    Transaction,
    TransactionRetry,
    TransactionStatus,
    WriteIntent,
)
from reference_db.gateway.cutting import group_keys
from reference_db.gateway.fault_points import Forsaken
from reference_db.gateway.open_transaction import Failed, OpenTransaction
from reference_db.gateway.protocols.record import RecordProtocol
from reference_db.gateway.router import Part
from reference_db.timestamp import ZERO, Timestamp

TELL_S = 2.0
"""How long a range has to answer before it is told again."""
PAUSE_S = 0.2
"""Between one telling and the next."""


class TwoPhaseProtocol(RecordProtocol):
    """Drives the transactions of one node that follow it."""

    async def _commit(self, open_one: OpenTransaction, transaction: Transaction, deadline: float) -> None:
        keys = tuple(open_one.writes)
        start = open_one.read_timestamp if open_one.read_timestamp is not None else self._clock.now()
        parts: list[Part] = [
            tuple([WriteIntent(key, open_one.writes[key], 1) for key in mine])
            for mine in group_keys(keys, self._router.directory)
        ]
        try:
            replies = await self._send_all(
                "intents", parts, deadline, timestamp=start, transaction=transaction
            )
            votes = await self._each(
                lambda operations, reply: self._vote(open_one, operations, reply), parts, replies
            )
            commit_at = max((start, *votes))
            self._fault_points.reached("intents-laid")
            if open_one.reads and commit_at > start:
                await self._move_to_commit(open_one, transaction, commit_at, deadline)
                self._fault_points.reached("reads-moved")
            open_one.committed_at = commit_at
            self._fault_points.reached("decided")
        except Forsaken:
            raise
        except BaseException:
            self._spawn(self._tell(transaction, keys, TransactionStatus.ABORTED, ZERO))
            raise
        self._spawn(self._tell(transaction, keys, TransactionStatus.COMMITTED, commit_at))

    async def _vote(
        self, open_one: OpenTransaction, operations: tuple[RangeOperation, ...], reply: RangeReply
    ) -> Timestamp:
        """What a range has voted: the timestamp of its intents. Raises Failed."""
        match reply.error:
            case None:
                return reply.timestamp
            case IntentConflict():
                raise Failed(TransactionRetry("a key is locked by another transaction", open_one.priority))
            case _:
                raise self._failed(open_one, reply)

    async def _tell(
        self,
        transaction: Transaction,
        keys: tuple[bytes, ...],
        status: TransactionStatus,
        commit_at: Timestamp,
    ) -> None:
        """Tell the ranges of these keys what was decided, for as long as this node lives."""
        if status == TransactionStatus.COMMITTED and self._fault_points.kills("acknowledged"):
            return
        left = [
            (ResolveIntents(transaction.id, tuple(mine), status, commit_at),)
            for mine in group_keys(keys, self._router.directory)
        ]
        while left:
            try:
                replies = await self._send_all(
                    "resolutions", left, self._router.now() + TELL_S, transaction=transaction
                )
            except Forsaken:
                return
            left = [part for part, reply in zip(left, replies, strict=True) if reply.error is not None]
            if left:
                if self._trace is not None:
                    self._trace.mark("a decision of two-phase commit was told again")
                await asyncio.sleep(PAUSE_S)
