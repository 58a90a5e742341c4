"""Lists that transactions append to, while the run goes on: reads continue each other, and show nothing that failed.

Of every list the longest read so far is kept. A read that is neither its beginning nor its continuation contradicts it:
no order of appends explains both. An element that is read though the transaction which appended it has failed is an
aborted read (G1a). Which of these are wrong depends on the isolation that is demanded.

Memory: the longest read of each key, and the elements that failed. A read costs a comparison of two lists.
"""

from __future__ import annotations

from typing import Any

from checkers.isolation.lattice import canonical, proscribed
from results.operation import FAIL, INVOKE, OK, Operation
from results.verdict import Anomaly

APPEND = "append"
INCOMPATIBLE = "incompatible-order"
ABORTED_READ = "G1a"


class OnlineListAppend:
    """A part of what `ListAppendChecker` says."""

    name = "list-append"

    def __init__(self, isolation: str) -> None:
        wrong = proscribed(canonical(isolation))
        self._orders_matter = INCOMPATIBLE in wrong
        self._aborts_matter = ABORTED_READ in wrong
        self._longest: dict[Any, tuple[list[Any], int]] = {}
        """Key -> the longest read, and the index of its end."""
        self._failed: set[tuple[Any, Any]] = set()
        """Key and element."""
        self._open: dict[int | str, Operation] = {}

    def observe(self, event: Operation) -> Anomaly | None:
        if event.type == INVOKE:
            self._open[event.process] = event
            return None
        invocation = self._open.pop(event.process, None)
        if event.type == OK:
            for function, key, value in event.value:
                if function != APPEND and value and (found := self._read(event, key, value)):
                    return found
        elif event.type == FAIL and invocation is not None and self._aborts_matter:
            for function, key, value in invocation.value:
                if function == APPEND:
                    self._failed.add((key, value))
                    longest, seen_at = self._longest.get(key, ((), -1))
                    if value in longest:
                        return _aborted(key, value, seen_at, event.index)
        return None

    def _read(self, event: Operation, key: Any, elements: list[Any]) -> Anomaly | None:
        longest, seen_at = self._longest.get(key, ([], -1))
        length = len(longest)
        if len(elements) <= length:
            fits = longest == elements or longest[: len(elements)] == elements
            fresh = []
        else:
            fits = elements[:length] == longest
            fresh = elements[length:]
        if not fits:
            if not self._orders_matter:
                return None
            sentence = (
                f"{INCOMPATIBLE}: process {event.process} read {elements!r:.200} from key {key} with event "
                f"{event.index}, which neither continues nor begins {longest!r:.200}, read with event {seen_at}"
            )
            return Anomaly(INCOMPATIBLE, sentence, [seen_at, event.index])
        if fresh:
            self._longest[key] = (elements, event.index)
            if self._failed:
                for element in fresh:
                    if (key, element) in self._failed:
                        return _aborted(key, element, event.index, None)
        return None


def _aborted(key: Any, element: Any, seen_at: int, failed_at: int | None) -> Anomaly:
    when = "had failed" if failed_at is None else f"failed with event {failed_at}"
    sentence = (
        f"{ABORTED_READ}: {element!r} of key {key} was read with event {seen_at}, but the transaction that appended "
        f"it {when}"
    )
    return Anomaly(ABORTED_READ, sentence, sorted({seen_at, seen_at if failed_at is None else failed_at}))
