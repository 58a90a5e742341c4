"""Protocol `primary-lock` at a range's leader: the lock on one key, the primary, stands for the whole transaction.

After Percolator (Peng and Dabek 2010) and TiKV. What the textbook has and where it is here:

    lock column, with the start timestamp      an intent, whose timestamp is the transaction's start
    the primary lock                           the intent on the anchor; it also lists the other keys
    write column at the commit timestamp       the version; a COMMITTED record at the anchor until all locks are gone
    rollback record                            an ABORTED record at the anchor

The rules:
1. A lock is laid only if no version is at or above the transaction's start (the first committer wins), and no other
   lock is there.
2. Who commits finds the primary lock standing, and turns it into version and record in one command.
3. Who gives a transaction up leaves a rollback record, whether the primary lock was there or not. It is never
   overwritten: a prewrite that comes late is refused. It is forgotten only when every lock of the transaction is gone,
   and then the leader's markers refuse in its place, as they do in protocol `record`.
4. Anybody may ask for a transaction's status at its primary. A lock older than its time to live, counted by the
   leader's monotonic clock from the last sign of life, is rolled back; one in an older transaction's way, too
   (wound-wait, so that nobody waits in a circle). A reader waits: it has no means to move a commit above its read.

Async commit (as TiKV 5.0's), for transactions that ask for it: their locks are the commit.
5. Each lock says from when on its transaction may commit: above its start, and above every read of its key, which the
   timestamp cache knows. Once all locks stand the transaction is committed, at the largest of these; the coordinator
   acknowledges it then, and the primary says so a moment later.
6. So nobody rolls back such a primary lock before he has looked for all the others (`evaluate_locks`). One that is not
   there will never be: the leader that was asked remembers it, and a leader that has not led since the transaction
   began takes no lock of it. All there: whoever has looked commits it at the primary, else he rolls it back there. The
   primary alone decides between several that look; and its coordinator, as long as it has acknowledged nothing, may
   roll it back as any transaction.
"""

from __future__ import annotations

from msgspec import structs

from ..api import (
    Ambiguous,
    CheckLock,
    CreateRecord,
    EndTransaction,
    IntentConflict,
    LockState,
    PushKind,
    PushTransaction,
    RangeReply,
    RangeRequest,
    RecordState,
    RecoverTransaction,
    Result,
    SnapshotTooOld,
    Transaction,
    TransactionAborted,
    TransactionStatus,
    WriteConflict,
    WriteIntent,
    Written,
)
from ..api import Conflict as InTheWay
from ..timestamp import ZERO, Timestamp
from .command import Command, Mutation, PutIntent, PutRecord, PutVersion, RemoveIntent
from .evaluate import Leadership
from .evaluation import Evaluation, answer, decide, refuse
from .locks import Intent
from .record import TransactionRecord
from .state import RangeState

PENDING, COMMITTED, ABORTED, _MISSING, _STAGING = TransactionStatus


def evaluate_prewrite(
    request: RangeRequest,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    monotonic_ns: int,
    term: int,
) -> Evaluation:
    """Lay locks; `CreateRecord` beside them says that the primary is among them, and names all keys."""
    transaction, start = request.transaction, request.timestamp
    assert transaction is not None, "a prewrite without a transaction passed the validation"
    assert start is not None, "a prewrite without a timestamp passed the validation"
    record = state.records.get(transaction.id)
    if record is not None:
        return refuse(request, TransactionAborted(f"it is {record.status.name} already"), confirm=True)
    keys: tuple[bytes, ...] = ()
    for operation in request.operations:
        if isinstance(operation, CreateRecord):
            keys = operation.keys
    if keys and primary_of(transaction, state) is None:
        refusal = leadership.markers.why_refused(transaction)
        if refusal is not None:
            return refuse(request, TransactionAborted(refusal), confirm=True)
    conflicts: list[InTheWay] = []
    mutations: list[Mutation] = []
    results: list[Result] = []
    commit_from = _commit_from(request, transaction, start, leadership)
    for operation in request.operations:
        if not isinstance(operation, WriteIntent):
            results.append(RecordState(PENDING))
            continue
        standing = state.locks.get(operation.key)
        if standing is not None:
            if standing.transaction.id != transaction.id:
                conflicts.append(InTheWay(operation.key, standing.transaction, standing.timestamp))
            results.append(Written(max(start, standing.commit_from)))
            continue
        results.append(Written(max(start, commit_from)))
        if operation.commits:
            refusal = leadership.markers.why_refused(structs.replace(transaction, anchor=operation.key))
            if refusal is not None:
                return refuse(request, TransactionAborted(refusal), confirm=True)
        if start < state.threshold:
            # Who has written the key since then may be forgotten.
            return refuse(request, SnapshotTooOld(state.threshold), confirm=True)
        newest = state.mvcc.newest(operation.key)
        if newest is not None and newest.timestamp >= start:
            return refuse(request, WriteConflict(operation.key, newest.timestamp), confirm=True)
        is_primary = operation.key == transaction.anchor
        lock = Intent(
            transaction, start, operation.value, operation.sequence, keys if is_primary else (), commit_from
        )
        mutations.append(PutIntent(operation.key, lock))
    if conflicts:
        return refuse(request, IntentConflict(tuple(conflicts), PushKind.ABORT, start))
    if keys:
        leadership.liveness.heard(transaction.id, monotonic_ns)
    reply = RangeReply(request.request_id, tuple(results), start)
    if not mutations:
        return Evaluation(reply, confirm=True)
    return Evaluation(
        reply, Command(term, max(now, start, commit_from), tuple(mutations), request.generation)
    )


def _commit_from(
    request: RangeRequest, transaction: Transaction, start: Timestamp, leadership: Leadership
) -> Timestamp:
    """Above the start and all reads of the keys that are locked here, if these locks are to commit; else zero."""
    commit_from = ZERO
    for operation in request.operations:
        if isinstance(operation, WriteIntent) and operation.commits:
            at_least = max(commit_from, start.next())
            commit_from = leadership.reads.write_timestamp(operation.key, at_least, transaction.id)
    return commit_from


def evaluate_locks(
    request: RangeRequest, state: RangeState, leadership: Leadership, now: Timestamp
) -> Evaluation:
    """Which of these locks stand. The others are never laid any more."""
    results: list[Result] = []
    for operation in request.operations:
        assert isinstance(operation, CheckLock), f"{operation} beside questions for locks"
        lock = state.locks.get(operation.key)
        if lock is not None and lock.transaction.id == operation.transaction.id:
            results.append(LockState(True, lock.commit_from))
        else:
            # Not laid yet, or made final already: who asks the primary's leader later must not take it for aborted.
            leadership.markers.forget(operation.transaction.id, now)
            results.append(LockState(False))
    return Evaluation(RangeReply(request.request_id, tuple(results)), confirm=True)


def evaluate_recover(
    request: RangeRequest,
    operation: RecoverTransaction,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    term: int,
) -> Evaluation:
    """Decide in place of the coordinator: whoever asks has looked for all locks."""
    transaction, at = operation.transaction, operation.staged_at
    record = state.records.get(transaction.id)
    if record is not None:
        return answer(request, RecordState(record.status, record.commit_timestamp), confirm=True)
    primary = primary_of(transaction, state)
    if primary is None:
        # Finished and forgotten: no lock of it is left, and nobody knows what it was.
        return answer(request, RecordState(TransactionStatus.MISSING), confirm=True)
    leadership.liveness.forget(transaction.id)
    if not operation.committed:
        return _roll_back(request, transaction, primary, now, term)
    assert at >= primary.commit_from > ZERO, f"{at} is to be the commit of {primary}"
    committed = TransactionRecord(transaction, COMMITTED, at, ZERO, primary.keys)
    mutations: list[Mutation] = [
        PutRecord(committed),
        PutVersion(transaction.anchor, at, primary.value, transaction.id),
        RemoveIntent(transaction.anchor),
    ]
    return decide(request, RecordState(COMMITTED, at), term, max(now, at), mutations)


def evaluate_check(
    request: RangeRequest,
    operation: PushTransaction,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    monotonic_ns: int,
    term: int,
) -> Evaluation:
    """What became of a transaction? With an answer other than PENDING it is settled for ever."""
    asked, pusher = operation.pushee, operation.pusher
    record = state.records.get(asked.id)
    if record is not None:
        return answer(request, RecordState(record.status, record.commit_timestamp))
    primary = primary_of(asked, state)
    if primary is None and leadership.markers.why_refused(asked) is not None:
        # Its primary can never be locked (again): rolled back, or finished and forgotten, and then no lock is left.
        return answer(request, RecordState(ABORTED), confirm=True)
    expired = leadership.liveness.is_expired(asked.id, monotonic_ns)
    wounded = operation.kind == PushKind.ABORT and pusher is not None and pusher.is_older_than(asked)
    if not (expired or wounded):
        return answer(request, RecordState(PENDING), confirm=True)
    if primary is not None and primary.commit_from > ZERO:
        # It may be committed: only who has looked for all its locks may say.
        looked_for = RecordState(_STAGING, primary.commit_from, ZERO, primary.keys)
        return answer(request, looked_for, confirm=True)
    leadership.liveness.forget(asked.id)
    return _roll_back(request, asked, primary, now, term)


def evaluate_end(
    request: RangeRequest,
    operation: EndTransaction,
    state: RangeState,
    leadership: Leadership,
    now: Timestamp,
    term: int,
) -> Evaluation:
    """Commit at the primary, or roll back."""
    transaction = request.transaction
    assert transaction is not None, "an end without a transaction passed the validation"
    record = state.records.get(transaction.id)
    if record is not None:
        if operation.commit and record.status == ABORTED:
            return refuse(request, TransactionAborted("rolled back by another transaction"), confirm=True)
        return answer(request, RecordState(record.status, record.commit_timestamp), confirm=True)
    primary = primary_of(transaction, state)
    markers = leadership.markers
    is_known = markers.why_refused(transaction) is None or markers.is_certainly_aborted(transaction.id)
    if primary is None and operation.asked_before and not is_known:
        # Committed, finished and forgotten, or never to be: nobody can know here.
        return refuse(request, Ambiguous("the primary lock is gone, and an earlier request may have won"))
    if primary is None and leadership.markers.why_refused(transaction) is not None:
        if operation.commit:
            return refuse(request, TransactionAborted("its primary lock is gone"), confirm=True)
        return answer(request, RecordState(ABORTED), confirm=True)
    if primary is None and operation.commit:
        return refuse(request, TransactionAborted("its primary was never locked"), confirm=True)
    leadership.liveness.forget(transaction.id)
    if not operation.commit or primary is None:
        return _roll_back(request, transaction, primary, now, term)
    at = request.timestamp
    assert at is not None, "a commit without a timestamp passed the validation"
    assert at > primary.timestamp, f"a commit at {at} of a transaction that began at {primary.timestamp}"
    committed = TransactionRecord(transaction, COMMITTED, at, ZERO, primary.keys)
    mutations: list[Mutation] = [PutRecord(committed)]
    for key in dict.fromkeys((transaction.anchor, *operation.local_keys)):
        lock = state.locks.get(key)
        if lock is not None and lock.transaction.id == transaction.id:
            mutations += (PutVersion(key, at, lock.value, transaction.id), RemoveIntent(key))
    return decide(request, RecordState(COMMITTED, at), term, max(now, at), mutations)


def primary_of(transaction: Transaction, state: RangeState) -> Intent | None:
    """The transaction's primary lock, if it stands."""
    lock = state.locks.get(transaction.anchor)
    return lock if lock is not None and lock.transaction.id == transaction.id else None


def _roll_back(
    request: RangeRequest, transaction: Transaction, primary: Intent | None, now: Timestamp, term: int
) -> Evaluation:
    keys = () if primary is None else primary.keys
    mutations: list[Mutation] = [PutRecord(TransactionRecord(transaction, ABORTED, ZERO, ZERO, keys))]
    if primary is not None:
        mutations.append(RemoveIntent(transaction.anchor))
    return decide(request, RecordState(ABORTED), term, now, mutations)
