"""The clocks of a local cluster's nodes: set through the clock file, proven by asking the node what time it is.

A node that ignores its clock file, or does not tell its time, yields no proof: that the file was written says
nothing about what the node believes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.environments.clock_file import REAL_TIME, ClockSetting, read_clock, write_clock
from harness.environments.environment import NodePlan, SystemUnderTest
from harness.environments.ledger import Ledger
from nemesis.cluster import Evidence, FaultFailed, NodeState

CLOCK_ERROR_NS = 2_000_000
"""A clock that was read is right to half the round trip and this."""
CLOCK_PROOF_S = 1.5
"""So long a proof is tried again: on a loaded machine a reading may be too coarse."""
DRIFT_TO_SEE_NS = 20_000_000


class ClockFaults:
    """The verbs on clocks, and which nodes are lied to now."""

    def __init__(self, system: SystemUnderTest, ledger: Ledger, state: Callable[[str], NodeState]) -> None:
        self._system = system
        self._ledger = ledger
        self._state = state
        self._entries: dict[str, int] = {}
        """Node whose clock is set -> its open entry in the ledger."""

    def is_set(self, node: str) -> bool:
        """True while a node's clock may differ from real time."""
        return node in self._entries

    async def set(self, plan: NodePlan, offset_ms: float, rate_ppm: float) -> Evidence:
        """Real time + offset from now on, gaining `rate_ppm` microseconds a second."""
        path = self._path(plan)
        before = await self._shift(plan)
        self._note(plan.name, path)
        setting = ClockSetting(int(offset_ms * 1e6), int(rate_ppm * 1000), _monotonic_ns())
        write_clock(path, setting)
        if rate_ppm:
            await asyncio.sleep(min(1.0, DRIFT_TO_SEE_NS / (abs(rate_ppm) * 1000)))
        return await self._prove(plan, setting, before)

    def strobe(self, plan: NodePlan, offset_ms: float) -> None:
        """At once, and without a proof."""
        path = self._path(plan)
        self._note(plan.name, path)
        write_clock(path, ClockSetting(int(offset_ms * 1e6), 0, _monotonic_ns()))

    async def reset(self, plan: NodePlan) -> Evidence:
        """Real time again. Of a node that cannot be asked, the file alone is proof that it will be told so."""
        path = self._path(plan)
        before = await self._shift(plan) if self._state(plan.name) == "up" else None
        write_clock(path, REAL_TIME)
        entry = self._entries.pop(plan.name, None)
        if entry is not None:
            self._ledger.done(entry)
        if self._state(plan.name) == "up":
            evidence = await self._prove(plan, REAL_TIME, before)
            if "wanted" in evidence.probes[0]:
                return evidence
        probe = {
            "what": f"clock file of {plan.name} (the node is {self._state(plan.name)}, or tells no time)",
            "after": "real time",
            "proves": read_clock(path) == REAL_TIME,
        }
        return _proof(probe)

    def _note(self, node: str, path: Path) -> None:
        if node not in self._entries:
            self._entries[node] = self._ledger.intend("clock", path=str(path))

    def _path(self, plan: NodePlan) -> Path:
        if plan.clock_file is None:
            raise FaultFailed(
                f"{self._system.name} reads no clock file: the clock of {plan.name} cannot be set"
            )
        return plan.clock_file

    async def _shift(self, plan: NodePlan) -> tuple[int, int, int] | None:
        """(ns that the node's clock is ahead of real time, possible error, CLOCK_MONOTONIC then); best of three."""
        best: tuple[int, int, int] | None = None
        for _ in range(3):
            wall, started = time.time_ns(), _monotonic_ns()
            try:
                shown = await asyncio.wait_for(self._system.read_clock(plan.listen), 1.0)
            except Exception:  # noqa: BLE001 - a node that cannot be asked proves nothing, which is the answer
                shown = None
            ended = _monotonic_ns()
            if shown is not None and (best is None or (ended - started) // 2 < best[1]):
                half = (ended - started) // 2
                best = (shown - (wall + half), half, started + half)
        return best

    async def _prove(
        self, plan: NodePlan, setting: ClockSetting, before: tuple[int, int, int] | None
    ) -> Evidence:
        """Read until the clock is proven or the time is over: on a loaded machine a reading may be too coarse."""
        deadline = time.monotonic() + CLOCK_PROOF_S
        while True:
            evidence = self._judge(plan, setting, before, await self._shift(plan))
            if evidence.took_effect or time.monotonic() > deadline or self._state(plan.name) == "down":
                return evidence
            await asyncio.sleep(0.1)

    def _judge(
        self,
        plan: NodePlan,
        setting: ClockSetting,
        before: tuple[int, int, int] | None,
        after: tuple[int, int, int] | None,
    ) -> Evidence:
        name = plan.name
        if after is None:
            told = {"what": f"clock of {name}", "after": "the node does not tell its time", "proves": False}
            return _proof(told)
        shift_ns, error_ns, monotonic_ns = after
        wanted_ns = setting.shift_ns(monotonic_ns)
        # A drifting clock moves while it is read.
        tolerance_ns = error_ns + CLOCK_ERROR_NS + abs(setting.rate_ppb) * error_ns // 1_000_000_000
        right = abs(shift_ns - wanted_ns) <= tolerance_ns
        visible = setting == REAL_TIME or abs(wanted_ns) > tolerance_ns
        probe = {
            "what": f"clock of {name}, ms ahead of real time",
            "before": None if before is None else round(before[0] / 1e6, 3),
            "after": round(shift_ns / 1e6, 3),
            "wanted": round(wanted_ns / 1e6, 3),
            "error": round(tolerance_ns / 1e6, 3),
            "proves": right and visible,
        }
        return _proof(probe)


def _monotonic_ns() -> int:
    """The clock of the anchor, by its name: on some systems `time.monotonic_ns` is another one."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _proof(probe: dict[str, Any]) -> Evidence:
    return Evidence(bool(probe["proves"]), [probe])
