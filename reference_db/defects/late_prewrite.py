"""A leader does not remember whom it aborted before their record came, so a late record revives an aborted transaction.

Others have removed its intents by then: it commits without them. Seen in TiKV (tikv#921): no rollback record was kept.
"""

from __future__ import annotations

from reference_db.api import Transaction
from reference_db.defects import in_replicas, when_leading
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.timestamp import Timestamp
from reference_db.txn.evaluate import Leadership
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
    in_replicas(node, forget_aborts)


def forget_aborts(replica: Replica) -> None:
    """Override what a replica remembers when it begins to lead."""

    def forget(leadership: Leadership) -> None:
        leadership.markers = ForgetfulMarkers(leadership.markers.low_water)

    when_leading(replica, forget)
