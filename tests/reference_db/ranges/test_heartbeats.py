"""What heartbeats cost: exact counts, with one envelope a pair of nodes for all ranges, and with one for each range."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from reference_db.node import NodeOptions
from reference_db.raft import Message, MessageKind, beats
from reference_db.raft.reads import context_of
from reference_db.ranges.heartbeats import HeartbeatOutbox, Heartbeats
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

INTERVALS = 10
INTERVAL_S = 0.2
AWAKE = NodeOptions(quiescence="off")


def counted(world: World) -> Counter[str]:
    total: Counter[str] = Counter()
    for node in world.nodes.values():
        total.update(node.status()["counters"])
    return total


async def counts_at_rest(world: World) -> Counter[str]:
    """What happens in ten heartbeat intervals of a cluster that nobody uses."""
    world.start_all()
    await world.wait_until_led()
    # Between two ticks.
    await asyncio.sleep(3.05 - asyncio.get_running_loop().time())
    before = counted(world)
    await asyncio.sleep(INTERVALS * INTERVAL_S)
    after = counted(world)
    after.subtract(before)
    await world.stop()
    return after


@pytest.mark.parametrize("ranges", [6, 12, 60])
def test_together_the_envelopes_do_not_depend_on_the_number_of_ranges(ranges: int) -> None:
    counts = run_virtually(counts_at_rest(World(ranges=ranges, options=AWAKE)))
    assert counts["heartbeat_envelopes"] == INTERVALS * 3 * 2
    assert counts["answer_envelopes"] == INTERVALS * 3 * 2
    assert counts["heartbeats"] == INTERVALS * ranges * 2
    assert counts["heartbeat_answers"] == INTERVALS * ranges * 2
    assert counts["raft_messages"] == 0
    # A heartbeat is noted and answered; no range needs a turn for it.
    assert counts["turns"] <= INTERVALS


@pytest.mark.parametrize("ranges", [6, 12])
def test_apart_there_is_an_envelope_for_each_range_and_follower(ranges: int) -> None:
    options = NodeOptions(coalescing="off", quiescence="off")
    counts = run_virtually(counts_at_rest(World(ranges=ranges, options=options)))
    assert counts["heartbeat_envelopes"] == counts["heartbeats"] == INTERVALS * ranges * 2
    assert counts["answer_envelopes"] == counts["heartbeat_answers"] == INTERVALS * ranges * 2


def test_with_five_nodes_there_are_at_most_twenty_envelopes_an_interval() -> None:
    counts = run_virtually(counts_at_rest(World(ranges=40, nodes=5, options=AWAKE)))
    assert counts["heartbeat_envelopes"] <= INTERVALS * 5 * 4
    assert counts["heartbeats"] == INTERVALS * 40 * 2


def test_a_follower_learns_of_commits_and_a_leader_of_lag_from_an_envelope() -> None:
    """One follower is cut off for a write, and back before anybody campaigns: heartbeats alone tell it, and show the
    leader that something is missing there."""

    async def story() -> None:
        world = World(ranges=1)
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(1.0)
        world.isolate("n3")
        leader = world.nodes["n1"].store.replicas[1]
        leader.group.propose(b"")
        world.nodes["n1"].store._touch(leader)
        await asyncio.sleep(0.3)
        behind = world.nodes["n3"].store.replicas[1]
        assert behind.applied_index < leader.applied_index
        world.heal()
        await asyncio.sleep(0.5)
        assert behind.applied_index == leader.applied_index
        await world.stop()

    run_virtually(story())


def test_what_is_no_mere_note_goes_the_long_way() -> None:
    """A heartbeat of a newer term, as the first thing a node hears of a range: it follows, durably, then answers."""

    async def story() -> None:
        world = World(ranges=1)
        world.start_all()
        store = world.nodes["n2"].store
        store.receive_heartbeats(3, Heartbeats(beats=(1, 7, 0, 4, 99, 1, 0, 0)))
        await asyncio.sleep(0.01)
        assert store.replicas[1].group.term == 7
        assert store.replicas[1].log.hard_state.term == 7
        assert store.replicas[1].leader == "n3"
        assert not store.replicas[99].descriptor.is_known, "of 99 nothing but its leader is known"
        assert store.counters.heartbeat_answers == 2
        await world.stop()

    run_virtually(story())


def test_an_outbox_gives_everything_once() -> None:
    outbox = HeartbeatOutbox()
    assert not outbox
    outbox.beat("n2", 1, 5, 9, 0)
    outbox.beat("n2", 4, 6, 2, 3)
    outbox.answer("n3", 2, 8, 0)
    assert outbox.nodes() == {"n2", "n3"}
    assert outbox.take("n2") == Heartbeats(beats=(1, 5, 9, 0, 4, 6, 2, 3))
    assert outbox.take("n2") is None
    assert outbox.take("n3") == Heartbeats(answers=(2, 8, 0))
    assert not outbox


@pytest.mark.parametrize("row", [(1, 5, 9, 0), (1, 5, 9, 7)])
def test_the_message_that_a_short_heartbeat_stands_for(row: Sequence[int]) -> None:
    _, term, commit, number = row
    message = beats.heartbeat(2, 3, term, commit, number)
    assert message == Message(
        MessageKind.HEARTBEAT, 3, 2, term, commit=commit, context=context_of(term, number)
    )
    assert beats.answer(3, 2, term, number).context == message.context
