"""A range falls asleep though a follower lacks entries: its leader does not ask, and the follower takes its word.

Nobody sends the follower what it lacks, as long as nobody asks the range for anything; when its leader dies, it has
less than it seems to have. TiKV has all followers agree before a region hibernates; here either side's rule is enough
to keep the range awake.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.defects.sleeping_leader import Careless
from reference_db.node import Node
from reference_db.raft import Role

LAYER = "sleep"
ROUTES = ("I", "A")
WORKLOAD = "register"
NEMESIS = "packet:slow,packet:reset"
SCENARIO = {"rate": 10.0, "ranges": 8}
SYSTEM_OPTIONS = {"quiesce_ticks": 1}
SEEDS = (3,)


class _Trusting(Careless):
    __slots__ = ()

    def may_quiesce_after(self, leader: int, term: int, last: int) -> bool:
        core = self.core
        return core.role == Role.FOLLOWER and core.term == term and core.leader_id == leader


def plant(node: Node) -> None:
    """Override what this node's replicas ask before they fall asleep."""
    in_groups(node, lambda group: become(group, _Trusting))
