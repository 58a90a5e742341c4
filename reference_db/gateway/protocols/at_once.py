"""Commits that need one consensus round: of a transaction in one range, and in parallel with its intents.

*At once*: all that is written lies in one range. Its leader turns it into versions in one log entry; there are no
intents and no record, so nobody has anything to finish. Only that leader remembers it, so that whoever asks again after
an answer was lost hears of it; under a later leader nobody knows.

*In parallel*: the record is laid STAGING together with the intents, at the timestamp that all of them ask for. If every
reply says that they landed there, the transaction is committed as of the last reply, and the client is told; that its
record says COMMITTED follows in the background. If one landed later, the record decides, as without (`deciding.py`).

A transaction that may be committed by what is under way is never given up by its coordinator's word alone: the anchor
is asked, and where it cannot know, the intents are looked for like by anybody who meets them (`Pusher.recover`).
"""

from __future__ import annotations

from reference_db.api import (
    Ambiguous,
    CommitAtOnce,
    IntentConflict,
    Pushed,
    RangeMismatch,
    RangeReply,
    RecordState,
    TimedOut,
    Transaction,
    TransactionAborted,
    TransactionPushed,
    TransactionRetry,
    TransactionStatus,
)
from reference_db.gateway.open_transaction import Failed, OpenTransaction
from reference_db.gateway.protocols.deciding import Deciding
from reference_db.gateway.router import ATTEMPT_S, LOST, SILENT
from reference_db.timestamp import Timestamp

PUSHED_MOST = 3
"""How often a commit at once that must be later moves its reads and tries again, before it locks what it writes."""

COMMITTED, ABORTED, STAGING = (
    TransactionStatus.COMMITTED,
    TransactionStatus.ABORTED,
    TransactionStatus.STAGING,
)


class AtOnce(Deciding):
    """What protocol `record` does to be done in one round."""

    async def _commit_at_once(
        self, open_one: OpenTransaction, transaction: Transaction, start: Timestamp, deadline: float
    ) -> bool:
        """Commit a transaction all of whose keys are in one range, as far as is known. False: nothing was done, and it
        has to be done in the long way. Raises Failed."""
        writes, keys = tuple(open_one.writes.items()), tuple(open_one.writes)
        may_forward = not open_one.reads
        asked_before = False
        commit_at, times_pushed = start, 0
        pushed: tuple[Pushed, ...] = ()
        while True:
            now = self._router.now()
            if now >= deadline:
                if asked_before:
                    self._mark_ambiguous()
                    raise Failed(Ambiguous("nobody answered whether the transaction has committed"))
                raise Failed(TimedOut("the range of the transaction's keys could not be reached"))
            committing = self._router.send(
                (CommitAtOnce(writes, may_forward, asked_before),),
                min(deadline, now + ATTEMPT_S),
                repeatable=False,
                timestamp=commit_at,
                transaction=transaction,
                pushed=pushed,
            )
            self._perhaps_forsaken("commit-at-once-sent", committing)
            reply = await committing
            failed: Failed
            match reply.error:
                case None:
                    open_one.committed_at = committed_at(reply)
                    if self._trace is not None:
                        self._trace.mark("a transaction in one range was committed at once")
                    self._fault_points.reached("committed-at-once")
                    return True
                case RangeMismatch() if not asked_before:
                    return False
                case RangeMismatch():
                    failed = Failed(TransactionRetry("its range was split", open_one.priority))
                case TransactionPushed() if times_pushed == PUSHED_MOST and not asked_before:
                    return False
                case TransactionPushed(floor=floor):
                    times_pushed += 1
                    try:
                        await self._move_to_commit(open_one, transaction, floor, deadline)
                        commit_at = max(commit_at, floor)
                        continue
                    except Failed as caught:
                        failed = caught
                case IntentConflict() as conflict:
                    cleared = await self._pusher.clear(conflict, deadline, transaction, pushed)
                    if cleared.error is None:
                        pushed = cleared.pushed
                        continue
                    failed = self._failed(open_one, RangeReply(0, error=cleared.error))
                case TransactionAborted(reason=why):
                    raise Failed(TransactionRetry(why, open_one.priority))
                case Ambiguous() as error if asked_before and error is not SILENT and error is not LOST:
                    self._mark_ambiguous()
                    raise Failed(error)
                case Ambiguous():
                    asked_before = True
                    if self._trace is not None:
                        self._trace.mark("a commit was asked for again")
                    continue
                case TimedOut():
                    continue
                case _:
                    failed = self._failed(open_one, reply)
            if asked_before:
                open_one.committed_at = await self._settle(failed, transaction, keys, deadline)
                return True
            raise failed


def committed_at(reply: RangeReply) -> Timestamp:
    """What a range has answered that a commit was carried out at."""
    state = reply.results[0]
    assert isinstance(state, RecordState), f"a commit was answered with {state!r}"
    return state.commit_timestamp
