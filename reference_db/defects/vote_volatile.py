"""A node's vote is never written to its disk; only its term is.

A node that is restarted has forgotten for whom it voted, and votes again in the same term, for somebody else: two
leaders in one term, and what the first one commits from then on is lost. Seen in seaweedfs/raft#9 and PySyncObj#202.
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.raft import HardState
from reference_db.storage.engine import WriteBatch
from reference_db.storage.raft_log import RaftLog

LAYER = "election"
ROUTES = ("I", "H")
WORKLOAD = "set"
NEMESIS = "kill,partition:leader"
SEEDS = (1,)
WITNESSED = "vote_volatile"


class _Log(RaftLog):
    __slots__ = ()

    def set_hard_state(self, batch: WriteBatch, hard_state: HardState) -> None:
        super().set_hard_state(batch, HardState(hard_state.term, commit=hard_state.commit))


def plant(node: Node) -> None:
    """No range of a node keeps its vote."""
    in_replicas(node, lambda replica: become(replica.log, _Log))
