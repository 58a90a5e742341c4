"""Commit timestamps of a hybrid clock as numbers of a history: counted from the first one that a run has seen.

A history has room for 62 bits (`Operation.committed_at`), and nanoseconds since 1970 with a counter take more. So the
unit is a nanosecond divided by 2^16, which the counter fills, and zero is some hours before the first timestamp. What
does not fit in, by a clock that was set far away, is not recorded: without a timestamp a checker only knows less.
"""

from __future__ import annotations

from typing import Final, Protocol

COUNTER_BITS: Final = 16
BITS: Final = 62
BEFORE_NS: Final = 4 * 3_600_000_000_000
"""How far before the first timestamp others may lie."""


class HybridTime(Protocol):
    """A timestamp of a hybrid logical clock."""

    @property
    def wall_ns(self) -> int: ...

    @property
    def logical(self) -> int: ...


class Origin:
    """Where the numbers of one run are counted from; shared by all sessions."""

    def __init__(self) -> None:
        self._zero_ns: int | None = None

    def number(self, timestamp: HybridTime) -> int | None:
        """The timestamp as a number, greater for a later one; None if it does not fit in."""
        if self._zero_ns is None:
            self._zero_ns = timestamp.wall_ns - BEFORE_NS
        since = timestamp.wall_ns - self._zero_ns
        if since < 0 or since >> (BITS - COUNTER_BITS) or timestamp.logical >> COUNTER_BITS:
            return None
        return since << COUNTER_BITS | timestamp.logical


class CommitTimes:
    """What one session has heard of its commits; see `workloads.session.TellsCommitTimes`."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._heard: list[HybridTime | None] = []

    def note(self, timestamp: HybridTime | None) -> None:
        """A transaction was committed; None: nobody said when, or it has written nothing."""
        self._heard.append(timestamp)

    def take(self) -> int | None:
        """The number of the only commit since the last time; None if it was not one."""
        heard, self._heard = self._heard, []
        if len(heard) != 1 or heard[0] is None:
            return None
        return self._origin.number(heard[0])
