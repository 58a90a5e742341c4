"""All that a run folder holds, read with patience: what is missing or damaged is said, and the rest still shows.

A report is wanted most of a run that went wrong. So nothing here raises because of what a folder holds: a missing
verdict, a history with a damaged line, a scenario that is no TOML each become a sentence in `problems`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from results.history import History, HistoryError
from results.messages import MessageLog, MessagesError
from results.run_folder import RunFolder, RunFolderError
from results.verdict import Verdict

LOG_TAIL_BYTES = 48 * 1024
"""How much of the end of a log the page shows; the folder has it whole."""
MAX_LOGS = 200

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class LogFile:
    """A log that a node left, and the end of it."""

    node: str
    parts: tuple[str, ...]
    """Its path in the run folder."""
    size_bytes: int
    tail: str
    is_whole: bool


@dataclass(frozen=True)
class RunRecord:
    """One run, as far as it could be read."""

    id: str
    place: str
    """The folder for a command, from beside the folder that holds the runs: `runs/<id>`."""
    history: History
    verdict: Verdict | None
    scenario: dict[str, Any]
    environment: dict[str, Any]
    is_live: bool
    """A harness is running it right now."""
    logs: list[LogFile]
    files: list[tuple[str, int]]
    """The folder's own files with their sizes, sorted by name."""
    messages: MessageLog | None = None
    """Who sent what to whom, of a simulated run."""
    problems: list[str] = field(default_factory=list)
    file: str | None = None
    """The name of the history's file, where there is no run folder."""
    command: str | None = None
    """The command that judges that file again."""


def record_of_file(
    path: Path, history: History, verdict: Verdict, command: str, notes: list[str]
) -> RunRecord:
    """What there is to show of a history that came in a file of its own."""
    return RunRecord(
        id=path.name,
        place=str(path),
        history=history,
        verdict=verdict,
        scenario={},
        environment={},
        is_live=False,
        logs=[],
        files=[],
        problems=notes,
        file=path.name,
        command=command,
    )


def read_record(folder: RunFolder) -> RunRecord:
    """Reads a run folder; never raises for what is in it."""
    problems: list[str] = []

    def patiently(path: Path, read: Callable[[], _Read], otherwise: _Read) -> _Read:
        try:
            return read()
        except (
            RunFolderError,
            HistoryError,
            MessagesError,
            msgspec.MsgspecError,
            tomllib.TOMLDecodeError,
            UnicodeDecodeError,
            OSError,
        ) as error:
            text = str(error)
            problems.append(text if path.name in text else f"{path.name}: {text}")
            return otherwise

    history = patiently(folder.history_path, folder.read_history, History([]))
    if history.torn is not None:
        problems.append(f"history.jsonl: {history.torn}")
    verdict = patiently(folder.verdict_path, folder.read_verdict, None)
    scenario: dict[str, Any] = patiently(folder.scenario_path, folder.read_scenario, {})
    environment: dict[str, Any] = patiently(folder.environment_path, folder.read_environment, {})
    messages = patiently(folder.messages_path, folder.read_messages, None)
    return RunRecord(
        id=folder.id,
        place=_place(folder.path),
        history=history,
        verdict=verdict,
        scenario=scenario,
        environment=environment if isinstance(environment, dict) else {"environment": environment},
        is_live=folder.running() is not None,
        logs=_read_logs(folder),
        files=sorted(
            (path.name, path.stat().st_size)
            for path in folder.path.iterdir()
            if path.is_file() and not path.name.startswith(".")
        ),
        messages=messages,
        problems=problems,
    )


def _place(path: Path) -> str:
    path = path.resolve()
    return f"{path.parent.name}/{path.name}" if path.parent.name else str(path)


def _read_logs(folder: RunFolder) -> list[LogFile]:
    logs: list[LogFile] = []
    for node in folder.node_names():
        root = folder.nodes_path / node
        for parent, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                path = Path(parent) / name
                if path.suffix in (".log", ".txt", ".out", ".err") and len(logs) < MAX_LOGS:
                    log = _read_log(folder.path, node, path)
                    if log is not None:
                        logs.append(log)
    return logs


def _read_log(root: Path, node: str, path: Path) -> LogFile | None:
    """The end of a log; None for what only has the name of one, like the write-ahead log of a storage engine."""
    parts = path.relative_to(root).parts
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - LOG_TAIL_BYTES))
            data = file.read(LOG_TAIL_BYTES)
    except OSError as error:
        return LogFile(node, parts, 0, f"cannot be read: {error.strerror}", True)
    is_whole = size <= LOG_TAIL_BYTES
    if not is_whole:  # Begin with a whole line.
        data = data.partition(b"\n")[2] or data
    text = data.decode("utf-8", "replace")
    if b"\x00" in data or text.count("\ufffd") > len(text) // 100:
        return None
    return LogFile(node, parts, size, text, is_whole)
