"""How much each range is asked for, and by the clients of which node: what a leader counts while placement is on.

Requests come to a leader from gateways, so the gateway's node says where its clients are. Rates are smoothed, or one
second's chance would move leaders about.
"""

from __future__ import annotations

from collections.abc import Collection

KEPT_PART = 0.7
"""Of a rate so much stays after a second, and the rest is what came in that second."""
LEAST_PER_S = 0.01
"""What is less is forgotten."""


class Demand:
    """Requests that arrived at one node, by range and gateway."""

    __slots__ = ("_counts", "_rates")

    def __init__(self) -> None:
        self._counts: dict[tuple[int, str], int] = {}
        self._rates: dict[int, dict[str, float]] = {}

    def note(self, range_id: int, gateway: str) -> None:
        """A request for a range came, by way of this node."""
        key = (range_id, gateway)
        self._counts[key] = self._counts.get(key, 0) + 1

    def passed(self, seconds: float, led: Collection[int]) -> None:
        """So much time is over since this was last called; other ranges than those that are led here are forgotten."""
        counts, self._counts = self._counts, {}
        for rates in self._rates.values():
            for gateway in rates:
                rates[gateway] *= KEPT_PART
        for (range_id, gateway), count in counts.items():
            rates = self._rates.setdefault(range_id, {})
            rates[gateway] = rates.get(gateway, 0.0) + (1 - KEPT_PART) * count / seconds
        kept: dict[int, dict[str, float]] = {}
        for range_id, rates in self._rates.items():
            left = {gateway: rate for gateway, rate in sorted(rates.items()) if rate >= LEAST_PER_S}
            if left and range_id in led:
                kept[range_id] = left
        self._rates = kept

    def rates(self, range_id: int) -> dict[str, float]:
        """Requests a second by gateway."""
        return dict(self._rates.get(range_id, {}))
