"""One HTTP connection on which JSON is asked and answered, and which knows what became of a question.

For databases that speak HTTP. A question that may have reached the server and has no whole answer is Indefinite; only
a connection that could not be opened is Definite. Nothing is repeated: that is for whoever knows what was asked. One
question at a time; after an error the connection is of no use any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from harness.environments.environment import Address
from workloads.session import Definite, Indefinite

LONGEST_LINE = 1 << 26


class HttpJson:
    """See the page."""

    def __init__(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.address = address
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: Address) -> HttpJson:
        """A new connection. Raises Definite where there is none to be had."""
        try:
            return cls(address, *await asyncio.open_connection(*address, limit=LONGEST_LINE))
        except OSError as error:
            raise Definite("refused", f"{address[0]}:{address[1]}: {error}") from error

    def close(self) -> None:
        """At once, whatever is under way."""
        self._writer.close()

    async def post(self, path: str, question: Any) -> tuple[int, Any]:
        """HTTP status and answer. Raises Indefinite."""
        try:
            status, length = await self._asked(path, question)
            if length is not None:
                body = await self._reader.readexactly(length)
            else:
                body = b"".join([chunk async for chunk in self._chunks()])
            return status, msgspec.json.decode(body) if body else None
        except (OSError, EOFError, ValueError, msgspec.DecodeError) as error:
            raise Indefinite("connection-lost", f"{type(error).__name__}: {error}") from error

    async def stream(self, path: str, question: Any) -> AsyncGenerator[Any, None]:
        """The answers, one JSON document a line, as long as the server sends some. Raises Indefinite."""
        try:
            status, length = await self._asked(path, question)
            if status != 200 or length is not None:
                raise ValueError(f"HTTP status {status}")
            rest = b""
            async for chunk in self._chunks():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield msgspec.json.decode(line)
        except (OSError, EOFError, ValueError, msgspec.DecodeError) as error:
            raise Indefinite("connection-lost", f"{type(error).__name__}: {error}") from error

    async def _asked(self, path: str, question: Any) -> tuple[int, int | None]:
        """Sends the question; the status, and the length of the answer where it is known beforehand."""
        body = msgspec.json.encode(question)
        host = f"{self.address[0]}:{self.address[1]}"
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        await self._writer.drain()
        answer = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = answer.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length")
        return int(first.split()[1]), None if length is None else int(length)

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        """The parts of an answer of unknown length."""
        while size := int(await self._reader.readline(), 16):
            yield await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)


async def ask_once(address: Address, path: str, question: Any, timeout_s: float = 0.5) -> Any:
    """The answer on a connection of its own, whatever its status. Raises TimeoutError or SessionError."""
    async with asyncio.timeout(timeout_s):
        connection = await HttpJson.open(address)
        try:
            return (await connection.post(path, question))[1]
        finally:
            connection.close()
