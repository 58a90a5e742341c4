"""What a fault did to the service, told by a hundred answers a second but for the time of trouble."""

from __future__ import annotations

import pytest

from checkers.availability import AvailabilityChecker
from checkers.checker import Limits
from checkers.fault_effects import SECOND, Effect, effects_of, normal_rate
from results.history import FaultInterval, History, HistoryBuilder

END = 30 * SECOND


def fault(step: int, start_s: float, end_s: float | None) -> FaultInterval:
    start = int(start_s * SECOND)
    end = None if end_s is None else int(end_s * SECOND)
    return FaultInterval(step, "kill", None, ("n1",), start, start, end, True, None)


def answers(*silences: tuple[float, float]) -> list[int]:
    """A hundred answers a second, none within the silences, which are given in seconds."""
    spans = [(int(start * SECOND), int(end * SECOND)) for start, end in silences]
    return [
        time for time in range(0, END, SECOND // 100) if not any(start <= time < end for start, end in spans)
    ]


def effect(silence: tuple[float, float], *faults: FaultInterval) -> Effect:
    return effects_of(answers(silence), list(faults), 0, END)[0]


def test_a_second_without_faults_says_what_is_normal() -> None:
    assert normal_rate(answers((10, 14)), [fault(0, 10, 12)], 0, END) == 100
    assert normal_rate(answers(), [fault(0, 0.5, None)], 0, END) is None


def test_silence_and_recovery_are_measured_from_the_fault_and_from_its_healing() -> None:
    found = effect((10.5, 14), fault(0, 10, 12))
    assert found.rate_before == 100
    assert found.rate_during == 25
    assert found.rate_after == 60
    assert found.longest_silence_ns == pytest.approx(3.51 * SECOND, abs=SECOND // 50)
    # The first second with 70 answers begins 0.3 s before the silence ends.
    assert found.recovery_ns == pytest.approx(1.7 * SECOND, abs=SECOND // 50)


def test_a_fault_that_nobody_noticed_is_recovered_from_at_once() -> None:
    found = effect((0, 0), fault(0, 10, 12))
    assert found.recovery_ns == 0
    assert found.rate_during == 100


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ((fault(1, 11, 20),), "another fault was in effect when it was healed"),
        ((fault(1, 13, 20),), "another fault took effect before"),
    ],
)
def test_nobody_says_whose_doing_it_was_when_faults_follow_each_other(
    others: tuple[FaultInterval, ...], why: str
) -> None:
    found = effect((10, 25), fault(0, 10, 12), *others)
    assert found.recovery_ns is None
    assert not found.never_recovered
    assert why in str(found.why_no_recovery)


def test_a_service_that_never_came_back_is_told_from_one_that_had_no_time_to() -> None:
    never = effect((10, 30), fault(0, 10, 12))
    assert never.never_recovered
    assert "18.0 s later" in str(never.why_no_recovery)
    no_time = effect((29, 30), fault(0, 29, 29.5))
    assert not no_time.never_recovered


def history(silence: tuple[float, float]) -> History:
    """One fault from 10 to 12 s, and reads that are answered but for the silence."""
    builder = HistoryBuilder()
    builder.event("harness", "info", "phase", "main", time=0)
    events = [(time, "read") for time in answers(silence)]
    events += [(10 * SECOND, "start"), (12 * SECOND, "stop")]
    value = {"step": 0, "fault": "kill", "targets": ["n1"], "took_effect": True}
    for time, what in sorted(events):
        if what == "read":
            builder.invoke(0, "read", time=time)
            builder.ok(0, 1, time=time)
        else:
            builder.event("nemesis", "invoke", what, value, time=time)
            builder.event("nemesis", "info", what, value, time=time)
    builder.event("harness", "info", "phase", "final", time=END)
    return builder.done()


def test_a_slow_recovery_is_invalid_only_where_the_scenario_says_how_long_it_may_take() -> None:
    slow = history((10, 15))
    assert AvailabilityChecker().check(slow, Limits()).outcome == "valid"
    assert AvailabilityChecker(longest_recovery_s=3).check(slow, Limits()).outcome == "valid"
    verdict = AvailabilityChecker(longest_recovery_s=2).check(slow, Limits())
    assert verdict.outcome == "invalid"
    assert "was back to normal only 2.7 s after the fault kill of step 0 was healed" in verdict.sentence
    assert verdict.details["faults"][0]["recovery_s"] == 2.7


def test_a_service_that_stays_away_after_healing_is_invalid_too() -> None:
    verdict = AvailabilityChecker(longest_recovery_s=2).check(history((10, 30)), Limits())
    assert verdict.outcome == "invalid"
    assert "was not back to normal 18.0 s after" in verdict.sentence
