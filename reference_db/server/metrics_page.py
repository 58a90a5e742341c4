"""The page `/metrics` of a node: as much of HTTP as a scraper needs, and nothing that a request could change.

One request a connection. Reading the numbers goes through all replicas once, on the loop: some ms with thousands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from reference_db.metrics import CONTENT_TYPE

REQUEST_BYTES_MOST = 8192
PATIENCE_S = 5.0
"""How long a connection may take to say what it wants."""


def answer(request: bytes, text: Callable[[], str]) -> bytes:
    """The whole answer to a whole request; `text` is asked for the page only if that is what is wanted."""
    words = request.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _page("400 Bad Request", "this is no HTTP request\n")
    method, path = words[0], words[1].split(b"?")[0]
    if method not in (b"GET", b"HEAD"):
        return _page("405 Method Not Allowed", "GET /metrics\n", "Allow: GET, HEAD\r\n")
    if path != b"/metrics":
        return _page("404 Not Found", "there is one page: /metrics\n")
    page = _page("200 OK", text(), content_type=CONTENT_TYPE)
    return page if method == b"GET" else page[: page.index(b"\r\n\r\n") + 4]


def _page(
    status: str, text: str, headers: str = "", content_type: str = "text/plain; charset=utf-8"
) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


class MetricsProtocol(asyncio.Protocol):
    """One connection of a scraper."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name.
        self._patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._transport.abort)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._patience is not None:
            self._patience.cancel()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._received += data
        if len(self._received) > REQUEST_BYTES_MOST:
            self._transport.write(_page("431 Request Header Fields Too Large", "the request is too long\n"))
            self._transport.close()
        elif b"\r\n\r\n" in self._received:
            self._transport.write(answer(self._received, self._text))
            self._transport.close()
