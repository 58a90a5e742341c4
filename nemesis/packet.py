"""Packets: links that carry bytes, but late, slowly, in fits, or over connections that break.

| shape | what the links do |
|---|---|
| `slow` | every byte is late by about the same |
| `jitter` | every byte is late, by very different times |
| `loss` | a share of the segments is lost and sent again, so that bytes come late and in bursts |
| `throttle` | so many bytes a second and no more |
| `reset` | connections are reset, again and again |
| `half-open` | connections end at one end only; the other goes on believing in them |
| `flaky` | late, lossy, and reset now and then: a bad cable |
| `burst` | losses as of `loss`, but many packets in a row |
| `duplicate` | a share of the packets arrives twice |
| `reorder` | late, and a share of the packets overtakes the others |
| `corrupt` | a share of the packets arrives with one bit changed; a checksum finds it, so it is lost |

A step lies on the links of its target with the other nodes, with one of them, with the clients, or with everybody; in
both directions or in one. Strengths are drawn log-uniformly within what leaves operations some success: delays of 5
to 300 ms, losses of 1 to 30 %, 32 to 512 kB a second, resets every 0.25 to 2.5 s; delays and losses are gentler where
they lie on a majority or on all, because an answer then waits for several of them in turn.

Rules of overlap, per link:
- Steps that lie on the same link combine to the worst of them (the longest delay, the largest jitter and loss, the
  fewest bytes a second). When one ends, the others stay as strong as they are.
- Shares of duplicates, of packets that overtake and of damaged ones combine likewise, each for itself.
- A link that is cut carries nothing, so nothing could be proven about it: steps lie on those that are not.
- What would be half-open and is cut as well is mended with the cut.

The shape of a plan is what is really done: what an environment lacks and was drawn becomes `slow`, and a cable is
flaky without losses where losses cannot be had. The last four shapes need packets, which a stream does not have. A step
whose shape was drawn carries one of them beside it now and then (`instead`); it is done where it can be had, so that a
seed draws the same schedule for every environment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from nemesis.cluster import CLIENT, Cluster, Evidence, Link, combine
from nemesis.holds import Holds
from nemesis.package import Aim, Plan, Situation
from nemesis.schedule import Request, Step
from nemesis.strengths import log_uniform
from nemesis.targets import pick, possible_targets

STREAM_SHAPES: tuple[str, ...] = ("slow", "jitter", "loss", "throttle", "reset", "half-open", "flaky")
PACKET_SHAPES: tuple[str, ...] = ("burst", "duplicate", "reorder", "corrupt")
"""Shapes of single packets: TCP hides them from whoever only sees its bytes."""
SHAPES: tuple[str, ...] = STREAM_SHAPES + PACKET_SHAPES
REACHES: tuple[str, ...] = ("nodes", "pair", "clients", "everybody")
"""At whose other end the links of a step are: all other nodes, one of them, the clients, all nodes and the clients."""
DIRECTIONS: tuple[str, ...] = ("both", "out", "in")

SLOW, LOSE, THROTTLE, DISTURB, HALF = "slow", "lose", "throttle", "disturb", "half open"
"""Kinds of holds. All but the last carry the strength that their step wants."""

LEAST_DELAY_MS, MOST_DELAY_MS, MOST_DELAY_OF_MANY_MS = 5.0, 300.0, 100.0
LEAST_SHARE, MOST_SHARE, MOST_SHARE_OF_MANY = 0.01, 0.3, 0.1
LEAST_BYTES_PER_S, MOST_BYTES_PER_S = 32_000, 512_000
LEAST_PERIOD_MS, MOST_PERIOD_MS = 250.0, 2500.0
LEAST_BURST, MOST_BURST = 3.0, 30.0
LEAST_DISTURBED, MOST_DISTURBED, MOST_DAMAGED = 0.02, 0.5, 0.2
INSTEAD_SHARE = 0.4
"""Of the steps whose shape is drawn this share has a shape of single packets beside it."""

_NEEDS = {
    "slow": ("slow",),
    "jitter": ("slow",),
    "loss": ("lose",),
    "throttle": ("throttle",),
    "reset": ("reset",),
    "half-open": ("half_open",),
    "flaky": ("slow", "reset"),
    "burst": ("lose", "lose_bursts"),
    "duplicate": ("disturb",),
    "reorder": ("slow", "disturb"),
    "corrupt": ("disturb",),
}
_LIES_ON = {
    "slow": (SLOW,),
    "jitter": (SLOW,),
    "loss": (LOSE,),
    "throttle": (THROTTLE,),
    "flaky": (SLOW, LOSE),
    "burst": (LOSE,),
    "duplicate": (DISTURB,),
    "reorder": (SLOW, DISTURB),
    "corrupt": (DISTURB,),
}
"""Shape -> the lasting conditions that it lays on its links."""
_TARGETS = (("one", 5), ("leader", 6), ("minority", 2), ("majority", 1), ("all", 4))
_REACHES = (("nodes", 6), ("pair", 2), ("everybody", 2), ("clients", 1))


class Packet:
    """Lays conditions on links and takes them off."""

    name = "packet"
    shapes = SHAPES

    def needs(self, shape: str | None) -> tuple[str, ...]:
        return _NEEDS[shape or "slow"]

    def objection(self, shape: str | None, target: str | None, nodes: Sequence[str]) -> str | None:
        return None

    def draw(self, request: Request, random: Random, nodes: Sequence[str], first: bool) -> Aim:
        shape = request.shape or random.choice(STREAM_SHAPES)
        table = [row for row in _TARGETS if row[0] in possible_targets(len(nodes))]
        target = random.choices([name for name, _ in table], [weight for _, weight in table])[0]
        target = request.target or target
        # Clients alone do not show that the nodes survive a bad network, so they are never the first.
        reaches = [row for row in _REACHES if not (first and row[0] == "clients")]
        reach = random.choices([name for name, _ in reaches], [weight for _, weight in reaches])[0]
        parameters: dict[str, Any] = {
            "draw": random.getrandbits(32),
            "reach": "clients" if len(nodes) == 1 else reach,
            "direction": random.choices(DIRECTIONS, (4, 3, 3))[0],
            **_delays(shape, target in ("majority", "all"), random),
        }
        share = log_uniform(
            random, LEAST_SHARE, MOST_SHARE_OF_MANY if target in ("majority", "all") else MOST_SHARE
        )
        bytes_per_s = round(log_uniform(random, LEAST_BYTES_PER_S, MOST_BYTES_PER_S))
        period_ms = round(log_uniform(random, LEAST_PERIOD_MS, MOST_PERIOD_MS), 1)
        if shape in ("loss", "flaky"):
            parameters["share"] = round(max(share, 0.05) if first else share, 4)
        if shape == "throttle":
            parameters["bytes_per_s"] = bytes_per_s
        if shape in ("reset", "flaky"):
            parameters["period_ms"] = period_ms
        # Of a stream of its own: what an environment cannot have must not change what is drawn for the others.
        of_packets = Random(parameters["draw"])
        if request.shape is None and of_packets.random() < INSTEAD_SHARE:
            parameters["instead"] = of_packets.choice(PACKET_SHAPES)
        single = parameters.get("instead", shape)
        if single == "burst":
            parameters["burst"] = round(log_uniform(of_packets, LEAST_BURST, MOST_BURST), 1)
            parameters.setdefault("share", round(max(share, 0.05) if first else share, 4))
        elif single in PACKET_SHAPES:
            most = MOST_DAMAGED if single == "corrupt" else MOST_DISTURBED
            parameters[single] = round(log_uniform(of_packets, LEAST_DISTURBED, most), 4)
        return Aim(shape, target, parameters)

    def plan(self, step: Step, situation: Situation, holds: Holds) -> Plan:
        if step.shape is not None and step.shape not in SHAPES:
            raise ValueError(
                f"unknown shape {step.shape!r} of packet in step {step.id}; known: {', '.join(SHAPES)}"
            )
        nodes = situation.nodes
        random = Random(step.parameters.get("draw", step.id))
        running = [name for name in nodes if situation.states[name] == "up"]
        picked = pick(step.target or "one", nodes, running or nodes, situation.leaders, random)
        if not picked.nodes:
            return Plan(skipped=picked.how)
        shape = step.shape or "slow"
        instead = step.parameters.get("instead")
        if instead is not None and situation.available.issuperset(_NEEDS[instead]):
            shape = instead
        if not situation.available.issuperset(_NEEDS[shape]):
            shape = "slow"
        reach = step.parameters.get("reach", "clients" if len(nodes) == 1 else "nodes")
        direction = step.parameters.get("direction", "both")
        wanted = links_of(picked.nodes, nodes, str(reach), str(direction), random)
        if shape in ("reset", "half-open"):
            wanted = _one_way_each(wanted)
        # A connection works as long as both of its directions do.
        links = tuple(
            link
            for link in wanted
            if not holds.holders("cut", link) and not holds.holders("cut", (link[1], link[0]))
        )
        if not links:
            why = "every link of it is cut by another step" if wanted else "there is no such link"
            return Plan(skipped=f"{picked.how}: {why}")
        down = [name for name in nodes if situation.states[name] == "down"]
        if all(source in down or target in down for source, target in links):
            # Nothing passes there, so nothing would show that the step took effect.
            return Plan(skipped=f"{picked.how}: no link of it has both ends running ({', '.join(down)} down)")
        conditions = [kind for kind in _LIES_ON.get(shape, ()) if kind in situation.available]
        for link in links:
            for kind in conditions:
                holds.take(kind, link, step.id, _strength(kind, shape, step))
            if shape == "half-open":
                holds.take(HALF, link, step.id)
        details = {
            "shape": shape,
            "how": picked.how,
            "links": [list(link) for link in links],
            "conditions": {kind: _strength(kind, shape, step) for kind in conditions},
        }
        return Plan(picked.nodes, links, details)

    async def start(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        match plan.details["shape"]:
            case "reset":
                return await cluster.reset(plan.links)
            case "half-open":
                return await cluster.half_open(plan.links)
            case _:
                return combine(
                    [
                        await _bring_about(kind, plan.links, cluster, holds)
                        for kind in plan.details["conditions"]
                    ]
                )

    async def hold(
        self, step: Step, plan: Plan, cluster: Cluster, holds: Holds, ended: asyncio.Event
    ) -> None:
        """Reset again once a period, where the shape is one that does. Only the first reset is evidence."""
        if plan.details["shape"] not in ("reset", "flaky"):
            return
        links = _one_way_each(plan.links)
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), step.parameters.get("period_ms", 1000.0) / 1000)
            except TimeoutError:
                whole = [link for link in links if not holds.holders("cut", link)]
                if whole:
                    await cluster.reset(whole)

    async def stop(self, step: Step, plan: Plan, cluster: Cluster, holds: Holds) -> Evidence:
        parts: list[Evidence] = []
        for kind in plan.details["conditions"]:
            for link in plan.links:
                holds.release(kind, link, step.id)
            parts.append(await _bring_about(kind, plan.links, cluster, holds))
        if plan.details["shape"] == "half-open":
            free = [link for link in plan.links if holds.release(HALF, link, step.id)]
            whole = [link for link in free if not holds.holders("cut", link)]
            if whole:
                parts.append(await cluster.mend(whole))
        if not parts:
            return Evidence(
                True, [{"what": "nothing lasts of this step that is not held by another", "proves": True}]
            )
        return combine(parts)


def links_of(
    targets: Sequence[str], nodes: Sequence[str], reach: str, direction: str, random: Random
) -> tuple[Link, ...]:
    """The directed links between the targets and the other ends that `reach` names, sorted.

    Raises ValueError for a reach or a direction that does not exist: a saved step may have been edited.
    """
    if reach not in REACHES or direction not in DIRECTIONS:
        raise ValueError(
            f"reach {reach!r}, direction {direction!r} of packet: reach is one of {', '.join(REACHES)}, direction one "
            f"of {', '.join(DIRECTIONS)}"
        )
    links: set[Link] = set()
    for name in targets:
        others = [other for other in nodes if other != name]
        ends = {
            "nodes": others,
            "pair": random.sample(others, 1) if others else [],
            "clients": [CLIENT],
            "everybody": [*others, CLIENT],
        }[reach]
        if direction in ("both", "out"):
            links |= {(name, other) for other in ends}
        if direction in ("both", "in"):
            links |= {(other, name) for other in ends}
    return tuple(sorted(links))


def worst(kind: str, strengths: Sequence[Any]) -> Any:
    """What a link does on which steps of these strengths lie; of none: what undoes the condition."""
    match kind:
        case "slow":
            delay_ms = max((delay for delay, _ in strengths), default=0.0)
            # The longest delay may come from another step than the largest jitter: it bounds that one as well.
            return delay_ms, min(delay_ms, max((jitter for _, jitter in strengths), default=0.0))
        case "lose":
            share = max((share for share, _ in strengths), default=0.0)
            return share, max((burst for _, burst in strengths), default=1.0)
        case "disturb":
            return tuple(max((one[place] for one in strengths), default=0.0) for place in range(3))
        case "throttle":
            return min(strengths, default=None)
        case _:
            raise AssertionError(f"{kind!r} is no lasting condition of a link")


async def _bring_about(kind: str, links: Sequence[Link], cluster: Cluster, holds: Holds) -> Evidence:
    """Make each link as bad as the worst of the steps that lie on it now.

    One at a time for each kind: a verb acts some time after it was called, and what was right then may be so no more.
    """
    async with holds.lock(kind):
        groups: dict[Any, list[Link]] = {}
        for link in links:
            groups.setdefault(worst(kind, holds.strengths(kind, link)), []).append(link)
        parts = []
        for strength, members in groups.items():
            match kind:
                case "slow":
                    parts.append(await cluster.slow(members, *strength))
                case "lose":
                    parts.append(await cluster.lose(members, *strength))
                case "disturb":
                    parts.append(await cluster.disturb(members, *strength))
                case _:
                    parts.append(await cluster.throttle(members, strength))
    return combine(parts)


def _delays(shape: str, on_many: bool, random: Random) -> dict[str, float]:
    """Delay and jitter. Every shape has them drawn, for where it is replaced by `slow`."""
    most = MOST_DELAY_OF_MANY_MS if on_many else MOST_DELAY_MS
    least = LEAST_DELAY_MS if shape != "jitter" else 8 * LEAST_DELAY_MS
    delay_ms = round(log_uniform(random, least, most), 1)
    low, high = (0.5, 0.75) if shape == "jitter" else (0.0, 0.2)
    return {"delay_ms": delay_ms, "jitter_ms": round(delay_ms * random.uniform(low, high), 1)}


def _strength(kind: str, shape: str, step: Step) -> Any:
    """What a step wants of its links. A step written by hand may leave it out."""
    parameters = step.parameters
    match kind:
        case "slow":
            delay_ms = float(parameters.get("delay_ms", 50.0))
            return delay_ms, min(delay_ms, float(parameters.get("jitter_ms", 0.0)))
        case "lose":
            share = float(parameters.get("share", MOST_SHARE_OF_MANY))
            return share, float(parameters.get("burst", LEAST_BURST)) if shape == "burst" else 1.0
        case "disturb":
            return tuple(
                float(parameters.get(name, MOST_DAMAGED)) if name == shape else 0.0
                for name in ("duplicate", "reorder", "corrupt")
            )
        case _:
            return int(parameters.get("bytes_per_s", LEAST_BYTES_PER_S))


def _one_way_each(links: Iterable[Link]) -> tuple[Link, ...]:
    """Of the two directions between the same two ends only the first: they share their connections."""
    seen: set[Link] = set()
    chosen = []
    for link in links:
        if (link[1], link[0]) not in seen:
            seen.add(link)
            chosen.append(link)
    return tuple(chosen)
