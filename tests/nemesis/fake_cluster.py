"""A cluster in memory for tests of the nemesis: it obeys, remembers every call, and can be told to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from nemesis.cluster import (
    CAPABILITIES,
    Capability,
    DiskMode,
    Evidence,
    FaultFailed,
    HealReport,
    Link,
    NodeState,
    Reshaping,
)

EVERYTHING = {name: Capability(name, True, "fake") for name in CAPABILITIES}


class FakeCluster:
    """Verbs take effect at once, or after `delays[verb]` seconds; those in `failing` raise, in `idle` do nothing."""

    def __init__(self, size: int = 3) -> None:
        self.nodes: tuple[str, ...] = tuple(f"n{number}" for number in range(1, size + 1))
        self.states: dict[str, NodeState] = dict.fromkeys(self.nodes, "up")
        self.lives = dict.fromkeys(self.nodes, 1)
        self.cut_links: set[Link] = set()
        self.delays_ms: dict[Link, tuple[float, float]] = {}
        self.losses: dict[Link, tuple[float, float]] = {}
        self.disturbed: dict[Link, tuple[float, float, float]] = {}
        self.limits: dict[Link, int] = {}
        self.halved: set[Link] = set()
        self.lacks_names: dict[str, bool] = {}
        """Nodes that cannot look up the others' names, and whether they get wrong addresses."""
        self.disks: dict[str, DiskMode] = {}
        """Nodes whose disk fails now."""
        self.damaged: set[str] = set()
        self.ends_on: dict[DiskMode, float] = {}
        """A process ends by itself so many seconds after its disk began to fail so, or was healed of it (stall)."""
        self.lacking: set[str] = set()
        """Capabilities that are not there."""
        self.shares: dict[str, float] = {}
        self.memory: dict[str, int | None] = {}
        self.clocks: dict[str, tuple[float, float]] = {}
        self.stops_when_set: dict[str, str] = {}
        """Node whose clock is set -> node that stops itself then, for one of the two is wrong."""
        self.stops_when_going_on: set[str] = set()
        """Nodes that stop themselves when they are resumed or started while some clock is wrong."""
        self.calls: list[tuple[str, object]] = []
        self.leading: dict[str, str] = {"r1": "n1", "r2": "n1", "r3": "n2"}
        self.delays: dict[str, float] = {}
        self.failing: set[str] = set()
        self.idle: set[str] = set()

    def _broken(self) -> list[Any]:
        links = [self.cut_links, self.delays_ms, self.losses, self.disturbed, self.limits, self.halved]
        return [*links, self.lacks_names, self.clocks, self.disks, self.shares]

    def broken(self) -> list[Any]:
        """What is not as it should be, but for nodes that are stopped."""
        return [things for things in self._broken() if things]

    def capabilities(self) -> Mapping[str, Capability]:
        absent = {name: Capability(name, False, "none", "told to lack it") for name in self.lacking}
        return {**EVERYTHING, **absent}

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
            self.lives[node] += self.states[node] == "down" and state == "up"
            self.states[node] = state
        return self._evidence(f"{node} is {self.states[node]}", self.states[node] == state)

    async def reshape(self, kind: Reshaping, node: str, draw: int) -> Evidence:
        return self._evidence(f"{kind} through {node}", await self._act(kind, node))

    async def cut(self, links: Sequence[Link]) -> Evidence:
        if await self._act("cut", tuple(links)):
            self.cut_links |= set(links)
        return self._evidence("cut", set(links) <= self.cut_links)

    async def mend(self, links: Sequence[Link]) -> Evidence:
        if await self._act("mend", tuple(links)):
            self.cut_links -= set(links)
            self.halved -= set(links)
        return self._evidence("mended", self.cut_links.isdisjoint(links))

    async def slow(self, links: Sequence[Link], delay_ms: float, jitter_ms: float = 0.0) -> Evidence:
        done = await self._act("slow", tuple(links))
        if done:
            _set(self.delays_ms, links, (delay_ms, jitter_ms) if delay_ms else None)
        return self._evidence("slow", done)

    async def throttle(self, links: Sequence[Link], bytes_per_s: int | None) -> Evidence:
        done = await self._act("throttle", tuple(links))
        if done:
            _set(self.limits, links, bytes_per_s)
        return self._evidence("throttle", done)

    async def lose(self, links: Sequence[Link], share: float, burst: float = 1.0) -> Evidence:
        done = await self._act("lose", tuple(links))
        if done:
            _set(self.losses, links, (share, burst) if share else None)
        return self._evidence("lose", done)

    async def disturb(
        self, links: Sequence[Link], duplicate: float = 0.0, reorder: float = 0.0, corrupt: float = 0.0
    ) -> Evidence:
        done = await self._act("disturb", tuple(links))
        shares = (duplicate, reorder, corrupt)
        if done:
            _set(self.disturbed, links, shares if any(shares) else None)
        return self._evidence("disturb", done)

    async def reset(self, links: Sequence[Link]) -> Evidence:
        return self._evidence("reset", await self._act("reset", tuple(links)))

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        if await self._act("half_open", tuple(links)):
            self.halved |= set(links)
        return self._evidence("half_open", set(links) <= self.halved)

    async def break_names(self, node: str, wrong: bool) -> Evidence:
        done = await self._act("break_names", (node, wrong))
        if done:
            self.lacks_names[node] = wrong
        return self._evidence("break_names", done)

    async def mend_names(self, node: str) -> Evidence:
        if await self._act("mend_names", node):
            self.lacks_names.pop(node, None)
        return self._evidence("mend_names", node not in self.lacks_names)

    async def replace(self, node: str) -> Evidence:
        await self._to("kill", node, "down")
        return await self._to("replace", node, "up")

    async def kill(self, node: str) -> Evidence:
        return await self._to("kill", node, "down")

    async def terminate(self, node: str) -> Evidence:
        return await self._to("terminate", node, "down")

    async def start(self, node: str) -> Evidence:
        if node in self.disks:
            self.calls.append(("start", node))
            raise FaultFailed(f"start {node}: its disk fails ({self.disks[node]})")
        evidence = await self._to("start", node, "up")
        self._look_at_the_clock(node)
        return evidence

    def _look_at_the_clock(self, node: str) -> None:
        if node in self.stops_when_going_on and self.clocks:
            self.states[node] = "down"

    async def pause(self, node: str) -> Evidence:
        return await self._to("pause", node, "paused")

    async def resume(self, node: str) -> Evidence:
        if self.states[node] == "down":
            return self._evidence("down: nothing to resume", True)
        evidence = await self._to("resume", node, "up")
        self._look_at_the_clock(node)
        return evidence

    async def set_clock(self, node: str, offset_ms: float, rate_ppm: float = 0.0) -> Evidence:
        if await self._act("set_clock", node):
            self.clocks[node] = (offset_ms, rate_ppm)
            if node in self.stops_when_set:
                self.states[self.stops_when_set[node]] = "down"
        return self._evidence("clock", node in self.clocks)

    async def strobe_clock(self, node: str, offset_ms: float) -> None:
        await self._act("strobe_clock", (node, offset_ms))

    async def reset_clock(self, node: str) -> Evidence:
        if await self._act("reset_clock", node):
            self.clocks.pop(node, None)
        return self._evidence("clock", node not in self.clocks)

    async def power_loss(self, node: str) -> Evidence:
        return await self._to("power_loss", node, "down")

    async def fail_disk(
        self, node: str, mode: DiskMode, share: float = 1.0, delay_ms: float = 0.0
    ) -> Evidence:
        if await self._act("fail_disk", (node, mode, share, delay_ms)):
            self.disks[node] = mode
            if mode != "stall":
                self._end_soon(node, mode)
        return self._evidence(f"disk of {node}: {mode}", node in self.disks)

    async def heal_disk(self, node: str) -> Evidence:
        if await self._act("heal_disk", node) and self.disks.pop(node, None) == "stall":
            self._end_soon(node, "stall")
        return self._evidence(f"disk of {node}", node not in self.disks)

    def _end_soon(self, node: str, mode: DiskMode) -> None:
        life = self.lives[node]

        def end() -> None:
            if self.lives[node] == life and (mode == "stall" or self.disks.get(node) == mode):
                self.states[node] = "down"

        if mode in self.ends_on:
            asyncio.get_running_loop().call_later(self.ends_on[mode], end)

    async def flip_bits(self, node: str) -> Evidence:
        assert self.states[node] == "down", "what is at rest is damaged"
        if await self._act("flip_bits", node):
            self.damaged.add(node)
        return self._evidence("bits", node in self.damaged)

    async def limit_cpu(self, node: str, share: float | None) -> Evidence:
        done = await self._act("limit_cpu", node)
        if done and share is None:
            self.shares.pop(node, None)
        elif done and share is not None:
            self.shares[node] = share
        return self._evidence("share", self.shares.get(node) == share)

    async def exhaust_memory(self, node: str) -> Evidence:
        return await self._to("exhaust_memory", node, "down")

    async def limit_memory(self, node: str, spare_mb: int | None) -> Evidence:
        if await self._act("limit_memory", node):
            self.memory[node] = spare_mb
        return self._evidence("memory", self.memory.get(node) == spare_mb)

    async def truncate(self, node: str) -> Evidence:
        assert self.states[node] == "down", "what is at rest is damaged"
        if await self._act("truncate", node):
            self.damaged.add(node)
        return self._evidence("end", node in self.damaged)

    async def wipe(self, node: str) -> Evidence:
        if await self._act("wipe", node):
            self.damaged.add(node)
        return self._evidence("files", node in self.damaged)

    async def lose_file(self, node: str) -> Evidence:
        assert self.states[node] == "down", "what is at rest is damaged"
        if await self._act("lose_file", node):
            self.damaged.add(node)
        return self._evidence("file", node in self.damaged)

    async def heal_all(self) -> HealReport:
        await self._act("heal_all", None)
        healed = [f"started or resumed {node}" for node in self.nodes if self.states[node] != "up"]
        self.states = dict.fromkeys(self.nodes, "up")
        for broken in self._broken():
            broken.clear()
        return HealReport(tuple(healed))


def _set(conditions: dict[Link, Any], links: Sequence[Link], value: Any) -> None:
    for link in links:
        if value is None:
            conditions.pop(link, None)
        else:
            conditions[link] = value
