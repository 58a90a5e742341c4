"""Syncs that nobody waits for, and syncs whose failure nobody minds; and the same stories with the clean database."""

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reference_db.api import ClientGet, ClientPut
from reference_db.defects import ack_before_fsync, fsync_error_swallowed
from reference_db.node import Node
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.file_engine import FileEngine, FileSync
from tests.reference_db.defects.elections import lose_power
from tests.reference_db.storage.disks import loop_of, make_disk
from tests.reference_db.test_durability import lose_power_at_random_moments
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World


def test_who_does_not_wait_for_the_disk_loses_what_was_acknowledged() -> None:
    async def story(seed: int) -> int:
        world = World(seed=seed, plant=ack_before_fsync.plant)
        world.sync_s = (0.002, 0.01)
        return await lose_power_at_random_moments(seed, world)

    assert sum(run_virtually(story(seed)) for seed in range(3)) > 0


def test_who_waits_for_the_disk_loses_nothing() -> None:
    async def story(seed: int) -> int:
        world = World(seed=seed)
        world.sync_s = (0.002, 0.01)
        return await lose_power_at_random_moments(seed, world)

    assert sum(run_virtually(story(seed)) for seed in range(3)) == 0


class FailingEngine(MemoryEngine):
    """A disk that refuses syncs while it is told to, and forgets what they should have covered."""

    __slots__ = ("_broken", "fails")

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self._broken: OSError | None = None

    def sync(self, batches: int | None = None) -> None:
        if self.fails or self._broken is not None:
            count = len(self._unsynced) if batches is None else batches
            del self._unsynced[:count]
            self._broken = OSError(5, "Input/output error")
            raise self._broken
        super().sync(batches)


async def write_while_the_disks_fail(world: World) -> tuple[bool, bytes | None]:
    """1. All disks refuse to sync while a value is written. 2. They work again; all nodes lose power and start anew.
    Returns whether the write was acknowledged, and what is read afterwards."""
    engines = {name: FailingEngine() for name in world.names}
    world.engines.update(engines)

    def stop_the_node(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """As the server does when its disk fails."""
        assert isinstance(context["exception"], OSError)
        for name, engine in engines.items():
            if engine._broken is not None and name in world.nodes:
                lose_power(world, name)

    asyncio.get_running_loop().set_exception_handler(stop_the_node)
    world.start_all()
    await world.wait_until_led()
    for engine in engines.values():
        engine.fails = True
    try:
        await world.ask("n1", ClientPut(b"0", b"v"), timeout_s=1.0)
        acknowledged = True
    except (Refused, Unanswered):
        acknowledged = False
    for name in tuple(world.nodes):
        lose_power(world, name)
    for engine in engines.values():
        engine.fails, engine._broken = False, None
    world.start_all()
    await world.wait_until_led()
    value: bytes | None = await world.ask("n1", ClientGet(b"0"))
    await world.stop()
    return acknowledged, value


@pytest.mark.parametrize(
    ("plant", "expected"), [(fsync_error_swallowed.plant, (True, None)), (None, (False, None))]
)
def test_an_acknowledged_write_is_lost_if_a_failed_sync_counts_as_done(
    plant: Callable[[Node], None] | None, expected: tuple[bool, bytes | None]
) -> None:
    async def story() -> tuple[bool, bytes | None]:
        return await write_while_the_disks_fail(World(ranges=1, plant=plant))

    assert run_virtually(story()) == expected


def test_an_engine_on_plain_files_goes_on_after_a_failed_sync_and_loses_what_it_covered() -> None:
    """The same on a simulated disk, which keeps or loses by a coin what a failed sync should have covered."""
    lost = 0
    for seed in range(10):
        disk = make_disk(seed)
        loop = loop_of(disk)
        engine = FileEngine(disk, "data")
        fsync_error_swallowed.plant(cast(Node, SimpleNamespace(_engine=engine)))
        syncer = FileSync(engine, lambda error: pytest.fail(f"told of {error}"))
        batch = WriteBatch()
        batch.put(b"k", b"v")
        engine.write(batch)
        disk.set_fault("eio-sync")
        syncer.sync(loop.stop)
        loop.run_forever()
        disk.clear_fault()
        disk.crash(random.Random(seed))
        lost += FileEngine(disk, "data").get(b"k") is None
    assert lost > 0
