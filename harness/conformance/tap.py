"""A place between a session and a node where the kit loses what it likes: the n-th request or reply, loud or silent.

A *turn* is a request and its reply: it begins when bytes come from the client after bytes of the server, or first of
all. So a session that needs several turns for a call (begin, write, commit) can lose each of them. What comes before
the turn passes; nothing here knows what the bytes mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Literal

from harness.environments.environment import Address
from harness.environments.relay import kept, reset

CHUNK = 1 << 16


@dataclass(frozen=True)
class Loss:
    """What is lost: the request or the reply of a turn (1 is the first), and whether the connection is reset then, or
    falls silent (with all others, and all new ones)."""

    what: Literal["request", "reply"]
    turn: int
    how: Literal["reset", "silence"]

    def __str__(self) -> str:
        kept = "then the connection is reset" if self.how == "reset" else "and nothing is heard any more"
        return f"{self.what} {self.turn} is lost, {kept}"


class Tap:
    """A listener before one port of a node."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self.turns = 0
        """Turns since the last `arm`."""
        self.lost = False
        """Whether something was lost since the last `arm`."""
        self._loss: Loss | None = None
        self._client_spoke_last = False
        self._silent = False
        self._server: asyncio.Server | None = None
        self._ends: dict[asyncio.StreamWriter, None] = {}
        """Towards clients: connections that are open now."""
        self._empty = asyncio.Event()

    async def open(self) -> Address:
        """Where to dial instead of the node."""
        self._server = await asyncio.start_server(kept(self._serve), "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    def arm(self, loss: Loss | None) -> None:
        """From now on turns are counted anew, and this is lost; None: nothing."""
        self._loss, self.turns, self.lost = loss, 0, False
        self._client_spoke_last = self._silent = False

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._ends)

    async def wait_until_empty(self, timeout_s: float) -> None:
        """Waits until no connection is open, but no longer than that."""
        if self._ends:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)

    def close(self) -> None:
        """No new connections; those that are open end with a reset."""
        if self._server is not None:
            self._server.close()
        for end in list(self._ends):
            reset(end)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends[writer] = None
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            there = await asyncio.open_connection(*self.target)
            passing = [
                asyncio.create_task(self._requests(reader, writer, there[1])),
                asyncio.create_task(self._replies(there[0], writer)),
            ]
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
        except OSError:
            reset(writer)  # The node refuses, and so do we.
        finally:
            del self._ends[writer]
            if not self._ends:
                self._empty.set()
            writer.close()
            if there is not None:
                there[1].close()

    async def _requests(
        self, source: asyncio.StreamReader, client: asyncio.StreamWriter, target: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(CHUNK):
            if not self._client_spoke_last:
                self.turns += 1
                self._client_spoke_last = True
            if self._is_lost("request"):
                self._lose(client)
            elif not self._silent:
                target.write(data)
                await target.drain()

    async def _replies(self, source: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK):
            self._client_spoke_last = False
            if self._is_lost("reply"):
                self._lose(client)
            elif not self._silent:
                client.write(data)
                await client.drain()

    def _is_lost(self, what: str) -> bool:
        loss = self._loss
        return loss is not None and not self.lost and loss.what == what and loss.turn == self.turns

    def _lose(self, client: asyncio.StreamWriter) -> None:
        assert self._loss is not None
        self.lost = True
        if self._loss.how == "silence":
            self._silent = True
        else:
            reset(client)
