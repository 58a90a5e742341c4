"""`harness export`: the history of a run, or of a file of any tool, in the notation of another tool."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli import names


@click.command(name="export")
@click.argument("target", metavar="[RUN|FILE]", default="latest", shell_complete=names.runs)
@click.option(
    "--to",
    "name",
    metavar="NAME",
    required=True,
    shell_complete=names.exports,
    help="edn (Jepsen, Knossos, Elle), elle-json (elle-cli), porcupine, perfetto (ui.perfetto.dev), parquet.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="The file to write [RUN/history.edn or the like; for a FILE: beside it].",
)
@click.option("--key", help="Only the operations on this key, of a history whose values are [key, value].")
@click.option(
    "--runs-dir",
    default=Path("runs"),
    type=click.Path(path_type=Path),
    show_default=True,
    help="Where runs are kept.",
)
def command(target: str, name: str, output: Path | None, key: str | None, runs_dir: Path) -> int:
    """Write the history of a run (a run folder, or `latest`), or of a history FILE, for another tool.

    \b
    harness export --to edn
    harness export runs/latest --to perfetto -o trace.json
    harness export history.edn --to parquet

    `harness check` reads edn, elle-json and porcupine back, with the same verdict.
    """
    from harness.cli.answer import tell
    from harness.cli.check import json_or_text
    from harness.cli.saved import open_run
    from harness.scenario import ScenarioError
    from results.export import EXPORTS, ExportError, export
    from results.export.formats import only_key
    from results.history import History
    from results.interchange.formats import read_history

    chosen = next((one for one in EXPORTS if one.name == name), None)
    if chosen is None:
        table = "; ".join(f"{one.name}: {one.caption}" for one in EXPORTS)
        raise click.UsageError(f"--to {name}: there is no such notation. There are {table}")
    path = Path(target)
    if path.is_file():
        history = read_history(path).history
        place = path.with_name(path.name.split(".")[0] + chosen.suffix)
    else:
        run = open_run(target, runs_dir)
        if not run.history_path.is_file():
            raise ScenarioError(
                f"{run.path} has no history.jsonl: nothing was recorded that could be exported"
            )
        history = History.load(run.history_path)
        place = run.path / f"history{chosen.suffix}"
    place = output if output is not None else place
    if place.exists() and place.samefile(path if path.is_file() else place.parent):
        raise click.UsageError(f"{place} is the history that is exported; name another file with --output")
    if not place.parent.is_dir():
        raise click.UsageError(f"--output {place}: there is no folder {place.parent}")
    if place.is_dir():
        raise click.UsageError(f"--output {place} is a folder; name a file in it")
    try:
        if key is not None:
            history = only_key(history, json_or_text(key))
        export(history, name, place)
    except ExportError as error:
        raise ScenarioError(str(error)) from error
    click.echo(f"{name}: {place} ({len(history)} events, {place.stat().st_size:,} bytes)")
    tell(
        notation=name, file=place, events=len(history), bytes=place.stat().st_size, torn=history.torn or None
    )
    if history.torn:
        click.echo(f"note: {history.torn}", err=True)
    return 0
