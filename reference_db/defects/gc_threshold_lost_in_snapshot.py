"""A snapshot of a range leaves out the threshold below which its versions were collected.

Who was restored from one, and leads later, answers readers of the past from what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from reference_db.defects import become
from reference_db.node import Node
from reference_db.ranges.snapshots import SnapshotSender
from reference_db.storage import keys
from reference_db.storage.engine import Pair
from reference_db.storage.snapshot_pieces import SnapshotView

LAYER = "snapshot"
ROUTES = ("A", "I")
WORKLOAD = "bank"
NEMESIS = "partition,kill,pause"
SYSTEM_OPTIONS = {"gc_ttl_ms": 20, "log_entries_kept": 10, "log_bytes_most": 1000, "settled_ticks": 1}
SEEDS = (1,)


class _View(SnapshotView):
    def _chain(self, begun: list[tuple[Iterator[Pair], Pair | None]]) -> Iterator[Pair]:
        return (pair for pair in super()._chain(begun) if not pair[0].startswith(keys.THRESHOLD))


class _Sender(SnapshotSender):
    def _open(self, range_id: int, start: bytes, end: bytes | None) -> SnapshotView:
        return _View(self._engine, range_id, start, end)


def plant(node: Node) -> None:
    """Override what this node puts into a snapshot."""
    become(node.store.sender, _Sender)
