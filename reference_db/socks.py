"""Connections to other nodes: dialled as they are, or through a SOCKS5 server (RFC 1928).

With a server on the way, nodes that cannot all reach one of them at the same address can call it by the same one all
the same: it is the server that knows where that leads.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

Address = tuple[str, int]
P = TypeVar("P", bound=asyncio.Protocol)

_VERSION, _CONNECT, _NAME = 5, 1, 3
_REST_BYTES = {1: 4, 4: 16}
"""How long an address of a kind is; a name (3) says its length itself."""


async def dial(
    protocol: Callable[[], P], address: Address, server: Address | None
) -> tuple[asyncio.BaseTransport, P]:
    """A connection to an address, through the server if there is one. Raises OSError."""
    loop = asyncio.get_running_loop()
    if server is None:
        return await loop.create_connection(protocol, *address)
    return await loop.create_connection(protocol, sock=await _led_to(address, server))


async def _led_to(address: Address, server: Address) -> socket.socket:
    """A socket whose other end the server has connected to the address."""
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        await loop.sock_connect(connection, server)
        await loop.sock_sendall(connection, bytes((_VERSION, 1, 0)))
        if await _read(connection, 2) != bytes((_VERSION, 0)):
            raise ConnectionRefusedError(f"the SOCKS5 server {server} wants to know who asks")
        host, port = address[0].encode(), address[1].to_bytes(2, "big")
        await loop.sock_sendall(connection, bytes((_VERSION, _CONNECT, 0, _NAME, len(host))) + host + port)
        _, code, _, kind = await _read(connection, 4)
        size = _REST_BYTES[kind] if kind in _REST_BYTES else (await _read(connection, 1))[0]
        await _read(connection, size + 2)
        if code:
            raise ConnectionRefusedError(f"the SOCKS5 server {server} refuses {address} (code {code})")
    except BaseException:
        connection.close()
        raise
    return connection


async def _read(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, and none of what follows them."""
    found = b""
    while len(found) < size:
        more = await asyncio.get_running_loop().sock_recv(connection, size - len(found))
        if not more:
            raise ConnectionResetError("the SOCKS5 server has ended the connection")
        found += more
    return found
