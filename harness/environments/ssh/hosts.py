"""One host: the connection by SSH, programs run over it, and the ways through it.

Host keys are verified against a file of known hosts, always; there is no way to skip that. Who may log in is for the
agent, the key file and the host to say. A host is refused unless it carries a *marker*: a file that its owner put there
to say that it may be broken.

The library blocks, so connecting and running go through threads. Sockets are opened here, not by the library, with
Nagle's algorithm off: else each command takes 40 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shlex
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environments.environment import EnvironmentFailed

PORT = 22
CONNECT_TIMEOUT_S = 10.0
RUN_TIMEOUT_S = 60.0
MARKER = "/etc/multiraft-harness-host"
"""The file that says: this host is for tests. Its content is of no importance."""
_FORM = re.compile(r"^(?:(?P<user>[^@:]+)@)?(?P<address>[^@:]+)(?::(?P<port>\d+))?$")


@dataclass(frozen=True)
class Destination:
    """Where to log in, and as whom."""

    user: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"


@dataclass(frozen=True)
class Login:
    """How to log in, on every host of a run."""

    known_hosts: Path
    key: Path | None = None
    """A private key; None: the agent's keys and the usual files."""
    jump: Destination | None = None
    """A host through which all others are reached."""
    sudo: bool = False
    """Programs are run by `sudo -n`."""
    marker: str = MARKER


def parse_destination(text: str) -> Destination:
    """`user@host:port`; without a user it is root, without a port 22. Raises ValueError."""
    match = _FORM.match(text.strip())
    if match is None or not 0 < int(match["port"] or PORT) < 65_536:
        raise ValueError(f"host {text!r}: the form is user@host:port, user and port may be left out")
    return Destination(match["user"] or "root", match["address"], int(match["port"] or PORT))


class Host:
    """A connection to one host. Everything that fails raises EnvironmentFailed with the host and the way out."""

    def __init__(self, destination: Destination, login: Login) -> None:
        self.destination = destination
        self._login = login
        self._clients: list[Any] = []
        self._tunnels: list[socket.socket] = []
        self.local_address = ""
        """Ours, as the host sees it."""

    async def open(self) -> None:
        """Connects, verifies the host's key, logs in, and looks for the marker."""
        await asyncio.to_thread(self._open)
        marker = shlex.quote(self._login.marker)
        status, _ = await self.run(f"test -e {marker}")
        if status != 0:
            raise EnvironmentFailed(
                f"{self.destination} does not carry the marker {self._login.marker}, which says that it may be "
                f"broken: if it is a host for tests, run `touch {self._login.marker}` there"
            )

    def _open(self) -> None:
        jump = self._login.jump
        if jump is None:
            opened: Any = self._socket(self.destination)
        else:
            opened = self._way_through(jump)
        client = self._connect(self.destination, opened)
        status, out = self._run(client, 'echo "$SSH_CONNECTION"')
        words = out.split()
        if status != 0 or len(words) != 4:
            raise EnvironmentFailed(f"{self.destination} does not say where we come from: {out[:200]!r}")
        self.local_address = words[0]

    def _way_through(self, jump: Destination) -> Any:
        """A channel to the host, opened by the one in between."""
        import paramiko  # type: ignore[import-untyped]

        middle = self._connect(jump, self._socket(jump))
        target = (self.destination.address, self.destination.port)
        try:
            return middle.get_transport().open_channel(
                "direct-tcpip", target, ("127.0.0.1", 0), timeout=CONNECT_TIMEOUT_S
            )
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise EnvironmentFailed(
                f"cannot reach {self.destination} through {jump}: {error}; is it up, and does {jump} allow forwarding "
                "(AllowTcpForwarding)?"
            ) from error

    def _socket(self, destination: Destination) -> socket.socket:
        try:
            opened = socket.create_connection((destination.address, destination.port), CONNECT_TIMEOUT_S)
        except OSError as error:
            raise EnvironmentFailed(f"cannot reach {destination}: {error}") from error
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def _connect(self, destination: Destination, opened: Any) -> Any:
        import paramiko

        # What goes wrong is told by exceptions; a node that does not listen yet is nothing to write about.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
        known = self._login.known_hosts
        client = paramiko.SSHClient()
        try:
            client.load_host_keys(str(known))
        except OSError as error:
            raise EnvironmentFailed(f"the file of known hosts {known} cannot be read: {error}") from error
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.connect(
                destination.address,
                destination.port,
                destination.user,
                key_filename=None if self._login.key is None else str(self._login.key),
                sock=opened,
                timeout=CONNECT_TIMEOUT_S,
                banner_timeout=CONNECT_TIMEOUT_S,
                auth_timeout=CONNECT_TIMEOUT_S,
            )
        except paramiko.BadHostKeyException as error:
            raise EnvironmentFailed(
                f"the key of {destination} is not the one in {known}: either the host was made anew, or somebody "
                f"is in between. If it was made anew: ssh-keygen -R {_named(destination)} -f {known}, then "
                "ssh-keyscan, and compare"
            ) from error
        except paramiko.AuthenticationException as error:
            raise EnvironmentFailed(
                f"{destination} does not let us in ({error}): add the key to its authorized_keys, or name another "
                "with --environment-option key=FILE"
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            hint = (
                f"; add it: ssh-keyscan -p {destination.port} {destination.address} >> {known}, and compare"
                if "not found in known_hosts" in str(error)
                else ""
            )
            raise EnvironmentFailed(f"cannot log in at {destination}: {error}{hint}") from error
        self._clients.append(client)
        return client

    @property
    def _client(self) -> Any:
        if not self._clients:
            raise EnvironmentFailed(f"the connection to {self.destination} is closed")
        return self._clients[-1]

    def command(self, words: str) -> str:
        """A command of the shell, as whoever may break things there."""
        return f"sudo -n sh -c {shlex.quote(words)}" if self._login.sudo else words

    async def run(self, words: str, content: bytes = b"") -> tuple[int, str]:
        """A command of the shell: exit status and output."""
        return await asyncio.to_thread(self._run, self._client, self.command(words), content)

    def _run(self, client: Any, words: str, content: bytes = b"") -> tuple[int, str]:
        import paramiko

        try:
            channel = client.get_transport().open_session()
            channel.settimeout(RUN_TIMEOUT_S)
            channel.set_combine_stderr(True)
            channel.exec_command(words)
            if content:
                channel.sendall(content)
            channel.shutdown_write()
            parts = []
            while data := channel.recv(1 << 16):
                parts.append(data)
            return channel.recv_exit_status(), b"".join(parts).decode(errors="replace")
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise EnvironmentFailed(f"{self.destination}: {words[:80]}: {error}") from error

    async def fetch(self, words: str, take: Callable[[bytes], None]) -> int:
        """A command whose output is taken as it comes; its exit status."""

        def whole() -> int:
            channel = self._client.get_transport().open_session()
            channel.settimeout(RUN_TIMEOUT_S)
            channel.exec_command(self.command(words))
            while data := channel.recv(1 << 16):
                take(data)
            return int(channel.recv_exit_status())

        return await asyncio.to_thread(whole)

    def program(self, words: str, log: Path) -> socket.socket:
        """Starts a program there that speaks lines; answers our end of its channel. Its errors go to a file here."""
        channel = self._client.get_transport().open_session()
        channel.exec_command(self.command(words))
        ours, theirs = socket.socketpair()
        _join(theirs, channel)

        def errors() -> None:
            with contextlib.suppress(OSError), log.open("ab") as file:
                while data := channel.recv_stderr(1 << 14):
                    file.write(data)
                    file.flush()

        threading.Thread(target=errors, name="ssh-errors", daemon=True).start()
        return ours

    def tunnel(self, port: int) -> tuple[str, int]:
        """A way to a port of the host, through the connection: an address here. No rule of ours affects it."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._tunnels.append(listener)
        transport = self._client.get_transport()

        def serve() -> None:
            while True:
                try:
                    near, peer = listener.accept()
                except OSError:
                    return
                try:
                    channel = transport.open_channel("direct-tcpip", ("127.0.0.1", port), peer, timeout=5.0)
                except Exception:  # noqa: BLE001 - whoever asked sees a connection that ends, and why is not known
                    near.close()
                    continue
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _join(near, channel)

        threading.Thread(target=serve, name="ssh-tunnel", daemon=True).start()
        return "127.0.0.1", int(listener.getsockname()[1])

    def close(self) -> None:
        """Everything that was opened. Idempotent."""
        for listener in self._tunnels:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._tunnels.clear()
        for client in reversed(self._clients):
            client.close()
        self._clients.clear()


def _named(destination: Destination) -> str:
    return destination.address if destination.port == PORT else f"[{destination.address}]:{destination.port}"


def _join(end: socket.socket, channel: Any) -> None:
    """Carries bytes between a socket and a channel, in two threads, until either closes; then both are."""

    def close() -> None:
        channel.close()
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)

    def up() -> None:
        with contextlib.suppress(OSError, EOFError):
            while data := end.recv(1 << 16):
                channel.sendall(data)
        close()

    def down() -> None:
        with contextlib.suppress(OSError, EOFError):
            while data := channel.recv(1 << 16):
                end.sendall(data)
        close()
        end.close()

    threading.Thread(target=up, name="ssh-up", daemon=True).start()
    threading.Thread(target=down, name="ssh-down", daemon=True).start()
