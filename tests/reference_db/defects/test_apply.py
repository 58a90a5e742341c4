"""Applying that depends on the replica, or is done twice; and the same stories with the clean database."""

import asyncio

import msgspec

from reference_db.api import ClientGet, ClientPut
from reference_db.defects import applied_index_behind, nondeterministic_apply
from tests.reference_db.defects.elections import hurry
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


def value_on(world: World, name: str, key: bytes) -> bytes | None:
    """What a node's replica holds, whoever leads."""
    version = world.nodes[name].store.replicas[1].state.mvcc.newest(key)
    return None if version is None else version.value


async def catch_up_late(world: World) -> dict[str, bytes | None]:
    """1. n3 is cut off while a value is written. 2. Two seconds later it gets it."""
    world.start_all()
    await world.wait_until_led()
    assert world.leader(1) == "n1"
    world.isolate("n3")
    await world.ask("n1", ClientPut(b"0", b"v"))
    await asyncio.sleep(2.0)
    world.heal()
    await world.wait_for(world.is_quiet, what="n3 to catch up")
    values = {name: value_on(world, name, b"0") for name in world.names}
    await world.stop()
    return values


def test_a_replica_that_applies_late_has_another_state() -> None:
    async def story() -> dict[str, bytes | None]:
        return await catch_up_late(World(ranges=1, plant=nondeterministic_apply.plant))

    assert run_virtually(story()) == {"n1": b"v", "n2": b"v", "n3": None}


def test_a_clean_replica_has_the_same_state_however_late_it_applies() -> None:
    async def story() -> dict[str, bytes | None]:
        return await catch_up_late(World(ranges=1))

    assert set(run_virtually(story()).values()) == {b"v"}


async def count_and_restart(world: World) -> int:
    """1. A counter goes up to 13. 2. The followers are killed, and start again; nothing is lost. 3. One of them leads.
    Returns what it reads."""
    world.start_all()
    await world.wait_until_led()
    for number in range(1, 14):
        await world.ask("n1", ClientPut(b"0", msgspec.msgpack.encode(number)))
    await asyncio.sleep(0.5)
    for name in ("n2", "n3"):
        world.engines[name].sync()
        world.crash(name)
        world.start(name)
    await world.wait_for(world.is_quiet, what="the followers to catch up")
    world.crash("n1")
    hurry(world, "n2")
    await world.wait_for(lambda: world.leader(1) == "n2", what="n2 to lead")
    value = msgspec.msgpack.decode(await world.ask("n2", ClientGet(b"0")), type=int)
    await world.stop()
    return value


def test_what_is_added_twice_makes_the_counter_too_high() -> None:
    async def story() -> int:
        return await count_and_restart(World(ranges=1, plant=applied_index_behind.plant))

    assert run_virtually(story()) > 13


def test_a_clean_counter_is_right_after_a_restart() -> None:
    async def story() -> int:
        return await count_and_restart(World(ranges=1))

    assert run_virtually(story()) == 13
