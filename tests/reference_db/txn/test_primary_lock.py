"""The primary lock at a range's leader: locks, the commit, rollback records that protect, and who gives way to whom."""

from __future__ import annotations

from reference_db.api import (
    Ambiguous,
    CreateRecord,
    DeleteRecord,
    EndTransaction,
    Get,
    PushKind,
    PushTransaction,
    Put,
    RecordState,
    ResolveIntents,
    Transaction,
    TransactionAborted,
    TransactionProtocol,
    TransactionStatus,
    ValueResult,
    WriteConflict,
    WriteIntent,
)
from reference_db.timestamp import Timestamp
from tests.reference_db.txn.one_leader import SECOND, OneLeader

PENDING, COMMITTED, ABORTED, MISSING, STAGING = TransactionStatus
KEYS = (b"a", b"z")
"""Of each transaction here: the primary in this range, a secondary that is elsewhere."""


def begin(leader: OneLeader, number: int = 1) -> tuple[Transaction, Timestamp]:
    transaction = leader.transaction(number, protocol=TransactionProtocol.PRIMARY_LOCK)
    return transaction, leader.clock.now()


def prewrite(leader: OneLeader, transaction: Transaction, start: Timestamp, value: bytes = b"new") -> object:
    """The primary's range's part of a prewrite; its error, or None."""
    return leader.ask(
        CreateRecord(KEYS), WriteIntent(b"a", value, 1), transaction=transaction, timestamp=start
    ).error


def commit(leader: OneLeader, transaction: Transaction) -> Timestamp:
    at = leader.clock.now()
    state = leader.result(EndTransaction(True), transaction=transaction, timestamp=at)
    assert state == RecordState(COMMITTED, at)
    return at


def status(leader: OneLeader, transaction: Transaction, pusher: Transaction | None = None) -> object:
    kind = PushKind.TIMESTAMP if pusher is None else PushKind.ABORT
    state = leader.result(PushTransaction(transaction, kind, pusher))
    assert isinstance(state, RecordState)
    return state.status


def test_the_commit_turns_the_primary_lock_into_a_version_and_a_record_in_one_command() -> None:
    """Its record names the other keys, so anybody can finish the transaction."""
    leader = OneLeader()
    transaction, start = begin(leader)
    assert prewrite(leader, transaction, start) is None
    assert leader.state.records == {}
    at = commit(leader, transaction)
    assert len(leader.state.locks) == 0
    record = leader.state.records[transaction.id]
    assert (record.status, record.commit_timestamp, record.keys) == (COMMITTED, at, KEYS)
    assert leader.result(Get(b"a")) == ValueResult(b"new", at)
    assert status(leader, transaction) == COMMITTED
    leader.change_leader()
    assert status(leader, transaction) == COMMITTED


def test_the_first_committer_wins() -> None:
    """Somebody writes the key after the transaction began; its twin began afterwards."""
    leader = OneLeader()
    transaction, start = begin(leader)
    leader.ask(Put(b"a", b"other"))
    error = prewrite(leader, transaction, start)
    assert isinstance(error, WriteConflict)
    assert error.key == b"a"
    assert len(leader.state.locks) == 0
    twin, later = begin(leader, 2)
    assert prewrite(leader, twin, later) is None


def test_a_prewrite_that_comes_twice_changes_nothing() -> None:
    leader = OneLeader()
    transaction, start = begin(leader)
    prewrite(leader, transaction, start)
    assert prewrite(leader, transaction, start) is None
    assert leader.last is not None
    assert leader.last.command is None
    assert leader.last.confirm


def test_a_rollback_is_never_overwritten_by_a_late_prewrite() -> None:
    """1. T's primary lock is on its way. 2. Its coordinator rolls back. 3. The lock arrives. Also when the rollback
    record was forgotten meanwhile, and when another leads then, who has never heard of T."""
    for forgotten in (False, True):
        for changed in (False, True):
            leader = OneLeader()
            transaction, start = begin(leader)
            assert leader.result(EndTransaction(False), transaction=transaction) == RecordState(ABORTED)
            assert leader.state.records[transaction.id].status == ABORTED
            if forgotten:
                leader.result(DeleteRecord(transaction))
                assert leader.state.records == {}
            if changed:
                leader.change_leader()
            assert isinstance(prewrite(leader, transaction, start), TransactionAborted)
            assert len(leader.state.locks) == 0
            assert status(leader, transaction) == ABORTED


def test_whoever_meets_the_lock_of_a_silent_transaction_rolls_it_back() -> None:
    """Its time to live has passed since the last sign of life. Its own commit, which comes later, is refused."""
    leader = OneLeader()
    transaction, start = begin(leader)
    prewrite(leader, transaction, start)
    leader.monotonic_ns += 4 * SECOND
    assert status(leader, transaction) == PENDING
    leader.monotonic_ns += 1
    assert status(leader, transaction) == ABORTED
    assert len(leader.state.locks) == 0
    assert leader.state.records[transaction.id].keys == KEYS
    error = leader.error(EndTransaction(True), transaction=transaction, timestamp=leader.clock.now())
    assert isinstance(error, TransactionAborted)


def test_a_lock_whose_primary_was_never_laid_is_rolled_back_after_a_while_too() -> None:
    """A secondary was met first: the primary may be on its way, until the time to live has passed."""
    leader = OneLeader()
    transaction, start = begin(leader)
    assert status(leader, transaction) == PENDING
    leader.monotonic_ns += 4 * SECOND + 1
    assert status(leader, transaction) == ABORTED
    assert isinstance(prewrite(leader, transaction, start), TransactionAborted)


def test_an_older_writer_does_not_wait_and_a_younger_one_and_every_reader_do() -> None:
    leader = OneLeader()
    older = leader.transaction(1)
    transaction, start = begin(leader, 2)
    younger = leader.transaction(3)
    prewrite(leader, transaction, start)
    assert status(leader, transaction, younger) == PENDING
    assert status(leader, transaction) == PENDING
    assert status(leader, transaction, older) == ABORTED


def test_a_commit_asked_for_again_after_all_is_forgotten_is_ambiguous() -> None:
    """1. T commits, the answer is lost. 2. Somebody finishes and forgets it. 3. T's coordinator asks again, and gives
    up: neither may be told that nothing has happened."""
    leader = OneLeader()
    transaction, start = begin(leader)
    prewrite(leader, transaction, start)
    commit(leader, transaction)
    leader.result(ResolveIntents(transaction.id, KEYS[:1], COMMITTED, leader.clock.now()))
    leader.result(DeleteRecord(transaction))
    at = leader.clock.now()
    for end in (EndTransaction(True, asked_before=True), EndTransaction(False, asked_before=True)):
        assert isinstance(leader.error(end, transaction=transaction, timestamp=at), Ambiguous)
    fresh = leader.error(EndTransaction(True), transaction=transaction, timestamp=at)
    assert isinstance(fresh, TransactionAborted)
