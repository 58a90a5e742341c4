"""Evaluation, told as stories: plain requests, conflicts of each kind, pushes, refreshes, ends, and late duplicates."""

from __future__ import annotations

import msgspec
import pytest

from reference_db.api import (
    MAX_WRITE_BYTES,
    Ambiguous,
    BadRequest,
    CompareAndSet,
    Compared,
    CreateRecord,
    Delete,
    DeleteRecord,
    EndTransaction,
    Get,
    HeartbeatRecord,
    Pushed,
    PushKind,
    PushTransaction,
    Put,
    RangeOperation,
    RangeRequest,
    ReadUncertain,
    RecordState,
    Refresh,
    Refreshed,
    RefreshFailed,
    Resolved,
    ResolveIntents,
    Scan,
    ScanResult,
    Transaction,
    TransactionAborted,
    TransactionPushed,
    TransactionStatus,
    ValueResult,
    WriteIntent,
    Written,
)
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.evaluate import evaluate_write, latch_spans, why_invalid
from reference_db.txn.latches import LatchSpan

from .one_leader import SECOND, OneLeader

PENDING, COMMITTED, ABORTED, MISSING, STAGING = TransactionStatus


@pytest.fixture
def leader() -> OneLeader:
    return OneLeader()


def value(leader: OneLeader, key: bytes) -> bytes | None:
    found = leader.result(Get(key))
    assert isinstance(found, ValueResult)
    return found.value


def with_intent(
    leader: OneLeader, number: int = 1, key: bytes = b"a", new: bytes | None = b"new"
) -> Transaction:
    """A transaction with a record and one intent on its anchor."""
    transaction = leader.transaction(number, key)
    reply = leader.ask(
        CreateRecord((key,)),
        WriteIntent(key, new),
        transaction=transaction,
        timestamp=transaction.began,
    )
    assert reply.error is None, reply.error
    return transaction


def commit(leader: OneLeader, transaction: Transaction, at: Timestamp | None = None) -> RecordState:
    state = leader.result(EndTransaction(True), transaction=transaction, timestamp=at or leader.clock.now())
    assert isinstance(state, RecordState)
    return state


# Plain requests.


def test_put_get_delete(leader: OneLeader) -> None:
    assert value(leader, b"k") is None
    first = leader.result(Put(b"k", b"1"))
    second = leader.result(Put(b"k", b"2"))
    assert isinstance(first, Written)
    assert isinstance(second, Written)
    assert first.timestamp < second.timestamp
    assert leader.result(Get(b"k")) == ValueResult(b"2", second.timestamp)
    leader.result(Delete(b"k"))
    assert value(leader, b"k") is None


def test_a_write_goes_above_reads_and_versions_even_if_the_clock_stands(leader: OneLeader) -> None:
    leader.result(Put(b"k", b"1"))
    read = leader.ask(Get(b"k"))
    written = leader.result(Put(b"k", b"2"))
    assert isinstance(written, Written)
    assert written.timestamp > read.timestamp


def test_compare_and_set_applies_or_tells_what_it_found(leader: OneLeader) -> None:
    done = leader.result(CompareAndSet(b"k", None, b"1"))
    assert isinstance(done, Compared)
    assert (done.applied, done.current) == (True, None)
    assert leader.last is not None
    assert leader.last.command is not None
    failed = leader.result(CompareAndSet(b"k", b"0", b"2"))
    assert isinstance(failed, Compared)
    assert (failed.applied, failed.current) == (False, b"1")
    assert leader.last.command is None
    assert leader.last.confirm, "a failed comparison is a read: a deposed leader must not answer it"
    assert value(leader, b"k") == b"1"
    gone = leader.result(CompareAndSet(b"k", b"1", None))
    assert isinstance(gone, Compared)
    assert gone.applied
    assert value(leader, b"k") is None


def test_a_failed_compare_and_set_is_noted_as_a_read(leader: OneLeader) -> None:
    leader.result(CompareAndSet(b"k", b"x", b"y"))
    assert leader.leadership.reads.last_read(b"k") == leader.last.reply.timestamp  # type: ignore[union-attr]


def test_scan_reads_live_keys_and_says_where_to_go_on(leader: OneLeader) -> None:
    for key in (b"a", b"b", b"c", b"d"):
        leader.result(Put(key, b"v" + key))
    leader.result(Delete(b"b"))
    assert leader.result(Scan(b"a", b"d")) == ScanResult(((b"a", b"va"), (b"c", b"vc")))
    assert leader.result(Scan(b"a", None, 2)) == ScanResult(((b"a", b"va"), (b"c", b"vc")), b"d")
    assert leader.result(Scan(b"a", None, 2, True)) == ScanResult(((b"d", b"vd"), (b"c", b"vc")), b"c")


def test_several_writes_in_one_request_are_one_command(leader: OneLeader) -> None:
    reply = leader.ask(Put(b"a", b"1"), Delete(b"b"), Put(b"c", b"3"))
    assert len(reply.results) == 3
    assert leader.last is not None
    assert leader.last.command is not None
    assert len(leader.last.command.mutations) == 3
    assert leader.last.command.timestamp == reply.timestamp


def test_a_command_of_another_term_changes_nothing(leader: OneLeader) -> None:
    """1. A leader of term 1 evaluates. 2. Its entry is proposed too late and ends up in term 2: it must be dropped."""
    evaluation = leader.evaluate(Put(b"k", b"old decision"))
    assert evaluation.command is not None
    assert not leader.apply(evaluation.command, entry_term=2)
    assert value(leader, b"k") is None


# Intents in the way.


def test_a_write_meets_an_intent_and_must_push_to_abort(leader: OneLeader) -> None:
    owner = with_intent(leader)
    operations: list[RangeOperation] = [Put(b"a", b"x"), Delete(b"a"), CompareAndSet(b"a", None, b"x")]
    for operation in operations:
        conflict = leader.conflict(operation)
        assert conflict.kind == PushKind.ABORT
        assert [(c.key, c.transaction) for c in conflict.conflicts] == [(b"a", owner)]
    other = leader.transaction(2)
    assert (
        leader.conflict(WriteIntent(b"a", b"x"), transaction=other, timestamp=other.began).kind
        == PushKind.ABORT
    )


def test_a_read_passes_no_intent_whatever_its_timestamp(leader: OneLeader) -> None:
    """The intent's owner may have committed, and its client may know: a reader that came later must see it."""
    early = leader.clock.now()
    owner = with_intent(leader)
    conflict = leader.conflict(Get(b"a"))
    assert conflict.kind == PushKind.TIMESTAMP
    assert conflict.conflicts[0].transaction == owner
    reader = Transaction(b"r" * 16, b"", early, early)
    assert conflict.conflicts[0].timestamp > early
    assert leader.conflict(Get(b"a"), transaction=reader, timestamp=early).above == early
    assert leader.conflict(Scan(b"", None)).conflicts[0].transaction == owner
    assert leader.ask(Get(b"b")).error is None
    assert leader.ask(Scan(b"b", None)).error is None


def test_an_intent_beyond_a_scans_limit_isnt_in_its_way(leader: OneLeader) -> None:
    for key in (b"a", b"b", b"c"):
        leader.result(Put(key, b"v"))
    with_intent(leader, key=b"c")
    assert leader.ask(Scan(b"", None, 2)).error is None
    assert leader.conflict(Scan(b"", None, 3)).conflicts[0].key == b"c"
    assert leader.conflict(Scan(b"", None, 2, True)).conflicts[0].key == b"c"
    with_intent(leader, 2, key=b"a")
    assert [c.key for c in leader.conflict(Scan(b"", None, 2)).conflicts] == [b"a"]


def test_a_pushed_writer_is_passed_by_the_reader_and_commits_above_it(leader: OneLeader) -> None:
    """1. T holds an intent. 2. A reader pushes T above its timestamp. 3. It reads the old value. 4. T may not commit
    where it wanted, but above the reader."""
    leader.result(Put(b"a", b"old"))
    owner = with_intent(leader)
    wanted = leader.clock.now()
    conflict = leader.conflict(Get(b"a"))
    pushed = leader.result(PushTransaction(owner, PushKind.TIMESTAMP, None, conflict.above))
    assert isinstance(pushed, RecordState)
    assert pushed.status == PENDING
    assert pushed.floor > conflict.above
    reply = leader.ask(Get(b"a"), pushed=(Pushed(owner.id, pushed.floor),))
    assert reply.results[0].value == b"old"  # type: ignore[union-attr]
    assert reply.timestamp < pushed.floor
    assert leader.error(EndTransaction(True), transaction=owner, timestamp=wanted) == TransactionPushed(
        pushed.floor
    )
    assert commit(leader, owner, pushed.floor) == RecordState(COMMITTED, pushed.floor, pushed.floor)


def test_a_second_push_below_the_floor_writes_nothing(leader: OneLeader) -> None:
    owner = with_intent(leader)
    high = leader.clock.now()
    leader.result(PushTransaction(owner, PushKind.TIMESTAMP, None, high))
    state = leader.result(PushTransaction(owner, PushKind.TIMESTAMP, None, high.prev()))
    assert state == RecordState(PENDING, ZERO, high.next())
    assert leader.last is not None
    assert leader.last.command is None


def test_a_scan_between_two_pushed_writers_reads_at_one_timestamp(leader: OneLeader) -> None:
    """The scan may pass two intents, but then it reads below both floors; a version from in between is uncertain."""
    leader.result(Put(b"a", b"1"), Put(b"b", b"1"))
    one, two = with_intent(leader, 1, b"a"), with_intent(leader, 2, b"b")
    above = leader.conflict(Scan(b"", None)).above
    floors = []
    for owner in (one, two):
        state = leader.result(PushTransaction(owner, PushKind.TIMESTAMP, None, above))
        assert isinstance(state, RecordState)
        floors.append(Pushed(owner.id, state.floor))
    reply = leader.ask(Scan(b"", None), pushed=tuple(floors))
    assert reply.results == (ScanResult(((b"a", b"1"), (b"b", b"1"))),)
    assert reply.timestamp <= above
    newer = leader.result(Put(b"c", b"later"))
    assert isinstance(newer, Written)
    assert leader.error(Scan(b"", None), pushed=tuple(floors)) == ReadUncertain(newer.timestamp)


def test_a_transaction_passes_a_writer_only_while_it_reads_below_the_floor(leader: OneLeader) -> None:
    leader.result(Put(b"a", b"old"))
    owner = with_intent(leader)
    reader = leader.transaction(2)
    floor = Pushed(owner.id, reader.began.next())
    reply = leader.ask(Get(b"a"), transaction=reader, timestamp=reader.began, pushed=(floor,))
    assert reply.timestamp == reader.began
    later = leader.clock.now()
    conflict = leader.conflict(Get(b"a"), transaction=reader, timestamp=later, pushed=(floor,))
    assert conflict.kind == PushKind.TIMESTAMP
    assert conflict.above == later


# Reads inside transactions.


def test_any_newer_version_is_uncertain(leader: OneLeader) -> None:
    """However far ahead the version's clock was: its writer may have been acknowledged before the read began."""
    reader = leader.transaction(1)
    written = leader.result(Put(b"k", b"v"))
    assert isinstance(written, Written)
    error = leader.error(Get(b"k"), transaction=reader, timestamp=reader.began)
    assert error == ReadUncertain(written.timestamp)
    reply = leader.ask(Get(b"k"), transaction=reader, timestamp=written.timestamp)
    assert reply.results == (ValueResult(b"v", written.timestamp),)


def test_a_newer_deletion_is_uncertain_too(leader: OneLeader) -> None:
    leader.result(Put(b"k", b"v"))
    reader = leader.transaction(1)
    leader.result(Delete(b"k"))
    assert isinstance(
        leader.error(Scan(b"", None), transaction=reader, timestamp=reader.began), ReadUncertain
    )


def test_a_first_read_moves_forward_at_once_and_is_noted_there(leader: OneLeader) -> None:
    reader = leader.transaction(1)
    written = leader.result(Put(b"k", b"v"))
    assert isinstance(written, Written)
    reply = leader.ask(Get(b"k"), transaction=reader, timestamp=reader.began, may_forward=True)
    assert reply.timestamp == written.timestamp
    assert leader.leadership.reads.last_read(b"k") == written.timestamp


def test_own_intents_are_no_conflict(leader: OneLeader) -> None:
    owner = with_intent(leader)
    now = leader.clock.now()
    assert leader.ask(Get(b"a"), transaction=owner, timestamp=now).error is None
    refreshed = leader.result(Refresh(b"a", b"a\x00", owner.began), transaction=owner, timestamp=now)
    assert refreshed == Refreshed()


# Refreshing.


def test_a_refresh_holds_if_nothing_changed_and_then_protects_the_key(leader: OneLeader) -> None:
    leader.result(Put(b"k", b"v"))
    reader = leader.transaction(1)
    leader.ask(Get(b"k"), transaction=reader, timestamp=reader.began)
    later = leader.clock.now()
    span = Refresh(b"k", b"k\x00", reader.began)
    assert leader.result(span, transaction=reader, timestamp=later) == Refreshed()
    assert leader.leadership.reads.last_read(b"k") == later
    assert leader.leadership.reads.last_read(b"k", reader.id) == leader.leadership.reads.low_water


def test_a_refresh_fails_if_something_was_written_in_between(leader: OneLeader) -> None:
    reader = leader.transaction(1)
    leader.ask(Scan(b"k", b"m"), transaction=reader, timestamp=reader.began)
    leader.result(Put(b"l", b"v"))
    later = leader.clock.now()
    failed = leader.error(Refresh(b"k", b"m", reader.began), transaction=reader, timestamp=later)
    assert failed == RefreshFailed(b"l")
    since = leader.clock.now()
    leader.clock.now()
    again = leader.result(Refresh(b"k", b"m", since), transaction=reader, timestamp=leader.clock.now())
    assert again == Refreshed(), "what was there at `since` is no change"


def test_two_transactions_that_refresh_against_each_other_dont_both_win_nor_both_loop(
    leader: OneLeader,
) -> None:
    """Write skew: each has read what the other writes. The older pushes the younger, the younger fails."""
    older, younger = leader.transaction(1), leader.transaction(2)
    for number, (key, owner) in enumerate([(b"x", older), (b"y", younger)]):
        leader.ask(WriteIntent(key, b"v", number), transaction=owner, timestamp=owner.began)
    later = leader.clock.now()
    pushing = leader.conflict(Refresh(b"y", b"y\x00", older.began), transaction=older, timestamp=later)
    assert (pushing.kind, pushing.above) == (PushKind.TIMESTAMP, later)
    failed = leader.error(Refresh(b"x", b"x\x00", younger.began), transaction=younger, timestamp=later)
    assert failed == RefreshFailed(b"x")
    floor = Pushed(younger.id, later.next())
    done = leader.result(
        Refresh(b"y", b"y\x00", older.began), transaction=older, timestamp=later, pushed=(floor,)
    )
    assert done == Refreshed()


def test_an_intent_above_the_refresh_cant_change_it(leader: OneLeader) -> None:
    reader = leader.transaction(1)
    later = leader.clock.now()
    owner = with_intent(leader, 2, b"k")
    assert owner.began > later
    span = Refresh(b"k", b"k\x00", reader.began)
    assert leader.result(span, transaction=reader, timestamp=later) == Refreshed()


# Intents and records.


def test_intents_and_record_are_one_command(leader: OneLeader) -> None:
    owner = leader.transaction(1)
    reply = leader.ask(
        CreateRecord((b"a", b"z")),
        WriteIntent(b"a", b"1"),
        WriteIntent(b"b", None),
        transaction=owner,
        timestamp=owner.began,
    )
    assert reply.results[0] == RecordState(PENDING)
    assert leader.last is not None
    assert leader.last.command is not None
    assert len(leader.last.command.mutations) == 3
    assert leader.state.records[owner.id].keys == (b"a", b"z")
    assert [key for key, _ in leader.state.locks.items()] == [b"a", b"b"]
    again = OneLeader()
    again.engine = leader.engine
    again.state.reader = leader.engine
    again.change_leader()
    assert again.state.records == leader.state.records
    assert list(again.state.locks.items()) == list(leader.state.locks.items())


def test_intents_go_above_reads_of_others_and_newer_versions(leader: OneLeader) -> None:
    owner = leader.transaction(1)
    read = leader.ask(Get(b"a")).timestamp
    reply = leader.ask(WriteIntent(b"a", b"v"), transaction=owner, timestamp=owner.began)
    assert reply.timestamp == read.next()
    own = leader.transaction(2)
    leader.ask(Get(b"own"), transaction=own, timestamp=own.began)
    assert leader.ask(WriteIntent(b"own", b"v"), transaction=own, timestamp=own.began).timestamp == own.began
    written = leader.result(Put(b"b", b"v"))
    assert isinstance(written, Written)
    reply = leader.ask(WriteIntent(b"b", b"v"), transaction=own, timestamp=own.began)
    assert reply.timestamp == written.timestamp.next()


def test_writing_an_intent_again_changes_nothing_and_an_older_one_never_wins(leader: OneLeader) -> None:
    owner = leader.transaction(1)
    first = leader.ask(WriteIntent(b"a", b"2", 2), transaction=owner, timestamp=owner.began)
    leader.ask(WriteIntent(b"a", b"2", 2), transaction=owner, timestamp=owner.began)
    late = leader.ask(WriteIntent(b"a", b"1", 1), transaction=owner, timestamp=owner.began)
    assert late.timestamp == first.timestamp
    intent = leader.state.locks.get(b"a")
    assert intent is not None
    assert (intent.value, intent.sequence) == (b"2", 2)


def test_commit_resolve_forget(leader: OneLeader) -> None:
    leader.result(Put(b"b", b"to be deleted"))
    owner = leader.transaction(1)
    reply = leader.ask(
        CreateRecord((b"a", b"b")),
        WriteIntent(b"a", b"1"),
        WriteIntent(b"b", None),
        transaction=owner,
        timestamp=owner.began,
    )
    at = reply.timestamp
    assert commit(leader, owner, at) == RecordState(COMMITTED, at)
    assert leader.result(ResolveIntents(owner.id, (b"a", b"b", b"c"), COMMITTED, at)) == Resolved(2)
    assert leader.result(Get(b"a")) == ValueResult(b"1", at)
    assert value(leader, b"b") is None
    assert leader.result(DeleteRecord(owner)) == RecordState(MISSING)
    assert leader.state.records == {}
    assert len(leader.state.locks) == 0


def test_an_intent_that_is_named_twice_is_made_final_once(leader: OneLeader) -> None:
    """Two scans that overlap meet the same intent: with two versions at one timestamp no replica could go on."""
    owner = with_intent(leader)
    at = leader.clock.now()
    commit(leader, owner, at)
    assert leader.result(ResolveIntents(owner.id, (b"a", b"a"), COMMITTED, at)) == Resolved(1)
    assert leader.result(Get(b"a")) == ValueResult(b"new", at)


def test_the_decision_may_resolve_its_own_ranges_intents_in_one_command(leader: OneLeader) -> None:
    owner = with_intent(leader)
    at = leader.clock.now()
    state = leader.result(EndTransaction(True, local_keys=(b"a",)), transaction=owner, timestamp=at)
    assert state == RecordState(COMMITTED, at)
    assert leader.result(Get(b"a")) == ValueResult(b"new", at)


def test_rollback_removes_intents(leader: OneLeader) -> None:
    leader.result(Put(b"a", b"old"))
    owner = with_intent(leader)
    assert leader.result(EndTransaction(False), transaction=owner) == RecordState(ABORTED)
    assert leader.result(ResolveIntents(owner.id, (b"a",), ABORTED)) == Resolved(1)
    assert value(leader, b"a") == b"old"
    assert isinstance(
        leader.error(EndTransaction(True), transaction=owner, timestamp=leader.clock.now()),
        TransactionAborted,
    )


def test_resolving_nothing_must_be_confirmed_because_a_record_is_deleted_upon_it(leader: OneLeader) -> None:
    assert leader.result(ResolveIntents(b"x" * 16, (b"a",), COMMITTED, Timestamp(9))) == Resolved(0)
    assert leader.last is not None
    assert leader.last.confirm


def test_somebody_elses_intent_isnt_resolved(leader: OneLeader) -> None:
    with_intent(leader, 1)
    assert leader.result(ResolveIntents(b"x" * 16, (b"a",), ABORTED)) == Resolved(0)
    assert leader.state.locks.get(b"a") is not None


def test_ending_twice_gives_the_same_answer(leader: OneLeader) -> None:
    owner = with_intent(leader)
    first = commit(leader, owner)
    assert commit(leader, owner) == first
    assert leader.last is not None
    assert leader.last.command is None
    assert leader.result(EndTransaction(False), transaction=owner) == first, (
        "what is committed stays committed"
    )


def test_a_pushed_transaction_that_has_read_nothing_commits_at_the_floor_at_once(leader: OneLeader) -> None:
    owner = with_intent(leader)
    wanted = leader.clock.now()
    leader.result(PushTransaction(owner, PushKind.TIMESTAMP, None, leader.clock.now()))
    floor = leader.state.records[owner.id].floor
    state = leader.result(EndTransaction(True, may_forward=True), transaction=owner, timestamp=wanted)
    assert state == RecordState(COMMITTED, floor, floor)


def test_a_lost_reply_of_a_commit_whose_record_is_gone_is_ambiguous(leader: OneLeader) -> None:
    """1. The commit is carried out, its reply is lost. 2. Somebody resolves everything and deletes the record. 3. The
    coordinator asks again: it must not hear that it failed."""
    owner = with_intent(leader)
    state = commit(leader, owner)
    leader.result(ResolveIntents(owner.id, (b"a",), COMMITTED, state.commit_timestamp))
    leader.result(DeleteRecord(owner))
    again = EndTransaction(True, asked_before=True)
    assert isinstance(leader.error(again, transaction=owner, timestamp=leader.clock.now()), Ambiguous)
    innocent = leader.transaction(2)
    first = leader.error(EndTransaction(True), transaction=innocent, timestamp=leader.clock.now())
    assert isinstance(first, TransactionAborted), "who asks for the first time has certainly not committed"


def test_a_late_copy_of_an_intent_doesnt_move_it_above_the_commit(leader: OneLeader) -> None:
    """1. T's intent is laid and acknowledged at its timestamp. 2. A reader is told of a floor and passes. 3. A copy of
    T's request arrives: it must not move the intent above the read, for T commits where it was told, and an intent
    above the commit counts as a leftover."""
    owner = leader.transaction(1)
    write = WriteIntent(b"a", b"v", 1)
    at = leader.ask(CreateRecord((b"a",)), write, transaction=owner, timestamp=owner.began).timestamp
    leader.leadership.reads.record(b"a", leader.clock.now())
    copy = leader.ask(write, transaction=owner, timestamp=owner.began)
    assert copy.timestamp == at
    assert copy.results == (Written(at),)
    commit(leader, owner, at)
    leader.result(ResolveIntents(owner.id, (b"a",), COMMITTED, at))
    assert leader.result(Get(b"a")) == ValueResult(b"v", at)


# Wound-wait.


def test_an_older_pusher_aborts_a_younger_one_waits(leader: OneLeader) -> None:
    old = leader.transaction(1)
    owner = with_intent(leader, 2)
    young = leader.transaction(3)
    waits = leader.result(PushTransaction(owner, PushKind.ABORT, young))
    assert waits == RecordState(PENDING)
    assert leader.result(PushTransaction(owner, PushKind.ABORT, None)) == RecordState(PENDING)
    assert leader.result(PushTransaction(owner, PushKind.ABORT, old)) == RecordState(ABORTED)
    assert leader.last is not None
    assert leader.last.command is not None, "an abort is a replicated decision"
    assert leader.result(PushTransaction(owner, PushKind.ABORT, young)) == RecordState(ABORTED)
    aborted = leader.error(EndTransaction(True), transaction=owner, timestamp=leader.clock.now())
    assert isinstance(aborted, TransactionAborted)


def test_who_is_older_is_a_total_order(leader: OneLeader) -> None:
    now = leader.clock.now()
    one, two = Transaction(b"1" * 16, b"a", now, now), Transaction(b"2" * 16, b"a", now, now)
    assert one.is_older_than(two)
    assert not two.is_older_than(one)
    assert not one.is_older_than(one)
    retried = Transaction(b"9" * 16, b"a", now.prev(), leader.clock.now())
    assert retried.is_older_than(one), "a retry keeps the age of its first attempt"


def test_a_committed_one_cant_be_pushed(leader: OneLeader) -> None:
    old = leader.transaction(1)
    owner = with_intent(leader, 2)
    state = commit(leader, owner)
    for kind in PushKind:
        assert leader.result(PushTransaction(owner, kind, old, leader.clock.now())) == state


def test_a_silent_coordinator_is_aborted_after_the_expiry_and_a_live_one_never(leader: OneLeader) -> None:
    owner = with_intent(leader, 1)
    young = leader.transaction(2)
    push = PushTransaction(owner, PushKind.ABORT, young)
    for _ in range(10):
        leader.monotonic_ns += SECOND
        assert leader.result(HeartbeatRecord(), transaction=owner) == RecordState(PENDING)
        assert leader.result(push) == RecordState(PENDING)
    leader.monotonic_ns += 4 * SECOND
    assert leader.result(push) == RecordState(PENDING)
    leader.monotonic_ns += 1
    assert leader.result(push) == RecordState(ABORTED)
    assert leader.result(HeartbeatRecord(), transaction=owner) == RecordState(ABORTED)


def test_a_new_leader_waits_a_whole_expiry_before_it_calls_anybody_dead(leader: OneLeader) -> None:
    owner = with_intent(leader, 1)
    leader.monotonic_ns += 100 * SECOND
    leader.change_leader()
    push = PushTransaction(owner, PushKind.ABORT, None)
    assert leader.result(push) == RecordState(PENDING)
    leader.monotonic_ns += 4 * SECOND + 1
    assert leader.result(push) == RecordState(ABORTED)


# Records that don't exist yet.


def without_record(leader: OneLeader, number: int) -> Transaction:
    """A transaction whose intent in this range came before its record."""
    owner = leader.transaction(number)
    leader.ask(WriteIntent(b"b", b"v"), transaction=owner, timestamp=owner.began)
    return owner


def test_an_abort_before_the_record_exists_forbids_its_creation(leader: OneLeader) -> None:
    old = leader.transaction(1)
    owner = without_record(leader, 2)
    assert leader.result(PushTransaction(owner, PushKind.ABORT, old)) == RecordState(ABORTED)
    assert leader.last is not None
    assert leader.last.confirm, "the promise lives in this leader's memory: it must still be the leader"
    assert leader.result(PushTransaction(owner, PushKind.TIMESTAMP, None, leader.clock.now())) == RecordState(
        ABORTED
    )
    refused = leader.error(
        CreateRecord((b"a",)), WriteIntent(b"a", b"v"), transaction=owner, timestamp=owner.began
    )
    assert isinstance(refused, TransactionAborted)
    assert leader.state.locks.get(b"a") is None
    assert leader.result(HeartbeatRecord(), transaction=owner) == RecordState(ABORTED)


def test_an_abort_before_the_record_exists_survives_a_change_of_leaders(leader: OneLeader) -> None:
    old = leader.transaction(1)
    owner = without_record(leader, 2)
    leader.result(PushTransaction(owner, PushKind.ABORT, old))
    leader.change_leader()
    refused = leader.error(CreateRecord((b"a",)), transaction=owner, timestamp=owner.began)
    assert isinstance(refused, TransactionAborted)
    assert "before this leader's memory" in refused.reason
    later = leader.transaction(3)
    created = leader.result(CreateRecord((b"a",)), transaction=later, timestamp=later.began)
    assert created == RecordState(PENDING)


@pytest.mark.parametrize("kind", PushKind)
def test_a_push_of_one_that_can_never_have_a_record_finds_it_aborted(
    leader: OneLeader, kind: PushKind
) -> None:
    """PENDING would let a reader pass an intent whose transaction was committed, finished and forgotten before the
    leader changed."""
    owner = without_record(leader, 1)
    young = leader.transaction(2)
    leader.change_leader()
    push = PushTransaction(owner, kind, young, leader.clock.now())
    assert leader.result(push) == RecordState(ABORTED)
    assert leader.last is not None
    assert leader.last.confirm
    # One that began under this leader may still get its record.
    later = without_record(leader, 3)
    assert leader.result(PushTransaction(later, kind, leader.transaction(4))).status == PENDING  # type: ignore[union-attr]


def test_a_retry_after_a_change_of_leaders_may_create_its_record_though_it_is_old(leader: OneLeader) -> None:
    first = leader.transaction(1)
    leader.change_leader()
    retry = Transaction(b"r" * 16, b"a", first.priority, leader.clock.now())
    assert leader.result(CreateRecord((b"a",)), transaction=retry, timestamp=retry.began) == RecordState(
        PENDING
    )


def test_a_timestamp_push_before_the_record_exists_becomes_its_floor(leader: OneLeader) -> None:
    owner = without_record(leader, 1)
    above = leader.clock.now()
    pushed = leader.result(PushTransaction(owner, PushKind.TIMESTAMP, None, above))
    assert pushed == RecordState(PENDING, ZERO, above.next())
    assert leader.last is not None
    assert leader.last.confirm
    created = leader.result(CreateRecord((b"a",)), transaction=owner, timestamp=owner.began)
    assert created == RecordState(PENDING, ZERO, above.next())
    wanted = EndTransaction(True)
    assert isinstance(leader.error(wanted, transaction=owner, timestamp=above), TransactionPushed)


def test_an_existing_record_survives_a_change_of_leaders(leader: OneLeader) -> None:
    owner = with_intent(leader, 1)
    leader.change_leader()
    again = leader.result(CreateRecord((b"a",)), transaction=owner, timestamp=owner.began)
    assert again == RecordState(PENDING)
    assert commit(leader, owner).status == COMMITTED


def test_a_late_creation_doesnt_bring_a_forgotten_transaction_back(leader: OneLeader) -> None:
    """1. T is rolled back, resolved and forgotten. 2. A delayed copy of its creation arrives."""
    owner = with_intent(leader, 1)
    leader.result(EndTransaction(False), transaction=owner)
    leader.result(ResolveIntents(owner.id, (b"a",), ABORTED))
    leader.result(DeleteRecord(owner))
    late = leader.error(
        CreateRecord((b"a",)), WriteIntent(b"a", b"v"), transaction=owner, timestamp=owner.began
    )
    assert isinstance(late, TransactionAborted)


def test_ending_before_the_record_exists_forbids_its_creation(leader: OneLeader) -> None:
    owner = without_record(leader, 1)
    assert leader.result(EndTransaction(False), transaction=owner) == RecordState(ABORTED)
    assert leader.last is not None
    assert leader.last.confirm
    late = leader.error(CreateRecord((b"a",)), transaction=owner, timestamp=owner.began)
    assert isinstance(late, TransactionAborted)


@pytest.mark.parametrize("wanted", [True, False])
def test_who_asked_to_commit_before_is_not_told_that_a_missing_record_means_aborted(
    leader: OneLeader, wanted: bool
) -> None:
    """1. T is committed, the answer is lost. 2. Somebody else finishes and forgets it. 3. Its coordinator gives up, or
    asks again."""
    owner = with_intent(leader, 1)
    state = commit(leader, owner)
    leader.result(ResolveIntents(owner.id, (b"a",), COMMITTED, state.commit_timestamp))
    leader.result(DeleteRecord(owner))
    again = EndTransaction(wanted, asked_before=True)
    assert isinstance(leader.error(again, transaction=owner, timestamp=leader.clock.now()), Ambiguous)


@pytest.mark.parametrize(
    "operation", [Put(b"a", b"x"), WriteIntent(b"a", b"x"), CompareAndSet(b"a", b"x", b"y")]
)
def test_what_would_make_too_large_an_entry_is_invalid(
    leader: OneLeader, operation: Put | WriteIntent | CompareAndSet
) -> None:
    owner = leader.transaction(1) if isinstance(operation, WriteIntent) else None

    def ask(size: int) -> str | None:
        field = "new" if isinstance(operation, CompareAndSet) else "value"
        large = msgspec.structs.replace(operation, **{field: b"x" * size})
        request = RangeRequest(1, 1, 1, (large,), leader.clock.now() if owner else None, owner)
        return why_invalid(request, leader.state)

    assert ask(MAX_WRITE_BYTES - 2) is None
    assert "the limit is" in (ask(MAX_WRITE_BYTES) or "")


def test_a_late_intent_of_a_finished_transaction_never_becomes_a_value(leader: OneLeader) -> None:
    """1. T commits, its intent is resolved, the record still stands. 2. A delayed copy of the intent's request arrives
    in another range and locks the key again. 3. Who meets it resolves it by the record; it becomes no version."""
    owner = leader.transaction(1)
    leader.ask(CreateRecord((b"a", b"z")), WriteIntent(b"a", b"1"), transaction=owner, timestamp=owner.began)
    other = OneLeader(clock=leader.clock)
    write = WriteIntent(b"z", b"1")
    at = other.ask(write, transaction=owner, timestamp=owner.began).timestamp
    state = commit(leader, owner, at)
    other.result(ResolveIntents(owner.id, (b"z",), COMMITTED, at))
    other.result(Put(b"z", b"2"))
    assert other.ask(write, transaction=owner, timestamp=owner.began).error is None
    found = other.conflict(Get(b"z")).conflicts[0]
    answer = leader.result(PushTransaction(found.transaction, PushKind.TIMESTAMP, None, leader.clock.now()))
    assert answer == state
    assert other.result(ResolveIntents(owner.id, (b"z",), COMMITTED, state.commit_timestamp)) == Resolved(1)
    assert value(other, b"z") == b"2"


def test_a_pending_record_isnt_deleted(leader: OneLeader) -> None:
    owner = with_intent(leader, 1)
    assert isinstance(leader.error(DeleteRecord(owner)), BadRequest)


def test_many_records_are_forgotten_together_or_none_is(leader: OneLeader) -> None:
    decided = [with_intent(leader, number, key) for number, key in ((1, b"a"), (2, b"b"))]
    for owner in decided:
        leader.result(EndTransaction(False), transaction=owner)
    pending = with_intent(leader, 3, b"c")
    with_pending = [DeleteRecord(owner) for owner in (*decided, pending)]
    assert isinstance(leader.error(*with_pending), BadRequest)
    assert len(leader.state.records) == 3
    reply = leader.ask(*(DeleteRecord(owner) for owner in decided))
    assert reply.results == (RecordState(MISSING),) * 2
    assert list(leader.state.records) == [pending.id]


def test_intents_of_many_transactions_on_one_key_are_resolved_together(leader: OneLeader) -> None:
    gone = with_intent(leader, 1)
    leader.result(EndTransaction(False), transaction=gone)
    leader.result(ResolveIntents(gone.id, (b"a",), ABORTED))
    here = with_intent(leader, 2)
    leader.result(EndTransaction(False), transaction=here)
    reply = leader.ask(*(ResolveIntents(owner.id, (b"a",), ABORTED) for owner in (gone, here)))
    assert reply.results == (Resolved(0), Resolved(1))
    assert not leader.state.locks


def test_a_heartbeat_before_the_record_exists_is_a_sign_of_life(leader: OneLeader) -> None:
    owner = without_record(leader, 1)
    push = PushTransaction(owner, PushKind.ABORT, None)
    assert leader.result(push) == RecordState(PENDING)
    leader.monotonic_ns += 3 * SECOND
    assert leader.result(HeartbeatRecord(), transaction=owner) == RecordState(MISSING)
    leader.monotonic_ns += 3 * SECOND
    assert leader.result(push) == RecordState(PENDING)


# Rules of requests.

NOW = Timestamp(5)
SOME = Transaction(b"s" * 16, b"m", NOW, NOW)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (RangeRequest(1, 1, 1, ()), "at least one operation"),
        (RangeRequest(1, 1, 1, (Get(b"m"), Put(b"m", b""))), "reads only or writes only"),
        (RangeRequest(1, 1, 1, (Get(b"a"),)), r"b'a' isn't in \[b'k', b'p'\)"),
        (RangeRequest(1, 1, 1, (Scan(b"k", b"q"),)), "isn't inside"),
        (RangeRequest(1, 1, 1, (Scan(b"k", None),)), "isn't inside"),
        (RangeRequest(1, 1, 1, (Put(b"m", b""), Delete(b"m"))), "written twice"),
        (RangeRequest(1, 1, 1, (Put(b"m", b""),), transaction=SOME), "are intents"),
        (RangeRequest(1, 1, 1, (WriteIntent(b"m", b""),)), "needs a transaction"),
        (RangeRequest(1, 1, 1, (EndTransaction(True),), transaction=SOME), "a commit needs a timestamp"),
        (RangeRequest(1, 1, 1, (EndTransaction(False, local_keys=(b"m", b"m")),), NOW, SOME), "named twice"),
        (RangeRequest(1, 1, 1, (Refresh(b"m", b"n", NOW),)), "needs a transaction"),
        (RangeRequest(1, 1, 1, (ResolveIntents(b"s" * 16, (b"m",), PENDING),)), "is PENDING"),
        (RangeRequest(1, 1, 1, (HeartbeatRecord(), Put(b"m", b""))), "needs a transaction"),
        (RangeRequest(1, 1, 1, (DeleteRecord(SOME), Put(b"m", b""))), "must be alone"),
        (
            RangeRequest(1, 1, 1, (Put(b"m", b""), ResolveIntents(b"s" * 16, (b"m",), ABORTED))),
            "among its like",
        ),
        (RangeRequest(1, 1, 1, (Get(b"m"),), transaction=Transaction(b"x", b"", NOW, NOW)), "has 16 bytes"),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused(request_: RangeRequest, reason: str) -> None:
    leader = OneLeader(b"k", b"p")
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(why_invalid(request_, leader.state))


def test_a_read_isnt_evaluated_as_a_write(leader: OneLeader) -> None:
    with pytest.raises(ValueError, match="Get reads"):
        evaluate_write(RangeRequest(1, 1, 1, (Get(b"k"),)), leader.state, leader.leadership, NOW, 0, 1)


def test_latches_cover_what_an_evaluation_looks_at() -> None:
    def spans(*operations: RangeOperation) -> list[LatchSpan]:
        return latch_spans(RangeRequest(1, 1, 1, operations, NOW, SOME))

    assert spans(Get(b"k")) == [LatchSpan(b"dk", None, False)]
    assert spans(Put(b"k", b"")) == spans(Delete(b"k")) == [LatchSpan(b"dk")]
    assert spans(Scan(b"a", None)) == [LatchSpan(b"da", b"e", False)]
    assert spans(Refresh(b"a", b"b", NOW)) == [LatchSpan(b"da", b"db", False)]
    record = LatchSpan(b"t" + SOME.id)
    assert spans(CreateRecord(()), WriteIntent(b"k", b"")) == [record, LatchSpan(b"dk")]
    assert spans(WriteIntent(b"k", b"")) == [LatchSpan(b"dk"), LatchSpan(record.start, None, False)]
    assert spans(HeartbeatRecord()) == spans(DeleteRecord(SOME)) == [record]
    assert spans(PushTransaction(SOME, PushKind.ABORT)) == [record]
    assert spans(EndTransaction(True, local_keys=(b"k",))) == [record, LatchSpan(b"dk")]
    assert spans(ResolveIntents(b"x" * 16, (b"a", b"b"), ABORTED)) == [LatchSpan(b"da"), LatchSpan(b"db")]
