"""Both searches for one object, compiled, from columns; they run in turns until one of them knows.

Breadth first costs the same whether a history is right or wrong; depth first is quick where a right history lets it
pass, even with many open calls, and hopeless where it does not. Objects that need more room than the compiled
searches have (see `search_kernel.py`) take the plain search.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.linearizability import search_kernel
from checkers.linearizability.calls import FOREVER
from checkers.linearizability.columns import FAIL_CODE, OK_CODE, CallColumns
from checkers.linearizability.footprints import NONE, Footprints
from checkers.linearizability.footprints_kernel import last_observed
from checkers.linearizability.models import Model, State
from checkers.linearizability.search import SearchResult, Transitions
from results import kernels

UNRIVALLED: Final = 2_000
"""Configurations after which depth first leaves the field to breadth first, if that will soon be done."""
SOON: Final = 400_000
"""Configurations that are looked at in some hundredths of a second."""
MOST_OPEN: Final = 64
"""Calls that return and are open at a time, at most, in the compiled searches."""
BREADTH: Final = "breadth first"
DEPTH: Final = "depth first"
CRASH_BITS: Final = 64
"""Bits that they have for counting crashed calls."""
INTEGERS = NDArray[np.int64]


def is_compiled() -> bool:
    """Whether the searches run compiled."""
    return kernels.is_compiled(search_kernel)


@dataclass(frozen=True)
class Program:
    """The calls of one object, laid out for the compiled searches."""

    rows: INTEGERS
    """The position of each of its calls in the columns that it was made from."""
    events: array[int]
    slots: array[int]
    classes: NDArray[np.int32]
    start: INTEGERS
    end: INTEGERS
    width: int
    still: NDArray[np.int8]
    observed: NDArray[np.int32]
    written: NDArray[np.int32]
    transitions: Transitions | None
    """Where footprints do not say what happens, the model's steps."""
    state_count: int
    start_states: Sequence[int]
    guards: int
    offset: NDArray[np.int32]
    field_of: NDArray[np.uint64]
    until: INTEGERS

    def searches(self, most_bytes: int) -> tuple[Any, Any]:
        """Breadth first and depth first."""
        return self.breadth(most_bytes), self.depth(most_bytes)

    def breadth(self, most_bytes: int) -> Any:
        """The search that keeps all configurations."""
        kernel: Any = search_kernel
        return kernel.Breadth(self.guards, self.start_states, *self._laid_out(), most_bytes)

    def depth(self, most_bytes: int) -> Any:
        """The search that follows one configuration and goes back."""
        kernel: Any = search_kernel
        crashed = np.flatnonzero(self.offset >= 0).astype(np.int32)
        lapse = _array("i", crashed), _array("q", self.until)
        return kernel.Depth(self.guards, self.start_states, *lapse, *self._laid_out(), most_bytes)

    def _laid_out(self) -> tuple[Any, ...]:
        if self.guards:
            crashed = np.flatnonzero(self.offset >= 0).astype(np.int32)
            until = self.until[crashed]
            order = np.argsort(until, kind="stable")
            order = order[until[order] < FOREVER]
            retiring = _array("q", until[order]), _array("i", crashed[order])
        else:
            retiring = array("q"), array("i")
        return (
            self.events,
            self.slots,
            _array("i", self.classes),
            _array("q", self.start),
            _array("q", self.end),
            self.width,
            _array("b", self.still),
            _array("i", self.observed),
            _array("i", self.written),
            None if self.transitions is None else self.transitions.after,
            self.state_count,
            _array("i", self.offset),
            _array("Q", self.field_of),
            *retiring,
        )


def _array(code: str, column: NDArray[Any]) -> Any:
    """A column as a kernel takes it: an interpreted one needs an array of Python's own, whose items are ints."""
    if is_compiled() and column.flags.c_contiguous and column.flags.writeable:
        return column
    copy = array(code)
    copy.frombytes(np.ascontiguousarray(column).tobytes())
    return copy


def program_of_footprints(calls: Footprints, rows: INTEGERS) -> Program | None:
    """The calls at `rows`, all of one register; None if they need more room than there is."""
    calls = calls.take(rows)
    if calls.value_count > 4 * len(rows) + 64:
        calls = _with_own_values(calls)
    crashed = calls.end == FOREVER
    values = calls.value_count
    until_of_value = None
    if crashed.any():
        kept = ~crashed | (calls.written != NONE)
        if calls.unequal is None:
            until_of_value = np.full(values, -1, dtype=np.int64)
            last_observed(calls.observed, calls.written, calls.end, values, until_of_value)
            kept &= ~crashed | (until_of_value[calls.written] > calls.start)
        if not kept.all():
            calls, rows, crashed = calls.take(kept), rows[kept], crashed[kept]
    observed, written = calls.observed, calls.written
    if calls.unequal is not None:
        observed = np.where(calls.unequal, -2 - observed, observed)
    classes, codes = _numbered(observed, written, values)
    class_observed, class_written = observed[codes], written[codes]
    until = np.full(len(codes), FOREVER, dtype=np.int64)
    if until_of_value is not None:
        writes = class_written >= 0
        until[writes] = until_of_value[class_written[writes]]
    return _program(
        rows,
        calls.start,
        calls.end,
        crashed,
        classes,
        (class_written == NONE).astype(np.int8),
        until,
        observed=class_observed,
        written=class_written,
        state_count=values,
        start_states=[calls.initial],
    )


def _with_own_values(calls: Footprints) -> Footprints:
    """The values numbered anew, for one of many registers that share their values."""
    named = np.concatenate([[NONE, calls.initial], calls.observed, calls.written])
    values, places = np.unique(named, return_inverse=True)
    numbers: NDArray[np.int32] = (places - 1).astype(np.int32)  # NONE stays what it is: it is the least.
    count = len(calls.observed)
    return replace(
        calls,
        observed=numbers[2 : 2 + count],
        written=numbers[2 + count :],
        initial=int(numbers[1]),
        value_count=len(values) - 1,
    )


def _numbered(
    observed: NDArray[np.int32], written: NDArray[np.int32], values: int
) -> tuple[NDArray[np.int32], INTEGERS]:
    """The calls' classes (calls that observe and write the same), and a call of each class."""
    code = (observed.astype(np.int64) + values + 2) * (values + 1) + written + 1
    most = (2 * values + 2) * (values + 1)
    if most <= max(1024, 4 * len(code)):
        example = np.full(most, -1, dtype=np.int64)
        example[code] = np.arange(len(code))
        present = np.flatnonzero(example >= 0)
        number = np.empty(most, dtype=np.int32)
        number[present] = np.arange(len(present), dtype=np.int32)
        return number[code], example[present]
    _, examples, classes = np.unique(code, return_index=True, return_inverse=True)
    return classes.astype(np.int32), examples


def program_of_model(
    columns: CallColumns, model: Model, start_states: Iterable[State] | None
) -> Program | None:
    """The calls of one object, in the order of invocation; None if they need more room than there is."""
    transitions = Transitions(model)
    states = [model.initial_state()] if start_states is None else start_states
    numbers = [transitions.intern(state) for state in states]
    answers = model.answers
    answering = np.array([answers is None or name in answers for name in columns.functions], dtype=bool)
    classes = np.empty(len(columns), dtype=np.int32)
    known: dict[tuple[int, ...], int] = {}
    answering_list = answering.tolist()
    rows = zip(
        columns.function.tolist(),
        columns.argument.tolist(),
        columns.second.tolist(),
        columns.result.tolist(),
        columns.type.tolist(),
        columns.process.tolist(),
        strict=True,
    )
    for row, (function, argument, second, result, type_, process) in enumerate(rows):
        tells = answering_list[function] or type_ == FAIL_CODE
        name = (
            function,
            argument,
            second,
            result if tells else 0,
            type_ if tells else OK_CODE,
            process if model.by_process else 0,
        )
        number = known.get(name)
        if number is None:
            number = known[name] = transitions.class_of(columns.calls([row])[0])
        classes[row] = number
    class_count = len(transitions.examples)
    return _program(
        np.arange(len(columns)),
        columns.start,
        columns.end,
        columns.end == FOREVER,
        classes,
        np.array([transitions.changes_nothing(number) for number in range(class_count)], dtype=np.int8),
        np.full(class_count, FOREVER, dtype=np.int64),
        observed=np.full(class_count, NONE, dtype=np.int32),
        written=np.full(class_count, NONE, dtype=np.int32),
        state_count=len(transitions.states),
        start_states=numbers,
        transitions=transitions,
    )


def _program(
    rows: INTEGERS,
    start: INTEGERS,
    end: INTEGERS,
    crashed: NDArray[np.bool_],
    classes: NDArray[np.int32],
    still: NDArray[np.int8],
    until: INTEGERS,
    *,
    observed: NDArray[np.int32],
    written: NDArray[np.int32],
    state_count: int,
    start_states: Sequence[int],
    transitions: Transitions | None = None,
) -> Program | None:
    offset = np.full(len(until), -1, dtype=np.int32)
    field_of = np.zeros(len(until), dtype=np.uint64)
    guards = 0
    if crashed.any():
        # Crashed calls that change nothing tell nothing.
        kept = ~(crashed & (still[classes] != 0))
        if not kept.all():
            rows, start, end, crashed, classes = (
                column[kept] for column in (rows, start, end, crashed, classes)
            )
    if crashed.any():
        laid = _lay_out_crashed(start[crashed], classes[crashed], until, offset, field_of)
        if laid is None:
            return None
        guards = laid
    returns = np.flatnonzero(~crashed)
    returns = returns[np.argsort(end[returns])]
    events = array("i", bytes(4 * (len(rows) + len(returns))))
    slots = array("i", [-1]) * len(rows)
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    width = search_kernel.lay_out(start, end, returns, events, slots)
    if width > MOST_OPEN:
        return None
    return Program(
        rows,
        events,
        slots,
        classes,
        start,
        end,
        width,
        still,
        observed,
        written,
        transitions,
        state_count,
        start_states,
        guards,
        offset,
        field_of,
        until,
    )


def _lay_out_crashed(
    start: INTEGERS,
    classes: NDArray[np.int32],
    until: INTEGERS,
    offset: NDArray[np.int32],
    field_of: NDArray[np.uint64],
) -> int | None:
    """Gives each class of crashed calls bits to count them in, which others get when it no longer matters. Answers
    the guard bits, one above each count; None if there is not enough room.

    Counts are of two sizes, one bit for classes with a single crashed call, and one for all others.
    """
    counts: list[int] = np.bincount(classes).tolist()
    lapses: list[int] = until.tolist()
    begin: dict[int, int] = {}
    for class_, moment in zip(classes.tolist(), start.tolist(), strict=True):
        begin.setdefault(class_, moment)
    wide: int = max(counts).bit_length() + 1
    placed: list[tuple[int, bool, int]] = []
    free: dict[bool, list[int]] = {True: [], False: []}
    busy: list[tuple[int, bool, int]] = []
    number_of = {True: 0, False: 0}
    for class_, moment in begin.items():
        single = counts[class_] == 1
        still_busy = []
        for entry in busy:
            if entry[0] < moment:
                free[entry[1]].append(entry[2])
            else:
                still_busy.append(entry)
        busy = still_busy
        if free[single]:
            place = free[single].pop()
        else:
            place = number_of[single]
            number_of[single] += 1
            if 2 * number_of[True] + wide * number_of[False] > CRASH_BITS:
                return None
        busy.append((lapses[class_], single, place))
        placed.append((class_, single, place))
    base = 2 * number_of[True]
    guards = sum(1 << (2 * place + 1) for place in range(number_of[True]))
    guards += sum(1 << (base + wide * place + wide - 1) for place in range(number_of[False]))
    offsets, fields = offset.tolist(), [0] * len(lapses)
    for class_, single, place in placed:
        offsets[class_] = 2 * place if single else base + wide * place
        fields[class_] = (1 if single else (1 << (wide - 1)) - 1) << offsets[class_]
    offset[:] = offsets
    field_of[:] = np.array(fields, dtype=np.uint64)
    return guards


@dataclass
class Race:
    """The search for one object's linearization, by whoever is first."""

    program: Program
    columns: CallColumns
    most_bytes: int
    looked_at: int = field(default=0, init=False)
    """Configurations looked at so far: the work done."""
    held_bytes: int = field(default=0, init=False)
    result: SearchResult | None = field(default=None, init=False)
    is_full: bool = field(default=False, init=False)
    """Whether all searches gave up for want of memory."""
    winner: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._runners: dict[str, Any] = {BREADTH: self.program.breadth(self.most_bytes), DEPTH: None}
        self._looked_at = {BREADTH: 0, DEPTH: 0}
        self._bytes = {BREADTH: 0, DEPTH: 0}

    def run(self, budget: int) -> SearchResult | None:
        """Goes on until it is decided or each search has looked at `budget` configurations in all."""
        for name in list(self._runners):
            if self._looked_at[name] >= budget or (name == DEPTH and self._is_nearly_over(budget)):
                continue
            if self._runners[name] is None:
                self._runners[name] = self.program.depth(self.most_bytes)
            runner = self._runners[name]
            status = runner.run(budget)
            looked_at, _, held_bytes, stuck = runner.figures()
            self._looked_at[name] = max(looked_at, budget) if status == search_kernel.PAUSED else looked_at
            self._bytes[name] = held_bytes
            self.looked_at = sum(self._looked_at.values())
            self.held_bytes = sum(self._bytes.values())
            if status == search_kernel.LEGAL:
                return self._decide(name, SearchResult(True))
            if status == search_kernel.ILLEGAL:
                (call,) = self.columns.calls([int(self.program.rows[stuck])])
                return self._decide(name, SearchResult(False, call))
            if status == search_kernel.FULL:
                del self._runners[name]
                self._bytes[name] = 0
                self.held_bytes = sum(self._bytes.values())
                self.is_full = not self._runners
        return None

    def _is_nearly_over(self, budget: int) -> bool:
        """Whether breadth first will soon be done, so that depth first may leave the field to it."""
        breadth = self._runners.get(BREADTH)
        return budget > UNRIVALLED and breadth is not None and bool(breadth.needs() < SOON)

    def _decide(self, name: str, result: SearchResult) -> SearchResult:
        self.result, self.winner = result, name
        self._runners = {}
        self.held_bytes = 0
        return result
