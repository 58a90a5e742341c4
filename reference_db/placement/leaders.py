"""Who should lead a range: its preferred replica, once that is healthy and has caught up.

After a fault heals, leaders sit where elections left them. Each leader that is not the preferred one hands over, one
range at a time and not at once after it was elected, so that a cluster that is still unsettled is left alone. This
file knows neither Raft nor time: the store says what is, and carries out what is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable

from reference_db.ranges.led import Led

SETTLED_TICKS = 30
"""How long a leader leads before it hands over (3 s at the usual tick)."""
LAG_ENTRIES_MOST = 64
"""A preferred replica that lacks more than this would stall the range while it catches up."""


def choose_handover(led: Iterable[Led], settled_ticks: int = SETTLED_TICKS) -> int | None:
    """The range whose leadership should go to its preferred replica now, or None. The lowest id first."""
    ready = [
        one.range_id
        for one in led
        if not one.preferred_is_me
        and one.preferred_is_active
        and one.preferred_lag_entries <= LAG_ENTRIES_MOST
        and one.led_for_ticks >= settled_ticks
    ]
    return min(ready, default=None)
