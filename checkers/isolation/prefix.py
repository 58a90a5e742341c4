"""Prefix consistency: every transaction reads a prefix of one order of all commits.

Who reads what one transaction wrote, and not yet what another wrote, saw a prefix that ends between the two. So where
the order of versions is known, the history is prefix consistent exactly if no cycle is made of ww, of wr, and of wr
followed by rw (Cerone, Gotsman and Yang, Algebraic Laws for Weak Consistency, CONCUR 2017). Each transaction is two
nodes here, and rw leads on only from the one that wr leads to.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from checkers.isolation.cycles import Cycle
from checkers.isolation.dependencies import FREE, RW, WR, Dependencies
from checkers.isolation.orders import find_cycles, make_order, sort_topologically

PREFIX: Final = "prefix"
"""The name of the level."""


def prefix_cycle(transactions: int, dependencies: Dependencies) -> Cycle | None:
    """A short cycle that prefix consistency forbids; None if there is none. O(dependencies)."""
    nodes = dependencies.nodes
    source = np.repeat(np.arange(nodes, dtype=np.int32), np.diff(dependencies.edge_first))
    target, kind = dependencies.target, dependencies.kind
    # Node n + nodes is n entered by wr; it may do what n may, and rw.
    only_read = kind == RW
    step_source = np.where(only_read, source + nodes, source)
    step_target = np.where(kind == WR, target + nodes, target)
    every = np.arange(nodes, dtype=np.int32)
    graph = make_order(
        2 * nodes,
        np.concatenate([step_source, every + nodes]).astype(np.int32),
        np.concatenate([step_target, every]).astype(np.int32),
    )
    if len(sort_topologically(graph)) == graph.nodes:
        return None
    edges = [edge for edge in find_cycles(graph, 1)[0] if edge < len(source)]
    while source[edges[0]] >= transactions:  # Begin with an edge from a transaction.
        edges = [*edges[1:], edges[0]]
    members, kinds, vias = [], [], []
    for edge in edges:
        if source[edge] < transactions:
            members.append(int(source[edge]))
            kinds.append(int(kind[edge]))
            vias.append(int(dependencies.via[edge]))
        else:
            assert kind[edge] == FREE, f"an edge of kind {kind[edge]} leaves a node that is no transaction"
            vias[-1] = int(dependencies.via[edge])
    return Cycle(0, tuple(members), tuple(kinds), tuple(vias))
