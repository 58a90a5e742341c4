"""The network namespace of one running container, from outside: rules into it, and probes that start and end in it.

Where this process is root on the engine's host, `nsenter` runs the host's iptables inside the namespace (4 ms), and
probe sockets are opened in it. Otherwise the engine runs iptables inside the container (70 ms), which then has the
capability NET_ADMIN, and only the rules' packet counters prove a cut.

A probe is a datagram from one end's namespace to the other's, seen arriving or not: it knows the direction, touches
no port of the database, and works while the node is paused. A namespace dies with its container, and its rules too.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.environments.docker import rules
from harness.environments.docker.engine import Engine
from harness.environments.docker.rules import Rule
from nemesis.cluster import FaultFailed

_CLONE_NEWNET = 0x40000000
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
    """Runs a program in the namespace of a container."""

    async def run(self, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        """Exit status, and its output with its errors; `text` is its standard input."""


def search_path() -> str:
    """PATH with the folders of system programs, which an ordinary user's lacks."""
    return f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"


def may_enter_namespaces() -> bool:
    """Whether this process can work in a container's namespace from outside: root, nsenter and iptables."""
    path = search_path()
    return (
        os.geteuid() == 0
        and shutil.which("nsenter", path=path) is not None
        and any(shutil.which(tools.restore, path=path) for tools in VARIANTS)
    )


class EnteredPrograms:
    """Programs of the host, run in the namespace of a process by `nsenter`."""

    def __init__(self, pid: int) -> None:
        self._namespace = f"/proc/{pid}/ns/net"

    async def run(self, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        """See `Programs`. In a thread: it takes milliseconds, and works alike on every event loop."""
        return await asyncio.to_thread(self._run, argv, text)

    def _run(self, argv: Sequence[str], text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["nsenter", f"--net={self._namespace}", "--", *argv],
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": search_path()},
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace")


class ExecutedPrograms:
    """Programs of the image, run inside the container by the engine."""

    def __init__(self, engine: Engine, container: str) -> None:
        self._engine = engine
        self._container = container

    async def run(self, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        """See `Programs`. The input travels in a variable: the engine's stream for it cannot be closed reliably."""
        command = ["sh", "-c", 'printf %s "$STDIN_TEXT" | "$@"', "sh", *argv]

        def execute() -> tuple[int, str]:
            api = self._engine.api
            made = api.exec_create(self._container, command, user="0", environment={"STDIN_TEXT": text})
            output: bytes = api.exec_start(made["Id"])
            return int(api.exec_inspect(made["Id"])["ExitCode"] or 0), output.decode(errors="replace")

        return await self._engine.call(f"running {argv[0]} in container {self._container}", execute)


class ProbeEnd(asyncio.DatagramProtocol):
    """One end of probes: a UDP socket in a namespace. Open it with `open_probe_end`, close it when done."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self._awaited: dict[bytes, asyncio.Event] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ready."""
        assert isinstance(transport, asyncio.DatagramTransport) or hasattr(transport, "sendto")
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, _source: Any) -> None:
        """A probe has arrived."""
        event = self._awaited.get(data)
        if event is not None:
            event.set()

    def error_received(self, _error: Exception) -> None:
        """A datagram was refused on its way, which for a probe is as good as lost."""

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
    opened = _bound_socket(address) if pid is None else _in_namespace(pid, address)
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


def _in_namespace(pid: int, address: str) -> socket.socket:
    """A socket belongs to the namespace in which it was made; a thread enters it, makes the socket and ends."""
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def enter_and_open() -> None:
        try:
            descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                library = ctypes.CDLL(None, use_errno=True)
                if library.setns(descriptor, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, f"setns: {os.strerror(number)}")
            finally:
                os.close(descriptor)
            made.append(_bound_socket(address))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter_and_open, name="open-probe")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


class NodeNamespace:
    """The namespace of one start of a node's container: its rules, and its end of probes if it can be entered.

    `current` is what the rules there are; only `want` changes them.
    """

    def __init__(
        self, node: str, run_key: str, programs: Programs, tools: Sequence[Tools] = VARIANTS
    ) -> None:
        self.node = node
        self.probe_end: ProbeEnd | None = None
        self.current: frozenset[Rule] = frozenset()
        self._run_key = run_key
        self._programs = programs
        self._variants = tuple(tools)
        self._tools: Tools | None = None

    async def prepare(self) -> Tools:
        """Make our chains, with the first variant of iptables that works here. Raises FaultFailed if none does."""
        complaints = []
        for tools in self._variants:
            status, output = await self._run(
                [tools.restore, "--noflush", WAIT_FOR_LOCK], rules.preparation(self._run_key)
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
        status, output = await self._run([self._tools.restore, "--noflush", WAIT_FOR_LOCK], text)
        if status != 0:
            raise FaultFailed(
                f"{self._tools.restore} failed in the namespace of {self.node}: {output.strip()}"
            )
        self.current = wanted

    async def counters(self) -> dict[Rule, int]:
        """Packets dropped so far, of each rule that is there: what the kernel says, not what we believe."""
        assert self._tools is not None, f"the namespace of {self.node} was not prepared"
        status, output = await self._run([self._tools.save, "-c", "-t", "filter"])
        if status != 0:
            raise FaultFailed(f"{self._tools.save} failed in the namespace of {self.node}: {output.strip()}")
        return rules.counters(self._run_key, output)

    async def _run(self, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        try:
            return await self._programs.run(argv, text)
        except FileNotFoundError as error:
            return 127, str(error)

    def close(self) -> None:
        if self.probe_end is not None:
            self.probe_end.close()
            self.probe_end = None
