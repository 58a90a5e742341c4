"""A leader notes that a transaction has committed at once when it has evaluated it, and not when that had its effect.

Where leadership is about to be handed over the entry cannot be proposed. Asked again after the transfer was given up,
the leader finds its note and answers COMMITTED, of which nothing is in any log. This was a mistake of this database:
money stayed what it was, so no total showed it, until the bank's books were compared with the transfers.
"""

from __future__ import annotations

from typing import Any

from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.txn.evaluate import note_applied

LAYER = "transaction"
ROUTES = ("H", "A")
WORKLOAD = "bank"
NEMESIS = "transfer:often,partition:one"
SCENARIO = {"ranges": 1, "rate": 200.0, "intensity": 2.0}
"""One leader that is told often to hand over, now and then to a node that it cannot reach."""
SYSTEM_OPTIONS = {"election_ticks": 20, "tick_ms": 50}
SEEDS = (2,)


def plant(node: Node) -> None:
    """Override what this node's replicas propose."""
    in_replicas(node, _note_early)


def _note_early(replica: Replica) -> None:
    propose = replica._propose

    def propose_with_defect(proposals: list[Any]) -> None:
        for work in proposals:
            if replica.leadership is not None and work.command is not None:
                note_applied(work.request, work.reply, work.command.timestamp, replica.leadership)
        propose(proposals)

    replica._propose = propose_with_defect  # type: ignore[method-assign]
