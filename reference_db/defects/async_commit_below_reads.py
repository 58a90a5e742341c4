"""A lock that is a commit says that it may commit right above its start, whatever was read since.

1. T begins at 5. 2. A reader reads its key at 9 and finds the old value. 3. T lays its locks and commits at 6: what the
reader saw at 9 has changed, and a second look at its snapshot shows it. In TiKV the concurrency manager's max_ts keeps
async commits above all reads.
"""

from __future__ import annotations

from reference_db.defects import become, in_replicas, when_leading
from reference_db.node import Node
from reference_db.ranges.replica import Replica
from reference_db.timestamp import Timestamp
from reference_db.txn.reads import TimestampCache

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "bank"
NEMESIS = ""
SCENARIO = {"concurrency": "20", "workload_options": {"accounts": 6}}
SYSTEM_OPTIONS = {"protocol": "primary-lock", "async_commit": True}


class Forgetful(TimestampCache):
    """Knows of no reads where a transaction asks."""

    __slots__ = ()

    def write_timestamp(
        self, key: bytes, at_least: Timestamp, transaction_id: bytes | None = None
    ) -> Timestamp:
        """As low as it may be."""
        if transaction_id is not None:
            return at_least
        return super().write_timestamp(key, at_least, transaction_id)


def plant(node: Node) -> None:
    """Override what this node's replicas remember of reads when they begin to lead."""
    in_replicas(node, forget_reads)


def forget_reads(replica: Replica) -> None:
    """Override what a replica remembers of reads when it begins to lead."""
    when_leading(replica, lambda leadership: become(leadership.reads, Forgetful))
