"""Graphs of what must come before what: their topological order, or short cycles if there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from checkers.isolation import components_kernel, order_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

STARTS: Final = 64
"""Nodes of a component from which a cycle is looked for; the shortest is taken."""
MOST_LOOKED_AT: Final = 20_000_000
"""Edges that a search for one cycle looks at, at most."""


@dataclass(frozen=True)
class Order:
    """A graph with n nodes and m edges, sorted by source; edges keep the numbers that they came with."""

    nodes: int
    first: NDArray[np.int64]
    """[n + 1] first edge of each node."""
    target: NDArray[np.int32]
    """[m] where each edge leads."""
    edge: NDArray[np.int64]
    """[m] its number as it was given."""


def make_order(nodes: int, source: NDArray[np.int32], target: NDArray[np.int32]) -> Order:
    """The graph of the edges `source[i] -> target[i]`."""
    edge = np.argsort(source, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=nodes))]).astype(np.int64)
    return Order(nodes, first, np.ascontiguousarray(target[edge], dtype=np.int32), edge)


def sort_topologically(graph: Order) -> NDArray[np.int32]:
    """The nodes, each after its predecessors; only some of them if there is a cycle. O(n + m)."""
    degree = np.bincount(graph.target, minlength=graph.nodes).astype(np.int32)
    order = np.empty(graph.nodes, dtype=np.int32)
    return order[: order_kernel.sort_topologically(graph.first, graph.target, degree, order)]


def sort_by_rank(graph: Order, rank: NDArray[np.int64]) -> NDArray[np.int32]:
    """As `sort_topologically`; of the nodes that may come next, the one of the lowest rank does. O((n + m) log n)."""
    by_rank = np.argsort(rank, kind="stable").astype(np.int32)
    place = np.empty(graph.nodes, dtype=np.int64)
    place[by_rank] = np.arange(graph.nodes)
    degree = np.bincount(graph.target, minlength=graph.nodes).astype(np.int32)
    order = np.empty(graph.nodes, dtype=np.int32)
    return order[: order_kernel.sort_by_rank(graph.first, graph.target, degree, by_rank, place, order)]


def is_acyclic(nodes: int, source: NDArray[np.int32], target: NDArray[np.int32]) -> bool:
    """Whether the edges `source[i] -> target[i]` make no cycle."""
    return len(sort_topologically(make_order(nodes, source, target))) == nodes


def find_components(graph: Order) -> tuple[int, NDArray[np.int32]]:
    """How many strongly connected components of two or more nodes there are, and which one each node belongs to, -1
    for none. O(n + m)."""
    nodes = graph.nodes
    nobody = np.full(nodes, -1, dtype=np.int32)
    visited, low, stack, path, component = np.zeros((5, nodes), dtype=np.int32)
    next_edge = np.zeros(nodes, dtype=np.int64)
    count = components_kernel.components(
        nodes,
        nodes,
        graph.first,
        graph.target,
        nobody,
        nobody,
        np.array([nodes], dtype=np.int32),
        0,
        visited,
        low,
        stack,
        path,
        next_edge,
        component,
    )
    return count, component


def find_cycles(graph: Order, most: int, *, starts: int = STARTS) -> list[list[int]]:
    """A short cycle of each of the `most` smallest components that have one, as the numbers of its edges.

    Of a component with up to `starts` nodes it is a shortest cycle; of larger ones a shortest of those through
    some of its nodes. The shortest cycles come first.
    """
    return sorted(
        (min(cycles, key=len) for cycles in find_cycles_of_components(graph, most, starts)), key=len
    )


def find_cycles_of_components(graph: Order, most: int, starts: int) -> list[list[list[int]]]:
    """Of each of the `most` smallest components that have cycles, shortest cycles through up to `starts` nodes."""
    count, component = find_components(graph)
    loops = np.repeat(np.arange(graph.nodes, dtype=np.int32), np.diff(graph.first)) == graph.target
    alone = np.unique(graph.target[loops])
    alone = alone[component[alone] < 0]
    component[alone] = np.arange(count, count + len(alone))  # An edge from a node to itself is a cycle, too.
    cyclic = np.argsort(np.bincount(component[component >= 0]), kind="stable")[:most]
    ways = Ways(graph, component)
    found = []
    for number in cyclic:
        members = np.flatnonzero(component == number)
        chosen = members[:: max(1, len(members) // starts)][:starts]
        cycles = [cycle for node in chosen if (cycle := ways.find(int(node), int(node)))]
        if not cycles:  # Every search got too long; one that may look at all edges does not.
            cycles = [ways.find(int(members[0]), int(members[0]), most=len(graph.target))]
        assert cycles[0], f"component {number} of {len(members)} nodes has no cycle through {members[0]}"
        found.append(cycles)
    return found


class Ways:
    """Shortest ways in a graph, inside its components if `component` tells them."""

    def __init__(self, graph: Order, component: NDArray[np.int32] | None = None) -> None:
        self._graph = graph
        self._component = np.zeros(graph.nodes, dtype=np.int32) if component is None else component
        self._came_by = np.empty(graph.nodes, dtype=np.int64)
        self._came_from = np.empty(graph.nodes, dtype=np.int32)
        self._stamp = np.full(graph.nodes, -1, dtype=np.int32)
        self._queue = np.empty(graph.nodes + 1, dtype=np.int32)
        self._turn = 0

    def find(self, start: int, goal: int, most: int | None = None) -> list[int]:
        """The numbers of the edges of a shortest way; none if more edges were looked at than `MOST_LOOKED_AT`, or
        `most`."""
        self._turn += 1
        length = order_kernel.find_way(
            self._graph.first,
            self._graph.target,
            self._component,
            start,
            goal,
            MOST_LOOKED_AT if most is None else most,
            self._came_by,
            self._came_from,
            self._stamp,
            self._turn,
            self._queue,
        )
        edges = []
        node = goal
        for _ in range(length):
            edges.append(int(self._graph.edge[self._came_by[node]]))
            node = int(self._came_from[node])
        return edges[::-1]

    def reached(self, start: int) -> NDArray[np.bool_]:
        """[nodes] where ways from `start` lead, itself included."""
        self.find(start, -1, most=len(self._graph.target))
        reached: NDArray[np.bool_] = self._stamp == self._turn
        return reached
