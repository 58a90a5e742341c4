"""Questions about the footprints of one register that many short histories ask (a kernel: see `results/kernels.py`)."""

# mypy: ignore-errors

from __future__ import annotations

from array import array

import cython

FOREVER = cython.declare(cython.longlong, 1 << 62)


def is_ambiguous(
    observed: cython.int[::1],
    written: cython.int[::1],
    end: cython.longlong[::1],
    values: cython.Py_ssize_t,
    initial: cython.int,
) -> bool:
    """Whether some value that a call observed was written by more than one call, or was there at first too."""
    count: cython.Py_ssize_t = observed.shape[0]
    i: cython.Py_ssize_t
    writers: cython.int[::1] = array("i", bytes(4 * values))
    writers[initial] = 1
    for i in range(count):
        if written[i] >= 0:
            writers[written[i]] += 1
    for i in range(count):  # noqa: SIM110 - compiled, a loop makes no generator.
        if observed[i] >= 0 and end[i] < FOREVER and writers[observed[i]] > 1:
            return True
    return False


def last_observed(
    observed: cython.int[::1],
    written: cython.int[::1],
    end: cython.longlong[::1],
    values: cython.Py_ssize_t,
    until: cython.longlong[::1],
) -> None:
    """Sets, for each value, the last return of a call that observes it, or needs what crashed cas made of it."""
    count: cython.Py_ssize_t = observed.shape[0]
    i: cython.Py_ssize_t
    value: cython.int
    source: cython.int
    chained: cython.Py_ssize_t = 0
    for i in range(count):
        if observed[i] < 0:
            continue
        if end[i] < FOREVER:
            if end[i] > until[observed[i]]:
                until[observed[i]] = end[i]
        elif written[i] >= 0:
            chained += 1
    if not chained:
        return
    # By the value that a crashed cas writes, what it observes; values are looked at again when they last longer.
    sources: list = [None] * values
    todo: list = []
    for i in range(count):
        if observed[i] >= 0 and end[i] >= FOREVER and written[i] >= 0:
            if sources[written[i]] is None:
                sources[written[i]] = []
                todo.append(written[i])
            sources[written[i]].append(observed[i])
    todo.sort(key=lambda value: until[value])
    while todo:
        value = todo.pop()
        for source in sources[value]:
            if until[source] < until[value]:
                until[source] = until[value]
                if sources[source] is not None:
                    todo.append(source)
