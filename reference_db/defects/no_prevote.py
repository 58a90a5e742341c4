"""A member that hears no leader raises its term and asks for votes at once, without asking whether it could win.

Nothing wrong is ever told to a client. But a node that was cut off comes back with a term above everybody's, and the
leader that all others follow must step down: one election more for every range and every heal. Seen in etcd#8499,
before pre-votes (thesis 9.6).

No checker counts elections, so only the directed schedule shows it.
"""

from __future__ import annotations

from dataclasses import replace

from reference_db.defects import in_groups
from reference_db.node import Node
from reference_db.raft import RaftGroup

LAYER = "election"
ROUTES = ("L", "C")
WORKLOAD = "register"
NEMESIS = "partition:one"
DIRECTED = "no_prevote"
REACHABLE = False


def plant_in(group: RaftGroup) -> None:
    """One group has no pre-votes."""
    group.config = group.core.config = replace(group.config, pre_vote=False)


def plant(node: Node) -> None:
    """No group of a node has pre-votes."""
    in_groups(node, plant_in)
