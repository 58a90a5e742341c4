"""A replica that left a node takes its term and vote with it: the one that comes back begins as if it were the first.

1. n1 votes in term 7, and its replica is removed. 2. The range returns to n1, whose new replica has term 0. 3. A
request for a vote in term 7, long under way, arrives; n1 votes once more in that term. It is why etcd's raft wants ids
of members to be unique for all time, and CockroachDB and TiKV give each replica one of its own.
"""

from __future__ import annotations

from reference_db.node import Node
from reference_db.raft import HardState

LAYER = "move"
ROUTES = ("I",)
WORKLOAD = "register"
NEMESIS = "move"
NODES = 5
SEEDS = ()


def plant(node: Node) -> None:
    """Override what a replica that comes back to this node begins with."""
    begin = node.store._begin_unknown

    def begin_anew(range_id: int, hard_state: HardState) -> None:
        begin(range_id, HardState())

    node.store._begin_unknown = begin_anew  # type: ignore[method-assign]
