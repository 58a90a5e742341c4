"""A `transact_write` is run as a snapshot: a key that a condition has looked at, and nobody writes, may have changed.

Two requests that each need the other's key to be absent both succeed: write skew. DynamoDB checks conditions of items
that are not written (ConditionCheck) under the same locks as writes, for this reason.
"""

from __future__ import annotations

from typing import Any

from reference_db.api import Isolation
from reference_db.gateway.open_transaction import OpenTransaction
from reference_db.node import Node
from reference_db.timestamp import ZERO, Timestamp

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "transact-write"
NEMESIS = "none"
SCENARIO = {"concurrency": "20"}


def plant(node: Node) -> None:
    """Override how isolated this node's requests are."""
    writer = node.transact_writer
    coordinator = writer._coordinator

    class Lenient:
        """The node's coordinator, as its requests see it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(coordinator, name)

        def begin(self, priority: Timestamp = ZERO, isolation: Isolation | None = None) -> OpenTransaction:
            """As the coordinator's, and never serializable."""
            return coordinator.begin(priority, isolation=Isolation.SNAPSHOT)

    writer._coordinator = Lenient()  # type: ignore[assignment]
