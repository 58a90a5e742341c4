"""What must differ between two lives of a node though its seed does not: everything that is named at random."""

import asyncio

import pytest

from reference_db.api import BeginTransaction, ClientGet, ClientPut, CommitTransaction, TransactionStatus
from reference_db.node import ClientConnection, NodeOptions
from tests.reference_db.test_stress import run_stress
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


async def first_transaction(world: World, name: str) -> bytes:
    connection = ClientConnection()
    number = await world.ask(name, BeginTransaction(), connection)
    return connection.transactions[number].id


def test_no_two_lives_and_no_two_nodes_give_the_same_transaction_ids() -> None:
    async def story() -> None:
        world = World(seed=5)
        world.start_all()
        await world.wait_until_led()
        seen = [await first_transaction(world, name) for name in world.names]
        for _ in range(3):
            for name in world.names:
                world.crash(name)
            world.start_all()
            await world.wait_until_led()
            seen += [await first_transaction(world, name) for name in world.names]
        assert len(set(seen)) == len(seen) == 12
        await world.stop()

    run_virtually(story())


def test_questions_of_an_earlier_life_fit_no_question_of_this_one() -> None:
    async def story() -> None:
        world = World(seed=5)
        world.start_all()
        await world.wait_until_led()

        def incarnations() -> list[int]:
            return [
                replica.group.core.reads._incarnation
                for name in world.names
                for replica in world.nodes[name].store.replicas.values()
            ]

        seen = incarnations()
        world.crash("n2")
        world.start("n2")
        assert len(set(seen)) == 12
        assert len(set(seen + incarnations())) == 12 + 4
        await world.stop()

    run_virtually(story())


def test_the_first_transaction_after_a_restart_does_not_take_over_the_intents_of_an_earlier_life() -> None:
    """A transaction is acknowledged, its coordinator dies before the intents in the other range are made final. After
    the restart the first transaction of the same node must see what was acknowledged: intents of one's own are read
    over."""

    async def story() -> None:
        world = World(seed=0, ranges=4, options=NodeOptions(settled_ticks=1_000_000))
        world.start_all()
        await world.wait_until_led()
        await world.ask("n2", ClientPut(b"f", b"old"))
        await world.ask("n2", ClientPut(b"m", b"old"))
        holder = world.leader(2)
        assert holder is not None
        assert holder != "n1"
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        await world.ask("n1", ClientPut(b"m", b"new", number), connection)
        await world.ask("n1", ClientPut(b"f", b"new", number), connection)
        anchor = world.nodes[world.leader(3) or ""].store.replicas[3].state
        commit = asyncio.ensure_future(world.ask("n1", CommitTransaction(number), connection))
        await world.wait_for(
            lambda: any(one.status == TransactionStatus.COMMITTED for one in anchor.records.values()),
            step_s=0.00002,
        )
        world.cut.add(("n1", holder))
        await commit
        world.crash("n1")
        world.cut.clear()
        assert len(world.nodes[holder].store.replicas[2].state.locks) == 1
        world.start("n1")
        await world.wait_until_led()
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        assert [await world.ask("n1", ClientGet(key, number), connection) for key in (b"f", b"m")] == [
            b"new",
            b"new",
        ]
        await world.stop()

    run_virtually(story())


@pytest.mark.slow
def test_money_is_kept_over_many_restarts() -> None:
    for seed in range(100, 103):
        _, record = run_virtually(run_stress(seed, seconds=12.0, faults=("crash",), clients=9))
        assert record.anomalies == []


def test_a_seed_still_decides_everything() -> None:
    async def story(seed: int) -> bytes:
        world = World(seed=seed)
        world.start_all()
        await world.wait_until_led()
        found = await first_transaction(world, "n1")
        await world.stop()
        return found

    assert run_virtually(story(1)) == run_virtually(story(1)) != run_virtually(story(2))
