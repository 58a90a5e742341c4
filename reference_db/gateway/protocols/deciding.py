"""Deciding a transaction, and tidying up behind it: the same for all that keep its fate in its anchor's range.

One entry in one range's log decides. A request to commit that got no answer is asked again, and given up only where
the anchor says what became of it; else the client hears that nobody knows. What was decided is made final in the other
ranges in the background, and then forgotten; others do it if we cannot (`pusher.py`, `sweeper.py`).
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from reference_db.api import (
    Ambiguous,
    DeleteRecord,
    EndTransaction,
    HeartbeatRecord,
    Key,
    Overloaded,
    RangeMismatch,
    RangeReply,
    RecordState,
    ResolveIntents,
    TimedOut,
    Transaction,
    TransactionAborted,
    TransactionPushed,
    TransactionRetry,
    TransactionStatus,
)
from reference_db.gateway.cutting import group_keys, range_of
from reference_db.gateway.fault_points import Forsaken
from reference_db.gateway.open_transaction import Failed, OpenTransaction
from reference_db.gateway.protocols.reading import Reading
from reference_db.gateway.router import ATTEMPT_S, LOST, SILENT, Part
from reference_db.timestamp import ZERO, Timestamp

HEARTBEAT_S = 1.0
"""How often the record of a transaction that is still committing is told that its coordinator lives."""
DELETE_RECORDS_S = 1.0
"""How often records are forgotten. Nobody waits for it, and what is sent together shares turns, frames and syncs."""
DELETED_TOGETHER = 100
"""Records that one request forgets."""
DELETABLE_MOST = 10_000
"""How many records wait for room on an overloaded node; more are left to the sweeps of their ranges' leaders."""
CLEAN_UP_S = 10.0
"""How long a coordinator tries to tidy up behind a decided transaction, before it leaves that to others."""


class Deciding(Reading):
    """What protocols do to decide, each in its own `_commit`."""

    def __init__(self, **arguments: Any) -> None:
        """As `Reading`."""
        super().__init__(**arguments)
        self._committing: dict[bytes, Transaction] = {}
        """Those that may be undecided: they are kept alive by heartbeats."""
        self._deletable: list[Transaction] = []
        """Whose records nobody needs any more."""

    async def commit(self, open_one: OpenTransaction, deadline: float) -> None:
        """Commit a transaction that has written. Raises Failed."""
        transaction = open_one.identity(self._clock.now())
        self._committing[transaction.id] = transaction
        try:
            await self._commit(open_one, transaction, deadline)
        finally:
            self._committing.pop(transaction.id, None)
            self._aborted.discard(transaction.id)

    async def _commit(self, open_one: OpenTransaction, transaction: Transaction, deadline: float) -> None:
        """The protocol's own way. Raises Failed."""
        raise NotImplementedError

    async def _decide(
        self,
        open_one: OpenTransaction,
        transaction: Transaction,
        keys: tuple[Key, ...],
        commit_at: Timestamp,
        local: tuple[Key, ...],
        deadline: float,
        asked_before: bool = False,
    ) -> tuple[Timestamp, tuple[Key, ...]]:
        """Make the record COMMITTED, and with it the intents on the `local` keys final; returns the commit timestamp,
        and the keys for which the latter is certain. These only ever become fewer: whichever of several requests to
        commit is carried out, it has named them all. `asked_before`: others may decide it, too. Raises Failed."""
        may_forward = not open_one.reads
        while True:
            now = self._router.now()
            if now >= deadline:
                if asked_before:
                    self._mark_ambiguous()
                    raise Failed(Ambiguous("nobody answered whether the transaction has committed"))
                self._spawn(self._abandon(transaction, keys))
                raise Failed(TimedOut("the transaction's record could not be reached"))
            deciding = self._router.send(
                (EndTransaction(True, may_forward, asked_before, local),),
                min(deadline, now + ATTEMPT_S),
                repeatable=False,
                timestamp=commit_at,
                transaction=transaction,
            )
            self._perhaps_forsaken("decision-sent", deciding)
            reply = await deciding
            match reply.error:
                case None:
                    state = reply.results[0]
                    assert isinstance(state, RecordState), f"a commit was answered with {state!r}"
                    assert state.status == TransactionStatus.COMMITTED, (
                        f"a commit was answered with {state!r}"
                    )
                    self._fault_points.reached("decided")
                    return state.commit_timestamp, local
                case RangeMismatch():
                    # Some keys have left the anchor's range, and are seen to by themselves.
                    anchored = self._router.directory.find(transaction.anchor)
                    local = tuple(filter(anchored.contains, local))
                    if self._trace is not None:
                        self._trace.mark("a transaction's anchor and its other keys were parted by a split")
                case TransactionPushed(floor=floor):
                    try:
                        await self._move_to_commit(open_one, transaction, floor, deadline)
                        if self._trace is not None:
                            self._trace.mark("a commit was pushed and went on at a later timestamp")
                    except Failed as failed:
                        # An earlier request to commit may still arrive, unless the abort gets there first.
                        raise await self._abort_first(
                            failed, asked_before, transaction, keys, deadline
                        ) from failed
                    commit_at = max(commit_at, floor)
                case TransactionAborted(reason=why):
                    self._spawn(self._abandon(transaction, keys))
                    raise Failed(TransactionRetry(why, open_one.priority))
                case Ambiguous() as error if asked_before and error is not SILENT and error is not LOST:
                    # The anchor itself cannot know: the record is gone, and we have asked before.
                    self._mark_ambiguous()
                    raise Failed(error)
                case Ambiguous():
                    asked_before = True
                    if self._trace is not None:
                        self._trace.mark("a commit was asked for again")
                case TimedOut():
                    continue
                case _:
                    reason = self._failed(open_one, reply)
                    raise await self._abort_first(reason, asked_before, transaction, keys, deadline)

    def _perhaps_forsaken(self, step: str, asking: Coroutine[Any, Any, Any]) -> None:
        """A step at which something was asked for: who dies there does not hear the answer. Raises Forsaken."""
        if self._fault_points.kills(step):
            self._spawn(_unheard(asking))
            raise Forsaken(step)

    async def _send_all(
        self, what: str, parts: Sequence[Part], deadline: float, **options: Any
    ) -> list[RangeReply]:
        """Send what is for several ranges at the same time; who dies here has sent the first of it, or all. Raises
        Forsaken."""
        steps = [(f"first-{what}-sent", parts[:1])] if len(parts) > 1 else []
        steps += [(f"{what}-sent", parts)] if parts else []
        for step, some in steps:
            if self._fault_points.kills(step):
                self._spawn(_unheard(self._router.send_together(some, deadline, **options)))
                raise Forsaken(step)
        return await self._router.send_together(parts, deadline, **options)

    async def _abort_first(
        self,
        failed: Failed,
        asked_before: bool,
        transaction: Transaction,
        keys: tuple[Key, ...],
        deadline: float,
    ) -> Failed:
        """The error to give up with. Where a request to commit may still be under way, only the record can tell."""
        if not asked_before:
            self._spawn(self._abandon(transaction, keys))
            return failed
        abort = EndTransaction(False, asked_before=True)
        reply = await self._router.send((abort,), deadline, repeatable=True, transaction=transaction)
        if reply.error is None:
            state = reply.results[0]
            assert isinstance(state, RecordState), f"an abort was answered with {state!r}"
            if state.status == TransactionStatus.STAGING:
                reply = await self._pusher.recover(transaction, state, deadline)
                state = reply.results[0] if reply.error is None else state
                assert isinstance(state, RecordState), f"a recovery was answered with {state!r}"
            if state.status == TransactionStatus.ABORTED:
                self._spawn(self._abandon(transaction, keys))
                return failed
        self._mark_ambiguous()
        return Failed(Ambiguous("a request to commit is unanswered, and so is whether it was carried out"))

    async def _abandon(self, transaction: Transaction, keys: tuple[Key, ...]) -> None:
        """Abort the record, then remove the intents."""
        if self._trace is not None:
            self._trace.mark("a transaction was abandoned")
        deadline = self._router.now() + CLEAN_UP_S
        reply = await self._router.send(
            (EndTransaction(False),), deadline, repeatable=True, transaction=transaction
        )
        if reply.error is not None and not isinstance(reply.error, TransactionAborted):
            return
        if reply.error is None:
            state = reply.results[0]
            assert isinstance(state, RecordState), f"an abort was answered with {state!r}"
            if state.status == TransactionStatus.COMMITTED:
                return
        await self._finish(transaction, keys, TransactionStatus.ABORTED, ZERO)

    async def _settle(
        self, failed: Failed, transaction: Transaction, keys: tuple[Key, ...], deadline: float
    ) -> Timestamp:
        """Give up a transaction that may be committed by what is under way. Returns the commit timestamp if it turns
        out to be committed. Raises `failed` if it certainly is not and never will be, and Ambiguous if nobody
        knows."""
        abort = EndTransaction(False, asked_before=True)
        while True:
            limit = min(deadline, self._router.now() + ATTEMPT_S)
            reply = await self._router.send((abort,), limit, repeatable=False, transaction=transaction)
            if reply.error not in (SILENT, LOST) or self._router.now() >= deadline:
                # Answered; also that nobody knows is an answer, which asking again would not change.
                break
        state = reply.results[0] if reply.error is None else None
        if isinstance(state, RecordState) and state.status == TransactionStatus.STAGING:
            reply = await self._pusher.recover(transaction, state, deadline)
            state = reply.results[0] if reply.error is None else None
        if isinstance(state, RecordState):
            if state.status == TransactionStatus.COMMITTED:
                if self._trace is not None:
                    self._trace.mark("a transaction that was to be given up had been committed")
                return state.commit_timestamp
            if state.status == TransactionStatus.ABORTED:
                self._spawn(self._abandon(transaction, keys))
                raise failed
        self._mark_ambiguous()
        raise Failed(Ambiguous("what may commit the transaction is unanswered, and so is whether it did"))

    async def _make_explicit(
        self,
        transaction: Transaction,
        keys: tuple[Key, ...],
        commit_at: Timestamp,
        local: tuple[Key, ...],
    ) -> None:
        """Behind a commit in parallel: have the record say so, then make its intents final. Others do it if we
        cannot."""
        if self._fault_points.kills("acknowledged"):
            return
        deadline = self._router.now() + CLEAN_UP_S
        while True:
            end = EndTransaction(True, asked_before=True, local_keys=local)
            reply = await self._router.send(
                (end,), deadline, repeatable=True, timestamp=commit_at, transaction=transaction
            )
            if not isinstance(reply.error, RangeMismatch) or not local:
                break
            anchored = self._router.directory.find(transaction.anchor)
            local = tuple(filter(anchored.contains, local))
        if reply.error is None:
            left = [key for key in keys if key not in set(local)]
            await self._finish(transaction, left, TransactionStatus.COMMITTED, commit_at)

    async def _finish(
        self,
        transaction: Transaction,
        keys: Sequence[Key],
        status: TransactionStatus,
        commit_at: Timestamp,
    ) -> None:
        """Make the intents on these keys, which are all that are left, final or gone; then forget the record. Others do
        it if we cannot."""
        deadline = self._router.now() + CLEAN_UP_S
        parts: list[Part] = [
            (ResolveIntents(transaction.id, tuple(mine), status, commit_at),)
            for mine in group_keys(keys, self._router.directory)
        ]
        try:
            replies = await self._send_all("resolutions", parts, deadline)
            self._fault_points.reached("resolved")
        except Forsaken:
            return
        if all(reply.error is None for reply in replies):
            self._deletable.append(transaction)

    async def delete_records(self) -> None:
        """Called every `DELETE_RECORDS_S`: forgets the records whose intents are all resolved, many in one request."""
        deletable, self._deletable = self._deletable, []
        if deletable:
            self._spawn(self._delete(deletable, self._router.now() + CLEAN_UP_S))

    async def _delete(self, deletable: list[Transaction], deadline: float) -> None:
        by_range: dict[tuple[int, int], list[Transaction]] = {}
        for transaction in deletable:
            at = range_of(transaction.anchor, self._router.directory)
            by_range.setdefault(at, []).append(transaction)
        sent = [
            transactions[start : start + DELETED_TOGETHER]
            for _, transactions in sorted(by_range.items(), key=lambda one: one[0])
            for start in range(0, len(transactions), DELETED_TOGETHER)
        ]
        parts: list[Part] = [tuple(map(DeleteRecord, some)) for some in sent]
        replies = await self._router.send_together(parts, deadline)
        for some, reply in zip(sent, replies, strict=True):
            if isinstance(reply.error, Overloaded) and len(self._deletable) < DELETABLE_MOST:
                self._deletable += some

    async def heartbeat(self) -> None:
        """Called every `HEARTBEAT_S`: tells the records of transactions that are committing that we live."""
        for transaction in list(self._committing.values()):
            self._spawn(self._heartbeat_one(transaction))

    async def _heartbeat_one(self, transaction: Transaction) -> None:
        reply = await self._router.send(
            (HeartbeatRecord(),),
            self._router.now() + HEARTBEAT_S,
            repeatable=True,
            transaction=transaction,
        )
        if reply.error is None and transaction.id in self._committing:
            state = reply.results[0]
            if isinstance(state, RecordState) and state.status == TransactionStatus.ABORTED:
                self._aborted.add(transaction.id)
                if self._trace is not None:
                    self._trace.mark("a coordinator heard that its transaction was aborted")


async def _unheard(asking: Coroutine[Any, Any, Any]) -> None:
    """What a dead coordinator has asked for goes on."""
    await asking
