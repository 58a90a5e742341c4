"""A follower that lags so far behind that the log does not reach back to it: it comes back by a snapshot, or never.

The node is cut off from all others, who go on; as soon as they have committed something that it lacks they are told to
cut their logs (compaction, as an operator of etcd would). When the step ends the links are mended. What a short
partition shows is how a log catches up; this shows what a snapshot carries.

Evidence of the system itself: the node lacks entries that nobody has any more. That snapshots were sent after mending
is shown beside it. Where nothing is written nothing is lacked, and then the step has not taken effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from nemesis.cluster import Cluster, Evidence, combine
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.partition import isolate
from nemesis.schedule import Request, Step
from nemesis.targets import holders, most_hit, pick

AGAIN_S = 0.25
"""Between two attempts to cut logs behind which the node has fallen, and between two looks for a snapshot."""
LACKING = "lacking"
"""Kind of the hold on a node that lacks entries which nobody has any more: a snapshot will have to come."""
NODES_LEAST = 3
PATIENCE_S = 5.0
"""For how long each of these is tried."""


class Lagging:
    """Cuts a node off until the others' logs do not reach back to it."""

    name = "lagging"
    shapes: tuple[str, ...] = ()
    hits_replicas = True

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return ("cut", "ranges")

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        if len(nodes) < NODES_LEAST:
            return f"a follower lags behind a majority of others: that takes {NODES_LEAST} nodes, not {len(nodes)}"
        if target is not None and most_hit(target, len(nodes)) > 1:
            return f"one node lags, and {target!r} is more; use lagging@one"
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        return Aim(None, request.target or "one", {"draw": random.getrandbits(32)})

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        problem = self.objection(step.shape, step.target, situation.nodes)
        if problem is not None:
            raise ValueError(problem)
        up = [name for name in situation.nodes if situation.states[name] == "up"]
        random = Random(step.parameters.get("draw", step.id))
        candidates = holders(up, situation.leaders) if step.target in (None, "one") else up
        picked = pick(step.target or "one", situation.nodes, candidates, situation.leaders, random)
        if not picked.nodes:
            return Plan(skipped=f"{picked.how}: no node is up that could lag")
        links = isolate(situation.nodes, picked.nodes[0])
        for link in links:
            holds.take("cut", link, step.id)
        return Plan(picked.nodes[:1], links, {"how": picked.how, "links": [list(link) for link in links]})

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        (node,) = plan.targets
        cut = await cluster.cut(plan.links)
        give_up = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            compacted = await cluster.reshape("compact", node, 0)
            if compacted.took_effect:
                holds.take(LACKING, node, step.id)
            if compacted.took_effect or asyncio.get_running_loop().time() >= give_up:
                return combine([cut, compacted])
            await asyncio.sleep(AGAIN_S)

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        return

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        (node,) = plan.targets
        before = _count(await cluster.reshape("snapshots", node, 0))
        free = [link for link in plan.links if holds.release("cut", link, step.id)]
        mended = Evidence(True) if not free else await cluster.mend(free)
        lacks = step.id in holds.holders(LACKING, node)
        holds.release(LACKING, node, step.id)
        if len(free) < len(plan.links):
            what = "another step still cuts this node off: no snapshot can reach it yet"
            return combine([mended, Evidence(True, [{"what": what, "proves": True}])])
        if not lacks:
            return mended
        after = before
        give_up = asyncio.get_running_loop().time() + PATIENCE_S
        while before is not None and after == before and asyncio.get_running_loop().time() < give_up:
            await asyncio.sleep(AGAIN_S)
            after = _count(await cluster.reshape("snapshots", node, 0))
        more = True if before is not None and after is not None and after > before else None
        what = "snapshots that nodes have sent since they were started"
        shown = Evidence(True, [{"what": what, "before": before, "after": after, "proves": more}])
        return combine([mended, shown])


def _count(evidence: Evidence) -> int | None:
    """The number that a probe has found."""
    found = evidence.probes[0].get("after") if evidence.took_effect else None
    return found if isinstance(found, int) else None
