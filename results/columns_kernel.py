"""Takes the fields of many events apart into columns (a kernel: see `results/kernels.py`)."""

# mypy: ignore-errors

from __future__ import annotations

import cython


def split_events(
    operations: tuple,
    codes: dict,
    processes: dict,
    functions: dict,
    time: cython.longlong[:],
    type_: cython.char[:],
    process: cython.int[:],
    function: cython.int[:],
) -> None:
    """Fills the columns, one entry an event, with each event's time, the code of its type in `codes`, and the
    positions of its process and function in `processes` and `functions`, which grow as new ones are met."""
    i: cython.Py_ssize_t
    for i in range(len(operations)):
        operation = operations[i]
        time[i] = operation.time
        type_[i] = codes[operation.type]
        name = operation.process
        place = processes.get(name)
        if place is None:
            place = processes[name] = len(processes)
        process[i] = place
        name = operation.f
        place = functions.get(name)
        if place is None:
            place = functions[name] = len(functions)
        function[i] = place
