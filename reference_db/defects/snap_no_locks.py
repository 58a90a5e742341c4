"""A snapshot of a range leaves out its intents.

A follower that was restored from one, and leads later, lets readers pass transactions that are under way and finds
nothing to make final when they commit: half of them is lost. Seen in CockroachDB (cockroach#139140) and YugabyteDB
(yugabyte-db#32520).
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
ROUTES = ("A", "I", "H")
WORKLOAD = "bank"
NEMESIS = "partition,kill,pause"
SYSTEM_OPTIONS = {"log_entries_kept": 10, "log_bytes_most": 1000, "settled_ticks": 1}
SEEDS = (1,)


class _View(SnapshotView):
    def _chain(self, begun: list[tuple[Iterator[Pair], Pair | None]]) -> Iterator[Pair]:
        return (pair for pair in super()._chain(begun) if not pair[0].startswith(keys.LOCK))


class _Sender(SnapshotSender):
    def _open(self, range_id: int, start: bytes, end: bytes | None) -> SnapshotView:
        return _View(self._engine, range_id, start, end)


def plant(node: Node) -> None:
    """Override what this node puts into a snapshot."""
    become(node.store.sender, _Sender)
