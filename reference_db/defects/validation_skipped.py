"""Protocol primary-lock is told to be serializable, and looks at commit at nothing that it has read.

Snapshot isolation sold as serializable: two transactions each read what the other writes, and both commit.
"""

from __future__ import annotations

from reference_db.api import Transaction, TransactionProtocol
from reference_db.gateway.open_transaction import OpenTransaction
from reference_db.node import Node
from reference_db.timestamp import Timestamp

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "write-skew"
NEMESIS = ""
SYSTEM_OPTIONS = {"protocol": "primary-lock", "isolation": "serializable"}
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override the validation of this node's transactions."""
    driver = node.coordinator.protocols[TransactionProtocol.PRIMARY_LOCK]

    async def believe(
        open_one: OpenTransaction, identity: Transaction, since: Timestamp, target: Timestamp, deadline: float
    ) -> None:
        """Nothing has changed, surely."""

    driver._refresh = believe  # type: ignore[method-assign]
