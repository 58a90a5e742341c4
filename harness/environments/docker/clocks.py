"""Clocks of nodes: set through the clock file of each, proven by asking the node what time it is.

The reading is right to half its round trip; the best of three counts. A drift is read once it must have become
visible.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environments.clock_file import REAL_TIME, ClockSetting, read_clock, write_clock
from harness.environments.environment import Addresses, SystemUnderTest
from harness.environments.ledger import Ledger
from nemesis.cluster import Evidence

ASK_TIMEOUT_S = 1.0
READING_ERROR_NS = 2_000_000
"""What a reading may be off beside half its round trip: the node stamps it some time while it answers."""
VISIBLE_DRIFT_NS = 20_000_000
LONGEST_DRIFT_WAIT_S = 1.0


@dataclass(frozen=True)
class Reading:
    """What a node said about its clock."""

    shift_ns: int
    """How far its clock was ahead of real time."""
    error_ns: int
    at_monotonic_ns: int


class Clocks:
    """The clock files of a run's nodes. `paths` has one for every node."""

    def __init__(
        self,
        system: SystemUnderTest,
        ledger: Ledger,
        paths: Mapping[str, Path],
        addresses: Mapping[str, Addresses],
    ) -> None:
        self._system = system
        self._ledger = ledger
        self._paths = paths
        self._addresses = addresses
        self._entries: dict[str, int] = {}
        """Nodes whose clock is not real time now -> the entry of the ledger."""

    @property
    def changed(self) -> tuple[str, ...]:
        """Nodes whose clock was set and not reset."""
        return tuple(self._entries)

    def write(self, node: str, offset_ms: float, rate_ppm: float) -> ClockSetting:
        """Set without proof."""
        path = self._paths[node]
        if node not in self._entries:
            self._entries[node] = self._ledger.intend("clock", node=node, path=str(path))
        setting = ClockSetting(round(offset_ms * 1e6), round(rate_ppm * 1e3), time.monotonic_ns())
        write_clock(path, setting)
        return setting

    async def set(self, node: str, offset_ms: float, rate_ppm: float) -> Evidence:
        before = await self.ask(node)
        setting = self.write(node, offset_ms, rate_ppm)
        if rate_ppm:
            await asyncio.sleep(min(LONGEST_DRIFT_WAIT_S, VISIBLE_DRIFT_NS / (abs(rate_ppm) * 1e3)))
        return evidence(node, setting, before, await self.ask(node))

    async def reset(self, node: str, can_answer: bool) -> Evidence:
        """Real time again. For a node that is stopped, the file is the proof: it reads that when it goes on."""
        before = await self.ask(node) if can_answer else None
        path = self._paths[node]
        write_clock(path, REAL_TIME)
        entry = self._entries.pop(node, None)
        if entry is not None:
            self._ledger.done(entry)
        after = await self.ask(node) if can_answer else None
        if after is not None:
            return evidence(node, REAL_TIME, before, after)
        is_real = read_clock(path) == REAL_TIME
        what = f"clock file of {node} (the node tells no time now)"
        return Evidence(is_real, [{"what": what, "before": None, "after": "real time", "proves": is_real}])

    async def ask(self, node: str) -> Reading | None:
        """The most exact of three readings; None if the node does not answer."""
        best: Reading | None = None
        for _ in range(3):
            wall_ns, asked_ns = time.time_ns(), time.monotonic_ns()
            try:
                shown_ns = await asyncio.wait_for(
                    self._system.read_clock(self._addresses[node]), ASK_TIMEOUT_S
                )
            except Exception:  # noqa: BLE001 - whatever the system's client raises: no answer proves nothing
                return best
            if shown_ns is None:
                return best
            half_ns = (time.monotonic_ns() - asked_ns) // 2
            if best is None or half_ns < best.error_ns:
                best = Reading(shown_ns - wall_ns - half_ns, half_ns, asked_ns + half_ns)
        return best


def evidence(node: str, setting: ClockSetting, before: Reading | None, after: Reading | None) -> Evidence:
    """The clock shows what it should, and that can be told from real time."""
    if after is None:
        silent = {"what": f"clock of {node}", "before": _shown(before), "after": None, "proves": False}
        return Evidence(False, [silent | {"note": "the node does not tell its time"}])
    wanted_ns = setting.shift_ns(after.at_monotonic_ns)
    # A drifting clock moves while it is read.
    allowed_ns = after.error_ns + READING_ERROR_NS + abs(setting.rate_ppb) * after.error_ns // 1_000_000_000
    is_right = abs(after.shift_ns - wanted_ns) <= allowed_ns
    is_visible = setting == REAL_TIME or abs(wanted_ns) > allowed_ns
    probe: dict[str, Any] = {
        "what": f"clock of {node}, ms ahead of real time",
        "before": _shown(before),
        "after": _shown(after),
        "wanted": round(wanted_ns / 1e6, 3),
        "error": round(allowed_ns / 1e6, 3),
        "proves": is_right and is_visible,
    }
    return Evidence(is_right and is_visible, [probe])


def _shown(reading: Reading | None) -> float | None:
    return None if reading is None else round(reading.shift_ns / 1e6, 3)
