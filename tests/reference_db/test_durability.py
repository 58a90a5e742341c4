"""Every acknowledgement follows a sync on a quorum; one batch and at most one sync a turn; and overload is refused."""

import asyncio
import errno
import random

import pytest

from reference_db.api import ClientGet, ClientPut, CutLogs, Overloaded
from reference_db.node import NodeOptions
from reference_db.storage.engine import MemoryEngine, WriteBatch
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World


class LyingEngine(MemoryEngine):
    """A disk that says it has synced and has not: what the test must catch."""

    def sync(self, batches: int | None = None) -> None:
        self.counters.syncs += 1


async def lose_power_at_random_moments(seed: int, world: World) -> int:
    """Write, cut the power of all nodes at some moment, start again, compare. Returns how many acknowledged writes are
    missing after ten rounds."""
    stream = random.Random(seed)
    world.start_all()
    await world.wait_until_led()
    acknowledged: dict[bytes, int] = {}
    missing = 0

    async def write(key: bytes, value: int) -> None:
        try:
            await world.ask(stream.choice(world.names), ClientPut(key, b"%d" % value))
            acknowledged[key] = value
        except (Refused, Unanswered):
            pass

    for round_ in range(10):
        keys = [b"%d-%d" % (number, round_) for number in range(20)]
        tasks = [asyncio.create_task(write(key, round_)) for key in keys]
        await asyncio.sleep(stream.uniform(0.001, 0.03))
        for name in world.names:
            node = world.nodes.pop(name)
            node.stop()
            world._syncs[name].dead = True
            world.engines[name].crash()  # Everything that was not synced, without exception.
        await asyncio.gather(*tasks)
        world.start_all()
        await world.wait_until_led()
        for key, value in acknowledged.items():
            if await world.ask("n1", ClientGet(key)) != b"%d" % value:
                missing += 1
    assert len(acknowledged) > 20
    await world.stop()
    return missing


@pytest.mark.parametrize("seed", range(5))
def test_acknowledged_writes_survive_the_loss_of_everything_unsynced(seed: int) -> None:
    async def story() -> int:
        return await lose_power_at_random_moments(seed, World(seed=seed))

    assert run_virtually(story()) == 0


def test_a_disk_that_lies_about_syncs_is_caught() -> None:
    async def story() -> int:
        world = World(seed=1)
        # The nodes' first state must be durable, or they could not start again at all.
        for name in world.names:
            node = world.start(name)
            node.stop()
            del world.nodes[name]
            world.engines[name].sync()
            lying = LyingEngine()
            lying._values, lying._order = world.engines[name]._values, world.engines[name]._keys
            lying._durable = world.engines[name]._durable
            world.engines[name] = lying
        return await lose_power_at_random_moments(1, world)

    assert run_virtually(story()) > 0


def test_one_batch_and_at_most_one_sync_a_turn_for_all_ranges() -> None:
    async def story() -> None:
        world = World(ranges=16)
        world.start_all()
        await world.wait_until_led()
        before = {
            name: (node.store.counters.turns, world.engines[name].counters)
            for name, node in world.nodes.items()
        }
        batches = {name: counters.batches for name, (_, counters) in before.items()}
        syncs = {name: counters.syncs for name, (_, counters) in before.items()}
        keys = [b"%c%d" % (first, number) for first in b"0369cfilorux" for number in range(10)]
        await asyncio.gather(*(world.ask("n1", ClientPut(key, b"v")) for key in keys))
        for name, node in world.nodes.items():
            turns = node.store.counters.turns - before[name][0]
            counters = world.engines[name].counters
            assert counters.batches - batches[name] <= turns
            assert counters.syncs - syncs[name] <= counters.batches - batches[name]
            # 120 writes over 16 ranges arrived together: they shared syncs.
            assert counters.syncs - syncs[name] < 30
        await world.stop()

    run_virtually(story())


def test_too_many_requests_are_refused_as_overloaded_and_certainly_not_done() -> None:
    async def story() -> None:
        world = World(ranges=1, options=NodeOptions(requests_most=5))
        world.start_all()
        await world.wait_until_led()
        results = await asyncio.gather(
            *(world.ask("n1", ClientPut(b"%d" % number, b"v")) for number in range(50)),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, Refused)]
        assert refused
        assert all(isinstance(one.error, Overloaded) and one.definite for one in refused)
        for number, result in enumerate(results):
            value = await world.ask("n2", ClientGet(b"%d" % number))
            assert value == (None if isinstance(result, Refused) else b"v")
        await world.stop()

    run_virtually(story())


class FullEngine(MemoryEngine):
    """A disk that is full from some moment on."""

    is_full = False

    def write(self, batch: WriteBatch) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "no space left on device")
        super().write(batch)


def test_a_disk_that_fails_while_logs_are_cut_ends_the_node_as_in_a_turn() -> None:
    """The loop is told of an exception of no task: the server takes that for the end of the node. (It was told of a
    request's task that failed, and the node went on to the next turn.)"""

    async def story() -> None:
        told: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        world = World()
        engine = FullEngine()
        world.engines["n1"] = engine
        world.start_all()
        await world.wait_until_led()
        for number in range(20):
            await world.ask("n1", ClientPut(b"key", b"%d" % number))
        engine.is_full = True
        with pytest.raises(Refused, match="n1 stops"):
            await world.ask("n1", CutLogs())
        await asyncio.sleep(0.1)
        await world.stop()
        assert str(told[0]["exception"]) == "[Errno 28] no space left on device"
        assert all("task" not in context for context in told)

    run_virtually(story())
