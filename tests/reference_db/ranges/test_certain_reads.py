"""Reads of a snapshot that is known to hold all that was acknowledged before: what they pass, and what they push."""

from reference_db.api import (
    Get,
    IntentConflict,
    Pushed,
    RangeRequest,
    Refresh,
    Scan,
    ScanResult,
    Transaction,
    ValueResult,
)
from reference_db.ranges.certain_reads import certainty, evaluate_certain_read, is_certain, was_pushed_for
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, PutIntent, PutVersion
from reference_db.txn.locks import Intent
from reference_db.txn.state import RangeState


def at(number: int) -> Timestamp:
    return Timestamp(number)


READER = Transaction(b"r" * 16, b"", at(10), at(10))
WRITER = Transaction(b"w" * 16, b"k", at(5), at(5))


def make_state(*mutations: PutVersion | PutIntent) -> RangeState:
    engine = MemoryEngine()
    state = RangeState(engine, b"", None)
    for mutation in mutations:
        batch = WriteBatch()
        assert state.apply(Command(1, at(100), (mutation,)), 1, batch)
        engine.write(batch)
    return state


def read(*operations: Get | Scan, timestamp: int = 10, pushed: tuple[Pushed, ...] = ()) -> RangeRequest:
    promises = (certainty(at(timestamp)), *pushed)
    return RangeRequest(1, 1, 1, operations, at(timestamp), READER, promises)


def test_newer_versions_are_passed_without_uncertainty() -> None:
    state = make_state(PutVersion(b"k", at(3), b"old"), PutVersion(b"k", at(20), b"new"))
    reply = evaluate_certain_read(read(Get(b"k")), state, at(10))
    assert reply.results == (ValueResult(b"old", at(3)),)
    assert reply.timestamp == at(10)


def test_what_was_never_written_or_only_later_is_absent() -> None:
    state = make_state(PutVersion(b"k", at(20), b"new"))
    assert evaluate_certain_read(read(Get(b"k"), Get(b"other")), state, at(10)).results == (
        ValueResult(None),
        ValueResult(None),
    )


def test_an_intent_below_must_be_pushed_and_one_above_is_passed() -> None:
    below = make_state(PutIntent(b"k", Intent(WRITER, at(9), b"maybe")))
    error = evaluate_certain_read(read(Get(b"k")), below, at(10)).error
    assert isinstance(error, IntentConflict)
    assert error.above == at(10)
    assert error.conflicts[0].transaction == WRITER
    above = make_state(PutIntent(b"k", Intent(WRITER, at(11), b"maybe")))
    assert evaluate_certain_read(read(Get(b"k")), above, at(10)).error is None


def test_a_push_holds_only_above_the_read() -> None:
    state = make_state(PutIntent(b"k", Intent(WRITER, at(9), b"maybe")))
    enough = read(Get(b"k"), pushed=(Pushed(WRITER.id, at(11)),))
    assert evaluate_certain_read(enough, state, at(10)).error is None
    too_little = read(Get(b"k"), pushed=(Pushed(WRITER.id, at(10)),))
    assert isinstance(evaluate_certain_read(too_little, state, at(10)).error, IntentConflict)


def test_a_request_says_whether_somebody_was_pushed_for_it() -> None:
    assert not was_pushed_for(read(Get(b"k")))
    assert was_pushed_for(read(Get(b"k"), pushed=(Pushed(WRITER.id, at(11)),)))


def test_a_scan_sees_one_moment_and_minds_intents_only_where_it_looked() -> None:
    state = make_state(
        PutVersion(b"a", at(1), b"1"),
        PutVersion(b"b", at(2), b"2"),
        PutVersion(b"b", at(30), b"later"),
        PutVersion(b"c", at(3), b"3"),
        PutIntent(b"z", Intent(WRITER, at(9), b"maybe")),
    )
    reply = evaluate_certain_read(read(Scan(b"", None, 2)), state, at(10))
    assert isinstance(reply.results[0], ScanResult)
    assert reply.results[0].pairs == ((b"a", b"1"), (b"b", b"2"))
    assert isinstance(evaluate_certain_read(read(Scan(b"", None, 0)), state, at(10)).error, IntentConflict)


def test_only_reads_of_transactions_at_or_above_what_was_observed_are_certain() -> None:
    assert is_certain(read(Get(b"k")))
    below = RangeRequest(1, 1, 1, (Get(b"k"),), at(9), READER, (certainty(at(10)),))
    assert not is_certain(below)
    plain = RangeRequest(1, 1, 1, (Get(b"k"),), None, None, ())
    assert not is_certain(plain)
    refresh = RangeRequest(1, 1, 1, (Refresh(b"k", None, at(1)),), at(10), READER, (certainty(at(10)),))
    assert not is_certain(refresh)
