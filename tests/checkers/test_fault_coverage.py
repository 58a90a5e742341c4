"""Which faults were in effect while operations succeeded: counted once each, and told in the verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from checkers.checker import Limits
from checkers.fault_coverage import Coverage, by_class, coverage
from checkers.faults import FaultsTookEffectChecker
from results.history import FaultInterval, HistoryBuilder
from results.verdict import VALID


def fault(kind: str, start: int, end: int | None, shape: str | None = None) -> FaultInterval:
    return FaultInterval(start, kind, shape, ("n1",), start, start, end, True, None)


def test_an_answer_counts_once_however_many_steps_overlap() -> None:
    steps = [fault("kill", 10, 20), fault("kill", 15, 30), fault("kill", 40, None)]
    assert coverage(steps, [9, 10, 15, 20, 30, 31, 45]) == [Coverage("kill", 3, 5)]


def test_shapes_are_counted_apart_and_a_class_is_covered_by_any_of_them() -> None:
    steps = [fault("packet", 0, 5, "slow"), fault("packet", 10, 20, "loss"), fault("pause", 6, 9)]
    found = coverage(steps, [1, 2, 15])
    assert found == [Coverage("packet:loss", 1, 1), Coverage("packet:slow", 1, 2), Coverage("pause", 1, 0)]
    assert by_class(found) == {"packet": 2, "pause": 0}


def test_a_step_without_effect_covers_nothing() -> None:
    idle = FaultInterval(1, "kill", None, ("n1",), 0, None, 9, False, None)
    assert coverage([idle], [1, 2]) == []
    assert coverage([replace(idle, took_effect=True)], [1, 2]) == [], "nobody knows since when"
    assert coverage([fault("kill", 0, None)], []) == [Coverage("kill", 1, 0)]


def test_the_verdict_tells_under_which_faults_operations_succeeded() -> None:
    """A read succeeds under the pause; the kill begins after it and nothing succeeds any more."""
    builder = HistoryBuilder()

    def begins(number: int, kind: str, time: int) -> None:
        value: dict[str, Any] = {"step": number, "fault": kind}
        done = {"took_effect": True, "skipped": None, "targets": ["n1"]}
        done["evidence"] = {"probes": [{"what": "n1", "proves": True}]}
        builder.event("nemesis", "invoke", "start", value, time=time)
        builder.event("nemesis", "info", "start", value | done, time=time + 1)

    begins(1, "pause", 10)
    builder.invoke(0, "read", time=20)
    builder.ok(0, 1, time=30)
    begins(2, "kill", 40)
    for process, time in ((0, 50), (1, 60)):
        builder.invoke(process, "read", time=time)
    builder.fail(0, "refused", time=70)
    builder.info(1, "timeout", time=80)
    verdict = FaultsTookEffectChecker(["pause", "kill"]).check(builder.done(), Limits())
    assert verdict.outcome == VALID
    assert verdict.sentence.endswith("; while operations succeeded: pause (1); while none did: kill")
    assert verdict.details["coverage"] == [
        {"fault": "kill", "steps": 1, "answered": 0},
        {"fault": "pause", "steps": 1, "answered": 1},
    ]
