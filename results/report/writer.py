"""Writes the page of a run: the built template, filled with sentences, tables and packed operations."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from results.history import History
from results.report.escape import html_text, script_json
from results.report.measures import tabulate
from results.report.page_data import page_data, thread_count
from results.report.record import RunRecord, read_record, record_of_file
from results.report.sections import tables_section, verdict_section
from results.report.words import heading
from results.run_folder import RunFolder, RunFolderError
from results.verdict import Verdict


def write_report(folder: RunFolder, record: RunRecord | None = None) -> Path:
    """Writes `report.html` into the folder from what the folder holds, and returns its path.

    Works for a run that was interrupted or is still going on: what is missing is said in the page. Raises
    RunFolderError only if the page cannot be written. The same folder gives the same page. `record` is what the
    folder holds, if it has been read.
    """
    try:
        _write(folder.report_path, render(record or read_record(folder)))
    except OSError as error:
        raise RunFolderError(f"cannot write {folder.report_path}: {error.strerror}") from error
    return folder.report_path


def write_file_report(
    target: Path, history: History, verdict: Verdict, source: Path, command: str, notes: list[str]
) -> None:
    """Writes the page of a history that came in a file of its own. Raises OSError if it cannot be written.

    `command` judges the file again; `notes` say how it was read.
    """
    _write(target, render(record_of_file(source, history, verdict, command, notes)))


def _write(target: Path, page: str) -> None:
    """Writes the page whole, or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(page, encoding="utf-8", errors="replace", newline="\n")
        os.replace(temporary, target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def render(record: RunRecord) -> str:
    """The page as a text. One self-contained file: it asks for nothing, and runs only the template's script."""
    table = tabulate(record.history)
    faults = record.history.fault_intervals()
    _, word, _ = heading(record)
    threads = thread_count(record.scenario)
    data = script_json(
        page_data(record.history, table, faults, record.verdict, threads, record.logs, record.messages)
    )
    places = {
        "title": html_text(f"{word}: {record.id}"),
        "verdict": verdict_section(record, table, faults),
        "tables": f"<main>{tables_section(record, table, faults)}</main>",
        "data": f'<script type="application/json" id="run-data">{data}</script>',
    }
    return _fill(files("results.report").joinpath("template.html").read_text(encoding="utf-8"), places)


def _fill(template: str, places: dict[str, str]) -> str:
    """Puts each text at its `<!--report:NAME-->`. What a text holds is never looked at for further places."""
    page = []
    rest = template
    for name, text in places.items():  # In the order of the template.
        before, found, rest = rest.partition(f"<!--report:{name}-->")
        assert found, f"the template has no place for {name} after the places before it"
        page += [before, text]
    return "".join([*page, rest])
