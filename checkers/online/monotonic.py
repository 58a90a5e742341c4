"""Numbers that only grow, while the run goes on: nobody sees less than had been seen before it began.

Memory: a number for each key, and one for each operation under way. Increments that lead to the same value are only
noticed where one began after the other had ended.
"""

from __future__ import annotations

from checkers.monotonic import BACKWARDS
from checkers.values import whole_number
from results.operation import INVOKE, OK, Operation
from results.verdict import Anomaly


class OnlineMonotonic:
    """A part of what `MonotonicChecker` says, with `real_time`."""

    name = "monotonic"

    def __init__(self) -> None:
        self._floor: dict[object, tuple[int, int]] = {}
        """Key -> the largest value of an operation that has ended, and the index of its end."""
        self._began: dict[int | str, tuple[int, int]] = {}
        """Process -> that pair when its operation began."""

    def observe(self, event: Operation) -> Anomaly | None:
        if event.type == INVOKE:
            self._began[event.process] = self._floor.get(event.value, (0, -1))
            return None
        least, seen_at = self._began.pop(event.process, (0, -1))
        if event.type != OK:
            return None
        key, answer = event.value
        value = 0 if answer is None else whole_number(answer)
        if value is None:
            return None
        if seen_at >= 0 and (value < least or (value == least and event.f == "inc")):
            sentence = (
                f"{BACKWARDS}: process {event.process} saw {value} of key {key} with event {event.index}, though it "
                f"began after {least} had been seen with event {seen_at}"
            )
            return Anomaly(BACKWARDS, sentence, [seen_at, event.index])
        if value > self._floor.get(key, (0, -1))[0]:
            self._floor[key] = (value, event.index)
        return None
