"""Workers, sinks and watchers of sweeps that do what a test says, in the order that it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from random import Random
from typing import Any

from harness.explore.sweep import Delivered, Stop, Tally
from harness.explore.trial import TrialResult
from nemesis.cluster import CAPABILITIES, Capability

EXIT_CODES = {"valid": 0, "invalid": 1, "unknown": 3, "failed": 4}


def result(seed: int, outcome: str = "valid", **more: Any) -> TrialResult:
    """What a seed came to."""
    fields: dict[str, Any] = {
        "exit_code": EXIT_CODES[outcome],
        "sentence": f"seed {seed} is {outcome}",
        "command": f"./run test --seed {seed}",
        "virtual_s": 20.0,
        "cpu_s": 1.0,
    }
    return TrialResult(seed=seed, outcome=outcome, **(fields | more))


class InlineWorkers:
    """Runs a seed when it is submitted; what it comes to is looked up, an exception is its end."""

    def __init__(
        self, outcomes: Mapping[int, str | TrialResult | Exception] | None = None, jobs: int = 1
    ) -> None:
        self.outcomes = outcomes or {}
        self.jobs = jobs
        self.submitted: list[int] = []
        self.renewed = 0
        self.is_ending = False

    def begin_no_more(self) -> None:
        self.is_ending = True

    def submit(self, seed: int) -> Future[Delivered | None]:
        self.submitted.append(seed)
        future: Future[Delivered | None] = Future()
        outcome = self.outcomes.get(seed, "valid")
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        elif isinstance(outcome, TrialResult):
            future.set_result(Delivered(outcome))
        else:
            future.set_result(Delivered(result(seed, outcome)))
        return future

    def renew(self) -> None:
        self.renewed += 1


class Kept:
    """A sink and a watcher that remember; `at` is called when a seed is done."""

    def __init__(self, at: Callable[[TrialResult], None] = lambda result: None) -> None:
        self.results: list[TrialResult] = []
        self.at = at

    def append(self, result: TrialResult) -> None:
        self.results.append(result)

    def took(self, result: TrialResult, tally: Tally) -> None:
        assert self.results[-1] == result, "it is written before anybody hears of it"
        self.at(result)

    def refresh(self, tally: Tally) -> None:
        assert tally.done == len(tally.seeds)


class FakeEnvironment:
    """An environment with faults and two knobs, to draw for. Nothing runs in it."""

    name = "simulation"

    def __init__(self, seed: int = 0) -> None:
        pass

    def capabilities(self, system: Any) -> dict[str, Capability]:
        return {fault: Capability(fault, True, "by decree") for fault in CAPABILITIES}

    def check_options(self, options: Mapping[str, Any], nodes: Sequence[str]) -> None:
        pass

    def draw_options(self, random: Random) -> dict[str, Any]:
        return {"latency_ms": round(random.uniform(1, 20), 2), "sync_ms": random.choice([0.1, 5.0])}

    def round_trip_ms(self, options: Mapping[str, Any]) -> float:
        return 2 * float(options["latency_ms"]) + float(options["sync_ms"])


__all__ = ["FakeEnvironment", "InlineWorkers", "Kept", "Stop", "result"]
