"""Promises that leaders have made to readers of one range: closed timestamps, and what is written in spite of them.

A closing counts as soon as any replica has heard of it, whoever told it: from then on it may be read by. Writes of
transactions count when their intents are written; what an intent becomes later stands where readers have met it.
"""

from __future__ import annotations

from bisect import bisect_left

from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, PutIntent, PutVersion, RemoveIntent

CLOSINGS_KEPT = 5000


class Closed:
    """The closings of one range, those that say something new: ever later timestamps at ever larger indexes."""

    __slots__ = ("_indexes", "_timestamps")

    def __init__(self) -> None:
        self._indexes: list[int] = []
        self._timestamps: list[Timestamp] = []

    def heard(self, timestamp: Timestamp, index: int) -> None:
        """A replica has heard of a closing."""
        indexes, timestamps = self._indexes, self._timestamps
        at = bisect_left(indexes, index)
        if (at < len(indexes) and indexes[at] == index and timestamps[at] >= timestamp) or (
            at and timestamps[at - 1] >= timestamp
        ):
            return
        # Those that come later in the log and close less say nothing new.
        end = at
        while end < len(indexes) and timestamps[end] <= timestamp:
            end += 1
        indexes[at:end], timestamps[at:end] = [index], [timestamp]
        if len(indexes) > CLOSINGS_KEPT:
            del indexes[0], timestamps[0]

    def broken_by(self, index: int, command: Command) -> str | None:
        """What an applied command writes below what was closed before its index; None if it doesn't."""
        at = bisect_left(self._indexes, index)
        if not at:
            return None
        closed = self._timestamps[at - 1]
        resolved = {one.key for one in command.mutations if isinstance(one, RemoveIntent)}
        for mutation in command.mutations:
            match mutation:
                case PutVersion(key=key, timestamp=timestamp) if key not in resolved:
                    what = "a version"
                case PutIntent(key=key, intent=intent):
                    what, timestamp = "an intent", intent.timestamp
                case _:
                    continue
            if timestamp <= closed:
                return (
                    f"entry {index} writes {what} of {key!r} at {timestamp}; {closed} was closed at index "
                    f"{self._indexes[at - 1]}"
                )
        return None
