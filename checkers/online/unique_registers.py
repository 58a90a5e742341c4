"""Registers to which every value is written once, while the run goes on: no read of what was overwritten before it.

The rule, with v and u two values of a key: an operation that saw or wrote v had ended before one that saw or wrote u
began, and that one had ended before this read began. Then v was there before u was, and cannot be there again, since
nobody writes it twice; so a read that answers v is wrong, whatever else may come. (These are two of the zones of
Gibbons and Korach 1997, in the order in which they show.)

Memory: the values of every key. Reads of values that were never written, or whose write had failed, are found as well.
"""

from __future__ import annotations

from typing import Any

from results.operation import FAIL, INVOKE, OK, Operation
from results.verdict import Anomaly

STALE = "stale read"
NEVER_WRITTEN = "read of a value never written"
FAILED_WRITE = "read of a failed write"

_NOBODY = object()
"""No value at all."""


class _Key:
    """What is known of one register."""

    __slots__ = ("failed", "first_end", "newest", "second", "written")

    def __init__(self, initial: Any) -> None:
        self.written: set[Any] = set()
        """Values of writes that have begun."""
        self.failed: set[Any] = set()
        self.first_end: dict[Any, int] = {initial: -1}
        """Value -> index of the first end of an operation that saw or wrote it."""
        self.newest: tuple[int, Any, int] = (-1, _NOBODY, -1)
        """Of the operations that have ended, the one that began last: its begin, its value, its end."""
        self.second: tuple[int, Any, int] = (-1, _NOBODY, -1)
        """The same of those with another value."""

    def ended(self, value: Any, begin: int, end: int) -> None:
        """An operation that saw or wrote this value has ended."""
        self.first_end.setdefault(value, end)
        if value == self.newest[1]:
            if begin > self.newest[0]:
                self.newest = (begin, value, end)
        elif begin > self.newest[0]:
            self.newest, self.second = (begin, value, end), self.newest
        elif begin > self.second[0]:
            self.second = (begin, value, end)


class OnlineRegisters:
    """A part of what `LinearizabilityChecker(CasRegister())` says of keyed histories with unique values: operations
    `read`, `write`, `cas` with values `[key, ...]`."""

    name = "linearizability"

    def __init__(self, initial: Any = None) -> None:
        self._initial = initial
        self._keys: dict[Any, _Key] = {}
        self._open: dict[int | str, tuple[Operation, tuple[int, Any, int], tuple[int, Any, int]]] = {}
        """Process -> its invocation, and what was newest and second then."""

    def observe(self, event: Operation) -> Anomaly | None:
        if event.type == INVOKE:
            number, asked = event.value
            key = self._keys.get(number)
            if key is None:
                key = self._keys[number] = _Key(self._initial)
            if event.f != "read":
                key.written.add(asked if event.f == "write" else asked[1])
            self._open[event.process] = (event, key.newest, key.second)
            return None
        opened = self._open.pop(event.process, None)
        if opened is None:
            return None
        invocation, newest, second = opened
        number, asked = invocation.value
        key = self._keys[number]
        if event.type == FAIL:
            return None if event.f == "read" else self._failed(key, event, asked)
        if event.type != OK:
            return None
        begin, end = invocation.index, event.index
        if event.f == "write":
            key.ended(asked, begin, end)
            return None
        seen = event.value[1] if event.f == "read" else asked[0]
        try:
            first_end = key.first_end.get(seen)
        except TypeError:  # A list or a mapping, which nobody has written: the full checker will say so.
            return None
        later = second if seen == newest[1] else newest
        if first_end is not None and later[0] > first_end:
            sentence = (
                f"{STALE}: process {event.process} saw {seen!r} of key {number} with event {end}, but "
                f"{later[1]!r} had been seen or written with event {later[2]}, before this began, by an operation that "
                f"itself began after {seen!r} was there"
            )
            return Anomaly(STALE, sentence, [begin, later[0], later[2], end])
        if first_end is None and seen not in key.written and seen != self._initial:
            sentence = (
                f"{NEVER_WRITTEN}: process {event.process} saw {seen!r} of key {number} with event {end}"
            )
            return Anomaly(NEVER_WRITTEN, sentence, [begin, end])
        if seen in key.failed:
            sentence = (
                f"{FAILED_WRITE}: process {event.process} saw {seen!r} of key {number} with event {end}"
            )
            return Anomaly(FAILED_WRITE, sentence, [begin, end])
        if event.f == "cas":
            key.first_end.setdefault(seen, end)
            key.ended(asked[1], begin, end)
        else:
            key.ended(seen, begin, end)
        return None

    @staticmethod
    def _failed(key: _Key, event: Operation, asked: Any) -> Anomaly | None:
        value = asked if event.f == "write" else asked[1]
        key.failed.add(value)
        if value not in key.first_end:
            return None
        sentence = (
            f"{FAILED_WRITE}: {value!r} was seen with event {key.first_end[value]}, and its write by process "
            f"{event.process} failed with event {event.index}"
        )
        return Anomaly(FAILED_WRITE, sentence, [key.first_end[value], event.index])
