"""A recorded stream of operations: what the clients of an earlier run asked for, asked again at the same times.

How it is replayed:

- Each operation is invoked by its *thread*, the place where one client process runs after the other. Process numbers
  cannot be kept: a process that ends in info is replaced, and which ones do differs between runs.
- A thread invokes its operations in their recorded order, each not before its time and not before the thread is free.
  The times do not wait for the clients (open loop): after a stall a thread goes on with what is overdue, and the
  history says by how much each was late.
- Times count from the start of the main phase. Only that phase is recorded: the last reads of a run are its workload's.
- The stream lasts as long as the main phase did, also where its last operation is over long before: faults may follow.

Its file has one JSON object a line, see docs/run-folder.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from results.history import History
from results.operation import HARNESS, INVOKE, MAIN_PHASE
from workloads.generator.core import Answer, Context, Generator, Invocation, Pending


class RecordingError(ValueError):
    """A stream of operations cannot be used; the text says where it is wrong, and what must be there."""


class RecordedOperation(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One operation to invoke."""

    thread: int
    """Which client: process p of a run with n of them ran on thread p modulo n."""
    at_ns: int
    """Nanoseconds since the start of the main phase."""
    f: str
    value: Any = None

    def problem(self, threads: int | None = None) -> str | None:
        """Why it cannot be invoked by one of so many threads; None if it can."""
        if self.thread < 0 or self.at_ns < 0:
            return f"thread {self.thread} and at_ns {self.at_ns} must be >= 0"
        if threads is not None and self.thread >= threads:
            return (
                f"thread {self.thread} does not exist: there are {threads} (0 to {threads - 1}); "
                f"give --concurrency {self.thread + 1} or more"
            )
        return None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RecordedOperation)


def record_operations(history: History, threads: int) -> tuple[RecordedOperation, ...]:
    """What the clients of a run invoked in its main phase, in order of invocation; `threads` of them ran at once."""
    if threads < 1:
        raise RecordingError(f"{threads} threads: there must be at least one")
    start = main_phase_start(history)
    return tuple(
        RecordedOperation(event.process % threads, max(0, event.time - start), event.f, event.value)
        for event in history.operations
        if event.type == INVOKE and isinstance(event.process, int) and event.phase in (None, MAIN_PHASE)
    )


def main_phase_start(history: History) -> int:
    """When the clients of the main phase could first be asked for something, in nanoseconds since the start of the
    run: times of faults and of recorded operations count from there.

    The driver notes it at the end of the phases; in a record that was cut short, the mark of the phase is the nearest
    that there is (a few milliseconds before, while connections were opened).
    """
    for event in history.observed(HARNESS):
        if event.f == "drive" and isinstance(event.value, dict) and event.value.get("phase") == MAIN_PHASE:
            return int(event.value["start_ns"])
    return next((time for name, time in history.phases() if name == MAIN_PHASE), 0)


def encode_operations(operations: Iterable[RecordedOperation]) -> bytes:
    """The stream as JSON lines."""
    return b"".join(_encoder.encode(one) + b"\n" for one in operations)


def decode_operations(data: bytes) -> tuple[RecordedOperation, ...]:
    """Inverse of `encode_operations`. Raises RecordingError with the line and what is wrong with it."""
    operations = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            operation = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RecordingError(f"line {number} is not an operation to invoke: {error}") from error
        problem = operation.problem()
        if problem is not None:
            raise RecordingError(f"line {number}: {problem}")
        operations.append(operation)
    return tuple(operations)


def load_operations(path: Path) -> tuple[RecordedOperation, ...]:
    """Reads the file of a stream. Raises RecordingError, with the file's name."""
    try:
        return decode_operations(path.read_bytes())
    except OSError as error:
        raise RecordingError(f"cannot read the operations {path}: {error.strerror}") from error
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from error


def operations_from_dicts(operations: Iterable[Mapping[str, Any]]) -> tuple[RecordedOperation, ...]:
    """A stream from plain values. Raises RecordingError."""
    try:
        found = msgspec.convert(list(operations), tuple[RecordedOperation, ...])
    except msgspec.ValidationError as error:
        raise RecordingError(f"not a stream of operations: {error}") from error
    problems = [problem for one in found if (problem := one.problem()) is not None]
    if problems:
        raise RecordingError("; ".join(problems))
    return found


def operations_to_dicts(operations: Iterable[RecordedOperation]) -> list[dict[str, Any]]:
    """Inverse of `operations_from_dicts`."""
    return [msgspec.to_builtins(one) for one in operations]


def recorded(operations: Sequence[RecordedOperation], threads: int, length_s: float) -> Generator:
    """Invokes the stream by `threads` client threads, in a main phase of `length_s`. Raises RecordingError for an
    operation whose thread does not exist."""
    problems = [
        f"operation {position} ({one.f}): {problem}"
        for position, one in enumerate(operations, start=1)
        if (problem := one.problem(threads)) is not None
    ]
    if problems:
        more = f"; and {len(problems) - 5} more like this" if len(problems) > 5 else ""
        raise RecordingError("; ".join(problems[:5]) + more)
    lines: list[list[Due]] = [[] for _ in range(threads)]
    for order, one in enumerate(operations):
        lines[one.thread].append(Due(one.at_ns, order, one.f, one.value))
    for line in lines:
        line.sort(key=lambda due: (due.at_ns, due.order))
    return Recorded(tuple(map(tuple, lines)), (0,) * threads, round(length_s * 1_000_000_000))


class Due(msgspec.Struct, frozen=True, gc=False):
    """An operation in the line of its thread."""

    at_ns: int
    order: int
    f: str
    value: Any


class Recorded(Generator, frozen=True):
    """See `recorded`."""

    lines: tuple[tuple[Due, ...], ...]
    """For each thread, what it invokes, in order."""
    done: tuple[int, ...]
    """For each thread, how many of them it has invoked."""
    length_ns: int
    start: int | None = None
    """When it was first asked; None before."""

    def next(self, context: Context) -> Answer:
        now, start = context.time, self.start
        if start is None:
            return Recorded(self.lines, self.done, self.length_ns, now).next(context)
        if now >= start + self.length_ns:
            return None
        first: Due | None = None
        chosen = -1
        for thread, count in enumerate(self.done):
            line = self.lines[thread]
            if count == len(line) or not context.free >> thread & 1:
                continue
            due = line[count]
            if first is None or (due.at_ns, due.order) < (first.at_ns, first.order):
                first, chosen = due, thread
        if first is None:
            return Pending(start + self.length_ns), self
        at = start + first.at_ns
        if at > now:
            return Pending(min(at, start + self.length_ns)), self
        done = (*self.done[:chosen], self.done[chosen] + 1, *self.done[chosen + 1 :])
        invocation = Invocation(first.f, first.value, context.processes[chosen], at)
        return invocation, Recorded(self.lines, done, self.length_ns, start)

    @property
    def listens(self) -> bool:
        return False
