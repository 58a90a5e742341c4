"""Connections between simulated hosts: what TCP promises to an asyncio program, and how it breaks.

Each direction of a connection is a `Way`: segments fly in order, each due at a time that its link drew, and one timer
waits for the first of them. The timer belongs to the life that reads. So a paused process finds in its kernel what came
meanwhile, and a direction costs one event for each piece, none for acknowledgements.

What can happen to a segment:
- it arrives, late if it was lost and sent again; those behind it wait (order is never broken);
- the link is cut, or the target has no power: it is *held*, and sent again after 0.2, 0.4, 0.8, ... s until it gets
  through, or the sender gives up;
- nobody owns the other end any more: the kernel there answers with a reset, which is not sent again if it is lost.

Closing is as a kernel does it, whether by `close`, `abort` or the end of the process: what the kernel has taken is
delivered, then comes the end of the stream; but who closes with bytes unread sends a reset.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import logging
import os
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from harness.environments.simulation.links import Link
from harness.environments.simulation.loop import SimulatedLoop
from harness.environments.simulation.messages import Tape
from harness.environments.simulation.queue_kernel import Handle

if TYPE_CHECKING:
    from harness.environments.simulation.host import Host
    from harness.environments.simulation.network import Network

OPEN: Final = "open"
"""The first thing on a connection: the target is to accept it."""
END: Final = "end"
"""The sender will send nothing more."""
RESET: Final = "reset"
"""There is no such connection (any more)."""

SEGMENT_MOST_BYTES = 64 * 1024
"""Writes of one instant are sent as one up to this size."""
LIMITED_SEGMENT_BYTES = 8 * 1024
"""Over a link with limited bandwidth, segments are this small, so that connections share it."""
SPLIT_NS = 30_000
"""How much later the second piece of a segment comes, at most."""
HIGH_WATER_BYTES = 64 * 1024
"""As asyncio's default."""


def os_error(number: int) -> OSError:
    """The error that the operating system gives by this number: `ConnectionResetError` and so on."""
    return OSError(number, os.strerror(number))


class Acceptor(Protocol):
    """A listener, as its connections see it."""

    life: Any
    context: contextvars.Context
    is_open: bool

    def accepted(self) -> asyncio.BaseProtocol:
        """One connection is taken from the backlog; answers the protocol for it."""

    def attach(self) -> None:
        """One of its connections is open."""

    def detach(self) -> None:
        """One of its connections is over."""

    def turned_away(self) -> None:
        """One connection has left the backlog without being accepted."""


class Way:
    """One direction of a connection."""

    __slots__ = (
        "_joinable_ns",
        "_last_ns",
        "_loop",
        "_network",
        "_retries",
        "_retry_timer",
        "_stuck_since_ns",
        "_timer",
        "back",
        "context",
        "flying",
        "held",
        "is_ghost",
        "is_read",
        "link",
        "outstanding",
        "receiver",
        "reset_due_ns",
        "sender",
        "tape",
        "unacknowledged",
    )

    sender: Stream
    receiver: Stream

    def __init__(self, network: Network, link: Link, back: Link, context: contextvars.Context) -> None:
        """`back` is the link that acknowledgements take; `context` is that of the life which reads."""
        self._network = network
        self._loop: SimulatedLoop = network.loop
        self.link = link
        self.back = back
        self.context = context
        self.flying: deque[list[Any]] = deque()
        """[when it arrives, bytes or a mark], in order; what has arrived and is unread is here too."""
        self.held: deque[bytes | str] = deque()
        """What must be sent again, in order. While there is any, nothing behind it leaves."""
        self.outstanding = 0
        """Bytes that the kernels have taken and the receiver has not acknowledged."""
        self.unacknowledged = 0
        """Of these, bytes that were read, but the way back is cut."""
        self.is_read = True
        """The receiver takes what arrives (False: reading is paused, or nobody is there yet)."""
        self.is_ghost = False
        """The other end has been forgotten (half-open): whatever is sent disappears."""
        self.reset_due_ns = 0
        """When a reset arrives; 0: none is on its way."""
        self.tape: Tape | None = None
        """What is written and read here is noted there, where a run keeps its messages."""
        self._last_ns = 0
        self._joinable_ns = -1
        self._timer: Handle | None = None
        self._retry_timer: Handle | None = None
        self._retries = 0
        self._stuck_since_ns = 0

    # Sending

    def push(self, data: bytes) -> None:
        """The kernel takes these bytes and sends them."""
        self.outstanding += len(data)
        if (self.held or self.link.is_blocked or self.is_ghost) and self._is_stuck():
            self._hold(data)
        else:
            self._launch(data)

    def push_mark(self, mark: str) -> None:
        """Send OPEN or END, behind all bytes."""
        if self.receiver.is_gone:
            return
        if self._is_stuck():
            self._hold(mark)
        else:
            self._fly(mark, 0)

    def push_reset(self) -> None:
        """Send RESET, behind what is already flying. It takes the place of what was held, and is never sent again."""
        self.drop_held()
        if not (self.receiver.is_gone or self.reset_due_ns or self._is_stuck()):
            self._fly(RESET, 0)
            self.reset_due_ns = self._last_ns

    def _is_stuck(self) -> bool:
        return bool(self.held) or self.is_ghost or self._network.is_blocked(self.link)

    def _launch(self, data: bytes) -> None:
        link, now, size = self.link, self._loop.now_ns, len(data)
        if now == self._joinable_ns and link.is_plain and self.flying:
            last = self.flying[-1]
            if len(last[1]) + size <= SEGMENT_MOST_BYTES:
                last[1] += data
                return
        if link.bytes_per_s is not None and size > LIMITED_SEGMENT_BYTES:
            for start in range(0, size, LIMITED_SEGMENT_BYTES):
                part = data[start : start + LIMITED_SEGMENT_BYTES]
                self._fly(part, len(part))
        elif size > 1 and link.splits():
            middle = link.splits_at(size)
            self._fly(data[:middle], middle)
            self._last_ns += link.splits_at(SPLIT_NS)
            self._fly(data[middle:], size - middle)
        else:
            self._fly(data, size)
        self._joinable_ns = now

    def _fly(self, item: bytes | str, size: int) -> None:
        when = self.link.transit(self._loop.now_ns, size)
        if when < self._last_ns:
            when = self._last_ns
        else:
            self._last_ns = when
        self._joinable_ns = -1
        self.flying.append([when, item])
        if self._timer is None and self.is_read:
            self._timer = self._loop.call_at_ns(self.flying[0][0], self._arrive, context=self.context)

    # Being stuck

    def _hold(self, item: bytes | str) -> None:
        if not self.held:
            self._begin_to_wait()
        self.held.append(item)

    def _begin_to_wait(self) -> None:
        self._stuck_since_ns, self._retries = self._loop.now_ns, 0
        self._arm_retry()

    def _arm_retry(self) -> None:
        options = self._network.options
        delay_ns = min(options.retransmission_ns << self._retries, options.retransmission_most_ns)
        self._retries += 1
        self._retry_timer = self._loop.call_at_ns(
            self._loop.now_ns + delay_ns, self._retry, context=self._network.kernel
        )

    def _retry(self) -> None:
        self._retry_timer = None
        if self.is_ghost or self._network.is_blocked(self.link):
            if self._loop.now_ns - self._stuck_since_ns >= self._network.options.give_up_ns:
                self.drop_held()
                self.sender.break_off(os_error(errno.ETIMEDOUT))
            else:
                self._arm_retry()
            return
        held, self.held = self.held, deque()
        for item in _joined(held):
            if isinstance(item, bytes):
                self._launch(item)
            else:
                self._fly(item, 0)

    def pull_back(self) -> None:
        """Nothing gets through any more: what has not arrived must be sent again (a reset is lost)."""
        now = self._loop.now_ns
        lost: list[bytes | str] = []
        while self.flying and self.flying[-1][0] > now:
            lost.append(self.flying.pop()[1])
        if RESET in lost:
            lost.remove(RESET)
            self.reset_due_ns = 0
        if lost:
            if not self.held:
                self._begin_to_wait()
            self.held.extendleft(lost)
        self._last_ns = now
        self._joinable_ns = -1

    def retime(self) -> None:
        """The bandwidth or the losses of the link have changed: what has not arrived leaves now."""
        now = self._loop.now_ns
        self._last_ns = now
        for item in self.flying:
            if item[0] > now:
                size = len(item[1]) if isinstance(item[1], bytes) else 0
                item[0] = self._last_ns = max(self._last_ns, self.link.transit(now, size))
        if self.reset_due_ns > now:
            self.reset_due_ns = self._last_ns
        self.rearm()

    def stuck_ns(self) -> int:
        """For how long the first byte held has waited."""
        return self._loop.now_ns - self._stuck_since_ns if self.held else 0

    def drop_held(self) -> None:
        """What was held is given up."""
        self.held.clear()
        if self._retry_timer is not None:
            self._retry_timer.cancel()
            self._retry_timer = None

    def drop(self) -> None:
        """Nothing travels here any more."""
        self.drop_held()
        self.flying.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Arriving

    def arm(self) -> None:
        """Wait for what arrives first."""
        if self._timer is None and self.flying and self.is_read:
            when = max(self._loop.now_ns, self.flying[0][0])
            self._timer = self._loop.call_at_ns(when, self._arrive, context=self.context)

    def rearm(self) -> None:
        """As `arm`, after the times, or whose it is, have changed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.arm()

    def read_by_kernel(self, context: contextvars.Context) -> None:
        """Nobody owns the receiving end any more."""
        self.is_read = True
        self.context = context
        self.rearm()

    def has_unread_bytes(self) -> bool:
        """Bytes have arrived that the receiver has not read."""
        return (
            bool(self.flying)
            and self.flying[0][0] <= self._loop.now_ns
            and isinstance(self.flying[0][1], bytes)
        )

    def _arrive(self) -> None:
        self._timer = None
        flying, now = self.flying, self._loop.now_ns
        if not self.is_read or not flying:
            return
        if flying[0][0] > now:
            self.arm()
            return
        item = flying.popleft()[1]
        if type(item) is not bytes:
            if flying:
                self.arm()
            if self._network.is_traced:
                self._network.emit(item, link=self.link.text)
            self.receiver.take_mark(item)
            return
        if flying and flying[0][0] <= now:
            pieces = [item]
            while flying and flying[0][0] <= now and type(flying[0][1]) is bytes:
                pieces.append(flying.popleft()[1])
            item = b"".join(pieces)
        if self.back.is_blocked and self._network.is_blocked(self.back):
            self.unacknowledged += len(item)
        else:
            self.outstanding -= len(item)
            if self.sender.queue:
                self.sender.pump_at(now + self.back.base_ns)
        if flying:
            self.arm()
        if self._network.is_traced:
            self._network.emit("bytes", link=self.link.text, size=len(item))
        if self.tape is not None and not self.receiver.is_gone:
            self.tape.arrived(len(item), now)
        self.receiver.take(item)

    def acknowledge(self) -> None:
        """The way back is free again: the sender hears what has been read."""
        self.outstanding -= self.unacknowledged
        self.unacknowledged = 0
        if self.sender.queue:
            self.sender.pump_at(self._loop.now_ns + self.back.base_ns)


def _joined(items: Iterable[bytes | str]) -> list[bytes | str]:
    """Neighbouring bytes as one, up to the size of a segment."""
    joined: list[bytes | str] = []
    for item in items:
        last = joined[-1] if joined else OPEN
        if (
            isinstance(item, bytes)
            and isinstance(last, bytes)
            and len(last) + len(item) <= SEGMENT_MOST_BYTES
        ):
            joined[-1] = last + item
        else:
            joined.append(item)
    return joined


class Stream(asyncio.Transport):
    """One end of a connection: the transport of a protocol, and the kernel's socket under it."""

    __slots__ = (
        "__weakref__",
        "_acceptor",
        "_connection",
        "_high_water",
        "_is_buffered",
        "_is_closing",
        "_is_ended",
        "_is_reading_paused",
        "_is_writing_paused",
        "_loop",
        "_low_water",
        "_network",
        "_pump_timer",
        "_queued",
        "_window",
        "_writes_lost",
        "context",
        "host",
        "incoming",
        "is_gone",
        "life",
        "outgoing",
        "protocol",
        "queue",
    )

    def __init__(
        self,
        connection: Connection,
        host: Host,
        life: Any,
        context: contextvars.Context,
        incoming: Way,
        outgoing: Way,
        extra: dict[str, Any],
        acceptor: Acceptor | None,
    ) -> None:
        super().__init__(extra)
        self._connection = connection
        self._network = connection.network
        self._loop: SimulatedLoop = connection.network.loop
        self.host = host
        self.life = life
        self.context = context
        self.incoming = incoming
        self.outgoing = outgoing
        self.protocol: Any = None
        self.queue: deque[bytes] = deque()
        """What was written and the kernel has not taken."""
        self.is_gone = False
        """The socket is closed: nobody owns this end any more."""
        self._acceptor = acceptor
        self._queued = 0
        self._window = connection.network.options.window_bytes
        self._is_closing = False
        self._is_ended = False
        self._is_buffered = False
        self._is_reading_paused = False
        self._is_writing_paused = False
        self._high_water = HIGH_WATER_BYTES
        self._low_water = HIGH_WATER_BYTES // 4
        self._pump_timer: Handle | None = None
        self._writes_lost = 0
        incoming.receiver = self
        outgoing.sender = self

    def __repr__(self) -> str:
        state = "closed" if self.is_gone else "closing" if self._is_closing else "open"
        return f"<Stream {self._extra['sockname']} to {self._extra['peername']} {state}>"  # type: ignore[attr-defined]

    # What arrives

    def begin(self, protocol: Any) -> None:
        """A protocol owns this end from now on."""
        self.set_protocol(protocol)
        protocol.connection_made(self)
        if not self.is_gone and not self._is_closing:
            self.incoming.is_read = not self._is_reading_paused
            self.incoming.arm()

    def take(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self.is_gone:
            self.outgoing.push_reset()
            return
        if self._is_closing:
            return
        try:
            if self._is_buffered:
                self._fill(data)
            else:
                self.protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as asyncio: a protocol that fails loses its connection.
            self._fail("protocol.data_received() call failed.", error)

    def _fill(self, data: bytes) -> None:
        while data and not self._is_closing:
            buffer = self.protocol.get_buffer(len(data))
            size = min(len(buffer), len(data))
            if not size:
                raise RuntimeError("get_buffer() returned an empty buffer")
            buffer[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]

    def take_mark(self, mark: str) -> None:
        """A connection was opened, ended or reset from the other side."""
        match mark:
            case "open":
                self._accept()
            case "end":
                self._take_end()
            case "reset":
                self.break_off(os_error(errno.ECONNRESET))

    def _accept(self) -> None:
        acceptor = self._acceptor
        assert acceptor is not None, "only the end of a listener is told to open"
        if self.is_gone or not acceptor.is_open:
            self.turn_away()
            return
        try:
            protocol = acceptor.accepted()
        except Exception as error:  # noqa: BLE001 - as asyncio: the factory is the program's.
            self._fail("Error on transport creation for incoming connection", error)
            return
        acceptor.attach()
        self.begin(protocol)

    def turn_away(self) -> None:
        """A connection that nobody accepted is reset."""
        if self.is_gone:
            return
        if self._acceptor is not None:
            self._acceptor.turned_away()
        self._leave()
        self.outgoing.push_reset()

    def _take_end(self) -> None:
        if self._is_closing:
            return
        try:
            keep_open = self.protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as asyncio: a protocol that fails loses its connection.
            self._fail("protocol.eof_received() call failed.", error)
            return
        if not keep_open:
            self.close()

    def _fail(self, message: str, error: BaseException) -> None:
        self._loop.call_exception_handler(
            {
                "message": f"Fatal error: {message}",
                "exception": error,
                "transport": self,
                "protocol": self.protocol,
            }
        )
        self._close_now(error)

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send; what the kernels do not take waits in the buffer."""
        if self._is_ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._is_closing:
            self._warn_of_lost_write()
            return
        if not data:
            return
        data = bytes(data)
        if self.incoming.reset_due_ns and self._is_reset():
            self.break_off(os_error(errno.ECONNRESET))
            return
        if self.outgoing.tape is not None:
            self.outgoing.tape.wrote(data, self._loop.now_ns)
        room = self._window - self.outgoing.outstanding
        if not self.queue and len(data) <= room:
            self.outgoing.push(data)
            return
        if not self.queue and room > 0:
            self.outgoing.push(data[:room])
            data = data[room:]
        self.queue.append(data)
        self._queued += len(data)
        self._maybe_pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send them all."""
        self.write(b"".join(list_of_data))

    def _is_reset(self) -> bool:
        """A reset has arrived and was not read, as reading is paused: a kernel tells it to who writes."""
        return 0 < self.incoming.reset_due_ns <= self._loop.now_ns

    def _warn_of_lost_write(self) -> None:
        self._writes_lost += 1
        if self._writes_lost == 5:
            logging.getLogger("asyncio").warning("socket.send() raised exception.")

    def pump_at(self, when_ns: int) -> None:
        """The kernels have room again: go on then."""
        if self._pump_timer is None:
            self._pump_timer = self._loop.call_at_ns(when_ns, self._pump, context=self.context)

    def _pump(self) -> None:
        self._pump_timer = None
        if self._is_reset():
            self.break_off(os_error(errno.ECONNRESET))
            return
        queue, outgoing = self.queue, self.outgoing
        while queue and (room := self._window - outgoing.outstanding) > 0:
            data = queue.popleft()
            if len(data) > room:
                queue.appendleft(data[room:])
                data = data[:room]
            self._queued -= len(data)
            outgoing.push(data)
        self._maybe_resume_writing()
        if not queue:
            if self._is_closing:
                self._close_socket(None)
            elif self._is_ended:
                outgoing.push_mark(END)

    def _maybe_pause_writing(self) -> None:
        if self._queued > self._high_water and not self._is_writing_paused:
            self._is_writing_paused = True
            self._tell_writer("pause_writing")

    def _maybe_resume_writing(self) -> None:
        if self._is_writing_paused and self._queued <= self._low_water:
            self._is_writing_paused = False
            self._tell_writer("resume_writing")

    def _tell_writer(self, what: str) -> None:
        try:
            getattr(self.protocol, what)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as asyncio: told to whoever owns the loop.
            self._loop.call_exception_handler(
                {"message": f"protocol.{what}() failed", "exception": error, "transport": self}
            )

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As asyncio's."""
        if high is None:
            high = HIGH_WATER_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high_water, self._low_water = high, low
        self._maybe_pause_writing()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high) in bytes."""
        return self._low_water, self._high_water

    def get_write_buffer_size(self) -> int:
        """Bytes written that the kernel has not taken."""
        return self._queued

    def can_write_eof(self) -> bool:
        """It can."""
        return True

    def write_eof(self) -> None:
        """Send nothing more, and go on reading."""
        if self._is_closing or self._is_ended:
            return
        self._is_ended = True
        if not self.queue:
            self.outgoing.push_mark(END)

    # Reading

    def is_reading(self) -> bool:
        """Whether what arrives is given to the protocol."""
        return not self._is_closing and not self._is_reading_paused

    def pause_reading(self) -> None:
        """Leave what arrives in the kernel; when that is full, the sender must wait."""
        if not self._is_closing and not self._is_reading_paused:
            self._is_reading_paused = True
            self.incoming.is_read = False

    def resume_reading(self) -> None:
        """Go on reading."""
        if not self._is_closing and self._is_reading_paused:
            self._is_reading_paused = False
            self.incoming.is_read = True
            self.incoming.arm()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who is told from now on."""
        self.protocol = protocol
        self._is_buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told."""
        protocol: asyncio.BaseProtocol = self.protocol
        return protocol

    # The end

    def is_closing(self) -> bool:
        """Whether it is closed, or will be when the buffer is empty."""
        return self._is_closing

    def close(self) -> None:
        """Send what is in the buffer, then end. Reads nothing more."""
        if self._is_closing:
            return
        self._is_closing = True
        if not self.queue:
            self._close_socket(None)
        elif not self._is_reading_paused:
            self.incoming.is_read = False

    def abort(self) -> None:
        """End now; what is in the buffer is lost."""
        self._close_now(None)

    def _close_now(self, error: BaseException | None) -> None:
        if self.is_gone:
            return
        self._is_closing = True
        self._close_socket(error)

    def _close_socket(self, error: BaseException | None) -> None:
        """The program closes it, or a kernel does for a program that ended."""
        if self.is_gone:
            return
        has_unread = self.incoming.has_unread_bytes()
        has_ended = self._is_ended and not self.queue
        self._leave()
        if has_unread:
            self.outgoing.push_reset()
        elif not has_ended:
            self.outgoing.push_mark(END)
        self._loop.call_soon(self._tell_lost, error, context=self.context)

    def break_off(self, error: BaseException) -> None:
        """The connection has broken: this end is told, the other hears nothing of it from here."""
        if self.is_gone:
            return
        self.outgoing.drop_held()
        self._leave()
        self._loop.call_soon(self._tell_lost, error, context=self.context)

    def die(self, *, silent: bool) -> None:
        """The process has ended: its kernel closes the socket, or there is no kernel any more (`silent`)."""
        if self.is_gone:
            return
        has_unread = self.incoming.has_unread_bytes()
        has_ended = self._is_ended and not self.queue
        self._leave()
        if silent:
            self.outgoing.drop_held()
        elif has_unread or self.protocol is None:
            self.outgoing.push_reset()
        elif not has_ended:
            self.outgoing.push_mark(END)

    def _leave(self) -> None:
        self.is_gone = self._is_closing = True
        self.queue.clear()
        self._queued = 0
        if self._pump_timer is not None:
            self._pump_timer.cancel()
            self._pump_timer = None
        self.incoming.read_by_kernel(self._network.kernel)
        self._connection.has_lost_an_end()

    def _tell_lost(self, error: BaseException | None) -> None:
        protocol, self.protocol = self.protocol, None
        try:
            if protocol is not None:
                protocol.connection_lost(error)
        finally:
            if self._acceptor is not None and protocol is not None:
                self._acceptor.detach()


class Connection:
    """Two ends and the two ways between them. Registered with the network while either end is open."""

    __slots__ = ("client", "network", "number", "server")

    def __init__(
        self,
        network: Network,
        number: int,
        source: Host,
        source_port: int,
        source_life: Any,
        source_context: contextvars.Context,
        target: Host,
        target_port: int,
        acceptor: Acceptor,
    ) -> None:
        self.network = network
        self.number = number
        there, back = network.link(source.name, target.name), network.link(target.name, source.name)
        outgoing = Way(network, there, back, acceptor.context)
        incoming = Way(network, back, there, source_context)
        ours, theirs = (source.address, source_port), (target.address, target_port)
        incoming.is_read = False
        self.client = Stream(
            self,
            source,
            source_life,
            source_context,
            incoming,
            outgoing,
            {"sockname": ours, "peername": theirs, "socket": None},
            None,
        )
        self.server = Stream(
            self,
            target,
            acceptor.life,
            acceptor.context,
            outgoing,
            incoming,
            {"sockname": theirs, "peername": ours, "socket": None},
            acceptor,
        )

    @property
    def ways(self) -> tuple[Way, Way]:
        """From the client, and to it."""
        return self.client.outgoing, self.client.incoming

    @property
    def ends(self) -> tuple[Stream, Stream]:
        """The client's and the server's."""
        return self.client, self.server

    def has_lost_an_end(self) -> None:
        """Once nobody is left to read, nothing travels any more."""
        if self.client.is_gone and self.server.is_gone:
            for way in self.ways:
                way.drop()
            self.network.forget(self)
