"""A leader that is no voter counts its own copy of an entry.

A leader commits its own removal, or its demotion, and may lead on until another takes over. Its copy does not count any
more; here it does, so one voter of three is enough to commit. Seen in RedisLabs/raft#13.

Nothing in this database changes a range's voters yet, so only the directed schedule shows it.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import RaftGroup
from reference_db.raft.core import RaftCore
from reference_db.raft.peers import Peers

LAYER = "membership"
ROUTES = ("I", "H")
WORKLOAD = "set"
NEMESIS = "partition"
DIRECTED = "nonvoting_leader_self"
WITNESSED = "nonvoting_leader_self"
REACHABLE = False


def plant_in(group: RaftGroup) -> None:
    """One group counts its leader, voter or not."""
    become(group.core.peers, _peers_of(group.core))


def plant(node: Node) -> None:
    """All groups of a node count their leader, voter or not."""
    in_groups(node, plant_in)


def _peers_of(core: RaftCore) -> type[Peers]:
    class CountingPeers(Peers):
        __slots__ = ()

        def committed(self) -> int:
            voters = self.configuration.voters
            if core.node_id in voters or self.configuration.is_joint:
                return super().committed()
            copies = [core.log.stable, *(self.progress[voter].match for voter in voters)]
            return sorted(copies, reverse=True)[len(voters) // 2]

    return CountingPeers
