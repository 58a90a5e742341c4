"""The node goes on as soon as it has asked its disk to sync, and doesn't wait until that is done.

Acknowledgements and votes leave before what they promise is durable. A node that loses its unsynced writes has
forgotten what a leader counted on; if a quorum does, acknowledged writes are gone. Seen in NATS 2.12.1 (Jepsen),
etcd#14370, yugabyte-db#32875 and cockroach#37102.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from reference_db.node import Node, SyncExecutor

LAYER = "storage"
ROUTES = ("I", "H")
WORKLOAD = "set"
NEMESIS = "disk:power-loss"
SEEDS = (1, 10)


class HastySync:
    """Says that a sync is done when it was asked for, and does it afterwards: one at a time."""

    def __init__(self, syncer: SyncExecutor) -> None:
        self._syncer = syncer
        self._is_running = False
        self._is_wanted = False

    def sync(self, done: Callable[[], None]) -> None:
        """See `SyncExecutor`."""
        asyncio.get_running_loop().call_soon(done)
        if self._is_running:
            self._is_wanted = True
            return
        self._is_running = True
        self._syncer.sync(self._synced)

    def _synced(self) -> None:
        self._is_running = False
        if self._is_wanted:
            self._is_wanted = False
            self._is_running = True
            self._syncer.sync(self._synced)


def plant(node: Node) -> None:
    """A node does not wait for its disk."""
    node._syncer = HastySync(node._syncer)
