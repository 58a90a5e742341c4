"""How the hunt for planted defects looks on the command line: who is hunted, progress, the score."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TextIO

import click
import msgspec

from harness import catalog
from harness.cli.answer import tell
from harness.cli.shrinking import FINISHED, attempt, choose_target, starting_cases
from harness.cli.sweep import all_cores
from harness.environments.environment import EnvironmentFailed
from harness.explore.defects import MODES, Hunt, HuntResult, Shrunk, chosen_names, make_hunts
from harness.explore.reductions import Case
from harness.explore.saved_run import load_run
from harness.explore.score_page import render_score, totals
from harness.explore.scorekeeping import Scorekeeper, with_facts
from harness.explore.seed_ranges import parse_seeds
from harness.explore.shrink import Budget, Confirm, NotReproduced, Shrinking, Spent
from harness.explore.shrunk import keep_shrunk
from harness.explore.trial import FAILED, INVALID, TrialRequest, TrialResult
from harness.explore.workers import process_pool
from harness.fingerprint import code_digest
from harness.scenario import ScenarioError
from harness.systems.system import DefectSheet
from results.run_folder import RunFolder, new_folder

LINE_INTERVAL_S = 15.0
PANEL_INTERVAL_S = 0.25
STOPPED = "it was stopped"
CONFIRM = Confirm(1, 3)
NAMES_SHOWN = 3
SEEDS_MOST = 100_000


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for."""

    only: list[str] | None = None
    mode: str = "both"
    seeds: str = "1-60"
    fresh: bool = False
    cpu_s: float = 120.0
    jobs: int | None = None
    given: dict[str, Any] = field(default_factory=dict)
    """Fields of the scenario that are the same in every run."""
    clean: bool = True
    shrink_budget: str | None = None
    """None: runs stay as they are."""

    @property
    def modes(self) -> tuple[str, ...]:
        return MODES if self.mode == "both" else (self.mode,)

    def command(self) -> str:
        """Keeps this score again."""
        words = ["./run", "defects"]
        if self.only is not None:
            words += ["--only", ",".join(self.only)]
        if self.mode != "both":
            words += ["--mode", self.mode]
        words += ["--seeds", self.seeds, "--cpu", f"{self.cpu_s:g}"]
        words += ["--fresh"] * self.fresh + ["--no-clean"] * (not self.clean)
        for name, value in self.given.items():
            words += ["--" + name.replace("_", "-"), f"{value:g}" if isinstance(value, float) else str(value)]
        if self.shrink_budget is not None:
            words += ["--shrink", "--shrink-budget", self.shrink_budget]
        return shlex.join(words)


def list_defects() -> int:
    """Prints the defects: name, layer, routes, and what each does."""
    sheets = catalog.defect_sheets()
    width = max(map(len, sheets))
    tell(defects=dict(sorted(sheets.items())))
    for name, sheet in sorted(sheets.items()):
        click.echo(f"{name:{width}}  {sheet.layer:11}  {''.join(sheet.routes):4} {sheet.caption}")
    return 0


def wanted_sheets(wanted: Wanted) -> dict[str, DefectSheet]:
    """What is hunted for, by name. Raises ScenarioError for what is not there."""
    known = catalog.defect_sheets()
    if wanted.only is not None and not any(wanted.only):
        raise ScenarioError(f"--only names no defect; the defects are {', '.join(sorted(known))}")
    names = chosen_names(known, [name for name in wanted.only or () if name])
    return {name: known[name] if name in known else catalog.own_defect_sheet(name) for name in names}


def wanted_hunts(wanted: Wanted, sheets: dict[str, DefectSheet]) -> list[Hunt]:
    """The hunts, each of whose first scenario can be. Raises as `make_parts` does."""
    ranges = parse_seeds(wanted.seeds)
    count = sum(len(one) for one in ranges)
    if count > SEEDS_MOST:
        raise ScenarioError(f"--seeds {wanted.seeds}: {count} seeds; a hunt takes at most {SEEDS_MOST}")
    seeds = [seed for one in ranges for seed in one]
    hunts = make_hunts(
        sheets.values(), wanted.modes, seeds, wanted.cpu_s, given=wanted.given, fresh=wanted.fresh
    )
    if not hunts:
        raise ScenarioError(
            f"nothing to hunt for: no history shows {', '.join(sheets)}; --mode white-box looks inside"
        )
    checked: set[tuple[str, str]] = set()
    for hunt in hunts:
        case = (hunt.sheet.workload, hunt.sheet.nemesis)
        if hunt.sheet.reachable and case not in checked:
            catalog.make_parts(hunt.scenario(hunt.seeds[0]))
            checked.add(case)
    return hunts


def keep_score_of(wanted: Wanted, runs_dir: Path) -> int:
    """Hunts, keeps the score in a new folder, prints it; gives the exit code."""
    budget = None if wanted.shrink_budget is None else Budget.parse(wanted.shrink_budget)
    sheets = wanted_sheets(wanted)
    hunts = wanted_hunts(wanted, sheets)
    folder = new_folder(runs_dir, "defects-{time}")
    jobs = wanted.jobs or all_cores()
    click.echo(
        f"{len(sheets)} defect{'s' * (len(sheets) != 1)}, {len(hunts)} hunts, {jobs} run{'s' * (jobs != 1)} at a time"
    )
    click.echo(f"score folder: {folder}")
    keeper = Scorekeeper(hunts, folder, jobs=jobs, clean=wanted.clean)
    ended = ""
    broken: Exception | None = None
    with _display(sys.stdout, keeper) as display:
        try:
            with _interruptible(), process_pool(jobs) as pool:
                keeper.run(pool, display)
                if budget is not None:
                    _shrink_all(keeper, pool, folder, budget, display)
        except KeyboardInterrupt:
            ended = STOPPED
        except BrokenProcessPool as error:
            ended = "a worker process ended in the middle of a run"
            broken = EnvironmentFailed(f"{ended}: {error}")
        except Exception as error:  # noqa: BLE001 - raised again once the score is written
            ended = f"{type(error).__name__}: {error}"
            # What was asked for has been looked at before: whatever goes wrong now is our fault.
            broken = RuntimeError(ended) if isinstance(error, ScenarioError) else error
    score = with_facts(keeper.score(ended), command=wanted.command(), code=code_digest(), fresh=wanted.fresh)
    (folder / "score.json").write_bytes(msgspec.json.format(msgspec.json.encode(score), indent=1) + b"\n")
    (folder / "score.md").write_text(render_score(score, sheets, wanted.modes), encoding="utf-8")
    tell(folder=folder, ended=ended, score=score)
    if ended:
        click.echo(f"not whole: {ended}; {len(score.hunts)} of {score.planned} hunts came to an end")
    for line in totals(score):
        click.echo(line)
    click.echo(f"score: {folder / 'score.md'}")
    if broken is not None:
        raise broken
    return score.exit_code()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block like Ctrl-C."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


# Making them smaller


def _shrink_all(keeper: Scorekeeper, pool: Executor, folder: Path, budget: Budget, display: Display) -> None:
    """Every run that found something, one after the other."""
    for result in keeper.results:
        if result.folder is not None:
            shrunk = shrink_one(result, pool, folder, budget, jobs=keeper.jobs)
            keeper.replace(result, msgspec.structs.replace(result, shrunk=shrunk))
            display.say(shrunk_line(result, shrunk))
            display.refresh(keeper)


def shrink_one(result: HuntResult, pool: Executor, folder: Path, budget: Budget, *, jobs: int) -> Shrunk:
    """Makes the run of a hunt smaller; the small run's folder lies beside the others."""
    assert result.folder is not None, f"{result.defect} has no run to make smaller"
    saved = load_run(RunFolder.open(result.folder))
    target = choose_target(saved, result.by)
    before = Case(saved.scenario, saved.steps, saved.recorded()).size()
    with tempfile.TemporaryDirectory(prefix=".shrink-", dir=folder, ignore_cleanup_errors=True) as scratch:

        def submit(request: TrialRequest, name: str) -> Future[TrialResult]:
            return pool.submit(attempt, request, scratch, name)

        shrinking = Shrinking(
            starting_cases(saved), target, submit, _Silent(), confirm=CONFIRM, budget=budget, jobs=jobs
        )
        ended = FINISHED
        try:
            shrinking.run()
        except NotReproduced as nothing:
            return Shrunk(seen_again=False, runs=shrinking.runs, ended=str(nothing))
        except Spent as spent:
            ended = str(spent)
        if shrinking.best is None:
            return Shrunk(seen_again=False, runs=shrinking.runs, ended=ended)
        kept = keep_shrunk(saved, shrinking, ended, folder)
        after = shrinking.best.case.size()
    return Shrunk(
        seen_again=True,
        fault_steps=(before.steps, after.steps),
        operations=(
            before.operations or 0,
            after.operations if after.operations is not None else before.operations or 0,
        ),
        runs=shrinking.runs,
        ended=ended,
        folder=str(kept.path),
    )


class _Silent:
    """Nobody watches a single search."""

    def trying(self, shrinking: Shrinking) -> None:
        """See `shrink.Listener`."""

    def smaller(self, shrinking: Shrinking) -> None:
        """See `shrink.Listener`."""


# Words


def hunt_line(result: HuntResult) -> str:
    """What came of a hunt, in one line."""
    name = f"{result.defect} ({result.mode})"
    if not result.found:
        return f"{'FAILED' if result.never_ran else 'MISSED'} {name}: {result.sentence}"
    if result.seed is None:
        return f"found  {name}: by its {result.by}"
    runs = len(result.seeds_tried)
    return (
        f"found  {name}: by {result.by} [{result.route}], seed {result.seed}, {runs} run{'s' * (runs != 1)}, "
        f"{result.steps:,} steps, {result.virtual_s:.0f} virtual s, {result.cpu_s:.1f} s CPU"
    )


def shrunk_line(result: HuntResult, shrunk: Shrunk) -> str:
    """What came of making it smaller, in one line."""
    name = f"{result.defect} ({result.mode})"
    if not shrunk.seen_again:
        return f"shrink {name}: {shrunk.ended}"
    return (
        f"shrunk {name}: {shrunk.fault_steps[0]} -> {shrunk.fault_steps[1]} fault steps, "
        f"{shrunk.operations[0]} -> {shrunk.operations[1]} operations in {shrunk.runs} runs"
    )


def alarm_lines(result: TrialResult) -> list[str]:
    """A clean run that was blamed."""
    what = "FALSE ALARM on" if result.outcome == INVALID else "the harness failed with"
    return [f"{what} the clean database: {result.sentence}", f"  {result.command}"]


def progress_line(keeper: Scorekeeper) -> str:
    """`12/58 hunts, 11 found | fig8-commit (white-box): run 4, 37 s | ...`."""
    results = keeper.results
    found = sum(one.found for one in results)
    text = f"{len(results)}/{len(keeper.hunts)} hunts, {found} found"
    if keeper.clean_planned:
        return text + f" | clean runs: {len(keeper.clean_results)}/{keeper.clean_planned}"
    busy = keeper.under_way
    shown = [f"{one.task.title}: run {len(one.counted) + 1}, {one.cpu_s:.0f} s" for one in busy[:NAMES_SHOWN]]
    more = [f"and {len(busy) - NAMES_SHOWN} more"] if len(busy) > NAMES_SHOWN else []
    return " | ".join([text, *shown, *more])


# Showing them


class Display(Protocol):
    """Shows how the hunts go on; a `scorekeeping.Listener`."""

    def say(self, line: str) -> None:
        """A whole line that stays."""

    def ended(self, result: HuntResult) -> None: ...

    def was_clean(self, result: TrialResult) -> None: ...

    def refresh(self, keeper: Scorekeeper) -> None: ...


class LineDisplay:
    """Plain lines: one for each hunt, and one every `LINE_INTERVAL_S`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next_at = time.monotonic() + LINE_INTERVAL_S

    def say(self, line: str) -> None:
        """See the role."""
        self._stream.write(line + "\n")
        self._stream.flush()

    def ended(self, result: HuntResult) -> None:
        """See `scorekeeping.Listener`."""
        self.say(hunt_line(result))

    def was_clean(self, result: TrialResult) -> None:
        """See `scorekeeping.Listener`."""
        if result.outcome in (INVALID, FAILED):
            for line in alarm_lines(result):
                self.say(line)

    def refresh(self, keeper: Scorekeeper) -> None:
        """See `scorekeeping.Listener`."""
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + LINE_INTERVAL_S
            self.say("  " + progress_line(keeper))


class PanelDisplay(LineDisplay):
    """The same, with one line at the bottom of a terminal that is drawn anew in place."""

    def __init__(self, stream: TextIO, live: Any, console: Any) -> None:
        super().__init__(stream)
        self._live = live
        self._console = console
        self._draw_at = 0.0

    def say(self, line: str) -> None:
        """See the role."""
        from rich.text import Text

        word = line.partition(" ")[0]
        style = {"found": "green", "MISSED": "yellow", "FAILED": "red", "FALSE": "red", "shrunk": "cyan"}.get(
            word, ""
        )
        self._console.print(Text(line, style), soft_wrap=True)

    def refresh(self, keeper: Scorekeeper) -> None:
        """See `scorekeeping.Listener`."""
        from rich.text import Text

        now = time.monotonic()
        if now >= self._draw_at:
            self._draw_at = now + PANEL_INTERVAL_S
            self._live.update(Text(progress_line(keeper), no_wrap=True, overflow="ellipsis"), refresh=True)


@contextlib.contextmanager
def _display(stream: TextIO, keeper: Scorekeeper) -> Iterator[Display]:
    if not stream.isatty():
        yield LineDisplay(stream)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        display = PanelDisplay(stream, live, console)
        display.refresh(keeper)
        yield display
