"""`Client.transact`: what is tried again, what is not, and that a token makes the difference."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reference_db import client as client_module
from reference_db.api import (
    Ambiguous,
    BadRequest,
    BeginTransaction,
    ClientGetMany,
    ClientPut,
    ClientReply,
    ClientRequest,
    CommitTransaction,
    Overloaded,
    TransactionAborted,
    TransactionRetry,
)
from reference_db.client import (
    AbortedError,
    AmbiguousError,
    Client,
    ClientError,
    ConflictError,
    RetryError,
    Transaction,
)
from reference_db.node import ClientConnection
from reference_db.timestamp import Timestamp
from tests.reference_db.test_client import reply, with_server
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

CONFLICT = TransactionRetry("changed", Timestamp(7, 0))
LOST = Ambiguous("nobody answered")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RETRY_FIRST_S", 0.0)


def transacted(answers: list[Any], token: str = "") -> tuple[Any, list[Timestamp]]:
    """What `transact` comes to where commits are answered so, one after the other; the priorities of its attempts."""
    began: list[Timestamp] = []
    attempts: list[int] = []

    def answer(request: ClientRequest, writer: asyncio.StreamWriter) -> None:
        match request.operation:
            case BeginTransaction(priority=priority):
                began.append(priority)
            case CommitTransaction(token=sent):
                assert sent == token.encode()
                found = answers.pop(0)
                if found is None or found is True:
                    reply(writer, ClientReply(request.request_id, found))
                else:
                    reply(writer, ClientReply(request.request_id, error=found))

    outcome: list[Any] = []

    async def work(transaction: Transaction) -> int:
        attempts.append(1)
        await transaction.put("k", len(attempts))
        return len(attempts)

    async def story(client: Client) -> None:
        try:
            outcome.append(await client.transact(work, token=token, attempts_most=4))
        except ClientError as error:
            outcome.append(error)

    asyncio.run(with_server(answer, story))
    return outcome[0], began


def test_a_conflict_is_tried_again_and_grows_older() -> None:
    done, began = transacted([CONFLICT, Overloaded("full"), None])
    assert done == 3
    assert began == [Timestamp(0, 0), Timestamp(7, 0), Timestamp(7, 0)]


def test_what_may_have_happened_is_not_tried_again_without_a_token() -> None:
    done, began = transacted([LOST, None])
    assert isinstance(done, AmbiguousError)
    assert len(began) == 1


def test_with_a_token_it_is_and_the_earlier_attempt_may_turn_out_to_have_been_it() -> None:
    assert transacted([LOST, None], "t")[0] == 2
    assert transacted([LOST, True], "t")[0] is None


def test_what_never_can_be_is_not_tried_again() -> None:
    for error in (BadRequest("no"), TransactionAborted("over")):
        done, began = transacted([error, None])
        assert isinstance(done, AbortedError)
        assert len(began) == 1


def test_who_gives_up_after_an_unanswered_attempt_says_that_nobody_knows() -> None:
    """The last attempt certainly failed; the first may have committed."""
    assert isinstance(transacted([CONFLICT] * 4)[0], ConflictError)
    assert isinstance(transacted([LOST, CONFLICT, CONFLICT, CONFLICT], "t")[0], AmbiguousError)
    assert isinstance(transacted([LOST, BadRequest("no")], "t")[0], AmbiguousError)


def test_an_error_is_of_the_type_that_says_what_to_do() -> None:
    assert type(ClientError(False, "timeout", "")) is AmbiguousError
    assert type(ClientError(False, "connection-lost", "")) is AmbiguousError
    assert type(ClientError(True, "connection-lost", "")) is RetryError
    assert type(ClientError(True, "conflict", "")) is ConflictError
    assert type(ClientError(True, "cancelled", "", reasons=("none",))) is AbortedError


def test_an_interactive_transaction_commits_once_for_its_token() -> None:
    async def story() -> None:
        world = World()
        world.start_all()
        await world.wait_until_led()
        run: Callable[[str, bytes, bytes], Awaitable[Any]]

        async def run(name: str, value: bytes, token: bytes) -> Any:
            connection = ClientConnection()
            number = await world.ask(name, BeginTransaction(), connection)
            for key in (b"f", b"m"):
                await world.ask(name, ClientPut(key, value, number), connection)
            return await world.ask(name, CommitTransaction(number, 2, token), connection)

        assert await run("n1", b"first", b"t") is None
        assert await run("n2", b"second", b"t") is True
        assert await world.ask("n3", ClientGetMany((b"f", b"m"))) == [b"first", b"first"]
        assert await run("n2", b"third", b"u") is None
        assert await world.ask("n3", ClientGetMany((b"f", b"m"))) == [b"third", b"third"]
        await world.stop()

    run_virtually(story())
