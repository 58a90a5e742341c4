"""Partitions: links that lose every byte, in the shapes that are known to break consensus.

| shape | what is cut |
|---|---|
| `one` | the target, which is one node unless more were asked for, from all others |
| `leader` | the leader (of a random range, or of most) from all others; its clients still reach it |
| `halves` | two groups as equal as can be |
| `majority` | a majority from a minority, sizes drawn |
| `ring` | each node hears from a majority, and no two nodes from the same one |
| `bridge` | two groups that hear one node in common, and not each other |
| `one-way` | one node's outgoing or its incoming links only |
| `client` | clients from some nodes: requests, replies or both; the nodes see each other |

The shapes of the nodes against each other are those of Jepsen's `nemesis.clj` (bisect, split-one, bridge,
majorities-ring). A cluster that is too small for a shape does not have it (`LEAST_NODES`): asked for by name it is
refused, and it is never drawn; a single node can only be cut off from its clients.

The shape of a plan is what is really cut: where clients cannot be cut off, `client` that was drawn becomes `one`; so
does `leader` when no leader is known at that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

from nemesis.cluster import CLIENT, Cluster, Evidence, Link
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.schedule import Request, Step
from nemesis.targets import TARGETS, Picked, minority, most_hit, pick, possible_targets, quorum

SHAPES: tuple[str, ...] = ("one", "halves", "majority", "ring", "bridge", "one-way", "leader", "client")
_WEIGHTS = {
    "one": 2,
    "halves": 2,
    "majority": 2,
    "ring": 2,
    "bridge": 2,
    "one-way": 3,
    "leader": 4,
    "client": 1,
}
LEAST_NODES: dict[str, int] = {
    "one": 2,
    "halves": 2,
    "majority": 3,
    "ring": 3,
    "bridge": 3,
    "one-way": 2,
    "leader": 2,
    "client": 1,
}
"""Shape -> the smallest cluster that has it. Two nodes are two halves, but neither is a majority."""


def possible_shapes(size: int) -> tuple[str, ...]:
    """The shapes that so many nodes can have, in the order of `SHAPES`."""
    return tuple(shape for shape in SHAPES if LEAST_NODES[shape] <= size)


def between(left: Sequence[str], right: Sequence[str]) -> tuple[Link, ...]:
    """Both directions of every pair across two groups, sorted."""
    pairs = {(a, b) for a in left for b in right if a != b}
    return tuple(sorted(pairs | {(b, a) for a, b in pairs}))


def isolate(nodes: Sequence[str], one: str) -> tuple[Link, ...]:
    """One node from all others, both directions."""
    return between([one], [name for name in nodes if name != one])


def one_way(nodes: Sequence[str], one: str, direction: str) -> tuple[Link, ...]:
    """Only what a node says (`out`) or only what it hears (`in`)."""
    others = [name for name in nodes if name != one]
    links = [(one, name) if direction == "out" else (name, one) for name in others]
    return tuple(sorted(links))


def bridge(order: Sequence[str]) -> tuple[Link, ...]:
    """The first of `order` is the bridge; the rest falls into two halves that do not hear each other."""
    rest = order[1:]
    return between(rest[: len(rest) // 2], rest[len(rest) // 2 :])


def ring(order: Sequence[str]) -> tuple[Link, ...]:
    """Each node hears from a majority (itself included): its nearest neighbours around the ring of `order`.

    Where a majority has an even number of members the last neighbour is on one side only, so that cut is one-way
    (three nodes: each hears only the next one).
    """
    size = len(order)
    offsets: list[int] = []
    for distance in range(1, size):
        offsets += [distance, -distance]
    heard = offsets[: quorum(size) - 1]
    cut = []
    for position, name in enumerate(order):
        hears = {name} | {order[(position + offset) % size] for offset in heard}
        cut += [(other, name) for other in order if other not in hears]
    return tuple(sorted(cut))


def clients(targets: Sequence[str], direction: str) -> tuple[Link, ...]:
    """Links between the clients and these nodes: `requests`, `replies` or `both` are lost."""
    requests = [(CLIENT, name) for name in targets] if direction in ("requests", "both") else []
    replies = [(name, CLIENT) for name in targets] if direction in ("replies", "both") else []
    return tuple(sorted(requests + replies))


class Partition:
    """Cuts links and mends them. Links that several steps hold stay cut until the last one lets go."""

    name = "partition"
    shapes = SHAPES

    def needs(self, shape: str | None) -> tuple[str, ...]:
        match shape:
            case "client":
                return ("cut_client",)
            case "leader":
                return ("cut", "leaders")
            case _:
                return ("cut",)

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        size = len(nodes)
        if shape is not None and size < LEAST_NODES[shape]:
            there = "there is 1" if size == 1 else f"there are {size}"
            return f"{shape} needs at least {LEAST_NODES[shape]} nodes, {there}; use {', '.join(possible_shapes(size))}"
        if target is None:
            return None
        shape = shape or _shape_for(target, size)
        if shape == "leader" and target != "leader":
            return f"leader cuts off whoever leads, not {target!r}; use partition:one@{target}"
        most = {"client": size, "ring": size, "one": size - 1}.get(shape, 1)
        hit = most_hit(target, size)
        if hit > most:
            nodes_hit = f"{hit} of {size} nodes" if target in TARGETS else f"{hit} nodes"
            return f"{shape} is aimed at {most} node{'s' if most > 1 else ''} at most, and {target!r} is {nodes_hit}"
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        shape = request.shape
        if shape is None and request.target is not None:
            shape = _shape_for(request.target, len(nodes))
        elif shape is None:
            # A client-side partition alone does not show that the nodes survive one, so it is never the first.
            possible = possible_shapes(len(nodes))
            usual = [name for name in possible if not (first and name == "client")] or list(possible)
            shape = random.choices(usual, [_WEIGHTS[name] for name in usual])[0]
        parameters: dict[str, Any] = {"draw": random.getrandbits(32)}
        one_way_direction = random.choice(("in", "out"))
        client_direction = random.choice(("requests", "replies", "both"))
        cut_off = [name for name in ("one", "minority", "all") if name in possible_targets(len(nodes))]
        default = {"leader": "leader", "client": random.choice(cut_off)}.get(shape, "one")
        if shape == "one-way":
            parameters["direction"] = one_way_direction
            default = random.choice(("one", "leader"))
        if shape == "client":
            parameters["direction"] = client_direction
        return Aim(shape, request.target or default, parameters)

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        nodes = situation.nodes
        if step.shape is not None and step.shape not in SHAPES:
            raise ValueError(
                f"unknown shape {step.shape!r} of partition in step {step.id}; known: {', '.join(SHAPES)}"
            )
        problem = self.objection(step.shape, step.target, nodes)
        if problem is not None:
            raise ValueError(problem)
        random = Random(step.parameters.get("draw", step.id))
        running = [name for name in nodes if situation.states[name] == "up"]
        # A partition of a node that is down proves nothing, so those that run are preferred.
        picked = pick(step.target or "one", nodes, running or nodes, situation.leaders, random)
        if not picked.nodes:
            return Plan(skipped=picked.how)
        shape = step.shape or _shape_for(step.target or "one", len(nodes))
        if shape == "client" and "cut_client" not in situation.available and len(nodes) > 1:
            shape = "one"
            picked = msgspec.structs.replace(picked, nodes=picked.nodes[: len(nodes) - 1])
        if shape == "leader" and not picked.leads:
            shape = "one"
        targets, links = self._links(shape, step, nodes, picked, random)
        for link in links:
            holds.take("cut", link, step.id)
        details = {"shape": shape, "how": picked.how, "links": [list(link) for link in links]}
        return Plan(targets, links, details)

    def _links(
        self, shape: str, step: Step, nodes: tuple[str, ...], picked: Picked, random: Random
    ) -> tuple[tuple[str, ...], tuple[Link, ...]]:
        """The nodes that are named as hit, and the links to cut."""
        one = picked.nodes[0]
        direction = step.parameters.get("direction")
        others = [name for name in nodes if name != one]
        random.shuffle(others)
        match shape:
            case "client":
                return picked.nodes, clients(picked.nodes, str(direction or "both"))
            case "one" | "leader":
                rest = [name for name in nodes if name not in picked.nodes]
                return picked.nodes, between(picked.nodes, rest)
            case "one-way":
                return (one,), one_way(nodes, one, str(direction or "out"))
            case "halves":
                half = (one, *others[: len(nodes) // 2 - 1])
                return _sorted(half, nodes), between(half, [n for n in nodes if n not in half])
            case "majority":
                size = random.randint(1, minority(len(nodes)))
                few = (one, *others[: size - 1])
                return _sorted(few, nodes), between(few, [n for n in nodes if n not in few])
            case "ring":
                return nodes, ring((one, *others))
            case "bridge":
                return (one,), bridge((one, *others))
            case _:
                raise AssertionError(f"a shape that is not in {SHAPES} came this far: {shape!r}")

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        return await cluster.cut(plan.links)

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        return

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        free = [link for link in plan.links if holds.release("cut", link, step.id)]
        if not free:
            return Evidence(
                True, [{"what": "every link of this step is still cut by another step", "proves": True}]
            )
        return await cluster.mend(free)


def _shape_for(target: str, size: int) -> str:
    """The shape of a partition that was asked for by its target alone."""
    if size == 1:
        return "client"
    return "leader" if target == "leader" else "one"


def _sorted(names: Sequence[str], nodes: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=nodes.index))
