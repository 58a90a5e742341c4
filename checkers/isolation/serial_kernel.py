"""An order of all transactions in which every read sees the latest write (a kernel: see `results/kernels.py`).

Transactions are run one after the other. One can be run when all that must come before it have been, and when no
version that it overwrites is still to be read by another. So which of them have been run says all about the state: of
the versions of a key that were written, only one can still have readers. The search goes forward, first with whoever
must be over soonest, and steps back where nobody can be run; states that led nowhere are remembered. Real time keeps
the number of those that can be run next as low as that of the clients.

Where more are concurrent, the search is *eager*: who leaves nothing to be read is run at once, since that hinders
nobody, then those whose readers wait for nobody else. And it looks ahead: if readers of a version wait, by way of
others, for somebody who has to overwrite it, the state leads nowhere.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

# Of a hash function of numbers (splitmix64).
_FIRST_FACTOR = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
_SECOND_FACTOR = cython.declare(cython.ulonglong, 0xBF58476D1CE4E5B9)
_NEVER = cython.declare(cython.longlong, 1 << 62)


def tighten(
    transactions: cython.int,
    nodes: cython.int,
    edge_first: cython.longlong[:],
    edge_target: cython.int[:],
    start: cython.longlong[:],
    end: cython.longlong[:],
    sweeps: cython.int,
) -> int:
    """Moves `start` and `end` of all nodes closer: nobody is done later than those that come after it, nor begins
    earlier than those before it. Returns how many times one was moved; a few sweeps do not find everything."""
    v: cython.int
    u: cython.int
    i: cython.int
    e: cython.longlong
    moved: cython.int = 0
    before: cython.int
    for _ in range(sweeps):
        before = moved
        for i in range(nodes):
            v = nodes - 1 - i
            for e in range(edge_first[v], edge_first[v + 1]):
                u = edge_target[e]
                if end[u] < end[v]:
                    end[v] = end[u]
                    moved += 1
        for i in range(nodes):
            for e in range(edge_first[i], edge_first[i + 1]):
                u = edge_target[e]
                if start[i] > start[u]:
                    start[u] = start[i]
                    moved += 1
        if moved == before:
            break
    return moved


@cython.cfunc
def _leads_on(
    transactions: cython.int,
    nodes: cython.int,
    edge_first: cython.longlong[:],
    edge_target: cython.int[:],
    successor: cython.int[:],
    is_committed: cython.char[:],
    read_first: cython.longlong[:],
    read_key: cython.int[:],
    write_first: cython.longlong[:],
    write_key: cython.int[:],
    readers: cython.int[:],
    before: cython.int[:],
    unread: cython.int[:],
    order: cython.int[:],
    done: cython.int,
    read_of: cython.int[:],
    current: cython.int[:],
    left: cython.int[:],
    waits: cython.int[:],
    queue: cython.int[:],
) -> cython.bint:
    """Whether all could still be run after `order[:done]`, if only the readers of the versions that are there now had
    to come before who overwrites them. What the last of these writes and who waits for it are not yet counted."""
    t: cython.int
    u: cython.int
    k: cython.int
    i: cython.Py_ssize_t
    e: cython.longlong
    head: cython.int = 0
    count: cython.int = 0
    again: cython.bint = True
    fits: cython.bint
    to_run: cython.int = 0
    last: cython.int = order[done - 1]
    for k in range(len(current)):
        current[k] = -1
        left[k] = unread[k]
    for i in range(done):
        t = order[i]
        if t < transactions:
            for e in range(write_first[t], write_first[t + 1]):
                current[write_key[e]] = e
    for e in range(write_first[last], write_first[last + 1]):
        left[write_key[e]] = readers[e]
    for u in range(nodes):
        waits[u] = before[u]
    for e in range(edge_first[last], edge_first[last + 1]):
        waits[edge_target[e]] -= 1
    if len(successor) > 0 and successor[last] >= 0:
        waits[successor[last]] -= 1
    for i in range(done):
        waits[order[i]] = -1
    for u in range(nodes):
        if u >= transactions or is_committed[u]:
            if waits[u] >= 0:
                to_run += 1
            if waits[u] == 0:
                queue[count] = u
                count += 1
    # The first `head` of the queue are done; the others wait for nobody, but may overwrite what is still to be read.
    while again:
        again = False
        i = head
        while i < count:
            u = queue[i]
            fits = True
            if u < transactions:
                for e in range(read_first[u], read_first[u + 1]):
                    if read_of[e] == current[read_key[e]]:
                        left[read_key[e]] -= 1
                for e in range(write_first[u], write_first[u + 1]):
                    if left[write_key[e]] > 0:
                        fits = False
                        break
                if not fits:
                    for e in range(read_first[u], read_first[u + 1]):
                        if read_of[e] == current[read_key[e]]:
                            left[read_key[e]] += 1
            if fits:
                queue[i] = queue[head]
                head += 1
                again = True
                for e in range(edge_first[u], edge_first[u + 1]):
                    t = edge_target[e]
                    waits[t] -= 1
                    if waits[t] == 0 and (t >= transactions or is_committed[t]):
                        queue[count] = t
                        count += 1
                if len(successor) > 0 and u < transactions and successor[u] >= 0:
                    t = successor[u]
                    waits[t] -= 1
                    if waits[t] == 0 and is_committed[t]:
                        queue[count] = t
                        count += 1
            i += 1
    return head == to_run


def run_all(
    transactions: cython.int,
    nodes: cython.int,
    edge_first: cython.longlong[:],
    edge_target: cython.int[:],
    successor: cython.int[:],
    rank: cython.int[:],
    invoked_first: cython.int[:],
    completions: cython.int,
    is_committed: cython.char[:],
    read_first: cython.longlong[:],
    read_key: cython.int[:],
    write_first: cython.longlong[:],
    write_key: cython.int[:],
    readers: cython.int[:],
    due: cython.longlong[:],
    before: cython.int[:],
    unread: cython.int[:],
    ready: cython.int[:],
    place_of: cython.int[:],
    ready_at: cython.int[:],
    released_at: cython.int[:],
    completed_at: cython.int[:],
    tried: cython.longlong[:],
    hashes: cython.ulonglong[:],
    is_over: cython.char[:],
    order: cython.int[:],
    dead: cython.ulonglong[:],
    most_steps: cython.longlong,
    most_ready: cython.int,
    eager: cython.bint,
    read_of: cython.int[:],
    current: cython.int[:],
    left: cython.int[:],
    waits: cython.int[:],
    queue: cython.int[:],
    most_looks: cython.longlong,
) -> int:
    """Runs all committed transactions, and returns how many could be: all of them, or fewer if none was found in
    `most_steps`, or if more than `most_ready` could be run at once. Sessions count if `successor` is not empty, real
    time if `completions` is not 0. `due` says when each is over at the latest, each at a time of its own.

    Reads and writes are those of committed transactions, by transaction; `readers` says how many read each write.
    `before` starts with how many lead to each node, `unread` with how many read the initial version of each key;
    `is_over` and `dead` start with 0; `dead` is a table with a power of two of places.

    If `eager`, at most `most_looks` nodes and edges are looked at to see ahead. `read_of` says which write each read
    saw, -1: none; `current` and `left` are scratch arrays with a place for each key, `waits` and `queue` for each node.
    """
    t: cython.int
    u: cython.int
    i: cython.Py_ssize_t
    e: cython.longlong
    p: cython.int
    best: cython.int
    chosen: cython.int
    done: cython.int = 0
    total: cython.int = 0
    count: cython.int = 0
    held: cython.int
    released: cython.int = 0
    completed: cython.int = 0
    fits: cython.bint
    steps: cython.longlong = 0
    mask: cython.ulonglong = len(dead) - 1
    spot: cython.ulonglong
    h: cython.ulonglong
    full: cython.longlong = 0
    key: cython.longlong
    lowest: cython.longlong
    looks: cython.longlong = 0
    by_session: cython.bint = len(successor) > 0
    for t in range(transactions):
        if is_committed[t]:
            total += 1
    for t in range(transactions, nodes):
        if before[t] == 0:
            ready[count] = t
            count += 1
    hashes[0] = 0
    tried[0] = -1
    ready_at[0] = count
    released_at[0] = 0
    completed_at[0] = 0
    while True:
        # Whoever was invoked by now, and waits for nobody, is ready.
        while released < transactions and (
            completions == 0 or completed == completions or released < invoked_first[completed]
        ):
            if is_committed[released] and before[released] == 0:
                ready[count] = released
                count += 1
            released += 1
        if done == total:
            return done
        steps += 1
        if steps > most_steps or count > most_ready:
            return done
        # The next one to try: due first of those that were not tried in this state.
        chosen = -1
        while True:
            best = -1
            lowest = _NEVER
            for p in range(count):
                u = ready[p]
                if u >= transactions:
                    best = p
                    break
                key = due[u]
                if eager:
                    # Whoever leaves nothing to be read goes first, and has no alternative.
                    fits = tried[done] < _NEVER
                    for i in range(write_first[u], write_first[u + 1]):
                        if readers[i] > 0 or unread[write_key[i]] > 0:
                            fits = False
                            break
                    if fits:
                        best = p
                        lowest = _NEVER
                        break
                    for e in range(edge_first[u], edge_first[u + 1]):
                        if before[edge_target[e]] > 1:
                            key += nodes
                if key > tried[done] and key < lowest:
                    best = p
                    lowest = key
            if best < 0:
                break
            t = ready[best]
            if t >= transactions:
                break
            tried[done] = lowest
            fits = True
            for i in range(read_first[t], read_first[t + 1]):
                unread[read_key[i]] -= 1
            for i in range(write_first[t], write_first[t + 1]):
                if unread[write_key[i]] > 0:
                    fits = False
                    break
            if fits:
                # A state that led nowhere is not entered again.
                h = t + 1
                h = h * _FIRST_FACTOR
                if not cython.compiled:
                    h &= 0xFFFFFFFFFFFFFFFF
                h ^= h >> 29
                h = h * _SECOND_FACTOR
                if not cython.compiled:
                    h &= 0xFFFFFFFFFFFFFFFF
                h ^= h >> 32
                h ^= hashes[done]
                spot = h & mask
                while dead[spot] != 0 and dead[spot] != h:
                    spot = (spot + 1) & mask
                if dead[spot] == h and h != 0:
                    fits = False
            if fits and eager and lowest < _NEVER and looks < most_looks:
                looks += nodes + edge_first[nodes]
                order[done] = t
                fits = _leads_on(
                    transactions,
                    nodes,
                    edge_first,
                    edge_target,
                    successor,
                    is_committed,
                    read_first,
                    read_key,
                    write_first,
                    write_key,
                    readers,
                    before,
                    unread,
                    order,
                    done + 1,
                    read_of,
                    current,
                    left,
                    waits,
                    queue,
                )
            if fits:
                chosen = best
                break
            for i in range(read_first[t], read_first[t + 1]):
                unread[read_key[i]] += 1
        if best >= 0 and ready[best] >= transactions:
            # A node that is no transaction only passes on; it is run at once, as a step that has no alternative.
            chosen = best
            t = ready[best]
            h = hashes[done]
        if chosen >= 0:
            place_of[done] = chosen
            order[done] = t
            ready_at[done] = count
            released_at[done] = released
            completed_at[done] = completed
            count -= 1
            ready[chosen] = ready[count]
            if t < transactions:
                for i in range(write_first[t], write_first[t + 1]):
                    unread[write_key[i]] += readers[i]
                if completions > 0 and rank[t] >= 0:
                    is_over[rank[t]] = 1
                    while completed < completions and is_over[completed]:
                        completed += 1
                if by_session and successor[t] >= 0:
                    u = successor[t]
                    before[u] -= 1
                    if before[u] == 0 and u < released and is_committed[u]:
                        ready[count] = u
                        count += 1
            else:
                total += 1
            for e in range(edge_first[t], edge_first[t + 1]):
                u = edge_target[e]
                before[u] -= 1
                if before[u] == 0 and (u >= transactions or (u < released and is_committed[u])):
                    ready[count] = u
                    count += 1
            done += 1
            hashes[done] = h
            tried[done] = -1
            continue
        # Nobody can be run: this state leads nowhere. Back to the one before.
        while True:
            h = hashes[done]
            if h != 0:
                if 2 * full > cython.cast(cython.longlong, mask):
                    for i in range(len(dead)):
                        dead[i] = 0
                    full = 0
                spot = h & mask
                while dead[spot] != 0 and dead[spot] != h:
                    spot = (spot + 1) & mask
                if dead[spot] == 0:
                    full += 1
                dead[spot] = h
            if done == 0:
                return 0
            done -= 1
            t = order[done]
            for e in range(edge_first[t], edge_first[t + 1]):
                before[edge_target[e]] += 1
            if t < transactions:
                if by_session and successor[t] >= 0:
                    before[successor[t]] += 1
                if completions > 0 and rank[t] >= 0:
                    is_over[rank[t]] = 0
                for i in range(write_first[t], write_first[t + 1]):
                    unread[write_key[i]] -= readers[i]
                for i in range(read_first[t], read_first[t + 1]):
                    unread[read_key[i]] += 1
            else:
                total -= 1
            held = ready_at[done]
            released = released_at[done]
            completed = completed_at[done]
            chosen = place_of[done]
            count = held
            ready[count - 1] = ready[chosen]
            ready[chosen] = t
            if t < transactions:
                break
