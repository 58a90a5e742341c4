"""A snapshot of a range leaves out its intents.

A follower that was restored from one, and leads later, lets readers pass transactions that are under way and finds
nothing to make final when they commit: half of them is lost. Seen in CockroachDB (cockroach#139140) and YugabyteDB
(yugabyte-db#32520).
"""

from __future__ import annotations

import msgspec

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.raft import Snapshot
from reference_db.storage import keys
from reference_db.storage.raft_log import RaftLog
from reference_db.storage.range_snapshot import decode_range_snapshot

LAYER = "snapshot"
ROUTES = ("A", "I", "H")
WORKLOAD = "bank"
NEMESIS = "partition,kill,pause"
SYSTEM_OPTIONS = {"log_entries_kept": 10, "log_bytes_most": 1000, "settled_ticks": 1}
SEEDS = (1,)


class _Log(RaftLog):
    __slots__ = ()

    def snapshot(self) -> Snapshot:
        whole = super().snapshot()
        content = decode_range_snapshot(whole.data)
        pairs = tuple(pair for pair in content.pairs if not pair[0].startswith(keys.LOCK))
        return msgspec.structs.replace(whole, data=msgspec.structs.replace(content, pairs=pairs).encode())


def plant(node: Node) -> None:
    """Override what this node's replicas put into a snapshot."""
    in_replicas(node, lambda replica: become(replica.log, _Log))
