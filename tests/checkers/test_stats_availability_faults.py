"""The checkers that watch the run itself: stats, availability, log patterns, and whether faults took effect."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.availability import AvailabilityChecker
from checkers.checker import Limits
from checkers.faults import FaultsTookEffectChecker
from checkers.log_patterns import LogPatternChecker
from checkers.stats import StatsChecker
from results.history import History, HistoryBuilder
from results.verdict import INVALID, UNKNOWN, VALID

LIMITS = Limits()
SECOND = 1_000_000_000


def some_operations() -> HistoryBuilder:
    builder = HistoryBuilder()
    builder.invoke(0, "write", 1)
    builder.ok(0)
    builder.invoke(0, "write", 2)
    builder.info(0, ["timeout", "no answer within 1 s"])
    builder.invoke(1, "read")
    builder.fail(1, ["refused", "no leader"])
    return builder


class TestStats:
    def test_counts_by_function_phase_and_error(self) -> None:
        builder = some_operations()
        builder.invoke(1, "read", phase="final")
        builder.ok(1, 1)
        verdict = StatsChecker(["write"]).check(builder.done(), LIMITS)
        assert verdict.outcome == VALID
        assert verdict.details["phases"]["main"]["write"] == {"count": 2, "ok": 1, "fail": 0, "info": 1}
        assert verdict.details["phases"]["final"]["read"]["ok"] == 1
        assert verdict.details["errors"] == {"read": {"refused": 1}, "write": {"timeout": 1}}
        assert verdict.sentence == "3 operations in the main phase: 1 ok, 1 fail, 1 info"

    def test_a_function_that_never_succeeded_in_the_main_phase_proves_nothing(self) -> None:
        builder = some_operations()
        builder.invoke(1, "read", phase="final")
        builder.ok(1, 1)
        verdict = StatsChecker(["read", "write"]).check(builder.done(), LIMITS)
        assert verdict.outcome == UNKNOWN
        assert "read never succeeded in the main phase (read: 1 tried, mostly refused)" in verdict.sentence

    def test_an_error_is_known_by_its_kind_however_it_is_told(self) -> None:
        builder = HistoryBuilder()
        for error in ("refused", [], None, ["refused", 3]):
            builder.invoke(0, "read")
            builder.fail(0, error)
        builder.invoke(0, "read")
        verdict = StatsChecker().check(builder.done(), LIMITS)
        assert verdict.details["errors"] == {"read": {"refused": 2, "no reason given": 2, "[]": 1}}

    def test_a_function_that_was_never_tried_proves_nothing_either(self) -> None:
        verdict = StatsChecker(["cas"]).check(some_operations().done(), LIMITS)
        assert verdict.outcome == UNKNOWN
        assert "cas: 0 tried" in verdict.sentence


def partitioned(*, heals: bool = True) -> History:
    """Answers every half second, none while the partition from 2 to 5 s is in effect."""
    builder = HistoryBuilder()
    value: dict[str, Any] = {"step": 1, "fault": "partition", "shape": "bridge"}
    process = 0
    for half in range(16):
        now = half * SECOND // 2
        if half == 4:
            builder.event("nemesis", "invoke", "start", value, time=now)
            effect = {**value, "targets": ["n1"], "took_effect": True, "evidence": {"probes": 3}}
            builder.event("nemesis", "info", "start", effect, time=now)
        if half == 10 and heals:
            builder.event("nemesis", "invoke", "stop", value, time=now)
            builder.event("nemesis", "info", "stop", {**value, "healed": True}, time=now)
        builder.invoke(process, "read", time=now)
        if 4 <= half < 10:
            builder.info(process, "timeout", time=now + 1000)
            process += 1
        else:
            builder.ok(process, 1, time=now + 1000)
    builder.event("harness", "info", "phase", "heal", time=8 * SECOND)
    return builder.done()


class TestAvailability:
    def test_it_measures_overall_and_under_each_fault(self) -> None:
        verdict = AvailabilityChecker().check(partitioned(), LIMITS)
        assert verdict.outcome == VALID
        assert verdict.details["ok_fraction"] == 0.625
        (fault,) = verdict.details["faults"]
        assert (fault["operations"], fault["ok"], fault["info"], fault["ok_fraction"]) == (6, 0, 6, 0.0)
        assert "the longest time without an answer was 3.500 s, from 1.500 s" in verdict.sentence

    def test_a_fault_that_is_never_healed_lasts_until_the_end_of_the_main_phase(self) -> None:
        (fault,) = AvailabilityChecker().check(partitioned(heals=False), LIMITS).details["faults"]
        assert fault["end_ns"] == 8 * SECOND

    def test_only_a_threshold_makes_it_invalid(self) -> None:
        history = partitioned()
        assert (
            AvailabilityChecker(least_ok_fraction=0.6, longest_outage_s=4).check(history, LIMITS).outcome
            == VALID
        )
        exact = AvailabilityChecker(least_ok_fraction=0.625, longest_outage_s=3.5)
        assert exact.check(history, LIMITS).outcome == VALID
        verdict = AvailabilityChecker(least_ok_fraction=0.7, longest_outage_s=3).check(history, LIMITS)
        assert verdict.outcome == INVALID
        assert [anomaly.type for anomaly in verdict.anomalies] == [
            "too few answers",
            "too long without an answer",
        ]

    def test_no_answer_at_all_is_one_long_outage(self) -> None:
        builder = HistoryBuilder()
        builder.invoke(0, "read", time=0)
        builder.invoke(1, "read", time=0)
        builder.fail(1, time=1 * SECOND)
        builder.fail(0, time=2 * SECOND)
        verdict = AvailabilityChecker().check(builder.done(), LIMITS)
        assert verdict.details["ok_fraction"] == 0
        assert "was 2.000 s" in verdict.sentence
        for phase, time in (("heal", 3), ("final", 9)):
            builder.event("harness", "info", "phase", phase, time=time * SECOND)
        assert "was 3.000 s" in AvailabilityChecker().check(builder.done(), LIMITS).sentence

    def test_the_longest_outage_is_between_the_times_of_answers(self) -> None:
        builder = HistoryBuilder()
        builder.invoke(9, "read", time=0)
        for process, time in enumerate((0, 1, 1.5, 3.5, 6)):
            builder.invoke(process, "read", time=int(time * SECOND))
            builder.ok(process, 1, time=int(time * SECOND))
        builder.invoke(0, "read", time=7 * SECOND)
        builder.ok(9, 1, time=8 * SECOND)
        verdict = AvailabilityChecker(longest_outage_s=2.4).check(builder.done(), LIMITS)
        assert "for 2.500 s from 3.500 s" in verdict.sentence
        assert verdict.anomalies[0].operations == [8, 10]
        assert AvailabilityChecker(longest_outage_s=2.6).check(builder.done(), LIMITS).outcome == VALID

    def test_an_empty_history_is_no_error(self) -> None:
        assert AvailabilityChecker().check(History([]), LIMITS).outcome == VALID


class TestLogPatterns:
    def history(self, text: str) -> History:
        builder = HistoryBuilder()
        builder.event("log", "info", "log", {"node": "n2", "line": 17, "text": text})
        return builder.done()

    def test_a_panic_is_invalid(self) -> None:
        verdict = LogPatternChecker({"panic": "panic:|AssertionError"}).check(
            self.history("panic: index 3"), LIMITS
        )
        assert verdict.outcome == INVALID
        assert verdict.anomalies[0].operations == [0]
        assert (
            "node n2 logged 1 line that match 'panic'; the first, line 17: panic: index 3" in verdict.sentence
        )

    def test_a_harmless_line_is_not(self) -> None:
        assert LogPatternChecker(["panic:"]).check(self.history("no panic here"), LIMITS).outcome == VALID


def step(
    number: int, fault: str, *, took_effect: bool, skipped: str | None = None, probes: Any = None, **more: Any
) -> list[Any]:
    """A step whose probes bear out what it claims, unless they are given."""
    value = {"step": number, "fault": fault, **more}
    evidence = {"probes": [{"what": "n1", "proves": took_effect}] if probes is None else probes}
    done = {**value, "took_effect": took_effect, "skipped": skipped, "targets": ["n1"], "evidence": evidence}
    return [("nemesis", "invoke", "start", value), ("nemesis", "info", "start", done)]


def nemesis(*steps: list[Any]) -> History:
    builder = HistoryBuilder()
    for events in steps:
        for event in events:
            builder.event(*event)
    return builder.done()


class TestFaultsTookEffect:
    def test_every_requested_fault_with_effect_is_valid(self) -> None:
        history = nemesis(
            step(1, "partition", took_effect=True),
            step(2, "kill", took_effect=False),
            step(3, "kill", took_effect=True),
        )
        verdict = FaultsTookEffectChecker(["partition", "kill"]).check(history, LIMITS)
        assert verdict.outcome == VALID
        assert verdict.sentence == "every requested fault took effect: partition 1 time, kill 1 time"

    def test_a_fault_without_effect_makes_it_unknown_and_says_why(self) -> None:
        history = nemesis(
            step(1, "kill", took_effect=False, skipped="n1 is down"), step(2, "kill", took_effect=False)
        )
        verdict = FaultsTookEffectChecker(["kill", "clock"]).check(history, LIMITS)
        assert verdict.outcome == UNKNOWN
        assert "kill: 1 step without effect, skipped (n1 is down)" in verdict.sentence
        assert "clock: no step of it was carried out" in verdict.sentence

    @pytest.mark.parametrize(("shape", "outcome"), [("bridge", VALID), ("ring", UNKNOWN)])
    def test_a_requested_shape_must_be_the_one_that_took_effect(self, shape: str, outcome: str) -> None:
        history = nemesis(step(1, "partition", took_effect=True, shape="bridge"))
        assert (
            FaultsTookEffectChecker([f"partition:{shape}@leader"]).check(history, LIMITS).outcome == outcome
        )

    @pytest.mark.parametrize(
        ("probes", "why"),
        [
            ([], "claims an effect without a single probe"),
            (3, "claims an effect without a single probe"),
            ([{"what": "link n1 -> n2", "proves": False}], "denies: link n1 -> n2"),
            (
                [{"what": "n1", "proves": True}, {"what": "link n1 -> n2", "proves": False}],
                "denies: link n1 -> n2",
            ),
            ([{"what": "n1"}], "denies: n1"),
            (["cut"], "denies: 'cut'"),
            ([{"what": "n1", "proves": None}], "of which nothing could be measured"),
        ],
    )
    def test_an_effect_that_the_probes_do_not_bear_out_is_unknown(self, probes: Any, why: str) -> None:
        """Also where another step of the same class is proven: a record that contradicts itself proves nothing."""
        history = nemesis(
            step(1, "partition", took_effect=True),
            step(2, "partition", took_effect=True, probes=probes, shape="ring"),
        )
        verdict = FaultsTookEffectChecker(["partition"]).check(history, LIMITS)
        assert verdict.outcome == UNKNOWN
        assert "step 2 (partition:ring) claims an effect" in verdict.sentence
        assert why in verdict.sentence
        assert [one["proven"] for one in verdict.details["steps"]] == [True, False]
        alone = FaultsTookEffectChecker(["partition:ring"]).check(history, LIMITS)
        assert "partition:ring: 1 step without proof of the effect" in alone.sentence

    def test_a_link_with_a_stopped_end_leaves_the_proof_of_the_others(self) -> None:
        probes = [{"what": "n1 -> n2", "proves": True}, {"what": "n1 -> n3", "proves": None}]
        history = nemesis(step(1, "partition", took_effect=True, probes=probes))
        assert FaultsTookEffectChecker(["partition"]).check(history, LIMITS).outcome == VALID

    def test_without_requests_there_is_nothing_to_prove(self) -> None:
        assert FaultsTookEffectChecker([]).check(nemesis(), LIMITS).outcome == VALID
