"""Clocks of nodes: set through the clock file of each or in its processes, proven by asking the node what time it is.

That a file was written says nothing about what the node believes, so a node that ignores its clock file, or does not
tell its time, yields no proof. Of a database that reads no clock file the processes are told (`process_clocks.py`); the
node's own word is preferred there too, and without it is measured what its processes are told. A reading is right to
half its round trip; the best of three counts. A reading that is too coarse to tell a lie from real time is taken again
for a while; one that shows another time than it should is final.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environments.clock_file import REAL_TIME, ClockSetting, read_clock, write_clock
from harness.environments.environment import Addresses, EnvironmentFailed, SystemUnderTest
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
        deliver: Callable[[str, ClockSetting], Awaitable[None]] | None = None,
        real_ns: Callable[[str], int] = lambda node: 0,
        shown: Callable[[str, ClockSetting], Awaitable[int | None]] | None = None,
        by: str = "",
        coarse_ns: int = 0,
    ) -> None:
        """`deliver` carries a setting to a node on another host, of whose own file `path` is a copy, or to the
        processes of a node that reads no file; `real_ns` is how far the real clock of the node's host is ahead of
        ours. `shown` reads the clock of a node that does not tell its time: nanoseconds since 1970, of that process of
        it which is farthest from the setting that it should have. `by` is the mechanism, as evidence shows it; a clock
        that gains may be wrong by what it gains in `coarse_ns`."""
        self._system = system
        self._by = by
        self._coarse_ns = coarse_ns
        self._ledger = ledger
        self._state = state
        self._address = address
        self._path_of = path
        self._deliver = deliver
        self._real_ns = real_ns
        self._shown = shown
        self._settings: dict[str, ClockSetting] = {}
        """What each node that was ever lied to is told now, over its restarts."""
        self._deliveries: set[asyncio.Task[None]] = set()
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
        if self._deliver is not None:
            await self._deliver(node, setting)
        if rate_ppm:
            await asyncio.sleep(min(LONGEST_DRIFT_WAIT_S, VISIBLE_DRIFT_NS / (abs(rate_ppm) * 1000)))
        return self._evidence(node, setting, before, await self._ask_until_clear(node, setting))

    async def offsets(self, nodes: Iterable[str]) -> dict[str, float]:
        """Milliseconds by which each clock is ahead of real time, of those that tell their time."""
        asked = [node for node in nodes if self._state(node) == "up"]
        readings = await asyncio.gather(*(self._ask(node) for node in asked))
        return {
            node: round(reading.shift_ns / 1e6, 3)
            for node, reading in zip(asked, readings, strict=True)
            if reading is not None
        }

    def strobe(self, node: str, offset_ms: float) -> None:
        """At once, and without a proof."""
        setting = self._write(node, offset_ms, 0.0)
        if self._deliver is not None:
            task = asyncio.ensure_future(self._carry(node, setting))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    async def _carry(self, node: str, setting: ClockSetting) -> None:
        """Nobody waits for a jump of a strobe; one that does not arrive is seen by who asks the clock."""
        assert self._deliver is not None, "there is nobody to carry a setting to its host"
        with contextlib.suppress(EnvironmentFailed):
            await self._deliver(node, setting)

    async def reset(self, node: str) -> Evidence:
        """Real time again. Of a node that cannot be asked, the file alone is proof that it will be told so."""
        path = self._path(node)
        before = await self._ask(node) if self._state(node) == "up" else None
        self._settings[node] = REAL_TIME
        if path is not None:
            write_clock(path, REAL_TIME)
        if self._deliver is not None:
            await self._deliver(node, REAL_TIME)
        entry = self._entries.pop(node, None)
        if entry is not None:
            self._ledger.done(entry)
        if self._state(node) == "up":
            after = await self._ask_until_clear(node, REAL_TIME)
            if after is not None:
                return self._evidence(node, REAL_TIME, before, after)
        what = f"clock file of {node} (the node is {self._state(node)}, or tells no time)"
        if path is None:
            what, is_real = f"what {node} is told from its next start", self._state(node) == "down"
        else:
            is_real = read_clock(path) == REAL_TIME
        return evidence_of([{"what": what, "after": "real time", "proves": is_real}])

    def _evidence(
        self, node: str, setting: ClockSetting, before: Reading | None, after: Reading | None
    ) -> Evidence:
        shown = evidence(node, setting, before, after)
        return Evidence(shown.took_effect, [{**probe, "by": self._by} for probe in shown.probes])

    async def follow(self, node: str) -> None:
        """A process of the node may be new: it is told what the node is told. For nodes that read no file."""
        if self._deliver is not None and self._path_of(node) is None:
            await self._deliver(node, self._settings.get(node, REAL_TIME))

    def _path(self, node: str) -> Path | None:
        """None: the processes are told, as nothing reads a file."""
        path = self._path_of(node)
        if path is None and self._deliver is None:
            raise FaultFailed(f"{self._system.name} reads no clock file: the clock of {node} cannot be set")
        return path

    def _write(self, node: str, offset_ms: float, rate_ppm: float) -> ClockSetting:
        path = self._path(node)
        if node not in self._entries:
            where = {} if path is None else {"path": str(path)}
            self._entries[node] = self._ledger.intend("clock", node=node, **where)
        setting = ClockSetting(round(offset_ms * 1e6), round(rate_ppm * 1000), _monotonic_ns())
        self._settings[node] = setting
        if path is not None:
            write_clock(path, setting)
        return setting

    async def _ask(self, node: str) -> Reading | None:
        """The most exact of three readings; None if the node does not tell its time."""
        best: Reading | None = None
        for _ in range(3):
            # In this order: whatever keeps us between the two lines is a part of the round trip.
            asked_ns, wall_ns = _monotonic_ns(), time.time_ns()
            try:
                shown_ns = await asyncio.wait_for(self._read(node), ASK_TIMEOUT_S)
            except Exception:  # noqa: BLE001 - a node that cannot be asked proves nothing, which is the answer
                return best
            if shown_ns is None:
                return best
            half_ns = (_monotonic_ns() - asked_ns) // 2
            coarse_ns = abs(self._settings.get(node, REAL_TIME).rate_ppb) * self._coarse_ns // 1_000_000_000
            if best is None or half_ns + coarse_ns < best.error_ns:
                best = Reading(
                    shown_ns - wall_ns - half_ns - self._real_ns(node),
                    half_ns + coarse_ns,
                    asked_ns + half_ns,
                )
        return best

    async def _read(self, node: str) -> int | None:
        """What the node says, else what its processes are told."""
        shown_ns = await self._system.read_clock(self._address(node))
        if shown_ns is None and self._shown is not None:
            shown_ns = await self._shown(node, self._settings.get(node, REAL_TIME))
        return shown_ns

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
