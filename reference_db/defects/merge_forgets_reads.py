"""A range that has absorbed its neighbour does not know that the neighbour's keys were read.

1. T begins at 5. 2. A reader finds a key as it is at 9. 3. The key's range is absorbed by its left neighbour. 4. T
writes the key and commits at 5: what was read has changed afterwards. In CockroachDB a merge bumps the timestamp cache
for the keys of the right-hand side, to where its leaseholder says.
"""

from __future__ import annotations

from functools import partial

from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.ranges.descriptor import Descriptor
from reference_db.ranges.replica import Replica
from reference_db.timestamp import Timestamp

LAYER = "merge"
ROUTES = ("I",)
"""Clients hardly see it: who wrote late may mostly as well have come later."""
WORKLOAD = "bank"
NEMESIS = "merge:often,split:often"
SCENARIO = {"rate": 200.0, "concurrency": "20"}
SYSTEM_OPTIONS = {"protocol": "record"}


def plant(node: Node) -> None:
    """Override what this node's replicas note when they absorb another."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    replica._absorb = partial(_absorb, replica, replica._absorb)  # type: ignore[method-assign]


def _absorb(replica: Replica, absorb: object, right: Descriptor, timestamp: Timestamp) -> None:
    assert callable(absorb)
    reads = None if replica.leadership is None else replica.leadership.reads.copy()
    absorb(right, timestamp)
    if replica.leadership is not None and reads is not None:
        replica.leadership.reads = reads
