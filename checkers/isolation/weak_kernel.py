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


def hear(
    sessions: cython.int[:],
    session_first: cython.longlong[:],
    initial: cython.int,
    order: cython.int[:],
    place: cython.int[:],
    session: cython.int[:],
    read_first: cython.longlong[:],
    read_source: cython.int[:],
    begin: cython.int,
    width: cython.int,
    heard: cython.int[:],
) -> None:
    """Sets how many transactions of each of the sessions `begin` to `begin + width` happened before each transaction,
    itself included: `heard[t * width + s - begin]`.

    `order` are the committed transactions, sources before readers and sessions in order; `place` says of each its
    position in its session, `session` its session. `heard` has room for one transaction more, the initial state.
    """
    i: cython.Py_ssize_t
    r: cython.longlong
    row: cython.longlong
    other: cython.longlong
    b: cython.int
    own: cython.int
    t1: cython.int
    t3: cython.int
    for b in range(width):
        heard[cython.cast(cython.longlong, initial) * width + b] = 0
    for i in range(order.shape[0]):
        t3 = order[i]
        row = cython.cast(cython.longlong, t3) * width
        if place[t3] > 0:
            other = sessions[session_first[session[t3]] + place[t3] - 1]
            other *= width
            for b in range(width):
                heard[row + b] = heard[other + b]
        else:
            for b in range(width):
                heard[row + b] = 0
        for r in range(read_first[t3], read_first[t3 + 1]):
            t1 = read_source[r]
            if t1 == initial:
                continue
            own = session[t1] - begin
            if 0 <= own < width and heard[row + own] > place[t1]:
                continue  # What it heard of, t3 has heard of.
            other = cython.cast(cython.longlong, t1) * width
            for b in range(width):
                if heard[other + b] > heard[row + b]:
                    heard[row + b] = heard[other + b]
        own = session[t3] - begin
        if 0 <= own < width:
            heard[row + own] = place[t3] + 1


def group_writes(
    writers: cython.int[:],
    session: cython.int[:],
    write_first: cython.longlong[:],
    write_key: cython.int[:],
    key_first: cython.longlong[:],
    writer: cython.int[:],
    group_first: cython.longlong[:],
) -> int:
    """Puts the writes of some sessions in order by key, session and place, and answers how many groups there are, of
    one key and session each.

    `writers` are the transactions by session and place. `key_first`, all 0, has two entries more than there are keys,
    and becomes the first group of each key; `writer` gets the transactions, `group_first` where each group begins in
    there, with an end; both have room for all writes, the latter for one more.
    """
    i: cython.Py_ssize_t
    j: cython.longlong
    t2: cython.int
    x: cython.Py_ssize_t
    keys: cython.Py_ssize_t = key_first.shape[0] - 2
    groups: cython.longlong = 0
    end: cython.longlong
    at: cython.longlong = 0
    for i in range(writers.shape[0]):
        t2 = writers[i]
        for j in range(write_first[t2], write_first[t2 + 1]):
            key_first[write_key[j] + 2] += 1
    for x in range(keys):
        key_first[x + 2] += key_first[x + 1]
    for i in range(writers.shape[0]):
        t2 = writers[i]
        for j in range(write_first[t2], write_first[t2 + 1]):
            x = write_key[j] + 1
            writer[key_first[x]] = t2
            key_first[x] += 1
    for x in range(keys):  # key_first[x] is where the writes of key x - 1 end, for now.
        end = key_first[x + 1]
        key_first[x] = groups
        while at < end:
            group_first[groups] = at
            groups += 1
            at += 1
            while at < end and session[writer[at]] == session[writer[at - 1]]:
                at += 1
    key_first[keys] = groups
    group_first[groups] = at
    return groups


def group_reads(
    readers: cython.int[:],
    read_first: cython.longlong[:],
    read_source: cython.int[:],
    source_first: cython.longlong[:],
    reads: cython.longlong[:],
    reader: cython.int[:],
) -> None:
    """Puts the reads of the transactions `readers` in order by their source, and sets the reader of each.

    `source_first`, all 0, has three entries more than there are transactions, and becomes the first of each source,
    the initial state included.
    """
    i: cython.Py_ssize_t
    r: cython.longlong
    t: cython.Py_ssize_t
    for i in range(readers.shape[0]):
        for r in range(read_first[readers[i]], read_first[readers[i] + 1]):
            source_first[read_source[r] + 2] += 1
    for t in range(source_first.shape[0] - 2):
        source_first[t + 2] += source_first[t + 1]
    for i in range(readers.shape[0]):
        for r in range(read_first[readers[i]], read_first[readers[i] + 1]):
            t = read_source[r] + 1
            reads[source_first[t]] = r
            reader[source_first[t]] = readers[i]
            source_first[t] += 1


def find_previous(
    sessions: cython.int[:],
    session_first: cython.longlong[:],
    read_first: cython.longlong[:],
    read_key: cython.int[:],
    read_source: cython.int[:],
    write_first: cython.longlong[:],
    write_key: cython.int[:],
    last: cython.int[:],
    last_source: cython.int[:],
    previous: cython.int[:],
    previous_source: cython.int[:],
) -> None:
    """Sets for each read the transaction before it in its session that last read or wrote the same key, and what that
    had read of it; -1 if there is none, or if it wrote the key.

    `last` and `last_source` have one entry a key. `previous`, all -1, and `previous_source` have one entry a read.
    """
    s: cython.Py_ssize_t
    x: cython.Py_ssize_t
    i: cython.longlong
    j: cython.longlong
    t: cython.int
    for s in range(session_first.shape[0] - 1):
        for i in range(session_first[s], session_first[s + 1]):
            t = sessions[i]
            for j in range(read_first[t], read_first[t + 1]):
                x = read_key[j]
                previous[j] = last[x]
                previous_source[j] = last_source[x]
            for j in range(read_first[t], read_first[t + 1]):
                last[read_key[j]] = t
                last_source[read_key[j]] = read_source[j]
            for j in range(write_first[t], write_first[t + 1]):
                last[write_key[j]] = t
                last_source[write_key[j]] = NONE
        for i in range(session_first[s], session_first[s + 1]):
            t = sessions[i]
            for j in range(read_first[t], read_first[t + 1]):
                last[read_key[j]] = NONE
                last_source[read_key[j]] = NONE
            for j in range(write_first[t], write_first[t + 1]):
                last[write_key[j]] = NONE
                last_source[write_key[j]] = NONE


def saturate_causal(
    sources: cython.int[:],
    initial: cython.int,
    session: cython.int[:],
    place: cython.int[:],
    begin: cython.int,
    width: cython.int,
    heard: cython.int[:],
    source_first: cython.longlong[:],
    reads: cython.longlong[:],
    reader: cython.int[:],
    read_key: cython.int[:],
    previous: cython.int[:],
    previous_source: cython.int[:],
    key_first: cython.longlong[:],
    group_first: cython.longlong[:],
    writer: cython.int[:],
    cursor: cython.longlong[:],
    demanded: cython.int[:],
    demanded_by: cython.longlong[:],
) -> list:
    """If t3 reads x from t1, and t2 wrote x and happened before t3, then t2 -> t1; for the t1 in `sources`, and the t2
    of the sessions that `heard` is of (see `hear`; the writes and reads are in order by `group_writes`, of the same
    sessions, and `group_reads`).

    Of a session only the last writer of x that t3 has heard of counts, and of several t2 for one t1 the last: the
    others follow. An edge is left out if t2 happened before t1 anyway. Nor is anything said again of the t2 that an
    earlier transaction of t3's session had heard of which read or wrote x (`find_previous`): these come before what
    it read of x, or before itself, and that comes before t1. So a session that reads x again and again, each time
    from another one, as crashed writers are, demands one edge each time and not one for all before.

    `cursor` says of each group where a write was found before, as what is looked for next is mostly near (at first
    where the group begins). `demanded` and `demanded_by` have one entry a session; `demanded` is -1 before and after.
    """
    edges: list = []
    i: cython.Py_ssize_t
    k: cython.longlong
    g: cython.longlong
    low: cython.longlong
    high: cython.longlong
    middle: cython.longlong
    row: cython.longlong
    known: cython.longlong
    earlier_row: cython.longlong
    earlier: cython.int
    t1: cython.int
    t2: cython.int
    t3: cython.int
    x: cython.int
    s: cython.int
    before: cython.int
    touched: cython.int
    for i in range(sources.shape[0]):
        t1 = sources[i]
        known = cython.cast(cython.longlong, t1) * width
        touched = 0
        for k in range(source_first[t1], source_first[t1 + 1]):
            t3 = reader[k]
            row = cython.cast(cython.longlong, t3) * width
            x = read_key[reads[k]]
            earlier = previous[reads[k]]
            earlier_row = cython.cast(cython.longlong, earlier) * width
            t2 = previous_source[reads[k]]
            if t2 >= 0 and t2 != initial:
                s = session[t2] - begin
                if 0 <= s < width and place[t2] >= heard[known + s]:
                    touched = 1
                    if demanded[s] < 0 or place[demanded[s]] < place[t2]:
                        demanded[s] = t2
                        demanded_by[s] = reads[k]
            for g in range(key_first[x], key_first[x + 1]):
                low = group_first[g]
                high = group_first[g + 1]
                s = session[writer[low]] - begin
                before = heard[row + s]
                if earlier >= 0 and before == heard[earlier_row + s]:
                    continue
                if session[t3] - begin == s:
                    before -= 1
                if before <= heard[known + s] or before <= place[writer[low]]:
                    continue
                # The last write before place `before`, which is at `low` or later.
                middle = cursor[g]
                if place[writer[middle]] >= before:
                    high = middle
                elif middle + 1 == high or place[writer[middle + 1]] >= before:
                    low = middle
                    high = middle + 1
                else:
                    low = middle + 1
                while high - low > 1:
                    middle = (low + high) >> 1
                    if place[writer[middle]] < before:
                        low = middle
                    else:
                        high = middle
                cursor[g] = low
                t2 = writer[low]
                if place[t2] < heard[known + s]:
                    continue
                touched = 1
                if demanded[s] < 0 or place[demanded[s]] < place[t2]:
                    demanded[s] = t2
                    demanded_by[s] = reads[k]
        if touched:
            for s in range(width):
                if demanded[s] >= 0:
                    edges.append((demanded[s], t1, demanded_by[s]))
                    demanded[s] = NONE
    return edges
