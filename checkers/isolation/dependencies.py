"""Dependencies between transactions as a graph, and the components of it that hold all its cycles.

An edge says that its source came before its target, and why (Adya 1999): the target overwrote what the source wrote
(ww), read it (wr), or wrote what the source did not see yet (rw). The order of sessions, and that in real time, are
added when components are sought; they need no edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.isolation import components_kernel
from checkers.isolation.arrays import Arrays
from results.transactions import FOREVER, Transactions

WW: Final = 0
WR: Final = 1
RW: Final = 2
PROCESS: Final = 3
REALTIME: Final = 4
FREE: Final = 5
"""Of edges that continue the edge before, from nodes that are no transactions."""
WW_BY_PROCESS: Final = 6
RW_BY_PROCESS: Final = 7
WW_BY_REALTIME: Final = 8
RW_BY_REALTIME: Final = 9
"""Of edges whose order of versions is not known but derived, from the order of a session or from real time."""
KINDS: Final = ("ww", "wr", "rw", "process", "realtime", "", "ww", "rw", "ww", "rw")
"""How the kinds of edges are called, by number."""
ANY_RW: Final = (RW, RW_BY_PROCESS, RW_BY_REALTIME)
BY_PROCESS: Final = (PROCESS, WW_BY_PROCESS, RW_BY_PROCESS)
BY_REALTIME: Final = (REALTIME, WW_BY_REALTIME, RW_BY_REALTIME)
DERIVED: Final = (WW_BY_PROCESS, RW_BY_PROCESS, WW_BY_REALTIME, RW_BY_REALTIME)


@dataclass(frozen=True)
class Dependencies:
    """The graph, its edges sorted by source. Nodes from the number of transactions on only pass edges on."""

    nodes: int
    edge_first: NDArray[np.int64]
    """[nodes + 1] first edge of each node."""
    target: NDArray[np.int32]
    kind: NDArray[np.int8]
    """`WW`, `WR`, `RW`, or `FREE`."""
    via: NDArray[np.int32]
    """The micro-operation of the target that shows the dependency; of edges into nodes that are no transactions, one
    of the source."""


def sorted_dependencies(
    nodes: int,
    source: NDArray[np.int32],
    target: NDArray[np.int32],
    kind: NDArray[np.int8],
    via: NDArray[np.int32],
    kernel: Any = components_kernel,
) -> Dependencies:
    """The graph of these edges."""
    arrays = Arrays(kernel)
    if not arrays.compiled:
        # Sorting in place of counting: NumPy is faster than an interpreted loop.
        by_source = np.argsort(source, kind="stable")
        edge_first = np.concatenate(([0], np.cumsum(np.bincount(source, minlength=nodes))))
        return Dependencies(nodes, edge_first, target[by_source], kind[by_source], via[by_source])
    count = len(source)
    edge_first = np.zeros(nodes + 1, np.int64)
    sorted_target, sorted_kind = np.empty(count, np.int32), np.empty(count, np.int8)
    sorted_via = np.empty(count, np.int32)
    kernel.sort_edges(
        nodes, count, source, target, kind, via, edge_first, sorted_target, sorted_kind, sorted_via
    )
    return Dependencies(nodes, edge_first, sorted_target, sorted_kind, sorted_via)


@dataclass(frozen=True)
class Orders:
    """What is known about the order of transactions apart from their dependencies."""

    successor: NDArray[np.int32]
    """[n] the next transaction of the same session; -1 if there is none."""
    rank: NDArray[np.int32]
    """[n] of transactions that are known to have committed, the place of their completion among all; else -1."""
    by_end: NDArray[np.int32]
    """These transactions in the order of their completions; empty where real time is not known."""
    invoked_first: NDArray[np.int32]
    """[len(by_end) + 1] the first transaction invoked after each completion; then the number of transactions."""
    session: NDArray[np.int32]
    """[n] the number of the session, from 0."""
    sessions: int


def orders(transactions: Transactions) -> Orders:
    """The order of sessions and that in real time. Only what is known to have committed precedes anything."""
    count = len(transactions)
    ok = transactions.outcome == 1
    session = transactions.process
    if count and (session.min() < 0 or session.max() > 2 * count):
        session = np.unique(session, return_inverse=True)[1].astype(np.int32)
    sessions = int(session.max(initial=-1)) + 1
    by_session = np.argsort(session, kind="stable").astype(np.int32)
    following = np.full(count, -1, np.int32)
    # Of failed transactions nothing follows, and they follow nothing: the session goes on past them.
    counted = by_session[(transactions.outcome != 2)[by_session]]
    same = session[counted[:-1]] == session[counted[1:]]
    following[counted[:-1][same]] = counted[1:][same]
    rank = np.full(count, -1, np.int32)
    by_end = np.empty(0, np.int32)
    if transactions.has_real_time:
        end = transactions.end
        committed = np.flatnonzero(ok & (end < FOREVER)).astype(np.int32)
        by_end = committed[np.argsort(end[committed], kind="stable")]
        rank[by_end] = np.arange(len(by_end), dtype=np.int32)
        invoked = np.searchsorted(transactions.start, end[by_end], side="right")
    else:
        invoked = np.empty(0, np.int64)
    return Orders(
        successor=following,
        rank=rank,
        by_end=by_end,
        invoked_first=np.append(invoked, count).astype(np.int32),
        session=session,
        sessions=sessions,
    )


def components(
    transactions: Transactions, dependencies: Dependencies, order: Orders, kernel: Any = components_kernel
) -> tuple[int, NDArray[np.int32]]:
    """How many strongly connected components of two or more transactions there are, and which one each node belongs
    to, -1 for none. Dependencies count, and real time, or where it is not known the order of sessions."""
    arrays = Arrays(kernel)
    completions = len(order.by_end)
    total = dependencies.nodes + completions
    component = arrays.zeros(total, np.int32)
    found = kernel.components(
        len(transactions),
        dependencies.nodes,
        arrays.given(dependencies.edge_first),
        arrays.given(dependencies.target),
        arrays.given(order.successor),
        arrays.given(order.rank),
        arrays.given(order.invoked_first),
        completions,
        arrays.zeros(total, np.int32),
        arrays.zeros(total, np.int32),
        arrays.zeros(total, np.int32),
        arrays.zeros(total, np.int32),
        arrays.zeros(total, np.int64),
        component,
    )
    return found, arrays.taken(component, np.int32)[: dependencies.nodes]
