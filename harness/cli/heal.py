"""`harness heal`: undo the faults, and end the nodes, of runs whose harness is gone."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import names


@click.command(name="heal")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), shell_complete=names.runs)
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
def command(runs: tuple[Path, ...], runs_dir: Path) -> int:
    """Undo what RUNS left behind; without RUNS, whatever any run under --runs-dir left behind.

    A run that is in progress is left alone. A cluster that was kept running is ended. Healing twice does no harm.
    """
    from harness.cli.answer import tell
    from harness.cli.saved import open_run
    from harness.environments.ledger import heal
    from harness.explore.shrunk import clear_scratch, dead_scratches
    from harness.scenario import ScenarioError
    from results.run_folder import list_runs

    if not runs and not runs_dir.is_dir():
        raise ScenarioError(
            f"there is no folder {runs_dir}: give --runs-dir where the runs are, or a run folder"
        )
    folders = [open_run(run, runs_dir) for run in runs] if runs else list_runs(runs_dir)
    scratches = [] if runs else dead_scratches(runs_dir)
    folders += [folder for scratch in scratches for folder in list_runs(scratch)]
    healed: list[str] = []
    failed: list[str] = []
    in_progress: list[str] = []
    for folder in folders:
        running = folder.running()
        if running is not None:
            click.echo(f"{folder.id}: in progress (process {running.pid}), left alone")
            in_progress.append(folder.id)
            continue
        report = heal(folder.path)
        folder.release()
        for line in report.healed:
            click.echo(f"{folder.id}: {line}")
        for line in report.failed:
            click.echo(f"{folder.id}: NOT healed: {line}", err=True)
        healed += [f"{folder.id}: {line}" for line in report.healed]
        failed += [f"{folder.id}: {line}" for line in report.failed]
    tell(runs=len(folders), healed=healed, failed=failed, in_progress=in_progress)
    if not failed:
        for scratch in scratches:
            clear_scratch(scratch)
            click.echo(f"{scratch.name}: what an interrupted `harness shrink` had tried is removed")
    if not healed and not failed:
        click.echo(f"nothing to heal in {len(folders)} run{'' if len(folders) == 1 else 's'}")
    return 4 if failed else 0
