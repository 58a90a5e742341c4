"""A simulated disk on a loop of its own, for tests of what stands on one."""

from __future__ import annotations

import random
from typing import Any

from harness.environments.simulation.disk import Disk
from harness.environments.simulation.loop import SimulatedLoop


class DiskWorld:
    """As much of a world as a disk needs."""

    trace: Any = None

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.loop = SimulatedLoop(self.random("timers"))

    def random(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def emit(self, area: str, name: str, /, **fields: Any) -> None:
        """Nobody listens."""


def make_disk(seed: int = 0) -> Disk:
    return Disk(DiskWorld(seed), "n1")  # type: ignore[arg-type]


def loop_of(disk: Disk) -> SimulatedLoop:
    return disk._world.loop
