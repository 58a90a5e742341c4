"""Connections to the other nodes: one outgoing connection per peer, which only ever sends.

A node writes on the connections it dialled and reads on those that others dialled to it, so each direction of a link
can break alone. Frames to a peer whose connection is down or clogged are refused or dropped: Raft repeats what matters,
and a request that was refused here was certainly not sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from reference_db.socks import dial

Address = tuple[str, int]

CONNECT_TIMEOUT_S = 1.0
REDIAL_FIRST_S = 0.05
REDIAL_MOST_S = 1.0
BUFFER_LIMIT_BYTES = 16 << 20
"""Unsent bytes per peer above which further frames are dropped (a stopped peer, a black hole)."""
SILENCE_S = 3.0
"""A peer not heard from for so long, over a connection at least that old: dial again (it may be half open)."""


class _Outgoing(asyncio.Protocol):
    """The sending end of one connection; what arrives on it is ignored."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name.
        self.transport = transport
        transport.set_write_buffer_limits(high=BUFFER_LIMIT_BYTES)

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        if not self.lost.done():
            self.lost.set_result(None)


class _Peer:
    """What is known of one peer's link."""

    __slots__ = ("address", "connected_at", "heard_at", "protocol", "task")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.protocol: _Outgoing | None = None
        self.task: asyncio.Task[None] | None = None
        self.connected_at = 0.0
        self.heard_at = 0.0


class PeerLinks:
    """Dials every peer, dials again when a connection is lost, and sends whole frames. Times are loop times in s."""

    def __init__(
        self,
        hello: bytes,
        addresses: dict[str, Address],
        on_lost: Callable[[str], None],
        socks: Address | None = None,
    ) -> None:
        """`hello` opens every connection; `on_lost(peer)` is called when a connection that was up is gone; `socks` is
        the server through which all are dialled."""
        self._hello = hello
        self._socks = socks
        self._peers = {name: _Peer(address) for name, address in sorted(addresses.items())}
        self._on_lost = on_lost
        self._is_started = False
        self.dropped = 0
        """Frames given up because the peer's buffer was full."""

    def start(self) -> None:
        """Begin to dial. Needs a running loop."""
        self._is_started = True
        for name, peer in self._peers.items():
            self._dial(name, peer)

    def add_peer(self, peer_name: str, address: Address | None) -> None:
        """There is another peer; one that is known keeps the address that it has."""
        if address is None or peer_name in self._peers:
            return
        peer = self._peers[peer_name] = _Peer(address)
        if self._is_started:
            self._dial(peer_name, peer)

    def _dial(self, name: str, peer: _Peer) -> None:
        peer.task = asyncio.get_running_loop().create_task(self._keep_connected(name, peer))

    def is_up(self, peer_name: str) -> bool:
        """Whether there is a connection, as far as is known."""
        protocol = self._peers[peer_name].protocol
        return protocol is not None and protocol.transport is not None

    def send(self, peer_name: str, frame: bytes) -> bool:
        """Hand a frame to the peer's connection. False: there is none, or it is clogged; certainly not sent."""
        peer = self._peers[peer_name]
        protocol = peer.protocol
        if protocol is None or protocol.transport is None:
            return False
        transport = protocol.transport
        if transport.get_write_buffer_size() > BUFFER_LIMIT_BYTES:
            self.dropped += 1
            return False
        transport.write(frame)
        return True

    def heard(self, peer_name: str) -> None:
        """A frame of this peer arrived (on its own connection)."""
        peer = self._peers.get(peer_name)
        if peer is not None:
            peer.heard_at = asyncio.get_running_loop().time()

    def watch(self) -> None:
        """Called every second or so: closes connections to peers that went silent, so that they are dialled anew."""
        now = asyncio.get_running_loop().time()
        for peer in self._peers.values():
            if peer.protocol is None or peer.protocol.transport is None:
                continue
            if now - max(peer.heard_at, peer.connected_at) > SILENCE_S:
                peer.protocol.transport.abort()

    async def stop(self) -> None:
        """Close everything."""
        for peer in self._peers.values():
            if peer.task is not None:
                peer.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await peer.task

    async def _keep_connected(self, name: str, peer: _Peer) -> None:
        loop = asyncio.get_running_loop()
        pause = REDIAL_FIRST_S
        while True:
            protocol: _Outgoing | None = None
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    connection, protocol = await dial(_Outgoing, peer.address, self._socks)
                    transport = cast(asyncio.Transport, connection)
            except (OSError, TimeoutError):
                await asyncio.sleep(pause)
                pause = min(2 * pause, REDIAL_MOST_S)
                continue
            sock = transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                transport.write(self._hello)
                peer.connected_at = loop.time()
                peer.protocol = protocol
                await protocol.lost
                self._on_lost(name)
            finally:
                peer.protocol = None
                transport.abort()
            if loop.time() - peer.connected_at > REDIAL_MOST_S:
                pause = REDIAL_FIRST_S
            await asyncio.sleep(pause)
            pause = min(2 * pause, REDIAL_MOST_S)
