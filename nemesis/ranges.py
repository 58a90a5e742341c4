"""Ranges: the pieces of the keyspace that a database keeps apart, cut, joined and moved while clients use them.

`split` has a range cut in two at one of its keys, `once` or `often`; `merge` has two neighbours made one; `move` has a
replica moved to a node that has none of its range; `transfer` has another replica lead. It is asked of the database as
an operator would, through one node, and again as long as the step lasts: a database under faults may refuse. Nothing is
healed afterwards: a range that was cut is as good as a whole one, and a replica is as good on one node as on another.

`membership` takes a node out of service, or lets one come:

- `drain`: everything that the node holds is moved to others; it is given something back when the step ends, so that the
  cluster does not lose its nodes one by one.
- `decommission`, by name only: the database is told that the node is to go, and when the step ends that it is to stay;
  if it has left by then, it has left for good.
- `join`, by name only: a node that the cluster did not begin with is started, and joins.
- `replace`, by name only: the node is killed with all that it has stored and dismissed, and a new one with another
  identity and an empty disk joins in its place. As long as what it held is not on others, no second one goes: two are a
  majority of three replicas, and what only they had would be gone for good, whatever the database does.

What counts as evidence is what the database says of its ranges before and after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from random import Random

from nemesis.asked import AskedOfDatabase
from nemesis.cluster import Cluster, Evidence, Reshaping, combine
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.process import DISK, DOWN, aim_at_processes, start_again
from nemesis.schedule import Request, Step
from nemesis.targets import pick

DECOMMISSION, JOIN, REPLACE = "decommission", "join", "replace"
GONE = "gone"
"""Kind of hold on a node that is gone for good, until all that it held is on others."""
OFTEN_S = (0.1, 0.7)
"""Between one change and the next, where a step makes many."""
MOST_OF_A_STEP = 6
"""Changes of one step: ranges cost something for the rest of the run."""


class _Reshape(AskedOfDatabase):
    """What splits, merges, moves and transfers have in common."""

    shapes: tuple[str, ...] = ("once", "often")

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


class NeedsSpareNode(_Reshape):
    """Replicas can go nowhere if each range has one on every node."""

    copies = 3
    """How many replicas a range has; set by whoever knows."""

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        if len(nodes) > self.copies:
            return None
        return (
            f"each range has {self.copies} replicas, one on each of {len(nodes)} nodes, and none can go anywhere; "
            f"give --nodes {self.copies + 1} or more, or a smaller --replication"
        )


class Move(NeedsSpareNode):
    """Has replicas moved from node to node."""

    name = "move"
    kind = "move"


class Transfer(_Reshape):
    """Has leadership of ranges transferred."""

    name = "transfer"
    kind = "transfer"


class Membership(NeedsSpareNode):
    """Has a node leave, for a while or for good, join, or be replaced by a new one."""

    name = "membership"
    hits_replicas = True
    kind = "drain"
    shapes = ("drain", DECOMMISSION, JOIN, REPLACE)
    asked: Mapping[str, tuple[Reshaping, Reshaping]] = {
        "drain": ("drain", "refill"),
        DECOMMISSION: ("decommission", "recommission"),
        JOIN: ("joined", "joined"),
    }
    """Shape -> what the database is asked when a step starts, and when it ends."""

    def needs(self, shape: str | None) -> tuple[str, ...]:
        if shape == REPLACE:
            return ("kill", "wipe", "replace")
        return ("ranges", "members") if shape in (DECOMMISSION, JOIN) else super().needs(shape)

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        return Aim(request.shape or "drain", request.target or "one", {"draw": random.getrandbits(32)})

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        if step.shape == REPLACE:
            gone = [name for name in situation.nodes if holds.holders(GONE, name)]
            if gone:
                return Plan(
                    skipped=f"{', '.join(gone)} is gone for good, and what it held is not on others yet"
                )
            aim = aim_at_processes(step, situation, holds, DOWN, may_hit_paused=False)
            for name in aim.targets:
                holds.take(GONE, name, step.id)
            return aim
        if step.shape != JOIN:
            return super().plan(step, situation, holds)
        # Whom no step has stopped and who is down all the same, was never started.
        outside = [
            name
            for name in situation.nodes
            if situation.states[name] == "down"
            and not holds.holders(DOWN, name)
            and not holds.holders(DISK, name)
        ]
        random = Random(step.parameters.get("draw", step.id))
        picked = pick(step.target or "one", situation.nodes, outside, situation.leaders, random)
        if not picked.nodes:
            return Plan(skipped=f"{picked.how}: every node is in the cluster already")
        for name in picked.nodes:
            holds.take(DOWN, name, step.id)
        return Plan(picked.nodes, details={"how": picked.how})

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        if step.shape == REPLACE:
            replaced = combine([await cluster.replace(name) for name in plan.targets])
            _none_is_gone(step, plan, cluster, holds)
            return replaced
        asked = self.asked[step.shape or "drain"][0]
        if step.shape != JOIN:
            return await self.ask(asked, step, plan, cluster)
        try:
            started = combine(await asyncio.gather(*(cluster.start(name) for name in plan.targets)))
        finally:
            for name in plan.targets:
                holds.release(DOWN, name, step.id)
        return combine([started, await self.ask(asked, step, plan, cluster)])

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        return None

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        if step.shape == REPLACE:
            started = await start_again(step, plan, cluster, holds)
            _none_is_gone(step, plan, cluster, holds)
            return started
        random = Random(step.parameters.get("draw", step.id) + 2)
        asked = self.asked[step.shape or "drain"][1]
        evidence = await cluster.reshape(asked, plan.targets[0], random.getrandbits(32))
        if evidence.took_effect:
            return evidence
        # A node without replicas is a whole one all the same: it is asked, and answers for others.
        return Evidence(True, [{**probe, "proves": None} for probe in evidence.probes])


def _none_is_gone(step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> None:
    """Who comes in the place of another is only started once nobody counts on that one."""
    for name in plan.targets:
        if cluster.state(name) == "up":
            holds.release(GONE, name, step.id)
