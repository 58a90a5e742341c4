"""A simulated multi-version store that keeps one isolation level, and no more (a kernel: `results/kernels.py`).

Versions of a key are numbered in the order of their commits; all functions fill `seen`, the number of versions of its
key that each read saw, and lay the versions down: `version_write` is the micro-operation that wrote each.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

MULTIPLIER = cython.declare(cython.ulonglong, 6364136223846793005)
INCREMENT = cython.declare(cython.ulonglong, 1442695040888963407)
MASK = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)

READ = cython.declare(cython.int, 0)
LOST = cython.declare(cython.int, 1)
SILENT = cython.declare(cython.int, 4)
ABORTS = cython.declare(cython.int, 8)
OK = cython.declare(cython.int, 1)
FAIL = cython.declare(cython.int, 2)
INFO = cython.declare(cython.int, 3)


def run_snapshots(
    seed: cython.ulonglong,
    apart: cython.bint,
    checked: cython.bint,
    stale: cython.longlong,
    sessions: cython.bint,
    steps: cython.int[:],
    fate: cython.char[:],
    process: cython.int[:],
    first: cython.longlong[:],
    kind: cython.char[:],
    key: cython.int[:],
    version_first: cython.longlong[:],
    version_count: cython.int[:],
    version_at: cython.longlong[:],
    version_write: cython.longlong[:],
    floor: cython.longlong[:],
    snapshot: cython.longlong[:],
    begun: cython.char[:],
    seen: cython.int[:],
    outcome: cython.char[:],
    committed: cython.longlong[:],
) -> int:
    """Transactions that read a snapshot of the log of commits, and append themselves to the log.

    With `apart`, the first of two steps takes the snapshot and the second commits; else there is one step, and only
    transactions that write nothing may read an older snapshot. A snapshot is up to `stale` commits old; with
    `sessions`, never older than what its process has seen. `checked`: who would overwrite a version that it does not
    see aborts (first committer wins). Fills `committed`, positions in the log (-1: none), and returns its length.
    """
    state: cython.ulonglong = seed
    log: cython.longlong = 0
    at: cython.longlong
    back: cython.longlong
    i: cython.Py_ssize_t
    m: cython.Py_ssize_t
    t: cython.int
    k: cython.int
    j: cython.int
    p: cython.int
    writes: cython.bint
    conflict: cython.bint
    for i in range(steps.shape[0]):
        t = steps[i]
        p = process[t]
        if not begun[t]:
            begun[t] = 1
            writes = False
            if not apart:
                for m in range(first[t], first[t + 1]):
                    if kind[m] != READ:
                        writes = True
            at = log
            if stale > 0 and not writes:
                state = (state * MULTIPLIER + INCREMENT) & MASK
                back = (state >> 33) % (stale + 1)
                at = log - back if back < log else 0
                if sessions and at < floor[p]:
                    at = floor[p]
            snapshot[t] = at
            if at > floor[p]:
                floor[p] = at
            for m in range(first[t], first[t + 1]):
                if kind[m] == READ:
                    k = key[m]
                    j = version_count[k]
                    while j > 0 and version_at[version_first[k] + j - 1] >= at:
                        j -= 1
                    seen[m] = j
            if apart:
                continue
        conflict = fate[t] >= ABORTS or (fate[t] & 3) == LOST
        if checked and not conflict:
            for m in range(first[t], first[t + 1]):
                if kind[m] != READ:
                    k = key[m]
                    j = version_count[k]
                    if j > 0 and version_at[version_first[k] + j - 1] >= snapshot[t]:
                        conflict = True
        outcome[t] = OK if fate[t] == 0 else INFO
        if conflict and (fate[t] == 0 or fate[t] >= ABORTS):
            outcome[t] = FAIL
        if conflict:
            continue
        for m in range(first[t], first[t + 1]):
            if kind[m] != READ:
                k = key[m]
                j = version_count[k]
                version_at[version_first[k] + j] = log
                version_write[version_first[k] + j] = m
                version_count[k] = j + 1
        committed[t] = log
        log += 1
        floor[p] = log
    return log


def run_statements(
    seed: cython.ulonglong,
    dirty: cython.bint,
    steps: cython.int[:],
    fate: cython.char[:],
    first: cython.longlong[:],
    kind: cython.char[:],
    key: cython.int[:],
    version_first: cython.longlong[:],
    version_count: cython.int[:],
    version_write: cython.longlong[:],
    version_owner: cython.int[:],
    progress: cython.int[:],
    seen: cython.int[:],
    outcome: cython.char[:],
    committed: cython.longlong[:],
) -> int:
    """Transactions of which each micro-operation is a step of its own, and the commit the last one.

    A read sees what is committed at its step. With `dirty` it may also see writes of transactions that will commit,
    as soon as they were done: the versions of a key still have the order of the commits, so that no writes
    interleave. Returns the length of the log of commits; `committed` is as in `run_snapshots`.
    """
    state: cython.ulonglong = seed
    log: cython.longlong = 0
    i: cython.Py_ssize_t
    m: cython.Py_ssize_t
    round_: cython.int
    t: cython.int
    k: cython.int
    j: cython.int
    last: cython.int
    w: cython.longlong
    # The first round lays the versions down in the order of the commits; the second reads them.
    for round_ in range(2):
        for k in range(version_count.shape[0]):
            version_count[k] = 0
        for t in range(progress.shape[0]):
            progress[t] = 0
        log = 0
        for i in range(steps.shape[0]):
            t = steps[i]
            m = first[t] + progress[t]
            progress[t] += 1
            if m < first[t + 1]:
                if round_ == 1 and kind[m] == READ:
                    k = key[m]
                    j = version_count[k]
                    if dirty:
                        state = (state * MULTIPLIER + INCREMENT) & MASK
                        last = (state >> 33) & 3
                        while last > 0:
                            last -= 1
                            w = version_first[k] + j
                            if w >= version_first[k + 1] or version_write[w] < 0:
                                break
                            if progress[version_owner[w]] <= version_write[w] - first[version_owner[w]]:
                                break
                            j += 1
                    seen[m] = j
                continue
            outcome[t] = OK if fate[t] == 0 else (FAIL if fate[t] >= ABORTS else INFO)
            if fate[t] >= ABORTS or (fate[t] & 3) == LOST:
                continue
            for m in range(first[t], first[t + 1]):
                if kind[m] != READ:
                    k = key[m]
                    w = version_first[k] + version_count[k]
                    version_write[w] = m
                    version_owner[w] = t
                    version_count[k] += 1
            committed[t] = log
            log += 1
    return log


def run_sites(
    seed: cython.ulonglong,
    sites: cython.int,
    checked: cython.bint,
    causal: cython.bint,
    steps: cython.int[:],
    fate: cython.char[:],
    home: cython.int[:],
    first: cython.longlong[:],
    kind: cython.char[:],
    key: cython.int[:],
    version_first: cython.longlong[:],
    version_count: cython.int[:],
    version_write: cython.longlong[:],
    version_owner: cython.int[:],
    applied: cython.int[:, :],
    log_of: cython.int[:, :],
    length: cython.int[:],
    vector: cython.int[:, :],
    snapshot: cython.int[:, :],
    begun: cython.char[:],
    seen: cython.int[:],
    outcome: cython.char[:],
    committed: cython.longlong[:],
) -> int:
    """Transactions at sites that learn of each other's commits later, each whole (snapshot first, commit last).

    What a site knows is a vector: how many of the commits of each site. The vector of a commit says what must be
    known where it is known: the versions that it followed and the commits of its own site before it; with `causal`
    everything that its site knew. `checked`: who would overwrite a version that it does not see aborts. Each
    process stays at its `home`. Returns the number of commits; `committed` is their order.
    """
    state: cython.ulonglong = seed
    log: cython.longlong = 0
    i: cython.Py_ssize_t
    m: cython.Py_ssize_t
    t: cython.int
    k: cython.int
    j: cython.int
    s: cython.int
    o: cython.int
    c: cython.int
    owner: cython.int
    draw: cython.ulonglong
    conflict: cython.bint
    for i in range(steps.shape[0]):
        state = (state * MULTIPLIER + INCREMENT) & MASK
        draw = state >> 33
        s = draw % sites
        o = (draw >> 8) % sites
        if s != o and (draw >> 16) & 1 and applied[s, o] < length[o]:
            j = length[o] - applied[s, o]
            c = log_of[o, applied[s, o] + (draw >> 18) % j]
            for k in range(sites):
                if vector[c, k] > applied[s, k]:
                    applied[s, k] = vector[c, k]
        t = steps[i]
        s = home[t]
        if not begun[t]:
            begun[t] = 1
            for k in range(sites):
                snapshot[t, k] = applied[s, k]
            for m in range(first[t], first[t + 1]):
                if kind[m] == READ:
                    k = key[m]
                    j = version_count[k]
                    while j > 0:
                        owner = version_owner[version_first[k] + j - 1]
                        if vector[owner, home[owner]] <= applied[s, home[owner]]:
                            break
                        j -= 1
                    seen[m] = j
            continue
        conflict = fate[t] >= ABORTS or (fate[t] & 3) == LOST
        if checked and not conflict:
            for m in range(first[t], first[t + 1]):
                if kind[m] != READ:
                    k = key[m]
                    j = version_count[k]
                    if j > 0:
                        owner = version_owner[version_first[k] + j - 1]
                        if vector[owner, home[owner]] > snapshot[t, home[owner]]:
                            conflict = True
        outcome[t] = OK if fate[t] == 0 else INFO
        if conflict and (fate[t] == 0 or fate[t] >= ABORTS):
            outcome[t] = FAIL
        if conflict:
            continue
        if length[s] > 0:
            c = log_of[s, length[s] - 1]
            for k in range(sites):
                vector[t, k] = vector[c, k]
        if causal:
            for k in range(sites):
                vector[t, k] = applied[s, k]
        # All predecessors first, then the transaction itself: it may write a key twice.
        for m in range(first[t], first[t + 1]):
            if kind[m] != READ:
                k = key[m]
                j = version_count[k]
                if j > 0:
                    owner = version_owner[version_first[k] + j - 1]
                    for o in range(sites):
                        if vector[owner, o] > vector[t, o]:
                            vector[t, o] = vector[owner, o]
        for m in range(first[t], first[t + 1]):
            if kind[m] != READ:
                k = key[m]
                j = version_count[k]
                version_write[version_first[k] + j] = m
                version_owner[version_first[k] + j] = t
                version_count[k] = j + 1
        log_of[s, length[s]] = t
        length[s] += 1
        vector[t, s] = length[s]
        for k in range(sites):
            if vector[t, k] > applied[s, k]:
                applied[s, k] = vector[t, k]
        committed[t] = log
        log += 1
    return log


def count_elements(
    register: cython.bint,
    first: cython.longlong[:],
    kind: cython.char[:],
    key: cython.int[:],
    seen: cython.int[:],
    outcome: cython.char[:],
    element_first: cython.longlong[:],
) -> None:
    """Fills `element_first`: how many elements each known read answered, summed up; own writes included."""
    total: cython.longlong = 0
    count: cython.longlong
    t: cython.Py_ssize_t
    m: cython.Py_ssize_t
    b: cython.Py_ssize_t
    for t in range(outcome.shape[0]):
        for m in range(first[t], first[t + 1]):
            element_first[m] = total
            if kind[m] == READ and outcome[t] == OK:
                count = seen[m]
                for b in range(first[t], m):
                    if kind[b] != READ and key[b] == key[m]:
                        count += 1
                if register and count > 1:
                    count = 1
                total += count
    element_first[element_first.shape[0] - 1] = total


def fill_elements(
    register: cython.bint,
    first: cython.longlong[:],
    kind: cython.char[:],
    key: cython.int[:],
    value: cython.int[:],
    seen: cython.int[:],
    outcome: cython.char[:],
    version_first: cython.longlong[:],
    version_write: cython.longlong[:],
    element_first: cython.longlong[:],
    elements: cython.int[:],
) -> None:
    """Fills the elements that `count_elements` has counted: versions seen, then what the transaction wrote itself."""
    at: cython.longlong
    t: cython.Py_ssize_t
    m: cython.Py_ssize_t
    b: cython.Py_ssize_t
    j: cython.Py_ssize_t
    for t in range(outcome.shape[0]):
        if outcome[t] != OK:
            continue
        for m in range(first[t], first[t + 1]):
            if kind[m] != READ:
                continue
            at = element_first[m]
            if register:
                if seen[m] > 0:
                    elements[at] = value[version_write[version_first[key[m]] + seen[m] - 1]]
            else:
                for j in range(version_first[key[m]], version_first[key[m]] + seen[m]):
                    elements[at] = value[version_write[j]]
                    at += 1
            for b in range(first[t], m):
                if kind[b] != READ and key[b] == key[m]:
                    elements[at] = value[b]
                    if not register:
                        at += 1
