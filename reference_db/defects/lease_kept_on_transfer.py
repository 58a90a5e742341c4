"""A leader that has told another one to take over goes on serving reads by its lease.

Who is told to campaign at once is elected without regard to the lease, so from then on it proves nothing. Seen in
etcd-io/raft#99; TiKV has a lease state of its own, *suspect*, for this moment.

The database confirms its leaders by rounds of heartbeats and offers no leases, so only the directed schedule shows it.
"""

from __future__ import annotations

from reference_db.defects import become, in_groups
from reference_db.node import Node
from reference_db.raft import Message, MessageKind, RaftGroup
from reference_db.raft.core import RaftCore

LAYER = "lease"
ROUTES = ("I", "H")
WORKLOAD = "register"
NEMESIS = "partition:leader"
DIRECTED = "lease_kept_on_transfer"
REACHABLE = False


class _Core(RaftCore):
    __slots__ = ()

    def send(self, message: Message) -> None:
        super().send(message)
        if message.kind == MessageKind.TIMEOUT_NOW:
            self.lease_broken = False


def plant_in(group: RaftGroup) -> None:
    """One group keeps its lease while it hands over."""
    become(group.core, _Core)


def plant(node: Node) -> None:
    """All groups of a node keep their lease while they hand over."""
    in_groups(node, plant_in)
