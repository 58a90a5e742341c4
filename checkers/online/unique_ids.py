"""Identifiers, while the run goes on: none comes twice. Memory: all of them."""

from __future__ import annotations

from checkers.unique_ids import DUPLICATE
from results.operation import OK, Operation
from results.verdict import Anomaly


class OnlineUniqueIds:
    """What `UniqueIdsChecker` says, of identifiers that are texts or whole numbers."""

    name = "unique-ids"

    def __init__(self) -> None:
        self._seen: dict[int | str, int] = {}

    def observe(self, event: Operation) -> Anomaly | None:
        if event.type != OK or type(event.value) not in (int, str):
            return None
        before = self._seen.setdefault(event.value, event.index)
        if before == event.index:
            return None
        sentence = f"{DUPLICATE}: {event.value!r} came with events {before} and {event.index}"
        return Anomaly(DUPLICATE, sentence, [before, event.index])
