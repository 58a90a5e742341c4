"""What a coordinator says of a commit whose answer was lost."""

import asyncio

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientPut,
    CommitTransaction,
    DeleteRecord,
    EndTransaction,
    Overloaded,
    RangeReply,
    RangeRequest,
    TransactionStatus,
)
from reference_db.gateway.protocols.deciding import DELETE_RECORDS_S
from reference_db.node import ClientConnection
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, World


def test_a_commit_that_others_finished_and_forgot_is_not_called_failed() -> None:
    """1. The anchor commits, its answer is lost. 2. Others make the intents final and forget the record. 3. The
    coordinator asks again, is refused as overloaded, and wants to give up: first it asks for the abort."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        world = World()
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(0.3)
        assert world.leader(3) == "n3"
        node = world.nodes["n1"]
        records = world.nodes["n3"].store.replicas[3].state.records
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        await world.ask("n1", ClientPut(b"m", b"new", number), connection)
        await world.ask("n1", ClientPut(b"f", b"new", number), connection)
        commit = asyncio.ensure_future(world.ask("n1", CommitTransaction(number), connection, timeout_s=30))
        await world.wait_for(lambda: bool(records), step_s=0.00002)
        world.cut.add(("n3", "n1"))
        await world.wait_for(
            lambda: any(one.status == TransactionStatus.COMMITTED for one in records.values()), step_s=0.00005
        )
        await world.wait_for(lambda: not records, 60, "somebody forgets the record")
        world.cut.clear()
        send = node.router._send_remote
        refused = []

        def refuse_one_commit(target: str, request: RangeRequest) -> bool:
            if refused or not any(
                isinstance(one, EndTransaction) and one.commit for one in request.operations
            ):
                return send(target, request)
            refused.append(request)
            full = RangeReply(request.request_id, error=Overloaded("too many requests are under way"))
            loop.call_soon(node.router.receive, full)
            return True

        node.router._send_remote = refuse_one_commit
        with pytest.raises(Refused) as failure:
            await commit
        assert refused
        assert not failure.value.definite
        assert [await world.ask("n2", ClientGet(key)) for key in (b"m", b"f")] == [b"new", b"new"]
        await world.stop()

    run_virtually(story())


def test_records_that_an_overloaded_node_would_not_forget_are_forgotten_a_second_later() -> None:
    """All that ended within a second is forgotten by one request; refused, it comes again, long before any sweep."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        world = World()
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(0.3)
        node = world.nodes["n1"]
        records = world.nodes[world.leader(3)].store.replicas[3].state.records
        send = node.router._send_remote
        asked: list[RangeRequest] = []

        def refuse_the_first(target: str, request: RangeRequest) -> bool:
            if not any(isinstance(one, DeleteRecord) for one in request.operations):
                return send(target, request)
            asked.append(request)
            if len(asked) > 1:
                return send(target, request)
            full = RangeReply(request.request_id, error=Overloaded("too many requests are under way"))
            loop.call_soon(node.router.receive, full)
            return True

        node.router._send_remote = refuse_the_first
        connection = ClientConnection()
        for value in (b"1", b"2", b"3"):
            number = await world.ask("n1", BeginTransaction(), connection)
            await world.ask("n1", ClientPut(b"m", value, number), connection)
            await world.ask("n1", ClientPut(b"f", value, number), connection)
            await world.ask("n1", CommitTransaction(number), connection, timeout_s=30)
        begin = loop.time()
        await world.wait_for(lambda: not records, 60, "the records are forgotten")
        assert [len(request.operations) for request in asked] == [3, 3]
        assert loop.time() - begin < 2.5 * DELETE_RECORDS_S
        await world.stop()

    run_virtually(story())
