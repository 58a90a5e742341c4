"""A leader reads the age of its lease off the wall clock.

A wall clock is set back by whoever corrects it, and then the lease lasts longer than those who gave it remember. Seen
in yugabyte-db#16 and pd#1661.

The directed schedule shows it on the lease of the Raft core; in a whole database it is that of `ranges/leases.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.raft import RaftGroup
from reference_db.raft.core import RaftCore
from reference_db.ranges.leases import Lease
from reference_db.ranges.replica import Replica

LAYER = "lease"
ROUTES = ("I", "H")
WORKLOAD = "register"
NEMESIS = "clock:strobe@leader,clock:drift@leader,partition:leader"
DIRECTED = "lease_wallclock"
WITNESSED = "lease_wallclock"
SCENARIO = {"workload_options": {"reads": "lease"}, "ranges": 3, "intensity": 3.0, "time_limit": 40.0}


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


class _Lease(Lease):
    __slots__ = ()

    def tick(self, now_ns: int) -> None:
        """It remembers when rounds were sent for as long as the wall clock may ask for it, and not for some ticks."""
        sent = dict(self._sent_ns)
        super().tick(now_ns)
        if self._core.renews_lease:
            self._sent_ns.update({tick: at for tick, at in sent.items() if tick > self._core.ticks - 1000})


def plant(node: Node) -> None:
    """All replicas of a node measure their leases by its wall clock."""

    def plant_in_replica(replica: Replica) -> None:
        replica._monotonic_ns = node._wall_ns
        become(replica.lease, _Lease)

    in_replicas(node, plant_in_replica)
