"""A follower that overwrites conflicting entries keeps those that stood behind them.

A deposed leader's log is longer than what its successor sends at first. What should be cut off stays: entries of an old
term behind newer ones, which make the log look older than it is to voters, and are committed after all if this node
leads next, although their clients were told that they never happened. Seen, as a cache that was not cut, in
cockroach#63302.
"""

from __future__ import annotations

from collections.abc import Sequence

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import Entry, RaftGroup
from reference_db.raft.config import UNLIMITED
from reference_db.raft.log import RaftLog

LAYER = "log"
ROUTES = ("I", "A", "H")
WORKLOAD = "set"
NEMESIS = "partition:leader,kill"
SEEDS = (1,)
WITNESSED = "conflict_not_truncated"
DIRECTED = "conflict_not_truncated"


class _Log(RaftLog):
    __slots__ = ()

    def append(self, entries: Sequence[Entry]) -> None:
        behind: tuple[Entry, ...] = ()
        if entries and entries[-1].index < self.last_index:
            behind = self.entries(entries[-1].index + 1, self.last_index + 1, UNLIMITED)
        super().append([*entries, *behind])


def plant_in(group: RaftGroup) -> None:
    """The log of one group keeps what it should cut off."""
    become(group.core.log, _Log)


def plant(node: Node) -> None:
    """The logs of all groups of a node keep what they should cut off."""
    in_groups(node, plant_in)
