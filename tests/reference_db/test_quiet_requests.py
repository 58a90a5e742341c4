"""What a node merely notes is not answered, and a transaction that wrote nothing asks nobody whether it may end."""

import asyncio

import pytest

from reference_db.api import BeginTransaction, ClientPut, ClientReply, ClientRequest, RollbackTransaction
from reference_db.node import ClientConnection
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


@pytest.mark.parametrize("quiet", [True, False])
def test_only_a_refusal_of_what_is_noted_is_answered(quiet: bool) -> None:
    async def story() -> None:
        world = World()
        world.start_all()
        await world.wait_until_led()
        node, connection = world.nodes["n1"], ClientConnection()
        replies: list[ClientReply] = []
        for number, operation in enumerate(
            (BeginTransaction(), ClientPut(b"k", b"v", 1), ClientPut(b"k", b"v", 7), RollbackTransaction(1)),
            1,
        ):
            request = ClientRequest(number, operation, quiet=quiet)
            node.handle(request, connection, replies.append)
        await asyncio.sleep(0.1)
        refused = [reply.request_id for reply in replies if reply.error is not None]
        assert refused == [3], "there is no transaction 7"
        assert len(replies) == (1 if quiet else 4)
        assert node.status()["counters"]["open_client_requests"] == 0
        assert not connection.transactions
        await world.stop()

    run_virtually(story())
