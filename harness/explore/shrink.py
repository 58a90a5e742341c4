"""Makes a failing run as small as can be while the same anomaly stays: tries smaller cases, keeps the last that failed.

Rules that live here:
- The anomaly must stay the same: same checker, same type. Another one that turns up on the way is not what was asked.
- Smaller cases are tried many at a time, but the first in order that holds is taken, so that the result depends on the
  run alone and not on how many processes there are (a budget of time cuts it off somewhere, one of runs does not).
- A case *holds* if the anomaly shows in N of at most M of its runs. In simulation a case has one run for one seed;
  since taking something out changes whatever is drawn after it, its further runs take other seeds: the schedule and the
  operations are data by then, and the seed is only jitter. On real nodes runs differ by themselves.
- What was found last is whole at any time: a run folder with its verdict. Whatever ends the search, that is the result.
"""

from __future__ import annotations

import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Final, Protocol

import msgspec

from harness.explore.delta import drive
from harness.explore.reductions import REDUCTIONS, Case, Reduction, Seen, Size, Target, see
from harness.explore.trial import FAILED, TrialRequest, TrialResult
from harness.scenario import ScenarioError
from harness.seeds import Seeds
from nemesis.schedule import Schedule
from results.run_folder import RunFolder
from results.verdict import INVALID, Verdict
from workloads.generator.recorded import operations_to_dicts

ROUNDS_MOST: Final = 6
WAKE_S: Final = 0.25
"""How often somebody who waits for a run looks at the time."""


class NotReproduced(Exception):
    """The run was repeated, and the anomaly did not show. The text says what was tried."""


class Spent(Exception):
    """The budget is used up."""


class Confirm(msgspec.Struct, frozen=True):
    """A case holds if the anomaly shows in `wanted` of at most `runs` of its runs."""

    wanted: int
    runs: int

    @classmethod
    def parse(cls, text: str) -> Confirm:
        """`2/3`; raises ScenarioError for what makes no sense."""
        match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ScenarioError(f"--confirm {text!r}: must be N/M with 1 <= N <= M, such as 2/3")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.wanted}/{self.runs}"


class Budget(msgspec.Struct, frozen=True):
    """How much the search may cost; None: as much as it takes."""

    seconds: float | None = None
    runs: int | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`90s`, `5m`, `1h` or `200runs`; raises ScenarioError for anything else."""
        match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?) ?(s|m|h|runs?)", text.strip())
        amount = float(match[1]) if match else 0.0
        if match is None or amount <= 0 or (match[2].startswith("run") and amount != int(amount)):
            raise ScenarioError(
                f"--budget {text!r}: must be a time such as 90s, 5m, 1h, or runs such as 200runs"
            )
        if match[2].startswith("run"):
            return cls(runs=int(amount))
        return cls(seconds=amount * {"s": 1, "m": 60, "h": 3600}[match[2]])


class Best(msgspec.Struct, frozen=True):
    """The smallest case so far."""

    case: Case
    seen: Seen
    verdict: Verdict
    folder: str
    """Of its run."""


class Gain(msgspec.Struct, frozen=True):
    """One case that held: by which reduction, after how many runs, and its size."""

    reduction: str
    runs: int
    size: Size


Submit = Callable[[TrialRequest, str], "Future[TrialResult]"]
"""Begins the run of a request in a folder of this name."""


class Listener(Protocol):
    """Somebody who watches the search."""

    def trying(self, shrinking: Shrinking) -> None:
        """A run is over."""

    def smaller(self, shrinking: Shrinking) -> None:
        """A smaller case held."""


class Shrinking:
    """One search. `best` is None until the anomaly was seen again."""

    def __init__(
        self,
        starts: Sequence[Case],
        target: Target,
        submit: Submit,
        listener: Listener,
        *,
        confirm: Confirm,
        budget: Budget,
        jobs: int = 1,
        varied: bool = True,
        clock: Callable[[], float] = time.monotonic,
        reductions: Sequence[tuple[str, Reduction]] = REDUCTIONS,
    ) -> None:
        """`starts`: the run as data, in the ways in which it may be repeated, the truest first. `varied`: the further
        runs of a case take other seeds (simulation)."""
        self.starts = list(starts)
        self.target = target
        self.submit = submit
        self.listener = listener
        self.confirm = confirm
        self.budget = budget
        self.jobs = jobs
        self.varied = varied
        self.clock = clock
        self.reductions = reductions
        self.best: Best | None = None
        self.gains: list[Gain] = []
        self.runs = 0
        """Runs that are over."""
        self.failed_runs = 0
        """Of those, the ones in which the harness failed (a case that cannot be had is one)."""
        self.problem: str | None = None
        """What the last of those said."""
        self.reduction = "the run itself"
        """What is being tried."""
        self.began = clock()
        self._submitted = 0
        self._refuted: set[tuple[int, bytes]] = set()
        """Seed and case of what did not hold."""

    # The search

    def run(self) -> Best:
        """The smallest case that was found. Raises NotReproduced, or Spent with `best` as it is then."""
        self._reproduce()
        for _ in range(ROUNDS_MOST):
            before = len(self.gains)
            for name, reduction in self.reductions:
                self.reduction = name
                assert self.best is not None, "the anomaly was seen"
                drive(reduction(self.best.case, self.best.seen), self._first_that_holds)
            if len(self.gains) == before:
                break
        assert self.best is not None, "the anomaly was seen"
        return self.best

    def _reproduce(self) -> None:
        """Sees the anomaly once more, in the run as it was."""
        if self._first_that_holds(self.starts) is None:
            why = (
                f"; in {self.failed_runs} of them the harness failed: {self.problem}"
                if self.failed_runs
                else ""
            )
            raise NotReproduced(
                f"{self.target} did not show in {self.runs} run{'s' * (self.runs != 1)} of the same scenario{why}"
            )

    # Trying

    def _first_that_holds(self, cases: Sequence[Case]) -> int | None:
        """The position of the first case in order that holds; it is the best now. Raises Spent."""
        shown: list[list[Best]] = [[] for _ in cases]
        tried = [0] * len(cases)
        over = [(self._own_seed, case.key()) in self._refuted for case in cases]
        waiting = iter(list(self._order(len(cases))))
        under_way: deque[tuple[int, int, Future[TrialResult]]] = deque()
        try:
            while True:
                self._submit_ahead(cases, waiting, under_way, over)
                if not under_way:
                    return None
                index, attempt, future = under_way.popleft()
                result = self._wait(future)
                if over[index]:
                    self._discard(result.folder)
                    continue
                self.runs += 1
                tried[index] += 1
                found = self._look(self._case_of(cases[index], attempt), result)
                if found is None or shown[index]:
                    self._discard(result.folder)
                if found is not None:
                    shown[index].append(found)
                    if len(shown[index]) >= self.confirm.wanted:
                        self._accept(shown[index][0])
                        return index
                if self.confirm.runs - tried[index] + len(shown[index]) < self.confirm.wanted:
                    over[index] = True
                    self._refuted.add((self._own_seed, cases[index].key()))
                self.listener.trying(self)
        finally:
            for _, _, future in under_way:
                future.cancel()

    def _order(self, count: int) -> Iterator[tuple[int, int]]:
        """Which run of which case is tried when. Where one is enough, all cases come once before any comes again;
        where several are wanted, a case is decided before the next one."""
        if self.confirm.wanted == 1:
            return ((index, attempt) for attempt in range(self.confirm.runs) for index in range(count))
        return ((index, attempt) for index in range(count) for attempt in range(self.confirm.runs))

    def _submit_ahead(
        self,
        cases: Sequence[Case],
        waiting: Iterator[tuple[int, int]],
        under_way: deque[tuple[int, int, Future[TrialResult]]],
        over: list[bool],
    ) -> None:
        most = self.budget.runs
        while len(under_way) < self.jobs:
            self._check_time()
            if most is not None and under_way and self.runs + len(under_way) >= most:
                return
            following = next((one for one in waiting if not over[one[0]]), None)
            if following is None:
                return
            if most is not None and self.runs >= most:
                raise Spent(f"the budget of {most} runs is used up")
            index, attempt = following
            case = self._case_of(cases[index], attempt)
            self._submitted += 1
            request = TrialRequest(
                scenario=case.scenario,
                schedule=Schedule.of(case.steps).to_dicts(),
                operations=None if case.operations is None else operations_to_dicts(case.operations),
            )
            under_way.append((index, attempt, self.submit(request, f"try-{self._submitted}")))

    @property
    def _own_seed(self) -> int:
        return self.starts[0].scenario.seed if self.best is None else self.best.case.scenario.seed

    def _case_of(self, case: Case, attempt: int) -> Case:
        """The case with the seed of this attempt: at first that of the best."""
        if not self.varied or attempt == 0:
            return case.with_scenario(seed=self._own_seed)
        seed = Seeds(self.starts[0].scenario.seed).number(f"shrink {attempt}") % 2**43
        return case.with_scenario(seed=seed)

    def _wait(self, future: Future[TrialResult]) -> TrialResult:
        """The result of a run; raises Spent if there is no time to wait for it any more."""
        while True:
            try:
                return future.result(timeout=WAKE_S)
            except FutureTimeout:
                if future.done():  # What the run itself raised.
                    return future.result()
                self._check_time()

    def _check_time(self) -> None:
        if self.budget.seconds is not None and self.elapsed_s >= self.budget.seconds:
            raise Spent(f"the budget of {self.budget.seconds:g} s is used up")

    @property
    def elapsed_s(self) -> float:
        return self.clock() - self.began

    def _look(self, case: Case, result: TrialResult) -> Best | None:
        """What a run showed of the anomaly; None if it did not."""
        if result.outcome == FAILED:
            self.failed_runs += 1
            self.problem = result.sentence
        if result.outcome != INVALID or result.folder is None:
            return None
        folder = RunFolder(Path(result.folder))
        verdict = folder.read_verdict()
        if verdict is None or self.target.find(verdict) is None:
            return None
        seen = see(folder.read_history(), verdict, self.target, case.scenario.processes)
        return None if seen is None else Best(case, seen, verdict, result.folder)

    def _accept(self, found: Best) -> None:
        if self.best is not None:
            self._discard(self.best.folder)
        self.best = found
        self.gains.append(Gain(self.reduction, self.runs, found.case.size()))
        self.listener.smaller(self)

    @staticmethod
    def _discard(folder: str | None) -> None:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
