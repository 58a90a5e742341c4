"""Strongly connected components of the graph of dependencies (a kernel: see `results/kernels.py`).

The order of sessions and that in real time are never written down as edges: they follow from two arrays. For real time
there is a node for each completion, in order; a transaction leads to its own, each leads to the next and to all
transactions that were invoked in between. So n transactions need n nodes and about 3 n edges, however many overlap.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

_OK = cython.declare(cython.int, 1)


def sort_edges(
    nodes: cython.Py_ssize_t,
    count: cython.Py_ssize_t,
    source: cython.int[:],
    target: cython.int[:],
    kind: cython.char[:],
    via: cython.int[:],
    edge_first: cython.longlong[:],
    edge_target: cython.int[:],
    edge_kind: cython.char[:],
    edge_via: cython.int[:],
) -> None:
    """Sorts edges by source: those of node v become `edge_first[v] : edge_first[v + 1]`."""
    i: cython.Py_ssize_t
    place: cython.longlong
    for i in range(count):
        edge_first[source[i] + 1] += 1
    for i in range(nodes):
        edge_first[i + 1] += edge_first[i]
    for i in range(count):
        place = edge_first[source[i]]
        edge_first[source[i]] = place + 1
        edge_target[place] = target[i]
        edge_kind[place] = kind[i]
        edge_via[place] = via[i]
    for i in range(nodes, 0, -1):
        edge_first[i] = edge_first[i - 1]
    edge_first[0] = 0


def components(
    transactions: cython.int,
    nodes: cython.int,
    edge_first: cython.longlong[:],
    edge_target: cython.int[:],
    successor: cython.int[:],
    rank: cython.int[:],
    invoked_first: cython.int[:],
    completions: cython.int,
    visited: cython.int[:],
    low: cython.int[:],
    waiting: cython.int[:],
    path: cython.int[:],
    next_edge: cython.longlong[:],
    component: cython.int[:],
) -> int:
    """Numbers the components of two or more transactions (Tarjan 1972, without recursion); returns how many.

    `component[v]` becomes the number of v's, -1 for those alone. `rank[t]` is the place of t's completion among all,
    -1 if it has none; `invoked_first[i]` the first transaction that was invoked after the i-th completion, with one
    more entry at the end. `successor[t]` is the next transaction of the session, -1 if there is none; real time is
    left out where `completions` is 0. `visited` starts with 0, the other arrays may hold anything.
    """
    if not cython.compiled and _is_acyclic(
        transactions, nodes, edge_first, edge_target, successor, rank, invoked_first, completions
    ):
        component[:] = [-1] * len(component)
        return 0
    total: cython.int = nodes + completions
    root: cython.int
    v: cython.int
    w: cython.int
    depth: cython.int
    on_stack: cython.int = 0
    clock: cython.int = 0
    found: cython.int = 0
    e: cython.longlong
    end: cython.longlong
    i: cython.int
    size: cython.int
    # A visited node has its time of discovery, from 1 on; one whose component is complete has -1.
    for root in range(transactions):
        if visited[root] != 0:
            continue
        if edge_first[root] == edge_first[root + 1] and (completions == 0 and successor[root] < 0):
            visited[root] = -1
            component[root] = -1
            continue
        depth = 0
        path[0] = root
        clock += 1
        visited[root] = clock
        low[root] = clock
        waiting[on_stack] = root
        on_stack += 1
        next_edge[root] = edge_first[root] if root < nodes else 0
        while depth >= 0:
            v = path[depth]
            e = next_edge[v]
            w = -1
            if v < nodes:
                end = edge_first[v + 1]
                if e < end:
                    w = edge_target[e]
                    next_edge[v] = e + 1
                elif e == end and v < transactions:
                    next_edge[v] = e + 1
                    if completions > 0:
                        if rank[v] >= 0:
                            w = nodes + rank[v]
                    elif successor[v] >= 0:
                        w = successor[v]
                    if w < 0:
                        continue
            else:
                i = v - nodes
                if e == 0:
                    next_edge[v] = invoked_first[i] + 1
                    if i + 1 < completions:
                        w = v + 1
                    else:
                        continue
                elif e - 1 < invoked_first[i + 1]:
                    w = e - 1
                    next_edge[v] = e + 1
            if w >= 0:
                if visited[w] == 0:
                    depth += 1
                    path[depth] = w
                    clock += 1
                    visited[w] = clock
                    low[w] = clock
                    waiting[on_stack] = w
                    on_stack += 1
                    next_edge[w] = edge_first[w] if w < nodes else 0
                elif visited[w] > 0 and visited[w] < low[v]:
                    low[v] = visited[w]
                continue
            depth -= 1
            if depth >= 0 and low[v] < low[path[depth]]:
                low[path[depth]] = low[v]
            if low[v] == visited[v]:
                size = 0
                i = on_stack
                while True:
                    i -= 1
                    w = waiting[i]
                    if w < transactions:
                        size += 1
                    if w == v:
                        break
                while on_stack > i:
                    on_stack -= 1
                    w = waiting[on_stack]
                    visited[w] = -1
                    component[w] = found if size > 1 else -1
                if size > 1:
                    found += 1
    for v in range(transactions, total):
        if visited[v] == 0:
            component[v] = -1
    return found


def _is_acyclic(
    transactions, nodes, edge_first, edge_target, successor, rank, invoked_first, completions
) -> bool:
    """Whether the nodes can be put in order, each after those that lead to it (Kahn 1962): for lists of Python, where
    that is the case for most histories and takes a third of the time of finding components."""
    before = [0] * nodes
    for u in edge_target[: edge_first[nodes]]:
        before[u] += 1
    if not completions:
        for u in successor:
            if u >= 0:
                before[u] += 1
    is_over = [False] * (completions + 1)
    completed = left = 0
    released = invoked_first[0] if completions else transactions
    ready = [t for t in (*range(released), *range(transactions, nodes)) if not before[t]]
    for v in ready:  # Grows meanwhile.
        left += 1
        for u in edge_target[edge_first[v] : edge_first[v + 1]]:
            before[u] -= 1
            if not before[u] and (u < released or u >= transactions):
                ready.append(u)
        if v >= transactions:
            continue
        if not completions:
            u = successor[v]
            if u >= 0:
                before[u] -= 1
                if not before[u]:
                    ready.append(u)
        elif rank[v] >= 0:
            is_over[rank[v]] = True
            if rank[v] == completed:
                while is_over[completed]:
                    completed += 1
                invoked = invoked_first[completed]
                ready += [t for t in range(released, invoked) if not before[t]]
                released = invoked
    return left == nodes
