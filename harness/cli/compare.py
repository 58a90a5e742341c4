"""`harness compare`: two saved runs side by side, as a table and as a page."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli import names


@click.command(name="compare")
@click.argument("a", metavar="A", shell_complete=names.runs)
@click.argument("b", metavar="B", default="latest", shell_complete=names.runs)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, and nothing else there.")
@click.option("--page", type=click.Path(path_type=Path), help="Write an HTML page there as well.")
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
def command(a: str, b: str, as_json: bool, page: Path | None, runs_dir: Path) -> int:
    """Compare two runs: verdicts, throughput, latency, availability under each kind of fault, recovery.

    A and B are run folders, or `latest` (which B is by default). What their scenarios differ in is listed first.
    Nothing is judged, so the exit code is 0; `harness gate` judges against a baseline.
    """
    from harness.cli.saved import open_run
    from results.report.comparison import compare, render, text_lines
    from results.report.record import read_record

    if page is not None and not page.parent.is_dir():
        raise click.UsageError(f"--page {page}: there is no folder {page.parent}")
    records = [read_record(open_run(_place(one, runs_dir), runs_dir)) for one in (a, b)]
    for record in records:
        for problem in record.problems:
            click.echo(f"note: of {record.id} something is missing: {problem}", err=True)
    comparison = compare(*records)
    if page is not None:
        page.write_text(render(comparison), encoding="utf-8", errors="replace")
    if as_json:
        click.echo(json.dumps(comparison.to_data(), indent=2, default=repr))
        return 0
    for line in text_lines(comparison):
        mark = line.rsplit("  ", 1)[-1].strip()
        click.secho(line, fg={"better": "green", "worse": "red"}.get(mark))
    if page is not None:
        click.echo(f"\npage: {page}")
    return 0


def _place(run: str, runs_dir: Path) -> str:
    """A run may be named by its id alone."""
    return run if run == "latest" or Path(run).exists() else str(runs_dir / run)
