"""`harness prune`: end and undo whatever dead runs have left on this machine, wherever their folders are."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="prune")
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Runs kept there are healed as well.",
)
@click.option("--kept", is_flag=True, help="End clusters that were kept running on purpose, too.")
def command(runs_dir: Path, kept: bool) -> int:
    """Find what dead runs have left on this machine, and undo it: processes, containers, networks, mounts.

    They are found by what they carry, so also when their run folder is elsewhere, or gone. Runs in progress are left
    alone. Pruning twice does no harm.
    """
    from harness.cli.answer import tell
    from harness.environments.prune import prune
    from results.run_folder import list_runs

    folders = [folder.path for folder in list_runs(runs_dir)] if runs_dir.is_dir() else []
    reports, left_alone = prune(folders, kept)
    for folder, why in sorted(left_alone.items()):
        click.echo(f"{folder}: {why}, left alone")
    for folder, report in reports.items():
        for line in report.healed:
            click.echo(f"{folder}: {line}")
        for line in report.failed:
            click.echo(f"{folder}: NOT undone: {line}", err=True)
    if not reports:
        click.echo("nothing was left")
    tell(
        pruned=[f"{folder}: {line}" for folder, report in reports.items() for line in report.healed],
        failed=[f"{folder}: {line}" for folder, report in reports.items() for line in report.failed],
        left_alone={str(folder): why for folder, why in left_alone.items()},
    )
    return 4 if any(report.failed for report in reports.values()) else 0
