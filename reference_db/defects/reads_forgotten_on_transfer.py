"""A new leader's timestamp cache begins empty, and knows nothing of what was read under earlier leaders.

1. T begins at 5. 2. A reader finds a key as it is at 9. 3. Another node begins to lead its range. 4. T writes the key
and commits at 5: what was read has changed afterwards. In CockroachDB a new leaseholder's cache begins at the start of
its lease, or with what its predecessor hands over.
"""

from __future__ import annotations

from reference_db.defects import in_replicas, when_leading
from reference_db.node import Node
from reference_db.timestamp import ZERO
from reference_db.txn.evaluate import Leadership
from reference_db.txn.reads import TimestampCache

LAYER = "transaction"
ROUTES = ("I",)
"""Clients hardly see it: who wrote late may mostly as well have come later."""
WORKLOAD = "bank"
NEMESIS = "kill@leader"
SCENARIO = {"ranges": 1, "rate": 200.0, "concurrency": "20", "intensity": 3.0}
"""Over several ranges the caches of those that were not handed over make up for it; and a leader that hands over still
tells a writer to come later."""
SYSTEM_OPTIONS = {"protocol": "record"}


def plant(node: Node) -> None:
    """Override what this node's replicas know of reads when they begin to lead."""
    in_replicas(node, lambda replica: when_leading(replica, _forget))


def _forget(leadership: Leadership) -> None:
    leadership.reads = TimestampCache(ZERO)
