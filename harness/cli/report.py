"""`harness report`: the HTML page of a saved run, written again from its folder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="report")
@click.argument("run", default="latest")
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
def command(run: str, runs_dir: Path) -> int:
    """Write the report of RUN (a run folder, or `latest`) again."""
    from harness.cli.saved import open_run
    from results.report import write_report

    click.echo(f"report: {write_report(open_run(run, runs_dir))}")
    return 0
