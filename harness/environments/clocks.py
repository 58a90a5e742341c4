"""Clocks of nodes: set through the clock file of each, proven by asking the node what time it is.

That the file was written says nothing about what the node believes, so a node that ignores its clock file, or does not
tell its time, yields no proof. A reading is right to half its round trip; the best of three counts. A reading that is
too coarse to tell a lie from real time is taken again for a while; one that shows another time than it should is final.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environments.clock_file import REAL_TIME, ClockSetting, read_clock, write_clock
from harness.environments.environment import Addresses, SystemUnderTest
from harness.environments.ledger import Ledger
from nemesis.cluster import Evidence, FaultFailed, NodeState, evidence_of

ASK_TIMEOUT_S = 1.0
ALLOWED_NS = 2_000_000
"""What a reading may be off beside half its round trip."""
PROOF_S = 1.5
"""So long readings are taken again while they prove nothing: on a loaded machine they are coarse."""
PROOF_PAUSE_S = 0.1
VISIBLE_DRIFT_NS = 20_000_000
LONGEST_DRIFT_WAIT_S = 1.0


@dataclass(frozen=True)
class Reading:
    """What a node said about its clock."""

    shift_ns: int
    """How far its clock was ahead of real time."""
    error_ns: int
    """Half of the time that asking took: by so much the shift may be wrong."""
    at_monotonic_ns: int


class Clocks:
    """The verbs on the clocks of a run's nodes, and which of them are lied to now.

    `address` is where the harness asks a node, `path` where its clock file is on this host (None: it has none).
    """

    def __init__(
        self,
        system: SystemUnderTest,
        ledger: Ledger,
        state: Callable[[str], NodeState],
        address: Callable[[str], Addresses],
        path: Callable[[str], Path | None],
    ) -> None:
        self._system = system
        self._ledger = ledger
        self._state = state
        self._address = address
        self._path_of = path
        self._entries: dict[str, int] = {}
        """Node whose clock may differ from real time -> its open entry in the ledger."""

    @property
    def changed(self) -> tuple[str, ...]:
        """Nodes whose clock was set and not reset, in that order."""
        return tuple(self._entries)

    async def set(self, node: str, offset_ms: float, rate_ppm: float) -> Evidence:
        """Real time + offset from now on, gaining `rate_ppm` microseconds a second."""
        before = await self._ask(node)
        setting = self._write(node, offset_ms, rate_ppm)
        if rate_ppm:
            await asyncio.sleep(min(LONGEST_DRIFT_WAIT_S, VISIBLE_DRIFT_NS / (abs(rate_ppm) * 1000)))
        return evidence(node, setting, before, await self._ask_until_clear(node, setting))

    def strobe(self, node: str, offset_ms: float) -> None:
        """At once, and without a proof."""
        self._write(node, offset_ms, 0.0)

    async def reset(self, node: str) -> Evidence:
        """Real time again. Of a node that cannot be asked, the file alone is proof that it will be told so."""
        path = self._path(node)
        before = await self._ask(node) if self._state(node) == "up" else None
        write_clock(path, REAL_TIME)
        entry = self._entries.pop(node, None)
        if entry is not None:
            self._ledger.done(entry)
        if self._state(node) == "up":
            after = await self._ask_until_clear(node, REAL_TIME)
            if after is not None:
                return evidence(node, REAL_TIME, before, after)
        what = f"clock file of {node} (the node is {self._state(node)}, or tells no time)"
        return evidence_of([{"what": what, "after": "real time", "proves": read_clock(path) == REAL_TIME}])

    def _path(self, node: str) -> Path:
        path = self._path_of(node)
        if path is None:
            raise FaultFailed(f"{self._system.name} reads no clock file: the clock of {node} cannot be set")
        return path

    def _write(self, node: str, offset_ms: float, rate_ppm: float) -> ClockSetting:
        path = self._path(node)
        if node not in self._entries:
            self._entries[node] = self._ledger.intend("clock", node=node, path=str(path))
        setting = ClockSetting(round(offset_ms * 1e6), round(rate_ppm * 1000), _monotonic_ns())
        write_clock(path, setting)
        return setting

    async def _ask(self, node: str) -> Reading | None:
        """The most exact of three readings; None if the node does not tell its time."""
        best: Reading | None = None
        for _ in range(3):
            # In this order: whatever keeps us between the two lines is a part of the round trip.
            asked_ns, wall_ns = _monotonic_ns(), time.time_ns()
            try:
                shown_ns = await asyncio.wait_for(self._system.read_clock(self._address(node)), ASK_TIMEOUT_S)
            except Exception:  # noqa: BLE001 - a node that cannot be asked proves nothing, which is the answer
                return best
            if shown_ns is None:
                return best
            half_ns = (_monotonic_ns() - asked_ns) // 2
            if best is None or half_ns < best.error_ns:
                best = Reading(shown_ns - wall_ns - half_ns, half_ns, asked_ns + half_ns)
        return best

    async def _ask_until_clear(self, node: str, setting: ClockSetting) -> Reading | None:
        """The first reading that decides about the setting, or the last one taken."""
        deadline = time.monotonic() + PROOF_S
        while True:
            reading = await self._ask(node)
            if reading is not None and _is_clear(setting, reading):
                return reading
            if time.monotonic() > deadline or self._state(node) == "down":
                return reading
            await asyncio.sleep(PROOF_PAUSE_S)


def evidence(node: str, setting: ClockSetting, before: Reading | None, after: Reading | None) -> Evidence:
    """The clock shows what it should, and that can be told from real time."""
    if after is None:
        told = "the node does not tell its time"
        silent = {"what": f"clock of {node}", "before": _shown(before), "after": told, "proves": False}
        return evidence_of([silent])
    probe: dict[str, Any] = {
        "what": f"clock of {node}, ms ahead of real time",
        "before": _shown(before),
        "after": _shown(after),
        "wanted": round(setting.shift_ns(after.at_monotonic_ns) / 1e6, 3),
        "error": round(_allowed_ns(setting, after) / 1e6, 3),
        "proves": _is_right(setting, after) and _is_visible(setting, after),
    }
    return evidence_of([probe])


def _is_clear(setting: ClockSetting, reading: Reading) -> bool:
    """Whether this reading decides: the setting is certainly not in force, or is, and differs from real time."""
    return not _is_right(setting, reading) or _is_visible(setting, reading)


def _is_right(setting: ClockSetting, reading: Reading) -> bool:
    wanted_ns = setting.shift_ns(reading.at_monotonic_ns)
    return abs(reading.shift_ns - wanted_ns) <= _allowed_ns(setting, reading)


def _is_visible(setting: ClockSetting, reading: Reading) -> bool:
    wanted_ns = setting.shift_ns(reading.at_monotonic_ns)
    return setting == REAL_TIME or abs(wanted_ns) > _allowed_ns(setting, reading)


def _allowed_ns(setting: ClockSetting, reading: Reading) -> int:
    """How far a reading may be from what is wanted; a drifting clock moves while it is read."""
    drift_ns = abs(setting.rate_ppb) * reading.error_ns // 1_000_000_000
    return reading.error_ns + ALLOWED_NS + drift_ns


def _monotonic_ns() -> int:
    """The clock of the anchor, by its name: on some systems `time.monotonic_ns` is another one."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _shown(reading: Reading | None) -> float | None:
    return None if reading is None else round(reading.shift_ns / 1e6, 3)
