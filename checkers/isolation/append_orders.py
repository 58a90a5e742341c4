"""Is there an order of the appends that nobody observed which consistent view, or parallel snapshot isolation, allows?

Both are about one relation, *happened before*: what ww and wr lead to. It must not go in a circle, and nobody who did
not observe an append may come after it (no cycle with exactly one rw). That is no question of one order of all
transactions, since cycles with several rw are fine, so polygraphs do not decide it. Here each pair of appends is put in
the one order that is left, where the other would break the rule; what then is still open is tried, pair by pair.

Sets of transactions are integers, a bit for each; an order of a pair adds an edge, and each edge is followed to all who
come before and after it. With n transactions that is O(n²) bits, and O(n) operations on such sets an edge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from checkers.checker import Deadline
from checkers.isolation.commit_order import UNOBSERVED, committed
from checkers.isolation.dependencies import RW, WW
from checkers.isolation.list_versions import ListVersions
from results.transactions import APPEND

Pair = tuple[int, int]
"""Two appends to one key, by their micro-operations: the first came before the second."""


@dataclass(frozen=True)
class Impossible:
    """Why there is no order: two appends neither of which can come first, each with the cycle that it would close."""

    first: int
    second: int
    cycles: tuple[list[tuple[int, int, int, int]], list[tuple[int, int, int, int]]] | None
    """Edges `(source, target, kind, via)` of the cycles of `first` before `second` and of the opposite; None if more
    pairs than this one were tried, and none of the orders of all is allowed."""


class OpenOrders:
    """The appends of a history that nobody observed, and what happened before what."""

    def __init__(self, versions: ListVersions) -> None:
        self._versions = versions
        dependencies = versions.dependencies
        self._nodes = dependencies.nodes
        self._source = np.repeat(np.arange(self._nodes, dtype=np.int32), np.diff(dependencies.edge_first))
        self.pairs = self._pairs()

    @staticmethod
    def size_bytes(nodes: int) -> int:
        """What the sets of so many nodes take at the most."""
        return 3 * nodes * (nodes // 8 + 64)

    def _pairs(self) -> list[Pair]:
        """The last appends of transactions to one key that nobody observed, two by two."""
        versions, transactions = self._versions, self._versions.transactions
        appends = np.flatnonzero(
            (transactions.kind == APPEND)
            & (versions.position == UNOBSERVED)
            & committed(versions)[versions.owner]
        )
        of_key: dict[int, dict[int, int]] = {}
        for append, key, owner in zip(
            appends.tolist(),
            transactions.key[appends].tolist(),
            versions.owner[appends].tolist(),
            strict=True,
        ):
            of_key.setdefault(key, {})[owner] = append
        return [pair for mine in of_key.values() for pair in combinations(mine.values(), 2)]

    def decide(self, deadline: Deadline) -> Impossible | bool | None:
        """True: some order is allowed. `Impossible`: none is. None: the time was over before that was known."""
        owner = self._versions.owner
        state = _Happened(self._nodes, self._edges())
        if not state.holds:
            return None  # What is wrong without any order is not for this page.
        added: list[Pair] = []
        wrong = self._follow(state, list(self.pairs), added, deadline)
        if wrong is not None:
            first, second = wrong
            cycles = tuple(
                self._cycle(added, int(owner[before]), int(owner[after]), after)
                for before, after in ((first, second), (second, first))
            )
            return Impossible(first, second, (cycles[0], cycles[1]))
        return self._search(state, deadline)

    def _follow(
        self, state: _Happened, pairs: list[Pair], added: list[Pair], deadline: Deadline
    ) -> Pair | None:
        """Adds every order that is the only one left, until nothing follows any more; a pair that has none."""
        owner = self._versions.owner
        changed = True
        while changed and not deadline.expired():
            changed = False
            for pair in pairs:
                first, second = int(owner[pair[0]]), int(owner[pair[1]])
                if state.knows(first, second):
                    # What happened before in another way: the same order of the appends adds nothing.
                    continue
                forwards, backwards = state.allows(first, second), state.allows(second, first)
                if not forwards and not backwards:
                    return pair
                if forwards != backwards:
                    state.add(*((first, second) if forwards else (second, first)))
                    added.append(pair if forwards else (pair[1], pair[0]))
                    changed = True
        return None

    def _search(self, state: _Happened, deadline: Deadline) -> Impossible | bool | None:
        """Tries the orders of pairs that are open, depth first; with each, what follows from it."""
        owner = self._versions.owner
        stack: list[tuple[_Happened, int]] = [(state, 0)]
        last: Pair | None = None
        while stack:
            if deadline.expired():
                return None
            state, at = stack.pop()
            while at < len(self.pairs) and state.knows(*(int(owner[one]) for one in self.pairs[at])):
                at += 1
            if at == len(self.pairs):
                return True
            last = open_ = self.pairs[at]
            first, second = int(owner[open_[0]]), int(owner[open_[1]])
            # The order in which they were over is tried first.
            end = self._versions.transactions.end
            if end[first] > end[second]:
                first, second = second, first
            for before, after in ((second, first), (first, second)):
                if state.allows(before, after):
                    tried = state.copy()
                    tried.add(before, after)
                    if self._follow(tried, self.pairs[at:], [], deadline) is None:
                        stack.append((tried, at))
        assert last is not None, "a search that found nothing has tried something"
        return Impossible(*last, None)

    def _edges(self) -> Iterator[tuple[int, int, bool]]:
        """Source, target, and whether it is an rw."""
        dependencies = self._versions.dependencies
        is_rw = (dependencies.kind == RW).tolist()
        return zip(self._source.tolist(), dependencies.target.tolist(), is_rw, strict=True)

    def _cycle(
        self, added: list[Pair], before: int, after: int, append: int
    ) -> list[tuple[int, int, int, int]]:
        """A shortest cycle with at most one rw that the order `before`, `after` closes, the order itself first."""
        owner = self._versions.owner
        dependencies = self._versions.dependencies
        leaving: dict[int, list[tuple[int, int, int]]] = {}
        columns = (self._source, dependencies.target, dependencies.kind, dependencies.via)
        for source, target, kind, via in zip(*(column.tolist() for column in columns), strict=True):
            leaving.setdefault(source, []).append((target, kind, via))
        for first, second in added:
            leaving.setdefault(int(owner[first]), []).append((int(owner[second]), WW, second))
        reached: dict[tuple[int, int], tuple[tuple[int, int], int, int] | None] = {(after, 0): None}
        queue = deque([(after, 0)])
        while queue:
            node, rws = queue.popleft()
            if node == before:
                edges = [(before, after, WW, append)]
                at: tuple[int, int] = (node, rws)
                back = []
                while (step := reached[at]) is not None:
                    back.append((step[0][0], at[0], step[1], step[2]))
                    at = step[0]
                return edges + back[::-1]
            for target, kind, via in leaving.get(node, ()):
                place = (target, rws + (kind == RW))
                if place[1] <= 1 and place not in reached:
                    reached[place] = ((node, rws), kind, via)
                    queue.append(place)
        raise AssertionError(f"nothing speaks against transaction {before} before {after}")


class _Happened:
    """What happened before what, as sets, and what must not."""

    __slots__ = ("_after", "_before", "_forbidden", "holds")

    def __init__(self, nodes: int, edges: Iterator[tuple[int, int, bool]]) -> None:
        self._before = [1 << node for node in range(nodes)]
        """Of each node, those before it, itself included."""
        self._after = [1 << node for node in range(nodes)]
        self._forbidden = [1 << node for node in range(nodes)]
        """Of each node, those that must not be after it: they have overlooked something before it, or are before it."""
        self.holds = True
        ordered = []
        for source, target, is_rw in edges:
            if is_rw:
                self._forbidden[target] |= 1 << source
            else:
                ordered.append((source, target))
        self._close(nodes, ordered)

    def _close(self, nodes: int, ordered: list[tuple[int, int]]) -> None:
        """Follows the first edges, node by node in a topological order."""
        leaving: list[list[int]] = [[] for _ in range(nodes)]
        missing = [0] * nodes
        for source, target in ordered:
            leaving[source].append(target)
            missing[target] += 1
        ready = [node for node in range(nodes) if not missing[node]]
        order = []
        while ready:
            node = ready.pop()
            order.append(node)
            for target in leaving[node]:
                self._before[target] |= self._before[node]
                self._forbidden[target] |= self._forbidden[node]
                missing[target] -= 1
                if not missing[target]:
                    ready.append(target)
        self.holds = len(order) == nodes
        for node in reversed(order):
            for target in leaving[node]:
                self._after[node] |= self._after[target]
        self.holds &= not any(
            self._forbidden[node] & self._after[node] & ~(1 << node) for node in range(nodes)
        )

    def copy(self) -> _Happened:
        """Another one, to go on with."""
        made = object.__new__(_Happened)
        made._before, made._after = list(self._before), list(self._after)
        made._forbidden, made.holds = list(self._forbidden), self.holds
        return made

    def knows(self, one: int, other: int) -> bool:
        """Whether one of the two is known to have happened before the other."""
        return bool(self._before[other] >> one & 1 or self._before[one] >> other & 1)

    def allows(self, first: int, second: int) -> bool:
        """Whether the first may happen before the second."""
        return not self._forbidden[first] & self._after[second]

    def add(self, first: int, second: int) -> None:
        """The first happened before the second."""
        before, after = self._before[first], self._after[second]
        forbidden = self._forbidden[first]
        for node in _members(before):
            self._after[node] |= after
        for node in _members(after):
            self._before[node] |= before
            self._forbidden[node] |= forbidden


def _members(of: int) -> Iterator[int]:
    while of:
        lowest = of & -of
        yield lowest.bit_length() - 1
        of ^= lowest
