"""To whom: one, a minority, a majority, all, the leader, or nodes by name; resolved when the step is due.

The text of a target is data and stays symbolic in the schedule. `pick` turns it into nodes with the knowledge of
the moment: who can be hit at all, and who leads. Its choice is a pure function of its arguments, so a step carries
the seed of its choice (`parameters["draw"]`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import msgspec

TARGETS: tuple[str, ...] = ("one", "minority", "majority", "all", "leader")

ROLES: dict[str, str] = {"placement-leader": "placement"}
"""Targets that are hit only when asked for by name: who has a role in the database, by the name under which
`Cluster.leaders` tells it. It stands there beside the ranges."""

LEAST_FOR_MINORITY = 3
"""The smallest cluster in which a node can fail while a majority is left."""


class Picked(msgspec.Struct, frozen=True):
    """The nodes, in the cluster's order, and in words how they were found."""

    nodes: tuple[str, ...]
    how: str
    leads: bool = False
    """Chosen because it leads, not for want of a known leader."""


def quorum(size: int) -> int:
    """How many of `size` nodes are a majority."""
    return size // 2 + 1


def minority(size: int) -> int:
    """How many of `size` nodes can fail while a majority is left; at least one, for clusters of one or two."""
    return max(1, size - quorum(size))


def most_hit(target: str, size: int) -> int:
    """How many of `size` nodes a target can be at most."""
    match target:
        case "one" | "leader":
            return 1
        case _ if target in ROLES:
            return 1
        case "minority":
            return minority(size)
        case "majority":
            return quorum(size)
        case "all":
            return size
        case _:
            return len(set(target.split("+")))


def possible_targets(size: int) -> tuple[str, ...]:
    """The symbolic targets that so many nodes can have: of one or two, no part can fail and leave a majority."""
    return tuple(name for name in TARGETS if name != "minority" or size >= LEAST_FOR_MINORITY)


def check_target(target: str, nodes: Sequence[str]) -> None:
    """Raises ValueError unless it is a symbolic target that these nodes can have, or names of them joined by `+`."""
    if target in possible_targets(len(nodes)) or target in ROLES:
        return
    if target in TARGETS:
        there = "there is 1" if len(nodes) == 1 else f"there are {len(nodes)}"
        raise ValueError(
            f"target {target!r} needs at least {LEAST_FOR_MINORITY} nodes, {there};"
            f" use one of {', '.join(possible_targets(len(nodes)))}"
        )
    unknown = [name for name in target.split("+") if name not in nodes]
    if unknown:
        raise ValueError(
            f"unknown target {target!r}: {', '.join(map(repr, unknown))} is neither one of "
            f"{', '.join((*TARGETS, *ROLES))}"
            f" nor a node ({', '.join(nodes)}; several are joined by '+')"
        )


def pick(
    target: str,
    nodes: Sequence[str],
    candidates: Sequence[str],
    leaders: Mapping[str, str],
    random: Random,
    at_most: int | None = None,
) -> Picked:
    """Choose among `candidates` (those of `nodes` that can be hit now). No candidate: nobody, and the reason.

    Raises ValueError for a name that is no node: a saved step may have been drawn for another cluster.
    `at_most` limits the drawn sizes (`one`, `minority`), never what was asked for by name; at least one is hit.
    """
    order = {name: position for position, name in enumerate(nodes)}
    usable = sorted(candidates, key=order.__getitem__)
    if not usable:
        return Picked((), "no node can be hit now")

    def some(count: int) -> tuple[str, ...]:
        chosen = random.sample(usable, min(count, len(usable)))
        return tuple(sorted(chosen, key=order.__getitem__))

    room = len(nodes) if at_most is None else max(1, at_most)
    match target:
        case "one":
            return Picked(some(1), "one at random")
        case "minority":
            size = min(random.randint(1, minority(len(nodes))), room)
            return Picked(some(size), f"a minority of {len(nodes)}: {size}")
        case "majority":
            return Picked(some(quorum(len(nodes))), f"a majority of {len(nodes)}")
        case "all":
            return Picked(tuple(usable), "all")
        case "leader":
            return _leader(usable, leaders, random)
        case _ if target in ROLES:
            node = leaders.get(ROLES[target])
            if node not in usable:
                return Picked((), f"nobody who can be hit is known to lead {ROLES[target]}")
            return Picked((node,), f"leads {ROLES[target]}", leads=True)
        case _:
            check_target(target, nodes)
            named = tuple(name for name in nodes if name in target.split("+"))
            hit = tuple(name for name in named if name in usable)
            if not hit:
                return Picked((), f"{', '.join(named)} cannot be hit now")
            return Picked(hit, "by name")


def holders(up: Sequence[str], leaders: Mapping[str, str]) -> list[str]:
    """Those that certainly hold a replica, since they lead a range; everybody where nobody is known to lead.

    With few ranges on many nodes some nodes hold nothing, and what would be done to their replicas is done to nobody.
    """
    leading = {node for name, node in leaders.items() if name not in ROLES.values()}
    return [name for name in up if name in leading] or list(up)


def _leader(usable: Sequence[str], leaders: Mapping[str, str], random: Random) -> Picked:
    """Half the time the node that leads most ranges, else the leader of a random range."""
    led = {
        name: node for name, node in sorted(leaders.items()) if node in usable and name not in ROLES.values()
    }
    most_leading, draw = random.random() < 0.5, random.random()
    if not led:
        node = usable[int(draw * len(usable))]
        return Picked((node,), "one at random: no leader is known among the nodes that can be hit")
    if most_leading:
        counts = Counter(led.values())
        node = min(counts, key=lambda name: (-counts[name], usable.index(name)))
        return Picked((node,), f"leads most ranges ({counts[node]} of {len(led)} known)", leads=True)
    name = sorted(led)[int(draw * len(led))]
    return Picked((led[name],), f"leads range {name}", leads=True)
