"""Structured events and marks, emitted into a sink that is passed in.

An event says what happened; a mark says that an interesting situation was reached, so that a sweep can count how often
it was. Whoever emits writes `if trace is not None: trace.event(...)`: without a sink it costs one comparison.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol


class Trace(Protocol):
    """A sink. It must not change what it is given, and must not raise."""

    def event(self, area: str, name: str, **fields: Any) -> None:
        """Something happened: `area` is the module's word ("range 3", "txn", "clock"), `name` the event's."""

    def mark(self, name: str, **fields: Any) -> None:
        """A situation that tests want to see was reached; the name is a sentence and doesn't vary."""


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One recorded event. A mark has area "mark"."""

    area: str
    name: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        return format_event(self.area, self.name, self.fields)


@dataclass(slots=True)
class RecordingTrace:
    """A sink that remembers everything, for tests."""

    events: list[TraceEvent] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)

    def event(self, area: str, name: str, **fields: Any) -> None:
        self.events.append(TraceEvent(area, name, fields))

    def mark(self, name: str, **fields: Any) -> None:
        self.marks[name] += 1
        self.events.append(TraceEvent("mark", name, fields))


def format_event(area: str, name: str, fields: dict[str, Any]) -> str:
    """One line: `area: name key=value key=value`, keys in the order they were given."""
    details = "".join(f" {key}={_shown(value)}" for key, value in fields.items())
    return f"{area}: {name}{details}"


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex() if len(value) == 16 else repr(value)[1:]
    return str(value)
