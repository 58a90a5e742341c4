"""Protocol `primary-lock`, as TiKV after Percolator: a timestamp oracle, and the lock on one key decides for all.

1. Begin: take the start timestamp from the oracle. All reads hold there; a read that meets a lock below it waits until
   the lock's transaction is decided.
2. Prewrite: lay locks on all keys at once, the first key's being the primary. A version above the start refuses it.
3. Take the commit timestamp. Serializable, look whether all that was read is the same there (validation at commit): the
   own locks stand, and what the validation has read is noted, so nobody commits in between any more.
   With `async_commit`, where that can be, the locks are the commit instead: the answers to the prewrites say from when
   on it may commit, the client is answered now, and what follows is tidying up (`txn/primary_lock.py`, rules 5 and 6).
4. Commit at the primary: this single entry in one range's log is the commit. Answer the client.
5. Make the other locks final in the background, then forget the record.

Writes outside of transactions take their timestamps from the clocks of leaders and not from the oracle. So before the
oracle is asked for a start, enough nodes are asked for their clocks, as in protocol `record`: the oracle, who hears of
the latest with the question, answers above everything that was acknowledged before, whoever wrote it and however.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from reference_db.api import (
    CreateRecord,
    Isolation,
    Key,
    RangeReply,
    Transaction,
    TransactionStatus,
    Unavailable,
    WriteIntent,
    Written,
)
from reference_db.gateway.cutting import group_keys
from reference_db.gateway.fault_points import Forsaken
from reference_db.gateway.open_transaction import Failed, OpenTransaction
from reference_db.gateway.oracle import Oracle
from reference_db.gateway.protocols.deciding import Deciding
from reference_db.gateway.protocols.reading import span_of
from reference_db.gateway.router import Part
from reference_db.ranges.certain_reads import certainty
from reference_db.timestamp import Timestamp


class PrimaryLockProtocol(Deciding):
    """Drives the transactions of one node that follow it."""

    def __init__(
        self,
        *,
        oracle: Oracle,
        observe: Callable[[float], Coroutine[Any, Any, Timestamp | None]],
        async_commit: bool = False,
        **arguments: Any,
    ) -> None:
        """`observe`: as in `RecordProtocol`. `async_commit`: whether locks are the commit, where they can be."""
        super().__init__(**arguments)
        self._async_commit = async_commit
        self._oracle = oracle
        self._observe = observe

    async def _observe_once(self, open_one: OpenTransaction, deadline: float) -> None:
        if open_one.observed:
            if open_one.read_timestamp is None:
                raise Failed(Unavailable("the transaction has no start timestamp"))
            return
        open_one.observed = True
        if await self._observe(deadline) is None:
            open_one.over = True
            raise Failed(Unavailable("too few nodes answer to begin above all that is committed"))
        open_one.read_timestamp = await self._oracle.take(deadline)
        open_one.promise = (certainty(open_one.read_timestamp),)

    async def _commit(self, open_one: OpenTransaction, transaction: Transaction, deadline: float) -> None:
        await self._observe_once(open_one, deadline)
        start = open_one.read_timestamp
        assert start is not None, "a transaction without a start timestamp commits"
        keys = tuple(open_one.writes)
        is_async = self._async_commit and self._locks_are_enough(open_one)
        local: tuple[Key, ...] = ()
        parts: list[Part] = []
        for mine in group_keys(keys, self._router.directory):
            locks = tuple([WriteIntent(key, open_one.writes[key], 1, is_async) for key in mine])
            if transaction.anchor in mine:
                local = tuple(mine)
                parts.append((CreateRecord(keys), *locks))
            else:
                parts.append(locks)
        try:
            replies = await self._send_all(
                "intents", parts, deadline, timestamp=start, transaction=transaction
            )
            answered = await self._each(
                lambda operations, reply: self._past_conflicts(
                    open_one, transaction, operations, start, deadline, reply
                ),
                parts,
                replies,
            )
            self._fault_points.reached("intents-laid")
            if is_async:
                open_one.committed_at = commit_at = max(map(_locked_at, answered))
                self._fault_points.reached("committed-in-parallel")
                if self._trace is not None:
                    self._trace.mark("a transaction was committed by its locks")
                self._spawn(self._make_explicit(transaction, keys, commit_at, local))
                return
            commit_at = await self._oracle.take(deadline)
            if open_one.isolation == Isolation.SERIALIZABLE:
                await self._move_reads(open_one, transaction, commit_at, deadline)
                self._fault_points.reached("reads-moved")
        except Forsaken:
            raise
        except Failed as failed:
            if is_async:
                # All that was asked for may still be laid, and found by somebody who commits it.
                open_one.committed_at = commit_at = await self._settle(failed, transaction, keys, deadline)
                self._spawn(self._make_explicit(transaction, keys, commit_at, local))
                return
            self._spawn(self._abandon(transaction, keys))
            raise
        except BaseException:
            if is_async:
                raise
            # Certainly not committed: nobody but us may, and we never asked to.
            self._spawn(self._abandon(transaction, keys))
            raise
        commit_at, local = await self._decide(open_one, transaction, keys, commit_at, local, deadline)
        open_one.committed_at = commit_at
        left = [key for key in keys if key not in set(local)]
        self._spawn(self._finish(transaction, left, TransactionStatus.COMMITTED, commit_at))

    def _locks_are_enough(self, open_one: OpenTransaction) -> bool:
        """Whether a transaction is as isolated as it is to be once its locks stand. Serializable ones are where they
        have read nothing but what they write: nobody has written that since, and nobody can. Else their reads must be
        looked at again at the commit timestamp, which nobody knows before all locks stand."""
        if open_one.isolation == Isolation.SNAPSHOT:
            return True
        written = {span_of(key) for key in open_one.writes}
        return all(span in written for span in open_one.reads)


def _locked_at(reply: RangeReply) -> Timestamp:
    """The largest timestamp with which a range has answered the locks that it has laid."""
    return max([one.timestamp for one in reply.results if isinstance(one, Written)])
