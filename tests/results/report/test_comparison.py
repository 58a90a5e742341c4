"""Two runs side by side: ratios the right way round, what differs said first, hostile values shown as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from checkers.availability import AvailabilityChecker
from checkers.checker import Limits
from harness.cli.compare import command
from results.history import HistoryBuilder
from results.report.comparison import Figure, compare, render, text_lines
from results.report.record import RunRecord
from results.verdict import merge

SECOND = 1_000_000_000


def record(
    name: str, latency_ms: int, *, silence_s: float = 0, scenario: dict[str, Any] | None = None
) -> RunRecord:
    """Ten reads a second for 20 s, a kill from 8 to 10 s, and no answer for a while from its start on."""
    builder = HistoryBuilder()
    kill = {"step": 0, "fault": "kill", "targets": ["n1"], "took_effect": True}
    events: list[tuple[int, str]] = [(8 * SECOND, "start"), (10 * SECOND, "stop")]
    silent = range(8 * SECOND, int((8 + silence_s) * SECOND))
    events += [(time, "read") for time in range(0, 20 * SECOND, SECOND // 10) if time not in silent]
    builder.event("harness", "info", "phase", "main", time=0)
    for time, what in sorted(events):
        if what == "read":
            builder.invoke(0, "read", time=time)
            builder.ok(0, 1, time=time + latency_ms * 1_000_000)
        else:
            builder.event("nemesis", "invoke", what, kill, time=time)
            builder.event("nemesis", "info", what, kill, time=time)
    builder.event("harness", "info", "phase", "final", time=20 * SECOND)
    history = builder.done()
    verdict = merge("run", [AvailabilityChecker().check(history, Limits())])
    return RunRecord(
        id=name,
        place=f"runs/{name}",
        history=history,
        verdict=verdict,
        scenario=scenario or {"seed": 1, "workload": "register"},
        environment={"command": f"./run {name}", "harness": {"commit": "c0de"}},
        is_live=False,
        logs=[],
        files=[],
    )


def figure_of(figures: list[Figure], group: str, name: str) -> Figure:
    return next(one for one in figures if (one.group, one.name) == (group, name))


def test_ratios_are_b_to_a_and_say_which_way_is_better() -> None:
    found = compare(record("a", 10), record("b", 20, silence_s=4)).figures
    latency = figure_of(found, "function read", "p50")
    assert (latency.ratio, latency.tendency) == (2.0, "worse")
    answers = figure_of(found, "overall", "answers")
    assert (answers.ratio, answers.tendency) == (pytest.approx(0.8), "worse")
    recovery = figure_of(found, "fault kill", "slowest recovery")
    assert (recovery.a, recovery.tendency) == (0.0, "worse")
    assert recovery.b == pytest.approx(1.7, abs=0.2)
    turned = compare(record("b", 20, silence_s=4), record("a", 10)).figures
    assert figure_of(turned, "function read", "p50").tendency == "better"
    assert figure_of(turned, "fault kill", "times").tendency == ""


def test_what_is_much_the_same_is_not_marked() -> None:
    found = compare(record("a", 100), record("b", 105)).figures
    assert figure_of(found, "function read", "p50").tendency == ""


def test_what_the_runs_differ_in_is_listed_but_for_seeds_and_commands() -> None:
    found = compare(record("a", 10), record("b", 10, scenario={"seed": 2, "workload": "bank", "nodes": 5}))
    assert found.scenario == [("workload", "register", "bank"), ("nodes", None, 5)]
    assert "  workload: register | bank" in text_lines(found)


def test_a_run_that_was_not_judged_has_no_figures_of_its_verdict() -> None:
    whole = record("a", 10)
    unjudged = RunRecord(**{**vars(whole), "verdict": None, "id": "b"})
    found = compare(whole, unjudged)
    assert found.verdict_b == "not judged"
    assert figure_of(found.figures, "overall", "answers").b is None
    assert figure_of(found.figures, "function read", "p50").ratio == 1.0


def test_the_page_shows_hostile_values_as_text() -> None:
    hostile = {"seed": 1, "workload": "<script>alert(1)</script>"}
    page = render(compare(record("a", 10), record("b", 10, scenario=hostile)))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_run_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    words = ["nothing", "--runs-dir", str(tmp_path)]
    told = CliRunner().invoke(command, words, standalone_mode=False)
    assert "no such folder" in str(told.exception)
