"""Who should lead a range: its preferred replica, once that is healthy and has caught up.

After a fault heals, leaders sit where elections left them. Each leader that is not the preferred one hands over, not at
once after it was elected, so that a cluster that is still unsettled is left alone, and only so many at a time: a range
that is handed over takes no writes for a moment. With one a second, as it was first, a node that led a thousand ranges
would have them back after a quarter of an hour. This file knows neither Raft nor time: the store says what is, and
carries out what is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable

from reference_db.ranges.led import Led

SETTLED_TICKS = 30
"""How long a leader leads before it hands over (3 s at the usual tick)."""
LAG_ENTRIES_MOST = 64
"""A preferred replica that lacks more than this would stall the range while it catches up."""


def choose_handovers(led: Iterable[Led], settled_ticks: int = SETTLED_TICKS, most: int = 1) -> list[int]:
    """The ranges whose leadership should go to their preferred replicas now, at most so many, the lowest ids first."""
    ready = [
        one.range_id
        for one in led
        if not one.preferred_is_me
        and one.preferred_is_active
        and one.preferred_lag_entries <= LAG_ENTRIES_MOST
        and one.led_for_ticks >= settled_ticks
    ]
    return sorted(ready)[: max(most, 0)]
