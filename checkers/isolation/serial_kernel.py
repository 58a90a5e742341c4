"""An order of all transactions in which every read sees the latest write (a kernel: see `results/kernels.py`).

Transactions are run one after the other. One can be run when all that must come before it have been, and when no
version that it overwrites is still to be read by another. So which of them have been run says all about the state: of
the versions of a key that were written, only one can still have readers. The search goes forward, first with whoever
must be over soonest, and steps back where nobody can be run; states that led nowhere are remembered. Real time keeps
the number of those that can be run next as low as that of the clients.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

# Of a hash function of numbers (splitmix64).
_FIRST_FACTOR = cython.declare(cython.ulonglong, 0x9E3779B97F4A7C15)
_SECOND_FACTOR = cython.declare(cython.ulonglong, 0xBF58476D1CE4E5B9)


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
) -> int:
    """Runs all committed transactions, and returns how many could be: all of them, or fewer if none was found in
    `most_steps`, or if more than `most_ready` could be run at once. Sessions count if `successor` is not empty, real
    time if `completions` is not 0. `due` says when each is over at the latest, each at a time of its own.

    Reads and writes are those of committed transactions, by transaction; `readers` says how many read each write.
    `before` starts with how many lead to each node, `unread` with how many read the initial version of each key;
    `is_over` and `dead` start with 0; `dead` is a table with a power of two of places.
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
            for p in range(count):
                u = ready[p]
                if u >= transactions:
                    best = p
                    break
                if due[u] > tried[done] and (best < 0 or due[u] < due[ready[best]]):
                    best = p
            if best < 0:
                break
            t = ready[best]
            if t >= transactions:
                break
            tried[done] = due[t]
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
