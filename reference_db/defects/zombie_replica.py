"""A node does not know any more that a replica was removed from it: whoever asks brings it back, with an empty log.

1. n2 leaves a range, and forgets the log that it had acknowledged. 2. n3 was cut off, and has not heard of that: it
campaigns, and asks n2. 3. n2 takes part as if it had never been there, and grants its vote: two of three members elect
a leader without what was committed. Removed replicas that were created again were seen in tikv#5852 and #11457.
"""

from __future__ import annotations

from reference_db.node import Node
from reference_db.ranges.tombstones import Tombstone

LAYER = "move"
ROUTES = ("I",)
WORKLOAD = "register"
NEMESIS = "move,partition"
NODES = 5
SEEDS = ()


def plant(node: Node) -> None:
    """Override what this node finds when it looks for a tombstone."""
    find = node.store._tombstone

    def find_only_merged(range_id: int) -> Tombstone | None:
        found = find(range_id)
        return None if found is not None and found.descriptor else found

    node.store._tombstone = find_only_merged  # type: ignore[method-assign]
