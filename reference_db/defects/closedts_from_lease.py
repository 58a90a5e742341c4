"""A new leader counts the moment of its election as closed, though it has not applied all that was committed before.

That nobody writes below the start of a leadership is true only once its first entry is applied: until then what earlier
leaders have committed may stand above what this one knows, at timestamps below. A follower read at such a timestamp is
contradicted later. CockroachDB has twice taken the start of a lease for closed (cockroach#62570, #50265).
"""

from __future__ import annotations

from reference_db.defects import become
from reference_db.node import Node
from reference_db.ranges.closed_timestamps import Closed, ClosedTimestamps, Closings

LAYER = "follower read"
ROUTES = ("I", "H")
WORKLOAD = "stale"
NEMESIS = "partition:leader,kill@leader"


class _Closed(ClosedTimestamps):
    __slots__ = ()

    def tick(self) -> dict[str, Closings]:
        said = super().tick()
        for node, question in self._questions.items():
            for range_id in sorted(question.ranges):
                replica = self.replicas.get(range_id)
                if replica is None or not replica.group.is_leader or replica.leadership is not None:
                    continue
                generation, index = replica.descriptor.generation, replica.applied_index
                closed = Closed(range_id, generation, self.clock.now(), index, question.token)
                if node == self.node:
                    self._learn(closed)
                else:
                    before = said.get(node, Closings())
                    said[node] = Closings(
                        before.probe, before.echo, before.token, before.asked, (*before.closed, closed)
                    )
        return said


def plant(node: Node) -> None:
    """A node's closed timestamps."""
    become(node.store.closed, _Closed)
