"""Dependencies between transactions, from the versions of their keys (a kernel: see `results/kernels.py`).

Transactions count if they are ok, or if nobody knows how they ended but something of them was observed. An edge has a
kind, and the micro-operation of its target that shows it (*via*). Where many readers of a version meet many writers of
the next one, whose order is not known, the edges go through chains of further nodes: into a chain by rw, from there on
by free edges.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython
import numpy as np

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
    """Dependencies, as they are found."""

    source: cython.int[:]
    target: cython.int[:]
    kind: cython.char[:]
    via: cython.int[:]
    count: cython.Py_ssize_t
    room: cython.Py_ssize_t
    rows: list
    """Interpreted: the four of each, one edge after another; tuples would keep the garbage collector busy."""

    def __init__(self):
        self.count = 0
        self.room = 1024
        self.rows = []
        if cython.compiled:
            self.source = np.empty(self.room, np.int32)
            self.target = np.empty(self.room, np.int32)
            self.kind = np.empty(self.room, np.int8)
            self.via = np.empty(self.room, np.int32)

    @cython.cfunc
    @cython.inline
    def add(self, source: cython.int, target: cython.int, kind: cython.int, via: cython.int) -> cython.void:
        if not cython.compiled:
            self.rows.extend((source, target, kind, via))
            return
        if self.count == self.room:
            self._grow()
        self.source[self.count] = source
        self.target[self.count] = target
        self.kind[self.count] = kind
        self.via[self.count] = via
        self.count += 1

    def _grow(self):
        self.room *= 2
        self.source = np.resize(self.source, self.room)
        self.target = np.resize(self.target, self.room)
        self.kind = np.resize(self.kind, self.room)
        self.via = np.resize(self.via, self.room)

    def found(self) -> tuple:
        """The arrays of sources, targets, kinds and vias."""
        if not cython.compiled:
            rows = np.array(self.rows, np.int32).reshape(-1, 4)
            return rows[:, 0].copy(), rows[:, 1].copy(), rows[:, 2].astype(np.int8), rows[:, 3].copy()
        return (
            np.array(self.source[: self.count], np.int32),
            np.array(self.target[: self.count], np.int32),
            np.array(self.kind[: self.count], np.int8),
            np.array(self.via[: self.count], np.int32),
        )


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
    product: cython.longlong
    if n_writes == 0 or n_readers == 0:
        return nodes
    product = n_writes
    product *= n_readers
    if product <= 3 * (n_writes + n_readers):
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


def register_dependencies(
    nodes: cython.int,
    keys: cython.Py_ssize_t,
    key_first: cython.int[:],
    by_key: cython.int[:],
    owner: cython.int[:],
    outcome: cython.char[:],
    kind: cython.char[:],
    known: cython.char[:],
    position: cython.int[:],
    is_observed: cython.char[:],
    is_intermediate: cython.char[:],
    is_spoilt: cython.char[:],
    has_delete: cython.char[:],
    start: cython.longlong[:],
    end: cython.longlong[:],
    session: cython.int[:],
    committed_at: cython.longlong[:],
    by_session: cython.int,
    by_real_time: cython.int,
    scratch: dict,
    is_open: cython.char[:],
    edges: Edges,
) -> int:
    """Writes down the dependencies between transactions on registers; returns the number of nodes.

    What is known of the order of a key's versions: the initial one comes first; a transaction that reads one version
    and writes another writes a later one; the database's own commit timestamps, where every write of the key has one
    (`committed_at` is empty where there are none). With `by_session` and `by_real_time`, versions that are known in
    one transaction come before other versions that are known in a later transaction of the session, or one that was
    invoked later: 1 writes such edges down as derived from that order, 2 as certain. `is_open` becomes 1 for keys
    whose versions are not all in one order by the first three.
    """
    k: cython.Py_ssize_t
    i: cython.Py_ssize_t
    first: cython.Py_ssize_t
    last: cython.Py_ssize_t
    mop: cython.int
    w: cython.int
    t: cython.int
    v: cython.int
    p: cython.int
    c: cython.int
    r: cython.int
    group: cython.int
    seen: cython.int
    written: cython.int
    begin_version: cython.int
    end_version: cython.int
    pairs: cython.int
    count: cython.int
    children: cython.int
    place: cython.int
    low: cython.int
    high: cython.int
    best: cython.int
    derived: cython.int
    timed: cython.bint
    most: cython.longlong
    forever: cython.longlong = 1 << 62
    version_of: cython.int[:] = scratch["version_of"]
    write: cython.int[:] = scratch["write"]
    parent: cython.int[:] = scratch["parent"]
    known_at: cython.longlong[:] = scratch["known_at"]
    used_at: cython.longlong[:] = scratch["used_at"]
    reader_head: cython.int[:] = scratch["reader_head"]
    reader_tail: cython.int[:] = scratch["reader_tail"]
    reader_next: cython.int[:] = scratch["reader_next"]
    child_head: cython.int[:] = scratch["child_head"]
    child_tail: cython.int[:] = scratch["child_tail"]
    child_next: cython.int[:] = scratch["child_next"]
    order: cython.int[:] = scratch["order"]
    spare: cython.int[:] = scratch["spare"]
    latest: cython.int[:] = scratch["latest"]
    runner_up: cython.int[:] = scratch["runner_up"]
    pair_before: cython.int[:] = scratch["pair_before"]
    pair_after: cython.int[:] = scratch["pair_after"]
    last_key: cython.int[:] = scratch["last_key"]
    last_version: cython.int[:] = scratch["last_version"]
    readers: cython.int[:] = scratch["readers"]
    writes: cython.int[:] = scratch["writes"]
    for k in range(keys):
        if is_spoilt[k]:
            is_open[k] = 1
            continue
        first = key_first[k]
        last = key_first[k + 1]
        # Version 0 is the initial one; the others are committed transactions' last writes of the key.
        count = 1
        write[0] = -1
        timed = len(committed_at) > 0
        for i in range(first, last):
            mop = by_key[i]
            t = owner[mop]
            if kind[mop] != _WRITE:
                continue
            version_of[mop] = -1
            if is_intermediate[mop] or not (outcome[t] == _OK or (outcome[t] != _FAIL and is_observed[t])):
                continue
            version_of[mop] = count
            write[count] = mop
            known_at[count] = end[t] if outcome[t] == _OK else forever
            used_at[count] = start[t]
            parent[count] = -1
            if timed and committed_at[t] < 0:
                timed = False
            count += 1
        known_at[0] = -1
        used_at[0] = -1
        parent[0] = -1
        for v in range(count):
            reader_head[v] = -1
            child_head[v] = -1
        pairs = 0
        i = first
        while i < last:
            group = owner[by_key[i]]
            seen = -1
            written = -1
            w = -1
            mop = by_key[i]
            if kind[mop] == _READ and known[mop] and outcome[group] == _OK:
                if position[mop] >= 0:
                    seen = version_of[position[mop]]
                elif position[mop] == -1 and not has_delete[k]:
                    seen = 0
                if seen >= 0:
                    reader_next[i - first] = -1
                    if reader_head[seen] < 0:
                        reader_head[seen] = i - first
                    else:
                        reader_next[reader_tail[seen]] = i - first
                    reader_tail[seen] = i - first
                    if end[group] < known_at[seen]:
                        known_at[seen] = end[group]
                    if start[group] > used_at[seen]:
                        used_at[seen] = start[group]
            while i < last and owner[by_key[i]] == group:
                mop = by_key[i]
                if kind[mop] == _WRITE:
                    written = version_of[mop]
                elif position[mop] >= 0 and position[mop] != w:
                    w = position[mop]
                    edges.add(owner[w], group, _WR, mop)
                i += 1
            if written >= 0 and seen >= 0:
                parent[written] = seen
            if by_session and outcome[group] == _OK:
                begin_version = seen if seen >= 0 else written
                end_version = written if written >= 0 else seen
                if begin_version >= 0:
                    t = session[group]
                    if last_key[t] == k and begin_version > 0 and last_version[t] != begin_version:
                        pair_before[pairs] = last_version[t]
                        pair_after[pairs] = begin_version
                        pairs += 1
                    last_key[t] = k
                    last_version[t] = end_version
        if timed:
            for v in range(1, count):
                order[v - 1] = v
                known_at[v] = committed_at[owner[write[v]]]  # No other use is made of it below.
            _sort(order, spare, count - 1, known_at)
            p = 0
            for place in range(count - 1):
                v = order[place]
                if p > 0:
                    edges.add(owner[write[p]], owner[write[v]], _WW, write[v])
                child_head[p] = v
                child_next[v] = -1
                p = v
        else:
            for v in range(1, count):
                p = parent[v]
                if p < 0:  # Where nothing else comes directly after the initial one, this does.
                    if has_delete[k]:
                        is_open[k] = 1
                        continue
                    p = 0
                child_next[v] = -1
                if child_head[p] < 0:
                    child_head[p] = v
                else:
                    child_next[child_tail[p]] = v
                    is_open[k] = 1
                child_tail[p] = v
        for p in range(count):
            children = 0
            v = child_head[p]
            while v >= 0:
                writes[children] = write[v]
                children += 1
                v = child_next[v]
            if children == 0:
                continue
            c = 0
            r = reader_head[p]
            while r >= 0:
                readers[c] = by_key[first + r]
                c += 1
                r = reader_next[r]
            nodes = _each_before_each(edges, nodes, owner, readers, c, writes, children)
        if timed:
            continue
        for i in range(pairs):
            _derived(
                edges,
                pair_before[i],
                pair_after[i],
                6 if by_session == 1 else 0,
                first,
                by_key,
                owner,
                write,
                parent,
                reader_head,
                reader_next,
            )
        if not by_real_time:
            continue
        # Versions by when they are first known; `latest` is, of the first ones in that order, the one used last.
        c = 0
        for v in range(count):
            if known_at[v] < forever:
                order[c] = v
                c += 1
        _sort(order, spare, c, known_at)
        latest[0] = -1
        runner_up[0] = -1
        for place in range(c):
            v = order[place]
            if latest[place] < 0 or used_at[v] > used_at[latest[place]]:
                latest[place + 1] = v
                runner_up[place + 1] = latest[place]
            else:
                latest[place + 1] = latest[place]
                p = runner_up[place]
                runner_up[place + 1] = v if p < 0 or used_at[v] > used_at[p] else p
        derived = 8 if by_real_time == 1 else 0
        for v in range(1, count):
            low = 0
            high = c
            while low < high:
                place = (low + high) >> 1
                if known_at[order[place]] < used_at[v]:
                    low = place + 1
                else:
                    high = place
            best = latest[low]
            if best == v:
                best = runner_up[low]
            if best < 0:
                continue
            # Versions known before `best` is used last come before that one, and need no edge to v themselves.
            most = used_at[best]
            _derived(edges, best, v, derived, first, by_key, owner, write, parent, reader_head, reader_next)
            place = low - 1
            while place >= 0 and known_at[order[place]] > most:
                p = order[place]
                if p != v and p != best:
                    _derived(
                        edges, p, v, derived, first, by_key, owner, write, parent, reader_head, reader_next
                    )
                place -= 1
    return nodes


@cython.cfunc
def _derived(
    edges: Edges,
    before: cython.int,
    after: cython.int,
    derived: cython.int,
    first: cython.Py_ssize_t,
    by_key: cython.int[:],
    owner: cython.int[:],
    write: cython.int[:],
    parent: cython.int[:],
    reader_head: cython.int[:],
    reader_next: cython.int[:],
) -> cython.void:
    """Edges for a version that comes before another; `derived` is the kind of ww edges that are derived, 0 if they
    are certain; that of rw edges is the next."""
    r: cython.int
    u: cython.int = owner[write[after]]
    if before == 0 or parent[after] == before:
        return
    if owner[write[before]] != u:
        edges.add(owner[write[before]], u, derived if derived else _WW, write[after])
    r = reader_head[before]
    while r >= 0:
        if owner[by_key[first + r]] != u:
            edges.add(owner[by_key[first + r]], u, derived + 1 if derived else _RW, write[after])
        r = reader_next[r]


@cython.cfunc
def _sort(
    order: cython.int[:], spare: cython.int[:], count: cython.int, by: cython.longlong[:]
) -> cython.void:
    """Sorts versions by a number, stably: by insertion, or merging runs where there are many."""
    i: cython.int
    j: cython.int
    v: cython.int
    width: cython.int = 16
    left: cython.int
    right: cython.int
    middle: cython.int
    end: cython.int
    at: cython.int
    for left in range(0, count, width):
        end = left + width if left + width < count else count
        for i in range(left + 1, end):
            v = order[i]
            j = i - 1
            while j >= left and by[order[j]] > by[v]:
                order[j + 1] = order[j]
                j -= 1
            order[j + 1] = v
    while width < count:
        for left in range(0, count, 2 * width):
            middle = left + width
            if middle >= count:
                break
            end = middle + width if middle + width < count else count
            i = left
            right = middle
            at = left
            while at < end:
                if right >= end or (i < middle and by[order[i]] <= by[order[right]]):
                    spare[at] = order[i]
                    i += 1
                else:
                    spare[at] = order[right]
                    right += 1
                at += 1
            for at in range(left, end):
                order[at] = spare[at]
        width *= 2
