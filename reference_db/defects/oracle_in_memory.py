"""The timestamp oracle counts in its leader's memory, from its wall clock on, and no window is replicated.

After a change of leaders the next one begins at its own clock, which may stand behind: timestamps go back. Then a
transaction begins before what was acknowledged, or commits below what others have read. Percolator and TiDB's PD keep a
window for this (Peng and Dabek 2010, 2.3).
"""

from __future__ import annotations

from reference_db.api import RangeReply, RangeRequest, TakeTimestamps, TimestampsTaken
from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Done, Replica
from reference_db.timestamp import Timestamp

LAYER = "transaction"
ROUTES = ("I", "H")
WORKLOAD = "bank"
NEMESIS = "partition,clock"
SYSTEM_OPTIONS = {"protocol": "primary-lock"}
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override how this node's replica of the first range answers as the oracle."""
    in_replicas(node, lambda replica: _plant_in(node, replica))


def _plant_in(node: Node, replica: Replica) -> None:
    submit, issued = replica.submit, [Timestamp(0)]

    def submit_with_defect(request: RangeRequest, done: Done) -> None:
        operation = request.operations[0]
        if not isinstance(operation, TakeTimestamps) or not replica.group.is_leader:
            submit(request, done)
            return
        first = max(Timestamp(node._wall_ns()), issued[0].next())
        issued[0] = Timestamp(first.wall_ns, first.logical + operation.count - 1)
        done(RangeReply(request.request_id, (TimestampsTaken(first, operation.count),), issued[0]))

    replica.submit = submit_with_defect  # type: ignore[method-assign]
