"""Requests and answers as JSON lines over a socket pair: how the harness speaks with the supervisor and the proxy.

Both are processes on the same host that were handed one end of the pair, so nothing is left on disk. A request
that is not answered because the other side has ended fails at once, with the name of who has ended.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import msgspec

from harness.environments.environment import EnvironmentFailed

Event = Callable[[dict[str, Any]], None]


class Channel(asyncio.Protocol):
    """The harness's side. `on_event` takes the lines that answer nothing; `on_end` is called when the other side has
    ended, and also after `close`."""

    def __init__(
        self, name: str, on_event: Event | None = None, on_end: Callable[[], None] | None = None
    ) -> None:
        self.name = name
        self.closed = False
        self._on_event = on_event
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._next_id = 1
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    @classmethod
    async def open(
        cls,
        name: str,
        end: socket.socket,
        on_event: Event | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> Channel:
        """Take over one end of a socket pair."""
        end.setblocking(False)
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(name, on_event, on_end), sock=end)
        return channel

    async def request(self, verb: str, timeout_s: float = 10.0, **arguments: Any) -> Any:
        """Ask and wait for the answer. Raises EnvironmentFailed if it is an error or none comes."""
        if self.closed or self._transport is None:
            raise EnvironmentFailed(f"the {self.name} has ended: it cannot {verb}")
        number = self._next_id
        self._next_id += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._transport.write(msgspec.json.encode({"id": number, "verb": verb, **arguments}) + b"\n")
        try:
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise EnvironmentFailed(
                f"the {self.name} did not answer {verb!r} within {timeout_s:.0f} s"
            ) from None
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """Close the socket. The other side takes it as the end of the harness."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it.

    def data_received(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            message = msgspec.json.decode(line)
            answer = self._waiting.get(message.get("id"))
            if answer is not None and not answer.done():
                if message["ok"]:
                    answer.set_result(message.get("result"))
                else:
                    answer.set_exception(EnvironmentFailed(f"{self.name}: {message['error']}"))
            elif "event" in message and self._on_event is not None:
                self._on_event(message)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(EnvironmentFailed(f"the {self.name} has ended"))
        if self._on_end is not None:
            self._on_end()
