"""The verbs on links, for every cluster whose nodes have network namespaces of Linux.

One implementation for `netns`, `docker` and `ssh`: links that are cut (`links.py`), shaped (`shaping.py`) and whose
connections break (`connections.py`). A cluster has these three and says where its packet engine runs.
"""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Sequence

from harness.environments.healing import Healing, names_of
from harness.environments.linux import netem
from harness.environments.linux.connections import Connections, can_break
from harness.environments.linux.links import Links
from harness.environments.linux.namespace import search_path
from harness.environments.linux.shaping import Shaping
from nemesis.cluster import Evidence, Link

RULES = "iptables in the network namespace of the receiving node"
PACKETS = "the packet engine (NFQUEUE) in the network namespace of the receiving node"
NETEM = "netem, the kernel's own, in the network namespace of the receiving node"
SOCKETS = "sockets destroyed by the kernel (ss --kill)"

CUTS: dict[str, str] = {"cut": RULES, "cut_client": RULES}
"""Capability -> how: what rules alone can do."""
SHAPES: dict[str, str] = {
    "slow": PACKETS,
    "throttle": PACKETS,
    "lose": PACKETS,
    "lose_bursts": PACKETS,
    "disturb": PACKETS,
}
"""What the packet engine does, where the kernel does not."""


def shape_mechanisms() -> dict[str, str]:
    """The same as it is done here: by netem where the kernel has that, which is tried."""
    why = netem.why_not()
    if why is not None:
        return {fault: f"{mechanism}; no netem here: {why}" for fault, mechanism in SHAPES.items()}
    return {**dict.fromkeys(SHAPES, NETEM), "disturb": f"{PACKETS}; netem does not count what it disturbs"}


BREAKS: dict[str, str] = {"reset": SOCKETS, "half_open": f"{SOCKETS}, with resets dropped"}
"""What needs the program `ss`."""


@functools.cache
def why_no_packets() -> dict[str, str]:
    """Capability -> why packets cannot be shaped here; nothing where a rule can hand them to the engine, and of what
    netem does where the kernel has that.

    Tried in a namespace of its own, which ends with the probe.
    """
    way = ["--net"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--net"]
    rule = ["iptables", "-A", "INPUT", "-p", "udp", "-j", "NFQUEUE", "--queue-num", "1"]
    try:
        tried = subprocess.run(
            ["unshare", *way, "--", *rule],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": search_path(), "XTABLES_LOCKFILE": os.devnull},
            check=False,
        )
        said = tried.stderr.strip()[:200] or f"exit code {tried.returncode}" if tried.returncode else None
    except FileNotFoundError:
        said = "the program unshare is missing (package util-linux)"
    if said is None:
        return {}
    lacking = SHAPES if netem.why_not() is not None else ("disturb",)
    return dict.fromkeys(lacking, f"packets cannot be handed to a program ({said}): modprobe xt_NFQUEUE")


def why_no_breaks() -> dict[str, str]:
    """Capability -> why it is missing, where the program is that ends connections; nothing where it is there."""
    return {} if can_break() else dict.fromkeys(BREAKS, "the program ss is not installed (package iproute2)")


class LinkVerbs:
    """What `nemesis.cluster.Cluster` asks about links."""

    links: Links
    shaping: Shaping
    connections: Connections

    async def cut(self, links: Sequence[Link]) -> Evidence:
        return await self.links.cut(links)

    async def mend(self, links: Sequence[Link]) -> Evidence:
        return await self.links.mend(links)

    async def slow(self, links: Sequence[Link], delay_ms: float, jitter_ms: float = 0.0) -> Evidence:
        return await self.shaping.slow(links, delay_ms, jitter_ms)

    async def throttle(self, links: Sequence[Link], bytes_per_s: int | None) -> Evidence:
        return await self.shaping.throttle(links, bytes_per_s)

    async def lose(self, links: Sequence[Link], share: float, burst: float = 1.0) -> Evidence:
        return await self.shaping.lose(links, share, burst)

    async def disturb(
        self, links: Sequence[Link], duplicate: float = 0.0, reorder: float = 0.0, corrupt: float = 0.0
    ) -> Evidence:
        return await self.shaping.disturb(links, duplicate, reorder, corrupt)

    async def reset(self, links: Sequence[Link]) -> Evidence:
        return await self.connections.reset(links)

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        return await self.connections.half_open(links)

    async def mend_links(self, healing: Healing) -> None:
        """Every link that is cut, half-open or shaped."""
        broken = list(dict.fromkeys([*self.links.cut_links, *sorted(self.links.muffled)]))
        shaped = self.shaping.shaped
        if broken:
            await healing.attempt(f"mended {names_of(broken)}", lambda: self.mend(broken))
        if shaped:
            await healing.attempt(
                f"restored the speed of {names_of(shaped)}", lambda: self.shaping.restore(shaped)
            )
