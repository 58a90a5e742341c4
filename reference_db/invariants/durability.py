"""How many of a node's batches would survive a power loss at this moment: asked of the disk, never of the node."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from reference_db.storage.engine import Engine, MemoryEngine
from reference_db.storage.file_engine import FileEngine


class Durability(Protocol):
    """The view of one engine's disk, from the moment at which its node was attached."""

    def wrote(self) -> None:
        """One more batch was written."""

    def count(self) -> int:
        """So many of the oldest batches are durable. Never decreases."""


class BelievedSync:
    """Without a view of the disk: what was written when a sync began is durable when its syncer says so."""

    def __init__(self) -> None:
        self._written = 0
        self._durable = 0

    def wrote(self) -> None:
        """See `Durability`."""
        self._written += 1

    def count(self) -> int:
        """See `Durability`."""
        return self._durable

    def sync(self, original: Callable[[Callable[[], None]], None], done: Callable[[], None]) -> None:
        """In place of a syncer's `sync`."""
        written = self._written

        def synced() -> None:
            __tracebackhide__ = True
            self._durable = max(self._durable, written)
            done()

        original(synced)


class MemoryDurability:
    """Of a simulated engine, which knows what it has not synced. Nothing may be unsynced when it is made."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine
        self._base = engine.counters.batches

    def wrote(self) -> None:
        """See `Durability`."""

    def count(self) -> int:
        """See `Durability`."""
        return max(self._engine.counters.batches - self._base - self._engine.unsynced, 0)


class RevealingFile(Protocol):
    """A file of a simulated disk."""

    def is_durable(self, start: int, end: int) -> bool:
        """Whether a power loss would leave these bytes as they are read."""


class FileDurability:
    """Of an engine in files on a simulated disk, which can be asked what it would keep. A sync that failed, or that the
    node only believes in, changes nothing there."""

    def __init__(self, engine: FileEngine) -> None:
        self._engine = engine
        self._pending: deque[dict[int, int]] = deque()
        """Of each batch that is not known to be durable: by log (its identity), where it ends there."""
        self._log = engine._logs[0]
        self._reached = self._log.end
        """Up to here the log is known to be durable."""
        self._count = 0

    def wrote(self) -> None:
        """See `Durability`."""
        self._pending.append({id(log): log.end for log in self._engine._logs})

    def count(self) -> int:
        """See `Durability`."""
        log = self._engine._logs[0]
        if log is not self._log:
            # A new log took its place. It begins with all that was there when it was begun.
            self._log, self._reached = log, 0
        file = cast(RevealingFile, log.file)
        pending = self._pending
        while pending:
            end = pending[0].get(id(log), log.checkpoint_end)
            if end > self._reached:
                if not file.is_durable(self._reached, end):
                    break
                self._reached = end
            pending.popleft()
            self._count += 1
        return self._count


def durability_of(engine: Engine) -> Durability | None:
    """The view of a simulated engine; None where nothing is known of the disk."""
    if isinstance(engine, MemoryEngine):
        return MemoryDurability(engine)
    if isinstance(engine, FileEngine) and hasattr(engine._logs[0].file, "is_durable"):
        return FileDurability(engine)
    return None
