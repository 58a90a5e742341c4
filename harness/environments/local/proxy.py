"""The proxies of all directed links, in one process: they cut, delay, throttle, reset and half-open connections.

Run as `python -m harness.environments.local.proxy CONTROL_FD` by the supervisor; ends when the control socket
closes. A *route* is a listener `(dialer, owner, port)`: where `dialer` (a node, or `client`) dials that port of
`owner`. A *link* `(source, target)` is a direction between two ends: the bytes that travel from source to target,
on connections that either of them opened. So a connection of the route (n1, n2) sends on link (n1, n2) and hears
on link (n2, n1), and each direction can be broken alone.

What a cut means, compared with packets that are lost on a wire:

- Bytes of the link stop arriving at once. Up to 256 KiB a connection are read and held, then the sender feels
  backpressure, as it would from a full send buffer. A sender's end or reset is lost like any other packet: the
  other side goes on believing in the connection.
- Bytes of the opposite direction go on. A real network would lose their acknowledgements too and stop after one
  window; this is the harsher half of the two for a database, and it is what "one-way" promises.
- A connection that is opened needs both directions. While either is cut it is accepted by the kernel and then
  led nowhere: no error, no answer, no connection at the owner (a real dialer would wait for its SYN-ACK).
- After the mend, connections that lost bytes or were led nowhere are reset at both ends, so that their owners
  open new ones; those that were silent during the cut simply go on.

Sockets of kernels are between the ends and the proxy, so bytes that were already handed to the receiving kernel
still arrive. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import sys
import time
from collections import deque
from typing import Any, cast

import msgspec

from harness.environments.local.way_out import Place, WayOut
from harness.environments.relay import kept

HELD_LIMIT_BYTES = 256 * 1024
"""On a cut link: so much is taken from a sender before it feels backpressure."""
QUEUE_LIMIT_BYTES = 1024 * 1024
"""On a slow link: so much is under way in one connection and direction."""
EARLY_S = 0.0002
"""A chunk may be delivered so much too early: timers of uvloop have a resolution of a millisecond."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Pair = tuple[str, str]


class Link:
    """State and counters of one direction between two ends."""

    __slots__ = (
        "bytes_per_s",
        "cut",
        "delay_s",
        "dropped",
        "ends",
        "forwarded",
        "free_at",
        "held",
        "jitter_s",
        "plain",
        "refused",
        "resets",
    )

    def __init__(self) -> None:
        self.cut = False
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.bytes_per_s: int | None = None
        self.free_at = 0.0
        """When a throttled link has sent what it was given so far."""
        self.plain = True
        """True: forward at once. False: something of the above is set."""
        self.ends: dict[End, None] = {}
        """Ends of open connections whose received bytes travel on this link, oldest first."""
        self.forwarded = 0
        self.held = 0
        self.dropped = 0
        self.refused = 0
        self.resets = 0

    def set_plain(self) -> None:
        """Call after any change."""
        self.plain = not self.cut and not self.delay_s and not self.jitter_s and self.bytes_per_s is None

    def counters(self) -> dict[str, Any]:
        """Bytes forwarded, held (ever) and dropped; connections refused or led nowhere, reset, open."""
        return {
            "cut": self.cut,
            "forwarded": self.forwarded,
            "held": self.held,
            "dropped": self.dropped,
            "refused": self.refused,
            "resets": self.resets,
            "open": len(self.ends),
        }


class End(asyncio.Protocol):
    """One end of a proxied connection: receives from its socket, sends on its link, into the other end's socket."""

    __slots__ = (
        "connection",
        "gone",
        "link",
        "name",
        "other",
        "queue",
        "queued",
        "reading",
        "sent_end",
        "stalled",
        "swallow",
        "timer",
        "transport",
    )

    def __init__(self, connection: Connection, name: str, link: Link) -> None:
        self.connection = connection
        self.name = name
        self.link = link
        self.other: End = self
        self.transport: asyncio.Transport | None = None
        self.queue: deque[tuple[float, bytes]] = deque()
        """Chunks under way or held, with the time they are due; an empty chunk is the end of the stream."""
        self.queued = 0
        self.timer: asyncio.TimerHandle | None = None
        self.reading = True
        self.stalled = False
        """The other end's socket takes no more for now."""
        self.swallow = False
        """Half-open: what is received here goes nowhere."""
        self.sent_end = False
        """The end of this stream was passed on."""
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.connection.made(self)

    def data_received(self, data: bytes) -> None:
        link = self.link
        if link.plain and not self.queue and not self.swallow:
            target = self.other.transport
            if target is not None and not self.other.gone:
                link.forwarded += len(data)
                target.write(data)
                return
        self._enqueue(data)

    def eof_received(self) -> bool:
        self._enqueue(b"")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        self.link.ends.pop(self, None)
        if self.timer is not None and error is not None:
            self.timer.cancel()
        self.connection.lost(self, error)

    def pause_writing(self) -> None:
        self.other.stalled = True
        self.other.set_reading()

    def resume_writing(self) -> None:
        self.other.stalled = False
        self.other.set_reading()

    def _enqueue(self, data: bytes) -> None:
        link = self.link
        if self.swallow or self.connection.led_nowhere:
            link.dropped += len(data)
            if not data and self.transport is not None:
                self.transport.close()
            return
        now = time.monotonic()
        if link.cut:
            link.held += len(data)
            self.queue.append((now, data))
        else:
            due = now + link.delay_s
            if link.jitter_s:
                due += random.uniform(-link.jitter_s, link.jitter_s)
            if self.queue:
                due = max(due, self.queue[-1][0])
            if link.bytes_per_s is None:
                self.queue.append((due, data))
            else:
                self._throttle(data, due, link.bytes_per_s)
        self.queued += len(data)
        self.set_reading()
        self.pump()

    def _throttle(self, data: bytes, due: float, bytes_per_s: int) -> None:
        """Cut into pieces of a twentieth of a second, each due when the link has had time to carry it."""
        piece_bytes = max(64, bytes_per_s // 20)
        for start in range(0, len(data) or 1, piece_bytes):
            piece = data[start : start + piece_bytes]
            self.link.free_at = max(self.link.free_at, due) + len(piece) / bytes_per_s
            self.queue.append((self.link.free_at, piece))

    def pump(self) -> None:
        """Deliver what is due; come back for the rest."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        link, target = self.link, self.other.transport
        if link.cut or target is None:
            return
        now = time.monotonic()
        while self.queue:
            due, data = self.queue[0]
            wait = due - now
            if wait > EARLY_S:
                self.timer = asyncio.get_running_loop().call_later(max(wait, 0.001), self.pump)
                break
            self.queue.popleft()
            self.queued -= len(data)
            if self.other.gone:
                link.dropped += len(data)
            elif data:
                link.forwarded += len(data)
                target.write(data)
            else:
                self.sent_end = True
                self.connection.pass_end(self)
        self.set_reading()

    def hurry(self) -> None:
        """The link is plain again: what is under way arrives now."""
        self.queue = deque((0.0, data) for _, data in self.queue)
        self.pump()

    def set_reading(self) -> None:
        """Read on, or leave the bytes with the sender: the other socket is full, or enough is under way."""
        if self.connection.led_nowhere or self.swallow:
            return
        limit = HELD_LIMIT_BYTES if self.link.cut else QUEUE_LIMIT_BYTES
        wanted = not self.stalled and self.queued < limit and self.other.transport is not None
        if wanted != self.reading and self.transport is not None and not self.gone:
            self.reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def reset(self) -> None:
        """Close with RST."""
        if self.transport is not None and not self.gone:
            end = self.transport.get_extra_info("socket")
            # The kernel may have closed it already; then abort() only tidies up our side.
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()


class Connection:
    """Two ends. `led_nowhere`: opened while a direction was cut, so the owner never hears of it."""

    __slots__ = ("dialed", "led_nowhere", "opening", "owned", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        forth, back = route.proxy.link(route.dialer, route.owner), route.proxy.link(route.owner, route.dialer)
        self.dialed = End(self, route.dialer, forth)
        self.owned = End(self, route.owner, back)
        self.dialed.other, self.owned.other = self.owned, self.dialed
        self.led_nowhere = False
        self.opening: asyncio.Task[None] | None = None

    def made(self, end: End) -> None:
        """An end is connected. The dialer's comes first, and opens the way to the owner."""
        assert end.transport is not None
        if end is self.dialed:
            end.link.ends[end] = None
            if self.dialed.link.cut or self.owned.link.cut:
                self.led_nowhere = True
                self.route.proxy.limbo[self] = None
                (self.dialed if self.dialed.link.cut else self.owned).link.refused += 1
                return
            self.opening = asyncio.get_running_loop().create_task(self._open_to_owner())
        elif self.dialed.gone:
            end.transport.abort()
        else:
            end.link.ends[end] = None
            self.dialed.pump()  # What the dialer has said in the meantime, and then go on reading.

    async def _open_to_owner(self) -> None:
        assert self.dialed.transport is not None
        host, port = self.route.upstream_of(self.dialed.transport)
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.owned, host, port)
        except OSError:
            self.dialed.link.refused += 1
            self.dialed.reset()

    def pass_end(self, end: End) -> None:
        """The stream of `end` is over and everything before was delivered: end it at the other side too."""
        other = end.other
        if other.transport is not None and not other.gone:
            if other.sent_end or end.gone:
                other.transport.close()
                if end.transport is not None and not end.gone:
                    end.transport.close()
            elif other.transport.can_write_eof():
                other.transport.write_eof()

    def lost(self, end: End, error: Exception | None) -> None:
        """A socket is gone. The other side learns of it if that can travel."""
        self.route.proxy.limbo.pop(self, None)
        other = end.other
        if other.gone or other.transport is None or end.swallow or other.swallow:
            return
        if end.link.cut:
            end.link.held += 1
            end.queue.append((0.0, b""))  # Keeps the loss in mind: after the mend this connection is reset.
            end.link.ends[end] = None
        elif error is not None:
            other.reset()
        elif not end.queue:
            other.transport.close()

    def reset(self) -> None:
        """RST to both sides."""
        for end in (self.dialed, self.owned):
            end.swallow = True
            end.link.ends.pop(end, None)
            end.reset()

    def halve(self, name: str) -> None:
        """RST to the end called `name`; the other end stays open and is not told."""
        gone = self.dialed if self.dialed.name == name else self.owned
        gone.other.swallow = True
        gone.other.queue.clear()
        gone.other.queued = 0
        gone.reset()


class Route:
    """One listener."""

    def __init__(self, proxy: Proxy, dialer: str, owner: str, upstream: tuple[str, int]) -> None:
        self.proxy = proxy
        self.dialer = dialer
        self.owner = owner
        self.upstream = upstream
        self.probes: dict[int, tuple[str, int]] = {}
        """Local port of an announced probe -> where to lead it instead of to the owner."""

    def upstream_of(self, transport: asyncio.Transport) -> tuple[str, int]:
        """Where a new connection leads."""
        source_port = transport.get_extra_info("peername")[1]
        return self.probes.pop(source_port, self.upstream)


class Proxy(asyncio.Protocol):
    """All links and routes, and the control connection."""

    def __init__(self, stopped: asyncio.Event) -> None:
        self.links: dict[Pair, Link] = {}
        self.routes: dict[tuple[str, str, str], Route] = {}
        self.limbo: dict[Connection, None] = {}
        """Connections that lead nowhere, oldest first."""
        self.servers: list[asyncio.Server] = []
        self.ways_out: dict[int, WayOut] = {}
        """By the port at which they listen."""
        self._stopped = stopped
        self._attached = True
        self._received = b""
        self._control: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def link(self, source: str, target: str) -> Link:
        """The link of this direction; made at first use."""
        return self.links.setdefault((source, target), Link())

    # Control.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._control = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._attached:
            self._stopped.set()

    def data_received(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            task = asyncio.get_running_loop().create_task(self._answer(msgspec.json.decode(line)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: dict[str, Any]) -> None:
        try:
            answer = {"id": request["id"], "ok": True, "result": await self._do(request)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            answer = {"id": request["id"], "ok": False, "error": f"{type(error).__name__}: {error}"}
        if self._control is not None:
            self._control.write(msgspec.json.encode(answer) + b"\n")

    async def _do(self, request: dict[str, Any]) -> Any:
        pairs: list[Pair] = [(source, target) for source, target in request.get("links", [])]
        match request["verb"]:
            case "route":
                return await self._add_route(request)
            case "way_out":
                way_out = WayOut(_ways(request))
                number = self._listen(
                    await asyncio.start_server(kept(way_out.serve), request["host"], 0, backlog=256)
                )
                self.ways_out[number] = way_out
                return number
            case "more_ways":
                self.ways_out[request["way_out"]].add(_ways(request))
            case "probe":
                key = (request["dialer"], request["owner"], request["port"])
                self.routes[key].probes[request["source_port"]] = (request["host"], request["to_port"])
                return None
            case "cut":
                self._cut(pairs)
            case "mend":
                self._mend(pairs)
            case "slow":
                for pair in pairs:
                    link = self.link(*pair)
                    link.delay_s, link.jitter_s = request["delay_ms"] / 1000, request["jitter_ms"] / 1000
                    self._changed(link)
            case "throttle":
                for pair in pairs:
                    link = self.link(*pair)
                    link.bytes_per_s, link.free_at = request["bytes_per_s"], 0.0
                    self._changed(link)
            case "reset":
                for pair in pairs:
                    self._reset(pair)
            case "half_open":
                for source, target in pairs:
                    for connection in self._connections(source, target):
                        if not connection.led_nowhere:
                            connection.halve(source)
                    self.link(source, target).resets += 1
            case "counters":
                return [
                    {"source": source, "target": target, **link.counters()}
                    for (source, target), link in sorted(self.links.items())
                ]
            case "ping":
                return None
            case "stay":
                self._attached = False
            case verb:
                raise ValueError(f"unknown verb {verb!r}")
        return None

    async def _add_route(self, request: dict[str, Any]) -> int:
        dialer, owner, port = request["dialer"], request["owner"], request["port"]
        route = Route(self, dialer, owner, (request["host"], request["to_port"]))
        self.routes[dialer, owner, port] = route
        self.link(dialer, owner)
        self.link(owner, dialer)
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(route).dialed, request["host"], request.get("listen_port", 0), backlog=256
        )
        return self._listen(server)

    def _listen(self, server: asyncio.Server) -> int:
        """Keeps a server until the end, and says at which port it listens."""
        self.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    # Links.

    def _connections(self, source: str, target: str) -> list[Connection]:
        """All connections between two ends, whoever opened them."""
        ends = [*self.link(source, target).ends, *self.link(target, source).ends]
        return list(dict.fromkeys(end.connection for end in ends))

    def _cut(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            link = self.link(*pair)
            if not link.cut:
                link.cut = True
                link.set_plain()
                for end in list(link.ends):
                    link.held += end.queued
                    if end.timer is not None:
                        end.timer.cancel()
                        end.timer = None

    def _mend(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            link = self.link(*pair)
            link.cut = False
            link.set_plain()
            for end in list(link.ends):
                if end.queue:
                    link.dropped += end.queued
                    link.resets += 1
                    end.connection.reset()
                elif not end.gone:
                    end.set_reading()
            for connection in self._connections(*pair):
                if connection.dialed.swallow or connection.owned.swallow:
                    connection.reset()
        for connection in list(self.limbo):
            if not connection.dialed.link.cut and not connection.owned.link.cut:
                del self.limbo[connection]
                connection.reset()

    def _changed(self, link: Link) -> None:
        link.set_plain()
        if link.plain:
            for end in list(link.ends):
                end.hurry()

    def _reset(self, pair: Pair) -> None:
        for connection in self._connections(*pair):
            self.link(*pair).resets += 1
            connection.reset()


def _ways(request: dict[str, Any]) -> dict[Place, Place]:
    return {(host, port): (to_host, to_port) for host, port, to_host, to_port in request["ways"]}


async def serve(control: socket.socket) -> None:
    """Serve until the control socket closes."""
    stopped = asyncio.Event()
    control.setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(lambda: Proxy(stopped), sock=control)
    await stopped.wait()


def main() -> None:
    """Entry point of the process."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(control))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(control))


if __name__ == "__main__":
    main()
