"""Histories: the rules of their events, pairs, columns, fault intervals, and files that end in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.history import History, HistoryBuilder, HistoryError
from results.operation import Operation, decode_line, encode_line, encode_lines

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.builds(
        Operation,
        index=st.integers(0, 2**40),
        time=st.integers(0, 2**60),
        process=st.integers(0, 1000) | st.sampled_from(["nemesis", "log"]),
        type=st.sampled_from(["invoke", "ok", "fail", "info"]),
        f=st.text(max_size=5),
        value=json_values,
        error=json_values,
        intended=st.none() | st.integers(0, 2**60),
        node=st.none() | st.text(max_size=3),
        phase=st.none() | st.sampled_from(["main", "final"]),
    )
)
def test_a_line_gives_back_its_operation(operation: Operation) -> None:
    line = encode_line(operation)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_line(line) == operation
    assert encode_lines([operation, operation]) == line + line


def some_history() -> History:
    builder = HistoryBuilder()
    builder.invoke(0, "write", 1, node="n1")
    builder.invoke(1, "read")
    builder.ok(0)
    builder.event("nemesis", "info", "note", "between")
    builder.ok(1, 1)
    builder.invoke(2, "write", 2)
    builder.info(2, ["timeout", "after 1 s"])
    builder.invoke(3, "read", phase="final")
    return builder.done()


def test_pairs_of_a_history() -> None:
    """An ok read tells what it saw, an unanswered one counts as info; observers have no pairs."""
    pairs = some_history().pairs()
    assert [(p.process, p.f, p.type, p.value) for p in pairs] == [
        (0, "write", "ok", 1),
        (1, "read", "ok", 1),
        (2, "write", "info", 2),
        (3, "read", "info", None),
    ]
    assert [p.indices for p in pairs] == [[0, 2], [1, 4], [5, 6], [7]]
    assert (pairs[0].start, pairs[0].end, pairs[3].end) == (0, 2_000_000, None)
    assert [p.phase for p in pairs] == ["main", "main", "main", "final"]


def test_clients_and_observers() -> None:
    history = some_history()
    assert len(history.clients()) == 7
    assert [event.index for event in history.nemesis()] == [3]


def test_columns_of_a_history() -> None:
    columns = some_history().columns()
    assert columns.pair.tolist() == [2, 4, 0, -1, 1, 6, 5, -1]
    assert columns.type.tolist() == [0, 0, 1, 3, 1, 0, 3, 0]
    assert [columns.processes[i] for i in columns.process] == [0, 1, 0, "nemesis", 1, 2, 2, 3]
    assert [columns.functions[i] for i in columns.f][:3] == ["write", "read", "write"]
    assert columns.time[-1] == 7_000_000


def test_columns_of_nothing() -> None:
    assert len(History([]).columns().time) == 0


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([(1, 0, "invoke", "read")], "event 1 follows event -1"),
        ([(0, 0, "ok", "read")], "process 0 completes read with ok, but has nothing open"),
        ([(0, 0, "invoke", "read"), (1, 0, "invoke", "write")], "while its read of event 0 is still open"),
        ([(0, 0, "invoke", "read"), (1, 0, "ok", "write")], "completes write, but event 0 invoked read"),
        (
            [(0, 0, "invoke", "read"), (1, 0, "info", "read"), (2, 0, "invoke", "read")],
            "process 0 invokes read after event 1 ended it with info; its successor needs a new number",
        ),
        ([(0, 0, "done", "read")], "'done' is no type of event"),
        ([(0, "log", "done", "read")], "'done' is no type of event"),
    ],
)
def test_nonsense_is_refused_with_its_numbers(
    events: list[tuple[int, int | str, str, str]], complaint: str
) -> None:
    with pytest.raises(HistoryError, match=complaint):
        History(Operation(index, 0, process, type_, f) for index, process, type_, f in events)


def test_fault_intervals_pair_starts_and_stops_that_overlap() -> None:
    builder = HistoryBuilder()
    kill = {"step": 1, "fault": "kill", "shape": None, "target": "leader"}
    cut = {"step": 2, "fault": "partition", "shape": "bridge"}
    builder.event("nemesis", "invoke", "start", kill, time=10)
    builder.event("nemesis", "invoke", "start", cut, time=20)
    effect = {"targets": ["n2"], "took_effect": True, "evidence": {"exit": -9}}
    builder.event("nemesis", "info", "start", {**kill, **effect}, time=30)
    builder.event("nemesis", "info", "start", {**cut, "took_effect": False, "skipped": "no quorum"}, time=40)
    builder.event("nemesis", "invoke", "stop", kill, time=50)
    builder.event("nemesis", "info", "stop", {**kill, "healed": True}, time=60)
    first, second = builder.done().fault_intervals()
    assert (first.step, first.fault, first.targets, first.took_effect) == (1, "kill", ("n2",), True)
    assert (first.start_ns, first.effective_ns, first.end_ns) == (10, 30, 60)
    assert first.evidence == {"exit": -9}
    assert (second.effective_ns, second.end_ns, second.skipped, second.shape) == (
        None,
        None,
        "no quorum",
        "bridge",
    )


def test_a_step_that_was_begun_anew_has_an_interval_for_each_time() -> None:
    builder = HistoryBuilder()
    merge = {"step": 3, "fault": "merge", "shape": "once"}
    for begun, effect in ((10, False), (100, True)):
        builder.event("nemesis", "invoke", "start", merge, time=begun)
        builder.event("nemesis", "info", "start", {**merge, "took_effect": effect}, time=begun + 10)
        builder.event("nemesis", "invoke", "stop", merge, time=begun + 20)
        builder.event("nemesis", "info", "stop", {**merge, "healed": True}, time=begun + 30)
    intervals = builder.done().fault_intervals()
    assert [(one.step, one.start_ns, one.effective_ns, one.end_ns) for one in intervals] == [
        (3, 10, None, 40),
        (3, 100, 110, 130),
    ]


def test_phases_are_marks_of_the_harness() -> None:
    builder = HistoryBuilder()
    builder.event("harness", "info", "phase", "main", time=5)
    builder.event("harness", "info", "phase", "heal", time=9)
    assert builder.done().phases() == [("main", 5), ("heal", 9)]


class TestFiles:
    def write(self, path: Path, data: bytes) -> Path:
        file = path / "history.jsonl"
        file.write_bytes(data)
        return file

    def test_a_whole_file(self, tmp_path: Path) -> None:
        history = some_history()
        loaded = History.load(self.write(tmp_path, encode_lines(list(history.operations))))
        assert loaded.operations == history.operations
        assert loaded.torn is None

    def test_an_empty_file(self, tmp_path: Path) -> None:
        loaded = History.load(self.write(tmp_path, b""))
        assert (len(loaded), loaded.torn) == (0, None)

    def test_a_torn_last_line_is_left_out_and_its_operation_counts_as_info(self, tmp_path: Path) -> None:
        """Wherever the last line breaks off, even inside a character, the rest is readable."""
        builder = HistoryBuilder()
        builder.invoke(0, "write", "é")
        builder.ok(0)
        data = encode_lines(list(builder.done().operations))
        first = data.index(b"\n") + 1
        for end in range(first + 1, len(data) - 1):
            history = History.load(self.write(tmp_path, data[:end]))
            assert [pair.type for pair in history.pairs()] == ["info"]
            assert history.torn is not None
            assert "the last line (line 2" in history.torn
        whole = History.load(self.write(tmp_path, data[:-1]))
        assert (whole.pairs()[0].type, whole.torn) == ("ok", None)

    def test_zeros_at_the_end_as_a_power_cut_leaves_them(self, tmp_path: Path) -> None:
        data = encode_lines(list(some_history().operations)) + b"\0" * 40
        history = History.load(self.write(tmp_path, data))
        assert len(history) == 8
        assert history.torn is not None

    def test_damage_anywhere_else_is_refused_with_its_line(self, tmp_path: Path) -> None:
        lines = encode_lines(list(some_history().operations)).splitlines(keepends=True)
        with pytest.raises(HistoryError, match=r"line 3 of 8 is not an operation"):
            History.load(self.write(tmp_path, b"".join([*lines[:2], b"{torn\n", *lines[3:]])))
        with pytest.raises(HistoryError, match=r"line 8 of 8 is not an operation"):
            History.load(self.write(tmp_path, b"".join([*lines[:7], lines[7].replace(b"{", b"[")])))

    def test_a_missing_line_is_refused(self, tmp_path: Path) -> None:
        lines = encode_lines(list(some_history().operations)).splitlines(keepends=True)
        with pytest.raises(HistoryError, match="indexes must be dense"):
            History.load(self.write(tmp_path, b"".join([*lines[:2], *lines[3:]])))


def test_the_builder_numbers_and_completes() -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "cas", [1, 2])
    assert builder.ok(0).value == [1, 2]
    with pytest.raises(HistoryError, match="process 0 has no operation open"):
        builder.fail(0)
