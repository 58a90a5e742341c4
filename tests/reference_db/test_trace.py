"""Events and marks: what a sink gets, and how it reads."""

from __future__ import annotations

from reference_db.trace import RecordingTrace, Trace, TraceEvent, format_event


def test_a_recording_keeps_order_and_counts_marks() -> None:
    trace: Trace = RecordingTrace()
    trace.event("range 3", "became leader", term=5)
    trace.mark("a snapshot was sent", range=3)
    trace.mark("a snapshot was sent", range=4)
    assert isinstance(trace, RecordingTrace)
    assert trace.marks == {"a snapshot was sent": 2}
    assert [str(event) for event in trace.events] == [
        "range 3: became leader term=5",
        "mark: a snapshot was sent range=3",
        "mark: a snapshot was sent range=4",
    ]


def test_ids_and_keys_are_readable() -> None:
    fields = {"transaction": bytes(range(16)), "key": b"k\x00"}
    assert format_event("txn", "aborted", fields) == (
        "txn: aborted transaction=000102030405060708090a0b0c0d0e0f key='k\\x00'"
    )
    assert str(TraceEvent("txn", "aborted", {})) == "txn: aborted"
