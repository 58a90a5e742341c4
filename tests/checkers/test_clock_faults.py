"""A node that stops itself because the nemesis has moved clocks keeps its promise; every other end is blamed."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.checker import Limits
from checkers.clock_faults import ClockStops, told_beside
from checkers.crashes import CRASH, CrashChecker
from checkers.log_patterns import LogPatternChecker
from results.history import History, HistoryBuilder
from results.verdict import INVALID, VALID, Verdict

SECOND = 1_000_000_000
PATTERNS = (r"Traceback \(most recent call last\)", r"\bAssertionError\b", r" (ERROR|CRITICAL) ")
ALARM = (
    "12:00:03 ERROR clock: the clock of n2 is +900.0 ms from n1's; the most that is allowed is 500 ms "
    "(max_offset_ms): it stops"
)
LAST_WORDS = f"""{ALARM}
12:00:03 CRITICAL server: stopping at once: the clock of n2 is +900.0 ms from n1's (max_offset_ms)
Traceback (most recent call last):
  File "node.py", line 7, in _measure_clocks
ClockOffsetExceeded: the clock of n2 is +900.0 ms from n1's (max_offset_ms)"""


def run(
    *,
    fault: str = "clock",
    target: str = "n2",
    status: str = "exit code 70",
    text: str = LAST_WORDS,
    at_s: float = 3.0,
    lines: tuple[str, ...] = (),
    again_at_s: int | None = None,
) -> History:
    """A step on a node's clock from 2 to 5 s, and the end of n2; maybe another step, to the end of the run."""
    builder = HistoryBuilder()
    about: dict[str, Any] = {"step": 1, "fault": fault, "shape": "bump", "targets": [target]}
    effect = {**about, "took_effect": True, "skipped": None}
    effect["evidence"] = {"probes": [{"what": "clock", "after": "900 ms", "proves": True}]}
    builder.event("nemesis", "invoke", "start", about, time=2 * SECOND)
    builder.event("nemesis", "info", "start", effect, time=2 * SECOND + 1000)
    builder.event("nemesis", "invoke", "stop", about, time=5 * SECOND - 1000)
    builder.event("nemesis", "info", "stop", {**about, "healed": True}, time=5 * SECOND)
    if again_at_s is not None:
        builder.event("nemesis", "invoke", "start", {**about, "step": 2}, time=again_at_s * SECOND)
        builder.event("nemesis", "info", "start", {**effect, "step": 2}, time=again_at_s * SECOND + 1)
    end = {"node": "n2", "status": status, "text": text, "time_ns": int(at_s * SECOND)}
    builder.event("log", "info", CRASH, end, time=19 * SECOND)
    for number, line in enumerate(lines):
        builder.event("log", "info", "log", {"node": "n2", "line": number, "text": line}, time=19 * SECOND)
    return builder.done()


def crashes(history: History) -> Verdict:
    return CrashChecker().check(history, Limits())


@pytest.mark.parametrize(
    "history",
    [run(), run(target="n1"), run(at_s=9.0), run(at_s=2.0), run(at_s=15.0), run(again_at_s=17)],
)
def test_a_node_that_stops_itself_while_clocks_are_moved_or_shortly_after_is_not_blamed(
    history: History,
) -> None:
    verdict = crashes(history)
    assert verdict.outcome == VALID
    assert "stopped itself, as promised: n2" in verdict.sentence
    assert "+900.0 ms from n1's" in verdict.sentence


@pytest.mark.parametrize(
    "history",
    [
        run(fault="packet"),
        run(at_s=1.0),
        run(at_s=16.0),
        run(status="signal SIGSEGV"),
        run(text="Traceback\nKeyError: 7"),
        run(text=LAST_WORDS + "\nAssertionError: the clock is too far"),
    ],
)
def test_without_a_moved_clock_or_its_words_an_end_is_a_crash(history: History) -> None:
    assert crashes(history).outcome == INVALID


def test_the_lines_in_which_it_says_so_are_forgiven_and_others_are_not() -> None:
    said = tuple(LAST_WORDS.splitlines())
    judged = LogPatternChecker(PATTERNS).check(run(lines=said), Limits())
    assert judged.outcome == VALID
    assert judged.details["lines_of_moved_clocks"] == len(said)
    earlier = "12:00:02 ERROR clock: the clock offset of n2 is +600.0 ms"
    assert LogPatternChecker(PATTERNS).check(run(lines=(earlier, *said)), Limits()).outcome == VALID
    assertion = "12:00:02 ERROR clock: AssertionError: the clock is too far"
    assert LogPatternChecker(PATTERNS).check(run(lines=(assertion, *said)), Limits()).outcome == INVALID
    other = LogPatternChecker(PATTERNS).check(run(lines=(*said, "12:00:01 ERROR range 3: lost")), Limits())
    assert other.outcome == INVALID
    (anomaly,) = other.anomalies
    assert "range 3" in anomaly.sentence


def test_what_was_wrong_before_it_stopped_is_told_together_with_the_offset() -> None:
    stops = ClockStops.of(run(), CRASH)
    wrong = Verdict(INVALID, "register", "a stale read of x")
    told = told_beside(wrong, stops)
    assert told.outcome == INVALID
    assert told.sentence.startswith("a stale read of x; beside it, clocks were further off than is allowed")
    assert "n2" in told.sentence
    right = Verdict(VALID, "register", "linearizable")
    assert told_beside(right, stops) is right
    assert told_beside(wrong, ClockStops.of(run(fault="packet"), CRASH)) is wrong
