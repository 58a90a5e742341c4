"""An acknowledgement is a bare position: followers of another leader give it too, and it counts in any term.

A follower tells whoever sends to it where its log ends, and a leader counts that without looking whose log it is. A
leader that was deposed and does not know it yet commits its own entries with the positions of nodes that hold the new
leader's instead, and answers its clients. Seen in aeron#2147.
"""

from __future__ import annotations

import msgspec

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import Message, MessageKind, RaftGroup, Role
from reference_db.raft.core import RaftCore

LAYER = "commit"
ROUTES = ("I", "H")
WORKLOAD = "set"
NEMESIS = "partition:leader,pause@leader"
SEEDS = (9,)
DIRECTED = "ack_wrong_leader"


class _Core(RaftCore):
    __slots__ = ()

    def step(self, message: Message) -> None:
        kind = message.kind
        if kind == MessageKind.APPEND and message.term < self.term:
            position = self.log.last_index
            self.send_after_append(
                Message(MessageKind.APPEND_RESPONSE, message.source, self.node_id, self.term, position)
            )
            return
        if (
            kind == MessageKind.APPEND_RESPONSE
            and self.role == Role.LEADER
            and message.term > self.term
            and not message.reject
        ):
            position = min(message.index, self.log.last_index)
            message = msgspec.structs.replace(message, term=self.term, index=position)
        super().step(message)


def plant_in(group: RaftGroup) -> None:
    """One group gives and takes bare positions."""
    become(group.core, _Core)


def plant(node: Node) -> None:
    """All groups of a node give and take bare positions."""
    in_groups(node, plant_in)
