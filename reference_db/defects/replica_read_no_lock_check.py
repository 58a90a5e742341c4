"""A replica answers a bounded read without looking at intents, which may be committed below its timestamp already.

What a transaction has committed is a version only when its intent is resolved; until then whoever passes the intent
reads what was before it, and of a transaction over several keys one half. TiKV's reads from replicas skipped the locks
that are in memory only (tikv#12109).
"""

from __future__ import annotations

from reference_db.api import Get, RangeReply, Scan
from reference_db.defects import become
from reference_db.gateway.chosen_reads import ChosenReads
from reference_db.node import Node
from reference_db.ranges.applied_reads import read_values
from reference_db.ranges.descriptor import Descriptor
from reference_db.timestamp import Timestamp

LAYER = "follower read"
ROUTES = ("H",)
WORKLOAD = "bank"
NEMESIS = "none"
SCENARIO = {"workload_options": {"reads": "bounded"}}


class _Reads(ChosenReads):
    def _read(
        self, descriptor: Descriptor, operations: tuple[Get | Scan, ...], timestamp: Timestamp | None
    ) -> RangeReply | None:
        replica = self._store.replicas[descriptor.id]
        if replica.descriptor.generation != descriptor.generation:
            return None
        return RangeReply(0, read_values(operations, replica.state, timestamp))


def plant(node: Node) -> None:
    """A node's reads of several keys."""
    become(node.chosen_reads, _Reads)
