"""Keeps the score of hunts: which run is next on which worker, what is known so far, and the clean runs at the end.

Rules that live here:
- What is known is whole at any time (`Scorekeeper.score`): whoever stops in the middle has a score of what was done.
- The hunt that has cost least goes on first, so that what is easily found is known soon and the hard ones come last.
- Workers that would be idle take later seeds of hunts that go on; what they find counts only if no earlier seed does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from harness.explore.defects import (
    CleanResult,
    Hunt,
    Hunting,
    HuntResult,
    Score,
    clean_run,
    clean_scenarios,
    directed_hunt,
    hunting_run,
)
from harness.explore.trial import FAILED, INVALID, UNKNOWN, TrialResult

WAKE_S: Final = 0.25
"""How often somebody who waits for runs looks at the time."""


class Listener(Protocol):
    """Somebody who watches."""

    def ended(self, result: HuntResult) -> None:
        """A hunt is over."""

    def was_clean(self, result: TrialResult) -> None:
        """A clean run is over."""

    def refresh(self, keeper: Scorekeeper) -> None:
        """Time has passed."""


class Scorekeeper:
    """One score. `run` fills it; it may be broken off by any exception."""

    def __init__(self, hunts: Sequence[Hunt], runs_dir: Path, *, jobs: int, clean: bool) -> None:
        """`clean`: whether the runs are repeated without the defects."""
        self.hunts = list(hunts)
        self.runs_dir = runs_dir
        self.jobs = jobs
        self.clean = clean
        self.hunting = [Hunting(task) for task in self.hunts]
        self.clean_planned = 0
        self.clean_results: list[TrialResult] = []
        self._began = time.monotonic()

    @property
    def under_way(self) -> list[Hunting]:
        """Hunts of which a run is out."""
        return [one for one in self.hunting if one.under_way and not one.is_over]

    @property
    def results(self) -> list[HuntResult]:
        """Of the hunts that are over, in the order in which they were asked for."""
        return [one.result for one in self.hunting if one.result is not None]

    def replace(self, old: HuntResult, new: HuntResult) -> None:
        """More is known of a hunt that is over."""
        hunting = next(one for one in self.hunting if one.result is old)
        hunting.result = new

    def score(self, ended: str = "") -> Score:
        """What is known. `ended` says why it is not whole."""
        clean = self.clean_results
        return Score(
            ended=ended,
            planned=len(self.hunts),
            hunts=self.results,
            clean=CleanResult(
                planned=self.clean_planned,
                runs=len(clean),
                unknown=sum(one.outcome == UNKNOWN for one in clean),
                failed=sum(one.outcome == FAILED for one in clean),
                false_alarms=sorted(
                    (one for one in clean if one.outcome == INVALID), key=lambda one: one.seed
                ),
            ),
            wall_s=round(time.monotonic() - self._began, 1),
        )

    def run(self, pool: Executor, listener: Listener) -> None:
        """Hunts, then runs the clean database."""
        self._hunt(pool, listener)
        if self.clean:
            self._run_clean(pool, listener)

    def _hunt(self, pool: Executor, listener: Listener) -> None:
        out: dict[Future[Any], tuple[Hunting, int]] = {}
        while True:
            while len(out) < self.jobs:
                following = self._following()
                if following is None:
                    break
                future, position = self._submit(pool, following)
                out[future] = (following, position)
            if not out:
                return
            done, _ = wait(out, timeout=WAKE_S, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda one: out[one][1]):
                hunting, position = out.pop(future)
                was_over = hunting.is_over
                if position < 0:
                    hunting.under_way -= 1
                    hunting.result = future.result()
                else:
                    hunting.take(position, future.result())
                if hunting.result is not None and not was_over:
                    listener.ended(hunting.result)
            listener.refresh(self)

    def _following(self) -> Hunting | None:
        """The hunt that gets the next run: the one with the fewest out, then the one that has cost least. What is
        easily found is found first."""
        wanting = [one for one in self.hunting if one.wants_run and not (one.under_way and one.task.is_story)]
        return min(wanting, key=lambda one: (one.under_way, one.cpu_s), default=None)

    def _submit(self, pool: Executor, hunting: Hunting) -> tuple[Future[Any], int]:
        task = hunting.task
        if task.is_story:
            hunting.under_way += 1
            return pool.submit(directed_hunt, task), -1
        position, request = hunting.hand_out()
        name = task.run_name(request.scenario.seed)
        return pool.submit(hunting_run, request, str(self.runs_dir), name, task.cpu_limit_s), position

    def _run_clean(self, pool: Executor, listener: Listener) -> None:
        waiting = iter(list(enumerate(clean_scenarios(self.hunts, self.results), 1)))
        self.clean_planned = len(clean_scenarios(self.hunts, self.results))
        out: set[Future[TrialResult]] = set()
        while True:
            while len(out) < self.jobs:
                following = next(waiting, None)
                if following is None:
                    break
                number, scenario = following
                out.add(pool.submit(clean_run, scenario, str(self.runs_dir), f"clean-{number}"))
            if not out:
                return
            done, out = wait(out, timeout=WAKE_S, return_when=FIRST_COMPLETED)
            for future in done:
                self.clean_results.append(future.result())
                listener.was_clean(self.clean_results[-1])
            listener.refresh(self)


def with_facts(score: Score, **facts: Any) -> Score:
    """The score, with what only the command line knows: command, code, fresh."""
    return msgspec.structs.replace(score, **facts)
