"""A leader counts what a member acknowledged in an earlier life, before it left and came back.

1. n3 acknowledges entry 41, slowly. 2. It leaves the range, with all that it had, and comes back as a learner with
nothing. 3. The acknowledgement arrives: the leader believes that n3 has 41 entries, and makes it a voter. CockroachDB
gives each replica an id of its own, so that messages of another one are dropped.
"""

from __future__ import annotations

from functools import partial

from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.raft import Message
from reference_db.ranges.replica import Replica

LAYER = "move"
ROUTES = ("I",)
WORKLOAD = "register"
NEMESIS = "move,packet:slow"
NODES = 5
SCENARIO = {"replication": 3}
SEEDS = ()


def plant(node: Node) -> None:
    """Override which messages this node's replicas take."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    replica.step = partial(_step, replica, replica.step)  # type: ignore[method-assign]


def _step(replica: Replica, step: object, message: Message) -> None:
    assert callable(step)
    joined, replica._joined = replica._joined, {}
    step(message)
    replica._joined = joined
