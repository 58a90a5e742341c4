"""Faults that a database is asked for, as an operator would ask, through one of its nodes.

A database under faults may refuse, or not be able to for a while, so it is asked again as long as the step lasts. What
counts as evidence is what it says of itself before and after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from nemesis.cluster import Cluster, Evidence, Reshaping
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.schedule import Request, Step
from nemesis.targets import holders, pick


class AskedOfDatabase:
    """What such families have in common. The target of a step is the node that is asked first."""

    name: str
    kind: Reshaping
    """What is asked for."""
    shapes: tuple[str, ...] = ()
    hits_replicas = False
    """Whether something is done to the replicas of the node, which then must hold some; else it is only asked."""
    again_s = 0.25
    """Between attempts that did not succeed."""
    patience_s = 10.0
    """For so long at least: where other faults are about, a database may not be able to for a while."""

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return ("ranges",)

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        shape = request.shape or random.choice(self.shapes)
        return Aim(shape, request.target or "one", {"draw": random.getrandbits(32)})

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        up = [name for name in situation.nodes if situation.states[name] == "up"]
        random = Random(step.parameters.get("draw", step.id))
        candidates = (
            holders(up, situation.leaders) if self.hits_replicas and step.target in (None, "one") else up
        )
        picked = pick(step.target or "one", situation.nodes, candidates, situation.leaders, random)
        if not picked.nodes:
            return Plan(skipped=f"{picked.how}: no node is up that could be asked")
        return Plan(picked.nodes, details={"how": f"asked first: {picked.how}"})

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        return await self.ask(self.kind, step, plan, cluster)

    async def ask(self, kind: Reshaping, step: Step, plan: Plan, cluster: Cluster) -> Evidence:
        """Ask, and ask again, until it is done or the step would have been over for long."""
        loop = asyncio.get_running_loop()
        random = Random(step.parameters.get("draw", step.id))
        give_up = loop.time() + max(step.duration_ns / 1e9, self.patience_s)
        attempt = 0
        while True:
            evidence = await self.ask_once(kind, attempt, step, plan, cluster, random)
            if evidence.took_effect or loop.time() + self.again_s >= give_up:
                return evidence
            await asyncio.sleep(self.again_s)
            attempt += 1

    async def ask_once(
        self, kind: Reshaping, attempt: int, step: Step, plan: Plan, cluster: Cluster, random: Random
    ) -> Evidence:
        """Ask for the first time (0) or once more, and say what came of it."""
        return await cluster.reshape(kind, plan.targets[0], self.drawn(step, random))

    def drawn(self, step: Step, random: Random) -> int:
        """The number that decides what exactly is done."""
        return random.getrandbits(32)
