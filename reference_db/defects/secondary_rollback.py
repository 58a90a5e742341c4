"""Protocol primary-lock: where the outcome at the primary is not known in time, the other locks are rolled back.

If the primary was committed after all, one half of the transaction stays and the other is gone. Seen in TiDB
(tidb#3420, tidb#42937); `secondary-cleanup` is the same mistake in protocol `record`.
"""

from __future__ import annotations

from reference_db.api import TransactionProtocol
from reference_db.defects.secondary_cleanup import plant_in
from reference_db.node import Node

LAYER = "transaction"
ROUTES = ("H", "I", "A")
WORKLOAD = "bank"
NEMESIS = "packet:slow"
SCENARIO = {
    "intensity": 3.0,
    "rate": 100.0,
    "concurrency": "20",
    "operation_timeout": 5.0,
    "workload_options": {"read_share": 0.2, "total": 1000},
}
SYSTEM_OPTIONS = {"protocol": "primary-lock"}
SEEDS = (2,)


def plant(node: Node) -> None:
    """Override how this node's transactions wait for a decision."""
    plant_in(node.coordinator.protocols[TransactionProtocol.PRIMARY_LOCK])
