"""A snapshot of a range leaves out its intents.

A follower that was restored from one, and leads later, lets readers pass transactions that are under way and finds
nothing to make final when they commit: half of them is lost. Seen in CockroachDB (cockroach#139140) and YugabyteDB
(yugabyte-db#32520).
"""

from __future__ import annotations

import msgspec

from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.raft import Snapshot
from reference_db.ranges.replica import Replica
from reference_db.storage import keys
from reference_db.storage.range_snapshot import decode_range_snapshot

LAYER = "snapshot"
ROUTES = ("A", "H")
WORKLOAD = "bank"
NEMESIS = "partition,kill,pause"
SYSTEM_OPTIONS = {"log_entries_kept": 10}


def plant(node: Node) -> None:
    """Override what this node's replicas put into a snapshot."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    take = replica.log.snapshot

    def take_without_intents() -> Snapshot:
        snapshot = take()
        content = decode_range_snapshot(snapshot.data)
        pairs = tuple(pair for pair in content.pairs if not pair[0].startswith(keys.LOCK))
        return msgspec.structs.replace(snapshot, data=msgspec.structs.replace(content, pairs=pairs).encode())

    replica.log.snapshot = take_without_intents  # type: ignore[method-assign]
