"""In a joint configuration the new voters decide alone.

While voters are being exchanged, both the old and the new ones must agree (Raft paper, section 6). If the new ones are
enough, the old ones, who may not have heard of the change yet, can elect another leader and go on without them. Part of
what the published quorum tests of etcd's raft pin down.

Nothing in this database changes a range's voters yet, so only the directed schedule shows it.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import RaftGroup
from reference_db.raft.membership import Configuration, ProgressMap
from reference_db.raft.peers import Peers
from reference_db.raft.quorum import VoteResult, majority_vote

LAYER = "membership"
ROUTES = ("I", "H")
WORKLOAD = "set"
NEMESIS = "partition"
DIRECTED = "joint_one_half"
REACHABLE = False


class _Peers(Peers):
    __slots__ = ()

    def install(self, configuration: Configuration, progress: ProgressMap) -> None:
        super().install(configuration, progress)
        self._outgoing = []

    def _tally(self, votes: dict[int, bool]) -> VoteResult:
        return majority_vote(self.configuration.voters, votes)


def plant_in(group: RaftGroup) -> None:
    """One group asks only the new voters."""
    become(group.core.peers, _Peers)


def plant(node: Node) -> None:
    """All groups of a node ask only the new voters."""
    in_groups(node, plant_in)
