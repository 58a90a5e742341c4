"""Nodes of a cluster together, on virtual time: requests, failover, partitions, durability."""

import asyncio

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientCompareAndSet,
    ClientDelete,
    ClientGet,
    ClientGetMany,
    ClientPut,
    ClientScan,
    CommitTransaction,
    Status,
    TransactionRetry,
)
from reference_db.node import ClientConnection
from reference_db.timestamp import Timestamp
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World


async def ready_world(**options: object) -> World:
    world = World(**options)  # type: ignore[arg-type]
    world.start_all()
    await world.wait_until_led()
    return world


def test_a_new_cluster_elects_its_preferred_leaders_within_a_second() -> None:
    async def story() -> None:
        world = await ready_world(ranges=8)
        assert asyncio.get_running_loop().time() < 1.0
        assert [world.leader(range_id) for range_id in range(1, 9)] == ["n1", "n2", "n3"] * 2 + ["n1", "n2"]
        await world.stop()

    run_virtually(story())


def test_what_one_node_writes_every_node_reads() -> None:
    async def story() -> None:
        world = await ready_world()
        for name in world.names:
            for key in (b"0", b"f", b"m", b"z"):
                await world.ask(name, ClientPut(key + name.encode(), b"from " + name.encode()))
        for name in world.names:
            assert await world.ask(name, ClientGet(b"zn2")) == b"from n2"
            assert await world.ask(name, ClientGet(b"nowhere")) is None
        await world.ask("n1", ClientDelete(b"zn2"))
        assert await world.ask("n3", ClientGet(b"zn2")) is None
        assert await world.ask("n2", ClientCompareAndSet(b"zn1", b"from n1", b"new")) == [True, b"from n1"]
        assert await world.ask("n3", ClientCompareAndSet(b"zn1", b"from n1", b"newer")) == [False, b"new"]
        pairs = await world.ask("n1", ClientScan(b"", None, 0))
        assert [key for key, _ in pairs] == sorted(
            key + name
            for key in (b"0", b"f", b"m", b"z")
            for name in (b"n1", b"n2", b"n3")
            if key + name != b"zn2"
        )
        await world.stop()

    run_virtually(story())


def test_a_transaction_over_several_ranges_commits_and_leaves_nothing_behind() -> None:
    async def story() -> None:
        world = await ready_world()
        connection = ClientConnection()
        await world.ask("n1", ClientPut(b"0", b"100"))
        number = await world.ask("n1", BeginTransaction(), connection)
        assert await world.ask("n1", ClientGet(b"0", number), connection) == b"100"
        await world.ask("n1", ClientPut(b"0", b"60", number), connection)
        await world.ask("n1", ClientPut(b"z", b"40", number), connection)
        assert await world.ask("n1", ClientGet(b"z", number), connection) == b"40"
        assert await world.ask("n2", ClientGet(b"z")) is None
        await world.ask("n1", CommitTransaction(number), connection)
        assert await world.ask("n2", ClientGet(b"0")) == b"60"
        assert await world.ask("n3", ClientGet(b"z")) == b"40"
        await world.wait_for(world.is_quiet, what="no locks")
        await world.stop()

    run_virtually(story())


def test_many_keys_are_read_at_one_moment_in_one_round_trip() -> None:
    async def story() -> None:
        world = await ready_world()
        keys = (b"0", b"f", b"m", b"z")
        await asyncio.sleep(0.5)
        for key in keys:
            await world.ask("n1", ClientPut(key, b"old " + key))
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        await world.ask("n1", ClientPut(b"f", b"mine", number), connection)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        got = await world.ask("n1", ClientGetMany((b"z", b"f", b"0", b"nowhere", b"z"), number), connection)
        taken = loop.time() - begin
        assert got == [b"old z", b"mine", b"old 0", None, b"old z"]
        # The clocks are heard, then all ranges are asked at the same time: two round trips, each at most 4 ms. Who
        # asks or answers says whom it follows, so the leaders need no third one to confirm that they lead.
        assert taken < 0.0085
        # Somebody else writes; the transaction goes on to read the same moment, and so do those without one.
        await world.ask("n2", ClientPut(b"z", b"new z"))
        assert await world.ask("n1", ClientGetMany((b"m", b"z"), number), connection) == [b"old m", b"old z"]
        assert await world.ask("n3", ClientGetMany(keys)) == [b"old 0", b"old f", b"old m", b"new z"]
        with pytest.raises(Refused) as refused:
            await world.ask("n1", CommitTransaction(number), connection)
        assert isinstance(refused.value.error, TransactionRetry), "z was read, and has changed since"
        await world.stop()

    run_virtually(story())


def test_many_keys_are_read_though_too_few_clocks_answer() -> None:
    """Reads with uncertainty move the transaction's timestamp, so they come one after the other."""

    async def story() -> None:
        world = await ready_world(nodes=5, ranges=5)
        first, last = b"0", b"z"
        await world.ask("n1", ClientPut(first, b"1"))
        await world.ask("n1", ClientPut(last, b"2"))

        async def too_few(_deadline: float) -> None:
            return None

        world.nodes["n1"].coordinator.record._observe = too_few
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        assert await world.ask("n1", ClientGetMany((first, last), number), connection) == [b"1", b"2"]
        await world.ask("n1", CommitTransaction(number), connection)
        assert world.trace.marks["a transaction reads with uncertainty"] > 0  # type: ignore[attr-defined]
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("enough_clocks", [True, False])
def test_reads_that_a_client_sends_at_once_still_hold_at_one_timestamp(enough_clocks: bool) -> None:
    """The second read arrives while the first one waits for the clocks. Between them somebody moves money."""

    async def story() -> None:
        world = await ready_world()
        await asyncio.sleep(0.5)
        for key in (b"0", b"z"):
            await world.ask("n1", ClientPut(key, b"100"))
        coordinator = world.nodes["n1"].coordinator.record
        observe = coordinator._observe

        async def slowly(deadline: float) -> Timestamp | None:
            await asyncio.sleep(0.05)
            return await observe(deadline) if enough_clocks else None

        coordinator._observe = slowly
        reader, writer = ClientConnection(), ClientConnection()
        number = await world.ask("n1", BeginTransaction(), reader)
        first = asyncio.create_task(world.ask("n1", ClientGet(b"0", number), reader))
        await asyncio.sleep(0.001)
        second = asyncio.create_task(world.ask("n1", ClientGet(b"z", number), reader))
        await asyncio.sleep(0.02)
        moving = await world.ask("n2", BeginTransaction(), writer)
        await world.ask("n2", ClientPut(b"0", b"50", moving), writer)
        await world.ask("n2", ClientPut(b"z", b"150", moving), writer)
        await world.ask("n2", CommitTransaction(moving), writer)
        seen = [int(await first), int(await second)]
        await world.ask("n1", CommitTransaction(number), reader)
        assert sum(seen) == 200
        await world.stop()

    run_virtually(story())


@pytest.mark.parametrize("seed", range(5))
def test_a_range_whose_leader_dies_has_a_new_one_within_three_seconds(seed: int) -> None:
    async def story() -> None:
        world = await ready_world(seed=seed)
        await world.ask("n2", ClientPut(b"0", b"before"))
        assert world.leader(1) == "n1"
        world.crash("n1")
        begin = asyncio.get_running_loop().time()
        await world.wait_for(lambda: world.leader(1) is not None, what="a new leader")
        assert asyncio.get_running_loop().time() - begin < 3.0
        assert await world.ask("n2", ClientGet(b"0")) == b"before"
        world.start("n1")
        await world.wait_for(lambda: world.leader(1) == "n1", 30, "the preferred leader back")
        assert await world.ask("n1", ClientGet(b"0")) == b"before"
        await world.stop()

    run_virtually(story())


def test_all_nodes_die_at_once_and_nothing_acknowledged_is_lost() -> None:
    async def story() -> None:
        world = await ready_world()
        for number in range(20):
            await world.ask("n1", ClientPut(b"%d" % number, b"kept"))
        for name in world.names:
            world.crash(name)
        world.start_all()
        await world.wait_until_led()
        for number in range(20):
            assert await world.ask("n2", ClientGet(b"%d" % number)) == b"kept"
        await world.stop()

    run_virtually(story())


def test_a_node_says_what_it_is_doing() -> None:
    async def story() -> None:
        world = await ready_world()
        status = await world.ask("n1", Status())
        assert status["node"] == "n1"
        assert [one["id"] for one in status["ranges"]] == [1, 2, 3, 4]
        assert status["ranges"][0]["leader"] == "n1"
        assert status["ranges"][0]["start"] == ""
        assert status["ranges"][3]["end"] is None
        assert status["counters"]["syncs"] > 0
        await world.stop()

    run_virtually(story())


def test_a_planned_stop_hands_over_without_an_election_timeout() -> None:
    async def story() -> None:
        world = await ready_world(ranges=6)
        assert world.leader(1) == "n1"
        await asyncio.sleep(1.0)
        begin = asyncio.get_running_loop().time()
        await world.nodes["n1"].drain()
        world.crash("n1")
        await world.wait_until_led()
        assert asyncio.get_running_loop().time() - begin < 0.5
        await world.ask("n2", ClientPut(b"0", b"at once"))
        await world.stop()

    run_virtually(story())


def test_a_planned_stop_of_the_last_node_does_not_wait_for_ever() -> None:
    async def story() -> None:
        world = await ready_world()
        world.crash("n2")
        world.crash("n3")
        begin = asyncio.get_running_loop().time()
        await world.nodes["n1"].drain()
        assert asyncio.get_running_loop().time() - begin < 1.0
        await world.stop()

    run_virtually(story())
