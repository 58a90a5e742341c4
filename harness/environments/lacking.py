"""The verbs that need a disk or a network of our own: refused, with the reason, by environments of real nodes.

An environment inherits from this what it lacks and overrides what it has. The nemesis asks for the capabilities
before a run begins, so nobody sees these refusals but a caller who did not ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.environments.environment import SystemUnderTest, without_ranges
from nemesis.cluster import (
    CAPABILITIES,
    CAPABILITY_OF_MODE,
    Capability,
    DiskMode,
    Evidence,
    FaultUnavailable,
    Link,
)

LATER = "no mechanism in this version; the simulation has it"
"""Why the environments of real nodes lack these."""
NO_PACKETS = "links carry bytes here, not packets; netns, docker and ssh have them"
"""Why simulation and proxies lack faults of single packets."""

NO_NAMES = "nodes are told apart by ports or by the simulated network; netns, docker and ssh have names"
"""Why simulation and loopback have no names that could fail to resolve."""
NO_REPLACEMENT = (
    "in local each pair of nodes has a link and an address of its own, so a new member has no address that it could "
    "tell all others unless they go through a SOCKS5 server; netns, docker and ssh have such addresses"
)
NO_RESOURCES = "simulated nodes use neither processor nor memory"
NO_TRUNCATION = "the simulated disk loses whole files, and bits of them; those of real nodes can be cut off"

NEED_SIMULATION: tuple[str, ...] = (
    "lose",
    "lose_bursts",
    "disturb",
    "power_loss",
    "disk_error",
    "disk_full",
    "disk_stall",
    "disk_slow",
    "flip_bits",
    "lose_file",
    "truncate",
    "wipe",
    "limit_cpu",
    "exhaust_memory",
    "limit_memory",
)
"""The capabilities behind the verbs of this file."""


def system_lacks(system: SystemUnderTest, why_no_clock: str | None) -> dict[str, str]:
    """What real nodes of this system have no part in, by capability, and why."""
    missing: dict[str, str] = {}
    if why_no_clock is not None:
        missing["clock"] = why_no_clock
    if "leaders" not in system.supports:
        missing["leaders"] = f"{system.name} does not say who leads; a leader is then chosen at random"
    if "replacement" not in system.supports:
        missing["replace"] = (
            f"{system.name} takes no new member here; reference-db does with --system-option placement=on"
        )
    return missing | without_ranges(system)


def all_but(missing: Mapping[str, str], mechanisms: Mapping[str, str]) -> dict[str, Capability]:
    """Every capability with its mechanism, but for those that are missing."""
    return {
        fault: Capability(fault, fault not in missing, mechanisms.get(fault, "none"), missing.get(fault))
        for fault in CAPABILITIES
    }


class LacksSimulatedFaults:
    """A cluster on real disks and real TCP. Every verb raises FaultUnavailable."""

    def capabilities(self) -> Mapping[str, Capability]:
        """Overridden by the cluster."""
        raise NotImplementedError

    def _lacks(self, capability: str) -> FaultUnavailable:
        reason = self.capabilities()[capability].reason
        return FaultUnavailable(f"{capability} is not available here: {reason}")

    async def lose(self, links: Sequence[Link], share: float, burst: float = 1.0) -> Evidence:
        raise self._lacks("lose")

    async def disturb(
        self, links: Sequence[Link], duplicate: float = 0.0, reorder: float = 0.0, corrupt: float = 0.0
    ) -> Evidence:
        raise self._lacks("disturb")

    async def break_names(self, node: str, wrong: bool) -> Evidence:
        raise self._lacks("names")

    async def mend_names(self, node: str) -> Evidence:
        raise self._lacks("names")

    async def power_loss(self, node: str) -> Evidence:
        raise self._lacks("power_loss")

    async def fail_disk(
        self, node: str, mode: DiskMode, share: float = 1.0, delay_ms: float = 0.0
    ) -> Evidence:
        raise self._lacks(CAPABILITY_OF_MODE[mode])

    async def heal_disk(self, node: str) -> Evidence:
        raise self._lacks("disk_error")

    async def flip_bits(self, node: str) -> Evidence:
        raise self._lacks("flip_bits")

    async def lose_file(self, node: str) -> Evidence:
        raise self._lacks("lose_file")

    async def truncate(self, node: str) -> Evidence:
        raise self._lacks("truncate")

    async def wipe(self, node: str) -> Evidence:
        raise self._lacks("wipe")

    async def limit_cpu(self, node: str, share: float | None) -> Evidence:
        raise self._lacks("limit_cpu")

    async def exhaust_memory(self, node: str) -> Evidence:
        raise self._lacks("exhaust_memory")

    async def limit_memory(self, node: str, spare_mb: int | None) -> Evidence:
        raise self._lacks("limit_memory")
