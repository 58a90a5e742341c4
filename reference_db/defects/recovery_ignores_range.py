"""Whoever recovers a transaction that may be committed looks for its intents in all of its ranges but one.

A coordinator that died when it had asked one of several ranges leaves a record, and intents in that range only. Who
does not look into the others commits half of a transaction. Of the class of cockroach#75601 and cockroach#38117, the
other way round.
"""

from __future__ import annotations

import msgspec

from reference_db.api import RangeReply, RecordState, Transaction
from reference_db.gateway.cutting import group_keys
from reference_db.node import Node

LAYER = "transaction"
ROUTES = ("I", "H", "A")
WORKLOAD = "bank"
NEMESIS = "coordinator:first-intents-sent"
SCENARIO = {"ranges": 4, "concurrency": "20"}
SYSTEM_OPTIONS = {"protocol": "record", "parallel_commit": True}


def plant(node: Node) -> None:
    """Override where this node looks for the intents that others have left."""
    recover = node.pusher.recover

    async def recover_in_haste(holder: Transaction, state: RecordState, deadline: float) -> RangeReply:
        *groups, last = group_keys(state.keys, node.router.directory)
        keys = tuple([key for group in groups for key in group] or last)
        return await recover(holder, msgspec.structs.replace(state, keys=keys), deadline)

    node.pusher.recover = recover_in_haste  # type: ignore[method-assign]
