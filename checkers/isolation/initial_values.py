"""What registers hold before anybody writes them, where that is known.

A history does not say it. Elle's recorded ones read values that nobody wrote, even after a write of the same session,
and count as right, so nothing follows from such a value unless it is said what was there before: then each read of
that is older than every write, and a read of anything else that nobody wrote is garbage.

Inside the checkers a register is absent at first. Another initial value changes places with absence: reads and writes
of one become reads and writes of the other, and `Transactions.absent` says what absence stands for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from checkers.values import identity
from results.transactions import NIL, READ, WRITE, Transactions


def with_initial(transactions: Transactions, initial: Any) -> Transactions:
    """The transactions in which absence is that of any written value, and `initial` what an absent register holds."""
    wanted = identity(initial)
    if wanted is None:
        return replace(transactions, is_initial_known=True)
    number = next(
        (number for number, value in enumerate(transactions.values) if identity(value) == wanted), -2
    )
    nil = len(transactions.values)
    is_write = transactions.kind == WRITE
    value = transactions.value.copy()
    value[is_write & (transactions.value == NIL)] = nil
    value[is_write & (transactions.value == number)] = NIL
    # A known read of a register has one element, or none if it was absent.
    is_read = (transactions.kind == READ) & transactions.known
    begin, sizes = transactions.element_first[:-1], np.diff(transactions.element_first)
    seen = np.full(len(value), nil, dtype=np.int32)
    some = sizes > 0
    seen[some] = transactions.elements[begin[some]]
    has_one = is_read & (seen != number)
    return replace(
        transactions,
        value=value,
        element_first=np.concatenate(([0], np.cumsum(has_one))).astype(np.int64),
        elements=seen[has_one],
        values=[*transactions.values, None],
        absent=initial,
        is_initial_known=True,
    )
