"""Coordinators of transactions: they die between the first intent and the last resolve, and nobody hears of it.

The *shape* is a step of a node's transactions: the next few coordinators of that node that reach it end there, as a
crash would end them. Clients get no answer, also where the transaction is committed by then. It is asked of the
database, which must offer it (`reference-db` does where the harness starts it); what counts as evidence is how many
coordinators died, as the database says. By name only, not with `all`: no fault from outside is as exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from random import Random

from nemesis.asked import AskedOfDatabase
from nemesis.cluster import Cluster, Evidence, Reshaping
from nemesis.holds import Holds
from nemesis.package import Aim, Plan
from nemesis.schedule import Request, Step

OFTEN_S = (0.05, 0.4)
"""Between one death, or a few, and the next."""


class Coordinator(AskedOfDatabase):
    """Has a node lose those who run its transactions."""

    name = "coordinator"
    kind = "forsake"
    again_s = 0.05
    shapes: tuple[str, ...] = (
        "first-intents-sent",
        "intents-sent",
        "intents-laid",
        "reads-moved",
        "committed-in-parallel",
        "acknowledged",
        "decision-sent",
        "decided",
        "first-resolutions-sent",
        "resolutions-sent",
        "resolved",
        "commit-at-once-sent",
        "committed-at-once",
    )

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        """A step that is not given is not drawn here: which are come to is known later. Nor is a node: with few clients
        some have none."""
        return Aim(request.shape, request.target or "all", {"draw": random.getrandbits(32)})

    async def ask_once(
        self, kind: Reshaping, attempt: int, step: Step, plan: Plan, cluster: Cluster, random: Random
    ) -> Evidence:
        """All targets are asked at once: under other faults clients may get through at one of them only. If nobody came
        to the step that was drawn first, any will do."""
        draws = [self.drawn(step, random, is_picky=attempt == 0) for _ in plan.targets]
        every = await asyncio.gather(*map(partial(cluster.reshape, kind), plan.targets, draws))
        return next((evidence for evidence in every if evidence.took_effect), every[-1])

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        random = Random(step.parameters.get("draw", step.id) + 1)
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), random.uniform(*OFTEN_S))
            except TimeoutError:
                await cluster.reshape(self.kind, random.choice(plan.targets), self.drawn(step, random))

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        what = "whoever died stays dead; others finish what was left"
        return Evidence(True, [{"what": what, "before": None, "after": None, "proves": None}])

    def drawn(self, step: Step, random: Random, *, is_picky: bool = True) -> int:
        """A number that says which step: its rest by one more than there are. The last stands for any that is come to:
        in one range, or in some protocols, many never are. Then an even quotient stands for one of these, an odd one
        for whichever comes first."""
        place = self.shapes.index(step.shape) if step.shape else len(self.shapes)
        return (len(self.shapes) + 1) * (2 * random.randrange(500_000) + (not is_picky)) + place
