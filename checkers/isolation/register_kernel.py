"""Who read which write of a register, and what needs no cycle to be wrong (a kernel: see `results/kernels.py`).

A value is written to a key once, so a read names the write that it saw: `position` of a read becomes that write, -1 if
it saw that the register was absent, -2 if nothing follows from it.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

_READ = cython.declare(cython.int, 0)
_WRITE = cython.declare(cython.int, 2)
_OK = cython.declare(cython.int, 1)
_FAIL = cython.declare(cython.int, 2)

_ABSENT = cython.declare(cython.int, -1)
_USELESS = cython.declare(cython.int, -2)

# Codes of findings; `register_versions.py` has their names.
_DUPLICATE_WRITE = cython.declare(cython.int, 0)
_UNWRITTEN = cython.declare(cython.int, 1)
_G1A = cython.declare(cython.int, 2)
_DIRTY_UPDATE = cython.declare(cython.int, 3)
_G1B = cython.declare(cython.int, 4)
_FUTURE = cython.declare(cython.int, 5)
_LOST_UPDATE = cython.declare(cython.int, 6)
_INTERNAL = cython.declare(cython.int, 7)


def internal_reads(
    outcome: cython.char[:],
    first: cython.longlong[:],
    kind: cython.char[:],
    key: cython.int[:],
    value: cython.int[:],
    known: cython.char[:],
    element_first: cython.longlong[:],
    elements: cython.int[:],
    last_of_key: cython.int[:],
    findings: list,
) -> None:
    """Finds reads that contradict what their own transaction read or wrote before (Cerone's axiom INT).

    `last_of_key` starts with -1 for every key.
    """
    t: cython.Py_ssize_t
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    seen: cython.int
    expected: cython.int
    for t in range(len(outcome)):
        begin = first[t]
        if first[t + 1] - begin < 2:
            continue
        for i in range(begin, first[t + 1]):
            j = last_of_key[key[i]]
            last_of_key[key[i]] = i
            if j < begin or kind[i] != _READ or not known[i] or outcome[t] != _OK:
                continue
            seen = elements[element_first[i]] if element_first[i] < element_first[i + 1] else -1
            if kind[j] == _WRITE:
                expected = value[j]
            else:
                expected = elements[element_first[j]] if element_first[j] < element_first[j + 1] else -1
            if seen != expected:
                findings.append((_INTERNAL, i, j, 0))


def observe(
    keys: cython.Py_ssize_t,
    key_first: cython.int[:],
    by_key: cython.int[:],
    owner: cython.int[:],
    outcome: cython.char[:],
    kind: cython.char[:],
    value: cython.int[:],
    known: cython.char[:],
    element_first: cython.longlong[:],
    elements: cython.int[:],
    stamp: cython.int[:],
    slot: cython.int[:],
    updater: cython.int[:],
    position: cython.int[:],
    is_observed: cython.char[:],
    is_intermediate: cython.char[:],
    is_spoilt: cython.char[:],
    has_delete: cython.char[:],
    findings: list,
) -> None:
    """Finds which write each read saw, and what is wrong by itself.

    `is_observed` says of transactions whether anything of them was read; `is_intermediate` of writes whether their
    transaction wrote the key again. `is_spoilt` are keys to which a value was written twice, `has_delete` those that
    were deleted, so that an absent one need not be in its initial state. `updater` starts with -1.
    """
    k: cython.Py_ssize_t
    i: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    end: cython.Py_ssize_t
    mop: cython.int
    other: cython.int
    v: cython.int
    t: cython.int
    w: cython.int
    group: cython.int
    read: cython.int
    seen: cython.int
    first_updater: cython.int
    for k in range(keys):
        begin = key_first[k]
        end = key_first[k + 1]
        other = -1
        for i in range(begin, end):
            mop = by_key[i]
            position[mop] = _USELESS
            if kind[mop] != _WRITE:
                continue
            if other >= 0 and owner[other] == owner[mop]:
                is_intermediate[other] = 1
            other = mop
            v = value[mop]
            if v < 0:
                has_delete[k] = 1
                continue
            if stamp[v] == k:
                if outcome[owner[mop]] == _FAIL:
                    continue
                if outcome[owner[slot[v]]] != _FAIL:
                    findings.append((_DUPLICATE_WRITE, mop, slot[v], 0))
                    is_spoilt[k] = 1
            stamp[v] = k
            slot[v] = mop
        if is_spoilt[k]:
            continue
        group = -1
        read = -1
        seen = -1
        first_updater = -1
        for i in range(begin, end):
            mop = by_key[i]
            t = owner[mop]
            if t != group:
                group = t
                read = mop if kind[mop] == _READ and known[mop] and outcome[t] == _OK else -1
                seen = -1
            if kind[mop] == _WRITE:
                if read >= 0:
                    w = position[read]
                    if seen >= 0:
                        findings.append((_DIRTY_UPDATE, seen, mop, 0))
                    elif w >= 0:
                        if updater[w] >= 0:
                            findings.append((_LOST_UPDATE, updater[w], mop, w))
                        else:
                            updater[w] = mop
                    elif w == _ABSENT and not has_delete[k]:
                        if first_updater >= 0:
                            findings.append((_LOST_UPDATE, first_updater, mop, -1))
                        else:
                            first_updater = mop
                    read = -1
                continue
            if kind[mop] != _READ or not known[mop] or outcome[t] != _OK:
                continue
            if element_first[mop] == element_first[mop + 1]:
                position[mop] = _ABSENT
                continue
            v = elements[element_first[mop]]
            if stamp[v] != k:
                findings.append((_UNWRITTEN, mop, v, 0))
                continue
            w = slot[v]
            is_observed[owner[w]] = 1
            if owner[w] == t:
                if w > mop:
                    findings.append((_FUTURE, mop, w, 0))
            elif outcome[owner[w]] == _FAIL:
                findings.append((_G1A, mop, w, 0))
                if mop == read:
                    seen = w
            else:
                position[mop] = w
                if is_intermediate[w]:
                    findings.append((_G1B, mop, w, 0))
