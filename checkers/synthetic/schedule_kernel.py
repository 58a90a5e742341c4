"""Clients that overlap: who invokes, works and completes when, decided by a seed (a kernel: `results/kernels.py`)."""

# mypy: ignore-errors

from __future__ import annotations

import cython

MULTIPLIER = cython.declare(cython.ulonglong, 6364136223846793005)
INCREMENT = cython.declare(cython.ulonglong, 1442695040888963407)
MASK = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)

LATER = cython.declare(cython.int, 3)
SILENT = cython.declare(cython.int, 4)
ABORTS = cython.declare(cython.int, 8)


def schedule(
    clients: cython.int,
    seed: cython.ulonglong,
    inner: cython.int[:],
    fate: cython.char[:],
    process: cython.int[:],
    start: cython.longlong[:],
    completed: cython.longlong[:],
    steps: cython.int[:],
    entity_operation: cython.int[:],
    entity_left: cython.int[:],
    entity_process: cython.int[:],
    entity_ghost: cython.char[:],
) -> tuple:
    """Lets clients run operations in turns; at each turn one of them, drawn by lot, does its next step.

    An operation is invoked, does its `inner` steps, and completes; only invocation and completion are events. Its
    fate (`checkers/synthetic/plan.py`) may be to crash: the client gets a new process number, and of the fate LATER the
    last step is done by nobody's client, some time after. Fills the process of each operation, the index of the event
    that invoked it, the index of its completion (-1: none), and `steps`, the operations whose turn it was for an inner
    step. The entities are work space, room for the clients and as many as may crash. Returns (events, processes).
    """
    state: cython.ulonglong = seed
    live: cython.Py_ssize_t = clients
    next_operation: cython.Py_ssize_t = 0
    count: cython.Py_ssize_t = start.shape[0]
    next_process: cython.int = clients
    event: cython.longlong = 0
    done: cython.Py_ssize_t = 0
    e: cython.Py_ssize_t
    t: cython.int
    ending: cython.int
    draw: cython.ulonglong
    for e in range(live):
        entity_operation[e] = -1
        entity_process[e] = e
        entity_ghost[e] = 0
    while live > 0:
        state = (state * MULTIPLIER + INCREMENT) & MASK
        draw = state >> 33
        e = draw % live
        t = entity_operation[e]
        if t < 0:
            if next_operation == count:
                live -= 1
                entity_operation[e] = entity_operation[live]
                entity_left[e] = entity_left[live]
                entity_process[e] = entity_process[live]
                entity_ghost[e] = entity_ghost[live]
                continue
            t = next_operation
            next_operation += 1
            process[t] = entity_process[e]
            start[t] = event
            event += 1
            entity_operation[e] = t
            entity_left[e] = inner[t]
            continue
        ending = fate[t]
        if entity_left[e] > 0:
            if entity_ghost[e]:
                if (draw >> 20) & 7:
                    continue
            elif entity_left[e] == 1 and ending < ABORTS and (ending & 3) == LATER:
                completed[t] = -1
                if not ending & SILENT:
                    completed[t] = event
                    event += 1
                entity_ghost[e] = 1
                entity_operation[live] = -1
                entity_process[live] = next_process
                entity_ghost[live] = 0
                next_process += 1
                live += 1
                continue
            steps[done] = t
            done += 1
            entity_left[e] -= 1
            if entity_ghost[e]:
                live -= 1
                entity_operation[e] = entity_operation[live]
                entity_left[e] = entity_left[live]
                entity_process[e] = entity_process[live]
                entity_ghost[e] = entity_ghost[live]
            continue
        completed[t] = -1
        if ending >= ABORTS or not ending & SILENT:
            completed[t] = event
            event += 1
        if 0 < ending < ABORTS:
            entity_process[e] = next_process
            next_process += 1
        entity_operation[e] = -1
    assert done == steps.shape[0], f"{done} of {steps.shape[0]} steps were done"
    return event, next_process
