"""The ordered record of a run: pairs invocations with completions, columns for the checkers.

The rules of a history, checked when one is built, recorded or loaded:

- indexes are dense: the event at position i has index i; the index *is* the order, the time only decorates it;
- the events of one client process alternate: an invocation, then its completion;
- a process whose operation ended in info is never heard of again (its client may still be acting).

Observers (processes with a name) may write what they like, whenever they like. An invocation without a
completion counts as info: the run ended, or the harness died, before anybody knew.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from results import history_kernel, kernels
from results import operation as operations_module
from results.collector import collector_paused
from results.interchange.places import FormatError
from results.operation import FAIL, HARNESS, INFO, INVOKE, NEMESIS, OK, TYPES, Operation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TYPE_CODES = {name: code for code, name in enumerate(TYPES)}
"""The numbers of the types in `Columns.type`: invoke 0, ok 1, fail 2, info 3."""


class HistoryError(ValueError):
    """The events do not make a history; the message names the event and the rule."""


class Pair(msgspec.Struct, frozen=True, gc=False):
    """A client's operation: its invocation, and its completion if there is one."""

    invocation: Operation
    completion: Operation | None = None

    @property
    def process(self) -> int | str:
        return self.invocation.process

    @property
    def f(self) -> str:
        return self.invocation.f

    @property
    def type(self) -> str:
        """How it ended: ok, fail or info (also when no completion was recorded)."""
        return INFO if self.completion is None else self.completion.type

    @property
    def value(self) -> Any:
        """What the operation was about: the answer of an ok completion if it has one, else what was asked."""
        completion = self.completion
        if completion is not None and completion.type == OK and completion.value is not None:
            return completion.value
        return self.invocation.value

    @property
    def start(self) -> int:
        """Time of the invocation, in nanoseconds."""
        return self.invocation.time

    @property
    def end(self) -> int | None:
        """Time of the completion, in nanoseconds; None if none was recorded. After info the operation may
        take effect even later than that."""
        return None if self.completion is None else self.completion.time

    @property
    def index(self) -> int:
        return self.invocation.index

    @property
    def phase(self) -> str:
        return self.invocation.phase or operations_module.MAIN_PHASE

    @property
    def indices(self) -> list[int]:
        """Indexes of its events, for the evidence of an anomaly."""
        if self.completion is None:
            return [self.invocation.index]
        return [self.invocation.index, self.completion.index]


@dataclass(frozen=True)
class FaultInterval:
    """One step of the nemesis: when it was tried, when it took effect, when it was healed, by what proof."""

    step: int
    fault: str
    shape: str | None
    targets: tuple[str, ...]
    start_ns: int
    effective_ns: int | None
    """When the fault was known to have taken effect; None if it never was."""
    end_ns: int | None
    """When it was known to be healed; None if the record ends before that."""
    took_effect: bool
    skipped: str | None
    """Why the step was not carried out, if it was not."""
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """The events as NumPy columns, one entry an event."""

    time: NDArray[np.int64]
    type: NDArray[np.int8]
    """By `TYPE_CODES`."""
    process: NDArray[np.int32]
    """Position in `processes`."""
    f: NDArray[np.int32]
    """Position in `functions`."""
    pair: NDArray[np.int64]
    """Index of the event at the other end of the operation; -1 if there is none."""
    processes: tuple[int | str, ...]
    functions: tuple[str, ...]


class HistoryOrder:
    """Checks event by event that a growing record keeps the rules of a history."""

    __slots__ = ("_ended", "_next_index", "_open")

    def __init__(self) -> None:
        self._next_index = 0
        self._open: dict[int, Operation] = {}
        """The invocation that each busy process is waiting on."""
        self._ended: dict[int, int] = {}
        """Processes that ended in info, with the index of that event."""

    def admit(self, operation: Operation) -> Operation | None:
        """Takes the next event; answers the invocation that it completes, if it is a client's completion.

        Raises HistoryError, and changes nothing, if the event breaks a rule.
        """
        index = operation.index
        if index != self._next_index:
            raise HistoryError(f"event {index} follows event {self._next_index - 1}: indexes must be dense")
        process = operation.process
        type_ = operation.type
        if isinstance(process, str):
            if type_ not in TYPES:
                raise HistoryError(_unknown_type(operation))
            self._next_index = index + 1
            return None
        if type_ == INVOKE:
            if process in self._open:
                raise HistoryError(
                    f"event {index}: process {process} invokes {operation.f} while its {self._open[process].f} "
                    f"of event {self._open[process].index} is still open; a process does one thing at a time"
                )
            if process in self._ended:
                raise HistoryError(
                    f"event {index}: process {process} invokes {operation.f} after event {self._ended[process]} "
                    "ended it with info; its successor needs a new number"
                )
            self._open[process] = operation
            self._next_index = index + 1
            return None
        if type_ not in TYPES:
            raise HistoryError(_unknown_type(operation))
        invocation = self._open.get(process)
        if invocation is None:
            raise HistoryError(
                f"event {index}: process {process} completes {operation.f} with {type_}, but has nothing open"
            )
        if invocation.f != operation.f:
            raise HistoryError(
                f"event {index}: process {process} completes {operation.f}, but event {invocation.index} "
                f"invoked {invocation.f}"
            )
        del self._open[process]
        if type_ == INFO:
            self._ended[process] = index
        self._next_index = index + 1
        return invocation


def _unknown_type(operation: Operation) -> str:
    return f"event {operation.index}: {operation.type!r} is no type of event (types: {', '.join(TYPES)})"


class History:
    """A finished record, frozen; what checkers and reports read.

    `History(operations)` checks the rules above and raises HistoryError. The lists that methods return are
    shared and must not be changed.
    """

    def __init__(
        self, operations: Iterable[Operation], *, torn: str | None = None, has_real_time: bool = True
    ) -> None:
        events = tuple(operations)
        self.operations: tuple[Operation, ...] = events
        self.torn = torn
        """What was wrong with the last line on disk, and what was made of it; None for a whole record."""
        self.has_real_time = has_real_time
        """Whether events of different processes stand in the order in which they happened. False for records that
        only know the order in each process; two operations of different processes may then have overlapped, however
        they stand here."""
        self.renamed = 0
        """How often a process of the record went on after an info, and has another number here."""
        self._pair = array("q", bytes(8 * len(events)))
        """For each event the index of the event at the other end of its operation, -1 if there is none."""
        if not history_kernel.pair_events(events, self._pair):
            order = HistoryOrder()
            for operation in events:
                order.admit(operation)
            raise AssertionError(f"the rules of a history are kept by all {len(events)} events, and are not")

    @classmethod
    def load(cls, path: Path) -> History:
        """Reads a file of JSON lines. A torn last line, as a crash leaves it, is dropped, and `torn` says so;
        damage anywhere else raises HistoryError with the line's number."""
        data = path.read_bytes()
        try:
            return cls(_plain_lines(data) or operations_module.decode_lines(data))
        except msgspec.MsgspecError:
            pass  # Some line is damaged: find out which.
        operations: list[Operation] = []
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for number, line in enumerate(lines, start=1):
            try:
                operations.append(operations_module.decode_line(line))
            except msgspec.MsgspecError as error:
                if number < len(lines) or data.endswith(b"\n"):
                    raise HistoryError(
                        f"{path}: line {number} of {len(lines)} is not an operation ({error}); only the last line "
                        "of a history may be damaged, by a crash in the middle of a write, and then has no end"
                    ) from error
                torn = (
                    f"the last line (line {number}, {len(line)} bytes) was torn and is left out; "
                    "an operation that it would have completed counts as info"
                )
                return cls(operations, torn=torn)
        return cls(operations)

    def __len__(self) -> int:
        return len(self.operations)

    def completion_of(self, invocation: Operation) -> Operation | None:
        """The completion of a client's invocation, if one was recorded."""
        index = self.partner_index(invocation.index)
        return None if index is None or invocation.type != INVOKE else self.operations[index]

    def partner_index(self, index: int) -> int | None:
        """Index of the event at the other end of the operation of the event at `index`."""
        partner = self._pair[index] if 0 <= index < len(self._pair) else -1
        return None if partner < 0 else partner

    @cached_property
    def _pairs(self) -> list[Pair]:
        return history_kernel.make_pairs(self.operations, self._pair, Pair)

    def pairs(self) -> list[Pair]:
        """Every client's operation, in the order of invocation."""
        return self._pairs

    def clients(self) -> list[Operation]:
        """The events of client processes."""
        return [operation for operation in self.operations if isinstance(operation.process, int)]

    def observed(self, process: str) -> list[Operation]:
        """The events of one observer, such as the nemesis or the logs."""
        return [operation for operation in self.operations if operation.process == process]

    def nemesis(self) -> list[Operation]:
        """The events of the nemesis."""
        return self.observed(NEMESIS)

    @property
    def duration_ns(self) -> int:
        """Time of the last event."""
        return self.operations[-1].time if self.operations else 0

    def phases(self) -> list[tuple[str, int]]:
        """When each phase began: `(name, time_ns)`, in order."""
        return [(str(mark.value), mark.time) for mark in self.observed(HARNESS) if mark.f == "phase"]

    def fault_intervals(self) -> list[FaultInterval]:
        """The steps of the nemesis, in the order in which they were started.

        A step's start and stop are each an invocation and an info with the same `value["step"]`; steps may
        overlap. A step that is invoked again (it had no effect before) has an interval for each time. Events of the
        nemesis without a step are notes and are passed over.
        """
        steps: dict[int, list[dict[str, Operation]]] = {}
        for event in self.nemesis():
            if (
                not isinstance(event.value, dict)
                or "step" not in event.value
                or event.f not in ("start", "stop")
            ):
                continue
            part = f"{event.f} {event.type}"
            attempts = steps.setdefault(int(event.value["step"]), [{}])
            if part == "start invoke" and attempts[-1]:
                attempts.append({})
            attempts[-1][part] = event
        intervals = [_fault_interval(step, events) for step, attempts in steps.items() for events in attempts]
        return sorted(intervals, key=lambda interval: (interval.start_ns, interval.step))

    @cached_property
    def _columns(self) -> Columns:
        import numpy as np  # Here, and not above: commands that need no columns start faster without it.

        from results.columns_kernel import split_events

        operations = self.operations
        count = len(operations)
        processes: dict[int | str, int] = {}
        functions: dict[str, int] = {}
        pair = np.array(self._pair, dtype=np.int64)
        time = np.empty(count, dtype=np.int64)
        type_ = np.empty(count, dtype=np.int8)
        process = np.empty(count, dtype=np.int32)
        f = np.empty(count, dtype=np.int32)
        split_events(tuple(operations), TYPE_CODES, processes, functions, time, type_, process, f)
        return Columns(
            time=time,
            type=type_,
            process=process,
            f=f,
            pair=pair,
            processes=tuple(processes),
            functions=tuple(functions),
        )

    def columns(self) -> Columns:
        """The events as NumPy columns, made on first use."""
        return self._columns


def _plain_lines(data: bytes) -> list[Operation]:
    """The operations of JSON lines as the harness writes them, read quickly; none if they are not all like that."""
    from results.interchange.events_kernel import Reader  # It imports operations, as this page does.

    if not kernels.is_compiled(history_kernel):
        return []  # msgspec is quicker than an interpreted kernel.
    operations: list[Operation] = []
    try:
        with collector_paused():
            Reader(data, True).own_lines(operations)
    except FormatError:
        return []
    return operations


def _fault_interval(step: int, events: dict[str, Operation]) -> FaultInterval:
    first = min(events.values(), key=lambda event: event.index)
    started = events.get("start info")
    stopped = events.get("stop info")
    plan: dict[str, Any] = {**first.value, **(started.value if started is not None else {})}
    took_effect = bool(started is not None and started.value.get("took_effect"))
    targets = plan.get("targets") or []
    return FaultInterval(
        step=step,
        fault=str(plan.get("fault", "")),
        shape=plan.get("shape"),
        targets=tuple(
            str(target) for target in (targets if isinstance(targets, list | tuple) else [targets])
        ),
        start_ns=first.time,
        effective_ns=started.time if started is not None and took_effect else None,
        end_ns=stopped.time if stopped is not None else None,
        took_effect=took_effect,
        skipped=plan.get("skipped"),
        evidence=plan.get("evidence") or {},
    )


class HistoryBuilder:
    """Grows a history event by event, and numbers the events; for tests, importers and small programs.

    Without a `time`, an event happens one millisecond after the one before.
    """

    def __init__(self) -> None:
        self._order = HistoryOrder()
        self._operations: list[Operation] = []
        self._open: dict[int, Operation] = {}

    def append(self, operation: Operation) -> Operation:
        """Takes an event as it is. Raises HistoryError if it breaks a rule."""
        self._order.admit(operation)
        self._operations.append(operation)
        if isinstance(operation.process, int):
            if operation.type == INVOKE:
                self._open[operation.process] = operation
            else:
                self._open.pop(operation.process, None)
        return operation

    def event(self, process: int | str, type_: str, f: str, value: Any = None, **more: Any) -> Operation:
        """Takes an event and numbers it; `more` are further fields of `Operation`."""
        time = more.pop("time", None)
        if time is None:
            time = self._operations[-1].time + 1_000_000 if self._operations else 0
        return self.append(Operation(len(self._operations), time, process, type_, f, value, **more))

    def invoke(self, process: int, f: str, value: Any = None, **more: Any) -> Operation:
        return self.event(process, INVOKE, f, value, **more)

    def ok(self, process: int, value: Any = None, **more: Any) -> Operation:
        """Completes what the process has open; without a value, the answer is what was asked."""
        return self._complete(process, OK, value, more)

    def fail(self, process: int, error: Any = None, **more: Any) -> Operation:
        return self._complete(process, FAIL, None, {"error": error, **more})

    def info(self, process: int, error: Any = None, **more: Any) -> Operation:
        return self._complete(process, INFO, None, {"error": error, **more})

    def _complete(self, process: int, type_: str, value: Any, more: dict[str, Any]) -> Operation:
        invocation = self._open.get(process)
        if invocation is None:
            raise HistoryError(f"process {process} has no operation open that could end in {type_}")
        return self.event(process, type_, invocation.f, invocation.value if value is None else value, **more)

    def done(self) -> History:
        """The history so far."""
        return History(self._operations)
