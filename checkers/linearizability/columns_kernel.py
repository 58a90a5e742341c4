"""Takes the operations of a history apart into columns of calls (a kernel: see `results/kernels.py`)."""

# mypy: ignore-errors

from __future__ import annotations

import cython

from checkers.linearizability.calls import FOREVER, freeze

OK = cython.declare(cython.int, 1)
FAIL = cython.declare(cython.int, 2)
INFO = cython.declare(cython.int, 3)


def split_calls(
    operations: tuple,
    keyed: cython.bint,
    compound: frozenset,
    wanted: object,
    start: cython.longlong[::1],
    end: cython.longlong[::1],
    type_: cython.char[::1],
    function: cython.int[::1],
    argument: cython.int[::1],
    second: cython.int[::1],
    result: cython.int[::1],
    process: cython.int[::1],
    key: cython.int[::1],
    functions: dict,
    processes: dict,
    values: dict,
    keys: dict,
    misshapen: dict,
) -> int:
    """Fills the columns, one entry a call in the order of invocation, and returns how many there are.

    `values` has to know None already. With `keyed`, values are `[key, value]`; `keys` gets the frozen keys, each with
    its number and how it stands in the history. Functions in `compound` have arguments of two parts. With `wanted`,
    other functions are passed over.

    What has not the shape that it should have is left nil, and goes to `misshapen`: by the index of the invocation,
    what is wrong (see `CallColumns.misshapen`).
    """
    count: cython.Py_ssize_t = 0
    row: cython.Py_ssize_t
    number: cython.Py_ssize_t
    at: cython.Py_ssize_t = 0
    forever: cython.longlong = FOREVER
    open_: dict = {}
    all_wanted: cython.bint = wanted is None
    nothing: cython.int = values[None]
    for number in range(len(operations)):
        operation = operations[number]
        who = operation.process
        if type(who) is not int:
            continue
        kind = operation.type
        at = operation.index
        if kind == "invoke":
            f = operation.f
            if not (all_wanted or f in wanted):
                continue
            row = count
            count += 1
            open_[who] = row
            start[row] = at
            end[row] = forever
            type_[row] = INFO
            result[row] = nothing
            second[row] = nothing
            place = functions.get(f)
            if place is None:
                place = functions[f] = len(functions)
            function[row] = place
            place = processes.get(who)
            if place is None:
                place = processes[who] = len(processes)
            process[row] = place
            value = operation.value
            if keyed:
                if not isinstance(value, (list, tuple)) or len(value) != 2:
                    misshapen[at] = (
                        False,
                        False,
                        f"event {at}: the {f} has the value {value!r:.80}; where objects are told apart by key, "
                        "values are [key, value]",
                    )
                    key[row] = 0
                    argument[row] = nothing
                    continue
                name = value[0]
                entry = keys.get(name) if type(name) is int or type(name) is str else keys.get(freeze(name))
                if entry is None:
                    entry = keys[freeze(name)] = (len(keys), name)
                key[row] = entry[0]
                value = value[1]
            else:
                key[row] = 0
            if f in compound:
                parts = freeze(value)
                if not isinstance(parts, tuple) or len(parts) != 2:
                    misshapen[at] = (
                        True,
                        False,
                        f"event {at}: a {f} has the value [old, new], not {value!r:.80}",
                    )
                    argument[row] = nothing
                    continue
                place = values.get(parts[0])
                if place is None:
                    place = values[parts[0]] = len(values)
                argument[row] = place
                place = values.get(parts[1])
                if place is None:
                    place = values[parts[1]] = len(values)
                second[row] = place
                continue
            if type(value) is not int and type(value) is not str and value is not None:
                value = freeze(value)
            place = values.get(value)
            if place is None:
                place = values[value] = len(values)
            argument[row] = place
            continue
        place = open_.pop(who, None)
        if place is None:
            continue
        row = place
        if kind == "ok":
            type_[row] = OK
            end[row] = at
            value = operation.value
            f = operation.f
            if misshapen and start[row] in misshapen:
                continue
            if keyed:
                if value is None:
                    continue
                if not isinstance(value, (list, tuple)) or len(value) != 2:
                    entry = None
                else:
                    name = value[0]
                    entry = (
                        keys.get(name) if type(name) is int or type(name) is str else keys.get(freeze(name))
                    )
                if entry is None or entry[0] != key[row]:
                    asked = list(keys.values())[key[row]][1]
                    misshapen[start[row]] = (
                        True,
                        True,
                        f"event {at}: the {f} of key {asked!r} was answered {value!r:.80}, which is not "
                        "[the same key, value]",
                    )
                    continue
                value = value[1]
            if f in compound:
                continue
            if type(value) is not int and type(value) is not str and value is not None:
                value = freeze(value)
            place = values.get(value)
            if place is None:
                place = values[value] = len(values)
            result[row] = place
        elif kind == "fail":
            type_[row] = FAIL
            end[row] = at
    return count
