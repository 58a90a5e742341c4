"""Leaders answer reads below the threshold of what is kept, as if nothing had been collected there.

A slow reader's snapshot is of before and after at once: where a key's old version is gone it finds none at all.
CockroachDB refuses such reads by each range's GC threshold; TiKV keeps its safe point below every open transaction.
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas
from reference_db.gateway.collector import OpenReads
from reference_db.node import Node
from reference_db.ranges.replica import Replica, Work
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.evaluation import Evaluation

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "list-append"
NEMESIS = "packet"
SCENARIO = {"concurrency": "20"}
"""What is collected is still read where links are slow."""
SYSTEM_OPTIONS = {"gc_ttl_ms": 20}
SEEDS = (1,)


class NobodyReads(OpenReads):
    """Says of its node that nobody reads."""

    def oldest(self, held_ms: int) -> Timestamp | None:
        """Nothing is needed."""
        return None


def plant(node: Node) -> None:
    """Override what this node's replicas refuse, and what it says that its transactions still need."""
    in_replicas(node, answer_everything)
    become(node.open_reads, NobodyReads)


def answer_everything(replica: Replica) -> None:
    """Override what a replica refuses."""
    evaluate = replica._evaluate_confirmed

    def evaluate_with_defect(work: Work) -> Evaluation:
        state = replica.state
        threshold, state.threshold = state.threshold, ZERO
        try:
            return evaluate(work)
        finally:
            state.threshold = threshold

    replica._evaluate_confirmed = evaluate_with_defect  # type: ignore[method-assign]
