"""The network namespace of one node, from outside: rules into it, and probes that start and end in it.

Where this process may enter the namespace (as root on this host, or in the user namespace that it belongs to),
`nsenter` runs the host's iptables inside (4 ms), and probe sockets are opened in it. Other ways in are those of an
environment (`Programs`); then only the rules' packet counters prove a cut.

A probe is a datagram from one end's namespace to the other's, seen arriving or not: it knows the direction, touches
no port of the database, and works while the node is paused. A namespace dies with its last process, and its rules too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.environments.linux import rules
from harness.environments.linux.entering import open_inside
from harness.environments.linux.rules import Rule
from nemesis.cluster import FaultFailed

_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
WAIT_FOR_LOCK = "--wait=5"
"""The older iptables has one lock for the whole host, which another namespace may hold just now."""
PROBE_TRIES = 3
RESEND_S = 0.1
"""How often the datagrams of a probe are sent again while none has arrived."""
ARRIVAL_WAIT_S = 1.5
"""Longest wait for a datagram that should arrive. On one host it takes well under a millisecond; a namespace that was
just made may first have to ask for its neighbours, which the kernel repeats after a second."""
ABSENCE_WAIT_S = 0.05
"""How long a datagram may be overdue before it counts as lost; the drop counter is looked at as well."""


@dataclass(frozen=True)
class Tools:
    """The pair of programs that work in the namespaces of this host."""

    restore: str
    save: str


VARIANTS = (
    Tools("iptables-restore", "iptables-save"),
    Tools("iptables-legacy-restore", "iptables-legacy-save"),
    Tools("iptables-nft-restore", "iptables-nft-save"),
)
"""In order of preference: the system's own choice first."""


class Programs(Protocol):
    """Runs a program in the namespace of a node."""

    async def run(self, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        """Exit status, and its output with its errors; `text` is its standard input."""


def search_path() -> str:
    """PATH with the folders of system programs, which an ordinary user's lacks."""
    return f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"


def may_enter_namespaces() -> bool:
    """Whether this process can work in the namespaces of others from outside: root, nsenter and iptables."""
    return os.geteuid() == 0 and not lacking_programs()


def lacking_programs() -> list[str]:
    """Which of the programs are not there that rules and probes in namespaces need, each with its Debian package."""
    path = search_path()
    lacking = []
    if shutil.which("nsenter", path=path) is None:
        lacking.append("nsenter (package util-linux)")
    if not any(shutil.which(tools.restore, path=path) for tools in VARIANTS):
        lacking.append("iptables-restore (package iptables)")
    return lacking


class EnteredPrograms:
    """Programs of the host, run in the namespace of a process by `nsenter`."""

    def __init__(self, pid: int, variables: Mapping[str, str] | None = None) -> None:
        """`variables` are added to the programs' environment."""
        self._namespace = f"/proc/{pid}/ns/net"
        self._variables = dict(variables or {})

    async def run(self, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        """See `Programs`. In a thread: it takes milliseconds, and works alike on every event loop."""
        return await asyncio.to_thread(self._run, argv, text)

    def _run(self, argv: Sequence[str], text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["nsenter", f"--net={self._namespace}", "--", *argv],
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": search_path(), **self._variables},
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace")


class Arrivals:
    """When each of some datagrams came, until enough have."""

    def __init__(self, expected: int) -> None:
        self.times: dict[bytes, float] = {}
        """By datagram, in seconds of the monotonic clock; of several copies the first. Not in the loop's time, which
        uvloop counts in milliseconds."""
        self._expected = expected
        self._complete = asyncio.Event()

    def note(self, token: bytes) -> None:
        self.times.setdefault(token, time.monotonic())
        if len(self.times) == self._expected:
            self._complete.set()

    async def wait(self, timeout_s: float) -> bool:
        """Until enough have come; False if they have not in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._complete.wait()
        except TimeoutError:
            return False
        return True


class ProbeEnd(asyncio.DatagramProtocol):
    """One end of probes: a UDP socket in a namespace. Open it with `open_probe_end`, close it when done."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._awaited: dict[bytes, asyncio.Event] = {}
        self._noted: dict[bytes, Arrivals] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        assert isinstance(transport, asyncio.DatagramTransport) or hasattr(transport, "sendto")
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, _source: Any) -> None:
        """A probe has arrived."""
        noted = self._noted.get(data)
        if noted is not None:
            noted.note(data)
        event = self._awaited.get(data)
        if event is not None:
            event.set()

    def error_received(self, _error: Exception) -> None:
        """A datagram was refused on its way, which for a probe is as good as lost."""

    @contextlib.contextmanager
    def arrivals(self, tokens: Collection[bytes], enough: int | None = None) -> Iterator[Arrivals]:
        """Meanwhile it is noted when each of these datagrams comes; all of them are enough where nothing is said."""
        noted = Arrivals(len(tokens) if enough is None else enough)
        self._noted.update(dict.fromkeys(tokens, noted))
        try:
            yield noted
        finally:
            for token in tokens:
                del self._noted[token]

    def send(self, token: bytes, target: tuple[str, int]) -> None:
        assert self._transport is not None, "a probe end sends only after it was opened"
        # Refused at once where an OUTPUT rule drops it: lost all the same.
        try:
            self._transport.sendto(token, target)
        except OSError as error:
            self.error_received(error)

    async def wait_for(self, token: bytes, event: asyncio.Event, timeout_s: float) -> bool:
        self._awaited[token] = event
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            del self._awaited[token]
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


async def travels(source: ProbeEnd, target: ProbeEnd, *, expected: bool) -> bool:
    """Whether a datagram gets from source to target now. Patient if it should, brief if it should not.

    Sent again and again: a namespace that was just made loses what comes before its neighbours are known.
    """
    wait_s = ARRIVAL_WAIT_S if expected else ABSENCE_WAIT_S
    event = asyncio.Event()
    token = os.urandom(16)
    waiting = asyncio.ensure_future(target.wait_for(token, event, wait_s))
    await asyncio.sleep(0)
    while not waiting.done():
        for _ in range(PROBE_TRIES):
            source.send(token, target.address)
        await asyncio.wait((waiting,), timeout=RESEND_S)
    return await waiting


async def open_probe_end(address: str, pid: int | None) -> ProbeEnd:
    """A probe end bound to an address: in the namespace of a process, or in our own if `pid` is None."""
    opened = _bound_socket(address) if pid is None else open_inside(pid, lambda: _bound_socket(address))
    port = int(opened.getsockname()[1])
    end = ProbeEnd((address, port))
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: end, sock=opened)
    return end


def _bound_socket(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        opened.bind((address, 0))
    except OSError:
        opened.close()
        raise
    return opened


class NodeNamespace:
    """The namespace of a node: its rules, and its end of probes if it can be entered.

    `current` is what the rules there are; only `want` changes them.
    """

    def __init__(
        self,
        node: str,
        pid: int,
        run_key: str,
        programs: Programs,
        tools: Sequence[Tools] = VARIANTS,
        spared_port: int | None = None,
    ) -> None:
        """`pid` is a process in the namespace; TCP to and from `spared_port` never meets a rule of ours."""
        self.node = node
        self.pid = pid
        self.probe_end: ProbeEnd | None = None
        self.current: frozenset[Rule] = frozenset()
        self._run_key = run_key
        self._spared_port = spared_port
        self._programs = programs
        self._variants = tuple(tools)
        self._tools: Tools | None = None

    async def prepare(self) -> Tools:
        """Make our chains, with the first variant of iptables that works here. Raises FaultFailed if none does."""
        complaints = []
        for tools in self._variants:
            status, output = await self.run(
                [tools.restore, "--noflush", WAIT_FOR_LOCK],
                rules.preparation(self._run_key, self._spared_port),
            )
            if status == 0:
                self._tools = tools
                return tools
            complaints.append(f"{tools.restore}: {output.strip()[:200] or f'exit {status}'}")
        raise FaultFailed(f"no iptables works in the namespace of {self.node}: {'; '.join(complaints)}")

    async def want(self, wanted: frozenset[Rule]) -> None:
        """Make the rules there exactly these, in one step. Raises FaultFailed; then none of them changed."""
        assert self._tools is not None, f"the namespace of {self.node} was not prepared"
        text = rules.change(self._run_key, self.current, wanted)
        if text is None:
            return
        status, output = await self.run([self._tools.restore, "--noflush", WAIT_FOR_LOCK], text)
        if status != 0:
            raise FaultFailed(
                f"{self._tools.restore} failed in the namespace of {self.node}: {output.strip()}"
            )
        self.current = wanted

    async def counters(self) -> dict[Rule, int]:
        """Packets met so far by each rule that is there: what the kernel says, not what we believe."""
        assert self._tools is not None, f"the namespace of {self.node} was not prepared"
        status, output = await self.run([self._tools.save, "-c", "-t", "filter"])
        if status != 0:
            raise FaultFailed(f"{self._tools.save} failed in the namespace of {self.node}: {output.strip()}")
        return rules.counters(self._run_key, output)

    async def run(self, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        """Exit status and output of a program that runs here; 127 where it is not installed."""
        try:
            return await self._programs.run(argv, text)
        except FileNotFoundError as error:
            return 127, str(error)

    def close(self) -> None:
        if self.probe_end is not None:
            self.probe_end.close()
            self.probe_end = None
