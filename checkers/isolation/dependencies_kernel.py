"""Dependencies between transactions, from the versions of their keys (a kernel: see `results/kernels.py`).

Transactions count if they are ok, or if nobody knows how they ended but something of them was observed. An edge has a
kind, and the micro-operation of its target that shows it (*via*). Where many readers of a version meet many writers of
the next one, whose order is not known, the edges go through chains of further nodes: into a chain by rw, from there on
by free edges.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

_READ = cython.declare(cython.int, 0)
_APPEND = cython.declare(cython.int, 1)
_WRITE = cython.declare(cython.int, 2)
_OK = cython.declare(cython.int, 1)
_FAIL = cython.declare(cython.int, 2)

_UNOBSERVED = cython.declare(cython.int, -1)
_IRREGULAR = cython.declare(cython.int, -2)

_WW = cython.declare(cython.int, 0)
_WR = cython.declare(cython.int, 1)
_RW = cython.declare(cython.int, 2)
_FREE = cython.declare(cython.int, 5)


@cython.final
@cython.cclass
class Edges:
    """Dependencies, as they are found: `[source, target, kind, via]` in four arrays (see `Arrays.room`)."""

    source: cython.int[:]
    target: cython.int[:]
    kind: cython.char[:]
    via: cython.int[:]
    count: cython.Py_ssize_t

    def __init__(self, source, target, kind, via):
        self.source = source
        self.target = target
        self.kind = kind
        self.via = via
        self.count = 0

    @cython.cfunc
    @cython.inline
    def add(self, source: cython.int, target: cython.int, kind: cython.int, via: cython.int) -> cython.void:
        if cython.compiled:
            self.source[self.count] = source
            self.target[self.count] = target
            self.kind[self.count] = kind
            self.via[self.count] = via
        else:
            self.source.append(source)
            self.target.append(target)
            self.kind.append(kind)
            self.via.append(via)
        self.count += 1

    def found(self) -> int:
        """How many there are."""
        return self.count


@cython.cfunc
def _each_before_each(
    edges: Edges,
    nodes: cython.int,
    owner: cython.int[:],
    readers: cython.int[:],
    n_readers: cython.int,
    writes: cython.int[:],
    n_writes: cython.int,
) -> cython.int:
    """Puts the transaction of each of the reads before that of each of the writes, by rw, but none before itself;
    returns the number of nodes. Both are in the order of their transactions, and no transaction has two writes."""
    i: cython.int
    j: cython.int
    t: cython.int
    u: cython.int
    own: cython.int
    forward: cython.int
    if n_writes == 0 or n_readers == 0:
        return nodes
    if n_writes * cython.cast(cython.longlong, n_readers) <= 3 * (n_writes + n_readers):
        for i in range(n_readers):
            for j in range(n_writes):
                t = owner[readers[i]]
                u = owner[writes[j]]
                if t != u:
                    edges.add(t, u, _RW, writes[j])
        return nodes
    # Node `forward + j` leads to the j-th write and all after it, `forward + n_writes + j` to it and all before.
    forward = nodes
    for j in range(n_writes):
        u = owner[writes[j]]
        edges.add(forward + j, u, _FREE, writes[j])
        edges.add(forward + n_writes + j, u, _FREE, writes[j])
        if j + 1 < n_writes:
            edges.add(forward + j, forward + j + 1, _FREE, -1)
            edges.add(forward + n_writes + j + 1, forward + n_writes + j, _FREE, -1)
    own = 0
    for i in range(n_readers):
        t = owner[readers[i]]
        while own < n_writes and owner[writes[own]] < t:
            own += 1
        if own == n_writes or owner[writes[own]] != t:
            edges.add(t, forward, _RW, readers[i])
            continue
        if own + 1 < n_writes:
            edges.add(t, forward + own + 1, _RW, readers[i])
        if own > 0:
            edges.add(t, forward + n_writes + own - 1, _RW, readers[i])
    return nodes + 2 * n_writes


def list_dependencies(
    nodes: cython.int,
    keys: cython.Py_ssize_t,
    key_first: cython.int[:],
    by_key: cython.int[:],
    owner: cython.int[:],
    outcome: cython.char[:],
    kind: cython.char[:],
    known: cython.char[:],
    element_first: cython.longlong[:],
    elements: cython.int[:],
    value: cython.int[:],
    stamp: cython.int[:],
    slot: cython.int[:],
    position: cython.int[:],
    longest: cython.int[:],
    order_first: cython.longlong[:],
    order: cython.int[:],
    is_observed: cython.char[:],
    is_spoilt: cython.char[:],
    following: cython.int[:],
    unobserved: cython.int[:],
    readers: cython.int[:],
    edges: Edges,
) -> int:
    """Writes down the dependencies between transactions; returns the number of nodes.

    `via` is the micro-operation of the target that shows the dependency. Transactions count if they are ok, or if
    nobody knows how they ended but something of them was observed. Committed appends that were never observed come
    after all that were.
    """
    k: cython.Py_ssize_t
    i: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    end: cython.Py_ssize_t
    mop: cython.int
    t: cython.int
    last: cython.int
    nearest: cython.int
    r: cython.int
    n_unobserved: cython.int
    n_readers: cython.int
    at: cython.longlong
    length: cython.longlong
    e: cython.longlong
    seen_by: cython.int
    seen_length: cython.int
    has_irregular: cython.bint
    for k in range(keys):
        if is_spoilt[k]:
            continue
        begin = key_first[k]
        end = key_first[k + 1]
        at = order_first[k]
        length = order_first[k + 1] - at
        # From here on, `following[e]` is the first committed append at place e of the order or later, -1 if none.
        nearest = -1
        following[length] = -1
        for e in range(length - 1, -1, -1):
            mop = order[at + e]
            if mop >= 0 and outcome[owner[mop]] != _FAIL:
                nearest = mop
            following[e] = nearest
        last = -1
        for e in range(length):
            mop = order[at + e]
            if mop < 0 or outcome[owner[mop]] == _FAIL:
                continue
            if last >= 0 and owner[last] != owner[mop]:
                edges.add(owner[last], owner[mop], _WW, mop)
            last = mop
        n_unobserved = 0
        n_readers = 0
        seen_by = -1
        seen_length = -1
        has_irregular = False
        for i in range(begin, end):
            mop = by_key[i]
            t = owner[mop]
            if kind[mop] == _APPEND:
                if position[mop] == _UNOBSERVED and (
                    outcome[t] == _OK or (outcome[t] != _FAIL and is_observed[t])
                ):
                    if n_unobserved and owner[unobserved[n_unobserved - 1]] == t:
                        continue
                    unobserved[n_unobserved] = mop
                    n_unobserved += 1
                    if last >= 0 and owner[last] != t:
                        edges.add(owner[last], t, _WW, mop)
                continue
            if position[mop] < 0:
                has_irregular = has_irregular or position[mop] == _IRREGULAR
                continue
            if seen_by == t and seen_length == position[mop]:
                continue
            seen_by = t
            seen_length = position[mop]
            r = -1
            for e in range(seen_length - 1, -1, -1):
                r = order[at + e]
                if r >= 0 and outcome[owner[r]] != _FAIL:
                    break
                r = -1
            if r >= 0 and owner[r] != t:
                edges.add(owner[r], t, _WR, mop)
            r = following[seen_length]
            if r < 0:
                readers[n_readers] = mop
                n_readers += 1
            elif owner[r] != t:
                edges.add(t, owner[r], _RW, r)
        if has_irregular:
            for i in range(begin, end):
                mop = by_key[i]
                if kind[mop] == _APPEND:
                    stamp[value[mop]] = k
                    slot[value[mop]] = mop
            for i in range(begin, end):
                mop = by_key[i]
                if kind[mop] != _READ or position[mop] != _IRREGULAR:
                    continue
                for e in range(element_first[mop + 1] - 1, element_first[mop] - 1, -1):
                    if stamp[elements[e]] != k:
                        continue
                    r = slot[elements[e]]
                    if outcome[owner[r]] == _FAIL:
                        continue
                    if owner[r] != owner[mop]:
                        edges.add(owner[r], owner[mop], _WR, mop)
                    break
        nodes = _each_before_each(edges, nodes, owner, readers, n_readers, unobserved, n_unobserved)
    return nodes
