"""Ranges split when they are large or hot and merge when they are small and idle, and then stay as they are."""

import asyncio
import random

from reference_db.api import ClientGet, ClientPut
from reference_db.gateway.shaping import measure
from reference_db.node import NodeOptions
from reference_db.placement.shapes import Limits, cut_of_load, merged_bytes_most
from reference_db.storage import keys
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.timestamp import Timestamp
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


def sums(world: World, *names: str) -> list[int]:
    """Counters of all nodes, added up."""
    counters = [node.status()["counters"] for node in world.nodes.values()]
    return [sum(one[name] for one in counters) for name in names]


def test_a_range_that_grows_is_split_in_its_middle_and_then_left_alone() -> None:
    """300 kB into one range that may have 100 kB: pieces of half of that or more, and no merge undoes it."""

    async def story() -> None:
        options = NodeOptions(split_bytes=100_000, merge_idle=5, quiesce_ticks=10)
        world = World(seed=3, ranges=1, options=options)
        world.start_all()
        await world.wait_until_led()
        order = list(range(300))
        random.Random(3).shuffle(order)
        for number in order:
            await world.ask("n1", ClientPut(b"k%03d" % number, b"x" * 1000))
            await asyncio.sleep(0.02)
        await asyncio.sleep(5)
        (splits,) = sums(world, "splits_by_size")
        assert 3 <= splits <= 6
        pieces = [one.descriptor for one in world.nodes["n1"].store.replicas.values()]
        sizes = [(await measure(world.engines["n1"], one.start, one.end))[0] for one in pieces]
        assert max(sizes) < 125_000
        assert min(sizes) > 25_000
        assert len(pieces) == splits + 1
        await asyncio.sleep(30)
        assert sums(world, "splits_by_size", "merges_of_idle") == [splits, 0]
        for number in order[::10]:
            assert await world.ask("n2", ClientGet(b"k%03d" % number)) == b"x" * 1000
        await world.stop()

    run_virtually(story())


def test_small_neighbours_that_sleep_become_one_and_one_that_is_used_stays() -> None:
    """Six ranges of which the last is asked for every second: the others become one."""

    async def story() -> None:
        world = World(seed=4, ranges=6, options=NodeOptions(merge_idle=5, quiesce_ticks=10))
        world.start_all()
        await world.wait_until_led()
        used = max(one.descriptor.start for one in world.nodes["n1"].store.replicas.values()) + b"x"
        for _ in range(60):
            await world.ask("n1", ClientPut(used, b"v"))
            await asyncio.sleep(0.8)
        assert sums(world, "merges_of_idle") == [4]
        assert sorted(len(node.store.replicas) for node in world.nodes.values()) == [2, 2, 2]
        await asyncio.sleep(12)
        # Nobody asks any more.
        assert sums(world, "merges_of_idle", "splits") == [5, 0]
        await world.stop()

    run_virtually(story())


def test_a_hot_range_is_split_once_its_load_has_lasted_and_a_hot_key_is_not() -> None:
    async def story() -> None:
        options = NodeOptions(split_load=40, merge_idle=5, quiesce_ticks=10)
        world = World(seed=5, ranges=1, options=options)
        world.start_all()
        await world.wait_until_led()

        async def load(names: list[bytes], seconds: int) -> None:
            for number in range(seconds * 60):
                await world.ask("n1", ClientPut(names[number % len(names)], b"v"))
                await asyncio.sleep(0.012)

        await load([b"hot"], 8)
        assert sums(world, "splits_by_load") == [0]
        # Left alone for a while, since nothing would have helped.
        await asyncio.sleep(20)
        names = [b"a", b"b", b"c", b"d", b"e"]
        await load(names, 8)
        splits, idle = sums(world, "splits_by_load", "merges_of_idle")
        assert (splits, idle) == (1, 0)
        await asyncio.sleep(20)
        assert sums(world, "splits_by_load", "merges_of_idle") == [1, 1]
        await world.stop()

    run_virtually(story())


def test_load_is_cut_where_both_sides_get_a_fair_part() -> None:
    assert cut_of_load([b"a", b"b", b"c", b"d"], b"") == b"c"
    assert cut_of_load([b"a"] * 10 + [b"b"] * 30, b"") == b"b"
    assert cut_of_load([b"a"] * 40 + [b"b"] * 3, b"") is None
    # All that is asked for is the range's first key: there is nothing to cut.
    assert cut_of_load([b"a"] * 40, b"a") is None
    assert cut_of_load([], b"") is None


def test_what_merges_would_not_be_split_at_once() -> None:
    assert merged_bytes_most(Limits(100, 0, 5)) == 50


def test_a_range_is_measured_and_its_middle_is_a_key() -> None:
    """Three keys, the second with as many bytes as the others together; and no more is read than is asked for."""

    async def story() -> None:
        engine, batch = MemoryEngine(), WriteBatch()
        for key, values in ((b"a", 10), (b"b", 20), (b"c", 10)):
            for at in range(values):
                batch.put(keys.version_key(key, Timestamp(at + 1)), b"x" * 100)
        engine.write(batch)
        size, middle = await measure(engine, b"", None)
        assert middle in (b"b", b"c")
        assert 4000 < size < 5000
        assert await measure(engine, b"c", None) == (size // 4, None)
        assert (await measure(engine, b"", None, most=500))[0] < 700

    run_virtually(story())
