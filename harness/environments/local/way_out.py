"""A SOCKS5 server for one node: its way to the others where all of them must call each other by the same addresses.

In `local` every node has an address of its own for each other node, since there is a link of its own between. Some
databases cannot have that: they write the addresses of all members into the data that they agree on. They get made-up
addresses (`ADDRESSES`, of a network that is reserved for examples, so nothing answers there), the same for all, and
are told to go through this server, which knows whose link leads where. It runs in the process of the proxy, before its
listeners, and passes on what it gets: bytes, an end, a reset. What is broken is the link behind it.

Only CONNECT without authentication (RFC 1928) is there; what a made-up address does not stand for is refused.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

from harness.environments.relay import joined

Place = tuple[str, int]

ADDRESSES = "198.51.100.{}"
"""TEST-NET-2 (RFC 5737); the node with the index i has i + 1."""
MOST_NODES = 250
_VERSION, _CONNECT = 5, 1
_DONE, _NOT_ALLOWED, _REFUSED, _NO_SUCH_COMMAND = 0, 2, 5, 7


def made_up_address(index: int) -> str:
    """The address that stands for a node everywhere."""
    assert 0 <= index < MOST_NODES, f"{index}: there are addresses for {MOST_NODES} nodes"
    return ADDRESSES.format(index + 1)


class WayOut:
    """`ways`: (made-up host, port) -> (host, port) of the listener of that link."""

    def __init__(self, ways: Mapping[Place, Place]) -> None:
        self._ways = dict(ways)

    def add(self, ways: Mapping[Place, Place]) -> None:
        """There are more addresses than before."""
        self._ways.update(ways)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its greeting to its end."""
        try:
            there = await self._greeted(reader, writer)
        except (OSError, EOFError):
            there = None  # Whoever dialed has gone, and there is nothing behind it yet.
        if there is None:
            writer.close()
            return
        await joined((reader, writer), there)

    async def _greeted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The connection behind, once both sides know of each other."""
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(bytes((_VERSION, 0)))
        _, command, _, kind = await reader.readexactly(4)
        host = await _host(reader, kind)
        port = int.from_bytes(await reader.readexactly(2), "big")
        place = self._ways.get((host, port))
        if command != _CONNECT or place is None:
            writer.write(_answer(_NO_SUCH_COMMAND if command != _CONNECT else _NOT_ALLOWED))
            await writer.drain()
            return None
        try:
            there = await asyncio.open_connection(*place)
        except OSError:
            writer.write(_answer(_REFUSED))
            await writer.drain()
            return None
        writer.write(_answer(_DONE))
        return there


async def _host(reader: asyncio.StreamReader, kind: int) -> str:
    """The host of a request: an IPv4 address or a name."""
    if kind == 1:
        return socket.inet_ntoa(await reader.readexactly(4))
    if kind == 3:
        (length,) = await reader.readexactly(1)
        return (await reader.readexactly(length)).decode("ascii", "replace")
    return socket.inet_ntop(socket.AF_INET6, await reader.readexactly(16))


def _answer(code: int) -> bytes:
    return bytes((_VERSION, code, 0, 1)) + bytes(6)
