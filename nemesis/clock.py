"""Clocks: what a node believes the time to be. Never the host's own clock (a container would change it for all).

| shape | the node's wall clock |
|---|---|
| `bump` | jumps by a fixed offset, back when the step ends |
| `strobe` | jumps to and fro between real time and an offset |
| `drift` | runs faster or slower than real time |
| `freeze` | stands still until the step ends; by name only |

Offsets are drawn log-uniformly from 50 ms to 60 s, forwards and backwards, strobe periods from 10 ms to 1 s; drift
from 1 % to 50 %: large enough to be proven within a second, and the first step of a run larger than that. Clocks
may lie on a majority or on all nodes: no promise of a database may depend on how many clocks are right unless it
says so.

A database may stop a node whose clock is too far from the others', which need not be one whose clock was set. Whoever
has taken part and stopped is started when the clocks of a step are right again, as by an operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from nemesis.cluster import Cluster, Evidence, combine
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.process import DISK, DOWN, aim_at_running, start_what_ended
from nemesis.schedule import Request, Step
from nemesis.strengths import log_uniform
from nemesis.targets import possible_targets

DRAWN: tuple[str, ...] = ("bump", "strobe", "drift")
SHAPES: tuple[str, ...] = (*DRAWN, "freeze")
STANDSTILL_PPM = -1_000_000.0
_TARGETS = (("one", 6), ("leader", 6), ("minority", 4), ("majority", 2), ("all", 2))
CLOCK = "clock"
MEMBER = "member"
"""Kind of holds that are never let go: nodes that have taken part. Others that are down were never started."""


class Clock:
    """Sets clocks through the cluster's verb. A node's clock is lied about by one step at a time."""

    name = "clock"
    shapes = SHAPES

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return ("clock",)

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        shape = request.shape or random.choice(DRAWN)
        table = [row for row in _TARGETS if row[0] in possible_targets(len(nodes))]
        target = random.choices([name for name, _ in table], [weight for _, weight in table])[0]
        sign = random.choice((-1, 1))
        offset_ms = round(sign * log_uniform(random, 500 if first else 50, 60_000), 3)
        parameters: dict[str, Any] = {"draw": random.getrandbits(32)}
        match shape:
            case "bump":
                parameters["offset_ms"] = offset_ms
            case "strobe":
                parameters |= {"offset_ms": offset_ms, "period_ms": round(log_uniform(random, 10, 1000), 3)}
            case "freeze":
                parameters["rate_ppm"] = STANDSTILL_PPM
            case _:
                parameters["rate_ppm"] = round(
                    sign * log_uniform(random, 100_000 if first else 10_000, 500_000), 1
                )
        return Aim(shape, request.target or target, parameters)

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        # What a stopped node believes cannot be asked, so nothing could be proven about it.
        plan = aim_at_running(step, situation, holds, CLOCK, "its clock is already set")
        for name in situation.nodes:
            if situation.states[name] != "down" or any(holds.holders(kind, name) for kind in (DOWN, DISK)):
                holds.take(MEMBER, name, step.id)
        return plan

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        offset_ms, rate_ppm = step.parameters.get("offset_ms", 0.0), step.parameters.get("rate_ppm", 0.0)
        return combine(
            await asyncio.gather(*(cluster.set_clock(name, offset_ms, rate_ppm) for name in plan.targets))
        )

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        """Strobe: change sides once a period. Only the first jump is probed: a probe takes longer than a period."""
        if step.shape != "strobe":
            return
        offset_ms = step.parameters["offset_ms"]
        period_s = max(0.002, step.parameters["period_ms"] / 1000)
        away = True
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), period_s)
            except TimeoutError:
                away = not away
                for name in plan.targets:
                    await cluster.strobe_clock(name, offset_ms if away else 0.0)

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        async def one(name: str) -> Evidence:
            try:
                return await cluster.reset_clock(name)
            finally:
                holds.release(CLOCK, name, step.id)

        reset = await asyncio.gather(*(one(name) for name in plan.targets))
        # On a disk that fails, or with a clock that another step has set, a node would only stop again.
        ours = [
            name
            for name in cluster.nodes
            if holds.holders(MEMBER, name) and not any(holds.holders(kind, name) for kind in (CLOCK, DISK))
        ]
        started = await asyncio.gather(*(start_what_ended(name, step, cluster, holds) for name in ours))
        return combine([*reset, *(evidence for evidence in started if evidence is not None)])
