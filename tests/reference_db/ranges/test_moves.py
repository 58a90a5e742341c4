"""Replicas that move from node to node while clients write; and what is left when somebody dies in the middle."""

import asyncio
import gc
import warnings
from typing import Any

import pytest

from reference_db.api import (
    ClientGet,
    ClientMerge,
    ClientMove,
    ClientPut,
    ClientScan,
    ClientSplit,
    ClientTransfer,
    TimedOut,
)
from reference_db.gateway.moving import Mover
from reference_db.gateway.open_transaction import Failed
from reference_db.invariants import Watcher
from reference_db.node import NodeOptions
from reference_db.raft import Message, MessageKind
from reference_db.ranges.tombstones import read_tombstone
from reference_db.txn.command import MoveStep
from tests.reference_db.ranges.test_splits import ended
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

SETTLED = NodeOptions(settled_ticks=1_000_000)


async def five_nodes(seed: int = 0, ranges: int = 1, options: NodeOptions = SETTLED) -> World:
    """Five nodes; range 1 begins with its three replicas on n1, n2 and n3."""
    world = World(seed=seed, nodes=5, ranges=ranges, options=options, watcher=Watcher())
    world.start_all()
    await world.wait_until_led()
    for number in range(10):
        await world.ask("n1", ClientPut(b"k%d" % number, b"v%d" % number))
    return world


def holders(world: World, range_id: int = 1) -> list[str]:
    return [name for name, node in sorted(world.nodes.items()) if range_id in node.store.replicas]


def replicas_of(world: World, range_id: int = 1) -> set[tuple[str, ...]]:
    """What the range's replicas say who has one."""
    return {
        (*one.descriptor.replicas, *one.descriptor.learners, *one.descriptor.leaving)
        for node in world.nodes.values()
        if (one := node.store.replicas.get(range_id)) is not None
    }


async def settled(world: World, nodes: list[str], range_id: int = 1) -> None:
    """These nodes, and no others, have a replica, and all of them say so."""
    await world.wait_for(
        lambda: (
            holders(world, range_id) == sorted(nodes)
            and [sorted(one) for one in replicas_of(world, range_id)] == [sorted(nodes)]
        ),
        what=f"range {range_id} on {nodes}",
    )


async def all_there(world: World, node: str) -> None:
    assert await world.ask(node, ClientGet(b"k3"), timeout_s=8) == b"v3"
    pairs = await world.ask(node, ClientScan(b"", None), timeout_s=8)
    assert [pair for pair in pairs if pair[0] < b"l"] == [
        (b"k%d" % number, b"v%d" % number) for number in range(10)
    ]


@pytest.mark.parametrize("source", ["n1", "n2", "n3"])
def test_a_replica_moves_and_its_old_node_keeps_a_tombstone(source: str) -> None:
    """Whoever leads, also the replica that goes."""

    async def story() -> None:
        world = await five_nodes()
        index = world.nodes["n1"].store.replicas[1].applied_index
        found = await world.ask("n5", ClientMove(1, source, "n4"))
        stay = sorted({"n1", "n2", "n3", "n4"} - {source})
        assert (found[0], sorted(found[4])) == (1, stay)
        await settled(world, stay)
        tombstone = read_tombstone(world.engines[source], 1)
        assert tombstone is not None
        assert tombstone.generation == 4
        assert world.engines[source].first(b"v", b"w") is None, "its data are gone"
        # Three entries: learner in, joint configuration, out of it. A new leader adds one of its own.
        leader = world.leader(1)
        assert leader is not None
        assert world.nodes[leader].store.replicas[1].applied_index - index <= 4
        assert sum(node.store.counters.snapshots for node in world.nodes.values()) == 1
        await all_there(world, source)
        await all_there(world, "n5")
        await ended(world)

    run_virtually(story())


@pytest.mark.parametrize("seed", range(3))
def test_clients_do_not_notice_that_replicas_move(seed: int) -> None:
    """Every operation succeeds, and none takes as long as an election."""

    async def story() -> None:
        world = await five_nodes(seed=seed, ranges=2)
        slowest, stop, count = 0.0, False, 0

        async def write(client: int) -> None:
            nonlocal slowest, count
            loop = asyncio.get_running_loop()
            while not stop:
                key = b"%d-%02d" % (client, count % 10)
                count += 1
                value = b"%d" % count
                began = loop.time()
                await world.ask(world.names[count % 5], ClientPut(key, value))
                assert await world.ask(world.names[(count + 2) % 5], ClientGet(key)) == value
                slowest = max(slowest, loop.time() - began)
                await asyncio.sleep(0.005)

        writers = [asyncio.ensure_future(write(client)) for client in range(3)]
        for number in range(16):
            range_id = number % 2 + 1
            (members,) = replicas_of(world, range_id)
            free = [name for name in world.names if name not in members]
            source, target = members[world.random.randrange(3)], world.random.choice(free)
            found = await world.ask(world.names[number % 5], ClientMove(range_id, source, target))
            assert target in found[4]
            assert source not in found[4]
            await settled(world, found[4], range_id)
        stop = True
        await asyncio.gather(*writers)
        assert count > 100
        assert slowest < 1.0, "less than an election timeout of 1 to 2 s"
        await ended(world)

    run_virtually(story())


def test_a_range_returns_to_a_node_with_what_its_replica_had_promised_there() -> None:
    async def story() -> None:
        world = await five_nodes()
        await world.ask("n5", ClientTransfer(1, "n1"))
        core = world.nodes["n3"].store.replicas[1].group.core
        term, vote = core.term, core.vote
        await world.ask("n5", ClientMove(1, "n3", "n4"))
        await settled(world, ["n1", "n2", "n4"])
        tombstone = read_tombstone(world.engines["n3"], 1)
        assert tombstone is not None
        assert (tombstone.term, tombstone.vote) == (term, vote)
        for number in range(3):
            await world.ask("n2", ClientPut(b"m%d" % number, b"later"))
        await world.ask("n5", ClientMove(1, "n4", "n3"))
        await settled(world, ["n1", "n2", "n3"])
        core = world.nodes["n3"].store.replicas[1].group.core
        assert (core.term, core.vote) == (term, vote)
        await all_there(world, "n3")
        await ended(world)

    run_virtually(story())


def test_who_hears_twice_in_one_turn_that_it_has_left_keeps_what_it_had_promised() -> None:
    """The second tombstone knew nothing of the first, in the same batch: n3 forgot its term and vote, and could
    have voted again in a term in which it had voted."""

    async def story() -> None:
        world = await five_nodes()
        await world.ask("n5", ClientTransfer(1, "n1"))
        world.isolate("n3")
        core = world.nodes["n3"].store.replicas[1].group.core
        term, vote = core.term, core.vote
        descriptors = []
        for source, target in (("n3", "n4"), ("n2", "n5")):
            await world.ask("n1", ClientMove(1, source, target), timeout_s=8)
            descriptors.append(world.nodes["n1"].store.replicas[1].descriptor)
        heard: list[str | None] = []
        assert (term, vote) == (core.term, core.vote)
        for descriptor in descriptors:
            world.nodes["n3"].store.retire(descriptor, heard.append)
        await world.wait_for(lambda: len(heard) == 2, what="n3 has left")
        assert heard == [None, None]
        tombstone = read_tombstone(world.engines["n3"], 1)
        assert tombstone is not None
        assert (tombstone.generation, tombstone.term, tombstone.vote) == (
            descriptors[1].generation,
            term,
            vote,
        )
        world.heal()
        await settled(world, ["n1", "n4", "n5"])
        await ended(world)

    run_virtually(story())


def test_who_was_down_while_its_range_left_finds_out_and_disturbs_nobody() -> None:
    async def story() -> None:
        world = await five_nodes()
        await world.ask("n5", ClientTransfer(1, "n1"))
        world.crash("n3")
        await world.ask("n5", ClientMove(1, "n3", "n4"), timeout_s=8)
        await world.ask("n5", ClientMove(1, "n2", "n5"), timeout_s=8)
        await settled(world, ["n1", "n4", "n5"])
        term = world.nodes["n1"].store.replicas[1].group.term
        world.start("n3")
        assert 1 in world.nodes["n3"].store.replicas
        # It is asked before it knows: nobody is misled.
        await all_there(world, "n3")
        await settled(world, ["n1", "n4", "n5"])
        assert world.nodes["n1"].store.replicas[1].group.term == term
        await ended(world)

    run_virtually(story())


def test_without_its_log_a_removed_replica_helps_no_candidate() -> None:
    """n3 has not heard that n2 left, and asks it for its vote. n2 had acknowledged what n3 lacks."""

    async def story() -> None:
        world = await five_nodes()
        await world.ask("n5", ClientTransfer(1, "n1"))
        world.isolate("n3")
        await world.ask("n5", ClientPut(b"k5", b"v5"))
        await world.ask("n5", ClientMove(1, "n2", "n4"))
        await world.wait_for(lambda: holders(world) == ["n1", "n3", "n4"], what="n2 has no replica")
        before = world.nodes["n2"].frames_sent
        term = world.nodes["n3"].store.replicas[1].group.term
        for kind in (MessageKind.PRE_VOTE, MessageKind.VOTE, MessageKind.HEARTBEAT, MessageKind.APPEND):
            world.nodes["n2"].store.receive([(1, Message(kind, 2, 3, term + 5, 0, 0))])
        await asyncio.sleep(0.05)
        assert 1 not in world.nodes["n2"].store.replicas
        assert world.nodes["n2"].frames_sent - before < 10
        world.heal()
        await settled(world, ["n1", "n3", "n4"])
        await all_there(world, "n2")
        await ended(world)

    run_virtually(story())


async def driver_dies(world: World, after: MoveStep, monkeypatch: pytest.MonkeyPatch) -> None:
    """n5 moves range 1 from n2 to n4, and dies when this step is taken."""
    original, driver = Mover._step, world.nodes["n5"].mover
    reached = asyncio.Event()

    async def step(self: Mover, operation: Any, deadline: float) -> Any:
        descriptor = await original(self, operation, deadline)
        if self is driver and getattr(operation, "step", None) == after:
            reached.set()
            await asyncio.Event().wait()
        return descriptor

    monkeypatch.setattr(Mover, "_step", step)
    asking = asyncio.ensure_future(world.ask("n5", ClientMove(1, "n2", "n4")))
    await reached.wait()
    world.crash("n5")
    await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("after", [MoveStep.ADD_LEARNER, MoveStep.PROMOTE])
def test_the_driver_dies_in_the_middle_and_the_leader_ends_the_move(
    after: MoveStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the learner is there it is dropped; after the swap the old replica goes."""

    async def story() -> None:
        world = await five_nodes()
        await world.ask("n5", ClientTransfer(1, "n1"))
        await driver_dies(world, after, monkeypatch)
        await settled(world, ["n1", "n2", "n3"] if after is MoveStep.ADD_LEARNER else ["n1", "n3", "n4"])
        world.start("n5")
        # It may be split and moved again.
        await world.ask("n1", ClientSplit(b"k5"))
        left = "n2" if after is MoveStep.ADD_LEARNER else "n3"
        await world.ask("n1", ClientMove(1, left, "n5"), timeout_s=8)
        await all_there(world, "n3")
        await ended(world)

    run_virtually(story())


def test_a_move_goes_on_with_the_learner_that_an_ended_one_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else could move the range to n4, or anywhere, until the leader had dropped the learner: 50 ticks."""

    async def story() -> None:
        world = await five_nodes()
        await world.ask("n5", ClientTransfer(1, "n1"))
        await driver_dies(world, MoveStep.ADD_LEARNER, monkeypatch)
        with pytest.raises(Refused, match="range 1 is being moved already: n1, n2, n3, learner n4"):
            await world.ask("n1", ClientMove(1, "n3", "n5"))
        moved = await world.ask("n1", ClientMove(1, "n3", "n4"))
        assert sorted(moved[4]) == ["n1", "n2", "n4"], "another replica goes than the first driver wished"
        await settled(world, ["n1", "n2", "n4"])
        await all_there(world, "n3")
        await ended(world)

    run_virtually(story())


def test_of_two_who_bring_one_learner_the_first_decides_which_replica_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        world = await five_nodes()
        await world.ask("n5", ClientTransfer(1, "n1"))
        original, slow = Mover._step, world.nodes["n5"].mover
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def step(self: Mover, operation: Any, deadline: float) -> Any:
            if self is slow and getattr(operation, "step", None) == MoveStep.PROMOTE:
                reached.set()
                await go_on.wait()
            return await original(self, operation, deadline)

        monkeypatch.setattr(Mover, "_step", step)
        asking = asyncio.ensure_future(world.ask("n5", ClientMove(1, "n2", "n4"), timeout_s=2))
        await reached.wait()
        await world.ask("n1", ClientMove(1, "n3", "n4"))
        go_on.set()
        with pytest.raises(Refused):
            await asking
        await settled(world, ["n1", "n2", "n4"])
        await all_there(world, "n2")
        await ended(world)

    run_virtually(story())


def test_a_learner_that_did_not_hear_that_it_was_dropped_finds_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never campaigns, so it believed in the leader that had dropped it, and kept its replica for ever."""

    async def story() -> None:
        world = await five_nodes()
        await world.ask("n5", ClientTransfer(1, "n1"))
        original = Mover._step

        async def step(self: Mover, operation: Any, deadline: float) -> Any:
            if getattr(operation, "step", None) == MoveStep.PROMOTE:
                await world.wait_for(lambda: "n4" in holders(world), what="the learner has a replica")
                world.isolate("n4")
                raise Failed(TimedOut("the driver gives up"))
            return await original(self, operation, deadline)

        monkeypatch.setattr(Mover, "_step", step)
        with pytest.raises(Refused):
            await world.ask("n5", ClientMove(1, "n2", "n4"), timeout_s=8)
        await world.wait_for(
            lambda: world.nodes["n1"].store.replicas[1].descriptor.members == ("n1", "n2", "n3"),
            what="the learner was dropped",
        )
        await asyncio.sleep(3)  # Whoever told it so has given up.
        learner = world.nodes["n4"].store.replicas[1]
        assert learner.descriptor.learners == ("n4",)
        world.heal()
        await settled(world, ["n1", "n2", "n3"])
        await all_there(world, "n4")
        await ended(world)

    run_virtually(story())


@pytest.mark.parametrize("is_merged", [False, True])
def test_a_promise_of_a_range_that_moved_on_is_given_up(is_merged: bool) -> None:
    """n3 was asked to vote in a range that was cut off before it had heard of that, and was down while everything left
    it. What was left there was no range that could be looked up: it had no leader for ever, and n3 was never ready."""

    async def story() -> None:
        world = await five_nodes()
        await world.ask("n5", ClientTransfer(1, "n1"))
        world.cut |= {("n1", "n3"), ("n2", "n3")}
        ((_, right),) = [await world.ask("n1", ClientSplit(b"k5"))]
        cut_off = right[0]
        world.nodes["n3"].store.receive([(cut_off, Message(MessageKind.VOTE, 3, 1, 9, 40, 9))])
        await asyncio.sleep(0.05)
        assert not world.nodes["n3"].store.replicas[cut_off].descriptor.is_known
        world.crash("n3")
        world.heal()
        for range_id in (1, cut_off):
            await world.ask("n1", ClientMove(range_id, "n3", "n4"), timeout_s=8)
        if is_merged:
            await world.ask("n1", ClientMerge(b"k1"), timeout_s=8)
        world.start("n3")
        await world.wait_for(lambda: not world.nodes["n3"].store.replicas, what="n3 has nothing left")
        await all_there(world, "n3")
        await ended(world)

    run_virtually(story())


def test_a_move_to_a_node_that_is_down_is_refused_and_leaves_nothing() -> None:
    async def story() -> None:
        world = await five_nodes()
        world.crash("n4")
        with pytest.raises(Refused, match="n4 does not take a replica of range 1"):
            await world.ask("n5", ClientMove(1, "n2", "n4"), timeout_s=3)
        await settled(world, ["n1", "n2", "n3"])
        await ended(world)

    run_virtually(story())


@pytest.mark.parametrize(
    ("move", "text"),
    [
        (ClientMove(1, "n4", "n5"), "cannot move range 1 from n4 to n5: its replicas are on n1, n2, n3"),
        (ClientMove(1, "n1", "n2"), "cannot move range 1 from n1 to n2: its replicas are on n1, n2, n3"),
        (ClientMove(1, "n1", "n9"), "there is no node n9: the nodes are n1, n2, n3, n4, n5"),
        (ClientMove(77, "n1", "n4"), "no range 77 is known here"),
        (ClientTransfer(1, "n5"), "n5 cannot lead range 1: its replicas are on n1, n2, n3"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(move: Any, text: str) -> None:
    async def story() -> None:
        world = await five_nodes()
        with pytest.raises(Refused) as refused:
            await world.ask("n2", move)
        assert refused.value.error.reason == text
        await world.stop()

    run_virtually(story())


def test_leadership_goes_where_it_is_wanted() -> None:
    async def story() -> None:
        world = await five_nodes()
        for node in ("n3", "n2", "n2", "n1"):
            await world.ask("n4", ClientTransfer(1, node))
            assert world.leader(1) == node
        await ended(world)

    run_virtually(story())


def test_a_node_that_has_stopped_begins_no_look_at_a_move() -> None:
    """Its tasks are closed before they begin; the work of one had been made by then, and was never awaited."""
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)

    mover = Mover.__new__(Mover)
    mover._busy = set()
    mover._spawn = lambda coroutine: coroutine.close()  # type: ignore[method-assign,assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mover._look_after(1, work)
        gc.collect()
    assert begun == []
