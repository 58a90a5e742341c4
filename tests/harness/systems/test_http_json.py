"""Questions over HTTP: what is answered, what is certainly not asked, and what nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from harness.systems.http_json import HttpJson, ask_once
from workloads.session import Definite, Indefinite

Story = Callable[[HttpJson], Coroutine[Any, Any, None]]


def told(reply: bytes, story: Story) -> bytes:
    """Plays a story against a server that says this to the first question, and hangs up. What the server was asked."""

    async def play() -> bytes:
        asked = b""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked = await reader.readuntil(b"\r\n\r\n")
            length = int(asked.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            asked += await reader.readexactly(length)
            writer.write(reply)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        connection = await HttpJson.open(server.sockets[0].getsockname())
        try:
            await asyncio.wait_for(story(connection), 60)
        finally:
            connection.close()
            server.close()
        return asked

    return asyncio.run(play())


@pytest.mark.parametrize(
    "reply",
    [
        b'HTTP/1.1 503 Busy\r\ncontent-length: 7\r\n\r\n{"a":1}',
        b'HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n',
    ],
    ids=["of known length", "in chunks"],
)
def test_an_answer_is_read_whole(reply: bytes) -> None:
    async def story(connection: HttpJson) -> None:
        assert await connection.post("/v3/x", {"key": "ü"}) == (503, {"a": 1})

    asked = told(reply, story)
    assert asked.startswith(b"POST /v3/x HTTP/1.1\r\n")
    assert asked.endswith('\r\n\r\n{"key":"ü"}'.encode())


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200",
        b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{"a":1}',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n',
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n???",
        b"HTTP/1.1 what OK\r\ncontent-length: 2\r\n\r\n{}",
    ],
    ids=["none", "half a head", "half a body", "half of the chunks", "no JSON", "no HTTP"],
)
def test_a_question_without_a_whole_answer_may_have_had_its_effect(reply: bytes) -> None:
    async def story(connection: HttpJson) -> None:
        with pytest.raises(Indefinite, match="connection-lost"):
            await connection.post("/", {})

    told(reply, story)


def test_a_connection_that_is_refused_has_asked_nothing() -> None:
    async def story() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        server.close()
        await server.wait_closed()
        with pytest.raises(Definite, match="refused"):
            await ask_once(address, "/", {})

    asyncio.run(story())


def test_a_stream_gives_each_line_and_ends_as_unknown_where_it_breaks_off() -> None:
    async def story(connection: HttpJson) -> None:
        answers = connection.stream("/", {})
        assert [await anext(answers), await anext(answers)] == [1, [2, 3]]
        with pytest.raises(Indefinite):
            await anext(answers)

    told(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1\n[2\r\n4\r\n,3]\n\r\n", story)
