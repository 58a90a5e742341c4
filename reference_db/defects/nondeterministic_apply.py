"""A replica drops writes that are older than a second by its own clock when it applies them.

Meant as an expiry, it makes the state depend on when a replica gets to its log, and on its clock: one that was cut off,
paused or restarted catches up without what the others have. Local time, randomness or the order of a map in the
state machine: the class of etcd#14571.
"""

from __future__ import annotations

import msgspec

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.storage.engine import WriteBatch
from reference_db.txn.command import Command, PutVersion
from reference_db.txn.state import RangeState

LAYER = "apply"
ROUTES = ("I", "A", "H")
WORKLOAD = "register"
NEMESIS = "partition,pause,kill"
SEEDS = (1,)

EXPIRY_NS = 1_000_000_000


def plant(node: Node) -> None:
    """All replicas of a node drop what is old by the node's clock."""
    in_replicas(node, lambda replica: _plant_in(replica, node))


def _plant_in(replica: Replica, node: Node) -> None:
    class State(RangeState):
        __slots__ = ()

        def apply(self, command: Command, entry_term: int, batch: WriteBatch) -> bool:
            if node._wall_ns() - command.timestamp.wall_ns > EXPIRY_NS:
                kept = tuple(one for one in command.mutations if not isinstance(one, PutVersion))
                command = msgspec.structs.replace(command, mutations=kept)
            return super().apply(command, entry_term, batch)

    become(replica.state, State)
