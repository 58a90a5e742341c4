"""The leader answers reads without confirming its leadership, from its applied state, without waiting on latches.

A leader that was cut off, or paused, goes on answering with what it knew, while the others have elected a new one and
moved on: a stale read. Seen in etcd 0.4.1 and in VoltDB 6.3, among others. Neither confirmed its leadership in any way,
so the check-quorum rule is off as well; with it a leader that was cut off would notice after an election timeout, and
the lie would only last from the others' election until then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reference_db.api import RangeReply, RangeRequest
from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.raft import ReadMode
from reference_db.ranges.replica import Replica
from reference_db.txn.evaluate import begin_read, evaluate_read, why_invalid

LAYER = "read"
ROUTES = ("H",)
WORKLOAD = "register"
NEMESIS = "partition:leader,pause@leader"
SEEDS = (1,)

Done = Callable[[RangeReply], None]


def plant(node: Node) -> None:
    """Override how this node's replicas take in reads; everything else stays."""
    in_replicas(node, lambda replica: _plant_in(replica, node))


def _plant_in(replica: Replica, node: Node) -> None:
    config = replace(replica.group.config, check_quorum=False, read_mode=ReadMode.READ_INDEX)
    replica.group.config = replica.group.core.config = config
    submit = replica.submit

    def submit_with_defect(request: RangeRequest, done: Done) -> None:
        leadership = replica.leadership
        if not request.is_read or leadership is None or why_invalid(request, replica.state) is not None:
            submit(request, done)
            return
        if request.timestamp is not None:
            node.clock.forward(request.timestamp)
        timestamp = begin_read(request, leadership, node.clock.now())
        done(evaluate_read(request, replica.state, leadership, timestamp).reply)

    replica.submit = submit_with_defect  # type: ignore[method-assign]
