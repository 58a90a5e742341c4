"""The verbs that need a disk or a network of our own: refused, with the reason, by environments of real nodes.

An environment inherits from this what it lacks and overrides what it has. The nemesis asks for the capabilities
before a run begins, so nobody sees these refusals but a caller who did not ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nemesis.cluster import CAPABILITY_OF_MODE, Capability, DiskMode, Evidence, FaultUnavailable, Link

LATER = "no mechanism in this version; the simulation has it"
"""Why the environments of real nodes lack these."""

NEED_SIMULATION: tuple[str, ...] = (
    "lose",
    "power_loss",
    "disk_error",
    "disk_full",
    "disk_stall",
    "disk_slow",
    "flip_bits",
    "lose_file",
)
"""The capabilities behind the verbs of this file."""


class LacksSimulatedFaults:
    """A cluster on real disks and real TCP. Every verb raises FaultUnavailable."""

    def capabilities(self) -> Mapping[str, Capability]:
        """Overridden by the cluster."""
        raise NotImplementedError

    def _lacks(self, capability: str) -> FaultUnavailable:
        reason = self.capabilities()[capability].reason
        return FaultUnavailable(f"{capability} is not available here: {reason}")

    async def lose(self, links: Sequence[Link], share: float) -> Evidence:
        raise self._lacks("lose")

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
