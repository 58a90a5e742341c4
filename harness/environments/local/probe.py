"""Proves from outside the proxy what its links do: sends tokens over the real path and sees whether they arrive.

The harness opens a connection to the listener of a route, as the dialing node would, and is led not to the owner
but to a listener of the harness. So both ends of the connection are ours, everything between is the path that the
nodes use, and the proxy's own word is not needed: a token arrives, late, or not.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Sequence
from typing import cast

from harness.environments.channel import Channel
from harness.environments.environment import Address
from nemesis.cluster import Link

TOKEN_BYTES = 16
OPEN_TIMEOUT_S = 3.0
SILENCE_S = 0.06
"""A token that has not arrived after this, and after the proxy has answered twice, is not on its way."""


class ProbeEnd(asyncio.Protocol):
    """One of our two ends."""

    def __init__(self, prober: Prober) -> None:
        self.prober = prober
        self.transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()
        self.buffer = b""
        self.bytes_received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.prober.ends[self] = None

    def data_received(self, data: bytes) -> None:
        self.bytes_received += len(data)
        self.buffer += data
        while len(self.buffer) >= TOKEN_BYTES:
            token, self.buffer = self.buffer[:TOKEN_BYTES], self.buffer[TOKEN_BYTES:]
            self.prober.arrived(token, self)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
        self.prober.ends.pop(self, None)

    def close(self) -> None:
        """Close without waiting."""
        if self.transport is not None:
            self.transport.abort()


class ProbeConnection:
    """A connection through one route with both ends in our hands. `far` is None while it has not come through."""

    def __init__(self, prober: Prober, near: ProbeEnd, far: ProbeEnd | None) -> None:
        self.prober = prober
        self.near = near
        self.far = far

    async def measure(self, forth: bool, timeout_s: float, padding_bytes: int = 0) -> float | None:
        """Milliseconds that a token (after so many other bytes) takes in one direction; None: it did not arrive."""
        source = self.near if forth else self.far
        if source is None or source.transport is None or source.transport.is_closing():
            return None
        token = secrets.token_bytes(TOKEN_BYTES)
        arrival = self.prober.expect(token)
        started = time.perf_counter()
        source.transport.write(bytes(padding_bytes // TOKEN_BYTES * TOKEN_BYTES) + token)
        try:
            await asyncio.wait_for(asyncio.shield(arrival), timeout_s)
        except TimeoutError:
            # On a loaded machine a token may be late, not lost: let the proxy and our own loop catch up first.
            await self.prober.channel.request("ping")
            await asyncio.sleep(0.01)
            await self.prober.channel.request("ping")
            await asyncio.sleep(0)
        finally:
            self.prober.forget(token)
        return (time.perf_counter() - started) * 1000 if arrival.done() else None

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        if self.far is not None:
            self.far.close()


class Prober:
    """Opens probe connections. One listener of our own serves for all of them."""

    def __init__(
        self, channel: Channel, ports: dict[Link, str], listeners: dict[tuple[str, str, str], Address]
    ) -> None:
        self.channel = channel
        self._ports = ports
        self._listeners = listeners
        self.ends: dict[ProbeEnd, None] = {}
        self._expected: dict[bytes, asyncio.Future[ProbeEnd]] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen for the far ends."""
        self._server = await asyncio.get_running_loop().create_server(lambda: ProbeEnd(self), "127.0.0.1", 0)

    def route(self, link: Link) -> tuple[tuple[str, str, str], bool]:
        """The route over which a link is probed, and whether the link is its forward direction."""
        if link in self._ports:
            return (*link, self._ports[link]), True
        back = (link[1], link[0])
        if back in self._ports:
            return (*back, self._ports[back]), False
        ends = sorted({name for pair in self._ports for name in pair})
        raise ValueError(f"there is no link {link[0]} -> {link[1]}; ends: {', '.join(ends)}")

    async def open(self, link: Link, timeout_s: float = OPEN_TIMEOUT_S) -> ProbeConnection:
        """A connection over the link's route; `far` is None if it did not come through in time."""
        assert self._server is not None, "start() comes first"
        key, _ = self.route(link)
        host, to_port = self._server.sockets[0].getsockname()[:2]
        near_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        near_socket.setblocking(False)
        near_socket.bind((host, 0))
        await self.channel.request(
            "probe",
            dialer=key[0],
            owner=key[1],
            port=key[2],
            source_port=near_socket.getsockname()[1],
            host=host,
            to_port=to_port,
        )
        loop = asyncio.get_running_loop()
        token = secrets.token_bytes(TOKEN_BYTES)
        arrival = self.expect(token)
        near: ProbeEnd | None = None
        try:
            async with asyncio.timeout(timeout_s):
                await loop.sock_connect(near_socket, self._listeners[key])
                _, near = await loop.create_connection(lambda: ProbeEnd(self), sock=near_socket)
                assert near.transport is not None
                near.transport.write(token)
                far = await asyncio.shield(arrival)
        except (TimeoutError, OSError):
            if near is None:
                near_socket.close()
                near = ProbeEnd(self)
                near.lost.set()
            return ProbeConnection(self, near, None)
        finally:
            self.forget(token)
        return ProbeConnection(self, near, far)

    async def open_all(
        self, links: Sequence[Link], timeout_s: float = OPEN_TIMEOUT_S
    ) -> list[ProbeConnection]:
        """One connection for each link, at the same time."""
        return list(await asyncio.gather(*(self.open(link, timeout_s) for link in links)))

    def expect(self, token: bytes) -> asyncio.Future[ProbeEnd]:
        """Resolves with the end at which the token arrives."""
        arrival: asyncio.Future[ProbeEnd] = asyncio.get_running_loop().create_future()
        self._expected[token] = arrival
        return arrival

    def forget(self, token: bytes) -> None:
        """Nobody waits for it any more."""
        self._expected.pop(token, None)

    def arrived(self, token: bytes, end: ProbeEnd) -> None:
        """Called by the ends."""
        arrival = self._expected.get(token)
        if arrival is not None and not arrival.done():
            arrival.set_result(end)

    def close(self) -> None:
        """Close the listener and every end."""
        if self._server is not None:
            self._server.close()
        for end in list(self.ends):
            end.close()
