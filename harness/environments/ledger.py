"""The crash-safe record of what must be undone: written before the act, so that `harness heal` can undo it later.

`ledger.jsonl` in the run folder, append-only. The first line names the harness that writes it; each further line
opens an entry (its undo, before the act), adds to it what became known by acting (a pid), or closes it. One
`write` a line: it survives a kill -9 of the harness by the page cache. It is not synced, because a host that
loses power loses the processes and rules that it would undo.

`heal` reads the entries that are still open, newest first, and gives each to `undo` of
`harness.environments.<environment>.undo`. It may be called any number of times.
"""

from __future__ import annotations

import importlib
import os
import secrets
import time
from pathlib import Path
from typing import Any, Protocol

import msgspec

from harness.environments.environment import EnvironmentFailed
from harness.environments.processes import (
    LEDGER_VARIABLE,
    TOKEN_VARIABLE,
    ProcessIdentity,
    identify,
    is_running,
)
from nemesis.cluster import HealReport

FILE_NAME = "ledger.jsonl"


class Entry(msgspec.Struct, frozen=True):
    """Something done that must be undone."""

    id: int
    kind: str
    """`process`, `links`, `pause`, `clock`, `container`, ...: known to the environment's `undo`."""
    undo: dict[str, Any]


class LedgerHeader(msgspec.Struct, frozen=True):
    """Who wrote the ledger."""

    environment: str
    token: str
    """In the environment (`HARNESS_TOKEN`) of every process that belongs to this run."""
    pid: int
    started: str
    at: str


class LedgerContent(msgspec.Struct, frozen=True):
    """A ledger as read: what is open, oldest first; `torn` says that the last line was incomplete."""

    header: LedgerHeader
    open_entries: list[Entry]
    detached: bool
    torn: bool
    last_id: int


class Undoer(Protocol):
    """What `heal` asks of an environment's module `undo`."""

    def undo(self, entry: Entry, header: LedgerHeader) -> str | None:
        """Undo one entry. Returns what was done in a sentence, None if there was nothing left. Raises if it cannot."""

    def sweep(self, header: LedgerHeader) -> list[str]:
        """After all entries: end whatever else carries the run's token. Returns what was done."""


class Ledger:
    """The writer. One per run."""

    def __init__(self, path: Path, header: LedgerHeader, descriptor: int, next_id: int = 1) -> None:
        self.path = path
        self.header = header
        self._descriptor: int | None = descriptor
        self._next_id = next_id
        self._open: dict[int, str] = {}

    @classmethod
    def create(cls, path: Path, environment: str) -> Ledger:
        """Start a ledger. Raises EnvironmentFailed if there is one that still has open entries."""
        if path.exists() and read_ledger(path).open_entries:
            raise EnvironmentFailed(
                f"{path} holds faults that were never undone; run 'harness heal {path.parent}' first"
            )
        me = identify(os.getpid())
        assert me is not None, "this process has no entry in the process table"
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        header = LedgerHeader(environment, secrets.token_hex(16), me.pid, me.started, at)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        ledger = cls(path, header, descriptor)
        ledger._write({"header": header})
        return ledger

    def intend(self, kind: str, **undo: Any) -> int:
        """Write down what is about to be done and how to undo it. Returns the entry's id. Call before acting."""
        number = self._next_id
        self._next_id += 1
        self._open[number] = kind
        self._write({"open": Entry(number, kind, undo)})
        return number

    def note(self, entry: int, **undo: Any) -> None:
        """Add to the undo of an open entry what only acting has shown."""
        self._write({"note": entry, "undo": undo})

    def done(self, entry: int) -> None:
        """It is undone. Closing twice is closing once."""
        if self._open.pop(entry, None) is not None:
            self._write({"done": entry})

    def detach(self) -> None:
        """What is open stays so on purpose; `heal` may undo it although the harness lives."""
        self._write({"detached": True})

    def variables(self) -> dict[str, str]:
        """Environment variables of every process of this run, by which it is found."""
        return {TOKEN_VARIABLE: self.header.token, LEDGER_VARIABLE: str(self.path.absolute())}

    @property
    def open_entries(self) -> tuple[int, ...]:
        """Ids of the entries that are not undone."""
        return tuple(self._open)

    def close(self) -> None:
        """Close the file. Open entries stay open on disk."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, line: dict[str, Any]) -> None:
        if self._descriptor is None:
            raise EnvironmentFailed(
                f"{self.path} is closed: nothing may be done any more that must be undone"
            )
        data = msgspec.json.encode(line) + b"\n"
        written = os.write(self._descriptor, data)
        if written != len(data):
            raise EnvironmentFailed(f"{self.path}: wrote {written} of {len(data)} bytes (is the disk full?)")


def read_ledger(path: Path) -> LedgerContent:
    """Read a ledger; a torn last line is tolerated. Raises EnvironmentFailed if it is no ledger."""
    header: LedgerHeader | None = None
    entries: dict[int, Entry] = {}
    detached = torn = False
    last_id = 0
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            record = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            if number == len(lines):
                torn = True
                continue
            raise EnvironmentFailed(f"{path}, line {number}: not a line of a ledger: {error}") from error
        match record:
            case {"header": about}:
                header = msgspec.convert(about, LedgerHeader)
            case {"open": about}:
                entry = msgspec.convert(about, Entry)
                entries[entry.id] = entry
                last_id = max(last_id, entry.id)
            case {"note": int(entry_id), "undo": dict(more)} if entry_id in entries:
                old = entries[entry_id]
                entries[entry_id] = Entry(old.id, old.kind, {**old.undo, **more})
            case {"done": int(entry_id)}:
                entries.pop(entry_id, None)
            case {"detached": True}:
                detached = True
            case _:
                raise EnvironmentFailed(f"{path}, line {number}: unknown record {line[:80]!r}")
    if header is None:
        raise EnvironmentFailed(f"{path} is empty or has no header: no harness has begun to write it")
    return LedgerContent(header, list(entries.values()), detached, torn, last_id)


def heal(run_folder: Path, force: bool = False) -> HealReport:
    """Undo everything that a run has left open. Idempotent; a run without a ledger has nothing to heal.

    Raises EnvironmentFailed while the harness that wrote the ledger is still at work, unless `force`.
    """
    path = run_folder if run_folder.is_file() else run_folder / FILE_NAME
    if not path.exists():
        return HealReport()
    content = read_ledger(path)
    header = content.header
    writer = ProcessIdentity(header.pid, header.started)
    if is_running(writer) and not content.detached and not force and writer.pid != os.getpid():
        raise EnvironmentFailed(
            f"the run in {path.parent} is in progress (process {writer.pid} of {header.at});"
            " stop it with Ctrl-C, or end that process and heal again"
        )
    undoer: Undoer = importlib.import_module(f"harness.environments.{header.environment}.undo")
    healed: list[str] = []
    failed: list[str] = []
    closed: list[int] = []
    for entry in reversed(content.open_entries):
        try:
            sentence = undoer.undo(entry, header)
        except Exception as error:  # noqa: BLE001 - one entry that cannot be undone must not keep the others
            failed.append(f"{entry.kind} {entry.undo}: {type(error).__name__}: {error}")
            continue
        closed.append(entry.id)
        if sentence:
            healed.append(sentence)
    try:
        healed += undoer.sweep(header)
    except Exception as error:  # noqa: BLE001 - reported, like any other entry
        failed.append(f"searching for processes of the run: {type(error).__name__}: {error}")
    if closed:
        _append(path, b"".join(msgspec.json.encode({"done": number}) + b"\n" for number in closed))
    return HealReport(tuple(healed), tuple(failed))


def _append(path: Path, data: bytes) -> None:
    """Append whole lines; a torn last line, which says nothing, is cut off first."""
    with path.open("r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        file.write(data)
