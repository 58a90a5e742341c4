"""Whoever is kept waiting by a transaction whose locks are its commit rolls it back, and does not look for the locks.

All of them may stand, and its client have heard of the commit: what was acknowledged is lost. TiKV's recovery of async
commits must check every secondary lock before it touches the primary, for this reason.
"""

from __future__ import annotations

from reference_db.api import RangeReply, RecordState, RecoverTransaction, Transaction, TransactionProtocol
from reference_db.defects import become
from reference_db.gateway.pusher import Pusher
from reference_db.node import Node

LAYER = "transaction"
ROUTES = ("H", "A")
WORKLOAD = "bank"
NEMESIS = "coordinator:acknowledged"
SCENARIO = {"concurrency": "20", "workload_options": {"accounts": 6, "read_share": 0.2}}
"""Somebody meets its locks when its client has heard of the commit, and its primary never does."""
SYSTEM_OPTIONS = {"protocol": "primary-lock", "async_commit": True}


class HastyPusher(Pusher):
    """Looks for nothing."""

    async def recover(self, holder: Transaction, state: RecordState, deadline: float) -> RangeReply:
        """Rolled back."""
        if holder.protocol != TransactionProtocol.PRIMARY_LOCK:
            return await super().recover(holder, state, deadline)
        decide = RecoverTransaction(holder, state.commit_timestamp, committed=False)
        return await self._router.send((decide,), deadline, repeatable=True)


def plant(node: Node) -> None:
    """Override how this node's pusher recovers."""
    become(node.pusher, HastyPusher)
