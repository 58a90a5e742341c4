"""The commit order that weak levels demand: read committed, read atomic, causal (a kernel: see `results/kernels.py`).

Each function answers edges `t2 -> t1` of the commit order as lists (t2, t1, number of the read that demands it), by
the saturations of AWDIT (PLDI 2025). Transactions are numbers, `initial` the one that wrote the initial state;
`read_*` and `write_*` are those of `reads_from.ReadsFrom`. Edges from the initial state are left out: it comes first
anyway.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

NONE = cython.declare(cython.int, -1)


@cython.cfunc
@cython.inline
def _find(keys: cython.int[:], begin: cython.longlong, end: cython.longlong, key: cython.int) -> cython.bint:
    """Whether `key` is in the sorted `keys[begin:end]`."""
    middle: cython.longlong
    while begin < end:
        middle = (begin + end) >> 1
        if keys[middle] < key:
            begin = middle + 1
        elif keys[middle] > key:
            end = middle
        else:
            return True
    return False


def saturate_read_committed(
    committed: cython.int[:],
    initial: cython.int,
    read_first: cython.longlong[:],
    read_key: cython.int[:],
    read_source: cython.int[:],
    write_first: cython.longlong[:],
    write_key: cython.int[:],
    by_key: cython.longlong[:],
    by_key_second: cython.longlong[:],
    stamp: cython.int[:],
    by_source: cython.longlong[:],
    later: cython.int[:],
) -> list:
    """If t3 reads from t2 and later reads x from t1, and t2 wrote x, then t2 -> t1.

    Only the first read from each t2 counts, and of the later reads of x only the two earliest with different
    sources: the others follow. Going backwards, these are at hand. `by_key`, `by_key_second`, `stamp` (all -1) and
    `later` have one entry a key, `by_source` one a transaction (-1), with one for the initial state.
    """
    edges: list = []
    i: cython.Py_ssize_t
    r: cython.longlong
    j: cython.longlong
    first: cython.longlong
    after: cython.longlong
    t2: cython.int
    t3: cython.int
    x: cython.int
    count: cython.longlong
    wrote: cython.longlong
    for i in range(committed.shape[0]):
        t3 = committed[i]
        first = read_first[t3]
        after = read_first[t3 + 1]
        if after - first < 2:
            continue
        for r in range(after - 1, first - 1, -1):
            by_source[read_source[r]] = r
        count = 0
        for r in range(after - 1, first - 1, -1):
            t2 = read_source[r]
            if t2 != initial and by_source[t2] == r:
                wrote = write_first[t2 + 1] - write_first[t2]
                if wrote <= count:
                    for j in range(write_first[t2], write_first[t2 + 1]):
                        x = write_key[j]
                        if stamp[x] == t3:
                            _add_earliest(edges, t2, x, read_source, by_key, by_key_second)
                else:
                    for j in range(count):
                        x = later[j]
                        if _find(write_key, write_first[t2], write_first[t2 + 1], x):
                            _add_earliest(edges, t2, x, read_source, by_key, by_key_second)
            x = read_key[r]
            if stamp[x] != t3:
                stamp[x] = t3
                by_key[x] = r
                by_key_second[x] = NONE
                later[count] = x
                count += 1
            else:
                if read_source[by_key[x]] != t2:
                    by_key_second[x] = by_key[x]
                by_key[x] = r
        for r in range(first, after):
            by_source[read_source[r]] = NONE
    return edges


@cython.cfunc
@cython.inline
def _add_earliest(
    edges: list,
    t2: cython.int,
    x: cython.int,
    read_source: cython.int[:],
    by_key: cython.longlong[:],
    by_key_second: cython.longlong[:],
) -> cython.void:
    r: cython.longlong = by_key[x]
    if read_source[r] == t2:
        r = by_key_second[x]
        if r < 0:
            return
    edges.append((t2, read_source[r], r))


def saturate_read_atomic(
    sessions: cython.int[:],
    session_first: cython.longlong[:],
    initial: cython.int,
    read_first: cython.longlong[:],
    read_key: cython.int[:],
    read_source: cython.int[:],
    write_first: cython.longlong[:],
    write_key: cython.int[:],
    last_writer: cython.int[:],
    session_stamp: cython.int[:],
    by_key: cython.longlong[:],
    stamp: cython.int[:],
    by_source: cython.int[:],
) -> list:
    """If t3 reads x from t1, and t2 wrote x and is before t3 in its session or is read by t3, then t2 -> t1.

    Of the session only the last writer of x counts: the others follow. Every transaction reads a key from one source
    (others were found wrong before). `last_writer`, `session_stamp`, `by_key` and `stamp` have one entry a key,
    `by_source` one a transaction and one for the initial state; all -1.
    """
    edges: list = []
    s: cython.Py_ssize_t
    i: cython.longlong
    r: cython.longlong
    j: cython.longlong
    first: cython.longlong
    after: cython.longlong
    t2: cython.int
    t3: cython.int
    x: cython.int
    for s in range(session_first.shape[0] - 1):
        for i in range(session_first[s], session_first[s + 1]):
            t3 = sessions[i]
            first = read_first[t3]
            after = read_first[t3 + 1]
            for r in range(first, after):
                x = read_key[r]
                by_key[x] = r
                stamp[x] = t3
                if session_stamp[x] == s and last_writer[x] != read_source[r]:
                    edges.append((last_writer[x], read_source[r], r))
            if after - first > 1:
                for r in range(first, after):
                    t2 = read_source[r]
                    if t2 == initial or by_source[t2] == t3:
                        continue
                    by_source[t2] = t3
                    if write_first[t2 + 1] - write_first[t2] <= after - first:
                        for j in range(write_first[t2], write_first[t2 + 1]):
                            x = write_key[j]
                            if stamp[x] == t3 and read_source[by_key[x]] != t2:
                                edges.append((t2, read_source[by_key[x]], by_key[x]))
                    else:
                        for j in range(first, after):
                            if read_source[j] != t2 and _find(
                                write_key, write_first[t2], write_first[t2 + 1], read_key[j]
                            ):
                                edges.append((t2, read_source[j], j))
            for j in range(write_first[t3], write_first[t3 + 1]):
                last_writer[write_key[j]] = t3
                session_stamp[write_key[j]] = s
    return edges


def saturate_causal(
    sessions: cython.int[:],
    session_first: cython.longlong[:],
    initial: cython.int,
    order: cython.int[:],
    place: cython.int[:],
    session: cython.int[:],
    source_session: cython.int,
    read_first: cython.longlong[:],
    read_key: cython.int[:],
    read_source: cython.int[:],
    write_first: cython.longlong[:],
    write_key: cython.int[:],
    heard: cython.int[:],
    epoch: cython.longlong,
    latest: cython.longlong[:],
    demanded: cython.int[:],
    demanded_by: cython.longlong[:],
) -> list:
    """If t3 reads x from t1, and t2 wrote x and happened before t3, then t2 -> t1; for the t2 of one session.

    Of the session only the last writer of x that t3 has heard of counts, and of several t2 for one t1 the last: the
    others follow. `order` are the committed transactions, sources before readers and sessions in order; `place` says
    of each its position in its session, `session` its session. `heard` (one entry a transaction, and one for the
    initial state) becomes how many transactions of the session happened before it, itself included. An edge is left
    out if t2 happened before t1 anyway. `latest` has one entry a key, from calls with lower epochs or -1; a call uses
    as many epochs as there are sessions, all below 2^31. `demanded` and `demanded_by` have one entry a transaction and
    one for the initial state; `demanded` is -1 before and after.
    """
    edges: list = []
    s: cython.Py_ssize_t
    i: cython.Py_ssize_t
    p: cython.longlong
    q: cython.longlong
    r: cython.longlong
    j: cython.longlong
    begin: cython.longlong = session_first[source_session]
    t1: cython.int
    t2: cython.int
    t3: cython.int
    most: cython.int
    own: cython.int
    mark: cython.longlong
    found: cython.longlong
    heard[initial] = 0
    for i in range(order.shape[0]):
        t3 = order[i]
        most = 0
        if place[t3] > 0:
            most = heard[sessions[session_first[session[t3]] + place[t3] - 1]]
        for r in range(read_first[t3], read_first[t3 + 1]):
            own = heard[read_source[r]]
            if own > most:
                most = own
        if session[t3] == source_session:
            most = place[t3] + 1
        heard[t3] = most
    for s in range(session_first.shape[0] - 1):
        mark = (epoch + s) << 32
        q = begin
        for p in range(session_first[s], session_first[s + 1]):
            t3 = sessions[p]
            most = heard[t3]
            if s == source_session:
                most -= 1
            while q < begin + most:
                t2 = sessions[q]
                for j in range(write_first[t2], write_first[t2 + 1]):
                    latest[write_key[j]] = mark + q
                q += 1
            if most == 0:
                continue
            for r in range(read_first[t3], read_first[t3 + 1]):
                found = latest[read_key[r]]
                if found < mark:
                    continue
                t1 = read_source[r]
                t2 = sessions[found & 0xFFFFFFFF]
                if place[t2] < heard[t1]:
                    continue
                if demanded[t1] < 0 or place[demanded[t1]] < place[t2]:
                    demanded[t1] = t2
                    demanded_by[t1] = r
    for i in range(order.shape[0]):
        t1 = order[i]
        if demanded[t1] >= 0:
            edges.append((demanded[t1], t1, demanded_by[t1]))
            demanded[t1] = NONE
    if demanded[initial] >= 0:
        edges.append((demanded[initial], initial, demanded_by[initial]))
        demanded[initial] = NONE
    return edges
