"""What each micro-operation is within its own transaction (a kernel: see `results/kernels.py`)."""

# mypy: ignore-errors

from __future__ import annotations

import cython

EXTERNAL = cython.declare(cython.int, 0)
OWN = cython.declare(cython.int, 1)
OWN_MISSED = cython.declare(cython.int, 2)
OVERWRITTEN = cython.declare(cython.int, 3)
LAST = cython.declare(cython.int, 4)
UNANSWERED = cython.declare(cython.int, 5)
WRITE = cython.declare(cython.int, 2)
SCAN = cython.declare(cython.int, 3)


def find_roles(
    first: cython.longlong[:],
    kind: cython.schar[:],
    key: cython.int[:],
    value: cython.int[:],
    answered: cython.schar[:],
    latest: cython.longlong[:],
    latest_read: cython.longlong[:],
    role: cython.schar[:],
    other: cython.longlong[:],
) -> None:
    """Fills `role` and `other`, one entry a micro-operation, as `reads_from.Roles` says.

    `value` is what was written or read, `answered` says of reads whether the answer is known; `latest` and
    `latest_read` have one entry a key, all -1.
    """
    t: cython.Py_ssize_t
    m: cython.Py_ssize_t
    begin: cython.longlong
    before: cython.longlong
    k: cython.int
    for t in range(first.shape[0] - 1):
        begin = first[t]
        for m in range(begin, first[t + 1]):
            other[m] = -1
            if kind[m] == SCAN:
                role[m] = UNANSWERED  # Its key is the number of a range: see `predicates`.
                continue
            k = key[m]
            before = latest[k]
            if kind[m] == WRITE:
                role[m] = LAST
                if before >= begin:
                    role[before] = OVERWRITTEN
                    other[before] = m
                latest[k] = m
            elif not answered[m]:
                role[m] = UNANSWERED
            elif before >= begin:
                other[m] = before
                role[m] = OWN if value[before] == value[m] else OWN_MISSED
            else:
                role[m] = EXTERNAL
                before = latest_read[k]
                if before >= begin and value[before] != value[m]:
                    other[m] = before
                latest_read[k] = m
