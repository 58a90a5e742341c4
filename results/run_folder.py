"""The only writer and reader of a run folder; the crash-safe history journal.

A run is a folder, `runs/<id>/`, whose format is described in docs/run-folder.md. Small files are written whole
and put in place by a rename, so that a reader sees the old one or the new one and never half of it. The history
grows by whole lines through the journal: one write a commit, before any client sees its invocation. The page
cache outlives the harness, so a kill -9 loses nothing that a client could have acted on; a power cut may.
"""

from __future__ import annotations

import errno
import json
import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from results import operation as operations_module
from results import verdict as verdict_module
from results.history import History, HistoryOrder
from results.messages import Message, MessageLog, decode_messages, encode_messages
from results.operation import Operation
from results.process_identity import ProcessIdentity, identify, is_running
from results.verdict import Verdict

LATEST = "latest"


class RunFolderError(Exception):
    """A run folder cannot be used as asked; the message says what is there and what to do."""


class JournalError(Exception):
    """The history could not be written; what was committed before is safe."""


class Journal:
    """The history of a run on its way to disk.

    `record` takes events and checks their order; `commit` writes all that were recorded since the last one, with
    a single `os.write`. Call it once a turn of the loop, before the clients are told of their invocations.
    """

    __slots__ = ("_admit", "_buffer", "_committed", "_file", "path", "record")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._buffer: list[Operation] = []
        self._committed = 0
        admit = HistoryOrder().admit
        append = self._buffer.append

        def record(operation: Operation) -> None:
            """Takes one event. Raises HistoryError, and takes nothing, if it breaks a rule of histories."""
            admit(operation)
            append(operation)

        # A closure over two bound methods: this is called twice an operation, a hundred thousand times a second.
        self.record = record

    def record_fields(
        self,
        index: int,
        time: int,
        process: int | str,
        type_: str,
        f: str,
        value: Any = None,
        error: Any = None,
        intended: int | None = None,
        node: str | None = None,
        phase: str | None = None,
    ) -> Operation:
        """Makes the event and records it."""
        operation = Operation(index, time, process, type_, f, value, error, intended, node, phase)
        self.record(operation)
        return operation

    @property
    def committed(self) -> int:
        """How many events have been written."""
        return self._committed

    def commit(self) -> None:
        """Writes what was recorded. Raises JournalError; the events before stay readable.

        Raises TypeError for an event whose value JSON cannot carry, and names it; the others are written.
        """
        buffer = self._buffer
        if not buffer:
            return
        if self._file < 0:
            raise JournalError(f"{self.path} is closed; {len(buffer)} events came too late for it")
        refusal: TypeError | None = None
        try:
            lines = operations_module.encode_lines(buffer)
        except (TypeError, ValueError, OverflowError) as error:
            lines, refusal = _encode_leniently(buffer, error)
        self._write(lines)
        self._committed += len(buffer)
        buffer.clear()
        if refusal is not None:
            raise refusal

    def _write(self, lines: bytes) -> None:
        try:
            written = os.write(self._file, lines)
            while written < len(lines):  # A nearly full disk takes a part; the next write says why.
                lines = lines[written:]
                written = os.write(self._file, lines)
        except OSError as error:
            why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
            raise JournalError(
                f"cannot write the history to {self.path}: {why}. The first {self._committed} events are safe; "
                "the run cannot go on without a record"
            ) from error

    def close(self) -> None:
        """Commits and closes; closing twice is harmless."""
        if self._file < 0:
            return
        try:
            self.commit()
        finally:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _encode_leniently(events: list[Operation], error: Exception) -> tuple[bytes, TypeError]:
    """Lines for all events, the values that JSON cannot carry as text; and the complaint about the first one."""
    lines: list[bytes] = []
    complaint: TypeError | None = None
    for event in events:
        try:
            lines.append(operations_module.encode_line(event))
        except (TypeError, ValueError, OverflowError) as refusal:
            complaint = complaint or TypeError(
                f"event {event.index} ({event.type} {event.f} of process {event.process}) has a value that JSON "
                f"cannot carry: {event.value!r:.200} ({refusal}); the history keeps it as text"
            )
            event = msgspec.structs.replace(
                event, value=repr(event.value), error=None if event.error is None else repr(event.error)
            )
            lines.append(operations_module.encode_line(event))
    return b"".join(lines), complaint or TypeError(str(error))


@dataclass(frozen=True)
class Running:
    """Who is writing a run folder: a process, told apart from a later one with the same number by its start."""

    pid: int
    process_start: str
    began: str
    """UTC, ISO 8601; for people."""

    def is_alive(self) -> bool:
        return is_running(ProcessIdentity(self.pid, self.process_start))


def new_folder(root: Path, name: str, now: datetime | None = None) -> Path:
    """Makes a folder under `root`, whose name has the UTC time in place of `{time}`, and `-2`, `-3` ... if it is taken.

    Raises RunFolderError if it cannot be made.
    """
    stem = name.replace("{time}", (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"))
    number = 1
    while True:
        path = root / (stem if number == 1 else f"{stem}-{number}")
        try:
            root.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return path
        except FileExistsError:
            if not root.is_dir():
                raise RunFolderError(f"cannot keep runs in {root}: it is a file, not a folder") from None
            number += 1
        except OSError as error:
            raise RunFolderError(
                f"cannot make the run folder {path}: {error.strerror}; choose another place for the runs"
            ) from error


class RunFolder:
    """One run on disk: made by `create`, found again by `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # Making and finding

    @classmethod
    def create(cls, root: Path | str, name: str, *, now: datetime | None = None) -> RunFolder:
        """Makes `root/<UTC time>-<name>` (with `-2`, `-3` ... if taken) and points `root/latest` at it.

        `name` is the workload's; `now` is for tests. Raises RunFolderError if `root` cannot be written.
        """
        folder = cls(new_folder(Path(root), "{time}-" + file_name(name), now))
        folder._point_latest_here()
        return folder

    @classmethod
    def open(cls, path: Path | str = LATEST, *, root: Path | str = "runs") -> RunFolder:
        """The run at `path`; `latest` is the newest one under `root`. Raises RunFolderError if there is none."""
        given = Path(path)
        if str(path) == LATEST and not given.exists():
            given = Path(root) / LATEST
        if given.name == LATEST and not given.exists():
            raise RunFolderError(f"there is no run yet: {given} leads nowhere; `harness test` makes one")
        if not given.is_dir():
            raise RunFolderError(f"{given} is not a run folder: there is no such folder")
        found = given.resolve()
        if not any((found / name).exists() for name in ("history.jsonl", "scenario.toml", "running.json")):
            hint = f"; did you mean {given / LATEST}?" if (given / LATEST).exists() else ""
            raise RunFolderError(
                f"{given} is not a run folder: it has no history.jsonl and no scenario.toml{hint}"
            )
        return cls(found)

    def _point_latest_here(self) -> None:
        """Moves the link in one step; where the file system has no links, `latest` is left out."""
        link = self.path.parent / LATEST
        temporary = self.path.parent / f".latest-{os.getpid()}-{self.path.name}"
        try:
            os.symlink(self.path.name, temporary)
            os.replace(temporary, link)
        except OSError:
            temporary.unlink(missing_ok=True)

    @property
    def id(self) -> str:
        return self.path.name

    # Places

    @property
    def scenario_path(self) -> Path:
        return self.path / "scenario.toml"

    @property
    def schedule_path(self) -> Path:
        return self.path / "schedule.jsonl"

    @property
    def operations_path(self) -> Path:
        return self.path / "operations.jsonl"

    @property
    def history_path(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def verdict_path(self) -> Path:
        return self.path / "verdict.json"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    @property
    def shrink_path(self) -> Path:
        return self.path / "shrink.json"

    @property
    def shrink_page_path(self) -> Path:
        return self.path / "shrink.html"

    @property
    def environment_path(self) -> Path:
        return self.path / "environment.json"

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def running_path(self) -> Path:
        return self.path / "running.json"

    @property
    def messages_path(self) -> Path:
        return self.path / "messages.jsonl.gz"

    @property
    def nodes_path(self) -> Path:
        return self.path / "nodes"

    def node_dir(self, name: str) -> Path:
        """The folder of one node (its logs, its data), made if needed."""
        path = self.nodes_path / file_name(name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def node_names(self) -> list[str]:
        """The nodes that left something, sorted."""
        if not self.nodes_path.is_dir():
            return []
        return sorted(path.name for path in self.nodes_path.iterdir() if path.is_dir())

    # Writing

    def journal(self) -> Journal:
        """Starts the history. Raises RunFolderError if this run has one: a record is never written twice."""
        try:
            return Journal(self.history_path)
        except FileExistsError:
            raise RunFolderError(f"{self.history_path} exists: a run's history is written once") from None
        except OSError as error:
            raise RunFolderError(f"cannot write {self.history_path}: {error.strerror}") from error

    def write_scenario(self, text: str) -> None:
        """Keeps the scenario, as TOML. Raises ValueError if it is not TOML: nobody could repeat that run."""
        tomllib.loads(text)
        self._write(self.scenario_path, text.encode())

    def write_schedule(self, steps: Iterable[dict[str, Any]]) -> None:
        """Keeps the schedule of faults, a JSON line a step."""
        self._write(self.schedule_path, b"".join(msgspec.json.encode(step) + b"\n" for step in steps))

    def write_operations(self, lines: bytes) -> None:
        """Keeps the recorded stream of operations that this run invokes, a JSON line an operation."""
        self._write(self.operations_path, lines)

    def write_messages(self, recorded: int, kept: Sequence[Message]) -> None:
        """Keeps who sent what to whom: these messages, of so many."""
        self._write(self.messages_path, encode_messages(recorded, kept))

    def write_shrink(self, record: bytes, page: str) -> None:
        """Keeps how this run came of a larger one, as JSON and as a page for people."""
        self._write(self.shrink_path, record)
        self._write(self.shrink_page_path, page.encode())

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Keeps the fingerprint of the place: commit, versions, kernel."""
        text = json.dumps(environment, indent=2, sort_keys=True, default=str)
        self._write(self.environment_path, text.encode() + b"\n")

    def write_verdict(self, verdict: Verdict) -> None:
        self._write(self.verdict_path, verdict_module.encode(verdict))

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise RunFolderError(f"cannot write {path}: {error.strerror}") from error

    # Reading

    def read_history(self) -> History:
        """The history up to now, also of a run that is still going on or was killed."""
        return History.load(self._existing(self.history_path))

    def read_scenario(self) -> dict[str, Any]:
        return tomllib.loads(self._existing(self.scenario_path).read_text())

    def read_schedule(self) -> list[dict[str, Any]]:
        lines = self._existing(self.schedule_path).read_bytes().splitlines()
        return [msgspec.json.decode(line) for line in lines]

    def read_messages(self) -> MessageLog | None:
        """Who sent what to whom; None of a run that kept no messages. Raises MessagesError."""
        if not self.messages_path.exists():
            return None
        return decode_messages(self.messages_path.read_bytes())

    def read_environment(self) -> dict[str, Any]:
        environment: dict[str, Any] = msgspec.json.decode(self._existing(self.environment_path).read_bytes())
        return environment

    def read_verdict(self) -> Verdict | None:
        """The verdict; None if the run was not judged (yet)."""
        if not self.verdict_path.exists():
            return None
        return verdict_module.decode(self.verdict_path.read_bytes())

    def _existing(self, path: Path) -> Path:
        if not path.exists():
            raise RunFolderError(f"the run {self.id} has no {path.name} (looked in {self.path})")
        if not path.is_file():
            raise RunFolderError(f"{path} is no file, as it is in a run folder")
        return path

    # Whether it is live

    def claim(self, *, now: datetime | None = None) -> None:
        """Says that this process is running the run. Raises RunFolderError if another live one is."""
        other = self.running()
        if other is not None and other.pid != os.getpid():
            raise RunFolderError(
                f"the run {self.id} is in progress (process {other.pid}, since {other.began})"
            )
        me = identify(os.getpid())
        assert me is not None, f"this process, {os.getpid()}, cannot be seen by itself"
        began = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
        text = json.dumps({"pid": me.pid, "process_start": me.started, "began": began})
        self._write(self.running_path, text.encode() + b"\n")

    def release(self) -> None:
        """Says that the run is over."""
        self.running_path.unlink(missing_ok=True)

    def running(self) -> Running | None:
        """Who is running this run; None if nobody is, also when its harness was killed."""
        claimed = self.claimed()
        return claimed if claimed is not None and claimed.is_alive() else None

    def claimed(self) -> Running | None:
        """Who said that it runs this run, alive or not. A dead one left without healing."""
        try:
            found = msgspec.json.decode(self.running_path.read_bytes())
            return Running(int(found["pid"]), str(found["process_start"]), str(found.get("began", "")))
        except (FileNotFoundError, msgspec.MsgspecError, KeyError, TypeError, ValueError):
            return None


def list_runs(root: Path | str) -> list[RunFolder]:
    """The runs under `root`, oldest first."""
    root = Path(root)
    if not root.is_dir():
        return []
    paths = (path for path in root.iterdir() if path.is_dir() and not path.is_symlink())
    return [RunFolder(path) for path in sorted(paths) if not path.name.startswith(".")]


def file_name(name: str) -> str:
    """The name with everything replaced that a file's name should not have."""
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name).strip(".-")
    return kept or "run"
