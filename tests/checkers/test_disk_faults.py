"""A node that ends because the nemesis broke its disk is right to do so; every other end, and line, is blamed."""

from typing import Any

import pytest

from checkers.checker import Limits
from checkers.crashes import CrashChecker
from checkers.faults import FaultsTookEffectChecker
from checkers.log_patterns import LogPatternChecker
from results.history import History, HistoryBuilder
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

SECOND = 1_000_000_000
LIMITS = Limits()
PATTERNS = (r"Traceback \(most recent call last\)", r"\bAssertionError\b", r" (ERROR|CRITICAL) ")
STOPPING = "12:00:03 CRITICAL server: stopping at once: [Errno 5] Input/output error"
LAST_WORDS = f"""12:00:01 INFO server: ready
{STOPPING}
Traceback (most recent call last):
  File "engine.py", line 7, in sync
OSError: [Errno 5] Input/output error"""
REFUSAL = "cannot open the data folder: log-3 is corrupt at byte 4711: the checksum does not match"


def run(
    *,
    shape: str = "eio",
    fault: str = "disk",
    node: str = "n2",
    status: str = "exit code 70",
    text: str = LAST_WORDS,
    at_s: float | None = 3.0,
    lines: tuple[tuple[str, int | None, str], ...] = (),
    skipped: str | None = None,
    caused_by: dict[int, int] | None = None,
) -> History:
    """A step on n2 from 2 to 5 s, and the end of a node. `lines` are (node, number, text) of the logs; `caused_by`
    says of the number of one that is the head of a traceback which other head leads to it."""
    builder = HistoryBuilder()
    about: dict[str, Any] = {"step": 1, "fault": fault, "shape": shape, "targets": ["n2"]}
    effect = {**about, "took_effect": skipped is None, "skipped": skipped}
    effect["evidence"] = {"probes": [{"what": "sync of a probe", "after": "EIO", "proves": True}]}
    builder.event("nemesis", "invoke", "start", about, time=2 * SECOND)
    builder.event("nemesis", "info", "start", effect, time=2 * SECOND + 1000)
    builder.event("nemesis", "invoke", "stop", about, time=5 * SECOND - 1000)
    builder.event("nemesis", "info", "stop", {**about, "healed": True}, time=5 * SECOND)
    end: dict[str, Any] = {"node": node, "status": status, "text": text}
    if at_s is not None:
        end["time_ns"] = int(at_s * SECOND)
    builder.event("log", "info", "crash", end, time=9 * SECOND)
    for where, number, line in lines:
        value: dict[str, Any] = {"node": where, "line": number, "text": line}
        if number in (caused_by or {}):
            value["caused_by"] = (caused_by or {})[number]
        builder.event("log", "info", "log", value, time=9 * SECOND)
    return builder.done()


def crashes(history: History) -> Verdict:
    return CrashChecker().check(history, LIMITS)


def test_a_node_that_stops_at_a_failed_sync_is_not_blamed() -> None:
    verdict = crashes(run())
    assert verdict.outcome == VALID
    assert "ended unasked, but 1 time on a disk that the nemesis broke (n2)" in verdict.sentence
    assert verdict.details["ended_on_a_broken_disk"][0]["status"] == "exit code 70"


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("full", "CRITICAL server: stopping at once: [Errno 28] No space left on device"),
        ("stall", "fatal: disk stall detected: no sync for 10 s"),
        ("slow", "fatal: disk stalled"),
        ("eio", "panic: fsync: input/output error"),
    ],
)
def test_each_way_to_break_a_disk_forgives_what_is_said_of_it(shape: str, text: str) -> None:
    assert crashes(run(shape=shape, text=text)).outcome == VALID
    assert crashes(run(shape=shape, text="panic: index out of range")).outcome == INVALID


@pytest.mark.parametrize(
    "other",
    [
        {"node": "n1"},
        {"at_s": 1.9},
        {"at_s": 6.0},
        {"status": "signal SIGSEGV"},
        {"status": "exit code 0"},
        {"text": LAST_WORDS + "\nAssertionError: applied 7 > committed 6"},
        {"text": "KeyError: 'range 3'"},
        {"text": ""},
        {"shape": "power-loss"},
        {"fault": "kill"},
        {"skipped": "one at random: every candidate is stopped"},
    ],
    ids=str,
)
def test_any_other_end_is_blamed(other: dict[str, Any]) -> None:
    """The innocent twin differs in one thing only: another node, another moment, another cause."""
    verdict = crashes(run(**other))
    assert verdict.outcome == INVALID
    assert len(verdict.anomalies) == 1


def test_the_moment_of_an_end_may_be_unknown() -> None:
    for at_s in (None, 2.0, 5.0, 5.9):
        assert crashes(run(at_s=at_s)).outcome == VALID
    assert crashes(run(at_s=None, node="n3")).outcome == INVALID


@pytest.mark.parametrize("shape", ["bit-flip", "lost-file", "truncate"])
def test_a_damaged_disk_stays_damaged_after_its_step(shape: str) -> None:
    for at_s in (3.0, 8.0):
        assert crashes(run(shape=shape, status="exit code 1", text=REFUSAL, at_s=at_s)).outcome == VALID
    assert crashes(run(shape=shape, status="exit code 1", text=REFUSAL, at_s=1.0)).outcome == INVALID
    assert crashes(run(shape=shape, status="exit code 1", text="IndexError: list index")).outcome == INVALID


def test_a_node_that_cannot_start_after_a_power_loss_is_blamed() -> None:
    """What was synced is there and what was not is gone: a database must be able to live with that."""
    assert crashes(run(shape="power-loss", status="exit code 1", text=REFUSAL, at_s=4.9)).outcome == INVALID


def logs(history: History) -> Verdict:
    return LogPatternChecker(PATTERNS).check(history, LIMITS)


def test_what_a_node_says_of_its_broken_disk_is_no_fault() -> None:
    verdict = logs(run(lines=(("n2", 17, STOPPING), ("n2", 18, "Traceback (most recent call last):"))))
    assert verdict.outcome == VALID
    assert verdict.details["lines_of_broken_disks"] == 2


def test_the_second_traceback_of_a_chain_is_among_the_last_words() -> None:
    head = "Traceback (most recent call last):"
    chained = f"{LAST_WORDS}\n\nThe above exception was the direct cause of:\n\n{head}\nDiskFailed"
    lines = (("n2", 17, STOPPING), ("n2", 18, head), ("n2", 24, head))
    assert logs(run(text=chained, lines=lines)).outcome == VALID
    tail = f"OSError: [Errno 5] Input/output error\n\n{head}\n  File\nOSError: [Errno 5] the disk failed"
    assert logs(run(text=tail, lines=lines)).outcome == VALID, "the first lines of a long chain are cut off"
    assert logs(run(text=chained, lines=(*lines, ("n2", 90, head)))).outcome == VALID
    once_more = (*lines, ("n2", 90, head), ("n2", 95, head), ("n2", 99, head))
    assert logs(run(text=chained, lines=once_more)).outcome == INVALID


def test_what_follows_from_the_failed_disk_is_forgiven_though_the_end_of_the_node_was_asked_for() -> None:
    """A node that is being stopped and meets a full disk: its end is no crash, so there are no last words."""
    head = "Traceback (most recent call last):"
    lines = (("n2", 17, STOPPING), ("n2", 18, head), ("n2", 38, head), ("n2", 50, head))
    asked: Any = {"status": "signal SIGKILL"}
    assert logs(run(**asked, lines=lines, caused_by={38: 18, 50: 38})).outcome == VALID
    assert logs(run(**asked, lines=lines, caused_by={38: 18})).outcome == INVALID, "50 has no cause"
    assert logs(run(**asked, lines=lines, caused_by={38: 9, 50: 38})).outcome == INVALID, "9 is not forgiven"
    assertion = (*lines, ("n2", 60, "AssertionError: applied 7 > committed 6"))
    assert logs(run(**asked, lines=assertion, caused_by={38: 18, 50: 38})).outcome == INVALID


@pytest.mark.parametrize(
    "line",
    [
        ("n2", 3, "AssertionError: applied 7 > committed 6"),
        ("n2", 3, "12:00:03 ERROR server: turn of range 3 failed"),
        ("n2", 3, "Traceback (most recent call last):"),
        ("n1", 3, STOPPING),
        ("n2", 18, "AssertionError: sync 4 came before sync 3"),
        ("n2", 18, "AssertionError: [Errno 5] Input/output error"),
    ],
    ids=str,
)
def test_every_other_line_is_blamed(line: tuple[str, int, str]) -> None:
    """Beside a forgiven line at 17, and without a process that ended."""
    verdict = logs(run(status="signal SIGKILL", lines=(("n2", 17, STOPPING), line)))
    assert verdict.outcome == INVALID
    assert [anomaly.evidence["node"] for anomaly in verdict.anomalies] == [line[0]]


def test_lines_are_below_others_by_their_numbers() -> None:
    """Without one they follow nothing; and below a line that is to blame none is forgiven."""
    head = "Traceback (most recent call last):"
    assert logs(run(status="signal SIGKILL", lines=(("n2", None, STOPPING),))).outcome == VALID
    unnumbered = (("n2", None, STOPPING), ("n2", None, head))
    assert logs(run(status="signal SIGKILL", lines=unnumbered)).outcome == INVALID
    blamed = (("n2", 3, "12:00:03 ERROR range 3: lost"), ("n2", 4, head))
    assert len(logs(run(status="signal SIGKILL", lines=blamed)).anomalies) == 2


def test_an_error_before_the_disk_failed_is_blamed_though_it_is_among_the_last_words() -> None:
    earlier = "12:00:01 ERROR server: turn of range 3 failed"
    history = run(text=f"{earlier}\n{LAST_WORDS}", lines=(("n2", 16, earlier), ("n2", 17, STOPPING)))
    assert crashes(history).outcome == VALID
    assert logs(history).outcome == INVALID


def test_without_a_disk_fault_such_lines_are_blamed() -> None:
    assert logs(run(fault="kill", shape="", lines=(("n2", 17, STOPPING),))).outcome == INVALID


def test_shapes_of_disks_and_packets_must_take_effect_as_those_of_any_other() -> None:
    history = run()
    assert FaultsTookEffectChecker(["disk:eio@n2"]).check(history, LIMITS).outcome == VALID
    assert FaultsTookEffectChecker(["disk"]).check(history, LIMITS).outcome == VALID
    verdict = FaultsTookEffectChecker(["disk:power-loss", "packet:loss"]).check(history, LIMITS)
    assert verdict.outcome == UNKNOWN
    assert "disk:power-loss: no step of it was carried out" in verdict.sentence
    assert "packet:loss: no step of it was carried out" in verdict.sentence
