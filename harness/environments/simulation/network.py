"""The network of a simulated world: who connects to whom, who listens, and the conditions of every link.

What asyncio programs see of it comes through the loop (`asyncio.open_connection`, `start_server`, `create_connection`,
`create_server`); what a nemesis does to it are the verbs of this page. A verb acts at once on bytes that are on their
way, and `probe` measures what it did by sending something over the same link.

Asking for a connection:
- the target listens: established after one round trip, by the kernel, even while its process is paused;
- its process is down, or nobody listens on that port: refused after one round trip;
- a link between them is cut, or the target's machine has no power: nothing is heard; asked again after 1, 3, 7, ... s,
  given up (ETIMEDOUT) after two minutes.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from harness.environments.simulation.links import Link, LinkConditions, LinkName, NetworkOptions
from harness.environments.simulation.loop import LIFE, SECOND_NS, refuse_the_dead
from harness.environments.simulation.messages import MessageRecord, Tape
from harness.environments.simulation.queue_kernel import Handle
from harness.environments.simulation.streams import OPEN, Connection, Stream, os_error

if TYPE_CHECKING:
    from harness.environments.simulation.host import Host
    from harness.environments.simulation.world import World

FIRST_EPHEMERAL_PORT = 32_768
PROBE_TIMEOUT_NS = SECOND_NS

LOSS_MOST = 0.9
"""A link that loses more is as good as cut: `cut` it."""


class ListeningSocket:
    """What `Server.sockets` holds: it knows its name, and that is all."""

    __slots__ = ("_name",)

    def __init__(self, name: tuple[str, int]) -> None:
        self._name = name

    def getsockname(self) -> tuple[str, int]:
        """(address, port)."""
        return self._name


class SimulatedServer(asyncio.AbstractServer):
    """A port that somebody listens on, as `asyncio.Server`."""

    def __init__(
        self,
        network: Network,
        host: Host,
        port: int,
        protocol_factory: Callable[[], Any],
        context: contextvars.Context,
    ) -> None:
        self.host = host
        self.port = port
        self.context = context
        self.life = context.get(LIFE)
        self.is_open = True
        self.serves = False
        """It accepts connections; until then its port is taken, and whoever comes is refused."""
        self.waiting = 0
        """Connections that were asked for and not accepted."""
        self._network = network
        self._protocol_factory = protocol_factory
        self._active = 0
        self._idle: asyncio.Future[None] | None = None
        self._forever: asyncio.Future[None] | None = None

    # What its connections tell it

    def accepted(self) -> Any:
        """One connection is taken from the backlog; answers the protocol for it."""
        self.waiting -= 1
        return self._protocol_factory()

    def turned_away(self) -> None:
        """One connection has left the backlog without being accepted."""
        self.waiting -= 1

    def attach(self) -> None:
        """One of its connections is open."""
        self._active += 1

    def detach(self) -> None:
        """One of its connections is over."""
        self._active -= 1
        if not self._active and not self.is_open and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    # What asyncio programs ask of it

    def close(self) -> None:
        """Accept no more. Connections that are open stay so."""
        if not self.is_open:
            return
        self._network.stop_listening(self)
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        if not self._active and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the world."""
        return self._network.loop

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self.is_open and self.serves

    async def start_serving(self) -> None:
        """Accept connections from now on. Idempotent."""
        if not self.is_open:
            raise RuntimeError(f"server {self!r} is closed")
        self.serves = True

    async def serve_forever(self) -> None:
        """Wait until cancelled, then close."""
        if not self.is_open:
            raise RuntimeError(f"server {self!r} is closed")
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        self.serves = True
        self._forever = self._network.loop.create_future()
        try:
            await self._forever
        finally:
            self._forever = None
            self.close()

    async def wait_closed(self) -> None:
        """Wait until it is closed and its connections are over. As this Python's asyncio: up to 3.11 a server that
        is closed already does not wait for its connections."""
        if not self.is_open and (sys.version_info < (3, 12) or not self._active):
            return
        if self._idle is None:
            self._idle = self._network.loop.create_future()
        await asyncio.shield(self._idle)

    @property
    def sockets(self) -> tuple[ListeningSocket, ...]:
        """One, with its name; none after `close`."""
        return (ListeningSocket((self.host.address, self.port)),) if self.is_open else ()

    def __repr__(self) -> str:
        return f"<SimulatedServer {self.host.name}:{self.port}{'' if self.is_open else ' closed'}>"


class Network:
    """All links, listeners and connections of a world."""

    def __init__(self, world: World, options: NetworkOptions | None = None) -> None:
        self.world = world
        self.loop = world.loop
        self.options = options or NetworkOptions()
        self.messages: MessageRecord | None = None
        """Where what is written on connections made from now on is kept, if a run wants that."""
        self.unrecorded: frozenset[str] = frozenset()
        """Hosts whose connections are not kept all the same."""
        self.kernel = contextvars.Context()
        """The context of what no process does: kernels and wires."""
        self._links: dict[LinkName, Link] = {}
        self._listeners: dict[tuple[str, int], SimulatedServer] = {}
        self._connections: dict[int, Connection] = {}
        self._connections_made = 0
        self._last_port: dict[str, int] = {}
        self._dark: dict[str, int] = {}
        """Hosts whose machine has no power -> how many lives they had had then. One life more, and it is back."""
        self._fates = world.random("network: what outlives a cut")

    def configure(self, options: NetworkOptions) -> None:
        """From now on these hold; connections that exist keep their window."""
        self.options = options
        for link in self._links.values():
            link.configure(options)

    @property
    def latency_ns(self) -> int:
        """What every segment needs at least; see `NetworkOptions`."""
        return self.options.latency_ns

    @latency_ns.setter
    def latency_ns(self, latency_ns: int) -> None:
        self.configure(msgspec.structs.replace(self.options, latency_ns=latency_ns))

    @property
    def jitter_ns(self) -> int:
        """How much longer it may need; see `NetworkOptions`."""
        return self.options.jitter_ns

    @jitter_ns.setter
    def jitter_ns(self, jitter_ns: int) -> None:
        self.configure(msgspec.structs.replace(self.options, jitter_ns=jitter_ns))

    @property
    def is_traced(self) -> bool:
        """Whether somebody wants to know of every segment."""
        return self.world.trace is not None

    def emit(self, name: str, **fields: Any) -> None:
        """An event of the network, for the trace."""
        self.world.emit("network", name, **fields)

    # Links

    def link(self, source: str, target: str) -> Link:
        """The link of this name; healthy at first."""
        link = self._links.get((source, target))
        if link is None:
            stream = self.world.random(f"link {source} > {target}")
            link = Link(source, target, self.options, stream)
            self._links[source, target] = link
            self._refresh(link)
        return link

    def is_blocked(self, link: Link) -> bool:
        """Nothing gets through: it is cut, or the machine at one end has no power."""
        if not link.is_blocked:
            return False
        self._refresh(link)
        return link.is_blocked

    def _refresh(self, link: Link) -> None:
        link.is_blocked = link.is_cut or self.is_dark(link.source) or self.is_dark(link.target)

    def is_dark(self, name: str) -> bool:
        """The machine has lost its power and was not started since."""
        lives = self._dark.get(name)
        if lives is None:
            return False
        if self.world.host(name).lives > lives:
            del self._dark[name]
            return False
        return True

    # Connecting and listening

    async def connect(
        self, source: Host, address: str, port: int, protocol_factory: Callable[[], Any]
    ) -> tuple[Stream, Any]:
        """A connection from `source` to a host, by name or address. Raises OSError as the operating system would:
        no such host, refused, timed out."""
        target = self.world.resolve(address)
        request = _Request(self, source, target, port)
        try:
            stream = await request.answer
        except asyncio.CancelledError:
            request.withdraw()
            raise
        if stream.is_gone:
            # It was opened and broke while the one who dials was paused: whoever owned it later would never be told.
            raise ConnectionResetError(errno.ECONNRESET, f"the connection to {address}:{port} broke at once")
        protocol = protocol_factory()
        stream.begin(protocol)
        return stream, protocol

    async def listen(
        self, host: Host, port: int, protocol_factory: Callable[[], Any], *, serves: bool = True
    ) -> SimulatedServer:
        """Take a port of `host` (0: one that is free), and accept connections there, at once or when the server is
        told to. Raises OSError (EADDRINUSE) if somebody has it already."""
        refuse_the_dead()
        if port == 0:
            port = self.free_port(host)
        if (host.name, port) in self._listeners:
            raise OSError(
                errno.EADDRINUSE,
                f"cannot listen on port {port} of {host.name}: somebody there does already; use another port or 0",
            )
        server = SimulatedServer(self, host, port, protocol_factory, contextvars.copy_context())
        server.serves = serves
        self._listeners[host.name, port] = server
        self.emit("listen", host=host.name, port=port)
        return server

    def stop_listening(self, server: SimulatedServer) -> None:
        """Connections that nobody has accepted are reset."""
        server.is_open = False
        self._listeners.pop((server.host.name, server.port), None)
        for connection in self._of(lambda stream: stream.incoming.context is server.context):
            if connection.server.protocol is None:
                connection.server.turn_away()

    def free_port(self, host: Host) -> int:
        """A port of the host that nobody uses and none has used for long."""
        port = self._last_port.get(host.name, FIRST_EPHEMERAL_PORT - 1)
        while True:
            port = port + 1 if port < 65_535 else FIRST_EPHEMERAL_PORT
            if (host.name, port) not in self._listeners:
                self._last_port[host.name] = port
                return port

    def listener(self, host: str, port: int) -> SimulatedServer | None:
        """Who accepts connections there."""
        server = self._listeners.get((host, port))
        return server if server is not None and server.serves else None

    def open_connection(
        self, source: Host, life: Any, context: contextvars.Context, server: SimulatedServer
    ) -> Stream:
        """The handshake is done: the client's end; the server's kernel hears of it with the first segment."""
        self._connections_made += 1
        number = self._connections_made
        port = self.free_port(source)
        connection = Connection(self, number, source, port, life, context, server.host, server.port, server)
        self._connections[number] = connection
        if self.messages is not None and not self.unrecorded & {source.name, server.host.name}:
            here, there, listens = source.name, server.host.name, server.port
            connection.client.outgoing.tape = Tape(self.messages, here, there, listens, True)
            connection.server.outgoing.tape = Tape(self.messages, there, here, listens, False)
        self.emit("connect", source=source.name, target=server.host.name, port=server.port, number=number)
        connection.client.outgoing.push_mark(OPEN)
        return connection.client

    def forget(self, connection: Connection) -> None:
        """Both ends are gone."""
        self._connections.pop(connection.number, None)

    def _of(self, wanted: Callable[[Stream], bool]) -> list[Connection]:
        """The connections of which an end is wanted, in the order they were made."""
        return [c for c in list(self._connections.values()) if wanted(c.client) or wanted(c.server)]

    # Hosts

    def host_died(self, host: Host, silent: bool = False) -> None:
        """The process has ended: its kernel closes its sockets. `silent`: the machine has lost its power, so nobody
        hears of it; what is sent to it disappears, and is answered with a reset once it is up again."""
        for server in list(self._listeners.values()):
            if server.host is host and server.life is not None and not server.life.is_alive:
                server.is_open = False
                del self._listeners[host.name, server.port]
        if silent:
            self._dark[host.name] = host.lives
            for link in self._links.values():
                self._refresh(link)
        for connection in list(self._connections.values()):
            for stream in connection.ends:
                if stream.host is host and stream.life is not None and not stream.life.is_alive:
                    stream.die(silent=silent)
        if silent:
            self._pull_back([link for link in self._links.values() if link.target == host.name])

    def host_resumed(self, host: Host) -> None:
        """Its process reads what its kernel has kept. Nothing to do: that was waiting for its life to go on."""

    def _pull_back(self, links: list[Link]) -> None:
        for connection in list(self._connections.values()):
            for way in connection.ways:
                if way.link in links:
                    way.pull_back()

    # Conditions: what a nemesis does

    def cut(self, links: Iterable[LinkName]) -> None:
        """No byte of these links arrives any more, those on their way included. Idempotent."""
        for link in self._named(links):
            if not link.is_cut:
                link.is_cut = link.is_blocked = True
                self.emit("cut", link=link.text)
                self._pull_back([link])

    def mend(self, links: Iterable[LinkName]) -> None:
        """Undo `cut` and `half_open`. What was held is sent again at the sender's next attempt; connections that were
        stuck for long, and those half open, are reset. Idempotent."""
        for link in self._named(links):
            was_cut, link.is_cut = link.is_cut, False
            self._refresh(link)
            if was_cut:
                self.emit("mend", link=link.text)
            for connection in list(self._connections.values()):
                if was_cut and self._was_stuck_for_long(connection, link):
                    self._reset(connection)
                    continue
                for stream in connection.ends:
                    if stream.incoming.is_ghost and stream.host.name == link.source:
                        stream.incoming.is_ghost = False
                        stream.outgoing.push_reset()
                    if was_cut and stream.outgoing.link is link:
                        stream.incoming.acknowledge()

    def _was_stuck_for_long(self, connection: Connection, link: Link) -> bool:
        least, most = self.options.reset_after_ns
        return any(
            way.link is link and way.stuck_ns() > least and way.stuck_ns() > self._fates.uniform(least, most)
            for way in connection.ways
        )

    def slow(self, links: Iterable[LinkName], delay_ns: int, jitter_ns: int = 0) -> None:
        """What leaves from now on arrives `delay_ns` +- `jitter_ns` later, in order. 0 undoes it."""
        if delay_ns < 0 or jitter_ns < 0:
            raise ValueError(
                f"cannot delay by {delay_ns} +- {jitter_ns} ns: bytes do not arrive before they leave"
            )
        for link in self._named(links):
            link.set_conditions(delay_ns=delay_ns, jitter_ns=jitter_ns)
            self.emit("slow", link=link.text, delay_ns=delay_ns, jitter_ns=jitter_ns)

    def throttle(self, links: Iterable[LinkName], bytes_per_s: int | None) -> None:
        """At most so many bytes a second over each link, all connections together. None undoes it."""
        if bytes_per_s is not None and bytes_per_s <= 0:
            raise ValueError(
                f"cannot let {bytes_per_s} bytes a second through: use `cut` for none, None for no limit"
            )
        for link in self._named(links):
            link.limit(bytes_per_s, self.loop.now_ns)
            self.emit("throttle", link=link.text, bytes_per_s=bytes_per_s)
            self._retime(link)

    def lose(self, links: Iterable[LinkName], share: float) -> None:
        """Of the segments this share is lost and sent again, so that it and all behind it arrive late. 0 undoes it."""
        if not 0 <= share <= LOSS_MOST:
            raise ValueError(
                f"cannot lose a share of {share}: it must be in [0, {LOSS_MOST}]; use `cut` to lose all"
            )
        for link in self._named(links):
            link.set_conditions(loss_share=share)
            self.emit("lose", link=link.text, share=share)
            if not share:
                self._retime(link)

    def _retime(self, link: Link) -> None:
        """What has not arrived leaves now, under the conditions of now."""
        for connection in list(self._connections.values()):
            for way in connection.ways:
                if way.link is link:
                    way.retime()

    def reset(self, links: Iterable[LinkName]) -> int:
        """Reset all connections between source and target, whoever opened them, at both ends; answers how many."""
        count = 0
        for link in self._named(links):
            for connection in self._between(link):
                self._reset(connection)
                count += 1
        return count

    def half_open(self, links: Iterable[LinkName]) -> int:
        """End the connections between source and target at their source only. The target goes on believing in them,
        and what it sends disappears, until `mend`. Answers how many."""
        count = 0
        for link in self._named(links):
            for connection in self._between(link):
                for stream in connection.ends:
                    if stream.host.name == link.source and not stream.is_gone:
                        stream.incoming.is_ghost = True
                        stream.incoming.pull_back()
                        stream.break_off(os_error(errno.ECONNRESET))
                        self.emit("half open", link=link.text, number=connection.number)
                        count += 1
                        break
        return count

    def heal_all(self) -> tuple[str, ...]:
        """Undo every condition of every link; answers what was healed, one sentence each."""
        healed = []
        for name in sorted(self._links):
            link = self._links[name]
            ghosts = self.ghosts(name)
            if link.conditions().is_healthy and not ghosts:
                continue
            what = [
                text
                for is_so, text in (
                    (link.is_cut, "cut"),
                    (link.delay_ns or link.jitter_ns, "slow"),
                    (link.bytes_per_s is not None, "throttled"),
                    (link.loss_share, "lossy"),
                    (ghosts, "left half open"),
                )
                if is_so
            ]
            healed.append(f"the link {link.text} was {', '.join(what)}")
            self.slow([name], 0)
            self.lose([name], 0.0)
            if link.bytes_per_s is not None:
                self.throttle([name], None)
            self.mend([name])
        return tuple(healed)

    def _named(self, links: Iterable[LinkName]) -> list[Link]:
        return [self.link(source, target) for source, target in links]

    def _between(self, link: Link) -> list[Connection]:
        return [
            connection
            for connection in list(self._connections.values())
            if sorted(stream.host.name for stream in connection.ends) == sorted(link.name)
        ]

    def _reset(self, connection: Connection) -> None:
        self.emit("reset", number=connection.number)
        for stream in connection.ends:
            if stream.protocol is None and not stream.is_gone:
                stream.turn_away()
            stream.break_off(os_error(errno.ECONNRESET))

    # What there is, and what a probe measures

    def conditions(self, link: LinkName) -> LinkConditions:
        """What is wrong with a link now, and what it has carried."""
        return self.link(*link).conditions()

    def open_ends(self, link: LinkName) -> tuple[int, int]:
        """Of the connections between source and target: how many ends are open at the source, and at the target."""
        counts = [0, 0]
        for connection in self._between(self.link(*link)):
            for stream in connection.ends:
                if not stream.is_gone:
                    counts[0 if stream.host.name == link[0] else 1] += 1
        return counts[0], counts[1]

    def ghosts(self, link: LinkName) -> int:
        """Connections that are half open: over at the source, believed in at the target."""
        return sum(
            stream.incoming.is_ghost and stream.host.name == link[0]
            for connection in self._between(self.link(*link))
            for stream in connection.ends
        )

    async def probe(
        self, link: LinkName, timeout_ns: int = PROBE_TIMEOUT_NS, size_bytes: int = 1
    ) -> int | None:
        """Send so many bytes over the link, from kernel to kernel, and measure how long they take, in ns. None: they
        had not arrived when the time was over."""
        path = self.link(*link)
        answer: asyncio.Future[int | None] = self.loop.create_future()
        begin = self.loop.now_ns

        def arrive() -> None:
            if not answer.done() and not self.is_blocked(path):
                answer.set_result(self.loop.now_ns - begin)

        def give_up() -> None:
            if not answer.done():
                answer.set_result(None)

        flight = None
        if not self.is_blocked(path):
            flight = self.loop.call_at_ns(path.transit(begin, size_bytes), arrive, context=self.kernel)
        timer = self.loop.call_at_ns(begin + timeout_ns, give_up, context=self.kernel)
        try:
            return await answer
        finally:
            timer.cancel()
            if flight is not None:
                flight.cancel()


class _Request:
    """A program asks for a connection: the handshake, and how often it is begun."""

    def __init__(self, network: Network, source: Host, target: Host, port: int) -> None:
        self._network = network
        self._loop = network.loop
        self._source = source
        self._target = target
        self._port = port
        self._there = network.link(source.name, target.name)
        self._back = network.link(target.name, source.name)
        self._context = contextvars.copy_context()
        self._life = self._context.get(LIFE)
        self._attempts = 0
        self._began_ns = self._loop.now_ns
        self._timer: Handle | None = None
        self._stream: Stream | None = None
        self.answer: asyncio.Future[Stream] = self._loop.create_future()
        self._ask()

    def withdraw(self) -> None:
        """The program does not wait any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None:
            self._stream.abort()

    def _ask(self) -> None:
        self._timer = None
        if not self._is_wanted():
            return
        network, now = self._network, self._loop.now_ns
        again_ns = now + (SECOND_NS << self._attempts)
        self._attempts += 1
        if now - self._began_ns >= network.options.connect_give_up_ns:
            self.answer.set_exception(self._error(errno.ETIMEDOUT, "nobody answered"))
            return
        if not network.is_blocked(self._there):
            self._loop.call_at_ns(self._there.transit(now, 0), self._asked, context=network.kernel)
        last_ns = self._began_ns + network.options.connect_give_up_ns
        self._timer = self._loop.call_at_ns(min(again_ns, last_ns), self._ask, context=network.kernel)

    def _asked(self) -> None:
        """At the target's kernel."""
        network = self._network
        if network.is_blocked(self._back):
            return
        server = network.listener(self._target.name, self._port)
        if server is not None:
            if server.waiting >= network.options.backlog:
                return
            server.waiting += 1
        when = self._back.transit(self._loop.now_ns, 0)
        self._loop.call_at_ns(when, self._answered, server, context=network.kernel)

    def _answered(self, server: SimulatedServer | None) -> None:
        """Back at the source's kernel."""
        if not self._is_wanted() or self._network.is_blocked(self._back):
            if server is not None:
                server.turned_away()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if server is None or not server.is_open:
            self.answer.set_exception(self._error(errno.ECONNREFUSED, "nobody listens there"))
            return
        self._stream = self._network.open_connection(self._source, self._life, self._context, server)
        self.answer.set_result(self._stream)

    def _is_wanted(self) -> bool:
        return not self.answer.done() and (self._life is None or self._life.is_alive)

    def _error(self, number: int, why: str) -> OSError:
        return OSError(number, f"Connect call failed ({self._target.name!r}, {self._port}): {why}")
