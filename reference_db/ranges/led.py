"""A range that this node leads in place of the preferred replica: what placement must know to hand it over."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Led:
    """A range that this node leads: whom it prefers, and how that replica is doing."""

    range_id: int
    preferred_is_me: bool
    preferred_is_active: bool
    """The preferred replica answered within the last election timeout."""
    preferred_lag_entries: int
    """How many entries it still has to receive."""
    led_for_ticks: int
