"""A leader falls asleep though a follower lacks entries.

Time stands still for such a range: nobody sends the follower what it lacks, and nobody notices. TiKV asks all followers
before a region hibernates; here each of them refuses to sleep behind its leader, and wakes it, so that the harm is only
a range that never rests.
"""

from __future__ import annotations

from collections.abc import Collection

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import RaftGroup, Role

LAYER = "sleep"
ROUTES = ("I",)
WORKLOAD = "register"
NEMESIS = "packet:slow"
SCENARIO = {"rate": 10.0, "ranges": 8}
SYSTEM_OPTIONS = {"quiesce_ticks": 1}
SEEDS = (3,)


class Careless(RaftGroup):
    """Of a member that lacks something it knows nothing."""

    __slots__ = ()

    def may_quiesce_without(self, absent: Collection[int]) -> bool:
        core = self.core
        return (
            core.role == Role.LEADER
            and core.log.applied == core.log.last_index
            and core.reads.idle
            and not core.transfer_target
            and not core.peers.configuration.is_joint
            and not self.has_ready()
        )


def plant(node: Node) -> None:
    """Override what this node's leaders ask before they fall asleep."""
    in_groups(node, lambda group: become(group, Careless))
