"""Protocol primary-lock: a rollback leaves no record behind, so a prewrite that comes late revives the transaction.

1. T's secondary is met before its primary is locked, and an older transaction needs the key. 2. T is rolled back: there
is no primary lock to remove, and no rollback record is written. 3. The primary's lock arrives, and T commits without
the secondary. Seen in TiKV (tikv#921); `late-prewrite` is the same mistake in protocol `record`.
"""

from __future__ import annotations

from functools import partial

import msgspec

from reference_db.api import TransactionProtocol, TransactionStatus
from reference_db.defects import in_replicas
from reference_db.defects.late_prewrite import forget_aborts
from reference_db.node import Node
from reference_db.ranges.replica import Replica, Work
from reference_db.txn.command import Mutation, PutRecord

LAYER = "transaction"
ROUTES = ("I", "H", "A")
WORKLOAD = "bank"
NEMESIS = "packet"
SCENARIO = {"concurrency": "20", "workload_options": {"accounts": 5, "read_share": 0.2}}
SYSTEM_OPTIONS = {"protocol": "primary-lock"}
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override what this node's replicas write when they roll back, and what they remember of it."""
    in_replicas(node, _plant_in)


def _plant_in(replica: Replica) -> None:
    forget_aborts(replica)
    replica._propose = partial(_propose, replica._propose)  # type: ignore[method-assign]


def _propose(propose: object, works: list[Work]) -> None:
    assert callable(propose)
    for work in works:
        command = work.command
        if command is not None and any(map(_is_rollback, command.mutations)):
            left = tuple(one for one in command.mutations if not _is_rollback(one))
            work.command = msgspec.structs.replace(command, mutations=left)
    propose(works)


def _is_rollback(mutation: Mutation) -> bool:
    return (
        isinstance(mutation, PutRecord)
        and mutation.record.status == TransactionStatus.ABORTED
        and mutation.record.transaction.protocol == TransactionProtocol.PRIMARY_LOCK
    )
