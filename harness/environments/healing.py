"""Healing, act by act: what was undone with proof, and what was not; one that fails keeps no other from being tried."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from harness.environments.environment import EnvironmentFailed
from nemesis.cluster import Evidence, FaultFailed, HealReport, Link


class Healing:
    """Collects a HealReport."""

    def __init__(self) -> None:
        self._healed: list[str] = []
        self._failed: list[str] = []

    async def attempt(self, what: str, act: Callable[[], Coroutine[Any, Any, Evidence]]) -> None:
        """Does it; `what` says it in words, as done: `resumed n1`."""
        try:
            evidence = await act()
        except (EnvironmentFailed, FaultFailed, OSError, ValueError) as error:
            self._failed.append(f"{what}: {error}")
            return
        if evidence.took_effect:
            self._healed.append(what)
        else:
            self._failed.append(f"{what}: not proven: {evidence.probes}")

    def fail(self, why: str) -> None:
        """Something is not as it should be, whatever was attempted."""
        self._failed.append(why)

    def report(self) -> HealReport:
        """What came of all attempts."""
        return HealReport(tuple(self._healed), tuple(self._failed))


def names_of(links: Sequence[Link]) -> str:
    """The links for people, the first of many."""
    shown = ", ".join(f"{source} -> {target}" for source, target in links[:6])
    return shown + (f" and {len(links) - 6} more links" if len(links) > 6 else "")
