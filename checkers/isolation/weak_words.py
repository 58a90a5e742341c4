"""Why a commit order cannot be: the violations of weak levels in words."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkers.isolation.naming import Names, events_of_all, show_seen, show_value
from checkers.isolation.orders import make_order
from checkers.isolation.reads_from import ReadsFrom
from results.verdict import Anomaly

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Edges:
    """What must come before what: edges between transactions, numbered through."""

    source: NDArray[np.int32]
    target: NDArray[np.int32]
    read: NDArray[np.int64]
    """The read (its number in `ReadsFrom`) that an edge comes from; -1 for the order of a session."""
    demanded_from: int
    """Edges from this number on are demanded by the level; those before it are the sessions' and the reads'."""


class Explainer:
    """Explains what the edges of one history prove."""

    def __init__(self, found: ReadsFrom, edges: Edges) -> None:
        self._found = found
        self._edges = edges
        self._transactions = found.transactions
        known = slice(0, edges.demanded_from)
        self._into = make_order(found.initial, edges.target[known], edges.source[known])
        """What happened directly before each transaction."""

    def late(self, edge: int, type_: str) -> Anomaly:
        """A read of the initial state by a transaction that must have seen a write: an edge to the initial state."""
        names = Names(self._transactions)
        return self._anomaly(type_, self._demanded(edge, names), names, int(self._edges.read[edge]))

    def cycle(self, cycle: Sequence[int], type_: str) -> Anomaly:
        """A cycle of edges, each with its reason, a demanded one first. One without any is Adya's G1c, possibly with
        sessions; `type_` is what others are called."""
        demanded_from = self._edges.demanded_from
        start = next((at for at, edge in enumerate(cycle) if edge >= demanded_from), 0)
        cycle = [*cycle[start:], *cycle[:start]]
        names = Names(self._transactions)
        reasons = [self._reason(edge, names) for edge in cycle]
        turning = f"; but {reasons[-1]}" if len(reasons) > 1 else ""
        sentence = "; ".join(reasons[: max(1, len(reasons) - 1)]) + turning + ": no order of commits fits"
        reads = [int(self._edges.read[edge]) for edge in cycle if edge >= demanded_from]
        if not reads:
            type_ = "G1c-process" if any(self._edges.read[edge] < 0 for edge in cycle) else "G1c"
        return self._anomaly(type_, sentence, names, reads[0] if reads else -1)

    def _anomaly(self, type_: str, sentence: str, names: Names, read: int) -> Anomaly:
        return Anomaly(
            type_,
            sentence,
            events_of_all(self._transactions, names.mentioned),
            key=self._transactions.keys[self._found.read_key[read]] if read >= 0 else None,
            evidence={"transactions": names.table()},
        )

    def _reason(self, edge: int, names: Names) -> str:
        """Why the source of an edge comes before its target."""
        source, target = int(self._edges.source[edge]), int(self._edges.target[edge])
        if edge >= self._edges.demanded_from:
            because = self._demanded(edge, names)
            return f"{because}, so {names(source)} committed before {names(target)}"
        because = self._step(edge, names)
        return f"{because}, so {names(source)} committed before {names(target)}"

    def _step(self, edge: int, names: Names) -> str:
        """Why something happened before something else, in one step."""
        source, target = int(self._edges.source[edge]), int(self._edges.target[edge])
        if self._edges.read[edge] < 0:
            return f"{names(target)} came after {names(source)} in its session"
        return f"{names(target)} {self._seen(int(self._edges.read[edge]))} of {names(source)}"

    def _demanded(self, edge: int, names: Names) -> str:
        """What a demanded edge comes from: a reader that must have seen the edge's source, and read of its target."""
        found = self._found
        read = int(self._edges.read[edge])
        reader = int(found.roles.transaction[found.read_operation[read]])
        source, target = int(self._edges.source[edge]), int(self._edges.target[edge])
        begin, end = int(found.write_first[source]), int(found.write_first[source + 1])
        write = next(
            int(found.write_operation[at])
            for at in range(begin, end)
            if found.write_key[at] == found.read_key[read]
        )
        overlooked = show_value(self._transactions, int(found.roles.value[write]))
        sentence = f"{names(reader)} {self._seen(read)}"
        if target != found.initial:
            sentence += f" of {names(target)}"
        sentence += f" and not {overlooked} of {names(source)}, though "
        return sentence + " and ".join(self._step(step, names) for step in self._way(source, reader))

    def _way(self, source: int, reader: int) -> list[int]:
        """The shortest way of sessions and reads from a transaction to a later one; reads before sessions, and of
        several reads the earliest."""
        came_by: dict[int, int] = {}
        queue = deque([reader])
        into = self._into
        while queue:
            node = queue.popleft()
            steps = into.edge[into.first[node] : into.first[node + 1]].tolist()
            for edge in sorted(steps, key=lambda edge: (self._edges.read[edge] < 0, self._edges.read[edge])):
                before = int(self._edges.source[edge])
                if before in came_by or before == reader:
                    continue
                came_by[before] = edge
                if before == source:
                    way = []
                    while before != reader:
                        way.append(came_by[before])
                        before = int(self._edges.target[came_by[before]])
                    return way
                queue.append(before)
        raise AssertionError(f"transaction {source} did not happen before {reader}, which must have seen it")

    def _seen(self, read: int) -> str:
        return show_seen(self._found, int(self._found.read_operation[read]))
