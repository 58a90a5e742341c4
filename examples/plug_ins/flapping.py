"""A nemesis: links of one node that are cut and mended again several times a second, as by a loose cable.

    harness test --workload bank --nemesis examples.plug_ins.flapping:Flapping

A plain partition gives a cluster time to notice; this one keeps it noticing. The holds keep it from mending what a
`partition` holds at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from nemesis.cluster import Cluster, Evidence, Link
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.partition import isolate
from nemesis.schedule import Request, Step
from nemesis.targets import pick

HALF_A_PERIOD_S = 0.25


class Flapping:
    """See above. Its step takes effect with the first cut."""

    name = "flapping"
    shapes: tuple[str, ...] = ()

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return ("cut",)

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        return "one node has no links to others" if len(nodes) < 2 else None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        return Aim(None, request.target or "one", {"draw": random.getrandbits(32)})

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        random = Random(step.parameters["draw"])
        target = step.target or "one"
        picked = pick(target, situation.nodes, situation.nodes, situation.leaders, random)
        if not picked.nodes:
            return Plan(skipped=picked.how)
        links = isolate(situation.nodes, picked.nodes[0])
        for link in links:
            holds.take("cut", link, step.id)
        return Plan(picked.nodes[:1], links, {"how": picked.how})

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        return await cluster.cut(plan.links)

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        """Wait, mend, wait, cut, until the step is over."""
        is_cut = True
        while True:
            try:
                await asyncio.wait_for(ended.wait(), HALF_A_PERIOD_S)
                return
            except TimeoutError:
                ours = self._ours_alone(step, plan.links, holds)
                await (cluster.mend(ours) if is_cut else cluster.cut(ours))
                is_cut = not is_cut

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        return await cluster.mend([link for link in plan.links if holds.release("cut", link, step.id)])

    def _ours_alone(self, step: Step, links: Sequence[Link], holds: Holds) -> list[Link]:
        return [link for link in links if holds.holders("cut", link) == (step.id,)]
