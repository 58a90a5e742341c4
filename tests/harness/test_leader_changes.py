"""Who led which range when, from logs that repeat themselves, come late, or were written by a wrong clock."""

from __future__ import annotations

from pathlib import Path

from harness.leader_changes import leader_changes
from results.log_lines import is_grave, timed_lines

PATTERN = r"range (?P<range>\d+): (?P<leader>\S+) leads in term (?P<term>\d+)"
BEGAN = 1_767_225_600 * 1_000_000_000
"""2026-01-01T00:00:00Z."""


def logs(folder: Path, **lines: list[str]) -> dict[str, Path]:
    paths = {}
    for node, of_node in lines.items():
        paths[node] = folder / f"{node}.log"
        paths[node].write_text("".join(line + "\n" for line in of_node))
    return paths


def line(seconds: float, text: str) -> str:
    return f"2026-01-01T00:00:{seconds:06.3f} INFO {text}"


def changes(folder: Path, **lines: list[str]) -> list[tuple[str, str, int, float]]:
    found = leader_changes(logs(folder, **lines), PATTERN, BEGAN)
    return [(one["range"], one["leader"], one["term"], one["time_ns"] / 1e9) for one in found]


def test_a_change_that_every_node_tells_is_one_change(tmp_path: Path):
    told = [line(1.0, "range 1: n1 leads in term 1"), line(5.0, "range 1: n2 leads in term 2")]
    assert changes(tmp_path, n1=told, n2=told, n3=told) == [("1", "n1", 1, 1.0), ("1", "n2", 2, 5.0)]


def test_a_clock_that_a_fault_has_moved_does_not_move_the_change(tmp_path: Path):
    right = [line(5.0, "range 7: n2 leads in term 2")]
    wrong = [line(45.0, "range 7: n2 leads in term 2")]
    assert changes(tmp_path, n1=right, n2=wrong, n3=right) == [("7", "n2", 2, 5.0)]
    early = [line(1.0, "range 7: n2 leads in term 2")]
    assert changes(tmp_path, n1=right, n2=early, n3=right) == [("7", "n2", 2, 5.0)]


def test_a_node_that_tells_it_again_after_a_restart_changes_nothing(tmp_path: Path):
    told = line(1.0, "range 1: n1 leads in term 1")
    again = [line(second, "range 1: n1 leads in term 1") for second in (9, 12, 15)]
    assert changes(tmp_path, n1=[told, *again], n2=[told], n3=[told]) == [("1", "n1", 1, 1.0)]


def test_what_was_so_before_the_run_has_the_time_zero(tmp_path: Path):
    found = leader_changes(
        logs(tmp_path, n1=[line(1.0, "range 1: n1 leads in term 1")]), PATTERN, BEGAN + 3_000_000_000
    )
    assert found[0]["time_ns"] == 0


def test_lines_without_a_time_and_times_that_cannot_be_are_passed_over():
    lines = ["Traceback:", "2026-13-45T99:00:00.1 x", "2026-01-01T00:00:01,250 y", "\\x00"]
    assert list(timed_lines(lines)) == [(BEGAN + 1_250_000_000, "y")]


def test_what_a_line_calls_itself():
    assert is_grave("WARNING server: the disk is slow")
    assert is_grave("level=error msg=x")
    assert not is_grave("INFO server: terrors are no errors")
    assert not is_grave("INFO " + "x" * 60 + " ERROR")
