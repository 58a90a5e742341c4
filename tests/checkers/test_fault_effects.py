"""What a fault did to the service, told by a hundred answers a second but for the time of trouble."""

from __future__ import annotations

from dataclasses import replace

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


def test_three_whole_seconds_are_needed_that_no_fault_has_touched() -> None:
    """A fault from 1 to 5 s leaves the first second, and those from the sixth on."""
    assert normal_rate(answers((1, 6)), [fault(0, 1, 5)], 0, 8 * SECOND) == 100
    assert normal_rate(answers((1, 6)), [fault(0, 1, 5)], 0, 7 * SECOND) is None
    assert normal_rate(answers((1, 6)), [fault(0, 1, 5), fault(1, 20, 21)], 0, 8 * SECOND) == 100


@pytest.mark.parametrize(("begins", "normal"), [(12, 0), (13, 100), (14, 100)])
def test_what_was_normal_before_the_first_fault_stays_so(begins: int, normal: float) -> None:
    """The main phase is from 10 to 30 s, and nobody answers from the fault on."""
    faults = [fault(0, begins, 15), fault(1, 20, 21)]
    assert normal_rate(answers((begins, 30)), faults, 10 * SECOND, END) == normal


def test_silence_and_recovery_are_measured_from_the_fault_and_from_its_healing() -> None:
    found = effect((10.5, 14), fault(0, 10, 12))
    assert found.rate_before == 100
    assert found.rate_during == 25
    assert found.rate_after == 60
    assert found.longest_silence_ns == pytest.approx(3.51 * SECOND, abs=SECOND // 50)
    # The first second with 70 answers begins 0.3 s before the silence ends.
    assert found.recovery_ns == pytest.approx(1.7 * SECOND, abs=SECOND // 50)
    assert not found.never_recovered
    assert effect((10.5, 14), fault(0, 10, 12), fault(1, 11, 12)).recovery_ns == found.recovery_ns
    assert effect((10.5, 14), fault(0, 10, 12), fault(1, 5, 8)).recovery_ns == found.recovery_ns


def test_an_effect_is_within_the_main_phase() -> None:
    assert effect((0, 0), fault(0, 2, 3)).rate_before == 100
    unhealed = effect((0, 0), fault(0, 10, None))
    assert (unhealed.end_ns, unhealed.rate_after, unhealed.recovery_ns) == (END, None, None)
    assert effect((10, 29), fault(0, 10, 29)).recovery_ns == 0
    late = replace(fault(0, 10, 12), effective_ns=11 * SECOND)
    assert effect((0, 0), late).start_ns == 11 * SECOND
    nothing = replace(fault(0, 10, 12), effective_ns=None)
    assert effects_of(answers(), [nothing, fault(1, 30, 31)], 0, END) == []
    assert effect((0, 0), fault(0, 10, 10.4)).rate_during is None
    assert effect((0, 0), fault(0, 10, 10.6)).rate_during == pytest.approx(100)


def test_where_nothing_was_normal_nobody_says_that_it_did_not_come_back() -> None:
    found = effect((0, 30), fault(0, 0.5, 28))
    assert (found.recovery_ns, found.never_recovered) == (None, False)
    assert "no time without faults was long enough" in str(found.why_no_recovery)


def test_a_fault_that_nobody_noticed_is_recovered_from_at_once() -> None:
    found = effect((0, 0), fault(0, 10, 12))
    assert found.recovery_ns == 0
    assert found.rate_during == 100


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ((fault(1, 11, 20),), "another fault was in effect when it was healed"),
        ((fault(1, 12, 20),), "another fault was in effect when it was healed"),
        ((fault(1, 11, None),), "another fault was in effect when it was healed"),
        ((fault(1, 13, 20),), "another fault took effect before"),
        ((fault(1, 13, 14), fault(2, 28, 29)), "another fault took effect before"),
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


def test_a_second_in_which_another_fault_begins_is_no_recovery() -> None:
    found = effect((10, 13), fault(0, 10, 12), fault(1, 13, 14))
    assert found.recovery_ns is None


def history(silence: tuple[float, float], *faults: tuple[float, float]) -> History:
    """Faults, from 10 to 12 s unless others are given, and reads that are answered but for the silence."""
    builder = HistoryBuilder()
    builder.event("harness", "info", "phase", "main", time=0)
    events = [(time, "read") for time in answers(silence)]
    for step, (start, end) in enumerate(faults or ((10, 12),)):
        events += [(int(start * SECOND), f"start {step}"), (int(end * SECOND), f"stop {step}")]
    for time, what in sorted(events):
        if what == "read":
            builder.invoke(0, "read", time=time)
            builder.ok(0, 1, time=time)
        else:
            f, _, step = what.partition(" ")
            value = {"step": int(step), "fault": "kill", "targets": ["n1"], "took_effect": True}
            builder.event("nemesis", "invoke", f, value, time=time)
            builder.event("nemesis", "info", f, value, time=time)
    builder.event("harness", "info", "phase", "final", time=END)
    return builder.done()


def test_a_slow_recovery_is_invalid_only_where_the_scenario_says_how_long_it_may_take() -> None:
    slow = history((10, 15))
    assert AvailabilityChecker().check(slow, Limits()).outcome == "valid"
    for allowed in (2.7, 3):
        assert AvailabilityChecker(longest_recovery_s=allowed).check(slow, Limits()).outcome == "valid"
    verdict = AvailabilityChecker(longest_recovery_s=2).check(slow, Limits())
    assert verdict.outcome == "invalid"
    assert "was back to normal only 2.7 s after the fault kill of step 0 was healed" in verdict.sentence
    assert verdict.details["faults"][0]["recovery_s"] == 2.7


def test_each_fault_has_its_recovery() -> None:
    second = history((20, 25), (10, 12), (20, 22))
    verdict = AvailabilityChecker(longest_recovery_s=2).check(second, Limits())
    assert verdict.outcome == "invalid"
    assert "2.7 s after the fault kill of step 1" in verdict.sentence
    for healed in (28, 28.5):
        no_time = history((10, 30), (10, healed))
        assert AvailabilityChecker(longest_recovery_s=2).check(no_time, Limits()).outcome == "valid"


def test_a_service_that_stays_away_after_healing_is_invalid_too() -> None:
    verdict = AvailabilityChecker(longest_recovery_s=2).check(history((10, 30)), Limits())
    assert verdict.outcome == "invalid"
    assert "was not back to normal 18.0 s after" in verdict.sentence
