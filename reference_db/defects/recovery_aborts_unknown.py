"""Whoever meets an intent and cannot reach its anchor quickly takes the transaction for aborted.

It removes the intents of one that may have committed: half of it is lost. The class of CockroachDB's cockroach#75601
and cockroach#38117, where recovery rolled back transactions that had implicitly committed.
"""

from __future__ import annotations

from typing import Any

from reference_db.api import PushTransaction, RangeReply, RecordState, TransactionStatus
from reference_db.gateway.router import Router
from reference_db.node import Node

LAYER = "transaction"
ROUTES = ("H", "A")
WORKLOAD = "bank"
NEMESIS = "packet"
SCENARIO = {"concurrency": "20", "workload_options": {"accounts": 6, "read_share": 0.2}}
"""An anchor answers late where links are slow, and is asked often where many want the same keys."""
SEEDS = (2,)

PATIENCE_S = 0.2
"""How long an anchor may take to answer a push."""


class ImpatientRouter:
    """The node's router, as its pusher sees it."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.directory = router.directory
        self.now = router.now

    async def send(self, operations: Any, deadline: float, **options: Any) -> RangeReply:
        """As the router's, but a push that is not answered soon is answered with ABORTED."""
        if not isinstance(operations[0], PushTransaction):
            return await self._router.send(operations, deadline, **options)
        limit = min(deadline, self.now() + PATIENCE_S)
        reply = await self._router.send(operations, limit, **options)
        if reply.error is None:
            return reply
        return RangeReply(reply.request_id, (RecordState(TransactionStatus.ABORTED),))


def plant(node: Node) -> None:
    """Override whom this node's pusher asks."""
    node.pusher._router = ImpatientRouter(node.router)  # type: ignore[assignment]
