"""Lays the micro-operations of many transactions out as columns (a kernel: see `results/kernels.py`).

Values are numbered in dicts. An int and a string are their own key there; whatever else goes through `canonical`,
which keeps apart what JSON keeps apart and makes everything hashable.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython

_READ = cython.declare(cython.int, 0)
_APPEND = cython.declare(cython.int, 1)
_SCAN = cython.declare(cython.int, 3)


def measure(values: list, known: list, codes: dict, of_lists: cython.bint = False) -> tuple:
    """How many micro-operations and elements the transactions have; `known` says whose answers are known, `of_lists`
    that a read answers a list and nothing else.

    Raises ValueError with `(number of the transaction, what is wrong)` for what is no transaction.
    """
    micro_operations: cython.Py_ssize_t = 0
    elements: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t
    code: cython.int
    for i in range(len(values)):
        value = values[i]
        if not isinstance(value, (list, tuple)):
            raise ValueError(i, f"{value!r:.80} is no list of micro-operations")
        micro_operations += len(value)
        is_known = known[i]
        for step in value:
            if not isinstance(step, (list, tuple)) or len(step) != 3:
                raise ValueError(i, f"{step!r:.80} is no micro-operation [f, key, value]")
            found = codes.get(step[0]) if isinstance(step[0], str) else None
            if found is None:
                raise ValueError(i, f"{step[0]!r:.40} is no micro-operation (they are {', '.join(codes)})")
            code = found
            answer = step[2]
            if code == _SCAN and not _is_range(step[1]):
                raise ValueError(
                    i, f"{step[1]!r:.80} is no range of a scan; it is [first, end], null where it is open"
                )
            if not is_known or answer is None:
                continue
            if code == _READ:
                if isinstance(answer, (list, tuple)):
                    elements += len(answer)
                elif of_lists:
                    raise ValueError(
                        i, f"{answer!r:.80} is no answer to a read of a list; it is a list, or null"
                    )
                else:
                    elements += 1
            elif code == _SCAN:
                if not isinstance(answer, (list, tuple)) or not all(map(_is_row, answer)):
                    raise ValueError(
                        i, f"{answer!r:.80} is no answer to a scan; it is a list of [key, value]"
                    )
                elements += 2 * len(answer)
    return micro_operations, elements


def _is_range(bounds) -> bool:
    """Whether something can lie from the one to the other."""
    if not isinstance(bounds, (list, tuple)) or len(bounds) != 2:
        return False
    if bounds[0] is None or bounds[1] is None:
        return True
    try:
        bounds[0] < bounds[1]  # noqa: B015 - asked for whether it can be.
    except TypeError:
        return False
    return True


def _is_row(row) -> bool:
    """Whether it is a key with the value that it has; a key without a value does not exist, and is not answered."""
    return isinstance(row, (list, tuple)) and len(row) == 2 and row[1] is not None


def lay_out(
    values: list,
    known: list,
    codes: dict,
    of_registers: cython.bint,
    canonical,
    key_numbers: dict,
    keys: list,
    value_numbers: dict,
    value_list: list,
    range_numbers: dict,
    ranges: list,
    first: cython.longlong[:],
    kind: cython.char[:],
    key: cython.int[:],
    value_of: cython.int[:],
    is_known: cython.char[:],
    element_first: cython.longlong[:],
    elements: cython.int[:],
) -> None:
    """Fills the columns; the tables of keys, values and ranges grow as new ones are met."""
    i: cython.Py_ssize_t
    m: cython.Py_ssize_t = 0
    e: cython.Py_ssize_t = 0
    code: cython.int
    for i in range(len(values)):
        first[i] = m
        answered = known[i]
        for step in values[i]:
            code = codes[step[0]]
            kind[m] = code
            element_first[m] = e
            thing = step[1]
            answer = step[2]
            value_of[m] = -1
            is_known[m] = 1
            if code == _SCAN:
                key[m] = _number(canonical(thing), tuple(thing), range_numbers, ranges)
                is_known[m] = 1 if answered and answer is not None else 0
                if is_known[m]:
                    for pair in answer:
                        elements[e] = _number_of(pair[0], canonical, key_numbers, keys)
                        elements[e + 1] = _number_of(pair[1], canonical, value_numbers, value_list)
                        e += 2
                m += 1
                continue
            key[m] = _number_of(thing, canonical, key_numbers, keys)
            if code != _READ:
                if answer is not None or code == _APPEND:
                    value_of[m] = _number_of(answer, canonical, value_numbers, value_list)
            elif not answered:
                is_known[m] = 0
            elif answer is not None:
                if of_registers or not isinstance(answer, (list, tuple)):
                    elements[e] = _number_of(answer, canonical, value_numbers, value_list)
                    e += 1
                else:
                    for element in answer:
                        elements[e] = _number_of(element, canonical, value_numbers, value_list)
                        e += 1
            m += 1
    first[len(values)] = m
    element_first[m] = e


@cython.cfunc
def _number_of(thing, canonical, numbers: dict, things: list) -> cython.int:
    if type(thing) is int or type(thing) is str:
        return _number(thing, thing, numbers, things)
    return _number(canonical(thing), thing, numbers, things)


@cython.cfunc
def _number(name, thing, numbers: dict, things: list) -> cython.int:
    found = numbers.get(name)
    if found is None:
        found = numbers[name] = len(things)
        things.append(thing)
    return found
