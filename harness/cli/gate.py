"""`harness gate`: many runs as a plan says, one exit code, and files that CI systems read."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from harness.explore.sweep import Stop
    from harness.explore.trial import TrialRequest, TrialResult
    from harness.gate.gate import GateResult, Task
    from harness.gate.plan import GatePlan

COLOURS = {"valid": "green", "known": "yellow", "unknown": "yellow", "invalid": "red", "failed": "red"}


@click.command(name="gate")
@click.argument("plan_file", metavar="PLAN", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--jobs", type=click.IntRange(1, 1024), help="Simulated runs at a time.  [default: all cores]")
@click.option(
    "--budget", metavar="TIME", help="Begin nothing more after this time, whatever the plan says: 10m."
)
@click.option(
    "--write-baseline",
    is_flag=True,
    help="Keep what was measured as the plan's baseline, if the gate passes.",
)
@click.option(
    "--github", is_flag=True, help="Annotations and job summary of GitHub Actions [seen by itself there]."
)
@click.option("--keep-valid", is_flag=True, help="Keep the run folders of valid runs as well.")
@click.option("--dry-run", is_flag=True, help="Print the command of every run and stop.")
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where the gate's folder is made.",
)
def command(
    plan_file: Path,
    jobs: int | None,
    budget: str | None,
    write_baseline: bool,
    github: bool,
    keep_valid: bool,
    dry_run: bool,
    runs_dir: Path,
) -> int:
    """Run the matrix of scenarios that PLAN (a TOML file, see docs/gates.md) asks for.

    The folder runs/gate-… gets gate.json, junit.xml, gate.sarif, summary.md, and the run folder of every run that is
    not valid.

    Exit code 0: everything is valid, or known. 1: a promise was broken, or throughput was lost. 3: something was not
    decided, or not run. 4: the harness failed. 2: the plan makes no sense.
    """
    from harness.cli.sweep import all_cores
    from harness.explore.durations import parse_duration
    from harness.gate.plan import load_plan

    plan = load_plan(plan_file)
    if budget is not None:
        plan = msgspec.structs.replace(plan, budget_s=parse_duration(budget))
    if write_baseline and plan.baseline is None:
        raise click.UsageError(
            f'--write-baseline: {plan_file} names no baseline; add baseline = "gate-baseline.json"'
        )
    _check_names(plan)
    if dry_run:
        for cell in plan.all_cells:
            for scenario in cell.scenarios:
                click.echo(f"{cell.name}: {scenario.command('./run')}")
        return 0
    return _run(
        plan,
        runs_dir,
        jobs=all_cores() if jobs is None else jobs,
        keep_valid=keep_valid,
        write_baseline=write_baseline,
        github=github or os.environ.get("GITHUB_ACTIONS") == "true",
    )


def _check_names(plan: GatePlan) -> None:
    """Wrong names are found before anything runs; what this machine lacks is found out by the run itself."""
    from harness.catalog import make_parts
    from harness.scenario import ScenarioError

    problems: dict[str, None] = {}
    for cell in plan.all_cells:
        try:
            make_parts(cell.scenarios[0])
        except ScenarioError as error:
            problems.setdefault(f"cell {cell.name!r}: {error}")
        except Exception:  # noqa: BLE001 - a part that this machine lacks: the run says so, with exit code 4.
            continue
    if problems:
        raise ScenarioError("; ".join(problems))


def _run(
    plan: GatePlan, runs_dir: Path, *, jobs: int, keep_valid: bool, write_baseline: bool, github: bool
) -> int:
    from harness.cli.answer import tell
    from harness.explore.workers import process_pool
    from harness.fingerprint import code_digest
    from harness.gate import gate, outputs
    from results.run_folder import file_name, new_folder

    baseline = None if plan.baseline is None else gate.read_baseline(plan.baseline)
    # The calendar of the person who wrote when a known failure expires.
    today = date.today()
    keeper = gate.Gate(plan, code=code_digest(), today=today, baseline=baseline, is_virtual=_is_virtual)
    folder = new_folder(runs_dir, f"gate-{{time}}-{file_name(plan.name)}", datetime.now(UTC))
    click.echo(f"gate {plan.name}: {plan.runs} runs in {len(plan.cells)} cells; folder: {folder}")
    show = _Lines(plan.runs + (len(plan.control.scenarios) if plan.control is not None else 0))
    needs_pool = any(_is_virtual(scenario.environment) for cell in plan.cells for scenario in cell.scenarios)
    with _stops_by_signal() as stop:
        run_one = partial(run_in_folder, folder=str(folder), keep_valid=keep_valid)
        if needs_pool:
            with process_pool(jobs) as pool:
                result = keeper.run(pool, jobs, run_one, stop, show)
        else:
            result = keeper.run(None, 1, run_one, stop, show)
    (folder / "gate.json").write_bytes(
        msgspec.json.format(
            msgspec.json.encode(
                {"outcome": result.outcome, "exit_code": result.exit_code, **msgspec.structs.asdict(result)}
            )
        )
        + b"\n"
    )
    (folder / "junit.xml").write_bytes(outputs.junit(result))
    (folder / "gate.sarif").write_bytes(outputs.sarif(result))
    text = outputs.summary(result)
    (folder / "summary.md").write_text(text, encoding="utf-8")
    if github:
        for line in outputs.github_commands(result):
            click.echo(line)
        if os.environ.get("GITHUB_STEP_SUMMARY"):
            with open(os.environ["GITHUB_STEP_SUMMARY"], "a", encoding="utf-8") as file:
                file.write(text)
    tell(folder=folder, outcome=result.outcome, **msgspec.structs.asdict(result))
    _conclude(result, folder)
    if write_baseline:
        assert plan.baseline is not None
        if result.exit_code == 0:
            gate.write_baseline(plan.baseline, gate.baseline_of(result))
            click.echo(f"baseline: {plan.baseline}")
        else:
            click.echo("the baseline was left as it was: only a gate that passes makes one", err=True)
    return result.exit_code


def _conclude(result: GateResult, folder: Path) -> None:
    from harness.gate.outputs import describe, is_bad

    for run in result.runs:
        if run.outcome == "known" or is_bad(run, result):
            click.secho(
                f"  {run.cell}, seed {run.seed}: {run.outcome}: {describe(run)}", fg=COLOURS.get(run.outcome)
            )
            if run.attempts:
                click.echo(f"    repeat with: {run.command}")
    for cell in result.cells:
        if cell.regression is not None:
            click.secho(f"  {cell.cell}: {cell.regression}", fg="red")
    for known in result.unused:
        click.echo(f"  known but not seen: {known.cell}: {known.anomaly} ({known.reason})")
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"files: {folder}/summary.md, junit.xml, gate.sarif, gate.json")
    click.secho(f"gate: {result.outcome}", fg=COLOURS[result.outcome], bold=True)


class _Lines:
    """A line for each attempt."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._done = 0

    def took(self, task: Task, result: TrialResult, attempt: int) -> None:
        """See `gate.Listener`."""
        if attempt == 1:
            self._done += 1
        again = "" if attempt == 1 else f", attempt {attempt}"
        click.echo(
            f"{self._done}/{self._runs}  "
            + click.style(f"{result.outcome:8}", fg=COLOURS.get(result.outcome))
            + f" {task.label}{again}, {result.wall_s:.1f} s"
        )


def run_in_folder(request: TrialRequest, name: str, *, folder: str, keep_valid: bool) -> TrialResult:
    """In a worker process, or here: what came of a run."""
    from harness.explore.trial import run_trial

    return run_trial(request, Path(folder), "always" if keep_valid else "failures", name=name)


def _is_virtual(environment: str) -> bool:
    return environment == "simulation"


@contextmanager
def _stops_by_signal() -> Iterator[Stop]:
    """Ctrl-C once: nothing more is begun. Twice: nothing more is waited for."""
    from harness.explore.sweep import Stop

    stop = Stop()

    def on_signal(_number: int, _frame: Any) -> None:
        stop.request()
        if stop.requests > 2:
            raise KeyboardInterrupt
        click.echo(
            "\nstopping: nothing more is begun; once more does not wait for what is under way"
            if stop.requests == 1
            else "\nstopping at once",
            err=True,
        )

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
