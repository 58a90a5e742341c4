"""The calls of a history as NumPy columns: what the fast paths and the compiled searches work on.

Values are numbers here: equal numbers stand for equal frozen values, and number 0 for nil. Readers of files and
benchmarks may build columns themselves, without a history.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from checkers.linearizability.calls import FOREVER, Call
from checkers.linearizability.columns_kernel import split_calls
from results.history import TYPE_CODES, History, Pair
from results.operation import FAIL, INFO, INVOKE, OK, TYPES, Operation

if TYPE_CHECKING:
    from checkers.linearizability.models import Model

OK_CODE = TYPE_CODES[OK]
FAIL_CODE = TYPE_CODES[FAIL]
INFO_CODE = TYPE_CODES[INFO]

COMPOUND = frozenset({"cas"})
"""Functions whose argument has two parts, `[old, new]`, each a value of its own."""

NIL = 0
"""The number of nil in `CallColumns.values`."""


class Misshapen(NamedTuple):
    """Why a call could not be understood."""

    has_key: bool
    """Whether it is known at least which object it is about."""
    is_answer: bool
    """Whether it was understood what was asked, and only not what was answered."""
    sentence: str
    """The operation with its event, and the rule."""


@dataclass(frozen=True)
class CallColumns:
    """Calls in the order of their invocations, an entry each."""

    start: NDArray[np.int64]
    """Index of the event that invoked it; ascending."""
    end: NDArray[np.int64]
    """Index of the event that completed it with ok or fail; `FOREVER` if it crashed."""
    type: NDArray[np.int8]
    """By `TYPE_CODES`: ok, fail or info."""
    function: NDArray[np.int32]
    """Position in `functions`."""
    argument: NDArray[np.int32]
    """Position in `values` of what was asked; of its first part for functions in `COMPOUND`."""
    second: NDArray[np.int32]
    """Position of the second part; `NIL` for other functions."""
    result: NDArray[np.int32]
    """Position in `values` of what was answered; `NIL` if it is not known."""
    process: NDArray[np.int32]
    """Position in `processes`."""
    key: NDArray[np.int32]
    """Position in `keys`; 0 where there is one object."""
    functions: tuple[str, ...]
    values: Sequence[Hashable]
    processes: Sequence[int | str]
    keys: Sequence[Any]
    """The objects, as they stand in the history."""
    history: History | None = None
    """Where the calls come from, if from a history."""
    misshapen: Mapping[int, Misshapen] = field(default_factory=dict)
    """What could not be understood, by the index of the event that invoked the call; see `shapes`."""

    def __post_init__(self) -> None:
        assert len(self.values) > 0, "value 0 has to be nil, but there are no values"
        assert self.values[NIL] is None, f"value 0 has to be nil, not {self.values[NIL]!r}"

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of(
        cls, history: History, *, keyed: bool = False, functions: frozenset[str] | None = None
    ) -> CallColumns:
        """The calls of a history's clients, of `functions` if given; with `keyed`, values are `[key, value]`.

        A value of another shape, or an answer about another key than was asked, is in `misshapen`, and nil elsewhere.
        """
        operations = tuple(history.operations)
        size = len(operations)
        start, end = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
        type_ = np.empty(size, dtype=np.int8)
        function, argument, second, result, process, key = (np.empty(size, dtype=np.int32) for _ in range(6))
        names: dict[str, int] = {}
        processes: dict[int | str, int] = {}
        values: dict[Hashable, int] = {None: NIL}
        keys: dict[Hashable, tuple[int, Any]] = {}
        misshapen: dict[int, tuple[bool, bool, str]] = {}
        count = split_calls(
            operations,
            keyed,
            COMPOUND,
            functions,
            start,
            end,
            type_,
            function,
            argument,
            second,
            result,
            process,
            key,
            names,
            processes,
            values,
            keys,
            misshapen,
        )
        return cls(
            start[:count],
            end[:count],
            type_[:count],
            function[:count],
            argument[:count],
            second[:count],
            result[:count],
            process[:count],
            key[:count],
            functions=tuple(names),
            values=list(values),
            processes=list(processes),
            keys=[name for _, name in keys.values()] if keyed else [None],
            history=history,
            misshapen={at: Misshapen(*what) for at, what in misshapen.items()},
        )

    def rows_of_function(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Which calls are of these functions."""
        wanted = set(names)
        return np.array([name in wanted for name in self.functions], dtype=bool)[self.function]

    def take(self, rows: NDArray[Any]) -> CallColumns:
        """Some of the calls: a mask, or positions in ascending order."""
        return replace(
            self,
            start=self.start[rows],
            end=self.end[rows],
            type=self.type[rows],
            function=self.function[rows],
            argument=self.argument[rows],
            second=self.second[rows],
            result=self.result[rows],
            process=self.process[rows],
            key=self.key[rows],
        )

    def that_matter_to(self, model: Model) -> CallColumns:
        """Without failed calls from which the model learns nothing, without crashed reads, and without crashed calls
        that would only have kept everybody else waiting."""
        if self.type.size == 0 or self.type.min() == self.type.max() == OK_CODE:
            return self
        kept = self.type == OK_CODE
        crashed = self.type == INFO_CODE
        if crashed.any():
            kept |= crashed & ~self.rows_of_function(model.reads)
            if model.keeps:
                kept &= ~(crashed & self.rows_of_function(model.keeps) & self._last_of_processes())
        if model.failures:
            kept |= (self.type == FAIL_CODE) & self.rows_of_function(model.failures)
        return self if kept.all() else self.take(kept)

    def _last_of_processes(self) -> NDArray[np.bool_]:
        """Which calls are the last ones of their processes on their keys."""
        which = self.process.astype(np.int64) * len(self.keys) + self.key
        _, from_the_end = np.unique(which[::-1], return_index=True)
        last = np.zeros(len(self), dtype=bool)
        last[len(self) - 1 - from_the_end] = True
        return last

    def calls(self, rows: Iterable[int] | None = None) -> list[Call]:
        """The calls as objects, all or some."""
        numbers = range(len(self)) if rows is None else rows
        return [self._call(int(row)) for row in numbers]

    def _call(self, row: int) -> Call:
        start, end = int(self.start[row]), int(self.end[row])
        type_ = TYPES[self.type[row]]
        f = self.functions[self.function[row]]
        argument = self.values[self.argument[row]]
        if f in COMPOUND:
            argument = (argument, self.values[self.second[row]])
        result = self.values[self.result[row]]
        return Call(self._pair(row, argument, result), f, argument, result, type_, start, end)

    def _pair(self, row: int, argument: Any, result: Any) -> Pair:
        start, end = int(self.start[row]), int(self.end[row])
        if self.history is not None:
            invocation = self.history.operations[start]
            return Pair(invocation, self.history.completion_of(invocation))
        process = self.processes[self.process[row]]
        f = self.functions[self.function[row]]
        invocation = Operation(start, start * 1_000_000, process, INVOKE, f, argument)
        if end == FOREVER:
            return Pair(invocation)
        answer = result if result is not None else argument
        return Pair(invocation, Operation(end, end * 1_000_000, process, TYPES[self.type[row]], f, answer))
