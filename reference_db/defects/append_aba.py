"""What the disk has done for an earlier term counts as done, if the log holds an entry of the same index and term now.

1. A follower is given entry 3 of term 1 and begins to write it. 2. A leader of term 2 overwrites it. 3. A leader of
term 3, which has the first one, overwrites it back. 4. The disk reports the write of step 1, and the follower takes the
entry for durable and acknowledges it, while the disk still holds that of step 2 or is about to. A crash then loses an
entry that was counted. From the published tests of etcd's raft.

It takes several writes under way at a time (`Config.async_storage_writes`); the database's turns have one, so only the
directed schedule shows it.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import RaftGroup, Snapshot
from reference_db.raft.core import RaftCore

LAYER = "log"
ROUTES = ("I",)
WORKLOAD = "set"
NEMESIS = "kill,partition"
DIRECTED = "append_aba"
REACHABLE = False


class _Core(RaftCore):
    __slots__ = ()

    def storage_appended(self, term: int, index: int, log_term: int, snapshot: Snapshot | None) -> None:
        super().storage_appended(self.term, index, log_term, snapshot)


def plant_in(group: RaftGroup) -> None:
    """One group believes late reports of its disk."""
    become(group.core, _Core)


def plant(node: Node) -> None:
    """All groups of a node believe late reports of its disk."""
    in_groups(node, plant_in)
