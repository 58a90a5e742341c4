"""How a sweep looks on the command line: what it will do, progress, the first failure at once, the summary."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, TextIO

import click

from harness.catalog import WORKLOADS, make_environment, make_parts, make_system
from harness.cli.answer import tell
from harness.explore.seed_ranges import count_seeds, endless, parse_seeds
from harness.explore.summary import (
    Effort,
    failure_lines,
    marks_known,
    outcome_counts,
    summary_lines,
    verdict_line,
)
from harness.explore.sweep import (
    BUDGET_SPENT,
    STOPPED,
    STOPPED_AT_ONCE,
    Delivered,
    Stop,
    Sweep,
    Tally,
    Workers,
)
from harness.explore.sweep_folder import SweepFolder, SweepPlan, scenario_of
from harness.explore.trial import TrialResult
from harness.explore.workers import SeedRun, dask_workers, process_workers, unpack
from harness.fingerprint import code_digest
from harness.scenario import ScenarioError, fields_in, parse_options
from harness.seeds import Seeds
from results.run_folder import RunFolderError

LINE_INTERVAL_S = 5.0
ECHO_S = 0.1
"""The same signal again within this time is the same request: `timeout` sends it to the process and to its group."""
PANEL_INTERVAL_S = 0.25
COMMANDS_SHOWN = 50
COLOURS = {0: "green", 1: "red", 3: "yellow", 4: "red"}


@dataclass(frozen=True)
class Settings:
    """How a sweep is carried out; none of it changes what a seed does."""

    jobs: int | None
    budget_s: float | None
    scheduler: str | None
    keep: int
    keep_valid: bool
    cpu_limit_s: float

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.jobs is not None:
            raise ScenarioError(
                "--jobs is for the cores of this machine; with --scheduler there are as many as the cluster has workers"
            )


def given_fields(
    scenario_file: Path | None, options: dict[str, tuple[str, ...]], flags: dict[str, Any], *, draw: bool
) -> dict[str, Any]:
    """The fields of the scenario that are the same for every seed: what a file and the flags say."""
    values: dict[str, Any] = {}
    if scenario_file is not None:
        values = {name: value for name, value in fields_in(scenario_file).items() if name != "seed"}
    values |= {name: value for name, value in flags.items() if value is not None}
    for field, pairs in options.items():
        if pairs:
            what = field.removesuffix("s").replace("_", " ")
            values[field] = {**values.get(field, {}), **parse_options(pairs, what)}
    if "workload" not in values:
        raise ScenarioError(f"which workload? Give --workload with one of {', '.join(WORKLOADS)}")
    values.setdefault("environment", "simulation")
    if not draw:
        values.setdefault("replication", max(1, min(3, values.get("nodes", 3))))
    return values


def new_plan(given: dict[str, Any], seeds: str, *, draw: bool, until_failure: bool) -> SweepPlan:
    """A plan that can be: its first seed is drawn and its parts are made. Raises as `make_parts` does."""
    plan = SweepPlan(seeds=seeds, given=given, draw=draw, until_failure=until_failure, code=code_digest())
    make_parts(scenario_of(plan, parse_seeds(seeds)[0].start))
    return plan


def dry_run_sweep(plan: SweepPlan) -> int:
    """Prints what the first seeds would do, a command each."""
    ranges = parse_seeds(plan.seeds)
    commands = [
        scenario_of(plan, seed).command("./run")
        for seed in islice(chain.from_iterable(ranges), COMMANDS_SHOWN)
    ]
    for command in commands:
        click.echo(command)
    tell(seeds=count_seeds(ranges), commands=commands)
    more = count_seeds(ranges) - COMMANDS_SHOWN
    if more > 0:
        click.echo(f"and {more} more seeds")
    return 0


def run_sweep(plan: SweepPlan, runs_dir: Path, settings: Settings) -> int:
    """Runs a new sweep; gives the exit code."""
    with SweepFolder.create(runs_dir, plan) as folder:
        click.echo(f"sweep folder: {folder.path}")
        return _go(folder, Tally(), settings)


def resume_sweep(path: str, runs_dir: Path, settings: Settings, *, any_code: bool) -> int:
    """Goes on with a sweep that was stopped; gives the exit code of all of it."""
    with SweepFolder.open(path, runs_dir) as folder:
        click.echo(f"sweep folder: {folder.path}")
        if folder.plan.code != code_digest():
            if not any_code:
                raise ScenarioError(
                    f"{folder.path} was begun with other code ({folder.plan.code}) than this is ({code_digest()}): "
                    "its seeds would be other runs. Go back to that code, or go on all the same with --any-code"
                )
            click.echo("note: the code is not the one that the sweep began with", err=True)
        tally = Tally(folder.results())
        click.echo(f"done before: {tally.done} seeds: {outcome_counts(tally)}")
        return _go(folder, tally, settings)


def _go(folder: SweepFolder, tally: Tally, settings: Settings) -> int:
    plan = folder.plan
    ranges = parse_seeds(plan.seeds)
    asked = None if plan.until_failure else count_seeds(ranges)
    run = SeedRun(
        plan=plan,
        folder=None if settings.scheduler is not None else str(folder.path),
        keep_valid=settings.keep_valid,
        cpu_limit_s=settings.cpu_limit_s,
    )
    stop = Stop()
    before = (tally.wall_s, tally.cpu_s, tally.virtual_s)
    end = STOPPED_AT_ONCE
    full: RunFolderError | None = None
    with _signals(stop, folder), _workers(run, plan, settings) as workers:
        began = time.monotonic()
        click.echo(_plan_line(plan, asked, workers.jobs))
        sweep = Sweep(
            workers,
            folder,
            endless(ranges) if plan.until_failure else chain.from_iterable(ranges),
            tally,
            until_failure=plan.until_failure,
            budget_s=settings.budget_s,
            command_of=lambda seed: scenario_of(plan, seed).command("./run"),
            unpack=lambda delivered: _unpack(delivered, folder),
        )
        with _display(sys.stdout, asked, tally) as display:
            try:
                end = sweep.run(stop, _Watcher(display, folder, tally, settings.keep))
            except RunFolderError as error:
                # No result can be kept any more. What is known is told, here and, if there is room, in the folder.
                full = error
        wall_s = time.monotonic() - began
        if end == STOPPED_AT_ONCE:
            workers.end(at_once=True)
    spent = (tally.wall_s - before[0], tally.cpu_s - before[1], tally.virtual_s - before[2])
    effort = Effort(wall_s, *spent, workers.jobs)
    known = _known_marks(plan)
    lines = summary_lines(tally, end, effort, known, asked=asked)
    tell(
        sweep=folder.path,
        end=end,
        seeds=tally.done,
        outcomes=dict(tally.outcomes),
        failures=tally.failures(),
        unknown=tally.unknowns(),
        marks=dict(tally.times_by_mark),
        marks_never_reached=sorted(
            set(known) - {mark for mark, times in tally.times_by_mark.items() if times}
        ),
        wall_s=wall_s,
        cpu_s=spent[1],
        virtual_s=spent[2],
    )
    for line in lines:
        click.echo(line)
    if full is not None:
        with contextlib.suppress(RunFolderError):
            folder.write_summary(_as_markdown(plan, lines))
        raise full
    folder.write_summary(_as_markdown(plan, lines))
    if end in (STOPPED, STOPPED_AT_ONCE) or (
        end == BUDGET_SPENT and asked is not None and tally.done < asked
    ):
        click.echo(f"go on with: ./run sweep --resume {shlex.quote(str(folder.path))}")
    code = tally.exit_code(end)
    click.secho(verdict_line(tally, end), fg=COLOURS.get(code), bold=True)
    return code


def _plan_line(plan: SweepPlan, asked: int | None, jobs: int) -> str:
    drawn = (
        "each draws its own cluster, load, faults and timing" if plan.draw else "nothing but the seed differs"
    )
    fixed = ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in plan.given.items()
        if not isinstance(value, dict)
    )
    seeds = f"seeds {plan.seeds}" + (" and on until a failure" if asked is None else f" ({asked})")
    return f"plan: {seeds} on {jobs} worker{'s' * (jobs != 1)}; {drawn}; fixed: {fixed}"


def _known_marks(plan: SweepPlan) -> dict[str, str]:
    """What the system's nodes may tell of, where anybody can hear it: real nodes tell nobody."""
    seed = parse_seeds(plan.seeds)[0].start
    scenario = scenario_of(plan, seed)
    if not make_environment(scenario.environment).is_virtual:
        return {}
    return marks_known(getattr(make_system(scenario, Seeds(seed)), "marks", None))


def _unpack(delivered: Delivered, folder: SweepFolder) -> TrialResult:
    return unpack(delivered, folder.path)


def _as_markdown(plan: SweepPlan, lines: list[str]) -> str:
    return "\n".join(
        [f"# Sweep of {plan.given['workload']}, seeds {plan.seeds}", "", "```", *lines, "```", ""]
    )


class _Ending(Workers, Protocol):
    def end(self, *, at_once: bool = False) -> None: ...


def _workers(run: SeedRun, plan: SweepPlan, settings: Settings) -> AbstractContextManager[_Ending]:
    if settings.scheduler is not None:
        return dask_workers(run, settings.scheduler, code_digest())
    return process_workers(run, settings.jobs or _usual_jobs(plan))


def _usual_jobs(plan: SweepPlan) -> int:
    """All cores; but clusters of real nodes share a machine badly, and one at a time is what was asked."""
    from harness.cli.sweep import all_cores

    return all_cores() if plan.given.get("environment") == "simulation" else 1


@contextlib.contextmanager
def _signals(stop: Stop, folder: SweepFolder) -> Iterator[None]:
    """Ctrl-C and its kin ask the sweep to stop while the block runs."""

    last: dict[int, float] = {}

    def on_signal(number: int, _frame: Any) -> None:
        now, before = time.monotonic(), last.get(number, -math.inf)
        last[number] = now
        if now - before < ECHO_S:
            return
        stop.request()
        if stop.requests == 1:
            text = "\nstopping: no new seeds, those that run are finished; once more stops at once\n"
        else:
            text = "\nstopping at once\n"
        # Not `click.echo`: the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(2, text.encode())

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _Watcher:
    """Tells of failures, keeps the number of run folders within bounds, and feeds the display."""

    def __init__(self, display: Display, folder: SweepFolder, tally: Tally, keep: int) -> None:
        self.display = display
        self.keep = keep
        self.told = bool(tally.failures())
        self.kept = [one for one in tally.not_valid if one.folder is not None and Path(one.folder).exists()]

    def took(self, result: TrialResult, tally: Tally) -> None:
        """The first failure is told whole and at once, every other in one line."""
        if result.outcome != "valid" and result.folder is not None:
            self._make_room(result)
        if result.is_failure and not self.told:
            self.told = True
            self.display.say(["first failure:", *(f"  {line}" for line in failure_lines(result))])
        elif result.is_failure:
            self.display.say([failure_lines(result)[0]])

    def refresh(self, tally: Tally) -> None:
        self.display.refresh(tally)

    def _make_room(self, result: TrialResult) -> None:
        """The longest go first, and unknown ones before failures."""
        self.kept.append(result)
        if len(self.kept) > self.keep:
            longest = max(self.kept, key=lambda one: (not one.is_failure, one.length))
            self.kept.remove(longest)
            shutil.rmtree(longest.folder or "", ignore_errors=True)


class Display(Protocol):
    """Shows how a sweep goes on."""

    def say(self, lines: list[str]) -> None:
        """Whole lines that stay."""

    def refresh(self, tally: Tally) -> None:
        """Draws if enough time has passed."""


class LineDisplay:
    """A plain line every few seconds, for logs."""

    def __init__(self, stream: TextIO, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace
        self._next_at = time.monotonic() + LINE_INTERVAL_S

    def say(self, lines: list[str]) -> None:
        """See the role."""
        for line in lines:
            self._stream.write(line + "\n")
        self._stream.flush()

    def refresh(self, tally: Tally) -> None:
        """See the role."""
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + LINE_INTERVAL_S
            self.say([self._pace.line(tally)])


class PanelDisplay:
    """One line that is drawn anew in place, at the bottom of a terminal."""

    def __init__(self, live: Any, console: Any, pace: Pace) -> None:
        self._live = live
        self._console = console
        self._pace = pace
        self._next_at = 0.0

    def say(self, lines: list[str]) -> None:
        """See the role."""
        for line in lines:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def refresh(self, tally: Tally) -> None:
        """See the role."""
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + PANEL_INTERVAL_S
            self.draw(tally)

    def draw(self, tally: Tally) -> None:
        """Now."""
        from rich.text import Text

        style = "red" if tally.failures() else "green"
        bar = Text(self._pace.bar(tally), style)
        bar.append(" " + self._pace.line(tally), "default")
        self._live.update(bar, refresh=True)


class Pace:
    """How fast a sweep is, and how long it will take."""

    def __init__(self, asked: int | None, tally: Tally) -> None:
        self._asked = asked
        self._began = time.monotonic()
        self._done_before = tally.done
        self._virtual_before = tally.virtual_s

    def line(self, tally: Tally) -> str:
        """`120/500 seeds | 119 valid, 1 invalid | 38 virtual s a second | 45 s left`."""
        elapsed = max(1e-3, time.monotonic() - self._began)
        speed = (tally.virtual_s - self._virtual_before) / elapsed
        total = "" if self._asked is None else f"/{self._asked}"
        text = f"{tally.done}{total} seeds | {outcome_counts(tally)} | {speed:.1f} virtual s a second"
        done = tally.done - self._done_before
        if self._asked is not None and done:
            left = (self._asked - tally.done) * elapsed / done
            text += f" | {_duration(left)} left"
        return text

    def bar(self, tally: Tally, cells: int = 24) -> str:
        """Empty where nobody knows the end."""
        if not self._asked:
            return ""
        filled = min(cells, cells * tally.done // self._asked)
        return "━" * filled + "╌" * (cells - filled)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _display(stream: TextIO, asked: int | None, tally: Tally) -> Iterator[Display]:
    pace = Pace(asked, tally)
    if not stream.isatty():
        yield LineDisplay(stream, pace)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        display = PanelDisplay(live, console, pace)
        display.draw(tally)
        yield display
