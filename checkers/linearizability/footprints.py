"""What the calls of register-like objects observe and leave behind, as columns of value numbers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from checkers.linearizability.columns import FAIL_CODE, OK_CODE, CallColumns
from checkers.linearizability.models import CasRegister, Model, Register

NONE = -1
"""Instead of a value's number: nothing is observed, or nothing is written."""


@dataclass(frozen=True)
class Footprints:
    """The calls of one or more registers, in the order of invocation; see `CallColumns` for the intervals."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    key: NDArray[np.int32]
    observed: NDArray[np.int32]
    """The value that the register must have before, or `NONE`."""
    written: NDArray[np.int32]
    """The value that the register has after, or `NONE`."""
    unequal: NDArray[np.bool_] | None
    """Where the register must have any value but the observed one; None if nowhere."""
    initial: int
    """The number of the value at first."""
    value_count: int
    key_count: int

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Footprints:
        """Some of the calls: a mask, or positions in ascending order."""
        unequal = self.unequal
        return Footprints(
            self.start[rows],
            self.end[rows],
            self.key[rows],
            self.observed[rows],
            self.written[rows],
            None if unequal is None or not unequal[rows].any() else unequal[rows],
            self.initial,
            self.value_count,
            self.key_count,
        )


def footprints_of(columns: CallColumns, model: Model) -> Footprints | None:
    """The footprints of calls that matter to the model; None if it is no plain register.

    Raises ValueError for a function that the register does not have.
    """
    if type(model) not in (Register, CasRegister):
        return None
    known = {"read", "write", "cas"} if type(model) is CasRegister else {"read", "write"}
    codes = {name: code for code, name in enumerate(columns.functions)}
    if not known.issuperset(codes):
        unknown = columns.rows_of_function(set(codes) - known)
        if unknown.any():
            model.step(model.initial_state(), columns.calls([int(np.argmax(unknown))])[0])
    reads = columns.function == codes.get("read", NONE)
    ok = columns.type == OK_CODE
    observed = np.where(reads & ok, columns.result, np.int32(NONE))
    written = np.where(reads, np.int32(NONE), columns.argument)
    unequal = None
    if "cas" in codes:
        cas = columns.function == codes["cas"]
        observed = np.where(cas, columns.argument, observed)
        written = np.where(cas, columns.second, written)
        written[cas & (columns.second == columns.argument)] = NONE
        failed = columns.type == FAIL_CODE
        if failed.any():
            unequal = failed
            written[failed] = NONE
    initial, value_count = number_of(model.initial_state(), columns)
    return Footprints(
        columns.start,
        columns.end,
        columns.key,
        observed,
        written,
        unequal,
        initial,
        value_count,
        max(1, len(columns.keys)),
    )


def number_of(value: Hashable, columns: CallColumns) -> tuple[int, int]:
    """The number of a value, a new one if no call names it; and how many there are then."""
    count = len(columns.values)
    if value is None:
        return 0, count
    for number, other in enumerate(columns.values):
        if other == value:
            return number, count
    return count, count + 1
