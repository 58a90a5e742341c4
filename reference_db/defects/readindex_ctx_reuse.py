"""Any answer to a round of heartbeats confirms the leader for every read that waits, also for later ones.

A round asks whether the leader still leads *now*; an answer that was given before a read arrived says nothing about
it. A late answer then lets a leader that was deposed meanwhile read its old state. Seen in etcd#20418, where contexts
of rounds were used twice.

It takes an answer that is on its way for longer than an election, to a leader that has not noticed that. Here a leader
checks its quorum, and takes in all that has arrived before it asks anew; only the directed schedule shows it.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import RaftGroup
from reference_db.raft.membership import Configuration
from reference_db.raft.reads import ReadQueue, Round

LAYER = "read"
ROUTES = ("I", "H")
WORKLOAD = "register"
NEMESIS = "packet,partition:leader,pause@leader"
DIRECTED = "readindex_ctx_reuse"
WITNESSED = "readindex_ctx_reuse"
REACHABLE = False


class _Reads(ReadQueue):
    __slots__ = ()

    def acknowledge(
        self, node: int, context: bytes, term: int, self_id: int, configuration: Configuration
    ) -> list[Round]:
        if not context:
            return []
        return super().acknowledge(node, self.newest_context(term), term, self_id, configuration)


def plant_in(group: RaftGroup) -> None:
    """One group does not tell rounds apart."""
    become(group.core.reads, _Reads)


def plant(node: Node) -> None:
    """No group of a node tells rounds apart."""
    in_groups(node, plant_in)
