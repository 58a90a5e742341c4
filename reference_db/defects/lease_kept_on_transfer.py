"""A leader that has told another one to take over goes on serving reads by its lease.

Who is told to campaign at once is elected without regard to the lease, so from then on it proves nothing. Seen in
etcd-io/raft#99; TiKV has a lease state of its own, *suspect*, for this moment.

The directed schedule shows it on the lease of the Raft core; in a whole database it is that of `ranges/leases.py`,
which is not given up while a transfer is under way, either.
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.raft import Message, MessageKind, RaftGroup
from reference_db.raft.core import RaftCore
from reference_db.raft.messages import NO_NODE
from reference_db.ranges.leases import Lease
from reference_db.ranges.replica import Replica

LAYER = "lease"
ROUTES = ("I", "H")
WORKLOAD = "register"
NEMESIS = "partition:leader"
DIRECTED = "lease_kept_on_transfer"
WITNESSED = "lease_kept_on_transfer"
REACHABLE = False
"""Leaders hand over seldom, and the old one would have to be cut off within a round trip of that."""


class _Core(RaftCore):
    __slots__ = ()

    def send(self, message: Message) -> None:
        super().send(message)
        if message.kind == MessageKind.TIMEOUT_NOW:
            self.lease_broken = False


def plant_in(group: RaftGroup) -> None:
    """One group keeps its lease while it hands over."""
    become(group.core, _Core)


class _Lease(Lease):
    __slots__ = ()

    def is_valid(self, now_ns: int) -> bool:
        core = self._core
        target, core.transfer_target = core.transfer_target, NO_NODE
        valid = super().is_valid(now_ns)
        core.transfer_target = target
        return valid


def plant(node: Node) -> None:
    """All replicas of a node keep their lease while they hand over."""

    def plant_in_replica(replica: Replica) -> None:
        plant_in(replica.group)
        become(replica.lease, _Lease)

    in_replicas(node, plant_in_replica)
