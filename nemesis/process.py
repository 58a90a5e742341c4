"""Processes: `kill` (SIGKILL, then start), `pause` (SIGSTOP, SIGCONT) and `restart` (SIGTERM and start).

| shape of `restart` | what happens |
|---|---|
| `rolling` | one node after the other is asked to end, and is ready again before the next one goes |
| `stop` | the nodes are asked to end, all at once, and started when the step ends; by name only |
| `crash-loop` | the nodes are killed as soon as they are ready again, over and over; by name only |

By default a step takes one node, a minority or the leader, so that a majority can go on; one in eight takes a
majority or all, because recovery of the whole is worth seeing. Sizes that were *drawn* leave room for what other
steps have already stopped, and half of the steps that meet a partition aim at a node that is cut off anyway: a cluster
without a majority does nothing that could be wrong. What was asked for by name is done as asked. The first step of
a class takes few nodes, so that the class is sure to take effect.

Rules of overlap, per node:
- A node is stopped by one step only, and only that step starts it again. Others see it as down and aim elsewhere.
- A pause does not aim at a node that is down or already paused.
- A kill may hit a paused node: that ends the pause, and the step that paused it has nothing left to resume.
- A node whose disk fails now (`disk.py`) is killed like any other, but may not be able to start: it is left down, and
  the step that lies on its disk starts it once that is healed. It is not paused: it would learn of its disk, and
  perhaps end, only after that step is over and nobody starts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from random import Random

from nemesis.cluster import Cluster, Evidence, combine
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.schedule import Request, Step
from nemesis.targets import minority, pick, possible_targets, quorum

CRASH_LOOP_UP_S = 0.3
"""So long a node of a crash loop lives once it is ready."""
DOWN, PAUSE, DISK = "down", "pause", "disk"
_FIRST = (("one", 4), ("leader", 4))
_LATER = (("one", 8), ("minority", 6), ("leader", 7), ("majority", 1), ("all", 2))


def draw_target(request: Request, random: Random, size: int, first: bool) -> str:
    """The target that was asked for, else one by weight among those that so many nodes can have."""
    table = [row for row in (_FIRST if first else _LATER) if row[0] in possible_targets(size)]
    drawn = random.choices([name for name, _ in table], [weight for _, weight in table])[0]
    return request.target or drawn


def cut_off(nodes: Sequence[str], holds: Holds) -> set[str]:
    """Nodes that cannot speak both ways with enough others for a majority, by the links that are cut now."""

    def speak(one: str, other: str) -> bool:
        return not holds.holders("cut", (one, other)) and not holds.holders("cut", (other, one))

    return {
        name
        for name in nodes
        if sum(other == name or speak(name, other) for other in nodes) < quorum(len(nodes))
    }


def aim_at_processes(
    step: Step,
    situation: Situation,
    holds: Holds,
    kind: str,
    may_hit_paused: bool,
    among: Collection[str] | None = None,
    at_most: int | None = None,
) -> Plan:
    """Resolve the target among the nodes that no other step has stopped, and take the hold `kind` on each.

    `among` are the nodes that may be hit at all (None: every one), `at_most` how many a drawn size may be.
    """
    stopped = {
        name for name in situation.nodes if situation.states[name] == "down" or holds.holders(DOWN, name)
    }
    paused = {
        name for name in situation.nodes if situation.states[name] == "paused" or holds.holders(PAUSE, name)
    }
    # A node with a broken disk may end by itself at any moment, so it counts as one that is stopped.
    failing = {name for name in situation.nodes if holds.holders(DISK, name)}
    barred = stopped if may_hit_paused else stopped | paused
    if kind == PAUSE:
        barred |= failing
    candidates = [name for name in situation.nodes if name not in barred and (among is None or name in among)]
    room = minority(len(situation.nodes)) - len(stopped | paused | failing)
    room = room if at_most is None else min(room, at_most)
    random = Random(step.parameters.get("draw", step.id))
    spare_majority = random.random() < 0.5
    lonely = cut_off(situation.nodes, holds)
    if step.target in ("one", "minority") and spare_majority and lonely & set(candidates):
        candidates = [name for name in candidates if name in lonely]
    picked = pick(step.target or "one", situation.nodes, candidates, situation.leaders, random, at_most=room)
    if not picked.nodes:
        why = ", ".join(
            f"{name} is {'down' if name in stopped else 'paused' if name in paused else 'on a failing disk'}"
            for name in sorted(barred)
        )
        return Plan(skipped=f"{picked.how}: {why}" if why else picked.how)
    for name in picked.nodes:
        if kind == DOWN:
            holds.drop(PAUSE, name)
        holds.take(kind, name, step.id)
    return Plan(picked.nodes, details={"how": picked.how})


def aim_at_running(step: Step, situation: Situation, holds: Holds, kind: str, otherwise: str) -> Plan:
    """Resolve the target among the nodes that run and of which no step holds `kind`, and take that hold on each.
    `otherwise`: what to say where there is none."""
    candidates = [
        name
        for name in situation.nodes
        if situation.states[name] == "up"
        and not any(holds.holders(held, name) for held in (kind, DOWN, PAUSE))
    ]
    random = Random(step.parameters.get("draw", step.id))
    picked = pick(step.target or "one", situation.nodes, candidates, situation.leaders, random)
    if not picked.nodes:
        return Plan(skipped=f"{picked.how}: every candidate is stopped or {otherwise}")
    for name in picked.nodes:
        holds.take(kind, name, step.id)
    return Plan(picked.nodes, details={"how": picked.how})


class Kill:
    """SIGKILL without warning; the nodes are started again when the step ends."""

    name = "kill"
    shapes: tuple[str, ...] = ()

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return ("kill",)

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        return Aim(None, draw_target(request, random, len(nodes), first), {"draw": random.getrandbits(32)})

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        return aim_at_processes(step, situation, holds, DOWN, may_hit_paused=True)

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        return combine(await asyncio.gather(*(cluster.kill(name) for name in plan.targets)))

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        return

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        return await start_again(step, plan, cluster, holds)


async def start_again(step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
    """Start the nodes that this step stopped. A node stays held until it is ready, so that nobody aims at it."""

    async def one(name: str) -> Evidence:
        if step.id not in holds.holders(DOWN, name):
            return Evidence(True, [{"what": f"{name} is no longer held by step {step.id}", "proves": True}])
        if (broken := _left_down(name, holds)) is not None:
            holds.release(DOWN, name, step.id)
            return broken
        try:
            return await cluster.start(name)
        finally:
            holds.release(DOWN, name, step.id)

    return combine(await asyncio.gather(*(one(name) for name in plan.targets)))


def _left_down(name: str, holds: Holds) -> Evidence | None:
    """Evidence that a node is not ours to start, because its disk fails now; None if it is."""
    breakers = holds.holders(DISK, name)
    if not breakers:
        return None
    what = f"the disk of {name} fails now: step {breakers[-1]} starts it when it heals that"
    return Evidence(True, [{"what": what, "proves": True}])


async def start_what_ended(name: str, step: Step, cluster: Cluster, holds: Holds) -> Evidence | None:
    """Start a node that ended by itself because of what this step did. None where there is nothing to start: it runs,
    or another step stopped it and starts it."""
    if cluster.state(name) != "down" or holds.holders(DOWN, name):
        return None
    holds.take(DOWN, name, step.id)
    try:
        return await cluster.start(name)
    finally:
        holds.release(DOWN, name, step.id)


class Pause:
    """SIGSTOP: the process keeps its connections, its memory and its belief that it leads; then SIGCONT."""

    name = "pause"
    shapes: tuple[str, ...] = ()

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return ("pause",)

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        return Aim(None, draw_target(request, random, len(nodes), first), {"draw": random.getrandbits(32)})

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        return aim_at_processes(step, situation, holds, PAUSE, may_hit_paused=False)

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        return combine(await asyncio.gather(*(cluster.pause(name) for name in plan.targets)))

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        return

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        async def one(name: str) -> Evidence:
            if not holds.release(PAUSE, name, step.id):
                return Evidence(True, [{"what": f"{name} was killed while it was paused", "proves": True}])
            return await cluster.resume(name)

        return combine(await asyncio.gather(*(one(name) for name in plan.targets)))


class Restart:
    """SIGTERM and start, as an operator would; see the shapes above. Without a shape a restart is a rolling one.

    A rolling step starts with the first node's end. The rest follows while the step is held: each node is ready again
    before the next one goes, and one that another step has stopped meanwhile is passed over. The node that is down
    when the step ends is started then.
    """

    name = "restart"
    shapes: tuple[str, ...] = ("rolling", "stop", "crash-loop")

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return ("kill",) if shape == "crash-loop" else ("terminate",)

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        drawn = random.choices(("one", "leader", "all"), (3, 3, 4))[0]
        parameters = {"draw": random.getrandbits(32), "down_ms": random.choice((0, 100, 500, 1000))}
        target = request.target or ("one" if request.shape in ("stop", "crash-loop") else drawn)
        return Aim(request.shape, target, parameters)

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        if step.shape is not None and step.shape not in self.shapes:
            raise ValueError(
                f"unknown shape {step.shape!r} of restart in step {step.id}; known: {', '.join(self.shapes)}"
            )
        plan = aim_at_processes(step, situation, holds, DOWN, may_hit_paused=False)
        for name in () if step.shape in ("stop", "crash-loop") else plan.targets[1:]:
            holds.release(DOWN, name, step.id)  # Their turn has not come; until then they are anybody's.
        return plan

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        if step.shape in ("stop", "crash-loop"):
            end = cluster.terminate if step.shape == "stop" else cluster.kill
            return combine(await asyncio.gather(*(end(name) for name in plan.targets)))
        return await cluster.terminate(plan.targets[0])

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        """Roll on, or kill whoever is ready again."""
        if step.shape == "stop":
            return
        if step.shape == "crash-loop":
            await asyncio.gather(*(_crash_again(name, step, cluster, holds, ended) for name in plan.targets))
            return
        for position, name in enumerate(plan.targets):
            if position > 0:
                if ended.is_set():
                    return
                if cluster.state(name) != "up" or holds.holders(DOWN, name) or holds.holders(PAUSE, name):
                    continue
                holds.take(DOWN, name, step.id)
                await cluster.terminate(name)
            await _wait(ended, step.parameters.get("down_ms", 0) / 1000)
            if _left_down(name, holds) is None:
                await cluster.start(name)
            holds.release(DOWN, name, step.id)

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        return await start_again(step, plan, cluster, holds)


async def _crash_again(name: str, step: Step, cluster: Cluster, holds: Holds, ended: asyncio.Event) -> None:
    """Starts and kills a node until the step ends; it is left down then."""
    while not ended.is_set() and _left_down(name, holds) is None:
        await cluster.start(name)
        await _wait(ended, CRASH_LOOP_UP_S)
        await cluster.kill(name)
        await _wait(ended, step.parameters.get("down_ms", 0) / 1000)


async def _wait(ended: asyncio.Event, seconds: float) -> None:
    """Sleep, but not beyond the end of the step."""
    if seconds > 0:
        try:
            await asyncio.wait_for(ended.wait(), seconds)
        except TimeoutError:
            return
