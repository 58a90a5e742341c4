"""Disks for tests of what stands on one: a simulated one on a loop of its own, and a real one in the same role."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from harness.environments.simulation.disk import Disk
from harness.environments.simulation.loop import SimulatedLoop
from reference_db.storage.file_engine import Done, Failed


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


class RealFile:
    """See `reference_db.storage.file_engine.File`. A sync blocks, whichever is asked for."""

    def __init__(self, path: Path, create: bool) -> None:
        self._descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0))

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def append(self, data: bytes) -> int:
        offset = self.size
        assert os.pwrite(self._descriptor, data, offset) == len(data)
        return offset

    def read(self) -> bytes:
        return os.pread(self._descriptor, self.size, 0)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync_now(self) -> None:
        os.fsync(self._descriptor)

    def sync_later(self, done: Done, failed: Failed) -> None:
        self.sync_now()
        done()

    def close(self) -> None:
        os.close(self._descriptor)


class RealDisk:
    """See `reference_db.storage.file_engine.Disk`: a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, path: str, create: bool = False) -> RealFile:
        return RealFile(self._root / path, create)

    def make_directory(self, path: str) -> None:
        (self._root / path).mkdir(parents=True, exist_ok=True)

    def exists(self, path: str) -> bool:
        return (self._root / path).exists()

    def rename(self, source: str, target: str) -> None:
        (self._root / source).replace(self._root / target)

    def remove(self, path: str) -> None:
        (self._root / path).unlink()

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(self._root / path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_directory_later(self, path: str, done: Done, failed: Failed) -> None:
        self.sync_directory(path)
        done()
