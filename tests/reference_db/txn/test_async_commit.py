"""Locks that are a commit: from when on, who may still give the transaction up, and that nobody is in doubt alone."""

from __future__ import annotations

from reference_db.api import (
    Ambiguous,
    CheckLock,
    CreateRecord,
    DeleteRecord,
    EndTransaction,
    Get,
    LockState,
    PushKind,
    PushTransaction,
    RecordState,
    RecoverTransaction,
    ResolveIntents,
    Transaction,
    TransactionAborted,
    TransactionProtocol,
    TransactionStatus,
    ValueResult,
    WriteIntent,
    Written,
)
from reference_db.timestamp import ZERO, Timestamp
from tests.reference_db.txn.one_leader import SECOND, OneLeader

PENDING, COMMITTED, ABORTED, MISSING, STAGING = TransactionStatus
KEYS = (b"a", b"z")


def begin(leader: OneLeader, number: int = 1) -> tuple[Transaction, Timestamp]:
    transaction = leader.transaction(number, protocol=TransactionProtocol.PRIMARY_LOCK)
    return transaction, leader.clock.now()


def lay_primary(leader: OneLeader, transaction: Transaction, start: Timestamp) -> Timestamp:
    """From when on it may commit, as far as the primary says."""
    laid = leader.ask(
        CreateRecord(KEYS), WriteIntent(b"a", b"new", 1, True), transaction=transaction, timestamp=start
    )
    assert laid.error is None
    (written,) = [one for one in laid.results if isinstance(one, Written)]
    return written.timestamp


def status(leader: OneLeader, transaction: Transaction, pusher: Transaction | None = None) -> RecordState:
    kind = PushKind.TIMESTAMP if pusher is None else PushKind.ABORT
    state = leader.result(PushTransaction(transaction, kind, pusher))
    assert isinstance(state, RecordState)
    return state


def test_it_commits_above_its_start_and_above_every_read_of_its_keys() -> None:
    leader = OneLeader()
    transaction, start = begin(leader)
    assert leader.result(Get(b"a")) == ValueResult(None)
    read_at = leader.clock.last
    commit_from = lay_primary(leader, transaction, start)
    assert commit_from > read_at > start
    # Asked again it says the same: somebody may have heard it.
    assert lay_primary(leader, transaction, start) == commit_from
    # Its own reads do not count: nothing it does can come before itself.
    other = OneLeader()
    transaction, start = begin(other)
    other.ask(Get(b"a"), transaction=transaction, timestamp=start)
    assert lay_primary(other, transaction, start) == start.next()


def test_a_silent_coordinator_is_not_rolled_back_before_somebody_has_looked_for_all_locks() -> None:
    leader = OneLeader()
    transaction, start = begin(leader)
    commit_from = lay_primary(leader, transaction, start)
    assert status(leader, transaction).status == PENDING
    leader.monotonic_ns += 5 * SECOND
    state = status(leader, transaction)
    assert state == RecordState(STAGING, commit_from, ZERO, KEYS)
    # Nor by an older transaction in whose way it is.
    older = Transaction(b"o" * 16, b"o", Timestamp(1), Timestamp(1), TransactionProtocol.PRIMARY_LOCK)
    assert status(leader, transaction, older).status == STAGING
    assert len(leader.state.locks) == 1
    # A plain one is.
    plain = OneLeader()
    transaction, start = begin(plain)
    plain.ask(CreateRecord(KEYS), WriteIntent(b"a", b"new", 1), transaction=transaction, timestamp=start)
    assert status(plain, transaction).status == PENDING
    plain.monotonic_ns += 5 * SECOND
    assert status(plain, transaction).status == ABORTED


def test_a_lock_that_is_not_there_is_never_laid_by_this_leader_nor_by_a_later_one() -> None:
    leader = OneLeader()
    transaction, start = begin(leader)
    assert leader.result(CheckLock(b"z", transaction)) == LockState(False)
    assert leader.last is not None
    assert leader.last.confirm, "only who still leads may say so"
    for _ in range(2):
        late = leader.ask(WriteIntent(b"z", b"new", 1, True), transaction=transaction, timestamp=start)
        assert isinstance(late.error, TransactionAborted)
        leader.change_leader()
    # One that stands is told with what it says.
    other = OneLeader()
    transaction, start = begin(other)
    other.ask(WriteIntent(b"z", b"new", 1, True), transaction=transaction, timestamp=start)
    assert other.result(CheckLock(b"z", transaction)) == LockState(True, start.next())


def test_who_has_looked_decides_at_the_primary_and_the_first_decision_stands() -> None:
    leader = OneLeader()
    transaction, start = begin(leader)
    commit_from = lay_primary(leader, transaction, start)
    at = Timestamp(commit_from.wall_ns + 50)
    done = leader.result(RecoverTransaction(transaction, at, committed=True))
    assert done == RecordState(COMMITTED, at)
    assert leader.result(Get(b"a")) == ValueResult(b"new", at)
    # Who found otherwise came too late, and so does the coordinator.
    assert leader.result(RecoverTransaction(transaction, at, committed=False)) == RecordState(COMMITTED, at)
    end = EndTransaction(True, asked_before=True)
    assert leader.result(end, transaction=transaction, timestamp=at) == RecordState(COMMITTED, at)


def test_one_of_which_a_lock_is_missing_is_rolled_back_for_good() -> None:
    leader = OneLeader()
    transaction, start = begin(leader)
    lay_primary(leader, transaction, start)
    done = leader.result(RecoverTransaction(transaction, ZERO, committed=False))
    assert done == RecordState(ABORTED)
    assert len(leader.state.locks) == 0
    late = leader.ask(
        CreateRecord(KEYS), WriteIntent(b"a", b"new", 1, True), transaction=transaction, timestamp=start
    )
    assert isinstance(late.error, TransactionAborted)


def test_a_coordinator_that_was_refused_everywhere_knows_that_nothing_was_committed() -> None:
    """Its primary was never laid, and this leader has led since it began: it need not say that nobody knows."""
    leader = OneLeader()
    transaction, _ = begin(leader)
    given_up = leader.ask(EndTransaction(False, asked_before=True), transaction=transaction)
    assert given_up.error is None
    assert given_up.results == (RecordState(ABORTED),)


def test_a_question_for_a_lock_that_was_made_final_does_not_say_that_its_transaction_was_aborted() -> None:
    """1. Two look for the locks of a silent coordinator, and the first commits it, makes its locks final, and has its
    record forgotten. 2. The question of the second comes late, and finds no lock. 3. The coordinator, which has heard
    of nothing, wants to give up: it must not be told that nothing was committed."""
    leader = OneLeader()
    transaction, start = begin(leader)
    at = lay_primary(leader, transaction, start)
    leader.ask(WriteIntent(b"z", b"new", 1, True), transaction=transaction, timestamp=start)
    assert leader.result(RecoverTransaction(transaction, at, committed=True)) == RecordState(COMMITTED, at)
    leader.ask(ResolveIntents(transaction.id, KEYS, COMMITTED, at))
    for forgotten in (False, True):
        if forgotten:
            leader.ask(DeleteRecord(transaction))
        assert leader.result(CheckLock(b"z", transaction)) == LockState(False)
    given_up = leader.ask(EndTransaction(False, asked_before=True), transaction=transaction)
    assert isinstance(given_up.error, Ambiguous)
    # Nor is it laid again.
    late = leader.ask(
        CreateRecord(KEYS), WriteIntent(b"a", b"new", 1, True), transaction=transaction, timestamp=start
    )
    assert late.error is not None
