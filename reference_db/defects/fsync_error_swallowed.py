"""A sync that the disk refuses counts as done, and the node goes on.

After a failed sync nobody knows which of the writes before it are durable, and a later sync that succeeds says nothing
about them. Acknowledged writes are in memory only, until the power fails. Seen in etcd#14370 and yugabyte-db#32875, and
in every database that took PostgreSQL's old advice to try again.
"""

from __future__ import annotations

from typing import Any

from reference_db.defects import become
from reference_db.node import Node
from reference_db.storage.engine import Engine
from reference_db.storage.file_engine import Done, Failed, FileEngine

LAYER = "storage"
ROUTES = ("I", "H")
WORKLOAD = "set"
NEMESIS = "disk:eio,disk:power-loss@all"
SCENARIO = {"rate": 200.0, "intensity": 3.0}
"""A quorum must forget: the power of all fails while a disk refuses."""
SEEDS = (9,)


class _FileEngine(FileEngine):
    __slots__ = ()

    def sync_later(self, done: Done, failed: Failed) -> None:
        def swallow(_error: OSError) -> None:
            self._forget_failure()
            done()

        try:
            super().sync_later(done, swallow)
        except OSError:
            self._forget_failure()
            done()

    def _forget_failure(self) -> None:
        self._broken = None
        del self._logs[1:]


def plant(node: Node) -> None:
    """A node does not mind what its disk says of a sync."""
    engine: Any = node._engine
    become(engine, _FileEngine if isinstance(engine, FileEngine) else _swallowing(type(engine)))


def _swallowing(kind: type[Engine]) -> type[Engine]:
    """An engine of this kind, for a syncer that calls it in a thread."""

    honest: Any = kind.sync

    def sync(engine: Any, *arguments: Any) -> None:
        try:
            honest(engine, *arguments)
        except OSError:
            engine._broken = None

    return type(f"Swallowing{kind.__name__}", (kind,), {"__slots__": (), "sync": sync})
