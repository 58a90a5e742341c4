"""Writes of sessions happen once, however often they are sent: across restarts, splits, merges and snapshots, within
bounds that are the same on all replicas."""

import asyncio
from typing import Any

import pytest

from reference_db.api import (
    Ambiguous,
    BadRequest,
    ClientAdd,
    ClientCompareAndSet,
    ClientGet,
    ClientGetMany,
    ClientMerge,
    ClientOperation,
    ClientPut,
    ClientReply,
    ClientRequest,
    ClientSplit,
    OpenSession,
    SessionExpired,
    SessionWrite,
)
from reference_db.client import decode_value
from reference_db.node import ClientConnection, NodeOptions
from reference_db.timestamp import Timestamp
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World

KEY, OTHER = b"k", b"z"


class Session:
    """A client that decides itself what it sends again, and through whom."""

    def __init__(self, world: World, opened: list[Any]) -> None:
        self._world = world
        self.id: bytes = opened[0]
        self.since = Timestamp(opened[1], opened[2])
        self.sequence = 0

    @classmethod
    async def open(cls, world: World, node: str = "n1") -> "Session":
        return cls(world, await world.ask(node, OpenSession()))

    async def write(
        self, node: str, operation: ClientOperation, *, sequence: int, retry: bool = False
    ) -> Any:
        """One attempt. Raises Refused."""
        write = SessionWrite(self.id, sequence, self.since, retry)
        future: asyncio.Future[ClientReply] = asyncio.get_running_loop().create_future()
        request = ClientRequest(1, operation, 4000, False, write)
        self._world.nodes[node].handle(request, ClientConnection(), future.set_result)
        reply = await future
        if reply.error is not None:
            raise Refused(reply.error)
        return reply.value


async def number(world: World, key: bytes = KEY, node: str = "n1") -> int:
    return int(decode_value(await world.ask(node, ClientGet(key))))


def remembered(world: World) -> dict[str, list[tuple[int, int, Timestamp]]]:
    """By node: of each range, how many replies it remembers and up to where it has forgotten them."""
    return {
        name: [
            (range_id, 0 if one.state.sessions is None else len(one.state.sessions),
             Timestamp(0) if one.state.sessions is None else one.state.sessions.horizon)
            for range_id, one in sorted(node.store.replicas.items())
        ]
        for name, node in world.nodes.items()
    }  # fmt: skip


def test_a_retry_is_answered_as_the_first_time_by_whomever_it_reaches() -> None:
    async def story() -> None:
        world = World(seed=1, ranges=1)
        world.start_all()
        await world.wait_until_led()
        session = await Session.open(world)
        assert await session.write("n1", ClientAdd(KEY, 5), sequence=1) == 5
        assert await session.write("n2", ClientAdd(KEY, 5), sequence=1, retry=True) == 5
        assert await session.write("n3", ClientAdd(KEY, 5), sequence=2) == 10
        # A copy that was under way for long: nobody waits for it, and it does nothing.
        with pytest.raises(Refused) as refused:
            await session.write("n1", ClientAdd(KEY, 5), sequence=1, retry=True)
        assert isinstance(refused.value.error, Ambiguous)
        # Another session's writes of the same numbers are other writes.
        assert await (await Session.open(world, "n2")).write("n1", ClientAdd(KEY, 1), sequence=1) == 11
        # A comparison that was true once is answered as it was, though it is false by now.
        swap = ClientCompareAndSet(OTHER, None, b"\x01")
        assert await session.write("n1", swap, sequence=3) == [True, None]
        assert await session.write("n1", swap, sequence=3, retry=True) == [True, None]
        assert await number(world) == 11
        await world.stop()

    run_virtually(story())


def test_replies_outlive_a_split_a_merge_and_a_restart_of_every_node() -> None:
    """After each of these, writes from before it are sent again: to the left half, the right half, and the whole."""

    async def story() -> None:
        world = World(seed=2, ranges=1)
        world.start_all()
        await world.wait_until_led()
        session = await Session.open(world)
        keys = (KEY, OTHER)
        for sequence, key in enumerate(keys, 1):
            assert await session.write("n1", ClientAdd(key, 1), sequence=sequence) == 1

        async def nothing_happens_twice() -> None:
            await world.wait_until_led()
            for sequence, key in enumerate(keys, 1):
                assert await session.write("n2", ClientAdd(key, 1), sequence=sequence, retry=True) == 1

        await world.ask("n1", ClientSplit(b"m"))
        await nothing_happens_twice()
        for name in world.names:
            world.crash(name)
        world.start_all()
        await nothing_happens_twice()
        await world.ask("n1", ClientMerge(b"a"))
        await nothing_happens_twice()
        for name in world.names:
            world.crash(name)
        world.start_all()
        await nothing_happens_twice()
        await world.wait_for(lambda: all(one[0][1] == 2 for one in remembered(world).values()))
        await world.stop()

    run_virtually(story())


def test_a_snapshot_carries_replies() -> None:
    """n3 misses the write, gets a snapshot, and is then the only one of the three that has not crashed since."""

    async def story() -> None:
        world = World(seed=3, ranges=1, options=NodeOptions(log_entries_kept=10, log_bytes_most=1000))
        world.start_all()
        await world.wait_until_led()
        world.crash("n3")
        session = await Session.open(world)
        assert await session.write("n1", ClientAdd(KEY, 1), sequence=1) == 1
        for value in range(30):
            await world.ask("n1", ClientPut(OTHER, b"%d" % value * 50))
        world.start("n3")
        await world.wait_for(lambda: sum(one.store.counters.snapshots for one in world.nodes.values()) > 0)
        await world.wait_for(lambda: remembered(world)["n3"][0][1] == 1)
        world.crash("n1")
        await world.wait_until_led()
        assert await session.write("n3", ClientAdd(KEY, 1), sequence=1, retry=True) == 1
        await world.stop()

    run_virtually(story())


def test_what_is_remembered_is_bounded_and_what_may_be_forgotten_is_refused() -> None:
    """A range that remembers three replies: an old session is told so when it writes for the first time, is not told
    that its retry did not happen, and the right half of a split knows as much as the whole did."""

    async def story() -> None:
        world = World(seed=4, ranges=1, options=NodeOptions(session_replies_most=3))
        world.start_all()
        await world.wait_until_led()
        old = await Session.open(world)
        assert await old.write("n1", ClientAdd(KEY, 1), sequence=1) == 1
        for other in range(5):
            new = await Session.open(world)
            await new.write("n1", ClientAdd(b"x%d" % other, 1), sequence=1)
        await world.wait_for(lambda: len({str(one) for one in remembered(world).values()}) == 1)
        (_, count, horizon), *_ = remembered(world)["n1"]
        assert count == 3
        assert horizon > old.since
        await world.ask("n1", ClientSplit(b"m"))
        await world.wait_until_led()
        for key in (KEY, OTHER):
            with pytest.raises(Refused) as refused:
                await old.write("n1", ClientAdd(key, 1), sequence=2)
            assert isinstance(refused.value.error, SessionExpired)
            with pytest.raises(Refused) as refused:
                await old.write("n1", ClientAdd(key, 1), sequence=1, retry=True)
            assert isinstance(refused.value.error, Ambiguous)
        fresh = await Session.open(world)
        assert await fresh.write("n1", ClientAdd(KEY, 1), sequence=1) == 2
        assert await fresh.write("n1", ClientAdd(OTHER, 1), sequence=2) == 1
        await world.stop()

    run_virtually(story())


def test_only_single_writes_belong_to_sessions_and_only_numbers_can_be_added_to() -> None:
    async def story() -> None:
        world = World(seed=5, ranges=1)
        world.start_all()
        await world.wait_until_led()
        session = await Session.open(world)
        await world.ask("n1", ClientPut(KEY, b"\xa4text"))
        for operation in (ClientAdd(KEY, 1), ClientGetMany((KEY,)), ClientAdd(OTHER, 1 << 63)):
            with pytest.raises(Refused) as refused:
                await session.write("n1", operation, sequence=1)
            assert isinstance(refused.value.error, BadRequest)
        await world.stop()

    run_virtually(story())
