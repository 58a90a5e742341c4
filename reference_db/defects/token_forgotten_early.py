"""A token is forgotten half a second after it was written, and not after ten minutes.

A client that lost an answer, waited, and asked again writes twice. The class of every deduplication window that is
shorter than the patience of those who retry.
"""

from __future__ import annotations

from reference_db.node import Node

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "transact-write"
NEMESIS = "none"


def plant(node: Node) -> None:
    """Override for how long this node's ranges remember tokens."""
    node.token_keeper._token_ns = 500_000_000
