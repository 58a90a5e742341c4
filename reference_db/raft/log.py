"""The log as Raft sees it: the durable part in the store, the recent part in memory, and what is applied.

One list, the *tail*, holds the newest entries. Its front is already durable and only cached; from `stable + 1` on
entries are not yet known to be durable. Three marks move over the log and never back, except that a new leader may
cut off what isn't committed:

    first_index .. applied <= applying <= committed <= last_index
    stable <= in_progress <= last_index      (durable; handed out to be made durable)

Nothing in this file knows about roles, peers or time.
"""

from __future__ import annotations

from collections.abc import Sequence

from .log_store import Compacted, LogStore, Unavailable, limit_size
from .messages import ENTRY_OVERHEAD_BYTES, Entry, EntryKind, Snapshot


class RaftLog:
    """The log of one member. Methods that read raise `Compacted` or `Unavailable` like the store."""

    __slots__ = (
        "_max_applying_bytes",
        "_store",
        "_tail",
        "_tail_bytes",
        "_tail_first",
        "_tail_limit",
        "_tail_max_bytes",
        "_tail_previous_term",
        "applied",
        "applying",
        "applying_bytes",
        "applying_paused",
        "committed",
        "first_index",
        "in_progress",
        "last_index",
        "last_term",
        "snapshot",
        "snapshot_in_progress",
        "stable",
    )

    def __init__(
        self, store: LogStore, max_applying_bytes: int, tail_limit: int, tail_max_bytes: int = 4 << 20
    ) -> None:
        self._store = store
        self._max_applying_bytes = max_applying_bytes
        self._tail_limit = tail_limit
        self._tail_max_bytes = tail_max_bytes
        first, last = store.first_index(), store.last_index()
        assert first <= last + 1, f"the store says first entry {first} and last entry {last}"
        self.first_index: int = first
        """Index of the oldest entry that can still be read."""
        self.last_index: int = last
        self.last_term: int = store.term(last)
        self.stable: int = last
        """Highest index known to be durable here, in exactly the form the tail has."""
        self.in_progress: int = last
        """Highest index handed out to be made durable. stable <= in_progress <= last_index."""
        self.committed: int = first - 1
        """Highest index known to be on a quorum. Never decreases; applied <= committed <= last_index."""
        self.applying: int = first - 1
        """Highest index handed out to be applied. applied <= applying <= committed."""
        self.applied: int = first - 1
        """Highest index that the owner reported as applied. Never decreases."""
        self.applying_bytes = 0
        """Size of what was handed out and is not yet applied."""
        self.applying_paused = False
        """Nothing more is handed out until some of it is applied."""
        self.snapshot: Snapshot | None = None
        """From the leader, not yet durable here. While there is one, the log starts after it."""
        self.snapshot_in_progress = False
        self._tail: list[Entry] = []
        self._tail_bytes = 0
        self._tail_first = last + 1
        """Index of the tail's first entry, or where it would be."""
        self._tail_previous_term = self.last_term
        """Term at _tail_first - 1."""

    # Reading.

    def term(self, index: int) -> int:
        """Term at an index in `[first_index - 1, last_index]`. In memory this is one list access."""
        offset = index - self._tail_first
        if offset >= 0:
            if index > self.last_index:
                raise Unavailable(f"term of {index} asked for, the last entry is {self.last_index}")
            return self._tail[offset].term
        if offset == -1:
            return self._tail_previous_term
        if index < self.first_index - 1:
            raise Compacted(f"term of {index} asked for, the first entry kept is {self.first_index}")
        return self._store.term(index)

    def term_or_zero(self, index: int) -> int:
        """The term, or 0 where the log doesn't reach."""
        if index < self.first_index - 1 or index > self.last_index:
            return 0
        return self.term(index)

    def matches(self, index: int, term: int) -> bool:
        """Whether the entry `(term, index)` is in the log."""
        if index > self.last_index or index < self.first_index - 1:
            return False
        try:
            return self.term(index) == term
        except (Compacted, Unavailable):
            return False

    def is_up_to_date(self, last_term: int, last_index: int) -> bool:
        """Whether a candidate with this last entry has all that this log may know as committed (paper 5.4.1)."""
        return last_term > self.last_term or (last_term == self.last_term and last_index >= self.last_index)

    def entries(self, lo: int, hi: int, max_bytes: int) -> tuple[Entry, ...]:
        """Entries of `[lo, hi)`, limited in size but at least one."""
        if lo >= hi:
            return ()
        assert hi <= self.last_index + 1, f"entries [{lo}, {hi}) asked for, the last one is {self.last_index}"
        if lo < self.first_index:
            raise Compacted(f"entry {lo} asked for, the first one kept is {self.first_index}")
        tail_first = self._tail_first
        if lo >= tail_first:
            return tuple(limit_size(self._tail[lo - tail_first : hi - tail_first], max_bytes))
        cut = min(hi, tail_first)
        found = self._store.entries(lo, cut, max_bytes)
        if len(found) < cut - lo or hi <= tail_first:
            return tuple(found)
        # The cut between durable and recent entries must not show: the size limit runs across it.
        return tuple(limit_size([*found, *self._tail[: hi - tail_first]], max_bytes))

    def leader_snapshot(self) -> Snapshot:
        """A snapshot for a follower that the log can't help any more. Raises `SnapshotUnavailable`."""
        return self.snapshot if self.snapshot is not None else self._store.snapshot()

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The largest index <= `index` whose term is <= `term`, with its term (0 if it is compacted).

        Both sides use it to skip a whole term of a divergent log at a time (paper 5.3, end of the section).
        """
        while index > 0:
            if index < self.first_index - 1 or index > self.last_index:
                return index, 0
            try:
                found = self.term(index)
            except (Compacted, Unavailable):
                return index, 0
            if found <= term:
                return index, found
            index -= 1
        return 0, 0

    def has_unapplied_conf_change(self) -> bool:
        """Whether a committed membership change waits to be applied."""
        lo = self.applied + 1
        while lo <= self.committed:
            page = self.entries(lo, self.committed + 1, self._max_applying_bytes)
            if any(entry.kind != EntryKind.NORMAL for entry in page):
                return True
            lo = page[-1].index + 1
        return False

    # Appending.

    def append(self, entries: Sequence[Entry]) -> None:
        """Put entries at their indexes; what stood there and after is cut off. Committed entries are never cut."""
        if not entries:
            return
        at = entries[0].index
        assert self.committed < at <= self.last_index + 1, (
            f"append at {at} to a log with committed {self.committed} and last index {self.last_index}"
        )
        tail = self._tail
        if at <= self.last_index:
            if at <= self._tail_first:
                self._tail_previous_term = self.term(at - 1)
                tail.clear()
                self._tail_bytes = 0
                self._tail_first = at
            else:
                self._tail_bytes -= size_of(tail[at - self._tail_first :])
                del tail[at - self._tail_first :]
            self.stable = min(self.stable, at - 1)
            self.in_progress = min(self.in_progress, at - 1)
        tail.extend(entries)
        self._tail_bytes += size_of(entries)
        last = entries[-1]
        self.last_index = last.index
        self.last_term = last.term

    def maybe_append(self, previous_index: int, previous_term: int, entries: tuple[Entry, ...]) -> bool:
        """Append a leader's entries if the log holds the entry before them (paper 5.3). Says whether it did.

        Entries that are already here are left alone, so an old, repeated message can't cut off newer entries.
        """
        if not self.matches(previous_index, previous_term):
            return False
        if not entries:
            return True
        if previous_index == self.last_index:
            self.append(entries)
            return True
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                assert entry.index > self.committed, (
                    f"entry {entry.index} of term {entry.term} conflicts with a committed one "
                    f"(committed {self.committed}, ours has term {self.term_or_zero(entry.index)})"
                )
                self.append(entries[position:])
                break
        return True

    # Durability.

    def next_unstable(self) -> tuple[Entry, ...]:
        """Entries that nobody was asked to make durable yet."""
        if self.in_progress == self.last_index:
            return ()
        return tuple(self._tail[self.in_progress + 1 - self._tail_first :])

    def next_snapshot(self) -> Snapshot | None:
        """The leader's snapshot, if nobody was asked to make it durable yet."""
        return None if self.snapshot_in_progress else self.snapshot

    def accept_unstable(self) -> None:
        """What `next_unstable` and `next_snapshot` gave is now on its way to the disk."""
        self.in_progress = self.last_index
        if self.snapshot is not None:
            self.snapshot_in_progress = True

    def stable_to(self, index: int, term: int) -> None:
        """Entries up to `(term, index)` are durable. Ignored if the log holds another entry there by now."""
        if index <= self.stable or index > self.last_index or self.term(index) != term:
            return
        self.stable = index
        if index > self.in_progress:
            self.in_progress = index
        self._trim()

    def stable_snapshot_to(self, index: int) -> None:
        """The leader's snapshot at `index` is durable."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def _trim(self) -> None:
        """Forget cached entries beyond the limits; in large steps, so that it costs nothing per entry."""
        # What is not durable, or not yet handed out to be applied, will be read again at once.
        needed_from = min(self.stable, self.applying) + 1
        if self._tail_bytes > self._tail_max_bytes:
            self._forget_before(needed_from)
        elif self.stable + 1 - self._tail_first > 2 * self._tail_limit:
            self._forget_before(min(needed_from, self.stable + 1 - self._tail_limit))

    def _forget_before(self, index: int) -> None:
        """Drop the front of the tail, up to but excluding `index`."""
        drop = index - self._tail_first
        if drop > 0:
            self._tail_bytes -= size_of(self._tail[:drop])
            self._tail_previous_term = self._tail[drop - 1].term
            del self._tail[:drop]
            self._tail_first = index

    def compacted(self, first_index: int) -> None:
        """The store dropped everything before `first_index`."""
        assert first_index - 1 <= self.applied, (
            f"compaction up to {first_index - 1} although only {self.applied} is applied"
        )
        if first_index <= self.first_index:
            return
        self.first_index = first_index
        if self.stable >= first_index - 1:
            self._forget_before(first_index)

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the whole log by the leader's snapshot."""
        index = snapshot.index
        assert index > self.committed, f"snapshot at {index}, but committed is {self.committed}"
        self.snapshot = snapshot
        self.snapshot_in_progress = False
        self.first_index = index + 1
        self.last_index = self.stable = self.in_progress = self.committed = index
        self.last_term = snapshot.term
        self._tail.clear()
        self._tail_bytes = 0
        self._tail_first = index + 1
        self._tail_previous_term = snapshot.term

    # Committing and applying.

    def commit_to(self, index: int) -> bool:
        """Raise the commit index. Says whether it moved."""
        if index <= self.committed:
            return False
        assert index <= self.last_index, (
            f"commit index {index} is beyond the last entry {self.last_index}: was the log truncated or lost?"
        )
        self.committed = index
        return True

    def _last_appliable(self, allow_unstable: bool) -> int:
        return self.committed if allow_unstable else min(self.committed, self.stable)

    def has_next_committed(self, allow_unstable: bool) -> bool:
        """Whether `next_committed` would give something."""
        return (
            self.committed > self.applying
            and not self.applying_paused
            and self.snapshot is None
            and self._last_appliable(allow_unstable) > self.applying
        )

    def next_committed(self, allow_unstable: bool) -> tuple[Entry, ...]:
        """The next committed entries to apply, within the size limit. Unstable ones only if the owner makes them
        durable before it applies them."""
        if not self.has_next_committed(allow_unstable):
            return ()
        room = self._max_applying_bytes - self.applying_bytes
        return self.entries(self.applying + 1, self._last_appliable(allow_unstable) + 1, room)

    def accept_applying(self, index: int, size_bytes: int, allow_unstable: bool) -> None:
        """Entries up to `index` were handed out to be applied."""
        assert self.applying < index <= self.committed, (
            f"handing out up to {index}, with applying {self.applying} and committed {self.committed}"
        )
        self.applying = index
        self.applying_bytes += size_bytes
        # Out of room, or a page was cut for size: wait until something is applied.
        self.applying_paused = (
            self.applying_bytes >= self._max_applying_bytes or index < self._last_appliable(allow_unstable)
        )

    def applied_to(self, index: int, size_bytes: int) -> None:
        """The owner has applied everything up to `index`."""
        assert self.applied <= index <= self.committed, (
            f"applied {index} reported, with applied {self.applied} and committed {self.committed}"
        )
        self.applied = index
        if index > self.applying:
            self.applying = index
        self.applying_bytes = max(self.applying_bytes - size_bytes, 0)
        self.applying_paused = self.applying_bytes >= self._max_applying_bytes


def size_of(entries: Sequence[Entry]) -> int:
    """Bytes of entries as the size limits count them."""
    total = ENTRY_OVERHEAD_BYTES * len(entries)
    for entry in entries:
        total += len(entry.data)
    return total


def payload_of(entries: Sequence[Entry]) -> int:
    """Bytes of data in entries, without overhead: an empty entry counts nothing."""
    total = 0
    for entry in entries:
        total += len(entry.data)
    return total
