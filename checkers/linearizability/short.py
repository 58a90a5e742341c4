"""Registers of few calls, straight from the columns: whether they are linearizable; and for long ones, which few calls
show that they are not.

Most recorded histories have a hundred calls, and setting up the searches for long ones costs more than judging them.
The work is done by `short_kernel.py`; without a compiler, other pages do it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from checkers.linearizability import short_kernel
from checkers.linearizability.calls import FOREVER, Call
from checkers.linearizability.columns import CallColumns
from checkers.linearizability.explain import Evidence, Span, as_write
from checkers.linearizability.footprints import number_of
from checkers.linearizability.models import CasRegister, Model, Register
from results import kernels
from results.operation import INFO

SHORT: Final = 2_000
"""Calls up to which a register is judged here."""
MOST: Final = 2_000
"""Configurations after which it is left to the searches that cope with many."""
NOWHERE: Final = -9
"""Instead of the number of a function that no call is of."""


class ShortRegister:
    """One register of a history."""

    def __init__(self, columns: CallColumns, model: Model, register: Any) -> None:
        self.columns = columns
        self.model = model
        self._register = register
        """The kernel's."""

    @classmethod
    def of(
        cls, columns: CallColumns, model: Model, rows: NDArray[np.int64] | None = None
    ) -> ShortRegister | None:
        """The calls at `rows`, or all; None if the model is no plain register, or where there is no compiler."""
        if type(model) not in (Register, CasRegister) or not kernels.is_compiled(short_kernel):
            return None
        known = ("read", "write", "cas") if type(model) is CasRegister else ("read", "write")
        functions = columns.functions
        if any(name not in known for name in functions):
            return None
        names = tuple(
            functions.index(name) if name in functions else NOWHERE for name in ("read", "write", "cas")
        )
        arrays: list[NDArray[Any]] = [columns.start, columns.end, columns.type, columns.function]
        arrays += [columns.argument, columns.second, columns.result]
        if not all(array.flags.c_contiguous and array.flags.writeable for array in arrays):
            arrays = [np.array(array) for array in arrays]
        failed_cas = "cas" in model.failures
        initial, values = number_of(model.initial_state(), columns)
        kernel: Any = short_kernel
        return cls(columns, model, kernel.ShortRegister(rows, *arrays, names, failed_cas, initial, values))

    @property
    def rows(self) -> NDArray[np.int64]:
        """The positions in the columns of the calls that matter."""
        return np.asarray(self._register.rows())

    def writers_of(self, value: int) -> list[Span]:
        """The calls that wrote, or may have written, the value of that number."""
        found: list[Span] = self._register.writers_of(value)
        return found

    def was_seen(self, value: int) -> bool:
        """Whether an ok call observed it."""
        return bool(self._register.was_seen(value))

    def last_write(self) -> int:
        """When the last call began that may have changed something; -1 if there is none."""
        return int(self._register.last_write())

    @property
    def looked_at(self) -> int:
        """Configurations that `judge` looked at."""
        return int(self._register.work())

    def is_ambiguous(self) -> bool:
        """Whether zones cannot decide it, by a quick look."""
        return bool(self._register.is_ambiguous())

    def judge(self) -> tuple[bool, Call | None] | None:
        """Whether the calls can be put in order, and if not, the call at whose return none is left; None if it takes
        another search to know."""
        found = self._register.judge(MOST)
        if found == short_kernel.LEFT:
            return None
        if found == short_kernel.LEGAL:
            return True, None
        return False, self.columns.calls([found])[0]

    def evidence(self, stuck: Call, enough: Callable[[], bool]) -> Evidence | None:
        """The fewest calls that show that no order is possible, for a search that got stuck at the return of a call;
        None if they are not found here."""
        found = self._register.evidence(stuck.end, enough)
        if found is None:
            return None
        rows, crashed, loosened, from_any_state, stuck_start = found
        calls = self.columns.calls(rows)
        for place, call in enumerate(calls):
            if crashed[place]:
                call = msgspec.structs.replace(call, end=FOREVER, type=INFO, result=None)
            calls[place] = as_write(call, self.model) if loosened[place] else call
        states = self.model.possible_states(calls) if from_any_state else None
        return Evidence(tuple(calls), None if states is None else tuple(states), stuck_start)


class ValuesOfRegister:
    """The values of a register, as `explain.Values` has them, from its columns: calls become objects when asked for."""

    def __init__(
        self, register: ShortRegister, evidence: Sequence[Evidence], failed: Callable[[], Sequence[Call]]
    ) -> None:
        """For values that the evidence is about; `failed` answers the failed calls of the register."""
        self._register = register
        self._columns = columns = register.columns
        self.failed = failed
        self._writers: dict[Hashable, list[Span]] = {}
        self._numbers: dict[Hashable, int] = {}
        for each in evidence:
            for call in each.calls:
                row = self._row_at(call.start)
                for column in (columns.argument, columns.second, columns.result):
                    number = int(column[row])
                    self._numbers[columns.values[number]] = number

    def _row_at(self, start: int) -> int:
        return int(self._columns.start.searchsorted(start))

    def call_at(self, start: int) -> Call:
        return self._columns.calls([self._row_at(start)])[0]

    def writers_of(self, value: Hashable) -> Sequence[Span]:
        found = self._writers.get(value)
        if found is None:
            found = self._writers[value] = self._register.writers_of(self._numbers[value])
        return found

    def was_seen(self, value: Hashable) -> bool:
        return self._register.was_seen(self._numbers[value])

    def is_written_after(self, write: Call) -> bool:
        return self._register.last_write() > write.start
