"""A merge goes on as soon as the right range's leader has frozen it, without waiting for its other replicas.

Where the left range's entry is applied first, the right replica has not everything yet: what it lacks is lost on that
node. Why CockroachDB waits for every replica before it subsumes a range.
"""

from __future__ import annotations

from typing import Any

from reference_db.node import Node

LAYER = "merge"
ROUTES = ("I", "L", "A")
WORKLOAD = "register"
NEMESIS = "merge:often,partition"
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override how this node waits for replicas to freeze."""

    async def at_once(*_arguments: Any) -> bool:
        return True

    node.reshaper._all_frozen = at_once  # type: ignore[assignment,method-assign]
