"""Protocol `record`, after CockroachDB: intents in place, a replicated record that decides, no trust in clocks.

Before the first read, the clocks of enough nodes are heard to know a timestamp that nothing acknowledged before is
above (`ranges.certain_reads`); all reads hold there. Where too few nodes answer, every newer version moves it. Writes
wait at the coordinator until the commit:

1. Lay intents in all ranges at once; in the range of the first key (the anchor) together with the PENDING record. Each
   reply may say that the write lands later than planned.
2. If so, refresh the reads up to there. With snapshot isolation only what the transaction writes is looked at: nobody
   else may have written it since.
3. Turn the record COMMITTED at that timestamp. This single entry in one range's log is the commit.
4. Answer the client; make the intents final, then forget the record.

With `parallel_commit` the record is laid STAGING in step 1, and step 3 is not waited for unless step 2 was needed; with
`one_range_commit` a transaction in one range has none of these steps (`at_once.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from reference_db.api import (
    CreateRecord,
    Key,
    RangeReply,
    RecordState,
    Transaction,
    TransactionStatus,
    WriteIntent,
)
from reference_db.gateway.cutting import group_keys
from reference_db.gateway.fault_points import Forsaken
from reference_db.gateway.open_transaction import Failed, OpenTransaction
from reference_db.gateway.protocols.at_once import AtOnce
from reference_db.gateway.router import Part
from reference_db.ranges.certain_reads import certainty
from reference_db.timestamp import Timestamp


class RecordProtocol(AtOnce):
    """Drives the transactions of one node that follow it."""

    def __init__(
        self,
        *,
        observe: Callable[[float], Coroutine[Any, Any, Timestamp | None]],
        parallel_commit: bool = False,
        one_range_commit: bool = True,
        **arguments: Any,
    ) -> None:
        """`observe(deadline)` asks other nodes for their clocks and answers the latest, which is not before this
        node's when it was asked; None if too few answered to meet every quorum."""
        super().__init__(**arguments)
        self._observe = observe
        self._parallel_commit = parallel_commit
        self._one_range_commit = one_range_commit

    async def _observe_once(self, open_one: OpenTransaction, deadline: float) -> None:
        """Before the first read: hear the clocks, and take the timestamp of all reads."""
        if open_one.observed:
            return
        open_one.observed = True
        observed = await self._observe(deadline)
        if observed is not None:
            # Not this node's clock of now: whoever answered has said, up to here, whom it follows, so that the ranges
            # which this node leads need no round of heartbeats for reads at it.
            open_one.read_timestamp = observed
            open_one.promise = (certainty(observed),)
        elif self._trace is not None:
            self._trace.mark("a transaction reads with uncertainty")

    async def _commit(self, open_one: OpenTransaction, transaction: Transaction, deadline: float) -> None:
        written_keys = tuple(open_one.writes)
        local: tuple[Key, ...] = ()
        reads = bool(open_one.reads)
        start = open_one.read_timestamp if open_one.read_timestamp is not None else self._clock.now()
        groups = group_keys(written_keys, self._router.directory)
        if self._one_range_commit and len(groups) == 1:
            if await self._commit_at_once(open_one, transaction, start, deadline):
                return
            # It may have moved its reads.
            start = max(start, open_one.read_timestamp or start)
            groups = group_keys(written_keys, self._router.directory)
        parts: list[Part] = []
        for mine in groups:
            intents = tuple([WriteIntent(key, open_one.writes[key], 1) for key in mine])
            if transaction.anchor in mine:
                local = tuple(mine)
                parts.append((CreateRecord(written_keys, self._parallel_commit), *intents))
            else:
                parts.append(intents)
        try:
            replies = await self._send_all(
                "intents", parts, deadline, timestamp=start, transaction=transaction
            )
            written = await self._each(
                lambda operations, reply: self._past_conflicts(
                    open_one, transaction, operations, start, deadline, reply
                ),
                parts,
                replies,
            )
            commit_at = max((start, *map(_written_at, written)))
            self._fault_points.reached("intents-laid")
            if self._parallel_commit and commit_at == start:
                self._fault_points.reached("committed-in-parallel")
                if self._trace is not None:
                    self._trace.mark("a transaction was committed in parallel with its intents")
                open_one.committed_at = commit_at
                self._spawn(self._make_explicit(transaction, written_keys, commit_at, local))
                return
            if reads and commit_at > start:
                await self._move_to_commit(open_one, transaction, commit_at, deadline)
                self._fault_points.reached("reads-moved")
        except Forsaken:
            raise
        except Failed as failed:
            if self._parallel_commit:
                # All that was asked for may still land where it was to, and commit it.
                commit_at = await self._settle(failed, transaction, written_keys, deadline)
                open_one.committed_at = commit_at
                self._spawn(self._make_explicit(transaction, written_keys, commit_at, local))
                return
            # Certainly not committed: nobody but us may, and we never asked to.
            self._spawn(self._abandon(transaction, written_keys))
            raise
        except BaseException:
            if not self._parallel_commit:
                self._spawn(self._abandon(transaction, written_keys))
            raise
        commit_at, local = await self._decide(
            open_one,
            transaction,
            written_keys,
            commit_at,
            local,
            deadline,
            self._parallel_commit,
        )
        open_one.committed_at = commit_at
        left = [key for key in written_keys if key not in set(local)]
        self._spawn(self._finish(transaction, left, TransactionStatus.COMMITTED, commit_at))


def _written_at(reply: RangeReply) -> Timestamp:
    """The largest timestamp at which a range has laid intents, and below which it may not commit."""
    floors = [result.floor for result in reply.results if isinstance(result, RecordState)]
    return max((reply.timestamp, *floors))
