"""Puts the events of another tool's file into our order and numbering (a kernel: see `results/kernels.py`)."""

# mypy: ignore-errors

from __future__ import annotations

import cython
from msgspec.structs import force_setattr

DENSE = 0
ASCENDING = 1
UNORDERED = 2


def order_of(events: list) -> int:
    """How the indexes of the events go: 0, 1, 2 ... (`DENSE`), never down (`ASCENDING`), or otherwise."""
    i: cython.Py_ssize_t
    dense: cython.bint = True
    last = None
    for i in range(len(events)):
        index = events[i].index
        if index != i:
            dense = False
        if last is not None and index < last:
            return UNORDERED
        last = index
    return DENSE if dense else ASCENDING


def number(events: list) -> tuple:
    """Numbers the events by their place, and gives a process that goes on after an info a new number.

    Changes the events, which nobody else may know yet. Returns how many processes got a new number, and whether there
    are clients but no invocations of them.
    """
    i: cython.Py_ssize_t
    renamed: cython.Py_ssize_t = 0
    invocations: cython.Py_ssize_t = 0
    completions: cython.Py_ssize_t = 0
    numbers: dict = {}
    """Process in the file -> its number here, while it is alive."""
    used: set = set()
    highest = 0
    for i in range(len(events)):
        event = events[i]
        if event.index != i:
            force_setattr(event, "index", i)
        process = event.process
        if type(process) is not int:
            continue
        type_ = event.type
        given = numbers.get(process)
        if type_ == "invoke":
            invocations += 1
            if given is None:
                given = process
                if process in used:
                    given = highest + 1
                    renamed += 1
                used.add(given)
                if given > highest:
                    highest = given
                numbers[process] = given
        else:
            completions += 1
            if type_ == "info" and given is not None:
                del numbers[process]
        if given is not None and given != process:
            force_setattr(event, "process", given)
    return renamed, completions > 0 and invocations == 0
