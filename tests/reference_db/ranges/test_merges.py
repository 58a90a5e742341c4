"""Ranges that merge while clients write; and what is left when somebody dies in the middle."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from reference_db.api import (
    AbsorbRange,
    BeginTransaction,
    ClientGet,
    ClientGetMany,
    ClientMerge,
    ClientPut,
    ClientScan,
    ClientSplit,
    ClientTransfer,
    CommitTransaction,
)
from reference_db.node import ClientConnection, NodeOptions
from reference_db.raft import Message, MessageKind
from tests.reference_db.ranges.test_splits import begun, ended, other_than, same_everywhere, spans
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

SHORT_LOG = NodeOptions(settled_ticks=1_000_000, log_entries_kept=10)


async def two_ranges(seed: int = 0, options: NodeOptions | None = None) -> World:
    """Range 1 up to k5, range 2 from there on, with ten keys and a value for each."""
    world = await begun(seed=seed) if options is None else await begun(seed=seed, options=options)
    for number in range(10):
        await world.ask("n1", ClientPut(b"k%d" % number, b"v%d" % number))
    await world.ask("n1", ClientSplit(b"k5"))
    await world.wait_for(lambda: world.leader(2) is not None and same_everywhere(world), what="two ranges")
    return world


async def all_there(world: World, node: str) -> None:
    values = [await world.ask(node, ClientGet(b"k%d" % number), timeout_s=8) for number in range(10)]
    assert values == [b"v%d" % number for number in range(10)]
    pairs = await world.ask(node, ClientScan(b"", None), timeout_s=8)
    assert len(pairs) == 10


def is_frozen(world: World, range_id: int = 2) -> bool:
    return any(
        range_id in node.store.replicas and node.store.replicas[range_id].descriptor.merging is not None
        for node in world.nodes.values()
    )


def test_two_neighbours_become_one_and_nothing_is_copied() -> None:
    async def story() -> None:
        world = await two_ranges()
        assert await world.ask("n2", ClientMerge(b"k1")) == [[1, b"", None, 4]]
        await world.wait_for(lambda: len(world.nodes["n3"].store.replicas) == 1, what="the merge arrives")
        await asyncio.sleep(0.5)
        for node in world.names:
            assert spans(world, node) == [(1, b"", None, 4)]
            assert world.nodes[node].store.replicas[1].descriptor.absorbed == (2,)
            counters = world.nodes[node].store.counters
            assert (counters.merges, counters.snapshots) == (1, 0)
        await all_there(world, "n3")
        await ended(world)

    run_virtually(story())


@pytest.mark.parametrize("seed", range(3))
def test_writes_go_on_while_ranges_split_and_merge(seed: int) -> None:
    async def story() -> None:
        world = await two_ranges(seed=seed)
        slowest, stop = 0.0, False
        written: dict[bytes, bytes] = {}

        async def write(client: int) -> None:
            nonlocal slowest
            loop = asyncio.get_running_loop()
            number = 0
            while not stop:
                number += 1
                key = b"%d-%02d" % (client, (number * 11) % 20)
                began = loop.time()
                await world.ask(world.names[client % 3], ClientPut(key, b"%d" % number))
                written[key] = b"%d" % number
                assert await world.ask(world.names[number % 3], ClientGet(key)) == written[key]
                slowest = max(slowest, loop.time() - began)
                await asyncio.sleep(0.001)

        writers = [asyncio.ensure_future(write(client)) for client in range(4)]
        for number in range(12):
            await asyncio.sleep(0.05)
            key = b"%d-%02d" % (number % 4, number)
            await world.ask(world.names[number % 3], ClientSplit(key))
            await asyncio.sleep(0.05)
            await world.ask(world.names[(number + 1) % 3], ClientMerge(b"%d" % (number % 4)))
        stop = True
        await asyncio.gather(*writers)
        assert slowest < 1.0, "less than an election timeout of 1 to 2 s"
        keys = sorted(written)
        assert await world.ask("n1", ClientGetMany(tuple(keys))) == [written[key] for key in keys]
        assert world.nodes["n1"].store.counters.merges == 12
        await world.wait_for(lambda: same_everywhere(world), what="all the same")
        await ended(world)

    run_virtually(story())


def test_a_merge_needs_all_replicas_and_is_undone_without_one() -> None:
    async def story() -> None:
        world = await two_ranges()
        alone = other_than(world, world.leader(1), world.leader(2))
        asked = other_than(world, alone)
        world.isolate(alone)
        with pytest.raises(Refused, match="not every replica of range 2 has answered; it is thawed again"):
            await world.ask(asked, ClientMerge(b"k1"), timeout_s=8)
        await world.wait_for(lambda: not is_frozen(world), what="all have heard that it is thawed")
        await world.ask(asked, ClientPut(b"k9", b"v9"))
        world.heal()
        await world.wait_for(lambda: same_everywhere(world), what="all caught up")
        assert [span[1:3] for span in spans(world, alone)] == [(b"", b"k5"), (b"k5", None)]
        # The generations have grown, so that what was under way can never happen; and the next attempt succeeds.
        assert await world.ask(asked, ClientMerge(b"k1"), timeout_s=8) == [[1, b"", None, 6]]
        await all_there(world, asked)
        await ended(world)

    run_virtually(story())


@pytest.mark.parametrize("step", ["frozen", "all frozen", "absorbed"])
def test_the_driver_dies_in_the_middle_and_the_right_range_serves_again(step: str) -> None:
    """After each of its steps. Absorbed already, the merge stands; else the right range's leader undoes it."""

    async def story() -> None:
        world = await two_ranges()
        driver = other_than(world, world.leader(1), world.leader(2))
        reshaper = world.nodes[driver].reshaper
        never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if step == "frozen":

            async def hang(*_arguments: Any) -> Any:
                return await never

            reshaper._all_frozen = hang  # type: ignore[method-assign]
        elif step == "absorbed":
            router = world.nodes[driver].router
            send: Callable[..., Coroutine[Any, Any, Any]] = router.send

            async def send_and_hang(operations: Any, *arguments: Any, **options: Any) -> Any:
                reply = await send(operations, *arguments, **options)
                return await never if isinstance(operations[0], AbsorbRange) else reply

            router.send = send_and_hang  # type: ignore[method-assign]
        asking = asyncio.ensure_future(world.ask(driver, ClientMerge(b"k1"), timeout_s=8))
        if step == "frozen":
            await world.wait_for(lambda: is_frozen(world), step_s=0.001)
        elif step == "all frozen":
            all_frozen: Callable[..., Coroutine[Any, Any, bool]] = reshaper._all_frozen

            async def then_hang(*arguments: Any) -> bool:
                assert await all_frozen(*arguments)
                return bool(await never)

            reshaper._all_frozen = then_hang  # type: ignore[method-assign]
            await asyncio.sleep(0.5)
            assert is_frozen(world)
        else:
            left = world.nodes[world.leader(1) or ""].store
            await world.wait_for(lambda: left.counters.merges == 1, step_s=0.0005)
        world.crash(driver)
        await asyncio.wait([asking])
        assert isinstance(asking.exception(), Unanswered)
        asked = other_than(world, driver)
        await all_there(world, asked)
        assert not is_frozen(world)
        world.start(driver)
        await world.wait_for(lambda: same_everywhere(world), what="all caught up", timeout_s=30)
        assert len(world.nodes[driver].store.replicas) == (1 if step == "absorbed" else 2)
        await all_there(world, driver)
        await ended(world)

    run_virtually(story())


@pytest.mark.parametrize("victim", ["left leader", "right leader", "follower"])
@pytest.mark.parametrize("seed", range(4))
def test_a_replica_dies_at_any_moment_of_a_merge(victim: str, seed: int) -> None:
    async def story() -> None:
        world = await two_ranges(seed=seed)
        # Their leaders on two nodes.
        left = world.leader(1)
        assert left is not None
        right = other_than(world, left)
        at_left = world.nodes[left].store.replicas[2]
        at_left.group.transfer_leadership(world.names.index(right) + 1)
        world.nodes[left].store._touch(at_left)
        await world.wait_for(lambda: world.leader(2) == right, what="the right range's leader moves")
        third = other_than(world, left, right)
        dies = {"left leader": left, "right leader": right, "follower": third}[victim]
        asked = other_than(world, dies)
        asking = asyncio.ensure_future(world.ask(asked, ClientMerge(b"k1"), timeout_s=8))
        await asyncio.sleep(world.random.uniform(0, 0.04))
        world.crash(dies)
        await asyncio.wait([asking])
        asking.exception()
        await all_there(world, asked)
        world.start(dies)
        await world.wait_for(lambda: same_everywhere(world), what="all caught up", timeout_s=30)
        assert not is_frozen(world)
        await all_there(world, dies)
        await ended(world)

    run_virtually(story())


def cut_off_when_frozen(world: World, driver: str, behind: str, seen: bool) -> None:
    """Once all replicas are frozen, `behind` is cut off; the driver has seen them frozen, or has not."""
    reshaper = world.nodes[driver].reshaper
    all_frozen: Callable[..., Coroutine[Any, Any, bool]] = reshaper._all_frozen

    async def then_cut(*arguments: Any) -> bool:
        assert await all_frozen(*arguments)
        world.isolate(behind)
        return seen

    reshaper._all_frozen = then_cut  # type: ignore[method-assign]


def test_a_follower_that_missed_the_merge_gets_the_wide_range_and_gives_up_the_other() -> None:
    """It said that it is frozen, and was cut off before it heard that the range was absorbed."""

    async def story() -> None:
        world = await two_ranges(options=SHORT_LOG)
        behind = other_than(world, world.leader(1), world.leader(2))
        driver = other_than(world, behind)
        cut_off_when_frozen(world, driver, behind, seen=True)
        await world.ask(driver, ClientMerge(b"k1"), timeout_s=8)
        assert len(world.nodes[behind].store.replicas) == 2
        for number in range(40):
            await world.ask(driver, ClientPut(b"k%d" % (number % 10), b"v%d" % (number % 10)))
        await asyncio.sleep(1)
        world.heal()
        await world.wait_for(lambda: same_everywhere(world), what="all caught up", timeout_s=30)
        assert spans(world, behind) == [(1, b"", None, 4)]
        assert world.trace.marks["a snapshot brought a merge that was missed"] == 1  # type: ignore[attr-defined]
        await all_there(world, behind)
        await ended(world)

    run_virtually(story())


def test_a_range_that_a_snapshot_has_thawed_is_not_stuck() -> None:
    """A follower saw it frozen, and not thawed; what brings it up to date is a snapshot, and then it leads."""

    async def story() -> None:
        world = await two_ranges(options=SHORT_LOG)
        behind = other_than(world, world.leader(1), world.leader(2))
        driver = other_than(world, behind)
        cut_off_when_frozen(world, driver, behind, seen=False)
        with pytest.raises(Refused, match="it is thawed again"):
            await world.ask(driver, ClientMerge(b"k1"), timeout_s=8)
        await asyncio.sleep(5)
        assert is_frozen(world), "for longer than a merge takes, where nobody has heard that it is over"
        for number in range(40):
            await world.ask(driver, ClientPut(b"k%d" % (5 + number % 5), b"v%d" % (5 + number % 5)))
        world.heal()
        await world.wait_for(lambda: same_everywhere(world), what="all caught up", timeout_s=30)
        assert world.trace.marks["a replica was restored from a snapshot"] > 0  # type: ignore[attr-defined]
        await world.ask(driver, ClientTransfer(2, behind), timeout_s=8)
        await world.wait_for(lambda: world.leader(2) == behind, what="it leads")
        assert world.nodes[behind].store.stuck_ranges() == []
        await asyncio.sleep(3)
        await all_there(world, behind)
        await ended(world)

    run_virtually(story())


def test_a_late_message_does_not_bring_a_merged_range_back() -> None:
    async def story() -> None:
        world = await two_ranges()
        await world.ask("n1", ClientMerge(b"k1"))
        await asyncio.sleep(0.5)
        for node in world.names:
            me = world.names.index(node) + 1
            world.nodes[node].store.receive([(2, Message(MessageKind.VOTE, me, me % 3 + 1, 99, 400, 90))])
        await asyncio.sleep(0.5)
        assert all(len(node.store.replicas) == 1 for node in world.nodes.values())
        for node in world.names:
            world.crash(node)
        for node in world.names:
            world.start(node)
            assert list(world.nodes[node].store.replicas) == [1]
        await ended(world)

    run_virtually(story())


def test_a_transaction_over_both_ranges_goes_on_across_their_merge() -> None:
    """Its record is in the left range, one of its intents in the right one, when they merge."""

    async def story() -> None:
        world = await two_ranges()
        client = ClientConnection()
        number = await world.ask("n2", BeginTransaction(), client)
        await world.ask("n2", ClientPut(b"k1", b"1", number), client)
        await world.ask("n2", ClientPut(b"k7", b"2", number), client)
        coordinator = world.nodes["n2"].coordinator.record
        decide: Any = coordinator._decide

        async def merge_first(*arguments: Any) -> Any:
            await world.ask("n1", ClientMerge(b"k1"))
            return await decide(*arguments)

        coordinator._decide = merge_first  # type: ignore[method-assign]
        await world.ask("n2", CommitTransaction(number), client)
        assert await world.ask("n3", ClientGetMany((b"k1", b"k7"))) == [b"1", b"2"]
        await ended(world)
        assert len(world.nodes["n1"].store.replicas) == 1
        assert not world.nodes["n1"].store.replicas[1].state.records

    run_virtually(story())
