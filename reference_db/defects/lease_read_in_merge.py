"""A leader goes on answering reads by its lease while its range is frozen for a merge.

The lease says that nobody else leads this range; but its keys may be another range's by now, whose leader has never
heard of that lease. Where the entry that absorbs the range is late, its last leader answers with the past. CockroachDB
stops serving when a range is subsumed, whatever its lease says, and hands the time of its last read on.
"""

from __future__ import annotations

from reference_db.api import Consistency
from reference_db.defects import become, in_replicas
from reference_db.node import Node
from reference_db.ranges.replica import Replica, Work
from reference_db.txn.evaluate import begin_read

LAYER = "merge"
ROUTES = ("I", "H")
WORKLOAD = "register"
NEMESIS = "merge:often,packet:slow"
SCENARIO = {"workload_options": {"reads": "lease"}}


class _Replica(Replica):
    __slots__ = ()

    def evaluate(self) -> None:
        if self.descriptor.merging is not None and self.group.is_leader and not self._changing_at:
            self._queue = [work for work in self._queue if not self._is_read_by_lease(work)]
        super().evaluate()

    def _is_read_by_lease(self, work: Work) -> bool:
        request = work.request
        if (
            request.consistency != Consistency.LEASE
            or request.transaction is not None
            or request.generation != self.descriptor.generation
            or work.guard is not None
            or self.leadership is None
        ):
            return False
        work.timestamp = begin_read(request, self.leadership, self._clock.now())
        return self._answer_by_lease(work)


def plant(node: Node) -> None:
    """All replicas of a node."""
    in_replicas(node, lambda replica: become(replica, _Replica))
