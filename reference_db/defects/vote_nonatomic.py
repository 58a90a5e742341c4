"""Term and vote are two writes: the term goes into the turn's batch, the vote is written when the next turn begins.

The answer leaves when the first of them is durable. A node that loses its unsynced writes just then starts again in the
new term and without its vote, and votes a second time. Seen in hashicorp/raft#661.
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.raft import HardState
from reference_db.ranges.replica import Replica
from reference_db.storage.engine import WriteBatch
from reference_db.storage.raft_log import RaftLog

LAYER = "election"
ROUTES = ("I", "H")
WORKLOAD = "set"
NEMESIS = "disk:power-loss,partition:leader"
SEEDS = (1,)
WITNESSED = "vote_nonatomic"

Unwritten = dict[int, HardState]
"""By range: the hard state whose vote waits for the next turn."""


def plant(node: Node) -> None:
    """All ranges of a node write their votes one turn late."""
    unwritten: Unwritten = {}
    in_replicas(node, lambda replica: _plant_in(replica, unwritten))
    turn = node.store.turn

    def turn_with_votes() -> None:
        if unwritten:
            batch = WriteBatch()
            for range_id, hard_state in unwritten.items():
                RaftLog.set_hard_state(node.store.replicas[range_id].log, batch, hard_state)
            unwritten.clear()
            node._engine.write(batch)
        turn()

    node.store.turn = turn_with_votes  # type: ignore[method-assign]


def _plant_in(replica: Replica, unwritten: Unwritten) -> None:
    class Log(RaftLog):
        __slots__ = ()

        def set_hard_state(self, batch: WriteBatch, hard_state: HardState) -> None:
            known = self._hard_state
            vote = known.vote if known.term == hard_state.term else 0
            if vote != hard_state.vote:
                unwritten[self.range_id] = hard_state
            super().set_hard_state(batch, HardState(hard_state.term, vote, hard_state.commit))

    become(replica.log, Log)
