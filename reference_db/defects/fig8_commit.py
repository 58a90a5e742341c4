"""A leader commits whatever a quorum has, entries of earlier terms too.

An entry of an earlier term that is on a quorum can still be overwritten, by a leader whose last term is later (Raft
paper, figure 8); a leader may count copies only of entries of its own term. Seen in logcabin#44, PySyncObj#169 and
async-raft#108.

The paper's story takes five nodes and four elections, and old entries that arrive without those of the new leader. The
database sends a follower all that it lacks in one message, up to a megabyte, so only the directed schedule shows it.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import Message, MessageKind, RaftGroup, Role
from reference_db.raft.core import RaftCore
from reference_db.raft.replication import broadcast_append

LAYER = "commit"
ROUTES = ("I", "H")
WORKLOAD = "set"
NEMESIS = "kill,partition"
NODES = 5
DIRECTED = "fig8_commit"
REACHABLE = False


class _Core(RaftCore):
    __slots__ = ()

    def step(self, message: Message) -> None:
        super().step(message)
        if message.kind == MessageKind.APPEND_RESPONSE and self.role == Role.LEADER:
            on_a_quorum = min(self.peers.committed(), self.log.last_index)
            if self.commit_to(on_a_quorum):
                broadcast_append(self)


def plant_in(group: RaftGroup) -> None:
    """One group commits entries of any term."""
    become(group.core, _Core)


def plant(node: Node) -> None:
    """All groups of a node commit entries of any term."""
    in_groups(node, plant_in)
