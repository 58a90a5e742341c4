"""A transaction that must move its reads forward does not look whether they still hold there.

Snapshot isolation sold as serializable: two transfers that read the same account both write what they computed from it,
and one is lost. Seen in CockroachDB (cockroach#7899), SurrealKV (surrealkv#28) and, as a blind retry, in TiDB 2.1.7
(Jepsen).
"""

from __future__ import annotations

from reference_db.api import Transaction
from reference_db.gateway.open_transaction import OpenTransaction
from reference_db.node import Node
from reference_db.timestamp import Timestamp

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "bank"
NEMESIS = ""
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override the refresh of this node's coordinator."""

    async def believe(
        open_one: OpenTransaction, identity: Transaction, since: Timestamp, target: Timestamp, deadline: float
    ) -> None:
        """Nothing has changed, surely."""

    node.coordinator.record._refresh = believe  # type: ignore[method-assign]
