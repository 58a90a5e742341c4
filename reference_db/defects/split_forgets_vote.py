"""A split's first state of the new range replaces what an earlier replica of it had promised, its vote among it.

1. A node is asked for its vote in a range that it does not know yet, because it has not applied the split, and votes.
2. It applies the split: term and vote start anew. 3. It votes again in the same term, for another. Why CockroachDB and
TiKV take the later of both hard states.
"""

from __future__ import annotations

from reference_db.node import Node
from reference_db.raft import HardState
from reference_db.ranges.split import SplitOff, write_right
from reference_db.storage.engine import WriteBatch

LAYER = "split"
ROUTES = ("I",)
WORKLOAD = "register"
NEMESIS = "split"
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override what this node writes for a new range."""
    write = node.store._write_right

    def write_and_forget(origin: SplitOff, batch: WriteBatch) -> None:
        write(origin, batch)
        write_right(batch, origin.right, origin.conf_state, HardState())

    node.store._write_right = write_and_forget  # type: ignore[method-assign]
