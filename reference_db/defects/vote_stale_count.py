"""A candidate counts every vote that arrives, also one that was given to it in an earlier term.

Two members can win the same term: one by the votes of that term, the other with a late one that its voter has since
given to its rival. The area of redpanda#6546.

It takes a vote that is on its way for longer than an election timeout, and a rival who wins in just the milliseconds
before it arrives; only the directed schedule shows it.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import Message, MessageKind, RaftGroup, Role
from reference_db.raft.core import RaftCore
from reference_db.raft.elections import count_vote

LAYER = "election"
ROUTES = ("I", "H")
WORKLOAD = "set"
NEMESIS = "packet,partition"
DIRECTED = "vote_stale_count"
REACHABLE = False


class _Core(RaftCore):
    __slots__ = ()

    def step(self, message: Message) -> None:
        is_old_vote = message.kind == MessageKind.VOTE_RESPONSE and message.term < self.term
        if is_old_vote and self.role == Role.CANDIDATE:
            count_vote(self, message)
            return
        super().step(message)


def plant_in(group: RaftGroup) -> None:
    """One group counts old votes."""
    become(group.core, _Core)


def plant(node: Node) -> None:
    """All groups of a node count old votes."""
    in_groups(node, plant_in)
