"""The packet engine: delays, loses, limits, repeats, reorders and damages packets, where the kernel has no netem.

Run as `python -m harness.environments.linux.packets CONTROL_FD`. A rule of iptables in a node's namespace hands the
packets of one directed link to a queue (NFQUEUE), this process reads the queue and gives each packet its verdict when
its time has come. It works on any kernel that has NFQUEUE, as ordinary packets and whatever protocol. Should it end,
the rules let everything pass (`--queue-bypass`): a dead engine heals the network, and the harness notices.

It speaks JSON lines with the harness over an inherited socket and ends when that closes. All chances come from one
stream, seeded by `seed`. It imports only the standard library and `entering.py`, so that it starts fast.

Sources: the netlink messages are those of linux/netfilter/nfnetlink_queue.h; losses in bursts follow Gilbert's
two-state model (Gilbert 1960).
"""

from __future__ import annotations

import array
import asyncio
import json
import random
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.environments.linux.entering import open_inside

NETLINK_NETFILTER = 12
SUBSYSTEM_QUEUE = 3
PACKET, VERDICT, CONFIG = 0, 1, 2
REQUEST, ACKNOWLEDGE = 1, 4
DROP, ACCEPT = 0, 1
SO_RCVBUFFORCE, SO_MARK = 33, 36
SOL_NETLINK, NO_ENOBUFS = 270, 5
FAIL_OPEN_AND_GSO = 1 | 4
COPY_PACKET = 2
MARK = 0x4D52
"""Of packets that this process sends itself: the rules let them pass."""
MOST_WAITING = 65_535
"""Packets that wait in the kernel for a verdict; more pass unhindered."""
WHOLE, HEAD = 0xFFFF, 20
"""Bytes of a packet that are copied to us: all of them only where they are repeated or damaged."""


@dataclass
class Condition:
    """What happens to the packets of one directed link. Times in seconds, chances between 0 and 1."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """The delay is uniform within delay - jitter and delay + jitter; packets stay in order all the same."""
    lose: float = 0.0
    burst: float = 1.0
    """Mean number of packets that are lost in a row; 1: each on its own."""
    bytes_per_s: float = 0.0
    """0: no limit."""
    duplicate: float = 0.0
    reorder: float = 0.0
    """Chance of a packet to overtake all that wait."""
    corrupt: float = 0.0
    """Chance of a packet to have one bit changed; a checksum finds most of these, which is then a loss."""

    @property
    def needs_whole(self) -> bool:
        return self.duplicate > 0 or self.corrupt > 0


@dataclass
class Queue:
    """One directed link: its condition and what was done so far."""

    condition: Condition = field(default_factory=Condition)
    is_losing: bool = False
    """In a burst of losses."""
    free_at: float = 0.0
    """When the link has carried all that was sent."""
    last_departure: float = 0.0
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("seen", "bytes", "delayed", "lost", "duplicated", "reordered", "corrupted"), 0
        )
    )


def attribute(number: int, body: bytes) -> bytes:
    """A netlink attribute, padded to four bytes."""
    length = 4 + len(body)
    return struct.pack("=HH", length, number) + body + b"\0" * (-length % 4)


class QueueSocket:
    """The queues of one namespace, over a netlink socket that was opened in it."""

    def __init__(
        self, opened: socket.socket, packet: Callable[[QueueSocket, int, int, bytes, int], None]
    ) -> None:
        """`packet` gets the queue's number, the packet's number, its first bytes and its length."""
        self.socket = opened
        self._packet = packet
        self._sequence = 0
        self._bound: set[int] = set()

    @staticmethod
    def open() -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        try:
            opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        except PermissionError:  # In a user namespace the limit of the host counts.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        opened.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)
        opened.bind((0, 0))
        return opened

    def bind(self, queue: int, whole: bool) -> None:
        """Have the packets of a queue, all of their bytes or the first ones. Raises OSError if somebody else has it."""
        self.socket.setblocking(True)
        self.socket.settimeout(2.0)
        try:
            if queue not in self._bound:
                self._configure(queue, attribute(1, struct.pack(">BBH", 1, 0, socket.AF_INET)))
                self._configure(queue, attribute(3, struct.pack(">I", MOST_WAITING)))
                flags = struct.pack(">I", FAIL_OPEN_AND_GSO)
                self._configure(queue, attribute(5, flags) + attribute(4, flags))
                self._bound.add(queue)
            self._configure(queue, attribute(2, struct.pack(">IB", WHOLE if whole else HEAD, COPY_PACKET)))
        finally:
            self.socket.setblocking(False)

    def _configure(self, queue: int, body: bytes) -> None:
        self._sequence += 1
        wanted = self._sequence
        self.socket.send(self._message(CONFIG, queue, body, REQUEST | ACKNOWLEDGE, wanted))
        while True:  # Packets of other queues may come before the answer.
            data = self.socket.recv(1 << 17)
            offset = 0
            while offset < len(data):
                length, kind, _flags, sequence, _ = struct.unpack_from("=IHHII", data, offset)
                if kind == 2 and sequence == wanted:  # NLMSG_ERROR, whose number 0 means yes.
                    (error,) = struct.unpack_from("=i", data, offset + 16)
                    if error:
                        raise OSError(-error, f"queue {queue} cannot be had")
                    return
                self._take(data, offset, length)
                offset += (length + 3) & ~3

    def verdict(self, queue: int, packet: int, accept: bool, payload: bytes | None = None) -> None:
        """Lets a packet go on, perhaps changed, or lose it."""
        body = attribute(2, struct.pack(">II", ACCEPT if accept else DROP, packet))
        if payload is not None:
            body += attribute(10, payload)
        try:
            self.socket.send(self._message(VERDICT, queue, body, REQUEST, 0))
        except BlockingIOError:
            asyncio.get_running_loop().call_later(0.001, self.verdict, queue, packet, accept, payload)

    @staticmethod
    def _message(kind: int, queue: int, body: bytes, flags: int, sequence: int) -> bytes:
        head = struct.pack("=IHHII", 20 + len(body), SUBSYSTEM_QUEUE << 8 | kind, flags, sequence, 0)
        return head + struct.pack(">BBH", 0, 0, queue) + body

    def readable(self) -> None:
        """Packets have come."""
        for _ in range(64):
            try:
                data = self.socket.recv(1 << 17)
            except BlockingIOError:
                return
            offset = 0
            while offset < len(data):
                (length,) = struct.unpack_from("=I", data, offset)
                self._take(data, offset, length)
                offset += (length + 3) & ~3

    def _take(self, data: bytes, offset: int, length: int) -> None:
        kind = struct.unpack_from("=H", data, offset + 4)[0]
        if kind != SUBSYSTEM_QUEUE << 8 | PACKET:
            return
        (queue,) = struct.unpack_from(">H", data, offset + 18)
        place, end = offset + 20, offset + length
        packet, payload, whole_length = 0, b"", 0
        while place < end:
            size, number = struct.unpack_from("=HH", data, place)
            match number & 0x7FFF:
                case 1:
                    (packet,) = struct.unpack_from(">I", data, place + 4)
                case 10:
                    payload = data[place + 4 : place + size]
                case 13:  # The length before it was cut.
                    (whole_length,) = struct.unpack_from(">I", data, place + 4)
            place += (size + 3) & ~3
        self._packet(self, queue, packet, payload, whole_length or len(payload))


class Namespace:
    """The queues of one node, and what happens to their packets."""

    def __init__(self, pid: int, chances: random.Random) -> None:
        self._chances = chances
        self._loop = asyncio.get_running_loop()
        self.queues: dict[int, Queue] = {}
        self._link = QueueSocket(open_inside(pid, QueueSocket.open), self._arrived)
        self._raw = open_inside(pid, _open_raw)
        self._loop.add_reader(self._link.socket, self._link.readable)

    def close(self) -> None:
        self._loop.remove_reader(self._link.socket)
        self._link.socket.close()
        self._raw.close()

    def put(self, number: int, condition: Condition) -> None:
        """From now on the packets of this queue meet this condition."""
        queue = self.queues.setdefault(number, Queue())
        queue.condition, queue.is_losing, queue.free_at = condition, False, 0.0
        self._link.bind(number, condition.needs_whole)

    def _arrived(self, link: QueueSocket, number: int, packet: int, payload: bytes, length: int) -> None:
        queue = self.queues.get(number)
        if queue is None:
            link.verdict(number, packet, True)
            return
        counts, condition, chance = queue.counts, queue.condition, self._chances.random
        counts["seen"] += 1
        counts["bytes"] += length
        if _is_lost(queue, chance):
            counts["lost"] += 1
            link.verdict(number, packet, False)
            return
        changed: bytes | None = None
        if condition.corrupt and chance() < condition.corrupt and length == len(payload):
            counts["corrupted"] += 1
            changed = _one_bit_changed(payload, self._chances)
        if condition.duplicate and chance() < condition.duplicate and length == len(payload):
            counts["duplicated"] += 1
            self._send_again(payload)
        now = self._loop.time()
        departure = now + max(0.0, condition.delay_s + condition.jitter_s * (2 * chance() - 1))
        if condition.bytes_per_s:
            queue.free_at = max(queue.free_at, now) + length / condition.bytes_per_s
            departure = max(departure, queue.free_at + condition.delay_s)
        if condition.reorder and queue.last_departure > now and chance() < condition.reorder:
            counts["reordered"] += 1
            departure = now
        else:
            departure = queue.last_departure = max(departure, queue.last_departure)
        if departure <= now:
            link.verdict(number, packet, True, changed)
        else:
            counts["delayed"] += 1
            self._loop.call_at(departure, link.verdict, number, packet, True, changed)

    def _send_again(self, packet: bytes) -> None:
        """A second copy, through the namespace's own loopback; its checksum may not have been computed yet."""
        try:
            self._raw.sendto(with_checksum(packet), (socket.inet_ntoa(packet[16:20]), 0))
        except OSError:
            return  # Too large to be sent at once: a burst that the sender's card would have cut.


def _open_raw() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
    opened.setsockopt(socket.SOL_SOCKET, SO_MARK, MARK)
    return opened


def _is_lost(queue: Queue, chance: Callable[[], float]) -> bool:
    """Gilbert's model: bursts with a mean length, and the wanted share of losses in all."""
    condition = queue.condition
    if not condition.lose:
        return False
    if condition.lose >= 1:
        return True
    if condition.burst <= 1:
        return chance() < condition.lose
    if queue.is_losing:
        queue.is_losing = chance() >= 1 / condition.burst
    else:
        queue.is_losing = chance() < condition.lose / (condition.burst * (1 - condition.lose))
    return queue.is_losing


def _one_bit_changed(packet: bytes, chances: random.Random) -> bytes:
    """A bit behind the header of IP, which would never arrive if it were damaged."""
    header = (packet[0] & 15) * 4
    if len(packet) <= header:
        return packet
    place = chances.randrange(header, len(packet))
    return packet[:place] + bytes([packet[place] ^ 1 << chances.randrange(8)]) + packet[place + 1 :]


def with_checksum(packet: bytes) -> bytes:
    """An IPv4 packet with the checksum of its TCP or UDP computed anew; others as they are."""
    header = (packet[0] & 15) * 4
    place = {socket.IPPROTO_TCP: header + 16, socket.IPPROTO_UDP: header + 6}.get(packet[9])
    if place is None or len(packet) < place + 2:
        return packet
    body = packet[header:place] + b"\0\0" + packet[place + 2 :]
    summed = packet[12:20] + struct.pack(">BBH", 0, packet[9], len(body)) + body
    words = array.array("H", summed + b"\0" * (len(summed) % 2))
    if sys.byteorder == "little":
        words.byteswap()
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:place] + struct.pack(">H", (~total & 0xFFFF) or 0xFFFF) + packet[place + 2 :]


class PacketEngine:
    """Serves the harness until it goes."""

    def __init__(self, control: socket.socket, seed: int) -> None:
        self._control = control
        self._chances = random.Random(seed)
        self._namespaces: dict[str, Namespace] = {}

    async def serve(self) -> None:
        reader, writer = await asyncio.open_connection(sock=self._control)
        attached = True
        while line := await reader.readline():
            request = json.loads(line)
            answer: dict[str, Any] = {"id": request["id"]}
            if request["verb"] == "stay":
                attached = False
            try:
                answer |= {"ok": True, "result": self._do(request)}
            except (OSError, ValueError, KeyError, TypeError) as error:
                answer |= {"ok": False, "error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        if not attached:
            await asyncio.get_running_loop().create_future()

    def _do(self, request: dict[str, Any]) -> Any:
        match request["verb"]:
            case "open":
                self._close(request["node"])
                self._namespaces[request["node"]] = Namespace(request["pid"], self._chances)
                return None
            case "close":
                self._close(request["node"])
                return None
            case "put":
                self._namespaces[request["node"]].put(request["queue"], Condition(**request["condition"]))
                return None
            case "counters":
                return [
                    {"node": node, "queue": number, **queue.counts}
                    for node, namespace in self._namespaces.items()
                    for number, queue in namespace.queues.items()
                ]
            case "ping" | "stay":
                return None
            case verb:
                raise ValueError(f"unknown verb {verb!r}; known: open, close, put, counters, ping, stay")

    def _close(self, node: str) -> None:
        namespace = self._namespaces.pop(node, None)
        if namespace is not None:
            namespace.close()


def main() -> None:
    """Entry point of the process: the control socket's number, and the seed of all chances."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.setblocking(False)
    asyncio.run(PacketEngine(control, int(sys.argv[2])).serve())


if __name__ == "__main__":
    main()
