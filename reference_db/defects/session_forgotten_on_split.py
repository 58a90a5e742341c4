"""The right half of a split begins without what the whole range remembered of sessions.

A write whose reply was lost, and that is sent again after the split, is carried out a second time. The class of
CockroachDB's cockroach#139140, in which a split's or merge's new range lacked a part of the replicated state.
"""

from __future__ import annotations

from reference_db.node import Node
from reference_db.ranges.split import SplitOff
from reference_db.storage import keys
from reference_db.storage.engine import WriteBatch

LAYER = "split"
ROUTES = ("I", "H")
WORKLOAD = "counter"
NEMESIS = "split:often,partition,pause"
SYSTEM_OPTIONS = {"sessions": True, "timeout_ms": 500}
SCENARIO = {"ranges": 1}
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override what this node writes for a new range."""
    write = node.store._write_right

    def write_and_forget(origin: SplitOff, batch: WriteBatch) -> None:
        write(origin, batch)
        batch.delete_range(*keys.span(keys.REPLY, origin.right.start, origin.right.end))

    node.store._write_right = write_and_forget  # type: ignore[method-assign]
