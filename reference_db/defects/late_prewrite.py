"""A leader does not remember whom it aborted before their record came, so a late record revives an aborted transaction.

Others have removed its intents by then: it commits without them. Seen in TiKV (tikv#921): no rollback record was kept.
"""

from __future__ import annotations

from reference_db.api import Transaction
from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.timestamp import Timestamp
from reference_db.txn.record import TransactionMarkers

LAYER = "transaction"
ROUTES = ("H", "A")
WORKLOAD = "bank"
NEMESIS = "packet"
SCENARIO = {"concurrency": "20", "workload_options": {"accounts": 5, "read_share": 0.2}}
"""A record comes late where links are slow, and is aborted before where many want the same keys."""
SEEDS = (1,)


class ForgetfulMarkers(TransactionMarkers):
    """Remembers the floors that were promised, and no abort."""

    __slots__ = ()

    def abort(self, transaction_id: bytes, now: Timestamp) -> None:
        """Forgotten at once."""

    def why_refused(self, transaction: Transaction) -> str | None:
        """Nobody is refused."""
        return None


def plant(node: Node) -> None:
    """Override what this node's replicas remember when they begin to lead."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    may_serve = replica._may_serve

    def may_serve_with_defect() -> bool:
        before = replica.leadership
        answer = may_serve()
        leadership = replica.leadership
        if leadership is not None and leadership is not before:
            leadership.markers = ForgetfulMarkers(leadership.markers.low_water)
        return answer

    replica._may_serve = may_serve_with_defect  # type: ignore[method-assign]
