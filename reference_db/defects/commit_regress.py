"""A follower takes over the leader's commit index as it is, even if it is below its own.

A new leader does not know how far its predecessor had committed, so the followers' indexes go back after an election,
below what they have applied. Seen in PySyncObj#166. This database answers reads from its applied state, so clients see
nothing of it; a node that is restarted in that state cannot make sense of its disk.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import Message, MessageKind, RaftGroup, Ready, Role
from reference_db.raft.core import RaftCore

LAYER = "commit"
ROUTES = ("I",)
WORKLOAD = "register"
NEMESIS = "kill@leader"
SEEDS = (1,)
DIRECTED = "commit_regress"

_FROM_THE_LEADER = (MessageKind.APPEND, MessageKind.HEARTBEAT)


class _Core(RaftCore):
    __slots__ = ()

    def step(self, message: Message) -> None:
        super().step(message)
        if (
            message.kind in _FROM_THE_LEADER
            and self.role == Role.FOLLOWER
            and self.leader_id == message.source
            and message.commit < self.log.committed
        ):
            self.log.committed = message.commit


class _Group(RaftGroup):
    __slots__ = ()

    def ready(self) -> Ready:
        self._commit = min(self._commit, self.core.log.committed)
        return super().ready()


def plant_in(group: RaftGroup) -> None:
    """The commit index of one group may go back."""
    become(group, _Group)
    become(group.core, _Core)


def plant(node: Node) -> None:
    """The commit index of every group of a node may go back."""
    in_groups(node, plant_in)
