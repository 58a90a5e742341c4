"""The general search: other models, crashed calls, limits that hold, and keys that take turns."""

from __future__ import annotations

import itertools
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from drawn import register_history

from checkers.checker import Limits
from checkers.linearizability import LinearizabilityChecker, races
from checkers.linearizability.models import CasRegister, FifoQueue, GrowSet, Model, Mutex
from results.history import History, HistoryBuilder
from results.verdict import INVALID, UNKNOWN, VALID, Verdict


def judge(model: Model, history: History, **limits: float) -> Verdict:
    checker = LinearizabilityChecker(model, split_by_key=False, zones=False)
    return checker.check(history, Limits(**limits))  # type: ignore[arg-type]


class TestMutex:
    def history(self, *events: tuple[int, str]) -> History:
        builder = HistoryBuilder()
        for process, what in events:
            if what in ("acquire", "release"):
                builder.invoke(process, what)
            elif what == "info":
                builder.info(process)
            else:
                builder.ok(process)
        return builder.done()

    def test_one_after_the_other(self) -> None:
        history = self.history(
            (0, "acquire"),
            (1, "acquire"),
            (0, "ok"),
            (0, "release"),
            (1, "ok"),
            (0, "ok"),
            (1, "release"),
            (1, "ok"),
        )
        assert judge(Mutex(), history).outcome == VALID

    def test_two_at_a_time(self) -> None:
        verdict = judge(Mutex(), self.history((0, "acquire"), (0, "ok"), (1, "acquire"), (1, "ok")))
        assert verdict.outcome == INVALID
        assert len(verdict.anomalies[0].evidence["minimal_history"]) == 2
        assert "acquired the lock" in verdict.sentence

    def test_a_crashed_release_may_have_released(self) -> None:
        history = self.history(
            (0, "acquire"), (0, "ok"), (0, "release"), (0, "info"), (1, "acquire"), (1, "ok")
        )
        assert judge(Mutex(), history).outcome == VALID


class TestSet:
    def test_reads_that_disagree_about_concurrent_adds(self) -> None:
        """What the one-pass set checker cannot see: one read has 1 without 2, the other 2 without 1."""

        def history(second: list[int]) -> History:
            builder = HistoryBuilder()
            builder.invoke(0, "add", 1)
            builder.invoke(1, "add", 2)
            builder.invoke(2, "read")
            builder.invoke(3, "read")
            builder.ok(2, [1])
            builder.ok(3, second)
            builder.ok(0)
            builder.ok(1)
            return builder.done()

        assert judge(GrowSet(), history([2, 1])).outcome == VALID
        assert judge(GrowSet(), history([2])).outcome == INVALID


class TestQueue:
    def history(self, first: int, second: int) -> History:
        builder = HistoryBuilder()
        for element in (1, 2):
            builder.invoke(0, "enqueue", element)
            builder.ok(0)
        for element in (first, second):
            builder.invoke(1, "dequeue")
            builder.ok(1, element)
        return builder.done()

    def test_first_in_first_out(self) -> None:
        assert judge(FifoQueue(), self.history(1, 2)).outcome == VALID

    def test_out_of_order(self) -> None:
        verdict = judge(FifoQueue(), self.history(2, 1))
        assert verdict.outcome == INVALID
        assert "dequeued 2" in verdict.sentence

    def test_a_crashed_dequeue_takes_an_unknown_element(self) -> None:
        builder = HistoryBuilder()
        for element in (1, 2):
            builder.invoke(0, "enqueue", element)
            builder.ok(0)
        builder.invoke(1, "dequeue")
        builder.info(1)
        builder.invoke(2, "dequeue")
        builder.ok(2, 2)
        assert judge(FifoQueue(), builder.done()).outcome == VALID


def hopeless(keys: int = 0, seed: int = 3) -> History:
    """Twenty-four writes at once, and reads that need all their orders: nothing decides that in a short time."""
    builder = HistoryBuilder()
    source = random.Random(seed)

    def shape(value: object) -> object:
        return ["hard", value] if keys else value

    for process in range(24):
        builder.invoke(process, "write", shape(process % 12))
    for process in range(24, 48):
        builder.invoke(process, "cas", shape([source.randrange(12), source.randrange(12)]))
    for process in range(48):
        builder.ok(process)
    if keys:
        builder.invoke(100, "write", ["easy", 1])
        builder.ok(100)
        builder.invoke(100, "write", ["easy", 1])
        builder.ok(100)
        builder.invoke(100, "read", ["easy", None])
        builder.ok(100, ["easy", None])
        builder.invoke(100, "read", ["easy", None])
        builder.ok(100, ["easy", 1])
    return builder.done()


class TestLimits:
    def test_time_that_runs_out_is_unknown_and_says_so(self) -> None:
        verdict = judge(CasRegister(), hopeless(), time_s=0.5)
        assert verdict.outcome == UNKNOWN
        assert "the time allowed (0.5 s) ran out" in verdict.sentence
        assert verdict.details["undecided"][0]["operations"] == 48

    def test_memory_that_runs_out_is_unknown_and_says_so(self) -> None:
        verdict = judge(CasRegister(), hopeless(), memory_mb=1)
        assert verdict.outcome == UNKNOWN
        assert "need more than the 1 MB allowed" in verdict.sentence

    @pytest.mark.skipif(not races.is_compiled(), reason="there is one search only, with more to remember")
    def test_a_search_that_fills_the_memory_leaves_the_other_one_on(self) -> None:
        """Depth first has tried much in vain, and remembers all of it; breadth first holds little at a time."""
        source = random.Random(5)
        processes, values = source.choice([8, 10, 12]), source.choice([3, 5, 8])
        history = register_history(
            source,
            operations=6_000,
            processes=processes,
            values=values,
            functions=("write", "write", "cas", "read"),
        )
        assert judge(CasRegister(), history, memory_mb=1).outcome == VALID

    def test_a_hopeless_key_does_not_keep_an_easy_one_from_being_found_wrong(self) -> None:
        checker = LinearizabilityChecker(CasRegister())
        verdict = checker.check(hopeless(keys=2), Limits(time_s=1))
        assert verdict.outcome == INVALID
        assert verdict.details["wrong_keys"] == ["easy"]
        assert [row["key"] for row in verdict.details["undecided"]] == ["hard"]

    def test_no_time_at_all_is_unknown(self) -> None:
        ticks = itertools.count(step=10.0)
        checker = LinearizabilityChecker(CasRegister())
        limits = Limits(time_s=5, clock=lambda: next(ticks))
        assert checker.check(hopeless(keys=2), limits).outcome == UNKNOWN


class TestSpeed:
    """Generous bounds, in processor seconds: they notice a change of kind, not of degree."""

    @pytest.mark.parametrize("lie", [0.0, 0.02], ids=["right", "wrong"])
    def test_ten_thousand_operations_on_one_hot_key(self, lie: float) -> None:
        history = register_history(random.Random(1), operations=10_000, processes=10, values=5)
        if lie:
            history = register_history(
                random.Random(4), operations=10_000, processes=10, values=50, lie=lie / 10
            )
        started = time.process_time()
        verdict = LinearizabilityChecker(CasRegister(), False).check(history, Limits())
        assert time.process_time() - started < 10
        assert verdict.outcome == (INVALID if lie else VALID)

    def test_a_hundred_thousand_operations_with_unique_values(self) -> None:
        history = register_history(
            random.Random(1), operations=100_000, processes=10, values=None, crash=0.001
        )
        started = time.process_time()
        verdict = LinearizabilityChecker(CasRegister(), False).check(history, Limits())
        assert time.process_time() - started < 4
        assert verdict.outcome == VALID
        assert verdict.details["decided_by_zones"] == 1

    def test_one_stale_read_of_a_long_chain_of_cas_is_one_mistake_with_a_short_proof(self) -> None:
        builder = HistoryBuilder()
        builder.invoke(0, "write", 0)
        builder.ok(0)
        for value in range(3000):
            builder.invoke(value % 7, "cas", [value, value + 1])
            builder.ok(value % 7)
        builder.invoke(8, "read")
        builder.ok(8, 1500)
        started = time.process_time()
        verdict = LinearizabilityChecker(CasRegister(), False).check(builder.done(), Limits())
        assert time.process_time() - started < 5
        (anomaly,) = verdict.anomalies
        assert anomaly.type == "stale read"
        assert [row["value"] for row in anomaly.evidence["minimal_history"]] == [
            [1499, 1500],
            [1500, 1501],
            1500,
        ]

    def test_one_read_that_is_late_for_a_thousand_writes_is_one_mistake(self) -> None:
        builder = HistoryBuilder()
        for value in range(1000):
            builder.invoke(0, "write", value)
            builder.ok(0)
            builder.invoke(1, "read")
            builder.ok(1, value)
        builder.invoke(2, "read")
        builder.ok(2, 17)
        verdict = LinearizabilityChecker(CasRegister(), False).check(builder.done(), Limits())
        (anomaly,) = verdict.anomalies
        assert "process 2 read 17" in anomaly.sentence
        assert len(anomaly.evidence["minimal_history"]) == 3
        assert "further_conflicts" not in verdict.details

    def test_a_run_of_a_minute_over_several_keys_with_crashes(self) -> None:
        history = register_history(
            random.Random(2), operations=12_000, processes=10, values=5, keys=8, crash=0.01, fail=0.01
        )
        started = time.process_time()
        assert LinearizabilityChecker(CasRegister()).check(history, Limits()).outcome == VALID
        assert time.process_time() - started < 20
