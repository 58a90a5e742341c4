"""A store per core: which ranges are whose, that no range is touched by two, and what more cores bring."""

import asyncio
from collections import Counter

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientMove,
    ClientPut,
    ClientSplit,
    ClientTransfer,
    CommitTransaction,
)
from reference_db.codec import FrameDecoder, PeerFrame
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection, NodeOptions
from reference_db.ranges.cores import node_of, placed, stores_of, why_not_beside
from reference_db.ranges.descriptor import bootstrap
from reference_db.ranges.options import StoreOptions
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

CORES = 3
NODES = ("n1", "n2", "n3", "n4")
SETTLED = {"settled_ticks": 1_000_000}


def core_of(store: str) -> str:
    return store.rpartition(".")[2]


def test_ranges_go_round_the_cores_and_no_node_has_two_replicas_of_one() -> None:
    stores = stores_of(NODES, CORES)
    assert stores[:4] == ("n1.1", "n1.2", "n1.3", "n2.1")
    ranges = bootstrap(24, stores, 3, CORES)
    assert ranges[0].replicas == ("n1.1", "n2.1", "n3.1")
    assert ranges[1].replicas == ("n1.2", "n2.2", "n3.2")
    assert ranges[3].replicas == ("n2.1", "n3.1", "n4.1")
    for one in ranges:
        assert len({node_of(store, CORES) for store in one.replicas}) == 3
        assert len({core_of(store) for store in one.replicas}) == 1
    led = Counter(one.replicas[0] for one in ranges)
    assert len(led) == 12
    assert set(led.values()) == {2}, "every core of every node prefers as many"
    assert bootstrap(5, NODES, 3) == bootstrap(5, NODES, 3, 1)


def test_more_replicas_than_nodes_are_refused_however_many_stores_there_are() -> None:
    with pytest.raises(ValueError, match="4 replicas on 3 nodes"):
        placed(0, stores_of(NODES[:3], CORES), 4, CORES)


def test_a_replica_may_not_come_to_a_node_that_has_one() -> None:
    members = ("n1.1", "n2.1", "n3.1")
    assert why_not_beside("n4.2", "n1.1", members, CORES) is None
    assert "n2 has a replica already" in (why_not_beside("n2.3", "n1.1", members, CORES) or "")
    assert "which is to go only when" in (why_not_beside("n1.3", "n1.1", members, CORES) or "")
    assert why_not_beside("n2", "n1", ("n1", "n3", "n4"), 1) is None


def test_the_number_of_cores_is_checked() -> None:
    assert "cores is 0" in StoreOptions(cores=0).problems()[0]
    assert "placement does not know of cores" in NodeOptions(cores=2, placement=True).problems()[0]


def test_no_range_is_touched_by_two_stores_of_a_node() -> None:
    """Writes, transactions over all cores, splits and moves, through any store. By count: each range that ever had a
    replica on a node had it on one store of it, and Raft messages go from a core to the same core elsewhere, never to a
    sibling; only requests go between cores."""

    async def story() -> None:
        world = World(nodes=4, ranges=9, options=NodeOptions(cores=CORES, **SETTLED), watcher=Watcher())
        raft: Counter[tuple[bool, bool]] = Counter()
        asked: Counter[bool] = Counter()
        carry = world.carry

        def counted(source: str, target: str, frame: bytes) -> bool:
            for whole in FrameDecoder(PeerFrame).feed(frame):
                same_core, same_node = core_of(source) == core_of(target), source[:2] == target[:2]
                raft[same_core, same_node] += len(whole.raft)
                asked[same_core] += len(whole.messages)
            return carry(source, target, frame)

        world.carry = counted  # type: ignore[method-assign]
        world.start_all()
        await world.wait_until_led()
        held: dict[str, set[int]] = {store: set() for store in world.names}

        def look() -> None:
            for store, node in world.nodes.items():
                held[store] |= node.store.replicas.keys()

        for number in range(30):
            await world.ask(world.names[number % 12], ClientPut(b"%c" % (97 + number % 26), b"v"))
        connection = ClientConnection()
        number = await world.ask("n2.3", BeginTransaction(), connection)
        for key in (b"a", b"h", b"p", b"z"):
            await world.ask("n2.3", ClientPut(key, b"all", number), connection)
        await world.ask("n2.3", CommitTransaction(number), connection)
        look()
        first = bootstrap(9, world.names, 3, CORES)
        for key in (b"c", b"m", b"t"):
            _, (new_id, *_) = await world.ask("n1.2", ClientSplit(key))
            await world.wait_until_led()
            new = world.nodes[world.leader(new_id) or ""].store.replicas[new_id].descriptor
            (whole,) = [one for one in first if one.contains(new.start)]
            assert new.replicas == whole.replicas, "both halves stay on the core of the whole"
        look()
        one = world.nodes["n1.1"].store.replicas[1].descriptor
        with pytest.raises(Refused, match="has a replica already"):
            await world.ask("n2.2", ClientMove(1, "n1.1", "n2.2"))
        with pytest.raises(Refused, match="has a replica already"):
            await world.ask("n2.2", ClientMove(1, "n1.1", "n1.2"))
        assert one.replicas == ("n1.1", "n2.1", "n3.1")
        await world.ask("n2.2", ClientMove(1, "n1.1", "n4.2"))
        await world.wait_for(lambda: 1 not in world.nodes["n1.1"].store.replicas)
        look()
        for key in (b"a", b"h", b"p", b"z"):
            assert await world.ask("n3.2", ClientGet(key)) == b"all"
        for node in NODES:
            stores = [held[store] for store in world.names if node_of(store, CORES) == node]
            assert sum(map(len, stores)) == len(set().union(*stores)), (
                f"a range is touched by two stores of {node}"
            )
        assert raft[True, True] == raft[False, True] == 0, "no Raft message between stores of one node"
        assert asked[False] > 0, "requests find their way from core to core"
        assert world.violations == []
        await world.stop()

    run_virtually(story())


def test_a_node_that_dies_with_all_its_stores_costs_no_range_its_quorum() -> None:
    async def story() -> None:
        world = World(ranges=6, options=NodeOptions(cores=2))
        world.start_all()
        await world.wait_until_led()
        for number in range(12):
            await world.ask("n1.1", ClientPut(b"%c" % (97 + 2 * number), b"v"))
        for store in ("n1.1", "n1.2"):
            world.crash(store)
        await world.wait_for(world.all_led, what="new leaders")
        for number in range(12):
            assert await world.ask("n3.2", ClientGet(b"%c" % (97 + 2 * number)), timeout_s=8) == b"v"
        await world.stop()

    run_virtually(story())


async def writes_in_a_second(cores: int, leaders: list[str]) -> float:
    """Durable writes a second to three ranges that are led there, by eight clients each; a core needs a millisecond for
    each request, message and entry."""
    options = NodeOptions(cores=cores, **SETTLED)
    world = World(ranges=3, options=options)
    world.start_all()
    await world.wait_until_led()
    for range_id, leader in enumerate(leaders, 1):
        if world.leader(range_id) != leader:
            await world.ask(leader, ClientTransfer(range_id, leader))
        await world.wait_for(lambda range_id=range_id, leader=leader: world.leader(range_id) == leader)
    keys = [
        world.nodes[leader].store.replicas[number].descriptor.start
        for number, leader in enumerate(leaders, 1)
    ]
    world.service_s = 0.001
    done = 0
    loop = asyncio.get_running_loop()
    until = loop.time() + 1.0

    async def client(number: int, leader: str, start: bytes) -> None:
        nonlocal done
        while loop.time() < until:
            await world.ask(leader, ClientPut((start or b"0") + b"%d" % number, b"v"))
            done += 1

    await asyncio.gather(
        *[client(n, leader, start) for leader, start in zip(leaders, keys, strict=True) for n in range(8)]
    )
    await world.stop()
    return done / 1.0


def test_three_leaders_on_three_cores_write_two_and_a_half_times_as_much_as_on_one() -> None:
    """One node leads three ranges: with one core, and with three. Its followers have as many cores."""
    one = run_virtually(writes_in_a_second(1, ["n1"] * 3))
    three = run_virtually(writes_in_a_second(3, ["n1.1", "n1.2", "n1.3"]))
    assert three >= 2.5 * one, (one, three)
