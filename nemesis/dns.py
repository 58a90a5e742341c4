"""DNS: a node that looks up the names of the others gets no answer, or a wrong one.

| shape | what a lookup at the node says |
|---|---|
| `fail` | no such name |
| `wrong` | the address of another node: each name leads to the next one |

Connections that are open go on; whoever dials anew meets it: a node that was restarted, one whose connections broke.
So it shows most beside other faults. It takes an environment whose nodes know each other by names.

Rules of overlap, per node: its names are held by one step at a time, and never those of a node that is stopped, as
nobody could look up anything there and nothing would be proven.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from nemesis.cluster import Cluster, Evidence, combine
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.process import aim_at_running
from nemesis.schedule import Request, Step
from nemesis.targets import possible_targets

SHAPES: tuple[str, ...] = ("fail", "wrong")
NAMES = "names"
"""Kind of holds."""
_TARGETS = (("one", 5), ("leader", 5), ("minority", 3), ("majority", 1), ("all", 3))


class Dns:
    """Breaks names and mends them."""

    name = "dns"
    shapes = SHAPES

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return ("names",)

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        least = 3 if shape == "wrong" else 2
        if len(nodes) >= least:
            return None
        return (
            f"{shape or 'it'} takes {least} nodes or more, whose names are looked up; there is {len(nodes)}"
        )

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        possible = [shape for shape in SHAPES if self.objection(shape, None, nodes) is None]
        shape = request.shape or random.choice(possible or SHAPES)
        table = [row for row in _TARGETS if row[0] in possible_targets(len(nodes))]
        target = random.choices([name for name, _ in table], [weight for _, weight in table])[0]
        return Aim(shape, request.target or target, {"draw": random.getrandbits(32)})

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        shape = step.shape or "fail"
        if shape not in SHAPES:
            raise ValueError(f"unknown shape {shape!r} of dns in step {step.id}; known: {', '.join(SHAPES)}")
        plan = aim_at_running(step, situation, holds, NAMES, "lacks its names already")
        return plan if plan.skipped else Plan(plan.targets, details={"shape": shape, **plan.details})

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        wrong = plan.details["shape"] == "wrong"
        return combine(await asyncio.gather(*(cluster.break_names(name, wrong) for name in plan.targets)))

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        return

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        async def one(name: str) -> Evidence:
            try:
                return await cluster.mend_names(name)
            finally:
                holds.release(NAMES, name, step.id)

        return combine(await asyncio.gather(*(one(name) for name in plan.targets)))
