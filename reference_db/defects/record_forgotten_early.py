"""A coordinator has its transaction's record forgotten before all ranges have said that its intents are final.

Whoever meets one of those that are left finds no record, and takes a committed transaction for an aborted one. A record
may go only when no intent of it is left, in any range.
"""

from __future__ import annotations

from collections.abc import Sequence

from reference_db.api import Key, Transaction, TransactionStatus
from reference_db.gateway.protocols.deciding import Deciding
from reference_db.node import Node
from reference_db.timestamp import Timestamp

LAYER = "transaction"
ROUTES = ("I", "H")
WORKLOAD = "bank"
NEMESIS = "partition:one,pause"
SCENARIO = {"ranges": 4, "concurrency": "20", "intensity": 2.0}
SYSTEM_OPTIONS = {"protocol": "record"}


def plant(node: Node) -> None:
    """Override how this node's coordinators finish."""
    for driver in node.coordinator.protocols.values():
        _plant_in(driver)


def _plant_in(driver: Deciding) -> None:
    finish = driver._finish

    async def finish_in_haste(
        transaction: Transaction, keys: Sequence[Key], status: TransactionStatus, commit_at: Timestamp
    ) -> None:
        driver._deletable.append(transaction)
        await finish(transaction, keys, status, commit_at)

    driver._finish = finish_in_haste  # type: ignore[method-assign]
