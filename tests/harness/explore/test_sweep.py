"""A sweep hands out seeds, writes what comes of each, blames the right one, and ends when it should."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future
from itertools import chain, count

import pytest

from harness.environments.environment import EnvironmentFailed
from harness.explore.summary import Effort, marks_known, summary_lines, verdict_line
from harness.explore.sweep import (
    BUDGET_SPENT,
    COMPLETE,
    FAILURE_FOUND,
    STOPPED,
    STOPPED_AT_ONCE,
    Delivered,
    Stop,
    Sweep,
    Tally,
)
from tests.harness.explore.fakes import InlineWorkers, Kept, result


def swept(workers: InlineWorkers, seeds: Iterator[int], **options: object) -> tuple[str, Kept, Tally]:
    kept, tally = Kept(), Tally()
    end = Sweep(workers, kept, seeds, tally, **options).run(Stop(), kept)  # type: ignore[arg-type]
    return end, kept, tally


def test_every_seed_runs_once_and_all_are_valid() -> None:
    workers = InlineWorkers(jobs=3)
    end, kept, tally = swept(workers, iter(range(1, 51)))
    assert end == COMPLETE
    assert sorted(one.seed for one in kept.results) == list(range(1, 51))
    assert workers.submitted == list(range(1, 51))
    assert tally.exit_code(end) == 0


def test_a_sweep_without_seeds_proves_nothing() -> None:
    end, _, tally = swept(InlineWorkers(), iter(()))
    assert (end, tally.exit_code(end)) == (COMPLETE, 3)
    assert "no seed was run" in verdict_line(tally, end)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        (["unknown"], 3),
        (["unknown", "failed"], 4),
        (["invalid", "failed", "unknown"], 1),
        (["invalid"], 1),
    ],
)
def test_the_exit_code_is_that_of_the_worst(outcomes: list[str], code: int) -> None:
    end, _, tally = swept(InlineWorkers(dict(enumerate(outcomes, 3))), iter(range(10)))
    assert tally.exit_code(end) == code


def test_seeds_that_are_done_already_are_passed_over() -> None:
    tally = Tally([result(2), result(4, "invalid")])
    workers, kept = InlineWorkers(), Kept()
    end = Sweep(workers, kept, iter(range(1, 6)), tally).run(Stop(), kept)
    assert workers.submitted == [1, 3, 5]
    assert (end, tally.done, tally.exit_code(end)) == (COMPLETE, 5, 1)


def test_few_seeds_are_under_way_at_any_moment() -> None:
    """A worker pool that never finishes anything is handed two seeds for each worker, out of endlessly many."""

    class Stuck(InlineWorkers):
        def submit(self, seed: int) -> Future[Delivered]:
            self.submitted.append(seed)
            return Future()

    stop = Stop()

    class StopsAtOnce(Kept):
        def refresh(self, tally: Tally) -> None:
            stop.requests = 2

    workers, kept = Stuck(jobs=4), StopsAtOnce()
    end = Sweep(workers, kept, count(1), Tally()).run(stop, kept)
    assert end == STOPPED_AT_ONCE
    assert workers.submitted == list(range(1, 9))


def test_until_failure_goes_on_until_there_is_one() -> None:
    """An unknown seed is none; seeds that were under way are still written."""
    workers = InlineWorkers({5: "unknown", 40: "invalid"}, jobs=2)
    end, kept, tally = swept(workers, chain(range(1, 11), count(11)), until_failure=True)
    assert end == FAILURE_FOUND
    assert tally.exit_code(end) == 1
    assert 40 <= len(kept.results) <= 44


def test_a_harness_that_fails_ends_until_failure_as_well() -> None:
    end, _, tally = swept(InlineWorkers({3: "failed"}), count(1), until_failure=True)
    assert (end, tally.exit_code(end)) == (FAILURE_FOUND, 4)


def test_a_budget_ends_it_and_is_no_failure() -> None:
    now = [0.0]

    def at(_done: object) -> None:
        now[0] += 1.0

    kept, tally = Kept(at), Tally()
    end = Sweep(InlineWorkers(), kept, count(1), tally, budget_s=10.0, clock=lambda: now[0]).run(Stop(), kept)
    assert end == BUDGET_SPENT
    assert 10 <= tally.done <= 12
    assert tally.exit_code(end) == 0


def test_asked_once_to_stop_it_hands_out_no_more_and_is_unknown_at_best() -> None:
    stop = Stop()

    def at(done: object) -> None:
        if getattr(done, "seed", 0) == 7:
            stop.request()

    kept, tally = Kept(at), Tally()
    end = Sweep(InlineWorkers(jobs=2), kept, iter(range(1, 101)), tally).run(stop, kept)
    assert end == STOPPED
    assert 7 <= tally.done <= 12
    assert tally.exit_code(end) == 3
    assert "stopped before the last seed" in verdict_line(tally, end)


def test_seeds_that_an_executor_keeps_ready_are_not_begun_after_a_stop() -> None:
    class Ready(InlineWorkers):
        """One seed is under way, and those behind it can be cancelled no more: they look before they begin."""

        def __init__(self) -> None:
            super().__init__()
            self.ready: list[Future[Delivered | None]] = []

        def submit(self, seed: int) -> Future[Delivered | None]:
            future = super().submit(seed)
            if seed > 1:
                future = Future()
                future.set_running_or_notify_cancel()
                self.ready.append(future)
            return future

        def begin_no_more(self) -> None:
            super().begin_no_more()
            for future in self.ready:
                future.set_result(None)
            self.ready.clear()

    stop, workers = Stop(), Ready()
    kept, tally = Kept(lambda done: stop.request()), Tally()
    end = Sweep(workers, kept, iter(range(1, 101)), tally).run(stop, kept)
    assert end == STOPPED
    assert workers.submitted == [1, 2]
    assert tally.seeds == {1}, "the second was not begun, and is left for whoever goes on"


def test_a_stopped_sweep_that_found_something_says_so() -> None:
    stop = Stop()
    kept, tally = Kept(lambda done: stop.request()), Tally()
    end = Sweep(InlineWorkers({1: "invalid"}), kept, count(1), tally).run(stop, kept)
    assert tally.exit_code(end) == 1


class Breaking(InlineWorkers):
    """A seed in `culprits` takes its worker, and with it every seed that is under way, down."""

    def __init__(self, culprits: set[int], jobs: int) -> None:
        super().__init__({}, jobs)
        self.culprits = culprits
        self.under_way: list[tuple[int, Future[Delivered]]] = []

    def submit(self, seed: int) -> Future[Delivered]:
        self.submitted.append(seed)
        future: Future[Delivered] = Future()
        self.under_way.append((seed, future))
        if len(self.under_way) == 2 * self.jobs or seed in (20,) or self.renewed:
            self.finish()
        return future

    def finish(self) -> None:
        broken = any(seed in self.culprits for seed, _ in self.under_way)
        for seed, future in self.under_way:
            if broken:
                future.set_exception(BrokenExecutor("a process in the pool was terminated abruptly"))
            else:
                future.set_result(Delivered(result(seed)))
        self.under_way = []


def test_a_seed_that_kills_its_worker_is_blamed_and_no_other() -> None:
    workers = Breaking({6}, jobs=2)
    end, kept, tally = swept(workers, iter(range(1, 21)))
    assert end == COMPLETE
    assert sorted(one.seed for one in kept.results) == list(range(1, 21))
    assert [one.seed for one in tally.failures()] == [6]
    assert "ended suddenly" in tally.failures()[0].sentence
    assert tally.failures()[0].command == "seed 6"
    assert tally.exit_code(end) == 4
    assert workers.renewed == 2, "once for all that were under way, once for the one alone"


def test_workers_that_always_die_end_the_sweep_with_every_seed_listed() -> None:
    workers = Breaking(set(range(100)), jobs=2)
    end, _, tally = swept(workers, iter(range(1, 9)))
    assert end == COMPLETE
    assert [one.seed for one in tally.failures()] == list(range(1, 9))


def test_a_worker_that_ended_with_a_stop_is_not_blamed_on_its_seed() -> None:
    """SIGTERM to the process group, as `timeout` and CI send it, ends workers and asks the sweep to stop."""
    stop = Stop()

    class Signalled(Breaking):
        def finish(self) -> None:
            stop.request()
            super().finish()

    workers, kept, tally = Signalled({20}, jobs=1), Kept(), Tally()
    end = Sweep(workers, kept, iter([20]), tally).run(stop, kept)
    assert end == STOPPED
    assert kept.results == [], "left for --resume"
    assert tally.exit_code(end) == 3


def test_an_exception_of_a_worker_is_what_came_of_its_seed() -> None:
    end, _, tally = swept(InlineWorkers({2: RuntimeError("lost its memory")}), iter(range(1, 4)))
    assert end == COMPLETE
    assert [one.seed for one in tally.failures()] == [2]
    assert "RuntimeError: lost its memory" in tally.failures()[0].sentence


def test_workers_that_went_away_end_the_sweep_and_accuse_no_seed() -> None:
    workers = InlineWorkers({3: CancelledError()})
    kept, tally = Kept(), Tally()
    with pytest.raises(EnvironmentFailed, match="workers went away while seed 3"):
        Sweep(workers, kept, iter(range(1, 6)), tally).run(Stop(), kept)
    assert tally.failures() == []


def test_the_summary_lists_failures_shortest_first_and_marks_that_nobody_reached() -> None:
    tally = Tally(
        [
            result(1, marks={"a leader was deposed": 2, "a lock was pushed": 0}),
            result(2, "invalid", fault_steps=9, events=10, anomaly_types=["lost write"]),
            result(3, "invalid", fault_steps=2, events=900),
            result(4, "invalid", fault_steps=2, events=100, marks={"a leader was deposed": 1}),
            result(5, "unknown", fault_steps=1),
            result(6, "failed"),
        ]
    )
    effort = Effort(wall_s=10.0, seeds_wall_s=18.0, cpu_s=9.0, virtual_s=120.0, jobs=2)
    text = "\n".join(
        summary_lines(tally, COMPLETE, effort, marks_known({"a snapshot was sent": "somebody lags"}), asked=6)
    )
    at = [text.index(f"seed {seed}: ") for seed in (6, 4, 3, 2, 5)]
    assert at == sorted(at), text
    assert "6 seeds (complete): 1 valid, 3 invalid, 1 unknown, 1 where the harness failed" in text
    assert "(12.0 to 1); 2 workers, at work on seeds 90 % of the time, with 45 % of a processor each" in text
    assert "anomalies: lost write" in text
    assert "repeat with: ./run test --seed 4" in text
    assert "marks reached: 1 of 3" in text
    assert "a leader was deposed: 3 times, in 2 of 6 seeds" in text
    assert text.index("never reached: 2") < text.index("a lock was pushed")
    assert "  a snapshot was sent: somebody lags" in text
    assert marks_known(("b", "a")) == {"a": "", "b": ""}
    assert marks_known(None) == {}
    assert verdict_line(tally, COMPLETE) == "verdict: invalid (3 of 6 seeds)"
