"""A snapshot reaches the disk, but what the replica holds in memory stays as it was.

Locks, transaction records and the newest versions of recently used keys are kept in memory. After a snapshot they are
those of long ago, and a replica that leads next serves them. Seen in redisraft#14 and dragonboat#156 and #369, where
the state was not rebuilt after a restart or a failover.
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.txn.state import RangeState

LAYER = "snapshot"
ROUTES = ("H", "A")
WORKLOAD = "bank"
NEMESIS = "partition,kill@leader"
SYSTEM_OPTIONS = {"log_entries_kept": 10, "log_bytes_most": 1000, "settled_ticks": 1}
SEEDS = (1,)


class _State(RangeState):
    __slots__ = ()

    def load(self) -> None:
        """A replica calls this after a snapshot only: when it was planted, the first load was done."""


def plant(node: Node) -> None:
    """No replica of a node loads a snapshot into its memory."""
    in_replicas(node, lambda replica: become(replica.state, _State))
