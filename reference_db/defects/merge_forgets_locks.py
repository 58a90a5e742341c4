"""A range that absorbs its neighbour takes over its data, and not the intents that stand on them.

Readers pass transactions that are under way, and when those commit there is nothing to make final: half of them is
lost. Seen in CockroachDB (cockroach#139140), with what a merge leaves out.
"""

from __future__ import annotations

from functools import partial

from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.ranges.descriptor import Descriptor
from reference_db.ranges.replica import Replica
from reference_db.timestamp import Timestamp

LAYER = "merge"
ROUTES = ("I", "A", "H")
WORKLOAD = "bank"
NEMESIS = "split,merge:often"
SCENARIO = {"concurrency": "20"}
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override what this node's replicas take into memory when they absorb another."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    replica._absorb = partial(_absorb, replica, replica._absorb)  # type: ignore[method-assign]


def _absorb(replica: Replica, absorb: object, right: Descriptor, timestamp: Timestamp) -> None:
    assert callable(absorb)
    absorb(right, timestamp)
    for key, _ in list(replica.state.locks.in_span(right.start, right.end)):
        replica.state.locks.remove(key)
