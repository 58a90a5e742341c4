"""A client whose transaction's record was not heard of again is told that it has committed.

The command that writes the record may have failed, or be undone by whoever aborts the silent transaction: what the
client was told is lost, or half of it. Seen in CockroachDB (cockroach#32220).
"""

from __future__ import annotations

from typing import Any

from reference_db.api import Ambiguous, TimedOut
from reference_db.gateway.coordinator import Failed, OpenTransaction
from reference_db.node import Node
from reference_db.timestamp import Timestamp

LAYER = "transaction"
ROUTES = ("H", "A")
WORKLOAD = "bank"
NEMESIS = "partition,kill,pause"


def plant(node: Node) -> None:
    """Override how this node's coordinator takes a decision that it has not heard of."""
    decide = node.coordinator._decide

    async def decide_early(
        open_one: OpenTransaction, transaction: Any, by_range: Any, anchor_range: int, commit_at: Timestamp,
        local: Any, deadline: float,
    ) -> Timestamp:  # fmt: skip
        try:
            return await decide(open_one, transaction, by_range, anchor_range, commit_at, local, deadline)
        except Failed as failed:
            if isinstance(failed.error, (Ambiguous, TimedOut)):
                return commit_at
            raise

    node.coordinator._decide = decide_early  # type: ignore[method-assign]
