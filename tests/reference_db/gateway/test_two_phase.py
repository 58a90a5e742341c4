"""The blocking problem of two-phase commit, and its absence in the other protocols: the same story told three times."""

from __future__ import annotations

import asyncio

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientPut,
    CommitTransaction,
    ResolveIntents,
    TransactionProtocol,
)
from reference_db.node import ClientConnection
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

RECORD, PRIMARY_LOCK, TWO_PHASE = TransactionProtocol
KEYS = (b"f", b"m")


async def ready() -> World:
    world = World()
    world.start_all()
    await world.wait_until_led()
    await asyncio.sleep(0.3)
    for key in KEYS:
        await world.ask("n1", ClientPut(key, b"old"))
    return world


async def write_both(world: World, node: str, protocol: TransactionProtocol) -> None:
    connection = ClientConnection()
    number = await world.ask(node, BeginTransaction(protocol=protocol), connection)
    for key in KEYS:
        await world.ask(node, ClientPut(key, b"new", number), connection)
    await world.ask(node, CommitTransaction(number), connection)


def locks(world: World) -> int:
    return max(
        sum(len(replica.state.locks) for replica in node.store.replicas.values())
        for node in world.nodes.values()
    )


async def story(protocol: TransactionProtocol) -> tuple[list[bytes | None], int]:
    """1. n1 drives a transaction over two ranges and answers its client. 2. It dies before any range has heard what was
    decided. 3. It comes back; much later, both keys are read. None stands for a read that ends without an answer."""
    world = await ready()
    router = world.nodes["n1"].router
    send_together = router.send_together

    async def tells_nobody(parts, *arguments, **options):  # type: ignore[no-untyped-def]
        if isinstance(parts[0][0], ResolveIntents):
            await asyncio.sleep(3600)
        return await send_together(parts, *arguments, **options)

    router.send_together = tells_nobody  # type: ignore[method-assign]
    await write_both(world, "n1", protocol)
    world.crash("n1")
    world.start("n1")
    await asyncio.sleep(30)
    values: list[bytes | None] = []
    for key in KEYS:
        try:
            values.append(await world.ask("n2", ClientGet(key)))
        except Refused:
            values.append(None)
    await asyncio.sleep(10)
    left = locks(world)
    await world.stop()
    return values, left


@pytest.mark.parametrize("protocol", [RECORD, PRIMARY_LOCK])
def test_a_dead_coordinators_commit_is_finished_by_others(protocol: TransactionProtocol) -> None:
    assert run_virtually(story(protocol)) == ([b"new", b"new"], 0)


def test_a_dead_coordinators_locks_stand_for_ever_in_two_phase_commit() -> None:
    """The client was told that it has committed, and nobody will ever see it."""
    assert run_virtually(story(TWO_PHASE)) == ([None, None], 2)


def test_a_coordinator_that_lives_tells_its_decision_until_all_have_heard() -> None:
    """The range of one key cannot be reached for ten seconds; then nothing is left."""

    async def delayed() -> tuple[int, int, bytes]:
        world = await ready()
        node = world.nodes["n1"]
        send_together = node.router.send_together

        async def cut_first(parts, *arguments, **options):  # type: ignore[no-untyped-def]
            if isinstance(parts[0][0], ResolveIntents) and not world.cut:
                world.isolate("n1")
            return await send_together(parts, *arguments, **options)

        node.router.send_together = cut_first  # type: ignore[method-assign]
        await write_both(world, "n1", TWO_PHASE)
        await asyncio.sleep(10)
        during = locks(world)
        node.router.send_together = send_together  # type: ignore[method-assign]
        world.heal()
        await asyncio.sleep(10)
        after = locks(world)
        value = await world.ask("n2", ClientGet(KEYS[1]))
        await world.stop()
        return during, after, value

    during, after, value = run_virtually(delayed())
    assert during > 0
    assert (after, value) == (0, b"new")


def test_two_phase_transactions_that_lock_in_opposite_orders_do_not_wait_for_each_other() -> None:
    """Whoever finds a lock votes no; of two at the same time at least one ends at once, and nothing is left."""

    async def both() -> tuple[int, int]:
        world = await ready()
        results = await asyncio.gather(
            *(write_both(world, node, TWO_PHASE) for node in ("n1", "n2")), return_exceptions=True
        )
        refused = [one for one in results if isinstance(one, BaseException)]
        assert all(isinstance(one, Refused) and one.definite for one in refused)
        await asyncio.sleep(2)
        left = locks(world)
        await world.stop()
        return len(refused), left

    refused, left = run_virtually(both())
    assert refused <= 2
    assert left == 0
