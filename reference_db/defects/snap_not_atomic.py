"""A snapshot in pieces is put in place batch by batch, and nothing on the disk says so until the last one.

A node that dies in between starts with half of a snapshot under the old applied index: it serves that to whoever reads
from it, and applies entries on top. A made-up bug: the mark `placing` is there because of it
(`storage/snapshot_pieces.py`).
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.raft import Snapshot
from reference_db.storage.engine import WriteBatch
from reference_db.storage.raft_log import RaftLog
from reference_db.storage.range_snapshot import RangeSnapshot

LAYER = "snapshot"
ROUTES = ("I", "H", "A")
WORKLOAD = "bank"
NEMESIS = "partition,kill"
SYSTEM_OPTIONS = {
    "log_entries_kept": 10,
    "log_bytes_most": 1000,
    "snapshot_chunk_bytes": 100,
    "settled_ticks": 1,
}


class _Log(RaftLog):
    __slots__ = ()

    def _begin_placing(self, before: WriteBatch, content: RangeSnapshot, snapshot: Snapshot) -> None:
        super()._begin_placing(before, content, snapshot)
        before.changes.pop()  # The mark.


def plant(node: Node) -> None:
    """No replica of a node marks that a snapshot is being put in place."""
    in_replicas(node, lambda replica: become(replica.log, _Log))
