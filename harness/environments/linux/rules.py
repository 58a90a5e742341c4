"""Faults of links as iptables rules: what is dropped or queued where, in chains of our own, for `iptables-restore`.

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

from harness.environments.linux.packets import MARK
from nemesis.cluster import CLIENT, Link

Side = Literal["in", "out"]
_HOOKS: dict[Side, str] = {"in": "INPUT", "out": "OUTPUT"}
_COUNTED = re.compile(
    r"^\[(\d+):\d+\] -A (\S+) -(s|d) ([0-9.]+)(?:/32)?"
    r"(?: -m mark ! --mark 0x[0-9a-f]+)?(?P<resets> -p tcp -m tcp --tcp-flags RST RST)?"
    r" -j (?:DROP|NFQUEUE --queue-num (\d+) --queue-bypass)$"
)


@dataclass(frozen=True)
class Rule:
    """Drop what comes from (`in`) or goes to (`out`) an address, or hand it to a queue."""

    side: Side
    address: str
    queue: int | None = None
    """Number of the queue; None: it is dropped."""
    only_resets: bool = False
    """Drop nothing but TCP's resets."""

    def text(self, run_key: str) -> str:
        """The rule without the command that adds or removes it."""
        option = "-s" if self.side == "in" else "-d"
        head = f"{chain(run_key, self.side)} {option} {self.address}/32"
        if self.only_resets:
            head = f"{head} -p tcp -m tcp --tcp-flags RST RST"
        if self.queue is None:
            return f"{head} -j DROP"
        # What the engine itself sends passes, and everything does where there is no engine.
        return f"{head} -m mark ! --mark {MARK:#x} -j NFQUEUE --queue-num {self.queue} --queue-bypass"

    def added(self, run_key: str) -> str:
        """The command that adds it: drops stand before queues, since a queue's verdict is the last word."""
        return f"{'-I' if self.queue is None else '-A'} {self.text(run_key)}"


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


_SIDES: tuple[Side, ...] = ("in", "out")


def preparation(run_key: str, spared_port: int | None = None) -> str:
    """Input for `iptables-restore --noflush` that makes our chains, empty, in a namespace that never had them.

    TCP to and from the spared port never meets them: it is how the harness itself reaches the node.
    """
    declared = [f":{chain(run_key, side)} - [0:0]" for side in _SIDES]
    hooks = [f"-I {hook} 1 {rule}" for hook, rule in _hooks(run_key, spared_port)]
    return _transaction([*declared, *hooks])


def removal(run_key: str, spared_port: int | None = None) -> str:
    """Input that takes away what `preparation` made, and every rule of ours with it."""
    hooks = [f"-D {hook} {rule}" for hook, rule in _hooks(run_key, spared_port)]
    chains = [f"{act} {chain(run_key, side)}" for act in ("-F", "-X") for side in _SIDES]
    return _transaction([*hooks, *chains])


def _hooks(run_key: str, spared_port: int | None) -> list[tuple[str, str]]:
    """What leads into our chains: a chain of the kernel's, and the rule in it."""
    hooks = []
    for side in _SIDES:
        target = f"-j {chain(run_key, side)}"
        ways = [target]
        if spared_port is not None:
            end = "--dport" if side == "in" else "--sport"
            ways = [f"-p tcp -m tcp ! {end} {spared_port} {target}", f"! -p tcp {target}"]
        hooks += [(_HOOKS[side], way) for way in ways]
    return hooks


def change(run_key: str, current: Collection[Rule], wanted: Collection[Rule]) -> str | None:
    """Input that turns the rules there into the wanted ones; None if they are the same.

    Rules that stay keep their packet counters.
    """
    removed = [f"-D {rule.text(run_key)}" for rule in _sorted(set(current) - set(wanted))]
    added = [rule.added(run_key) for rule in _sorted(set(wanted) - set(current))]
    return _transaction([*removed, *added]) if removed or added else None


def _sorted(rules: Collection[Rule]) -> list[Rule]:
    return sorted(rules, key=lambda rule: (rule.side, rule.address, rule.queue or 0, rule.only_resets))


def _transaction(lines: Iterable[str]) -> str:
    return "\n".join(["*filter", *lines, "COMMIT", ""])


def counters(run_key: str, saved: str) -> dict[Rule, int]:
    """Packets that each of our rules has met so far, from the output of `iptables-save -c`."""
    sides: dict[str, Side] = {chain(run_key, "in"): "in", chain(run_key, "out"): "out"}
    found: dict[Rule, int] = {}
    for line in saved.splitlines():
        match = _COUNTED.match(line.strip())
        if match and match[2] in sides:
            queue = None if match[6] is None else int(match[6])
            rule = Rule(sides[match[2]], match[4], queue, match["resets"] is not None)
            found[rule] = int(match[1])
    return found
