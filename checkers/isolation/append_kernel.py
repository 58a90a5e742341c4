"""Version orders of lists, and what reads of lists show to be wrong (a kernel: see `results/kernels.py`).

All functions go through the micro-operations key by key. The order of a key's versions is its longest read; a read is
*regular* if it is a prefix of that. `position` then says all: of an append, at which place of the order its element
stands (-1 if nobody saw it, -3 if only irregular reads did), of a regular read, how many elements of the order it saw
(-1 if its answer is not known, -2 if it is irregular).
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

_READ = cython.declare(cython.int, 0)
_APPEND = cython.declare(cython.int, 1)
_OK = cython.declare(cython.int, 1)
_FAIL = cython.declare(cython.int, 2)

_UNOBSERVED = cython.declare(cython.int, -1)
_IRREGULAR = cython.declare(cython.int, -2)
_ASTRAY = cython.declare(cython.int, -3)

# Codes of findings; `list_versions.py` has their names.
_DUPLICATE_APPEND = cython.declare(cython.int, 0)
_GARBAGE = cython.declare(cython.int, 1)
_DUPLICATE_ELEMENT = cython.declare(cython.int, 2)
_INCOMPATIBLE = cython.declare(cython.int, 3)
_G1A = cython.declare(cython.int, 4)
_DIRTY_UPDATE = cython.declare(cython.int, 5)
_G1B = cython.declare(cython.int, 6)
_FUTURE = cython.declare(cython.int, 7)
_LOST_UPDATE = cython.declare(cython.int, 8)
_INTERNAL = cython.declare(cython.int, 9)
_OWN_ORDER = cython.declare(cython.int, 10)


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
    previous: cython.int[:],
    findings: list,
) -> None:
    """Finds reads that contradict what their own transaction read or appended before (Cerone's axiom INT).

    `last_of_key` starts with -1 for every key; `previous` becomes the micro-operation before, of the same transaction
    and key, or -1.
    """
    t: cython.Py_ssize_t
    i: cython.Py_ssize_t
    j: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    length: cython.longlong
    back: cython.longlong
    shift: cython.longlong
    e: cython.longlong
    right: cython.bint
    for t in range(len(outcome)):
        begin = first[t]
        if first[t + 1] - begin < 2:
            for i in range(begin, first[t + 1]):
                previous[i] = -1
            continue
        for i in range(begin, first[t + 1]):
            j = last_of_key[key[i]]
            last_of_key[key[i]] = i
            if j < begin:
                previous[i] = -1
                continue
            previous[i] = j
            if kind[i] != _READ or not known[i] or outcome[t] != _OK:
                continue
            length = element_first[i + 1] - element_first[i]
            back = 0
            right = True
            while j >= 0 and kind[j] == _APPEND:
                back += 1
                if back > length or elements[element_first[i + 1] - back] != value[j]:
                    right = False
                    break
                j = previous[j]
            if right and j >= 0 and known[j]:
                if element_first[j + 1] - element_first[j] + back != length:
                    right = False
                else:
                    shift = element_first[i] - element_first[j]
                    for e in range(element_first[j], element_first[j + 1]):
                        if elements[e] != elements[e + shift]:
                            right = False
                            break
            if not right:
                findings.append((_INTERNAL, i, previous[i], 0))


def observe(
    keys: cython.Py_ssize_t,
    key_first: cython.int[:],
    by_key: cython.int[:],
    owner: cython.int[:],
    outcome: cython.char[:],
    kind: cython.char[:],
    key: cython.int[:],
    value: cython.int[:],
    known: cython.char[:],
    element_first: cython.longlong[:],
    elements: cython.int[:],
    raw: bytes,
    stamp: cython.int[:],
    slot: cython.int[:],
    seen: cython.int[:],
    first_updater: cython.int[:],
    position: cython.int[:],
    longest: cython.int[:],
    order_first: cython.longlong[:],
    order: cython.int[:],
    is_observed: cython.char[:],
    is_intermediate: cython.char[:],
    is_spoilt: cython.char[:],
    findings: list,
) -> None:
    """Finds the order of each key's versions, where each read stands in it, and what needs no cycle to be wrong.

    `order[order_first[k]:order_first[k + 1]]` are the appends whose elements the longest read saw, -1 for an element
    that has no append of its own. `is_observed` says of transactions whether anything of them was read by others or
    themselves; `is_intermediate` of appends whether their transaction appended to the key again. `is_spoilt` are keys
    to which a value was appended twice: nothing can be said of them.
    """
    k: cython.Py_ssize_t
    i: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    end: cython.Py_ssize_t
    mop: cython.int
    other: cython.int
    earlier: cython.int
    last: cython.int
    v: cython.int
    t: cython.int
    best: cython.int
    best_length: cython.longlong
    length: cython.longlong
    base: cython.longlong
    e: cython.longlong
    place: cython.longlong
    at: cython.longlong = 0
    first_failed: cython.longlong
    failed: cython.int
    most_seen: cython.longlong
    most_reader: cython.int
    first_read: cython.int
    group: cython.int
    regular: cython.bint
    spoilt: cython.bint
    irregular: cython.int
    for k in range(keys):
        begin = key_first[k]
        end = key_first[k + 1]
        order_first[k] = at
        best = -1
        best_length = -1
        spoilt = False
        other = -1
        for i in range(begin, end):
            mop = by_key[i]
            if kind[mop] == _APPEND:
                v = value[mop]
                position[mop] = _UNOBSERVED
                if stamp[v] == k:
                    findings.append((_DUPLICATE_APPEND, mop, slot[v], 0))
                    spoilt = True
                stamp[v] = k
                slot[v] = mop
                if other >= 0 and owner[other] == owner[mop]:
                    is_intermediate[other] = 1
                other = mop
            elif kind[mop] == _READ:
                position[mop] = _UNOBSERVED
                if known[mop] and outcome[owner[mop]] == _OK:
                    length = element_first[mop + 1] - element_first[mop]
                    if length > best_length:
                        best_length = length
                        best = mop
        longest[k] = best
        if spoilt:
            is_spoilt[k] = 1
            longest[k] = -1
            continue
        if best < 0:
            continue
        base = element_first[best]
        first_failed = best_length
        failed = -1
        for e in range(best_length):
            v = elements[base + e]
            place = at + e
            if stamp[v] != k:
                mop = -1
                findings.append((_GARBAGE, best, v, 0))
            else:
                mop = slot[v]
                if position[mop] >= 0:
                    findings.append((_DUPLICATE_ELEMENT, best, v, 0))
                    mop = -1
                else:
                    position[mop] = e
                    t = owner[mop]
                    is_observed[t] = 1
                    if outcome[t] == _FAIL:
                        if first_failed == best_length:
                            first_failed = e
                        failed = mop
                    elif outcome[t] == _OK and failed >= 0:
                        findings.append((_DIRTY_UPDATE, failed, mop, 0))
                        failed = -1
            if cython.compiled:
                order[place] = mop
            else:
                order.append(mop)
        group = -1
        most_seen = 0
        most_reader = -1
        first_read = -1
        irregular = 0
        other = -1
        for i in range(begin, end):
            mop = by_key[i]
            t = owner[mop]
            if t != group:
                group = t
                most_seen = 0
                most_reader = -1
                first_read = mop if kind[mop] == _READ and known[mop] and outcome[t] == _OK else -1
            if kind[mop] == _APPEND:
                # What a transaction appended first is also seen first, if anything later of it is seen.
                if (
                    other >= 0
                    and owner[other] == t
                    and outcome[t] != _FAIL
                    and position[mop] >= 0
                    and (position[other] == _UNOBSERVED or position[other] > position[mop])
                ):
                    findings.append((_OWN_ORDER, other, best, mop))
                other = mop
                if most_seen > position[mop] >= 0:
                    findings.append((_FUTURE, most_reader, mop, 0))
                if first_read >= 0:
                    if position[first_read] >= 0:
                        earlier = first_updater[position[first_read]]
                        if earlier >= 0 and key[earlier] == k:
                            findings.append((_LOST_UPDATE, earlier, mop, position[first_read]))
                        else:
                            first_updater[position[first_read]] = mop
                    first_read = -1
                continue
            if kind[mop] != _READ or not known[mop] or outcome[t] != _OK:
                continue
            length = element_first[mop + 1] - element_first[mop]
            regular = True
            if cython.compiled:
                place = element_first[mop]
                for e in range(length):
                    if elements[place + e] != elements[base + e]:
                        regular = False
                        break
            elif mop != best:
                place = element_first[mop]
                regular = raw[4 * place : 4 * (place + length)] == raw[4 * base : 4 * (base + length)]
            if regular:
                position[mop] = length
                if length > most_seen:
                    most_seen = length
                    most_reader = mop
                if length > first_failed:
                    findings.append((_G1A, mop, order[at + first_failed], 0))
                if length == 0:
                    continue
                last = order[at + length - 1]
            else:
                position[mop] = _IRREGULAR
                irregular += 1
                if irregular == 1:
                    findings.append((_INCOMPATIBLE, mop, best, 0))
                last = -1
                failed = -1
                for e in range(element_first[mop], element_first[mop + 1]):
                    v = elements[e]
                    if seen[v] == mop:
                        findings.append((_DUPLICATE_ELEMENT, mop, v, 0))
                        continue
                    seen[v] = mop
                    if stamp[v] != k:
                        findings.append((_GARBAGE, mop, v, 0))
                        continue
                    last = slot[v]
                    if position[last] == _UNOBSERVED:
                        position[last] = _ASTRAY
                    is_observed[owner[last]] = 1
                    if outcome[owner[last]] == _FAIL and failed < 0:
                        failed = last
                        findings.append((_G1A, mop, last, 0))
                    if owner[last] == t and last > mop:
                        findings.append((_FUTURE, mop, last, 0))
            if last >= 0 and is_intermediate[last] and owner[last] != t and outcome[owner[last]] != _FAIL:
                findings.append((_G1B, mop, last, 0))
        at += best_length
    order_first[keys] = at
