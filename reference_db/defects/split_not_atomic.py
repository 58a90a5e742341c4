"""A split writes what is left of the range in one batch, and the new range in a later one.

A crash in between leaves keys that no range of the node holds. The others bring such a replica back by a snapshot, but
where a majority has crashed nobody is left who knows the range. Seen in cockroach#20939, found by Jepsen.
"""

from __future__ import annotations

from reference_db.node import Node
from reference_db.ranges.split import SplitOff
from reference_db.storage.engine import WriteBatch

LAYER = "split"
ROUTES = ("I", "L")
WORKLOAD = "register"
NEMESIS = "split:often"
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override when this node writes a new range."""
    store = node.store
    write, begin, tick = store._write_right, store._begin_right, store.tick
    late: list[SplitOff] = []

    def write_later(origin: SplitOff, batch: WriteBatch) -> None:
        """Not yet."""

    def tick_and_write() -> None:
        origins, late[:] = late[:], []
        for origin in origins:
            batch = WriteBatch()
            write(origin, batch)
            store._engine.write(batch)
            begin(origin)
        tick()

    store._write_right = write_later  # type: ignore[method-assign]
    store._begin_right = late.append  # type: ignore[method-assign,assignment]
    store.tick = tick_and_write  # type: ignore[method-assign]
