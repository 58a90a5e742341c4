"""What a folder of real files would be after a power loss: a journal of all that was not synced, to undo it.

Writes go to the files at once, as into a page cache, and every change is noted with what it replaced. A sync forgets
what it covers: that is durable. `crash` undoes the rest, then lets a drawn part of it survive. Nothing here knows FUSE.

The model is a journaling file system in its usual mode (ext4, data=ordered), which is kinder to names than POSIX:
- A write is durable once a sync of its file that began after it has ended. Of a file's unsynced writes nothing, a
  prefix, any part or all survives a crash, and one may survive in part (*torn*, at a sector of 512 bytes).
- Names (created, renamed, removed) become durable in their order, all together with any sync. A crash keeps a prefix
  of those that are not; a file whose name survives without its bytes is empty.
- What waits longer than `MOST_WAITING_BYTES` of one file is written back: the oldest half becomes durable.

**A sync that fails** leaves what it should have covered, by a coin, still to be synced, or *dropped*: it can be read
until the next crash, and a later sync succeeds without it ("fsyncgate", 2018).

What was synced is never touched: a durable write that lies over a dropped one is written again.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SECTOR_BYTES = 512
MOST_WAITING_BYTES = 64 << 20


@dataclass(slots=True)
class Change:
    """One write (`data`), or a truncation to `offset` bytes (`data` is None), and what it replaced."""

    offset: int
    data: bytes | None
    old_size: int
    old: bytes
    """What was at `offset` before, as far as the file reached; of a truncation what was cut off."""
    number: int = 0
    """Counts up over all changes: what a sync covers has a smaller number than what comes after it has begun."""
    is_dropped: bool = False
    """A sync that should have covered it has failed."""
    is_durable: bool = False
    """Synced, and kept because it lies behind a dropped one."""

    @property
    def size(self) -> int:
        return len(self.old) if self.data is None else len(self.data)


@dataclass(slots=True)
class Name:
    """One change of names, and how to undo it."""

    text: str
    undo: Callable[[], object]
    number: int
    trash: str | None = None
    """What was removed waits there, in case that the removal is undone."""


@dataclass(slots=True)
class File:
    """The unsynced changes of one file, whatever it is called, in order."""

    descriptor: int
    changes: list[Change] = field(default_factory=list)
    waiting_bytes: int = 0


class Unsynced:
    """All that is not durable below `root`, a descriptor of a folder. Safe to use from several threads."""

    def __init__(self, root: int, trash: int) -> None:
        """`trash` is a descriptor of another folder on the same file system."""
        self._root = root
        self._trash = trash
        self._files: dict[int, File] = {}
        """By number of inode."""
        self._names: list[Name] = []
        self._removed = 0
        self._changes = 0
        self.lock = threading.RLock()

    # Bytes

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        """Writes all of it, through a descriptor that can also read."""
        with self.lock:
            status = os.fstat(descriptor)
            old = os.pread(descriptor, len(data), offset) if offset < status.st_size else b""
            written = os.pwrite(descriptor, data, offset)
            self._note(status.st_ino, descriptor, Change(offset, bytes(data[:written]), status.st_size, old))
            return written

    def truncate(self, descriptor: int, size: int) -> None:
        with self.lock:
            status = os.fstat(descriptor)
            cut = status.st_size - size
            old = os.pread(descriptor, cut, size) if cut > 0 else b""
            os.ftruncate(descriptor, size)
            self._note(status.st_ino, descriptor, Change(size, None, status.st_size, old))

    def _note(self, inode: int, descriptor: int, change: Change) -> None:
        file = self._files.get(inode)
        if file is None:
            file = self._files[inode] = File(os.dup(descriptor))
        change.number = self._next()
        file.changes.append(change)
        file.waiting_bytes += change.size
        if file.waiting_bytes > MOST_WAITING_BYTES:
            os.fdatasync(file.descriptor)
            self._forget(inode, file.changes[len(file.changes) // 2].number)

    def _next(self) -> int:
        self._changes += 1
        return self._changes

    def sync(self, descriptor: int) -> None:
        """What was written to this file before, and every name, is durable when this returns."""
        with self.lock:
            inode, last = os.fstat(descriptor).st_ino, self._changes
        os.fsync(descriptor)
        with self.lock:
            self._forget(inode, last)
            self._keep_names(last)

    def sync_names(self) -> None:
        """A folder is synced."""
        with self.lock:
            last = self._changes
        os.fsync(self._root)
        with self.lock:
            self._keep_names(last)

    def fail_sync(self, descriptor: int, chances: random.Random) -> None:
        """A sync of this file fails."""
        with self.lock:
            file = self._files.get(os.fstat(descriptor).st_ino)
            if file is not None and chances.random() < 0.5:
                for change in file.changes:
                    change.is_dropped = not change.is_durable

    def _forget(self, inode: int, last: int) -> None:
        """Changes up to this number are durable. Those behind a dropped one are kept, to be written again over it."""
        file = self._files.get(inode)
        if file is None:
            return
        for change in file.changes:
            if change.number <= last:
                change.is_durable = not change.is_dropped
        first = next((place for place, one in enumerate(file.changes) if not one.is_durable), None)
        del file.changes[: len(file.changes) if first is None else first]
        file.waiting_bytes = sum(change.size for change in file.changes if not change.is_durable)
        if not file.changes:
            os.close(file.descriptor)
            del self._files[inode]

    # Names

    def created(self, path: str) -> None:
        """A file, a link, a pipe has this name now that had not been there."""
        with self.lock:
            self._names.append(
                Name(f"{path} created", lambda: os.unlink(path, dir_fd=self._root), self._next())
            )

    def make_folder(self, path: str, mode: int) -> None:
        with self.lock:
            os.mkdir(path, mode, dir_fd=self._root)
            self._names.append(
                Name(f"{path}/ created", lambda: os.rmdir(path, dir_fd=self._root), self._next())
            )

    def remove(self, path: str) -> None:
        """A file or an empty folder."""
        with self.lock:
            trash = self._to_trash(path)
            self._names.append(
                Name(f"{path} removed", lambda: self._from_trash(trash, path), self._next(), trash)
            )

    def rename(self, old: str, new: str) -> None:
        """A name that was there is replaced."""
        with self.lock:
            trash: str | None = None
            if self._is_there(new):
                trash = self._to_trash(new)
            os.rename(old, new, src_dir_fd=self._root, dst_dir_fd=self._root)

            def undo() -> None:
                os.rename(new, old, src_dir_fd=self._root, dst_dir_fd=self._root)
                if trash is not None:
                    self._from_trash(trash, new)

            self._names.append(Name(f"{old} renamed to {new}", undo, self._next(), trash))

    def _is_there(self, path: str) -> bool:
        try:
            os.stat(path, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _to_trash(self, path: str) -> str:
        self._removed += 1
        trash = f"removed-{self._removed}"
        os.rename(path, trash, src_dir_fd=self._root, dst_dir_fd=self._trash)
        return trash

    def _from_trash(self, trash: str, path: str) -> None:
        os.rename(trash, path, src_dir_fd=self._trash, dst_dir_fd=self._root)

    def _keep_names(self, last: int) -> None:
        """Changes of names up to this number are durable."""
        while self._names and self._names[0].number <= last:
            name = self._names.pop(0)
            if name.trash is not None:
                self._empty(name.trash)

    def _empty(self, trash: str) -> None:
        try:
            inode = os.stat(trash, dir_fd=self._trash, follow_symlinks=False).st_ino
            os.unlink(trash, dir_fd=self._trash)
        except IsADirectoryError:
            os.rmdir(trash, dir_fd=self._trash)
            return
        file = self._files.pop(inode, None)
        if file is not None:
            os.close(file.descriptor)

    # Power loss

    @property
    def is_clean(self) -> bool:
        """Whether everything is durable."""
        return not self._files and not self._names

    @property
    def inodes(self) -> frozenset[int]:
        """Files that have something unsynced."""
        return frozenset(self._files)

    def crash(self, chances: random.Random) -> dict[str, Any]:
        """Power is lost; nobody may have a file open for writing. Answers the counts of the simulated disk's report."""
        with self.lock:
            report: dict[str, Any] = {"unsynced": 0, "lost": 0, "torn": 0, "reordered": 0, "names": 0}
            for inode in list(self._files):
                self._crash_file(self._files.pop(inode), chances, report)
            kept = len(self._names)
            match chances.choice(("none", "some", "all")):
                case "none":
                    kept = 0
                case "some":
                    kept = chances.randint(0, len(self._names))
            report["unsynced"] += len(self._names)
            report["names"] = len(self._names) - kept
            for name in reversed(self._names[kept:]):
                name.undo()
            del self._names[kept:]
            self._keep_names(self._changes)
            return report

    def _crash_file(self, file: File, chances: random.Random, report: dict[str, Any]) -> None:
        descriptor, changes = file.descriptor, file.changes
        for change in reversed(changes):
            if change.data is None:
                os.ftruncate(descriptor, change.old_size)
                os.pwrite(descriptor, change.old, change.offset)
            else:
                os.pwrite(descriptor, change.old, change.offset)
                os.ftruncate(descriptor, change.old_size)
        waiting = [change for change in changes if not change.is_durable]
        survivors = _survivors(waiting, chances)
        has_lost = False
        for change in changes:
            share = None if change.is_durable else survivors[id(change)]
            if share is not None:
                report["unsynced"] += 1
                report["lost"] += share == 0
                report["torn"] += 0 < share < change.size and change.data is not None
                report["reordered"] += has_lost and share > 0
                has_lost = has_lost or share < change.size
                if share == 0 and change.size:
                    continue
            if change.data is None:
                os.ftruncate(descriptor, change.offset)
            else:
                os.pwrite(descriptor, change.data if share is None else change.data[:share], change.offset)
        os.fsync(descriptor)
        os.close(descriptor)


def _survivors(waiting: list[Change], chances: random.Random) -> dict[int, int]:
    """Of each unsynced change how many of its bytes survive: 0, all, or whole sectors of the first ones."""
    style = chances.choice(("none", "prefix", "some", "all"))
    whole = {"none": 0, "prefix": chances.randint(0, len(waiting)), "all": len(waiting)}.get(style)
    found = {}
    for place, change in enumerate(waiting):
        if whole is None:
            survives = chances.random() < 0.5
        else:
            survives = place < whole
        share = change.size if survives else 0
        if style == "prefix" and place == whole and change.data is not None:
            # The one in whose middle the power went: up to the end of a sector of the file.
            sectors = [
                end - change.offset
                for end in range(
                    change.offset - change.offset % SECTOR_BYTES + SECTOR_BYTES,
                    change.offset + change.size,
                    SECTOR_BYTES,
                )
            ]
            share = chances.choice([0, *sectors])
        found[id(change)] = share
    return found
