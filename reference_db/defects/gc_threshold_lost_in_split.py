"""The right half of a split forgets the threshold below which its versions were collected.

Its leader answers readers of the past from what is left of it. Every replica forgets alike, so their data agree.
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.storage.engine import WriteBatch
from reference_db.timestamp import ZERO
from reference_db.txn.state import RangeState

LAYER = "split"
ROUTES = ("I", "H")
WORKLOAD = "bank"
NEMESIS = "split,packet"
SYSTEM_OPTIONS = {"gc_ttl_ms": 20}
SEEDS = (1,)


class ForgetsThreshold(RangeState):
    """Passes nothing on."""

    __slots__ = ()

    def narrow(self, end: bytes, batch: WriteBatch) -> None:
        """As the state's, without the threshold."""
        threshold, self.threshold = self.threshold, ZERO
        super().narrow(end, batch)
        self.threshold = threshold


def plant(node: Node) -> None:
    """Override what this node's replicas pass on."""
    in_replicas(node, forget_threshold)


def forget_threshold(replica: Replica) -> None:
    """Override what a replica passes on."""
    become(replica.state, ForgetsThreshold)
