"""A voter's promise ends before the lease that rests on it: it helps others after half of an election timeout.

A lease must never end earlier than was said before. In CockroachDB a lease of a new kind could end before the one that
it took the place of (cockroach#131639, a technical advisory), and writes were lost. Here a follower remembers only half
of the time that it has promised to its leader.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import RaftGroup, Role
from reference_db.raft.core import RaftCore

LAYER = "lease"
ROUTES = ("I", "H")
WORKLOAD = "register"
NEMESIS = "partition,pause@leader"
SCENARIO = {"workload_options": {"reads": "lease"}}


class _Core(RaftCore):
    __slots__ = ()

    def in_lease(self) -> bool:
        return super().in_lease() and self.election_elapsed < self.config.election_ticks // 2

    def tick(self) -> bool:
        if self.role == Role.FOLLOWER and self.election_elapsed >= self.config.election_ticks // 2:
            self.randomized_timeout = min(self.randomized_timeout, self.config.election_ticks // 2 + 1)
        return super().tick()


def _plant_in(group: RaftGroup) -> None:
    become(group.core, _Core)


def plant(node: Node) -> None:
    """All groups of a node."""
    in_groups(node, _plant_in)
