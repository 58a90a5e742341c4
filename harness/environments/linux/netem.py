"""Links shaped by the kernel itself (netem), where it can: the commands, and what its counters say.

What arrives at a node is redirected to a device of our own (ifb), what leaves it towards the clients goes through the
root of its own device; there each shaped link has a class with a filter by address and a netem below. All of it lives
in the node's namespace and ends with it. The counters tell how many packets were met and lost, but not which ones
arrived twice, overtook others or were damaged: such conditions are for the packet engine, whose counts prove them.

Sources: tc-netem(8), tc-u32(8), tc-mirred(8). Losses in bursts are Gilbert's model, as in `packets.py`; a FIFO below
netem keeps packets in order, which its jitter alone would not.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from harness.environments.linux.namespace import search_path
from harness.environments.linux.packets import Condition
from harness.environments.linux.rules import Rule
from nemesis.cluster import FaultFailed

INCOMING = "mrh-in"
"""The device to which what arrives is redirected."""
UNSHAPED_RATE = "100gbit"
QUEUE_PACKETS = 65_535
_FIRST_CLASS, _FIRST_HANDLE = 1, 0x100
PROBE = (
    "ip link add mrh-probe type ifb && ip link set mrh-probe up && ip link set lo up && "
    "tc qdisc add dev lo handle ffff: ingress && "
    "tc filter add dev lo parent ffff: protocol ip prio 1 u32 match u32 0 0 "
    "action mirred egress redirect dev mrh-probe && "
    "tc qdisc add dev mrh-probe root handle 1: htb default 0 && "
    "tc class add dev mrh-probe parent 1: classid 1:1 htb rate 1gbit && "
    "tc qdisc add dev mrh-probe parent 1:1 handle 100: netem delay 1ms"
)
"""All that is used, in a namespace that ends with the probe."""

Run = Callable[[str, Sequence[str], str], Awaitable[tuple[int, str]]]
"""Runs a program with this input in the namespace of a node; exit status and output."""


@functools.cache
def why_not() -> str | None:
    """Why the kernel cannot shape links itself; None if it can. Tried."""
    way = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    try:
        done = subprocess.run(
            ["unshare", *way, "--", "sh", "-e", "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": search_path()},
            check=False,
        )
    except FileNotFoundError:
        return "the program unshare is missing (package util-linux)"
    if done.returncode == 0:
        return None
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return said[-1] if said else f"exit code {done.returncode}"


def can(condition: Condition) -> bool:
    """Whether netem does all of it, and its counters show that."""
    return not (condition.duplicate or condition.reorder or condition.corrupt)


def words(condition: Condition) -> list[str]:
    """What netem is told."""
    told = ["limit", str(QUEUE_PACKETS)]
    if condition.delay_s:
        told += ["delay", f"{condition.delay_s * 1000:.3f}ms"]
        if condition.jitter_s:
            told.append(f"{condition.jitter_s * 1000:.3f}ms")
    if condition.lose and condition.burst <= 1:
        told += ["loss", "random", f"{condition.lose * 100:.4f}%"]
    elif condition.lose:
        begins = min(1.0, condition.lose / (condition.burst * (1 - condition.lose)))
        told += ["loss", "gemodel", f"{begins * 100:.4f}%", f"{100 / condition.burst:.4f}%"]
    if condition.bytes_per_s:
        told += ["rate", f"{condition.bytes_per_s * 8:.0f}bit"]
    return told


def preparation(rule: Rule, device: str) -> tuple[list[str], list[str]]:
    """Commands of `ip` and of `tc` for the first link of this side in a namespace."""
    if rule.side == "out":
        return [], [f"qdisc replace dev {device} root handle 1: htb default 0"]
    return (
        [f"link add {INCOMING} type ifb", f"link set {INCOMING} up"],
        [
            f"qdisc add dev {device} handle ffff: ingress",
            f"filter add dev {device} parent ffff: protocol ip prio 1 u32 match u32 0 0 "
            f"action mirred egress redirect dev {INCOMING}",
            f"qdisc add dev {INCOMING} root handle 1: htb default 0",
        ],
    )


def shaping(rule: Rule, device: str, number: int, condition: Condition) -> list[str]:
    """Commands of `tc` that give a link this condition, whether or not it has one already."""
    on = INCOMING if rule.side == "in" else device
    one, handle = f"1:{number + _FIRST_CLASS:x}", f"{number + _FIRST_HANDLE:x}:"
    end = "src" if rule.side == "in" else "dst"
    return [
        f"class replace dev {on} parent 1: classid {one} htb rate {UNSHAPED_RATE}",
        f"qdisc replace dev {on} parent {one} handle {handle} netem {' '.join(words(condition))}",
        f"qdisc replace dev {on} parent {handle}1 pfifo limit {QUEUE_PACKETS}",
        f"filter replace dev {on} parent 1: handle 800::{number:x} protocol ip prio 1 u32 "
        f"match ip {end} {rule.address}/32 flowid {one}",
    ]


def unshaping(rule: Rule, device: str, number: int) -> list[str]:
    """Commands of `tc` after which a link is as it was."""
    on = INCOMING if rule.side == "in" else device
    return [
        f"filter del dev {on} parent 1: handle 800::{number:x} protocol ip prio 1 u32",
        f"class del dev {on} classid 1:{number + _FIRST_CLASS:x}",
    ]


def counts(shown: str) -> dict[int, dict[str, int]]:
    """Link's number -> what its netem has done, from the JSON of `tc -s qdisc`."""
    found = {}
    for one in json.loads(shown or "[]"):
        if one.get("kind") == "netem":
            number = int(one["handle"].rstrip(":"), 16) - _FIRST_HANDLE
            packets, drops = int(one["packets"]), int(one["drops"])
            found[number] = {
                "seen": packets + drops,
                "bytes": int(one["bytes"]),
                "delayed": packets,
                "lost": drops,
            }
    return found


class Netem:
    """The links that the kernel shapes now. Numbers are those of `Shaping`, each link's own."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._devices: dict[tuple[str, str], str] = {}
        """(Node, side) that is prepared -> the node's device."""
        self._shaped: dict[tuple[str, int], Rule] = {}
        self._before: dict[tuple[str, int], dict[str, int]] = {}
        """What links had counted that are shaped no more."""

    def forget(self, node: str) -> None:
        """Its namespace is a new one, in which nothing is prepared."""
        self._devices = {place: device for place, device in self._devices.items() if place[0] != node}
        self._shaped = {place: rule for place, rule in self._shaped.items() if place[0] != node}

    async def put(self, node: str, number: int, rule: Rule, condition: Condition) -> None:
        """From now on the link meets this condition, which `can` be had. Raises FaultFailed."""
        device = self._devices.get((node, rule.side)) or await self._prepared(node, rule)
        await self._batch(node, "tc", shaping(rule, device, number, condition))
        self._shaped[node, number] = rule

    async def drop(self, node: str, number: int) -> None:
        """The link is as it was. Idempotent."""
        rule = self._shaped.get((node, number))
        if rule is None:
            return
        self._before[node, number] = (await self.counted(node)).get(number, {})
        await self._batch(node, "tc", unshaping(rule, self._devices[node, rule.side], number))
        del self._shaped[node, number]

    async def counted(self, node: str) -> dict[int, dict[str, int]]:
        """Link's number -> what was done to it so far, of the links of a node that ever were shaped here."""
        found = {number: dict(old) for (at, number), old in self._before.items() if at == node}
        for (at, side), device in self._devices.items():
            if at == node:
                on = INCOMING if side == "in" else device
                shown = await self._tell(node, ["tc", "-s", "-j", "qdisc", "show", "dev", on])
                for number, now in counts(shown).items():
                    old: Mapping[str, int] = self._before.get((node, number), {})
                    found[number] = {name: value + old.get(name, 0) for name, value in now.items()}
        return found

    async def _prepared(self, node: str, rule: Rule) -> str:
        shown = await self._tell(node, ["ip", "-o", "route", "get", rule.address])
        device = re.search(r"\bdev (\S+)", shown)
        if device is None:
            raise FaultFailed(f"{node} has no way to {rule.address}: {shown.strip()[:200]}")
        links, queues = preparation(rule, device[1])
        await self._batch(node, "ip", links)
        await self._batch(node, "tc", queues)
        self._devices[node, rule.side] = device[1]
        return device[1]

    async def _batch(self, node: str, program: str, lines: Sequence[str]) -> None:
        if lines:
            await self._tell(node, [program, "-batch", "-"], "".join(f"{line}\n" for line in lines))

    async def _tell(self, node: str, argv: Sequence[str], text: str = "") -> Any:
        status, output = await self._run(node, argv, text)
        if status != 0:
            raise FaultFailed(f"{argv[0]} in the namespace of {node}: {output.strip()[:300]}")
        return output
