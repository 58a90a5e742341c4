"""Resources: a node that gets little of the processor, and one whose memory ends.

| shape | what happens |
|---|---|
| `cpu` | the node gets a share of one core, 3 to 30 %, and shares it with nobody else |
| `memory-limit` | by name only: the node may use 8 to 256 MB beyond what it does; started again if the kernel ends it |
| `memory` | the kernel ends the node's process, because there is no memory left for it; started when the step ends |

A node that computes too slowly keeps its connections and its belief that it leads, like a paused one, but answers now
and then. A process that is ended for memory ends like a killed one.

Rules of overlap, per node: a share is held by one step at a time, and never of a node that is stopped, as nothing could
be proven of it. The end of memory follows the rules of a kill (`process.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from nemesis.cluster import Cluster, Evidence, combine
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.process import DOWN, aim_at_processes, aim_at_running, draw_target, start_again
from nemesis.schedule import Request, Step
from nemesis.strengths import log_uniform

DRAWN: tuple[str, ...] = ("cpu", "memory")
SHAPES: tuple[str, ...] = (*DRAWN, "memory-limit")
CPU, MEMORY_LIMIT = "cpu", "memory-limit"
"""Kinds of holds, of the shapes with these names."""
LEAST_SHARE, MOST_SHARE = 0.03, 0.3
LEAST_SPARE_MB, MOST_SPARE_MB = 8, 256
_NEEDS = {"cpu": ("limit_cpu",), "memory": ("exhaust_memory",), MEMORY_LIMIT: ("limit_memory",)}


class Resources:
    """Limits, and exhausts."""

    name = "resources"
    shapes = SHAPES

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return _NEEDS[shape or "cpu"]

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        shape = request.shape or random.choices(DRAWN, (3, 1))[0]
        target = draw_target(request, random, len(nodes), first)
        parameters: dict[str, Any] = {"draw": random.getrandbits(32)}
        share = round(log_uniform(random, LEAST_SHARE, MOST_SHARE), 4)
        if shape == "cpu":
            parameters["share"] = share
        if shape == MEMORY_LIMIT:
            parameters["spare_mb"] = round(log_uniform(random, LEAST_SPARE_MB, MOST_SPARE_MB))
        return Aim(shape, target, parameters)

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        shape = step.shape or "cpu"
        if shape not in SHAPES:
            raise ValueError(
                f"unknown shape {shape!r} of resources in step {step.id}; known: {', '.join(SHAPES)}"
            )
        if not situation.available.issuperset(_NEEDS[shape]):
            return Plan(skipped=f"{shape} cannot be had here")
        if shape == "memory":
            plan = aim_at_processes(step, situation, holds, DOWN, may_hit_paused=False)
        else:
            plan = aim_at_running(step, situation, holds, shape, "limited already")
        return plan if plan.skipped else Plan(plan.targets, details={"shape": shape, **plan.details})

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        if plan.details["shape"] == "memory":
            return combine(await asyncio.gather(*(cluster.exhaust_memory(name) for name in plan.targets)))
        if plan.details["shape"] == MEMORY_LIMIT:
            spare_mb = int(step.parameters.get("spare_mb", MOST_SPARE_MB))
            return combine(
                await asyncio.gather(*(cluster.limit_memory(name, spare_mb) for name in plan.targets))
            )
        share = float(step.parameters.get("share", MOST_SHARE))
        return combine(await asyncio.gather(*(cluster.limit_cpu(name, share) for name in plan.targets)))

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        return

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        if plan.details["shape"] == "memory":
            return await start_again(step, plan, cluster, holds)

        async def one(name: str) -> Evidence:
            try:
                if plan.details["shape"] == CPU:
                    return await cluster.limit_cpu(name, None)
                return await _let_have_memory(name, step, cluster, holds)
            finally:
                holds.release(plan.details["shape"], name, step.id)

        return combine(await asyncio.gather(*(one(name) for name in plan.targets)))


async def _let_have_memory(name: str, step: Step, cluster: Cluster, holds: Holds) -> Evidence:
    """Without a limit again; and started, if the kernel has ended it meanwhile."""
    parts = [await cluster.limit_memory(name, None)]
    if cluster.state(name) == "down" and not holds.holders(DOWN, name):
        holds.take(DOWN, name, step.id)
        try:
            parts.append(await cluster.start(name))
        finally:
            holds.release(DOWN, name, step.id)
    return combine(parts)
