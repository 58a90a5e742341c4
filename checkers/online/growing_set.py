"""A set that only grows, while the run goes on: a read has everything that was acknowledged before it began.

Memory: every element that was acknowledged, and those whose add failed or crashed. A read costs what it takes to look
at its elements once.
"""

from __future__ import annotations

from typing import Any

from checkers.set_full import FAILED_ADD, STALE
from results.operation import FAIL, INVOKE, OK, Operation
from results.verdict import Anomaly


class OnlineSet:
    """A part of what `SetFullChecker` says of a set that is to be linearizable."""

    name = "set"

    def __init__(self) -> None:
        self._added: list[Any] = []
        """In the order in which they were acknowledged."""
        self._known: set[Any] = set()
        self._unknown: set[Any] = set()
        self._failed: set[Any] = set()
        """Every add of these that has begun has failed."""
        self._adding: dict[int | str, Any] = {}
        """Process -> what it is adding."""
        self._reading: dict[int | str, int] = {}
        """Process -> how many were acknowledged when its read began."""

    def observe(self, event: Operation) -> Anomaly | None:
        process = event.process
        if event.f == "add":
            if event.type == INVOKE:
                self._adding[process] = event.value
                self._failed.discard(event.value)
                return None
            element = self._adding.pop(process, None)
            if event.type == OK:
                self._added.append(element)
                self._known.add(element)
            elif event.type != FAIL:
                self._unknown.add(element)
            elif not any(element in others for others in (self._known, self._unknown, self._adding.values())):
                self._failed.add(element)
            return None
        if event.type == INVOKE:
            self._reading[process] = len(self._added)
            return None
        known = self._reading.pop(process, 0)
        if event.type != OK or not isinstance(event.value, list):
            return None
        try:
            seen = set(event.value)
        except TypeError:  # An element that is a list or a mapping: the full checker will say what it is.
            return None
        if not self._known <= seen:
            for element in self._added[:known]:
                if element not in seen:
                    what = f"lacks {element!r}, which was acknowledged before it began"
                    return _anomaly(event, STALE, what)
        if not self._failed.isdisjoint(seen):
            element = min(self._failed & seen, key=repr)
            return _anomaly(event, FAILED_ADD, f"shows {element!r}, whose add had failed")
        return None


def _anomaly(event: Operation, kind: str, what: str) -> Anomaly:
    sentence = f"{kind}: the read by process {event.process} that ended with event {event.index} {what}"
    return Anomaly(kind, sentence, [event.index])
