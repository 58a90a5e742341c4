"""The client against a server that behaves as the test says: what is certain, what is not, and reconnecting."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from reference_db import client as client_module
from reference_db.api import (
    Ambiguous,
    BeginTransaction,
    ClientGet,
    ClientPut,
    ClientReply,
    ClientRequest,
    CommitTransaction,
    Overloaded,
    TransactionAborted,
    TransactionRetry,
)
from reference_db.client import Client, ClientError, encode_value
from reference_db.codec import FrameDecoder, encode_frame
from reference_db.timestamp import Timestamp

Answer = Callable[[ClientRequest, asyncio.StreamWriter], None]


async def with_server(
    answer: Answer, story: Callable[[Client], Awaitable[None]], timeout_s: float = 5.0
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = FrameDecoder(ClientRequest)
        while data := await reader.read(65536):
            for request in decoder.feed(data):
                answer(request, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = Client(server.sockets[0].getsockname()[:2], timeout_s)
    try:
        await story(client)
    finally:
        client.close_now()
        server.close()


def reply(writer: asyncio.StreamWriter, reply_: ClientReply) -> None:
    writer.write(encode_frame(reply_))


def test_replies_find_their_calls_in_any_order() -> None:
    held: list[int] = []

    def answer(request: ClientRequest, writer: asyncio.StreamWriter) -> None:
        assert isinstance(request.operation, ClientGet)
        held.append(request.request_id)
        if len(held) == 3:
            for number in reversed(held):
                reply(writer, ClientReply(number, encode_value(number)))

    async def story(client: Client) -> None:
        assert await asyncio.gather(*(client.get(key) for key in "abc")) == [1, 2, 3]

    asyncio.run(with_server(answer, story))


@pytest.mark.parametrize(
    ("error", "kind", "definite"),
    [(Ambiguous("?"), "ambiguous", False), (Overloaded("!"), "overloaded", True)],
)
def test_errors_of_writes_keep_what_is_certain(
    error: Ambiguous | Overloaded, kind: str, definite: bool
) -> None:
    def answer(request: ClientRequest, writer: asyncio.StreamWriter) -> None:
        reply(writer, ClientReply(request.request_id, error=error))

    async def story(client: Client) -> None:
        with pytest.raises(ClientError) as caught:
            await client.put("k", 1)
        assert (caught.value.kind, caught.value.definite) == (kind, definite)
        with pytest.raises(ClientError) as caught:
            await client.get("k")
        assert caught.value.definite, "a read has no effect, so its failure is always certain"

    asyncio.run(with_server(answer, story))


def test_a_connection_that_breaks_leaves_writes_unknown_and_is_made_anew() -> None:
    def answer(request: ClientRequest, writer: asyncio.StreamWriter) -> None:
        if isinstance(request.operation, ClientPut):
            writer.transport.abort()
        else:
            reply(writer, ClientReply(request.request_id, encode_value("here")))

    async def story(client: Client) -> None:
        with pytest.raises(ClientError) as caught:
            await client.put("k", 1)
        assert (caught.value.kind, caught.value.definite) == ("connection-lost", False)
        assert await client.get("k") == "here"

    asyncio.run(with_server(answer, story))


def test_silence_ends_at_the_timeout_as_unknown() -> None:
    async def story(client: Client) -> None:
        with pytest.raises(ClientError) as caught:
            await client.put("k", 1)
        assert (caught.value.kind, caught.value.definite) == ("timeout", False)

    asyncio.run(with_server(lambda _request, _writer: None, story, timeout_s=0.05))


def test_a_request_that_fits_no_frame_certainly_did_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "encode_frame", partial(encode_frame, max_bytes=100))

    async def story(client: Client) -> None:
        with pytest.raises(ClientError) as caught:
            await client.put("k", "x" * 1000)
        assert (caught.value.kind, caught.value.definite) == ("bad-request", True)

    asyncio.run(with_server(lambda _request, _writer: None, story))


def test_nobody_there_is_a_certain_refusal() -> None:
    async def story() -> None:
        client = Client(("127.0.0.1", 1), timeout_s=1.0)
        with pytest.raises(ClientError) as caught:
            await client.put("k", 1)
        assert (caught.value.kind, caught.value.definite) == ("refused", True)

    asyncio.run(story())


def test_a_commit_says_how_many_writes_it_must_have() -> None:
    """The client does not wait for the answers to its writes; what it reports is the refusal that came first."""

    def answer(request: ClientRequest, writer: asyncio.StreamWriter) -> None:
        match request.operation:
            case BeginTransaction():
                reply(writer, ClientReply(request.request_id, request.request_id))
            case ClientPut(key=b"refused"):
                reply(writer, ClientReply(request.request_id, error=Overloaded("no")))
            case CommitTransaction(writes=2):
                reply(writer, ClientReply(request.request_id, error=TransactionAborted("only 1 of 2 writes")))
            case CommitTransaction():
                retry = TransactionRetry("changed", Timestamp(5))
                reply(writer, ClientReply(request.request_id, error=retry))
            case _:
                reply(writer, ClientReply(request.request_id))

    async def story(client: Client) -> None:
        transaction = client.transaction()
        await transaction.begin()
        await transaction.put("refused", 1)
        await transaction.put("taken", 2)
        with pytest.raises(ClientError, match="overloaded"):
            await transaction.commit()
        other = client.transaction()
        await other.begin()
        await other.put("taken", 2)
        with pytest.raises(ClientError) as caught:
            await other.commit()
        assert (caught.value.kind, caught.value.definite, caught.value.priority) == (
            "conflict",
            True,
            Timestamp(5),
        )

    asyncio.run(with_server(answer, story))
