"""A replica says that it is frozen for a merge before that is durable.

1. The right range's entry that freezes it is applied on n3, and n3 says so. 2. n3 loses power before its sync. 3. The
left range absorbs the right one, since everybody has said that all is there; n3 comes back with a replica that can
still be led, and lacks what the others have. Why a node's word for a merge follows the sync, like an acknowledgement.
"""

from __future__ import annotations

from reference_db.api import RangeReply, RangeRequest, Reshaped
from reference_db.node import Node
from reference_db.ranges.descriptor import Descriptor, encode_descriptor
from reference_db.ranges.replica import Done

LAYER = "merge"
ROUTES = ("I",)
"""It takes a power loss within the one sync between the two to do harm."""
WORKLOAD = "register"
NEMESIS = "merge:often,split:often"
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override how this node's store tells those who wait for a replica to be frozen."""
    take_frozen = node.store._take_frozen

    def tell_at_once() -> list[tuple[RangeRequest, Done, Descriptor]]:
        for request, done, descriptor in take_frozen():
            done(RangeReply(request.request_id, (Reshaped((encode_descriptor(descriptor),)),)))
        return []

    node.store._take_frozen = tell_at_once  # type: ignore[method-assign]
