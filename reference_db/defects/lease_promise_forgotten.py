"""A node that restarts votes at once, although it has promised a leader to help nobody else for a while.

The promise on which a lease rests is not in the hard state: whoever restarts has to wait one election timeout out, or
to keep the promise on its disk. Else a leader that is cut off serves by its lease while the others have elected
another.
"""

from __future__ import annotations

from reference_db.defects import in_groups
from reference_db.node import Node
from reference_db.raft import RaftGroup

LAYER = "lease"
ROUTES = ("I", "H")
WORKLOAD = "register"
NEMESIS = "kill,partition"
DIRECTED = "lease_promise_forgotten"
WITNESSED = "lease_promise_forgotten"
REACHABLE = False
"""No fault restarts a node within the time of a lease; a test of leases does."""


def plant_in(group: RaftGroup) -> None:
    """One group forgets, when it starts, what it may have promised."""
    group.core.vote_hold_ticks = 0


def plant(node: Node) -> None:
    """All groups of a node, when it starts."""
    in_groups(node, plant_in)
