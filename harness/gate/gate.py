"""A gate: every run of a plan, what is known of its failures, what it has lost against a baseline; one exit code.

Rules that live here:
- Retries gather evidence and never make a pass: a run's outcome is the worst of its attempts.
- A known failure is a warning until it expires, and only if every kind of anomaly of the run is known.
- What was not run, and what proved nothing, is unknown, and unknown is no pass; unless the plan says that the budget
  may leave runs out.
- Throughput is compared as a ratio. In simulation, time is virtual and the figures of two machines are the same. On a
  real cluster they are not: there the plan's `control` is run in between, and a cell is compared by its share of the
  control's throughput in the same gate.
- What went wrong last time runs first, so that a budget is spent on that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from datetime import date
from pathlib import Path
from statistics import median
from typing import Final, Protocol

import msgspec

from harness.explore.sweep import EXIT_CODES, WORST_LAST, Stop
from harness.explore.trial import FAILED, TrialRequest, TrialResult
from harness.gate.plan import CONTROL, Cell, GatePlan, Known
from harness.scenario import ScenarioError
from results.run_folder import file_name
from results.verdict import INVALID, UNKNOWN, VALID

WAKE_S: Final = 0.2
LEFT_OUT: Final = "left out"
"""The outcome of a run that the budget did not reach."""
KNOWN: Final = "known"
"""The outcome of a run all of whose failures are known and have not expired."""
THROUGHPUT: Final = "answers_per_s"


class Task(msgspec.Struct, frozen=True):
    """One run of a cell."""

    cell: str
    number: int
    """Which of the cell's scenarios."""
    request: TrialRequest

    @property
    def seed(self) -> int:
        return self.request.scenario.seed

    @property
    def label(self) -> str:
        return f"{self.cell} seed {self.seed}"


class GateRun(msgspec.Struct, kw_only=True):
    """What came of one run."""

    cell: str
    seed: int
    command: str
    attempts: list[TrialResult] = []
    outcome: str = LEFT_OUT
    known: list[Known] = []
    expired: list[Known] = []

    @property
    def worst(self) -> TrialResult | None:
        """The attempt that decides."""
        return max(self.attempts, key=lambda one: WORST_LAST.index(one.outcome), default=None)


class CellResult(msgspec.Struct, kw_only=True):
    """A cell's figures over its runs, and how they stand to the baseline's."""

    cell: str
    throughput: float | None = None
    """Answers a second, the median of its valid runs."""
    share_of_control: float | None = None
    ratio_to_baseline: float | None = None
    regression: str | None = None
    """What it has lost, in words; None if nothing, or nothing can be compared."""


class Baseline(msgspec.Struct, kw_only=True):
    """What an earlier gate measured."""

    code: str = ""
    cells: dict[str, BaselineCell] = {}


class BaselineCell(msgspec.Struct, kw_only=True):
    outcome: str = VALID
    throughput: float | None = None
    share_of_control: float | None = None


class GateResult(msgspec.Struct, kw_only=True):
    """Everything that a gate found out; what is written as `gate.json`."""

    name: str
    code: str
    runs: list[GateRun]
    cells: list[CellResult]
    unused: list[Known] = []
    """Known failures of which none was seen: perhaps they are mended."""
    notes: list[str] = []
    stopped: bool = False
    may_leave_out: bool = False

    @property
    def outcome(self) -> str:
        """valid, invalid, unknown or failed."""
        found = {VALID}
        for run in self.runs:
            if run.outcome == LEFT_OUT:
                found.add(VALID if self.may_leave_out and not self.stopped else UNKNOWN)
            else:
                found.add(VALID if run.outcome == KNOWN else run.outcome)
        if any(cell.regression for cell in self.cells):
            found.add(INVALID)
        if all(run.outcome == LEFT_OUT for run in self.runs):
            found.add(UNKNOWN)
        return max(found, key=WORST_LAST.index)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]


class Listener(Protocol):
    """Somebody who watches."""

    def took(self, task: Task, result: TrialResult, attempt: int) -> None:
        """An attempt is over; the first is 1."""


RunTrial = Callable[[TrialRequest, str], TrialResult]
"""Runs a trial in a run folder of this name."""


class Gate:
    """Runs a plan; see the rules above."""

    def __init__(
        self,
        plan: GatePlan,
        *,
        code: str,
        today: date,
        baseline: Baseline | None = None,
        is_virtual: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_virtual(environment)`: whether its runs share the machine without disturbing each other."""
        self.plan = plan
        self._code = code
        self._today = today
        self._baseline = baseline
        self._is_virtual = is_virtual
        self._clock = clock
        self.runs = {
            (cell.name, number): GateRun(
                cell=cell.name, seed=scenario.seed, command=scenario.command("./run")
            )
            for cell in plan.all_cells
            for number, scenario in enumerate(cell.scenarios)
        }

    def run(
        self, pool: Executor | None, jobs: int, run_trial: RunTrial, stop: Stop, listener: Listener
    ) -> GateResult:
        """Runs everything; virtual runs in the pool, `jobs` at a time, all others here, one after the other.

        `run_trial` is sent to the pool and must be a plain function or callable value.
        """
        began = self._clock()
        tasks = self._ordered()

        def enough() -> bool:
            spent = self.plan.budget_s is not None and self._clock() - began >= self.plan.budget_s
            return spent or bool(stop.requests)

        virtual = [task for task in tasks if self._is_virtual(task.request.scenario.environment)]
        real = [task for task in tasks if not self._is_virtual(task.request.scenario.environment)]
        if pool is not None:
            self._run_in_pool(pool, jobs, virtual, run_trial, enough, stop, listener)
        else:
            real = tasks
        for task in real:
            attempt = 1
            while not enough() and not self._is_over(task):
                self._take(task, run_trial(task.request, folder_name(task, attempt)), listener)
                attempt += 1
        return self._result(stopped=bool(stop.requests))

    def _ordered(self) -> list[Task]:
        """What failed last time, what is new, and the rest; the control's runs spread evenly among them."""

        def rank(cell: Cell) -> int:
            before = self._baseline.cells.get(cell.name) if self._baseline is not None else None
            if before is None:
                return 1 if self._baseline is not None else 2
            return 2 if before.outcome in (VALID, KNOWN) else 0

        tasks = [task for cell in sorted(self.plan.cells, key=rank) for task in _tasks(cell)]
        if self.plan.control is None:
            return tasks
        controls = _tasks(self.plan.control)
        for number, control in enumerate(controls):
            tasks.insert(number * (len(tasks) + 1) // len(controls), control)
        return tasks

    def _run_in_pool(
        self,
        pool: Executor,
        jobs: int,
        tasks: Sequence[Task],
        run_trial: RunTrial,
        enough: Callable[[], bool],
        stop: Stop,
        listener: Listener,
    ) -> None:
        waiting = list(reversed(tasks))
        pending: dict[Future[TrialResult], Task] = {}
        while pending or (waiting and not enough()):
            while waiting and len(pending) < jobs and not enough():
                task = waiting.pop()
                attempt = len(self.runs[task.cell, task.number].attempts) + 1
                pending[pool.submit(run_trial, task.request, folder_name(task, attempt))] = task
            if stop.requests >= 2:
                return
            done, _ = wait(pending, timeout=WAKE_S, return_when=FIRST_COMPLETED)
            for future in done:
                task = pending.pop(future)
                self._take(task, _result_of(future, task), listener)
                if not self._is_over(task):
                    waiting.append(task)

    def _is_over(self, task: Task) -> bool:
        """Whether a run has had all its attempts."""
        attempts = self.runs[task.cell, task.number].attempts
        return bool(attempts) and (attempts[0].outcome == VALID or len(attempts) > self.plan.retries)

    def _take(self, task: Task, result: TrialResult, listener: Listener) -> None:
        run = self.runs[task.cell, task.number]
        run.attempts.append(result)
        listener.took(task, result, len(run.attempts))

    def _result(self, *, stopped: bool) -> GateResult:
        for run in self.runs.values():
            self._judge(run)
        seen = {id(known) for run in self.runs.values() for known in (*run.known, *run.expired)}
        cells = self._cell_results()
        notes = []
        if self.plan.baseline is not None and self._baseline is None:
            notes.append(
                f"there is no baseline at {self.plan.baseline} yet, so nothing was compared; --write-baseline makes it"
            )
        is_real = any(not self._is_virtual(cell.scenarios[0].environment) for cell in self.plan.cells)
        if is_real and self.plan.control is None and self._baseline is not None:
            notes.append(
                "throughput on real clusters was compared without a [control]: another machine, or a busy one, looks "
                "like a change of the database"
            )
        return GateResult(
            name=self.plan.name,
            code=self._code,
            runs=list(self.runs.values()),
            cells=cells,
            unused=[known for known in self.plan.known if id(known) not in seen],
            notes=notes,
            stopped=stopped,
            may_leave_out=self.plan.may_leave_out,
        )

    def _judge(self, run: GateRun) -> None:
        worst = run.worst
        if worst is None:
            return
        run.outcome = worst.outcome
        if worst.outcome != INVALID:
            return
        kinds = {kind for one in run.attempts if one.outcome == INVALID for kind in one.anomaly_types}
        covering = {
            kind: [known for known in self.plan.known if known.covers(run.cell, kind)] for kind in kinds
        }
        for known in self.plan.known:
            if any(known in some for some in covering.values()):
                (run.known if known.expires > self._today else run.expired).append(known)
        failed_otherwise = any(one.outcome == FAILED for one in run.attempts)
        if (
            kinds
            and not failed_otherwise
            and all(any(known.expires > self._today for known in some) for some in covering.values())
        ):
            # An attempt that was not decided may hide another failure, and is no more a pass beside a known one.
            run.outcome = UNKNOWN if any(one.outcome == UNKNOWN for one in run.attempts) else KNOWN

    def _cell_results(self) -> list[CellResult]:
        control = self._throughput(self.plan.control) if self.plan.control is not None else None
        found = []
        for cell in self.plan.all_cells:
            throughput = self._throughput(cell)
            share = throughput / control if throughput is not None and control else None
            one = CellResult(cell=cell.name, throughput=throughput, share_of_control=share)
            before = self._baseline.cells.get(cell.name) if self._baseline is not None else None
            if before is not None and cell is not self.plan.control:
                one.ratio_to_baseline = self._ratio(cell, one, before)
            ratio = one.ratio_to_baseline
            if ratio is not None and ratio < self.plan.least_throughput_ratio:
                one.regression = (
                    f"throughput is {ratio:.0%} of the baseline's, at least {self.plan.least_throughput_ratio:.0%} is "
                    f"demanded ({throughput:.1f} answers a second"
                    + (f", {share:.2f} of the control's" if share is not None else "")
                    + ")"
                )
            found.append(one)
        return found

    def _ratio(self, cell: Cell, now: CellResult, before: BaselineCell) -> float | None:
        """Throughput over the baseline's; on real clusters of shares of the control, where both have one."""
        virtual = self._is_virtual(cell.scenarios[0].environment)
        if not virtual and now.share_of_control is not None and before.share_of_control:
            return now.share_of_control / before.share_of_control
        if now.throughput is None or not before.throughput:
            return None
        return now.throughput / before.throughput

    def _throughput(self, cell: Cell) -> float | None:
        rates = [
            attempt.measures[THROUGHPUT]
            for number in range(len(cell.scenarios))
            for attempt in self.runs[cell.name, number].attempts[:1]
            if THROUGHPUT in attempt.measures
        ]
        return median(rates) if rates else None


def _tasks(cell: Cell) -> list[Task]:
    return [
        Task(cell.name, number, TrialRequest(scenario=scenario))
        for number, scenario in enumerate(cell.scenarios)
    ]


def folder_name(task: Task, attempt: int) -> str:
    """The name of the run folder of an attempt."""
    again = "" if attempt == 1 else f"-attempt-{attempt}"
    return f"{file_name(task.cell)}-{task.number + 1}-seed-{task.seed}{again}"


def _result_of(future: Future[TrialResult], task: Task) -> TrialResult:
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what came of this run.
        scenario = task.request.scenario
        return TrialResult(
            seed=scenario.seed,
            outcome=FAILED,
            exit_code=EXIT_CODES[FAILED],
            sentence=f"its worker failed: {type(error).__name__}: {error}",
            command=scenario.command("./run"),
        )


def baseline_of(result: GateResult) -> Baseline:
    """What a later gate is compared with."""
    outcomes: dict[str, list[str]] = {}
    for run in result.runs:
        outcomes.setdefault(run.cell, []).append(UNKNOWN if run.outcome == LEFT_OUT else run.outcome)
    order = (KNOWN, *WORST_LAST)
    return Baseline(
        code=result.code,
        cells={
            cell.cell: BaselineCell(
                outcome=max(outcomes[cell.cell], key=order.index),
                throughput=cell.throughput,
                share_of_control=cell.share_of_control,
            )
            for cell in result.cells
        },
    )


def read_baseline(path: Path) -> Baseline | None:
    """The baseline in a file; None if there is no file. Raises ScenarioError for one that is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Baseline)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ScenarioError(
            f"the baseline {path} cannot be used: {error}; --write-baseline writes it anew"
        ) from error


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Puts the baseline in place of the one before."""
    temporary = path.with_name(f".{path.name}.unfinished")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(baseline)) + b"\n")
    temporary.replace(path)


def failures(runs: Iterable[GateRun]) -> list[GateRun]:
    """Runs at which somebody has to look, the worst first."""
    bad = [run for run in runs if run.outcome in (INVALID, FAILED, UNKNOWN)]
    return sorted(bad, key=lambda run: -WORST_LAST.index(run.outcome))


__all__ = [
    "CONTROL",
    "KNOWN",
    "LEFT_OUT",
    "Baseline",
    "BaselineCell",
    "CellResult",
    "Gate",
    "GateResult",
    "GateRun",
    "Listener",
    "Task",
    "baseline_of",
    "failures",
    "folder_name",
    "read_baseline",
    "write_baseline",
]
