"""Connections that others make to this node: clients' requests in, replies out; and frames of other nodes in."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import cast

from reference_db.api import Ambiguous, ClientReply, ClientRequest
from reference_db.codec import FrameDecoder, FrameError, PeerFrame, encode_frame
from reference_db.node import ClientConnection, Node

log = logging.getLogger("connections")

UNREAD_LIMIT_BYTES = 8 << 20
"""Replies that a client has not read, above which nothing more is read from it."""


class ClientProtocol(asyncio.Protocol):
    """One client. Replies of one loop turn leave in one write; a client that does not read is not read from."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder(ClientRequest)
        self._connection = ClientConnection()
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name.
        self._transport = transport
        transport.set_write_buffer_limits(high=UNREAD_LIMIT_BYTES)
        set_no_delay(transport)

    def connection_lost(self, _error: Exception | None) -> None:
        # Open transactions hold nothing anywhere, so forgetting them is rolling them back.
        self._transport = None
        for open_one in self._connection.transactions.values():
            open_one.over = True
        self._connection.transactions.clear()

    def data_received(self, data: bytes) -> None:
        try:
            requests = self._decoder.feed(data)
        except FrameError as error:
            log.info("closing a client's connection: %s", error)
            self._close()
            return
        for request in requests:
            self._node.handle(request, self._connection, self._reply)

    def _reply(self, reply: ClientReply) -> None:
        if self._transport is None:
            return
        try:
            frame = encode_frame(reply)
        except FrameError as error:
            # Whatever was asked has been carried out, a write too.
            frame = encode_frame(
                ClientReply(reply.request_id, error=Ambiguous(f"done, but the answer is too long: {error}"))
            )
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class PeerProtocol(asyncio.Protocol):
    """Another node's connection, which only ever brings frames."""

    def __init__(self, node: Node, heard: Callable[[str], None]) -> None:
        self._node = node
        self._heard = heard
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder(PeerFrame)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name.
        self._transport = transport
        set_no_delay(transport)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            log.warning("closing a peer's connection: %s", error)
            if self._transport is not None:
                self._transport.abort()
            return
        for frame in frames:
            if frame.sender not in self._node.nodes:
                log.warning("closing a connection of %r, which is no member", frame.sender)
                if self._transport is not None:
                    self._transport.abort()
                return
            self._heard(frame.sender)
            self._node.receive(frame)


def set_no_delay(transport: asyncio.Transport) -> None:
    """Frames are whole messages: never wait for more."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
