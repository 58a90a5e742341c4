"""A recorded stream is invoked again: by the same threads, in order, not before its time, to the end of the phase."""

import pytest

from results.history import HistoryBuilder
from results.operation import HARNESS, INFO, INVOKE
from workloads.generator import combinators as combine
from workloads.generator.core import Pending, first_context
from workloads.generator.fake import Outcome, imperfect, perfect, simulate
from workloads.generator.recorded import (
    RecordedOperation,
    RecordingError,
    decode_operations,
    encode_operations,
    load_operations,
    main_phase_start,
    operations_from_dicts,
    operations_to_dicts,
    record_operations,
    recorded,
)

STREAM = (
    RecordedOperation(0, 100, "write", ["k", 1]),
    RecordedOperation(1, 100, "read", ["k", None]),
    RecordedOperation(0, 150, "write", ["k", 2]),
    RecordedOperation(1, 400, "read", ["k", None]),
)


def invoked(events):
    return [(event.time, event.process, event.f, event.value) for event in events if event.type == INVOKE]


def test_each_operation_begins_at_its_time_on_its_thread():
    events = perfect(recorded(STREAM, 2, 1e-6))
    assert invoked(events) == [
        (100, 0, "write", ["k", 1]),
        (100, 1, "read", ["k", None]),
        (150, 0, "write", ["k", 2]),
        (400, 1, "read", ["k", None]),
    ]
    assert all(event.intended is None for event in events)


def test_times_count_from_the_first_question():
    events = simulate(recorded(STREAM[:1], 2, 1e-6), lambda *_: Outcome("ok", 10), start=5000)
    assert invoked(events) == [(5100, 0, "write", ["k", 1])]


def test_a_busy_thread_goes_on_with_what_is_overdue_and_says_how_late():
    """The stream does not wait for its clients; the other thread is not held up."""

    def slow(invocation, random):
        return Outcome("ok", 200 if invocation.process == 0 else 10)

    events = simulate(recorded(STREAM, 2, 1e-6), slow)
    starts = {(event.process, event.time): event.intended for event in events if event.type == INVOKE}
    assert starts == {(0, 100): None, (1, 100): None, (0, 300): 150, (1, 400): None}


def test_the_successor_of_a_process_that_ended_in_info_goes_on_with_its_line():
    def crashing(invocation, random):
        return Outcome(INFO, 10)

    events = simulate(recorded(STREAM, 2, 1e-6), crashing)
    assert [process for _, process, _, _ in invoked(events)] == [0, 1, 2, 3]


def test_it_lasts_as_long_as_the_phase_did_because_faults_may_follow():
    plan = recorded(STREAM[:1], 1, 1e-6)
    context = first_context(1)
    what, plan = plan.next(context)
    assert what == Pending(100)
    what, plan = plan.next(first_context(1, 100))
    assert what.f == "write"
    assert plan.next(first_context(1, 120)) == (Pending(1000), plan)
    assert plan.next(first_context(1, 1000)) is None


def test_what_could_not_begin_before_the_end_of_the_phase_never_does():
    def stuck(invocation, random):
        return Outcome("ok", 5000)

    assert len(invoked(simulate(recorded(STREAM, 2, 1e-6), stuck))) == 2


def test_it_keeps_the_contract_of_generators():
    imperfect(combine.validate(recorded(STREAM, 3, 1e-6)), clients=3)


def test_asking_the_same_value_twice_gives_the_same_answer():
    plan = recorded(STREAM, 2, 1e-6)
    context = first_context(2, 70)
    assert plan.next(context) == plan.next(context)


def test_an_operation_of_a_thread_that_is_not_there_is_refused_with_the_way_out():
    with pytest.raises(
        RecordingError, match=r"operation 2 \(read\): thread 1 does not exist.*--concurrency 2"
    ):
        recorded(STREAM[:2], 1, 1.0)


def test_a_stream_is_recorded_from_the_main_phase_of_a_history():
    """Threads, not processes: process 5 of a run with two threads ran on thread 1. Last reads are left out."""
    book = HistoryBuilder()
    book.event(HARNESS, INFO, "phase", "main", time=1000)
    book.invoke(0, "write", ["k", 1], time=1300)
    book.invoke(1, "read", ["k", None], time=1400)
    book.info(1, ["timeout", ""], time=1500)
    book.ok(0, time=1600)
    book.invoke(5, "read", ["k", None], time=1700)
    book.ok(5, ["k", 1], time=1800)
    book.event(HARNESS, INFO, "phase", "final", time=2000)
    book.invoke(0, "read", ["k", None], time=2100, phase="final")
    book.ok(0, ["k", 1], time=2200)
    killed = book.done()
    book.event(HARNESS, INFO, "drive", {"phase": "main", "start_ns": 1200}, time=2300)
    book.event(HARNESS, INFO, "drive", {"phase": "final", "start_ns": 2050}, time=2300)
    history = book.done()

    assert main_phase_start(history) == 1200
    assert record_operations(history, 2) == (
        RecordedOperation(0, 100, "write", ["k", 1]),
        RecordedOperation(1, 200, "read", ["k", None]),
        RecordedOperation(1, 500, "read", ["k", None]),
    )
    # Of a run whose harness was killed only the mark of the phase is there.
    assert main_phase_start(killed) == 1000


def test_what_was_played_can_be_recorded_and_played_again():
    book = HistoryBuilder()
    for event in imperfect(recorded(STREAM, 2, 1e-6)):
        book.append(event)
    assert record_operations(book.done(), 2) == STREAM


def test_a_stream_survives_its_file(tmp_path):
    path = tmp_path / "operations.jsonl"
    path.write_bytes(encode_operations(STREAM))
    assert load_operations(path) == STREAM
    assert operations_from_dicts(operations_to_dicts(STREAM)) == STREAM
    assert decode_operations(b"") == ()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (b'{"thread":0,"at_ns":1,"f":"read"}\n{"thread":', "line 2 is not an operation to invoke"),
        (b'{"thread":0,"at_ns":1}\n', "line 1 .*f"),
        (b'{"thread":-1,"at_ns":1,"f":"read"}\n', "line 1: thread -1 and at_ns 1 must be >= 0"),
        (b'{"thread":0,"at_ns":1,"f":"read","colour":1}\n', "colour"),
        (b"\xff\xfe\n", "line 1"),
    ],
)
def test_a_damaged_file_is_refused_with_the_line(tmp_path, lines, said):
    path = tmp_path / "operations.jsonl"
    path.write_bytes(lines)
    with pytest.raises(RecordingError, match=said) as refusal:
        load_operations(path)
    assert str(path) in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecordingError, match=r"cannot read the operations .*nowhere.*No such file"):
        load_operations(tmp_path / "nowhere")
