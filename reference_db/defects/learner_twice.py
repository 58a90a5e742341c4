"""A learner that becomes a voter stays a learner in the descriptor: one node counts as two replicas of a range.

1. n4 takes n1's place in range 7, and the descriptor names it as replica and as learner. 2. The range seems to be
moving for ever, so it is never split, merged or moved again; its leader drops the learner that nobody asks about, and
with it the voter. Redpanda and TiKV forbid two replicas of one range on a node: who is counted twice is lost
twice.
"""

from __future__ import annotations

import msgspec

from reference_db.defects import in_replicas
from reference_db.node import Node
from reference_db.ranges.descriptor import Descriptor
from reference_db.ranges.replica import Replica

LAYER = "move"
ROUTES = ("I", "L")
WORKLOAD = "register"
NEMESIS = "move"
NODES = 5
SEEDS = ()


def plant(node: Node) -> None:
    """Override what a replica becomes by the step that makes a voter."""

    def plant_in(replica: Replica) -> None:
        become = replica._become

        def become_with_learner(descriptor: Descriptor) -> None:
            promoted = [one for one in replica.descriptor.learners if one in descriptor.replicas]
            learners = (*descriptor.learners, *promoted)
            become(msgspec.structs.replace(descriptor, learners=learners))

        replica._become = become_with_learner  # type: ignore[method-assign]

    in_replicas(node, plant_in)
