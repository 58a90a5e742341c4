"""One record of a history: an operation is invoked, and ends in ok, fail or info.

An *event* is one line of the history. A client's operation makes two of them: the invocation, and the
completion that says how it ended:

    ok      it happened, and this is the answer
    fail    it certainly did not happen
    info    it may have happened, now or at any later time

The nemesis and other observers write events too; their process is a name instead of a number. Nothing in this
file knows the time or does I/O.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

INVOKE: Final = "invoke"
OK: Final = "ok"
FAIL: Final = "fail"
INFO: Final = "info"
TYPES: Final = (INVOKE, OK, FAIL, INFO)

NEMESIS: Final = "nemesis"
"""The process that injects faults."""
HARNESS: Final = "harness"
"""The process that marks the phases of a run."""
LOG: Final = "log"
LEADERS: Final = "leaders"
"""The event of the observer `LOG` that says who led which range when."""
"""The process whose events are lines found in the logs of the nodes."""

MAIN_PHASE: Final = "main"
FINAL_PHASE: Final = "final"


class Operation(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One event of a history; as a JSON line, exactly these fields, the defaults left out.

    Values are JSON-like data (no cycles, hence `gc=False`: the collector need not visit a million of them).
    """

    index: int
    """Position in the history, from 0, dense."""
    time: int
    """Nanoseconds since the start of the run, by the harness's monotonic clock."""
    process: int | str
    """A client process's number (never used again after info), or an observer's name."""
    type: str
    """One of `TYPES`."""
    f: str
    """The function: read, write, cas, transfer, add; for the nemesis start or stop."""
    value: Any = None
    error: Any = None
    """Why it failed, or why its outcome is unknown: `[kind, text]` or a text."""
    intended: int | None = None
    """Invocations of open-loop generators: when it should have started; `time` is when it did."""
    node: str | None = None
    """Invocations: the node that this process talks to."""
    phase: str | None = None
    """Invocations: the phase it belongs to; None means main."""
    committed_at: int | None = None
    """Completions: the commit timestamp that the database gave, in its own unit; checkers take greater for later."""

    @property
    def is_client(self) -> bool:
        return isinstance(self.process, int)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Operation)


def encode_line(operation: Operation) -> bytes:
    """The operation as one JSON line, newline included. Raises TypeError for a value JSON cannot carry."""
    return _encoder.encode(operation) + b"\n"


def encode_lines(operations: list[Operation]) -> bytes:
    """Many operations as JSON lines, in one pass."""
    return _encoder.encode_lines(operations)


def decode_line(line: bytes) -> Operation:
    """The operation on one line. Raises `msgspec.MsgspecError` for anything else."""
    return _decoder.decode(line)


def decode_lines(lines: bytes) -> list[Operation]:
    """All operations of a text of JSON lines, in one pass. Raises `msgspec.MsgspecError`."""
    return _decoder.decode_lines(lines)
