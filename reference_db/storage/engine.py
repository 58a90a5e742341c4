"""The ordered map under a node: atomic batches and explicit sync; the role, and a simulated one.

Rules that live here: a batch is visible at once and whole, or not at all; it is durable only after a `sync()` that
began after its `write()`. Batches become durable in the order they were written, so a crash leaves a prefix of them.
All calls come from one thread, but for `sync()`, which may run in one other thread beside them. So what is read between
two writes belongs together, and an iteration, once begun, isn't disturbed by writes.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

PUT, DELETE, DELETE_RANGE = 0, 1, 2

FEW_KEYS = 64
"""Up to so many new keys are put into an ordered list one by one; more are sorted with it."""

Pair = tuple[bytes, bytes]


class WriteBatch:
    """Changes that are written together. Later ones win over earlier ones of the same batch."""

    __slots__ = ("changes", "must_sync", "size_bytes")

    def __init__(self) -> None:
        self.changes: list[tuple[int, bytes, bytes]] = []
        """(PUT, key, value), (DELETE, key, b""), (DELETE_RANGE, start, end)."""
        self.size_bytes = 0
        self.must_sync = False
        """A note between those who fill a batch and those who write it: somebody waits for its durability."""

    def __len__(self) -> int:
        return len(self.changes)

    def put(self, key: bytes, value: bytes) -> None:
        self.changes.append((PUT, key, value))
        self.size_bytes += len(key) + len(value)

    def delete(self, key: bytes) -> None:
        self.changes.append((DELETE, key, b""))
        self.size_bytes += len(key)

    def extend(self, other: WriteBatch) -> None:
        """Add another batch's changes after these."""
        self.changes += other.changes
        self.size_bytes += other.size_bytes

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Delete the keys of `[start, end)`."""
        self.changes.append((DELETE_RANGE, start, end))
        self.size_bytes += len(start) + len(end)


@dataclass(slots=True)
class EngineCounters:
    """Since the engine was opened. `bytes` are those of keys and values, not of the files."""

    batches: int = 0
    changes: int = 0
    bytes: int = 0
    syncs: int = 0


class Reader(Protocol):
    """Something that can be read."""

    def get(self, key: bytes) -> bytes | None: ...

    def first(self, start: bytes, end: bytes) -> Pair | None:
        """The smallest key of `[start, end)` with its value."""

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[Pair]:
        """The pairs of `[start, end)` in order, as they were when the iteration began."""


class Engine(Reader, Protocol):
    counters: EngineCounters

    def write(self, batch: WriteBatch) -> None:
        """Make a batch visible, atomically. An empty one counts for nothing."""

    def sync(self) -> None:
        """Make everything written before this call durable; blocks. Raises OSError, and from then on always."""

    def close(self) -> None: ...


class MemoryReader:
    """A sorted map in memory. Nodes write much and seldom ask for an order: it is made when somebody asks."""

    __slots__ = ("_moved", "_order", "_values")

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self._values = values
        self._order = sorted(values)
        """The keys in order, but for those in `_moved`."""
        self._moved: dict[bytes, None] = {}
        """Keys that have come or gone since `_order` was right: those in just one of `_order` and `_values`."""

    @property
    def _keys(self) -> list[bytes]:
        """All keys, in order."""
        moved = self._moved
        if moved:
            self._moved = {}
            order, values = self._order, self._values
            come = []
            for key in moved:
                if key in values:
                    come.append(key)
                else:
                    del order[bisect.bisect_left(order, key)]
            if len(come) < FEW_KEYS:
                for key in come:
                    bisect.insort(order, key)
            else:
                # Two ordered runs, which the sort finds and merges.
                order += sorted(come)
                order.sort()
        return self._order

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def first(self, start: bytes, end: bytes) -> Pair | None:
        keys = self._keys
        at = bisect.bisect_left(keys, start)
        if at == len(keys) or keys[at] >= end:
            return None
        return keys[at], self._values[keys[at]]

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[Pair]:
        keys, values = self._keys, self._values
        low, high = bisect.bisect_left(keys, start), bisect.bisect_left(keys, end)
        pairs = [(key, values[key]) for key in keys[low:high]]
        return reversed(pairs) if reverse else iter(pairs)

    def _change(self, batch: WriteBatch) -> None:
        values, moved = self._values, self._moved
        for change, key, value in batch.changes:
            if change == PUT:
                if key not in values:
                    if key in moved:
                        del moved[key]
                    else:
                        moved[key] = None
                values[key] = value
            elif change == DELETE:
                if values.pop(key, None) is not None:
                    if key in moved:
                        del moved[key]
                    else:
                        moved[key] = None
            else:
                keys = self._keys
                moved = self._moved
                low, high = bisect.bisect_left(keys, key), bisect.bisect_left(keys, value)
                for gone in keys[low:high]:
                    del values[gone]
                del keys[low:high]


class MemoryEngine(MemoryReader):
    """A simulated engine that knows written from synced, so that a crash loses exactly what it may lose."""

    __slots__ = ("_durable", "_unsynced", "counters")

    def __init__(self) -> None:
        super().__init__({})
        self.counters = EngineCounters()
        self._durable = MemoryReader({})
        self._unsynced: list[WriteBatch] = []

    @property
    def unsynced(self) -> int:
        """How many batches a crash may lose."""
        return len(self._unsynced)

    def write(self, batch: WriteBatch) -> None:
        if not batch.changes:
            return
        self._change(batch)
        self._unsynced.append(batch)
        self.counters.batches += 1
        self.counters.changes += len(batch.changes)
        self.counters.bytes += batch.size_bytes

    def sync(self, batches: int | None = None) -> None:
        """Make all unsynced batches durable; a simulation in which a sync takes time gives how many of the oldest were
        written when it began."""
        count = len(self._unsynced) if batches is None else batches
        assert count <= len(self._unsynced), (
            f"sync of {count} batches, only {len(self._unsynced)} are unsynced"
        )
        for batch in self._unsynced[:count]:
            self._durable._change(batch)
        del self._unsynced[:count]
        self.counters.syncs += 1

    def crash(self, stream: random.Random | None = None) -> int:
        """Lose the unsynced batches: all of them, or, with a random stream, all after a random prefix. Returns how many
        were lost. The engine can be used again as the one that the restarted node opens."""
        kept = 0 if stream is None else stream.randint(0, len(self._unsynced))
        lost = len(self._unsynced) - kept
        for batch in self._unsynced[:kept]:
            self._durable._change(batch)
        self._unsynced.clear()
        self._values = dict(self._durable._values)
        self._order, self._moved = list(self._durable._keys), {}
        return lost

    def close(self) -> None:
        """Nothing to let go of: the simulated disk outlives the node."""
