"""A range serves whoever asks, by whatever descriptor: also for keys that it has given up in a split.

1. A range is split. 2. A gateway that has not heard of it writes a key of the right half to the left one, which takes
it. 3. Others read the right half: the write is not there, or comes and goes. Seen in Dgraph (dgraph#4496).
"""

from __future__ import annotations

from functools import partial

import msgspec

from reference_db.api import CHANGES
from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.txn.state import RangeState

LAYER = "split"
ROUTES = ("I", "H", "A")
WORKLOAD = "register"
NEMESIS = "split:often"
SCENARIO = {"rate": 200.0}
SEEDS = (1, 3)


class _State(RangeState):
    __slots__ = ()

    def contains(self, key: bytes) -> bool:
        return True

    def contains_span(self, start: bytes, end: bytes | None) -> bool:
        return True


def plant(node: Node) -> None:
    """Override what this node's replicas refuse."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    become(replica.state, _State)
    replica.evaluate = partial(_evaluate, replica, replica.evaluate)  # type: ignore[method-assign]


def _evaluate(replica: Replica, evaluate: object) -> None:
    """Whatever generation a request was sent to, it is the present one."""
    assert callable(evaluate)
    generation = replica.descriptor.generation
    for work in replica._queue:
        if not isinstance(work.request.operations[0], CHANGES):
            work.request = msgspec.structs.replace(work.request, generation=generation)
    evaluate()
