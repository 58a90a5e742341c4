"""What a history can be exported to, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from results.export import edn, parquet, perfetto, porcupine
from results.history import History
from results.interchange.reading import reading_of
from results.operation import Operation


class ExportError(ValueError):
    """This history cannot be written in that notation; the message says why, and what can be done."""


@dataclass(frozen=True)
class Export:
    """One notation of another tool."""

    name: str
    caption: str
    suffix: str
    """What the file's name ends in if nobody names the file."""
    write: Callable[[History, Path], None]
    """Writes the file. Raises ValueError where the history has no such form, ImportError where a package is missing."""


def _write_lines(lines: Iterable[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _write_edn(history: History, path: Path) -> None:
    _write_lines(edn.events(history.operations), path)


def _write_elle_json(history: History, path: Path) -> None:
    """A list of objects, as elle-cli wants it: clients' transactions only."""
    with path.open("wb") as file:
        before = b"["
        for operation in history.operations:
            if operation.is_client:
                file.write(before + msgspec.json.encode(_elle_event(operation)))
                before = b",\n"
        file.write(b"]\n" if before == b",\n" else b"[]\n")


def _elle_event(operation: Operation) -> dict[str, Any]:
    if operation.f != "txn":
        raise ValueError(
            f"event {operation.index} is a {operation.f}; Elle's JSON is of transactions (f is txn, the value a list "
            "of micro-operations). Export it as edn"
        )
    found: dict[str, Any] = {
        "index": operation.index,
        "time": operation.time,
        "process": operation.process,
        "type": operation.type,
        "f": operation.f,
        "value": operation.value,
    }
    if operation.error is not None:
        found["error"] = operation.error
    return found


def _write_porcupine(history: History, path: Path) -> None:
    _write_lines(porcupine.lines(history.operations), path)


def _write_perfetto(history: History, path: Path) -> None:
    with path.open("wb") as file:
        before = b'{"displayTimeUnit": "ms", "traceEvents": [\n'
        for event in perfetto.events(history):
            file.write(before + msgspec.json.encode(event))
            before = b",\n"
        file.write(b"\n]}\n")


EXPORTS: Final[tuple[Export, ...]] = (
    Export("edn", "EDN, a map a line, as Jepsen keeps histories", ".edn", _write_edn),
    Export("elle-json", "a JSON list of transactions, for elle-cli", ".json", _write_elle_json),
    Export(
        "porcupine",
        "Porcupine's logs: one register, or get, put and append",
        ".log",
        _write_porcupine,
    ),
    Export(
        "perfetto",
        "a trace for ui.perfetto.dev: operations, faults, log lines",
        ".perfetto.json",
        _write_perfetto,
    ),
    Export("parquet", "a Parquet table, a row an event (needs pyarrow)", ".parquet", parquet.write),
)


def export(history: History, name: str, path: Path) -> None:
    """Writes the history to the file in the named notation; on an error nothing is left there.

    Raises ExportError where the history has no such form or a package is missing; ValueError for an unknown name.
    """
    chosen = next((one for one in EXPORTS if one.name == name), None)
    if chosen is None:
        raise ValueError(
            f"{name!r} is nothing that can be exported to; there are {', '.join(e.name for e in EXPORTS)}"
        )
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        chosen.write(history, unfinished)
        unfinished.replace(path)
    except (ValueError, TypeError, ImportError) as error:
        raise ExportError(str(error)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def only_key(history: History, key: Any) -> History:
    """The operations on one key of a history whose values are `[key, value]`, with the values alone; observers' events
    stay. Raises ExportError, which names some keys, if no operation is about it."""
    kept: list[Operation] = []
    others: dict[str, None] = {}
    found = False
    open_about: dict[int | str, bool] = {}
    for operation in history.operations:
        if not operation.is_client:
            kept.append(operation)
            continue
        value = operation.value
        if isinstance(value, list | tuple) and len(value) == 2:
            about = value[0] == key
            others.setdefault(repr(value[0]))
            value = value[1]
        else:
            about = open_about.get(operation.process, False)
        open_about[operation.process] = about
        if about:
            found = True
            kept.append(msgspec.structs.replace(operation, value=value))
    if not found:
        some = ", ".join(list(others)[:10]) or "none: its values are not [key, value]"
        raise ExportError(f"no operation is about the key {key!r}; keys of this history: {some}")
    for index, operation in enumerate(kept):
        kept[index] = msgspec.structs.replace(operation, index=index)
    return reading_of(kept, "json").history
