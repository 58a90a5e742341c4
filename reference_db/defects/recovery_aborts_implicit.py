"""Whoever recovers a staging transaction aborts it, without having looked whether its intents commit it.

A transaction that commits in parallel is committed when its last intent stands, and its client may know; nobody has
written so yet. Seen in CockroachDB (cockroach#75601, cockroach#38117).
"""

from __future__ import annotations

from reference_db.api import RangeReply, RecordState, RecoverTransaction, Transaction
from reference_db.node import Node

LAYER = "transaction"
ROUTES = ("I", "H")
WORKLOAD = "list-append"
NEMESIS = "coordinator:committed-in-parallel,pause"
SYSTEM_OPTIONS = {"parallel_commit": True}
SCENARIO = {"ranges": 8, "concurrency": "20"}
"""Somebody must be found between the last intent and the record that says so."""
SEEDS = (2, 4)


def plant(node: Node) -> None:
    """Override how this node recovers what others have left."""
    router = node.router

    async def abort(holder: Transaction, state: RecordState, deadline: float) -> RangeReply:
        decide = RecoverTransaction(holder, state.commit_timestamp, committed=False)
        return await router.send((decide,), deadline, repeatable=True)

    node.pusher.recover = abort  # type: ignore[method-assign]
