"""Where the outcome at the anchor is not known in time, the intents everywhere else are rolled back.

If the record was committed after all, one half of the transaction stays and the other is gone. Seen in TiDB
(tidb#3420, tidb#42937).
"""

from __future__ import annotations

import asyncio
from typing import Any

from reference_db.api import TransactionStatus
from reference_db.gateway.open_transaction import OpenTransaction
from reference_db.gateway.protocols.deciding import Deciding
from reference_db.node import Node
from reference_db.timestamp import ZERO, Timestamp

LAYER = "transaction"
ROUTES = ("H", "A")
WORKLOAD = "bank"
NEMESIS = "packet:slow"
SCENARIO = {
    "intensity": 3.0,
    "rate": 100.0,
    "concurrency": "20",
    "operation_timeout": 5.0,
    "workload_options": {"read_share": 0.2, "total": 1000},
}
"""An outcome is late where links are slow, and must come all the same; accounts must not run empty."""
SEEDS = (2,)

PATIENCE_S = 0.3
"""How long the outcome may be unknown."""


def plant(node: Node) -> None:
    """Override how this node's coordinator waits for a decision."""
    plant_in(node.coordinator.record)


def plant_in(driver: Deciding) -> None:
    """Override how the transactions of one protocol wait for a decision."""
    decide = driver._decide

    async def decide_impatiently(
        open_one: OpenTransaction, transaction: Any, keys: Any, commit_at: Timestamp, local: Any, deadline: float,
        asked_before: bool = False,
    ) -> tuple[Timestamp, tuple[bytes, ...]]:  # fmt: skip
        deciding = asyncio.ensure_future(
            decide(open_one, transaction, keys, commit_at, local, deadline, asked_before)
        )
        await asyncio.wait([deciding], timeout=PATIENCE_S)
        if not deciding.done():
            secondaries = [key for key in keys if key not in local]
            driver._spawn(driver._finish(transaction, secondaries, TransactionStatus.ABORTED, ZERO))
        return await deciding

    driver._decide = decide_impatiently  # type: ignore[method-assign]
