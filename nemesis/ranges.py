"""Ranges: the pieces of the keyspace that a database keeps apart. They are cut and joined while clients use them.

`split` has a range cut in two at one of its keys, `once` or `often`; `merge` has two neighbours made one. It is asked
of the database as an operator would, through one node, and again as long as the step lasts: a database under faults may
refuse. Nothing is healed afterwards: a range that was cut is as good as a whole one. What counts as evidence is what
the database says of its ranges before and after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from nemesis.cluster import Cluster, Evidence, Reshaping
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.schedule import Request, Step
from nemesis.targets import pick

AGAIN_S = 0.25
"""Between attempts that did not succeed."""
PATIENCE_S = 10.0
"""For so long at least: where other faults are about, a database may not be able to for a while."""
OFTEN_S = (0.1, 0.7)
"""Between one change and the next, where a step makes many."""
MOST_OF_A_STEP = 6
"""Changes of one step: ranges cost something for the rest of the run."""


class _Reshape:
    """What splits and merges have in common."""

    name: str
    kind: Reshaping
    shapes: tuple[str, ...] = ("once", "often")

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
        picked = pick(step.target or "one", situation.nodes, up, situation.leaders, random)
        if not picked.nodes:
            return Plan(skipped=f"{picked.how}: no node is up that could be asked")
        return Plan(picked.nodes, details={"how": f"asked first: {picked.how}"})

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        loop = asyncio.get_running_loop()
        random = Random(step.parameters.get("draw", step.id))
        give_up = loop.time() + max(step.duration_ns / 1e9, PATIENCE_S)
        while True:
            evidence = await cluster.reshape(self.kind, plan.targets[0], random.getrandbits(32))
            if evidence.took_effect or loop.time() + AGAIN_S >= give_up:
                return evidence
            await asyncio.sleep(AGAIN_S)

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        if step.shape != "often":
            return
        random = Random(step.parameters.get("draw", step.id) + 1)
        for _ in range(MOST_OF_A_STEP - 1):
            try:
                await asyncio.wait_for(ended.wait(), random.uniform(*OFTEN_S))
            except TimeoutError:
                await cluster.reshape(self.kind, random.choice(plan.targets), random.getrandbits(32))
            if ended.is_set():
                return

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        return Evidence(
            True, [{"what": "ranges stay as they are", "before": None, "after": None, "proves": None}]
        )


class Split(_Reshape):
    """Has ranges cut in two."""

    name = "split"
    kind = "split"


class Merge(_Reshape):
    """Has neighbours merged."""

    name = "merge"
    kind = "merge"
