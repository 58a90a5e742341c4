"""What is too large is refused before it can do harm, and what was sent by halves is not called unsent."""

import asyncio
from functools import partial
from typing import Any

import pytest

from reference_db import node as node_module
from reference_db.api import (
    MAX_WRITE_BYTES,
    Ambiguous,
    BadRequest,
    BeginTransaction,
    ClientCompareAndSet,
    ClientGet,
    ClientOperation,
    ClientPut,
    ClientScan,
    CommitTransaction,
    Overloaded,
    TransactionAborted,
)
from reference_db.codec import encode_peer_frames
from reference_db.node import ClientConnection, NodeOptions
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World


async def refusal(
    world: World, name: str, operation: ClientOperation, connection: ClientConnection | None = None
) -> Any:
    with pytest.raises(Refused) as refused:
        await world.ask(name, operation, connection)
    return refused.value.error


def test_a_value_that_no_frame_could_carry_is_refused_and_the_range_goes_on() -> None:
    async def story() -> None:
        world = World(ranges=1)
        world.start_all()
        await world.wait_until_led()
        big = b"x" * MAX_WRITE_BYTES
        for name in world.names:
            assert isinstance(await refusal(world, name, ClientPut(b"k", big)), BadRequest)
            assert isinstance(await refusal(world, name, ClientCompareAndSet(b"k", None, big)), BadRequest)
        largest = big[1:]
        await world.ask("n2", ClientPut(b"k", largest))
        assert await world.ask("n3", ClientGet(b"k")) == largest
        await world.ask("n1", ClientPut(b"k", b"small"))
        await world.wait_for(world.is_quiet, what="all have applied it")
        await world.stop()

    run_virtually(story())


def test_a_transaction_whose_writes_are_too_large_cannot_commit_without_them() -> None:
    async def story() -> None:
        world = World()
        world.start_all()
        await world.wait_until_led()
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        half = b"x" * (MAX_WRITE_BYTES // 2)
        for _ in range(3):
            await world.ask("n1", ClientPut(b"a", half, number), connection)  # The last one counts.
        assert isinstance(await refusal(world, "n1", ClientPut(b"z", half, number), connection), BadRequest)
        error = await refusal(world, "n1", CommitTransaction(number), connection)
        assert isinstance(error, TransactionAborted)
        assert await world.ask("n2", ClientGet(b"a")) is None
        await world.stop()

    run_virtually(story())


def test_a_transaction_of_which_a_write_was_refused_cannot_commit_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        world = World()
        world.start_all()
        await world.wait_until_led()
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        await world.ask("n1", ClientPut(b"a", b"1", number), connection)
        with monkeypatch.context() as busy:
            busy.setattr(node_module, "CLIENT_REQUESTS_MOST", 0)
            assert isinstance(
                await refusal(world, "n1", ClientPut(b"z", b"1", number), connection), Overloaded
            )
        error = await refusal(world, "n1", CommitTransaction(number, writes=2), connection)
        assert isinstance(error, TransactionAborted)
        assert await world.ask("n2", ClientGet(b"a")) is None
        await world.stop()

    run_virtually(story())


def test_requests_of_a_turn_some_of_whose_frames_left_are_not_called_unsent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_module, "encode_peer_frames", partial(encode_peer_frames, max_bytes=3000))

    async def story() -> None:
        world = World(ranges=1)
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(0.3)
        carry = world.carry
        tried = []

        def carry_only_the_first(source: str, target: str, frame: bytes) -> bool:
            if source == "n2" and len(frame) > 2000:
                tried.append(frame)
                if len(tried) > 1:
                    return False
            return carry(source, target, frame)

        world.carry = carry_only_the_first  # type: ignore[method-assign]
        outcomes = await asyncio.gather(
            *(world.ask("n2", ClientPut(key, key * 2500)) for key in (b"1", b"2")), return_exceptions=True
        )
        assert len(tried) == 2
        world.carry = carry  # type: ignore[method-assign]
        await asyncio.sleep(0.5)
        stored = [await world.ask("n1", ClientGet(key)) for key in (b"1", b"2")]
        assert stored == [b"1" * 2500, None], "one frame left, the other did not"
        assert isinstance(outcomes[0], Refused)
        assert not outcomes[0].definite
        await world.stop()

    run_virtually(story())


def test_an_answer_that_fits_no_frame_is_an_error_and_not_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "encode_peer_frames", partial(encode_peer_frames, max_bytes=3000))

    async def story() -> None:
        world = World(ranges=1)
        world.start_all()
        await world.wait_until_led()
        for number in range(5):
            await world.ask("n1", ClientPut(b"%d" % number, b"x" * 1000))
        error = await refusal(world, "n2", ClientScan(b"", None))
        assert isinstance(error, BadRequest)
        assert len(await world.ask("n2", ClientScan(b"", None, 2))) == 2
        await world.stop()

    run_virtually(story())


def test_what_an_idle_node_is_asked_beside_a_busy_one_is_not_too_old_to_answer() -> None:
    """A hybrid clock stands still while nothing happens: a frame's age cannot be told from it."""

    async def story() -> None:
        world = World(ranges=1)
        world.start_all()
        await world.wait_until_led()
        await world.ask("n2", ClientPut(b"0", b"first"))
        await asyncio.sleep(30)
        here = asyncio.create_task(world.ask("n1", ClientPut(b"0", b"here")))
        await asyncio.sleep(0.00001)
        begin = asyncio.get_running_loop().time()
        await world.ask("n2", ClientPut(b"0", b"there"))
        assert asyncio.get_running_loop().time() - begin < 0.5
        await here
        await world.stop()

    run_virtually(story())


def test_writes_cut_off_in_one_term_are_answered_though_the_same_node_leads_again() -> None:
    async def story() -> None:
        world = World(ranges=1, options=NodeOptions(settled_ticks=1_000_000))
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(0.5)
        replica = world.nodes["n1"].store.replicas[1]
        for _ in range(3):
            world.isolate("n1")
            cut_off = [
                asyncio.create_task(world.ask("n1", ClientPut(b"a%d" % number, b"v"), timeout_s=1.0))
                for number in range(40)
            ]
            await world.wait_for(lambda: world.leader(1) in ("n2", "n3") and not replica.group.is_leader)
            outcomes = await asyncio.gather(*cut_off, return_exceptions=True)
            assert all(isinstance(one, Refused) and isinstance(one.error, Ambiguous) for one in outcomes)
            world.heal()
            await asyncio.sleep(1.0)
            leader = world.nodes[world.leader(1) or ""].store.replicas[1]
            leader.group.transfer_leadership(1)
            leader._touch(leader)
            await world.wait_for(lambda: world.leader(1) == "n1")
            await asyncio.gather(*(world.ask("n1", ClientPut(b"b%d" % number, b"v")) for number in range(40)))
            await world.wait_for(world.is_quiet)
            assert replica.open_requests == 0
            assert not replica._proposed
        assert await world.ask("n2", ClientGet(b"a0")) is None
        await world.stop()

    run_virtually(story())
