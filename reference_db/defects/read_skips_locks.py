"""Readers pass intents as if nobody held them, and read the version below.

What a transaction has committed at its anchor but not yet made final elsewhere is invisible there: a total over several
ranges sees one half of a transfer. Seen in TiKV (tikv/tikv#8589) and YugabyteDB (yugabyte-db#894).
"""

from __future__ import annotations

from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica, Work
from reference_db.txn.evaluation import Evaluation
from reference_db.txn.locks import LockTable

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "bank"
NEMESIS = ""
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override how this node's replicas evaluate reads whose time has come."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    evaluate = replica._evaluate_confirmed

    def evaluate_past_locks(work: Work) -> Evaluation:
        locks, replica.state.locks = replica.state.locks, LockTable()
        try:
            return evaluate(work)
        finally:
            replica.state.locks = locks

    replica._evaluate_confirmed = evaluate_past_locks  # type: ignore[method-assign]
