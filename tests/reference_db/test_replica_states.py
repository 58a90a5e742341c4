"""What a node answers about its replicas: the same digest where the same was applied, another where bytes differ."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from reference_db.api import ClientPut, ReplicaState, ReplicaStates
from reference_db.storage import keys, range_digest
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.range_digest import digest_at_once
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


async def states(world: World, node: str, digests: bool = True) -> list[ReplicaState]:
    answer = await world.ask(node, ReplicaStates(digests))
    raw = msgspec.msgpack.decode(msgspec.msgpack.encode(answer))
    return msgspec.convert(raw, type=list[ReplicaState])


def test_replicas_that_applied_the_same_have_the_same_digest() -> None:
    async def story() -> None:
        world = World(seed=1, ranges=3)
        world.start_all()
        await world.wait_until_led()
        for number in range(20):
            await world.ask("n1", ClientPut(b"%dk" % (number % 9), b"%d" % number))
        await world.wait_for(world.is_quiet)
        first, *others = [await states(world, name) for name in world.names]
        assert [(one.range_id, one.start) for one in first] == [(1, b""), (2, b"c0"), (3, b"o0")]
        assert len({one.digest for one in first}) > 1
        for other in others:
            assert [(one.range_id, one.applied, one.digest) for one in other] == [
                (one.range_id, one.applied, one.digest) for one in first
            ]
        assert {(one.locks, one.records, one.replicas[0]) for one in first} == {
            (0, 0, "n1"),
            (0, 0, "n2"),
            (0, 0, "n3"),
        }
        assert [one.digest for one in await states(world, "n1", digests=False)] == [None, None, None]
        batch = WriteBatch()
        batch.put(next(world.engines["n2"].scan(*keys.span(keys.VERSION, b"", None)))[0], b"\x01other")
        world.engines["n2"].write(batch)
        assert [one.digest for one in await states(world, "n2")] != [one.digest for one in first]

    run_virtually(story())


def test_a_digest_that_takes_several_steps_is_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is written between all of its steps, so in the end it is taken in one go."""
    monkeypatch.setattr(range_digest, "PAIRS_A_STEP", 1)

    async def story() -> None:
        world = World(seed=2, nodes=1, ranges=1, replication=1)
        world.start_all()
        await world.wait_until_led()
        for number in range(50):
            await world.ask("n1", ClientPut(b"%d" % number, b"x"))
        asked = asyncio.create_task(states(world, "n1"))
        while not asked.done():
            await world.ask("n1", ClientPut(b"k", b"y"))
        (found,) = await asked
        assert found.digest is not None
        (again,) = await states(world, "n1")
        assert (again.applied == found.applied) == (again.digest == found.digest)

    run_virtually(story())


def test_no_two_contents_give_the_same_bytes() -> None:
    def digest(*pairs: tuple[bytes, bytes]) -> str:
        engine = MemoryEngine()
        batch = WriteBatch()
        for key, value in pairs:
            batch.put(keys.lock_key(key), value)
        engine.write(batch)
        return digest_at_once(engine, b"", None)

    given = [(), ((b"a", b"b"),), ((b"a", b""), (b"b", b"")), ((b"ab", b""),), ((b"a", b"bc"),)]
    assert len({digest(*pairs) for pairs in given}) == len(given)
    assert digest((b"a", b"1"), (b"b", b"2")) == digest((b"b", b"2"), (b"a", b"1"))
