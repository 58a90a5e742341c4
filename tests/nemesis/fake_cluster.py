"""A cluster in memory for tests of the nemesis: it obeys, remembers every call, and can be told to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from nemesis.cluster import CAPABILITIES, Capability, Evidence, FaultFailed, HealReport, Link, NodeState

EVERYTHING = {name: Capability(name, True, "fake") for name in CAPABILITIES}


class FakeCluster:
    """Verbs take effect at once, or after `delays[verb]` seconds; those in `failing` raise, in `idle` do nothing."""

    def __init__(self, size: int = 3) -> None:
        self.nodes: tuple[str, ...] = tuple(f"n{number}" for number in range(1, size + 1))
        self.states: dict[str, NodeState] = dict.fromkeys(self.nodes, "up")
        self.cut_links: set[Link] = set()
        self.clocks: dict[str, tuple[float, float]] = {}
        self.calls: list[tuple[str, object]] = []
        self.leading: dict[str, str] = {"r1": "n1", "r2": "n1", "r3": "n2"}
        self.delays: dict[str, float] = {}
        self.failing: set[str] = set()
        self.idle: set[str] = set()

    def capabilities(self) -> Mapping[str, Capability]:
        return EVERYTHING

    def state(self, node: str) -> NodeState:
        return self.states[node]

    async def leaders(self) -> dict[str, str]:
        await self._act("leaders", None)
        return dict(self.leading)

    async def _act(self, verb: str, what: object) -> bool:
        self.calls.append((verb, what))
        await asyncio.sleep(self.delays.get(verb, 0))
        if verb in self.failing:
            raise FaultFailed(f"{verb} {what}: told to fail")
        return verb not in self.idle

    def _evidence(self, what: str, proves: bool) -> Evidence:
        return Evidence(proves, [{"what": what, "proves": proves}])

    async def _to(self, verb: str, node: str, state: NodeState) -> Evidence:
        if await self._act(verb, node):
            self.states[node] = state
        return self._evidence(f"{node} is {self.states[node]}", self.states[node] == state)

    async def cut(self, links: Sequence[Link]) -> Evidence:
        if await self._act("cut", tuple(links)):
            self.cut_links |= set(links)
        return self._evidence("cut", set(links) <= self.cut_links)

    async def mend(self, links: Sequence[Link]) -> Evidence:
        if await self._act("mend", tuple(links)):
            self.cut_links -= set(links)
        return self._evidence("mended", self.cut_links.isdisjoint(links))

    async def slow(self, links: Sequence[Link], delay_ms: float, jitter_ms: float = 0.0) -> Evidence:
        return self._evidence("slow", await self._act("slow", tuple(links)))

    async def throttle(self, links: Sequence[Link], bytes_per_s: int | None) -> Evidence:
        return self._evidence("throttle", await self._act("throttle", tuple(links)))

    async def reset(self, links: Sequence[Link]) -> Evidence:
        return self._evidence("reset", await self._act("reset", tuple(links)))

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        return self._evidence("half_open", await self._act("half_open", tuple(links)))

    async def kill(self, node: str) -> Evidence:
        return await self._to("kill", node, "down")

    async def terminate(self, node: str) -> Evidence:
        return await self._to("terminate", node, "down")

    async def start(self, node: str) -> Evidence:
        return await self._to("start", node, "up")

    async def pause(self, node: str) -> Evidence:
        return await self._to("pause", node, "paused")

    async def resume(self, node: str) -> Evidence:
        if self.states[node] == "down":
            return self._evidence("down: nothing to resume", True)
        return await self._to("resume", node, "up")

    async def set_clock(self, node: str, offset_ms: float, rate_ppm: float = 0.0) -> Evidence:
        if await self._act("set_clock", node):
            self.clocks[node] = (offset_ms, rate_ppm)
        return self._evidence("clock", node in self.clocks)

    async def strobe_clock(self, node: str, offset_ms: float) -> None:
        await self._act("strobe_clock", (node, offset_ms))

    async def reset_clock(self, node: str) -> Evidence:
        if await self._act("reset_clock", node):
            self.clocks.pop(node, None)
        return self._evidence("clock", node not in self.clocks)

    async def heal_all(self) -> HealReport:
        await self._act("heal_all", None)
        healed = [f"started or resumed {node}" for node in self.nodes if self.states[node] != "up"]
        self.states = dict.fromkeys(self.nodes, "up")
        self.cut_links.clear()
        self.clocks.clear()
        return HealReport(tuple(healed))
