"""Leaders that were replaced and don't know it yet: what they may still answer to transactions, and what not."""

import asyncio

import pytest

from reference_db.api import BeginTransaction, ClientGet, ClientPut, CommitTransaction, TransactionStatus
from reference_db.node import ClientConnection, NodeOptions
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World


def touch_and_transfer(world: World, node: str, range_id: int, target: int) -> None:
    replica = world.nodes[node].store.replicas[range_id]
    replica.group.transfer_leadership(target)
    replica._touch(replica)


async def read_at_a_leader_that_was_replaced(seed: int) -> list[object]:
    """1. A transaction writes k (range 1, led by n1) and m (range 3) and is acknowledged; the frame that makes k final
    at n1 is lost. 2. A reader begins at n1, meets the intent and pushes; the push is held up. 3. n1 is cut off from the
    other replicas of range 1. They elect another leader, where k is made final and the record forgotten; then range 3
    changes its leader too, so nobody remembers the writer. n1 still believes that it leads. 4. The push is answered.

    What the reader sees of k and m; "refused" if it gets no answer."""
    world = World(
        seed=seed, nodes=5, ranges=5, options=NodeOptions(settled_ticks=1_000_000, quiescence="off")
    )
    world.start_all()
    await world.wait_until_led()
    reader_node = world.nodes["n1"]
    at_n1 = reader_node.store.replicas[1]
    third = next(one for one in reader_node.directory.all() if one.id == 3)
    k, m = b"1k", third.start + b"m"
    await world.ask("n2", ClientPut(k, b"old"))
    await world.ask("n2", ClientPut(m, b"old"))
    touch_and_transfer(world, "n3", 3, 4)
    await world.wait_for(lambda: world.leader(3) == "n4")
    await world.ask("n2", ClientGet(m))
    await world.ask("n1", ClientGet(m))

    writer = ClientConnection()
    number = await world.ask("n2", BeginTransaction(), writer)
    await world.ask("n2", ClientPut(m, b"new", number), writer)
    await world.ask("n2", ClientPut(k, b"new", number), writer)
    # n1 has just checked its quorum: it will believe in itself for nearly two election timeouts.
    await world.wait_for(lambda: at_n1.group.core.election_elapsed == 0, step_s=0.0005)
    commit = asyncio.ensure_future(world.ask("n2", CommitTransaction(number), writer))
    records = world.nodes["n4"].store.replicas[3].state.records
    await world.wait_for(
        lambda: any(one.status == TransactionStatus.COMMITTED for one in records.values()), step_s=0.00005
    )
    world.cut |= {("n2", "n1"), ("n1", "n4"), ("n4", "n1")}
    await commit
    assert len(at_n1.state.locks) == 1
    await asyncio.sleep(0.01)
    world.cut.discard(("n2", "n1"))

    reader = ClientConnection()
    number = await world.ask("n1", BeginTransaction(), reader)
    reading = asyncio.ensure_future(world.ask("n1", ClientGet(k, number), reader, timeout_s=10))
    await asyncio.sleep(0)
    transaction = reader.transactions[number]
    await world.wait_for(
        lambda: (
            transaction.read_timestamp is not None and at_n1._confirmed_clock >= transaction.read_timestamp
        ),
        step_s=0.00005,
    )
    for other in ("n2", "n3"):
        world.cut |= {("n1", other), (other, "n1")}
    world.nodes["n2"].store.replicas[1].group.set_randomized_timeout(10)
    others = [world.nodes[name].store.replicas[1] for name in ("n2", "n3")]
    await world.wait_for(lambda: any(one.leadership is not None for one in others))
    world.nodes["n2"].link_lost("n1")
    world.nodes["n2"].directory.learn_leader(1, world.leader(1) or "")
    await world.wait_for(lambda: not records)
    touch_and_transfer(world, "n4", 3, 5)
    await world.wait_for(lambda: world.leader(3) == "n5")
    assert at_n1.group.is_leader, "n1 must not know yet, or the story proves nothing"
    assert at_n1.state.locks
    reader_node.directory.learn_leader(3, "n5")
    reader_node.link_lost("n4")
    seen: list[object] = []
    for key, asking in ((k, reading), (m, None)):
        try:
            seen.append(await (asking or world.ask("n1", ClientGet(key, number), reader, timeout_s=10)))
        except Refused:
            seen.append("refused")
    world.heal()
    number = await world.ask("n1", BeginTransaction(), reader)
    assert [await world.ask("n1", ClientGet(key, number), reader) for key in (k, m)] == [b"new", b"new"]
    await world.stop()
    return seen


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_a_replaced_leader_does_not_pass_an_intent_that_is_committed_elsewhere(seed: int) -> None:
    seen = run_virtually(read_at_a_leader_that_was_replaced(seed))
    assert all(value in (b"new", "refused") for value in seen), seen
