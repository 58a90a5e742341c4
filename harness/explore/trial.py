"""One run from a scenario to its verdict, for those who run many: sweeps, replays, shrinking, the score of defects.

Rules that live here:
- A request and a result are plain data, so that a trial can be run in another process or on another machine.
- A trial always has a result. Whatever goes wrong in the harness is a result as well (`FAILED`), with the traceback.
- What a trial does is decided by its request alone; where its folder is and how long it took change nothing.
- A valid run leaves nothing unless it is to be kept; any other leaves its run folder with a report.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from harness.catalog import make_parts
from harness.driver import Progress, StopSignal
from harness.run import Parts, execute, judge, require_consistency
from harness.scenario import Scenario
from results.history import History
from results.operation import HARNESS, INVOKE, LOG
from results.report import write_report
from results.run_folder import RunFolder
from results.verdict import INVALID, UNKNOWN, VALID, Verdict, exit_code

FAILED: Final = "failed"
"""The outcome of a trial whose harness, and not whose database, went wrong; beside those of verdicts."""

HARNESS_FAILED_EXIT: Final = 4

Keep = Literal["always", "failures", "never"]
"""Which run folders stay: all, those of runs that are not valid, or none."""

MARKS = "marks"
"""The harness's event at the end of a run with the marks that were reached: name -> how often."""

MEASURES: Final = ("ok_fraction", "answers_per_s")
"""Figures of the availability checker that a result keeps."""

FINDING = "finding"
"""The event of a broken rule that was seen inside the nodes."""

CPU_LIMIT_S = 600.0
"""Processor time after which a trial is given up: it hangs in a loop that no virtual time ends."""

_ONE_AT_A_TIME = threading.Lock()
"""A simulated world takes over the clock and the randomness of its whole process."""


class TrialRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    scenario: Scenario
    schedule: list[dict[str, Any]] | None = None
    """Steps to execute instead of those that the scenario's seed draws (`Schedule.to_dicts`)."""
    operations: list[dict[str, Any]] | None = None
    """A recorded stream of operations to invoke instead of those that the workload generates."""


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    seed: int
    outcome: str
    """valid, invalid, unknown, or failed (the harness)."""
    exit_code: int
    """Of this run on the command line: 0, 1, 3 or 4."""
    sentence: str
    """What decided the outcome, in one sentence."""
    command: str
    """Repeats the run."""
    folder: str | None = None
    """Its run folder, if it was kept."""
    failed_checkers: list[str] = []
    """Checkers that did not say valid, in the order in which the verdict lists them."""
    invalid_checkers: list[str] = []
    """Those of them that said invalid."""
    anomaly_types: list[str] = []
    """Kinds of anomalies, sorted."""
    fault_steps: int = 0
    operations: int = 0
    """Operations that clients invoked."""
    events: int = 0
    """Callbacks that a simulated world ran; 0 in other environments."""
    virtual_s: float = 0.0
    """How long the run lasted on the clock of its environment."""
    cpu_s: float = 0.0
    """Processor time of this process for everything: run, checkers, report."""
    wall_s: float = 0.0
    """How long everything took; more than `cpu_s` where others use the machine as well."""
    measures: dict[str, float] = {}
    """How available the service was: `MEASURES` of the availability checker."""
    marks: dict[str, int] = {}
    """Interesting situations that were reached, and how often."""
    finding_step: int | None = None
    """The step of the world at which a watcher first saw a broken invariant."""
    finding_time_ns: int | None = None
    problem: str | None = None
    """The traceback, where the harness failed."""

    @property
    def is_failure(self) -> bool:
        """Whether somebody has to look at it: the database or the harness did wrong. Unknown is neither."""
        return self.outcome in (INVALID, FAILED)

    @property
    def length(self) -> tuple[int, int, int]:
        """What makes a failure easy to read: fewest fault steps, then events, then the smaller seed."""
        return (self.fault_steps, self.events, self.seed)


class Overdue(KeyboardInterrupt):
    """The processor time of a trial is used up. It is no Exception, so that no `except Exception` of what is tested
    swallows it: an event loop lets it through."""


def run_trial(
    request: TrialRequest,
    runs_dir: Path,
    keep: Keep = "failures",
    *,
    name: str | None = None,
    cpu_limit_s: float = CPU_LIMIT_S,
) -> TrialResult:
    """Runs and judges one scenario; never raises for what goes wrong in it.

    The run folder is `runs_dir/name`, which must be free or is replaced if it is a run folder that was left behind
    unjudged; without a name it is a new one as `harness test` makes them.
    """
    with _ONE_AT_A_TIME:
        trial = _Trial(request)
        began, wall_began = time.process_time(), time.monotonic()
        try:
            with _processor_time_limit(cpu_limit_s):
                verdict = trial.run(runs_dir, name)
        except (Exception, Overdue) as error:  # noqa: BLE001 - it has an outcome of its own, with its traceback.
            result = trial.failed(error, cpu_limit_s)
        else:
            result = trial.judged(verdict)
        folder = trial.folder
        if folder is not None and keep != "always" and (keep == "never" or result.outcome == VALID):
            shutil.rmtree(folder.path, ignore_errors=True)
            folder = None
        elif folder is not None and trial.history is not None:
            try:
                with _processor_time_limit(cpu_limit_s):
                    write_report(folder)
            except (Exception, Overdue):  # noqa: BLE001 - the verdict stands without a page, too.
                result = msgspec.structs.replace(
                    result, problem=f"the report could not be written\n{traceback.format_exc()}"
                )
        return msgspec.structs.replace(
            result,
            folder=None if folder is None else str(folder.path),
            cpu_s=round(time.process_time() - began, 3),
            wall_s=round(time.monotonic() - wall_began, 3),
        )


class _Trial:
    """What is known of a trial so far, also where it ends on the way."""

    def __init__(self, request: TrialRequest) -> None:
        self.request = request
        self.folder: RunFolder | None = None
        self.parts: Parts | None = None
        self.history: History | None = None
        self.events = 0
        self.virtual_s = 0.0
        self.said: list[str] = []

    def run(self, runs_dir: Path, name: str | None) -> Verdict:
        """Makes the parts, executes, judges, and writes the verdict."""
        parts = self.parts = parts_of(self.request)
        folder = self.folder = _make_folder(runs_dir, name, parts.scenario)
        parts.environment.run(self._executed(parts, folder))
        self.history = folder.read_history()
        verdict = judge(parts, self.history)
        folder.write_verdict(verdict)
        require_consistency(verdict)
        return verdict

    async def _executed(self, parts: Parts, folder: RunFolder) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await execute(parts, folder, self.said.append, _show_nothing, StopSignal())
        finally:
            self.virtual_s = round(loop.time() - began, 3)
            self.events = getattr(loop, "events", 0)

    def judged(self, verdict: Verdict) -> TrialResult:
        """The result of a run that ended in a verdict."""
        assert self.history is not None, "a verdict is about a history"
        events = self.history.operations
        finding = next((one for one in events if one.process == LOG and one.f == FINDING), None)
        where = finding.value if finding is not None and isinstance(finding.value, dict) else {}
        return self._result(
            verdict.outcome,
            exit_code(verdict),
            verdict.sentence,
            failed_checkers=[part.checker for part in verdict.parts if part.outcome != VALID],
            invalid_checkers=[part.checker for part in verdict.parts if part.outcome == INVALID],
            anomaly_types=sorted({anomaly.type for _, anomaly in verdict.every_anomaly()}),
            operations=sum(1 for one in events if one.type == INVOKE and isinstance(one.process, int)),
            measures=_measures(verdict),
            marks=_marks(self.history),
            finding_step=where.get("step"),
            finding_time_ns=where.get("time_ns"),
        )

    def failed(self, error: BaseException, cpu_limit_s: float) -> TrialResult:
        """The result of a trial that did not come to a verdict."""
        if isinstance(error, Overdue):
            sentence = (
                f"given up after {cpu_limit_s:g} s of processor time: something goes on without an end "
                "(the traceback says where it was)"
            )
        else:
            sentence = f"{type(error).__name__}: {error}"
        return self._result(
            FAILED,
            HARNESS_FAILED_EXIT,
            sentence,
            problem="".join(traceback.format_exception(error)),
        )

    def _result(self, outcome: str, code: int, sentence: str, **more: Any) -> TrialResult:
        scenario = self.request.scenario
        return TrialResult(
            seed=scenario.seed,
            outcome=outcome,
            exit_code=code,
            sentence=sentence,
            command=scenario.command("./run"),
            fault_steps=len(self.parts.schedule) if self.parts is not None else 0,
            events=self.events,
            virtual_s=self.virtual_s,
            **more,
        )


def parts_of(request: TrialRequest) -> Parts:
    """What a request's names stand for, with the schedule and the operations that it brings itself."""
    return make_parts(request.scenario, schedule=request.schedule, operations=request.operations)


def _make_folder(runs_dir: Path, name: str | None, scenario: Scenario) -> RunFolder:
    if name is None:
        return RunFolder.create(runs_dir, scenario.workload)
    path = runs_dir / name
    if path.exists():
        left = RunFolder(path)
        if left.running() is not None or left.verdict_path.exists():
            raise FileExistsError(f"{path} is another run; move it away, or choose another name")
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return RunFolder(path)


@contextlib.contextmanager
def _show_nothing(_progress: Progress) -> Iterator[None]:
    yield


def _measures(verdict: Verdict) -> dict[str, float]:
    details = next((part.details for part in verdict.parts if part.checker == "availability"), {})
    return {name: float(details[name]) for name in MEASURES if name in details}


def _marks(history: History) -> dict[str, int]:
    """The marks that the run recorded; later events add to earlier ones."""
    reached: dict[str, int] = {}
    for event in history.operations:
        if event.process == HARNESS and event.f == MARKS and isinstance(event.value, dict):
            for mark, times in event.value.items():
                reached[mark] = reached.get(mark, 0) + int(times)
    return dict(sorted(reached.items()))


@contextlib.contextmanager
def _processor_time_limit(limit_s: float) -> Iterator[None]:
    """Raises Overdue in the block when this process has used so much processor time; not in threads, which Python
    delivers no signals to."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "ITIMER_PROF"):
        yield
        return

    def on_time(_number: int, _frame: Any) -> None:
        raise Overdue(f"{limit_s:g} s of processor time are used up")

    before = signal.signal(signal.SIGPROF, on_time)
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


__all__ = [
    "CPU_LIMIT_S",
    "FAILED",
    "INVALID",
    "UNKNOWN",
    "VALID",
    "Keep",
    "TrialRequest",
    "TrialResult",
    "parts_of",
    "run_trial",
]
