"""`harness report`: the HTML page of a saved run, written again from its folder."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import names


@click.command(name="report")
@click.argument("run", default="latest", shell_complete=names.runs)
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
def command(run: str, runs_dir: Path) -> int:
    """Write the report of RUN (a run folder, or `latest`) again."""
    from harness.cli.answer import tell
    from harness.cli.saved import open_run
    from results.report import write_report
    from results.report.record import read_record

    folder = open_run(run, runs_dir)
    record = read_record(folder)
    page = write_report(folder, record)
    for problem in record.problems:
        click.echo(f"note: the report lacks something: {problem}", err=True)
    click.echo(f"report: {page}")
    tell(report=page)
    return 0
