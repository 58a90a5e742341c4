"""Who gets a snapshot in pieces takes any later piece for the next one, so that one that was lost is never missed.

Pieces are sent several at a time; where a link drops one, those after it arrive. A replica that lacks the pairs of a
piece serves the past of some keys, and parts from the others for ever. A made-up bug: the count, and the checksum that
goes on from piece to piece, are there because of it (`ranges/snapshots.py`).
"""

from __future__ import annotations

from reference_db.defects import become
from reference_db.node import Node
from reference_db.ranges.snapshots import Arriving, SnapshotReceiver
from reference_db.storage.snapshot_pieces import PieceHead

LAYER = "snapshot"
ROUTES = ("A", "I", "H")
WORKLOAD = "bank"
NEMESIS = "partition,packet,kill"
SYSTEM_OPTIONS = {
    "log_entries_kept": 10,
    "log_bytes_most": 1000,
    "snapshot_chunk_bytes": 100,
    "settled_ticks": 1,
}


class _Receiver(SnapshotReceiver):
    def _follows(self, one: Arriving, head: PieceHead, data: bytes) -> bool:
        return not one.is_whole and head.number >= one.pieces


def plant(node: Node) -> None:
    """Override what this node takes for the next piece."""
    become(node.store.receiver, _Receiver)
