"""Which orders of two chains are impossible, because the opposite follows from what is known.

If the first of two chains cannot come before the second without closing a cycle, the second comes first, and that is
known from then on; round by round until nothing new follows (Cobra, OSDI 2020; PolySI, VLDB 2023). Reachability is
kept as a row of bits for each node. If neither of two chains can come first, the history is refuted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from checkers.checker import Deadline
from checkers.isolation import pruning_kernel
from checkers.isolation.budget import OutOfBudgetError
from checkers.isolation.orders import is_acyclic, make_order, sort_topologically
from checkers.isolation.polygraph import Edges, Polygraph, join

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK: Final = 1 << 20
"""Edges of choices that are looked at together."""


@dataclass(frozen=True)
class Choices:
    """Pairs of chains of a key whose order is open: by the first version of each."""

    one: NDArray[np.int32]
    other: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.one)


@dataclass(frozen=True)
class Pruned:
    """What is known after all rounds."""

    edges: Edges
    """The edges that were known, then those that followed; these are sorted by round."""
    round: NDArray[np.int32]
    """[edges] in which round each came to be known; 0 for what was known before."""
    cause: NDArray[np.int64]
    """[edges] the decided choice that each comes from; -1 for what was known before."""
    decided: Choices
    """The choices that followed, `one` before `other`, sorted by round."""
    open: Choices
    """What is left."""
    refuted: tuple[int, int] | None
    """Two chains of which neither can come first, by their first versions."""
    reach: Reachability | None
    """By the edges; None if the history is refuted: by two chains, or by a cycle of the edges."""


class Reachability:
    """Which nodes can be reached from which; a node from itself, too. Columns only for nodes of transactions."""

    def __init__(self, nodes: int, columns: int, edges: Edges, deadline: Deadline) -> None:
        graph = make_order(nodes, edges.source, edges.target)
        order = sort_topologically(graph)
        assert len(order) == nodes, f"{nodes - len(order)} nodes lie on cycles, so nothing can be pruned"
        self._words = (columns + 63) >> 6
        self._bits = np.zeros((nodes, self._words), dtype=np.uint64)
        every = np.arange(columns)
        self._bits[every, every >> 6] = np.uint64(1) << (every & 63).astype(np.uint64)
        first, target, bits = graph.first.tolist(), graph.target, self._bits
        for position, node in enumerate(reversed(order.tolist())):
            begin, end = first[node], first[node + 1]
            if end > begin + 1:
                bits[node] |= np.bitwise_or.reduce(bits[target[begin:end]], axis=0)
            elif end > begin:
                bits[node] |= bits[target[begin]]
            if not position & 1023 and deadline.expired():
                raise OutOfBudgetError(
                    "the time allowed ran out while finding what can be reached from where"
                )

    @staticmethod
    def size_bytes(nodes: int, columns: int) -> int:
        return nodes * ((columns + 63) >> 6) * 8

    def reaches(self, source: NDArray[np.int32], target: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether there is a way from `source[i]` to `target[i]`, a node of a transaction."""
        bit = self._bits[source, target >> 6] >> (target & 63).astype(np.uint64)
        reached: NDArray[np.bool_] = (bit & np.uint64(1)).astype(np.bool_)
        return reached


def all_choices(graph: Polygraph, most: int) -> Choices:
    """Every pair of chains of one key, except those of initial versions; at most so many."""
    versions = graph.versions
    keys = len(versions.key) - versions.written
    sizes = np.bincount(versions.key[versions.heads], minlength=keys).astype(np.int64)
    count = int((sizes * (sizes - 1) // 2).sum())
    if count > most:
        raise OutOfBudgetError(
            f"{count} pairs of versions have no known order, and the memory allowed is enough for {most}; allow more, "
            "use more keys, or let transactions read what they write"
        )
    begins = np.cumsum(sizes) - sizes
    one, other = [], []
    for size in np.unique(sizes[sizes > 1]).tolist():
        row, column = np.triu_indices(size, 1)
        start = begins[sizes == size]
        one.append((start[:, None] + row).ravel().astype(np.int32))
        other.append((start[:, None] + column).ravel().astype(np.int32))
    if not one:
        return Choices(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32))
    heads = versions.heads.astype(np.int32)
    return Choices(heads[np.concatenate(one)], heads[np.concatenate(other)])


def prune(graph: Polygraph, choices: Choices, deadline: Deadline) -> Pruned:
    """Decides all choices that follow. The known edges must make no cycle."""
    edges = graph.known
    rounds = np.zeros(len(edges), dtype=np.int32)
    cause = np.full(len(edges), -1, dtype=np.int64)
    none = np.empty(0, dtype=np.int32)
    decided = Choices(none, none)
    orders = _Orders(graph)
    number = 0
    while True:
        number += 1
        reach = Reachability(graph.nodes, graph.helpers, edges, deadline)
        if not len(choices):
            return Pruned(edges, rounds, cause, decided, choices, None, reach)
        not_first = _impossible(graph, reach, choices.one, choices.other, deadline)
        not_last = _impossible(graph, reach, choices.other, choices.one, deadline)
        both = np.flatnonzero(not_first & not_last)
        if len(both):
            refuted = int(choices.one[both[0]]), int(choices.other[both[0]])
            return Pruned(edges, rounds, cause, decided, choices, refuted, None)
        if not not_first.any() and not not_last.any():
            return Pruned(edges, rounds, cause, decided, choices, None, reach)
        follows = Choices(
            np.concatenate([choices.one[not_last], choices.other[not_first]]),
            np.concatenate([choices.other[not_last], choices.one[not_first]]),
        )
        covers = np.flatnonzero(orders.add(follows))
        fresh, which = graph.following(graph.versions.tail[follows.one[covers]], follows.other[covers])
        which = covers[which]
        unknown = ~reach.reaches(fresh.source, fresh.target)
        fresh = fresh.only(unknown)
        edges = join([edges, fresh])
        rounds = np.concatenate([rounds, np.full(len(fresh), number, dtype=np.int32)])
        cause = np.concatenate([cause, len(decided) + which[unknown]])
        decided = Choices(
            np.concatenate([decided.one, follows.one]), np.concatenate([decided.other, follows.other])
        )
        left = ~(not_first | not_last)
        choices = Choices(choices.one[left], choices.other[left])
        if not is_acyclic(graph.nodes, edges.source, edges.target):
            return Pruned(edges, rounds, cause, decided, choices, None, None)
        del reach  # Before the next is made: each may take half of the memory.


class _Orders:
    """The known orders of the chains of each key, as matrices; so that only those are made edges that do not follow
    from others of the same key."""

    def __init__(self, graph: Polygraph) -> None:
        versions = graph.versions
        keys = len(versions.key) - versions.written
        self._size = np.bincount(versions.key[versions.heads], minlength=keys).astype(np.int64)
        self._offset = np.concatenate([[0], np.cumsum(self._size**2)]).astype(np.int64)
        self._before = np.zeros(int(self._offset[-1]), dtype=np.uint8)
        self._key = versions.key
        self._place = np.zeros(len(versions.key), dtype=np.int64)
        begins = np.cumsum(self._size) - self._size
        self._place[versions.heads] = np.arange(len(versions.heads)) - begins[versions.key[versions.heads]]
        most = int(self._size.max(initial=0)) + 1
        self._scratch = [np.empty(most, dtype=np.int32) for _ in range(4)]

    def add(self, follows: Choices) -> NDArray[np.bool_]:
        """Takes what is known now; answers of which pairs the order does not follow from the others."""
        key = self._key[follows.one]
        at = self._offset[key] + self._place[follows.one] * self._size[key] + self._place[follows.other]
        self._before[at] = 1
        pruning_kernel.mark_covers(
            np.unique(key).astype(np.int64), self._size, self._offset, self._before, *self._scratch
        )
        covers: NDArray[np.bool_] = self._before[at] == 2
        return covers


def _impossible(
    graph: Polygraph,
    reach: Reachability,
    earlier: NDArray[np.int32],
    later: NDArray[np.int32],
    deadline: Deadline,
) -> NDArray[np.bool_]:
    """Which of the chains `earlier[i]` cannot come before `later[i]`: some edge of that closes a cycle."""
    impossible = np.zeros(len(earlier), dtype=np.bool_)
    tails = graph.versions.tail[earlier]
    sizes = graph.versions.readers_first[tails + 1] - graph.versions.readers_first[tails] + 1
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(earlier):
        done = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + CHUNK, side="right")))
        edges, which = graph.following(tails[begin:end], later[begin:end])
        closes = reach.reaches(edges.target, edges.source)
        impossible[begin + which[closes]] = True
        begin = end
        if deadline.expired():
            raise OutOfBudgetError("the time allowed ran out while deciding which versions came first")
    return impossible
