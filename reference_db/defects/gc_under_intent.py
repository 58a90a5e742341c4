"""A collection takes an intent for a version: what it stands on counts as hidden, and goes.

If the intent's transaction is aborted, the key has lost its value; until then who may pass the intent finds nothing.
TiKV resolves all locks below its safe point before it collects, for this reason.
"""

from __future__ import annotations

from collections.abc import Callable

from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.storage.mvcc import Mvcc, Unseen
from reference_db.timestamp import Timestamp

LAYER = "transaction"
ROUTES = ("I", "H")
WORKLOAD = "bank"
NEMESIS = "coordinator"
SCENARIO = {"concurrency": "20", "workload_options": {"accounts": 6}}
SYSTEM_OPTIONS = {"gc_ttl_ms": 20}
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override what this node's replicas take for hidden."""
    in_replicas(node, count_intents)


def count_intents(replica: Replica) -> None:
    """Override what a replica takes for hidden."""
    state = replica.state

    class CountsIntents(Mvcc):
        """Versions, as one sees them who takes intents for versions."""

        __slots__ = ()

        def unseen(
            self,
            start: bytes,
            end: bytes | None,
            threshold: Timestamp,
            most: int,
            *,
            keep: Callable[[bytes], bool] = lambda _key: False,
        ) -> Unseen:
            """Also the newest version beneath each intent."""
            found = super().unseen(start, end, threshold, most, keep=keep)
            hidden = []
            for key, _ in state.locks.in_span(start, end):
                version = self.get(key, threshold)
                if version is not None:
                    hidden.append((key, version.timestamp))
            return Unseen((*found.versions, *hidden), found.resume)

    become(state.mvcc, CountsIntents)
