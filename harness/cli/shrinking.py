"""How shrinking looks on the command line: what has to stay, progress, and what it came to."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import FrameType
from typing import TextIO

import click
import msgspec

from harness.cli.answer import tell
from harness.cli.saved import open_run
from harness.cli.shrink import REPRODUCED_EXIT, UNKNOWN_EXIT
from harness.environments.environment import EnvironmentFailed
from harness.explore.reductions import Case, Size, Target, anomalies
from harness.explore.replay import SIMULATION
from harness.explore.saved_run import SavedRun, code_difference, load_run
from harness.explore.shrink import Budget, Confirm, NotReproduced, Shrinking, Spent
from harness.explore.shrunk import keep_shrunk, replay_command, scratch_folder
from harness.explore.trial import TrialRequest, TrialResult, run_trial
from harness.explore.workers import process_pool
from harness.fingerprint import fingerprint
from harness.scenario import ScenarioError
from results.verdict import INVALID, VALID, Verdict

FINISHED = "nothing smaller shows it any more"
LINE_INTERVAL_S = 5.0
PANEL_INTERVAL_S = 0.2


def shrink_run(
    run: str, runs_dir: Path, *, anomaly: str | None, budget: str, confirm: str | None, jobs: int | None
) -> int:
    """Shrinks a saved run; gives the exit code."""
    limits = Budget.parse(budget)
    saved = load_run(open_run(run, runs_dir))
    simulated = saved.scenario.environment == SIMULATION
    needed = Confirm.parse(confirm) if confirm else Confirm(1, 3) if simulated else Confirm(2, 3)
    target = choose_target(saved, anomaly)
    starts = starting_cases(saved)
    click.echo(f"seed {saved.scenario.seed}")
    click.echo(f"shrinking {saved.folder.path}: {target}")
    other_code = code_difference(saved.environment, fingerprint())
    if other_code is not None:
        click.secho(f"note: the code is not the same: {other_code}", fg="yellow")
    jobs = jobs or ((os.cpu_count() or 1) if simulated else 1)
    display = Display(sys.stdout, before=Case(saved.scenario, saved.steps, saved.recorded()).size())
    with scratch_folder(runs_dir) as scratch:
        shrinking: Shrinking | None = None
        ended = FINISHED
        try:
            with process_pool(jobs) as pool:

                def submit(request: TrialRequest, name: str) -> Future[TrialResult]:
                    return pool.submit(attempt, request, str(scratch), name)

                shrinking = Shrinking(
                    starts,
                    target,
                    submit,
                    display,
                    confirm=needed,
                    budget=limits,
                    jobs=jobs,
                    varied=simulated,
                )
                shrinking.run()
        except NotReproduced as nothing:
            display.end()
            if shrinking is not None and shrinking.failed_runs == shrinking.runs:
                raise EnvironmentFailed(
                    f"the run could not be repeated at all: {shrinking.problem}"
                ) from nothing
            click.echo(f"{nothing}. Nothing to shrink.{_why_not(other_code, simulated)}", err=True)
            return UNKNOWN_EXIT
        except Spent as spent:
            ended = str(spent)
        except KeyboardInterrupt:
            ended = "it was interrupted"
        except BrokenProcessPool as error:
            raise EnvironmentFailed(
                f"a process that tried runs ended in the middle of one: {error}"
            ) from error
        display.end()
        if shrinking is None or shrinking.best is None:
            click.echo(f"{ended} before {target} was seen again; give it a larger --budget", err=True)
            return UNKNOWN_EXIT
        folder = keep_shrunk(saved, shrinking, ended, runs_dir)
        _print_result(display.before, shrinking, ended)
    best = shrinking.best
    tell(
        run=folder.path,
        target=str(shrinking.target),
        ended=ended,
        runs=shrinking.runs,
        before=msgspec.structs.asdict(display.before),
        after=msgspec.structs.asdict(best.case.size()),
        sentence=best.seen.anomaly.sentence,
        page=folder.shrink_page_path,
        report=folder.report_path,
        repeat=replay_command(folder),
    )
    click.echo(f"run folder: {folder.path}")
    click.echo(f"before and after: {folder.shrink_page_path}")
    click.echo(f"report: {folder.report_path}")
    click.echo(f"repeat with: {replay_command(folder)}")
    return REPRODUCED_EXIT


def choose_target(saved: SavedRun, wanted: str | None) -> Target:
    """The anomaly that has to stay. Raises ScenarioError where there is none, or none like that."""
    verdict = saved.verdict
    if verdict is None:
        raise ScenarioError(
            f"the run {saved.folder.id} was not judged; `harness check {saved.folder.path}` does"
        )
    if verdict.outcome != INVALID:
        why = "nothing went wrong in it" if verdict.outcome == VALID else verdict.sentence
        raise ScenarioError(
            f"the run {saved.folder.id} is {verdict.outcome}: {why}; there is nothing to shrink"
        )
    found = list(dict.fromkeys(target for target, _ in anomalies(verdict)))
    if wanted is None:
        return found[0]
    asked = wanted.replace(": ", ":")
    for target in found:
        if asked in (target.type, target.checker, f"{target.checker}:{target.type}"):
            return target
    for part in _parts_of(verdict):
        if part.checker == asked and part.outcome == INVALID:
            return anomalies(part)[0][0]
    raise ScenarioError(
        f"the run {saved.folder.id} has no anomaly {wanted!r}; it has {'; '.join(map(str, found))}"
    )


def _parts_of(verdict: Verdict) -> Iterator[Verdict]:
    """Its parts, and theirs."""
    for part in verdict.parts:
        yield part
        yield from _parts_of(part)


def starting_cases(saved: SavedRun) -> list[Case]:
    """The run as it was, the truest way to repeat it first: in simulation its seed, elsewhere what was recorded."""
    as_it_was = Case(saved.scenario, saved.steps, saved.operations)
    recorded = Case(saved.scenario, saved.steps, saved.recorded())
    if saved.scenario.environment != SIMULATION:
        return [recorded]
    return [as_it_was] if as_it_was == recorded else [as_it_was, recorded]


def attempt(request: TrialRequest, scratch: str, name: str) -> TrialResult:
    """One run in a worker process. Told to end, it ends what it has started first."""
    if request.scenario.environment != SIMULATION:
        signal.signal(signal.SIGTERM, _end)
    return run_trial(request, Path(scratch), "failures", name=name)


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)


class Display:
    """One line that is written over on a terminal; elsewhere a line for each smaller run and every few seconds."""

    def __init__(self, stream: TextIO, before: Size) -> None:
        self.stream = stream
        self.before = before
        self.live = stream.isatty()
        self.shown_at = -LINE_INTERVAL_S
        self.width = 0

    def trying(self, shrinking: Shrinking) -> None:
        """See `shrink.Listener`."""
        now = shrinking.elapsed_s
        if now - self.shown_at < (PANEL_INTERVAL_S if self.live else LINE_INTERVAL_S):
            return
        self.shown_at = now
        self._show(progress_line(self.before, shrinking), stay=not self.live)

    def smaller(self, shrinking: Shrinking) -> None:
        """See `shrink.Listener`."""
        self.shown_at = shrinking.elapsed_s
        self._show(progress_line(self.before, shrinking), stay=not self.live)

    def end(self) -> None:
        """Nothing more is shown."""
        if self.live and self.width:
            self.stream.write("\n")
            self.stream.flush()

    def _show(self, line: str, *, stay: bool) -> None:
        if stay:
            self.stream.write(line + "\n")
        else:
            # A line that wraps could not be written over.
            line = line[: shutil.get_terminal_size().columns - 1]
            self.stream.write("\r" + line.ljust(self.width))
            self.width = len(line)
        self.stream.flush()


def progress_line(before: Size, shrinking: Shrinking) -> str:
    """Where the search stands, in one line."""
    stand = f"  {shrinking.elapsed_s:5.0f} s  {shrinking.runs:4} runs  "
    if shrinking.best is None:
        return stand + "repeating the run as it was"
    return stand + f"{size_words(before, shrinking.best.case.size())}  ({shrinking.reduction})"


def size_words(before: Size, after: Size) -> str:
    """What became smaller, in words."""
    rows: list[tuple[str, float | None, float | None]] = [
        ("steps", before.steps, after.steps),
        ("operations", before.operations, after.operations),
        ("clients", before.clients, after.clients),
        ("nodes", before.nodes, after.nodes),
        ("ranges", before.ranges, after.ranges),
        ("seconds", before.time_limit_s, after.time_limit_s),
    ]
    changed = [
        f"{name} {old:g} -> {new:g}"
        for name, old, new in rows
        if old is not None and new is not None and old != new
    ]
    return ", ".join(changed) or "as large as before"


def _print_result(before: Size, shrinking: Shrinking, ended: str) -> None:
    best = shrinking.best
    assert best is not None, "there is a result"
    click.echo(f"{ended}: {shrinking.runs} runs in {shrinking.elapsed_s:.0f} s")
    click.echo(f"  {size_words(before, best.case.size())}")
    for step in best.case.steps:
        click.echo(f"  {step.id:3}  {step.describe()}")
    click.secho(f"  {shrinking.target}: {best.seen.anomaly.sentence}", fg="red")


def _why_not(other_code: str | None, simulated: bool) -> str:
    reasons = []
    if other_code is not None:
        reasons.append(f" The code is not the same ({other_code}): it may have been mended.")
    if not simulated:
        reasons.append(" On real nodes timing differs from run to run: try again, or with --confirm 1/9.")
    return "".join(reasons)
