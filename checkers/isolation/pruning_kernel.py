"""Which of the known orders of chains say everything: the others follow (a kernel: see `results/kernels.py`)."""

# mypy: ignore-errors

from __future__ import annotations

import cython

KNOWN = cython.declare(cython.int, 1)
COVERS = cython.declare(cython.int, 2)


def mark_covers(
    keys: cython.longlong[:],
    size_of: cython.longlong[:],
    offset: cython.longlong[:],
    before: cython.uchar[:],
    rank: cython.int[:],
    count: cython.int[:],
    by_rank: cython.int[:],
    covered: cython.int[:],
) -> None:
    """Marks in `before` the pairs of chains with no chain known to be between them, for each of `keys`.

    Key k has `size_of[k]` chains, and `before[offset[k] + a * size_of[k] + b]` is not 0 if its chain a is known to
    come before its chain b. Such an entry becomes 2 if nothing comes between; so do all of a key whose known orders
    make a cycle, or cannot be ranked by how many come before each. The rest are scratch arrays, as long as the most
    chains of a key (`count` one more), and of any content.
    """
    i: cython.Py_ssize_t
    a: cython.Py_ssize_t
    b: cython.Py_ssize_t
    c: cython.Py_ssize_t
    p: cython.Py_ssize_t
    n: cython.Py_ssize_t
    base: cython.longlong
    consistent: cython.bint
    for i in range(keys.shape[0]):
        n = size_of[keys[i]]
        base = offset[keys[i]]
        for b in range(n):
            rank[b] = 0
            covered[b] = -1
            count[b] = 0
        count[n] = 0
        for a in range(n):
            for b in range(n):
                if before[base + a * n + b]:
                    rank[b] += 1
        consistent = True
        for a in range(n):
            for b in range(n):
                if before[base + a * n + b] and rank[a] >= rank[b]:
                    consistent = False
        if not consistent:
            for p in range(base, base + n * n):
                if before[p]:
                    before[p] = COVERS
            continue
        for b in range(n):
            count[rank[b] + 1] += 1
        for p in range(n):
            count[p + 1] += count[p]
        for b in range(n):
            by_rank[count[rank[b]]] = b
            count[rank[b]] += 1
        for b in range(n):
            # From the latest on: one that no later one covers has nothing in between.
            for p in range(n - 1, -1, -1):
                a = by_rank[p]
                if not before[base + a * n + b]:
                    continue
                if covered[a] == b:
                    before[base + a * n + b] = KNOWN
                    continue
                before[base + a * n + b] = COVERS
                for c in range(n):
                    if before[base + c * n + a]:
                        covered[c] = b
