"""A snapshot replaces the log up to its index, and leaves what stands behind it on the disk.

The follower's entries behind the snapshot may be of a leader that was deposed; the running node does not see them any
more, but a restarted one reads them as the continuation of its log. Seen in openraft#753 and #559.

It takes a deposed leader that had taken more entries than its successor has committed when it compacts its log: more
clients at once than runs usually have. The directed schedule shows it on the log of one node.
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.raft import Snapshot
from reference_db.storage import keys
from reference_db.storage.engine import DELETE, WriteBatch
from reference_db.storage.raft_log import RaftLog
from reference_db.storage.range_snapshot import RangeSnapshot

LAYER = "snapshot"
ROUTES = ("I", "A")
WORKLOAD = "set"
NEMESIS = "partition:leader,kill"
SYSTEM_OPTIONS = {"log_entries_kept": 10, "log_bytes_most": 1000}
DIRECTED = "snap_keeps_suffix"
REACHABLE = False


class _Log(RaftLog):
    __slots__ = ()

    def restore(
        self, batch: WriteBatch, snapshot: Snapshot, before: WriteBatch | None = None
    ) -> RangeSnapshot:
        behind = {keys.log_key(self.range_id, index) for index in range(snapshot.index + 1, self._last + 1)}
        content = super().restore(batch, snapshot, before)
        batch.changes = [
            change for change in batch.changes if not (change[0] == DELETE and change[1] in behind)
        ]
        return content


def plant_in(log: RaftLog) -> None:
    """The log of one range keeps what stands behind a snapshot."""
    become(log, _Log)


def plant(node: Node) -> None:
    """All ranges of a node keep what stands behind a snapshot."""
    in_replicas(node, lambda replica: plant_in(replica.log))
