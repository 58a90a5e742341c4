"""Who leads the right half of a split does not remember what was read of it while it was a part of the whole.

The leader that cuts a range goes on with both halves at once, and knows what it has answered. A transaction that began
before may then still write below a read that another one relies on. CockroachDB hands the timestamp cache's low-water
mark to the right side for this reason.
"""

from __future__ import annotations

import msgspec

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.ranges.split import SplitOff
from reference_db.timestamp import ZERO
from reference_db.txn.evaluate import Leadership

LAYER = "split"
ROUTES = ("I", "H")
WORKLOAD = "list-append"
NEMESIS = "split:often,merge:often"
SEEDS = (2,)


class _Replica(Replica):
    __slots__ = ()

    def begin(self, origin: SplitOff) -> None:
        if origin.heritage is not None:
            options = self._options
            fresh = Leadership(ZERO, options.transaction_expiry_ms * 1_000_000, options.session_replies_most)
            origin = msgspec.structs.replace(origin, heritage=fresh)
        super().begin(origin)


def plant(node: Node) -> None:
    """All replicas of a node."""
    in_replicas(node, lambda replica: become(replica, _Replica))
