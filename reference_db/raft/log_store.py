"""What Raft asks of storage, and a storage in memory that answers it.

Rules that live here: entries are numbered without gaps from `first_index()` to `last_index()`; the term at
`first_index() - 1` stays known (it is the snapshot's), because the next append is matched against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .messages import ENTRY_OVERHEAD_BYTES, ConfState, Entry, HardState, Snapshot


class Compacted(Exception):
    """The index lies before the first kept entry; only a snapshot can help."""


class Unavailable(Exception):
    """The index lies after the last entry."""


class SnapshotUnavailable(Exception):
    """No snapshot at the moment; asking again later may help."""


class LogStore(Protocol):
    """Reading a group's durable log. Writing is the owner's work: it stores what `Ready` hands out."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What was durable when the node started; all zero for a new member."""

    def entries(self, lo: int, hi: int, max_bytes: int) -> Sequence[Entry]:
        """Entries of `[lo, hi)`, cut before `max_bytes` is exceeded but never below one entry.

        Raises `Compacted` if lo < first_index, `Unavailable` if hi > last_index + 1.
        """

    def term(self, index: int) -> int:
        """Term of the entry at an index in `[first_index - 1, last_index]`; else `Compacted` or `Unavailable`."""

    def first_index(self) -> int:
        """Index of the first kept entry; last_index + 1 if none is kept."""

    def last_index(self) -> int:
        """Index of the last entry; the snapshot's if no entry is kept."""

    def snapshot(self) -> Snapshot:
        """The newest snapshot for a follower that needs one. Raises `SnapshotUnavailable`."""


def limit_size(entries: Sequence[Entry], max_bytes: int) -> Sequence[Entry]:
    """The longest prefix of at most `max_bytes` (data and overhead), but at least one entry."""
    total = 0
    for count, entry in enumerate(entries):
        total += len(entry.data) + ENTRY_OVERHEAD_BYTES
        if total > max_bytes and count:
            return entries[:count]
    return entries


class MemoryLogStore:
    """A log store that forgets everything at a crash: for tests, conversations and conformance."""

    __slots__ = ("_base_index", "_base_term", "_entries", "_hard_state", "_snapshot")

    def __init__(self) -> None:
        self._hard_state = HardState()
        self._snapshot = Snapshot(0, 0)
        self._base_index = 0
        """Index before the first kept entry; 0 until something was compacted or restored."""
        self._base_term = 0
        self._entries: list[Entry] = []

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._hard_state, self._snapshot.conf_state

    def entries(self, lo: int, hi: int, max_bytes: int) -> Sequence[Entry]:
        first = self.first_index()
        if lo < first:
            raise Compacted(f"entry {lo} asked for, the first one kept is {first}")
        if hi > self.last_index() + 1:
            raise Unavailable(f"entries up to {hi - 1} asked for, the last one is {self.last_index()}")
        return limit_size(self._entries[lo - first : hi - first], max_bytes)

    def term(self, index: int) -> int:
        if index == self._base_index:
            return self._base_term
        if index < self._base_index:
            raise Compacted(f"term of {index} asked for, the first entry kept is {self.first_index()}")
        if index > self.last_index():
            raise Unavailable(f"term of {index} asked for, the last entry is {self.last_index()}")
        return self._entries[index - self._base_index - 1].term

    def first_index(self) -> int:
        return self._base_index + 1

    def last_index(self) -> int:
        return self._base_index + len(self._entries)

    def snapshot(self) -> Snapshot:
        if not self._snapshot.index:
            raise SnapshotUnavailable("no snapshot was ever made")
        return self._snapshot

    # The owner's side.

    def set_hard_state(self, hard_state: HardState) -> None:
        self._hard_state = hard_state

    def append(self, entries: Sequence[Entry]) -> None:
        """Store entries, replacing what stood at their indexes and after. Already compacted ones are skipped."""
        fresh = [entry for entry in entries if entry.index > self._base_index]
        if not fresh:
            return
        offset = fresh[0].index - self._base_index - 1
        assert offset <= len(self._entries), (
            f"gap: last entry {self.last_index()}, append at {fresh[0].index}"
        )
        del self._entries[offset:]
        self._entries.extend(fresh)

    def restore(self, snapshot: Snapshot) -> None:
        """Replace everything by a snapshot that came from the leader."""
        self._snapshot = snapshot
        self._base_index, self._base_term = snapshot.index, snapshot.term
        self._entries.clear()

    def set_snapshot(self, snapshot: Snapshot) -> None:
        """Remember a snapshot of our own state; the log stays as it is."""
        assert snapshot.index <= self.last_index(), (
            f"snapshot at {snapshot.index}, log ends at {self.last_index()}"
        )
        self._snapshot = snapshot

    def compact(self, index: int) -> None:
        """Drop entries up to and including `index`. Raises `Compacted` or `Unavailable`."""
        if index <= self._base_index:
            raise Compacted(f"compaction to {index} asked for, the first entry kept is {self.first_index()}")
        term = self.term(index)
        del self._entries[: index - self._base_index]
        self._base_index, self._base_term = index, term
