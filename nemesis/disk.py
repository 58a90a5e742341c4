"""Disks: power that fails before everything is synced, and disks that refuse, are full, stand still or are slow.

| shape | what happens |
|---|---|
| `power-loss` | the process ends and what it had not synced is lost, torn or reordered; started when the step ends |
| `eio` | a share of the writes, or of the syncs, fails with EIO |
| `full` | what needs more room fails with ENOSPC |
| `stall` | nothing that is asked of the disk comes to an end before the heal |
| `slow` | everything that is asked of the disk takes longer |
| `bit-flip` | the process ends, bits of a synced file change, and it is started when the step ends |
| `lost-file` | the same with a synced file that is gone |
| `truncate` | the same with the end of a synced file, which is cut off |
| `wipe` | the same with everything that the node has stored: it comes back as a new one under its old name |

`bit-flip`, `lost-file`, `truncate` and `wipe` are injected only when asked for by name, never drawn. They take from a
node what it had promised to keep, and no heal brings it back: a database without operator repair may rightly refuse to
start on such a disk, and then the run says that the node could not be healed and is unknown. What it must not do is to
serve what it can know to be damaged. For the same reason they hit a minority at most, the same over all steps of a run,
unless `majority`, `all` or so many names are asked for: then no quorum need survive.

A power loss takes one node, a minority, and often enough all at once: a cluster that loses power together has nobody
left who remembers what was not synced, which is where a missing sync shows. Disks that fail take a minority at most
unless more were asked for.

**A node may end by itself on a disk that fails**: for a database that cannot know what a failed sync has left behind it
is the one right answer. It stays down as long as its disk fails, and the heal of the step starts it again. Whether such
an end is forgiven is for the checkers (`checkers/disk_faults.py`), by the intervals in the history.

Rules of overlap, per node:
- A disk is lied about by one step at a time, and never that of a node that is stopped: nothing could be proven of it.
- A power loss follows the rules of a kill (`process.py`): it may meet a paused node, or one whose disk fails.

The shape of a plan is what is really done: what an environment lacks and was drawn becomes the first that it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from nemesis.cluster import CAPABILITY_OF_MODE, Cluster, DiskMode, Evidence, combine
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.process import DISK, DOWN, PAUSE, aim_at_processes, start_again, start_what_ended
from nemesis.schedule import Request, Step
from nemesis.strengths import log_uniform
from nemesis.targets import minority, most_hit, pick, possible_targets

DRAWN: tuple[str, ...] = ("power-loss", "eio", "full", "stall", "slow")
DAMAGE: tuple[str, ...] = ("bit-flip", "lost-file", "truncate", "wipe")
"""Shapes that no heal undoes."""
SHAPES: tuple[str, ...] = DRAWN + DAMAGE
DAMAGED = "damaged"
"""Kind of holds that are never let go: what was damaged stays so."""
SETTLE_S = 0.25
"""So long after the heal a process may still end of what it was told before."""
LEAST_DELAY_MS, MOST_DELAY_MS = 2.0, 200.0
LEAST_SHARE = 0.05

_NEEDS = {
    "power-loss": ("power_loss",),
    "eio": ("disk_error",),
    "full": ("disk_full",),
    "stall": ("disk_stall",),
    "slow": ("disk_slow",),
    "bit-flip": ("kill", "flip_bits"),
    "lost-file": ("kill", "lose_file"),
    "truncate": ("kill", "truncate"),
    "wipe": ("kill", "wipe"),
}
_WEIGHTS = {"power-loss": 6, "eio": 4, "full": 2, "stall": 2, "slow": 2}
_POWER_TARGETS = (("one", 4), ("leader", 4), ("minority", 3), ("majority", 1), ("all", 5))
_FIRST_POWER_TARGETS = (("one", 3), ("leader", 3), ("all", 2))
_DISK_TARGETS = (("one", 4), ("leader", 6), ("minority", 3))


class Disk:
    """Takes power away, and breaks disks and heals them."""

    name = "disk"
    shapes = SHAPES

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return _NEEDS[shape or "power-loss"]

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        shape = request.shape or random.choices(DRAWN, [_WEIGHTS[name] for name in DRAWN])[0]
        if shape == "power-loss":
            table = _FIRST_POWER_TARGETS if first else _POWER_TARGETS
        else:
            table = _DISK_TARGETS
        possible = [row for row in table if row[0] in possible_targets(len(nodes))]
        target = random.choices([name for name, _ in possible], [weight for _, weight in possible])[0]
        parameters: dict[str, Any] = {"draw": random.getrandbits(32)}
        operation = random.choices(("sync", "write"), (3, 2))[0]
        # Half of the disks fail for good; the others now and then, which tempts a database to try again.
        share = 1.0 if first or random.random() < 0.5 else round(log_uniform(random, LEAST_SHARE, 1.0), 3)
        delay_ms = round(log_uniform(random, LEAST_DELAY_MS, MOST_DELAY_MS), 1)
        if shape == "eio":
            parameters |= {"operation": operation, "share": share}
        if shape == "slow":
            parameters["delay_ms"] = delay_ms
        return Aim(shape, request.target or target, parameters)

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        if step.shape is not None and step.shape not in SHAPES:
            raise ValueError(
                f"unknown shape {step.shape!r} of disk in step {step.id}; known: {', '.join(SHAPES)}"
            )
        shape = step.shape or "power-loss"
        if not situation.available.issuperset(_NEEDS[shape]):
            there = [name for name in DRAWN if situation.available.issuperset(_NEEDS[name])]
            if shape in DAMAGE or not there:
                return Plan(skipped=f"{shape} cannot be injected here")
            shape = there[0]
        if shape == "power-loss":
            plan = aim_at_processes(step, situation, holds, DOWN, may_hit_paused=True)
        elif shape in DAMAGE:
            plan = _aim_to_damage(step, situation, holds)
        else:
            plan = _aim_at_disks(step, situation, holds)
        if plan.skipped is not None:
            return plan
        return Plan(plan.targets, details={"shape": shape, **plan.details})

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        shape = plan.details["shape"]

        async def one(name: str) -> Evidence:
            match shape:
                case "power-loss":
                    return await cluster.power_loss(name)
                case "bit-flip" | "lost-file" | "truncate" | "wipe":
                    ended = await cluster.kill(name)
                    damage = {
                        "bit-flip": cluster.flip_bits,
                        "lost-file": cluster.lose_file,
                        "truncate": cluster.truncate,
                        "wipe": cluster.wipe,
                    }[shape]
                    return combine([ended, await damage(name)])
                case _:
                    mode = mode_of(shape, step)
                    share = float(step.parameters.get("share", 1.0)) if shape == "eio" else 1.0
                    delay_ms = float(step.parameters.get("delay_ms", 20.0)) if shape == "slow" else 0.0
                    return await cluster.fail_disk(name, mode, share, delay_ms)

        return combine(await asyncio.gather(*(one(name) for name in plan.targets)))

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        return

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        shape = plan.details["shape"]
        if shape == "power-loss" or shape in DAMAGE:
            return await start_again(step, plan, cluster, holds)
        return combine(await asyncio.gather(*(_heal(name, step, cluster, holds) for name in plan.targets)))


def mode_of(shape: str, step: Step) -> DiskMode:
    """The mode of the disk that a shape stands for."""
    match shape:
        case "eio":
            return "eio-write" if step.parameters.get("operation") == "write" else "eio-sync"
        case "full":
            return "full"
        case "stall":
            return "stall"
        case "slow":
            return "slow"
        case _:
            raise AssertionError(f"{shape!r} is no mode of a disk; those are {', '.join(CAPABILITY_OF_MODE)}")


def _aim_to_damage(step: Step, situation: Situation, holds: Holds) -> Plan:
    """A minority over the whole run: once so many are damaged, the same are damaged further. Larger targets are never
    drawn, so whoever has one wants it so."""
    nodes = situation.nodes
    damaged = [name for name in nodes if holds.holders(DAMAGED, name)]
    left = minority(len(nodes)) - len(damaged)
    is_asked_for = most_hit(step.target or "one", len(nodes)) > minority(len(nodes))
    among = nodes if left > 0 or is_asked_for else damaged
    plan = aim_at_processes(
        step, situation, holds, DOWN, may_hit_paused=True, among=among, at_most=max(1, left)
    )
    for name in plan.targets:
        holds.take(DAMAGED, name, step.id)
    return plan


def _aim_at_disks(step: Step, situation: Situation, holds: Holds) -> Plan:
    """Nodes that run and whose disk nobody else has broken; drawn sizes leave a majority that can go on."""
    stopped = {
        name
        for name in situation.nodes
        if situation.states[name] != "up" or holds.holders(DOWN, name) or holds.holders(PAUSE, name)
    }
    failing = {name for name in situation.nodes if holds.holders(DISK, name)}
    candidates = [name for name in situation.nodes if name not in stopped | failing]
    room = minority(len(situation.nodes)) - len(stopped | failing)
    random = Random(step.parameters.get("draw", step.id))
    picked = pick(step.target or "one", situation.nodes, candidates, situation.leaders, random, at_most=room)
    if not picked.nodes:
        return Plan(skipped=f"{picked.how}: every candidate is stopped or its disk already fails")
    for name in picked.nodes:
        holds.take(DISK, name, step.id)
    return Plan(picked.nodes, details={"how": picked.how})


async def _heal(name: str, step: Step, cluster: Cluster, holds: Holds) -> Evidence:
    """Heal the disk, then start the node if it ended by itself or was left down because of this disk."""
    try:
        parts = [await cluster.heal_disk(name)]
        if cluster.state(name) == "up":
            await asyncio.sleep(SETTLE_S)
        started = await start_what_ended(name, step, cluster, holds)
        return combine(parts if started is None else [*parts, started])
    finally:
        holds.release(DISK, name, step.id)
