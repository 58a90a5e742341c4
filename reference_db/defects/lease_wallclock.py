"""A leader reads the age of its lease off the wall clock.

A wall clock is set back by whoever corrects it, and then the lease lasts longer than those who gave it remember. Seen
in yugabyte-db#16 and pd#1661.

The database confirms its leaders by rounds of heartbeats and offers no leases, so only the directed schedule shows it.
"""

from __future__ import annotations

from collections.abc import Callable

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import RaftGroup
from reference_db.raft.core import RaftCore

LAYER = "lease"
ROUTES = ("I", "H")
WORKLOAD = "register"
NEMESIS = "clock,partition:leader"
DIRECTED = "lease_wallclock"
REACHABLE = False


def plant_in(group: RaftGroup, wall_ticks: Callable[[], int]) -> None:
    """One group measures its lease by a wall clock, which `wall_ticks` reads in ticks."""

    class Core(RaftCore):
        __slots__ = ()

        def tick(self) -> bool:
            self.ticks = wall_ticks() - 1
            return super().tick()

        def flush(self) -> None:
            self.ticks = wall_ticks()
            super().flush()

    become(group.core, Core)


def plant(node: Node) -> None:
    """All groups of a node measure their leases by its wall clock."""
    tick_ns = node.options.tick_ms * 1_000_000
    in_groups(node, lambda group: plant_in(group, lambda: node._wall_ns() // tick_ns))
