"""Cut links as iptables rules: what is dropped where, in chains of our own, as text for `iptables-restore`.

Nothing in this file runs a program. A link is cut where its bytes arrive, in the INPUT of the target's namespace:
dropped in OUTPUT, the sender would be told (EPERM), which no real network does. The one exception is a link towards
the clients: they live on the host, whose rules we never touch, so it is cut in the node's OUTPUT; TCP, which is all
that clients speak, takes that for a lost segment. Rules live in two chains named after the run, so that removing
ours can never remove anybody else's, and a change of many rules is one atomic `iptables-restore --noflush`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from nemesis.cluster import CLIENT, Link

Side = Literal["in", "out"]
_HOOKS: dict[Side, str] = {"in": "INPUT", "out": "OUTPUT"}
_COUNTED = re.compile(r"^\[(\d+):\d+\] -A (\S+) -(s|d) ([0-9.]+)(?:/32)? -j DROP$")


@dataclass(frozen=True, order=True)
class Rule:
    """Drop what comes from (`in`) or goes to (`out`) an address."""

    side: Side
    address: str

    def text(self, run_key: str) -> str:
        option = "-s" if self.side == "in" else "-d"
        return f"{chain(run_key, self.side)} {option} {self.address}/32 -j DROP"


def chain(run_key: str, side: Side) -> str:
    """The name of a chain of ours; iptables allows 28 characters."""
    name = f"MRH-{run_key}-{side}"
    if len(name) > 28:
        raise ValueError(
            f"chain name {name} has {len(name)} characters, iptables allows 28: shorten the run key"
        )
    return name


def rule_for(link: Link, addresses: Mapping[str, str], client_address: str) -> tuple[str, Rule]:
    """The node in whose namespace a link is cut, and the rule that cuts it.

    `addresses` are those of the nodes on the network of the run; `client_address` is the one from which clients
    reach them. Raises ValueError for a link that does not exist.
    """
    source, target = link
    if source == target:
        raise ValueError(f"cannot cut the link from {source} to itself: there is none")
    for end in link:
        if end != CLIENT and end not in addresses:
            known = ", ".join([*addresses, CLIENT])
            raise ValueError(
                f"cannot cut the link from {source} to {target}: no node {end} (there are {known})"
            )
    if target == CLIENT:
        return source, Rule("out", client_address)
    return target, Rule("in", client_address if source == CLIENT else addresses[source])


def preparation(run_key: str) -> str:
    """Input for `iptables-restore --noflush` that makes our chains, empty, in a namespace that never had them."""
    sides: tuple[Side, ...] = ("in", "out")
    declared = [f":{chain(run_key, side)} - [0:0]" for side in sides]
    hooked = [f"-I {_HOOKS[side]} 1 -j {chain(run_key, side)}" for side in sides]
    return _transaction([*declared, *hooked])


def change(run_key: str, current: Collection[Rule], wanted: Collection[Rule]) -> str | None:
    """Input that turns the rules there into the wanted ones; None if they are the same.

    Rules that stay keep their packet counters.
    """
    removed = [f"-D {rule.text(run_key)}" for rule in sorted(set(current) - set(wanted))]
    added = [f"-A {rule.text(run_key)}" for rule in sorted(set(wanted) - set(current))]
    return _transaction([*removed, *added]) if removed or added else None


def _transaction(lines: Iterable[str]) -> str:
    return "\n".join(["*filter", *lines, "COMMIT", ""])


def counters(run_key: str, saved: str) -> dict[Rule, int]:
    """Packets dropped by each of our rules so far, from the output of `iptables-save -c`."""
    sides: dict[str, Side] = {chain(run_key, "in"): "in", chain(run_key, "out"): "out"}
    found: dict[Rule, int] = {}
    for line in saved.splitlines():
        match = _COUNTED.match(line.strip())
        if match and match[2] in sides:
            found[Rule(sides[match[2]], match[4])] = int(match[1])
    return found
