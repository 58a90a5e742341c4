"""Pairs invocations with completions, and checks the rules of a history (a kernel: see `results/kernels.py`).

The rules and their errors are `HistoryOrder`'s; here is only what a million events need.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython


def pair_events(operations: tuple, pair: cython.longlong[:]) -> bool:
    """Writes into `pair` for each event the index of the event at the other end of its operation, -1 if there is none.

    False as soon as an event breaks a rule of histories; `HistoryOrder` then says which.
    """
    i: cython.Py_ssize_t
    started: cython.Py_ssize_t
    opened: dict = {}
    """Process -> index of the invocation that it waits on; -1 between operations, -2 once it ended in info."""
    for i in range(len(operations)):
        operation = operations[i]
        if operation.index != i:
            return False
        pair[i] = -1
        process = operation.process
        type_ = operation.type
        if isinstance(process, str):
            if type_ != "invoke" and type_ != "ok" and type_ != "fail" and type_ != "info":
                return False
            continue
        place = opened.get(process)
        started = -1 if place is None else place
        if type_ == "invoke":
            if started != -1:
                return False
            opened[process] = i
            continue
        if started < 0 or operations[started].f != operation.f:
            return False
        pair[i] = started
        pair[started] = i
        if type_ == "ok" or type_ == "fail":
            opened[process] = -1
        elif type_ == "info":
            opened[process] = -2
        else:
            return False
    return True


def make_pairs(operations: tuple, pair: cython.longlong[:], make: object) -> list:
    """`make(invocation, completion or None)` of every client's operation, in the order of invocation."""
    i: cython.Py_ssize_t
    pairs: list = []
    for i in range(len(operations)):
        if pair[i] > i:
            pairs.append(make(operations[i], operations[pair[i]]))
        elif pair[i] < 0:
            operation = operations[i]
            if operation.type == "invoke" and not isinstance(operation.process, str):
                pairs.append(make(operation, None))
    return pairs
