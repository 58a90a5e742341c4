"""Orders of a graph, and short cycles where there is none (a kernel: see `results/kernels.py`).

A graph of n nodes is given by `first` (n + 1 entries) and `target`: node v has the edges `first[v] : first[v + 1]`.
"""

# mypy: ignore-errors

from __future__ import annotations

from heapq import heappop, heappush

import cython


def sort_topologically(
    first: cython.longlong[:],
    target: cython.int[:],
    degree: cython.int[:],
    order: cython.int[:],
) -> int:
    """Fills `order` with nodes, each after its predecessors, and answers how many: fewer than n if there is a cycle.

    `degree` holds the number of edges into each node, and is used up. Of nodes that may come next, the one that
    became free first does. The nodes that are left lie on cycles or behind them.
    """
    done: cython.Py_ssize_t = 0
    free: cython.Py_ssize_t = 0
    v: cython.Py_ssize_t
    w: cython.int
    e: cython.longlong
    for v in range(degree.shape[0]):
        if degree[v] == 0:
            order[free] = v
            free += 1
    while done < free:
        v = order[done]
        done += 1
        for e in range(first[v], first[v + 1]):
            w = target[e]
            degree[w] -= 1
            if degree[w] == 0:
                order[free] = w
                free += 1
    return done


def sort_by_rank(
    first: cython.longlong[:],
    target: cython.int[:],
    degree: cython.int[:],
    by_rank: cython.int[:],
    place: cython.longlong[:],
    order: cython.int[:],
) -> int:
    """As `sort_topologically`, but of the nodes that may come next the one that `by_rank` has first comes first.

    `place` says where each node is in `by_rank`.
    """
    done: cython.Py_ssize_t = 0
    v: cython.Py_ssize_t
    w: cython.int
    e: cython.longlong
    free: list = [v for v in range(degree.shape[0]) if degree[by_rank[v]] == 0]
    while free:
        v = by_rank[heappop(free)]
        order[done] = v
        done += 1
        for e in range(first[v], first[v + 1]):
            w = target[e]
            degree[w] -= 1
            if degree[w] == 0:
                heappush(free, int(place[w]))
    return done


def find_way(
    first: cython.longlong[:],
    target: cython.int[:],
    component: cython.int[:],
    start: cython.int,
    goal: cython.int,
    most: cython.longlong,
    came_by: cython.longlong[:],
    came_from: cython.int[:],
    stamp: cython.int[:],
    turn: cython.int,
    queue: cython.int[:],
) -> int:
    """A shortest way from `start` to `goal` inside the component of `start`, by breadth-first search.

    Answers its length in edges, 0 if there is none within `most` edges looked at. The way stands backwards in
    `came_by` (edges) and `came_from` (nodes), from the goal on. If start is goal, it is a cycle. `stamp` tells which
    nodes were seen in which `turn`.
    """
    head: cython.Py_ssize_t = 0
    tail: cython.Py_ssize_t = 1
    v: cython.int
    w: cython.int
    length: cython.int
    e: cython.longlong
    looked_at: cython.longlong = 0
    queue[0] = start
    if start != goal:
        stamp[start] = turn
    while head < tail:
        v = queue[head]
        head += 1
        for e in range(first[v], first[v + 1]):
            w = target[e]
            if stamp[w] == turn or component[w] != component[start]:
                continue
            stamp[w] = turn
            came_by[w] = e
            came_from[w] = v
            if w == goal:
                length = 1
                while came_from[w] != start:
                    w = came_from[w]
                    length += 1
                return length
            queue[tail] = w
            tail += 1
        looked_at += first[v + 1] - first[v]
        if looked_at > most:
            return 0
    return 0
