"""Cycles of dependencies: sought in every component, the worst kinds first, and named after what they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.isolation import cycles_kernel
from checkers.isolation.arrays import Arrays
from checkers.isolation.dependencies import ANY_RW, BY_PROCESS, BY_REALTIME, DERIVED, WR, Dependencies, Orders
from checkers.isolation.lattice import CYCLES, VARIANTS

PATIENCE: Final = 1_000_000
"""Edges that may be looked at for a shorter cycle of one kind in one component, beyond some passes over it."""


@dataclass(frozen=True)
class Cycle:
    """Transactions each of which came before the next, and the last before the first."""

    component: int
    transactions: tuple[int, ...]
    kinds: tuple[int, ...]
    """The kind of the edge that leads from each transaction to the next."""
    vias: tuple[int, ...]
    """The micro-operation of the next transaction that shows the edge; -1 for sessions and real time."""
    is_indirect: bool = False
    """Whether orders of versions follow only if there is a serial order that agrees with real time."""

    @property
    def name(self) -> str:
        """What such a cycle is called (see `lattice`).

        Where the order of two versions was derived from that of a session, or from real time, either the cycle is
        there, or the versions are in the opposite order, which makes a cycle of another kind with the order that it
        was derived from: one with a single rw at best. So less is claimed: never more than that.
        """
        kinds = self.kinds
        anti = sum(kind in ANY_RW for kind in kinds)
        if anti == 0:
            name = "G1c" if WR in kinds else "G0"
            if any(kind in DERIVED for kind in kinds):
                name = "G-single-item"
        elif anti == 1:
            name = "G-single-item"
        elif any(kind in ANY_RW and kinds[place - 1] in ANY_RW for place, kind in enumerate(kinds)):
            name = "G2-item"
        else:
            name = "G-nonadjacent-item"
        if self.is_indirect:
            return "G2-item-realtime"
        if any(kind in BY_REALTIME for kind in kinds):
            return f"{name}-realtime"
        return f"{name}-process" if any(kind in BY_PROCESS for kind in kinds) else name


@dataclass(frozen=True)
class Undecided:
    """A kind of cycle of which it was not found out whether a component has one; None if nothing was sought at all."""

    component: int
    size: int
    """Transactions of the component."""
    name: str | None


@dataclass(frozen=True)
class Found:
    """The cycles of a graph, one of each kind for each component, and what was not decided."""

    components: int
    sizes: list[int]
    """Transactions of each component."""
    cycles: list[Cycle]
    undecided: list[Undecided]

    @property
    def largest(self) -> int:
        """Transactions of the largest component."""
        return max(self.sizes, default=0)


def find_cycles(
    transactions: int,
    dependencies: Dependencies,
    orders: Orders,
    count: int,
    component: NDArray[np.int32],
    enough: Callable[[], bool] = lambda: False,
    kernel: Any = cycles_kernel,
    patience: int = PATIENCE,
) -> Found:
    """One of the shortest cycles of each kind in each of the `count` components, but for kinds that one which was
    found implies. When `enough` says so, the components that are left are given up."""
    if count == 0:
        return Found(0, [], [], [])
    arrays = Arrays(kernel)
    nodes = np.flatnonzero(component >= 0)
    members = nodes[np.argsort(component[nodes], kind="stable")].astype(np.int32)
    member_first = np.concatenate(([0], np.cumsum(np.bincount(component[nodes], minlength=count))))
    ended = orders.by_end[component[orders.by_end] >= 0]
    ended = ended[np.argsort(component[ended], kind="stable")]
    ended_first = np.concatenate(([0], np.cumsum(np.bincount(component[ended], minlength=count))))
    sizes = np.bincount(component[nodes[nodes < transactions]], minlength=count)
    most = int((np.diff(member_first) + np.diff(ended_first)).max())
    most_edges = len(dependencies.target) + 4 * len(members) + 2 * len(ended)
    graph = {
        "edge_first": arrays.given(dependencies.edge_first),
        "edge_target": arrays.given(dependencies.target),
        "edge_kind": arrays.given(dependencies.kind),
        "edge_via": arrays.given(dependencies.via),
        "component": arrays.given(component),
        "session": arrays.given(orders.session),
        "rank": arrays.given(orders.rank),
        "invoked_first": arrays.given(orders.invoked_first),
    }
    scratch = {
        "local": arrays.zeros(dependencies.nodes, np.int32),
        "last_of_session": arrays.zeros(orders.sessions, np.int32, -1),
        "first": arrays.zeros(most + 1, np.int64),
        "target": arrays.room(most_edges, np.int32),
        "bit": arrays.room(most_edges, np.int32),
        "via": arrays.room(most_edges, np.int32),
        "names": arrays.zeros(most, np.int32),
        "reach": arrays.zeros(most, np.uint64),
    }
    for name in ("visited", "low", "stack", "path", "sub", "whole", "parent", "stamp"):
        scratch[name] = arrays.zeros(2 * most + 2, np.int32)
    for name in ("next_edge", "parent_edge"):
        scratch[name] = arrays.zeros(2 * most + 2, np.int64)
    search = kernel.Cycles(graph, scratch, patience)
    given_members, given_ended = arrays.given(members), arrays.given(ended)
    first, first_ended = member_first.tolist(), ended_first.tolist()
    given_up: list[Undecided] = []
    for number in range(count):
        if number % 64 == 0 and enough():
            given_up = [Undecided(left, int(sizes[left]), None) for left in range(number, count)]
            break
        search.search(
            number,
            given_members,
            first[number],
            first[number + 1],
            given_ended,
            first_ended[number],
            first_ended[number + 1],
            transactions,
        )
    found, undecided = search.results()
    return Found(
        components=count,
        sizes=sizes.tolist(),
        cycles=[Cycle(*cycle) for cycle in found],
        undecided=[
            Undecided(number, int(sizes[number]), CYCLES[kind] + VARIANTS[variant])
            for number, kind, variant in undecided
        ]
        + given_up,
    )
