"""The way into the namespace of a container where this process is not root: the engine runs programs in it.

It takes 70 ms, and the container has to have the capability NET_ADMIN, in its own namespace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.environments.docker.engine import Engine
from harness.environments.linux.links import DISCARD_PORT
from harness.environments.linux.namespace import EnteredPrograms, Programs


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


class ContainerDoors:
    """How to get into the namespaces of a run's containers; see `harness.environments.linux.links.Doors`."""

    def __init__(self, engine: Engine, containers: Mapping[str, str], enters: bool) -> None:
        """`containers` are ids by node; `enters`: from outside, which needs root on the engine's host."""
        self._engine = engine
        self._containers = containers
        self.enters = enters

    def programs(self, node: str, pid: int) -> Programs:
        """Into the namespace of the container whose first process this is."""
        return EnteredPrograms(pid) if self.enters else ExecutedPrograms(self._engine, self._containers[node])

    async def send_from(self, node: str, address: str, count: int = 1, size: int = 5) -> None:
        """Where its own OUTPUT drops the datagram, the sender is refused: counted all the same."""
        send = f"socket.socket(2, 2).sendto(bytes({size}), ({address!r}, {DISCARD_PORT}))"
        script = f"import socket\nfor _ in range({count}): {send}"
        await ExecutedPrograms(self._engine, self._containers[node]).run(["python3", "-c", script])
