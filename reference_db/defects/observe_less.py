"""A transaction asks one node too few for its clock before it reads.

1. n3, whose clock is ahead, leads a range, and with n2 commits a transfer. 2. A transaction begins on n1, hears too few
to meet every quorum, and is promised that all that was acknowledged lies below what it heard. 3. It reads the range
below the transfer, and looks at nothing above. The sum of N - F/2 nodes is where CockroachDB has its uncertainty
interval.
"""

from __future__ import annotations

from reference_db.defects import become
from reference_db.node import Node

LAYER = "transaction"
ROUTES = ("I", "H")
WORKLOAD = "bank"
NEMESIS = "clock,packet:slow"
SEEDS = (4,)


class _Hasty(Node):
    @property
    def _others_needed(self) -> int:
        return max(super()._others_needed - 1, 0)


def plant(node: Node) -> None:
    """Override how many others this node's transactions hear."""
    become(node, _Hasty)
