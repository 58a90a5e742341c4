"""Ports for nodes on loopback that nobody else takes, neither now nor while a node is down.

A node must find its port again after a restart, so its ports lie below the range from which the kernel takes
outgoing ones, and come from a block that one harness has to itself: whoever holds the block's first port (bound,
never listening) owns it. The hold ends with the process that has it; nothing is left on disk.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from random import Random

from harness.environments.environment import EnvironmentFailed

HOST = "127.0.0.1"
BLOCK = 64
FIRST, LAST = 10_240, 32_768
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortBlock:
    """Ports of one harness. `base_port` None: a free block is searched; else ports are taken from there upwards."""

    def __init__(self, random: Random, base_port: int | None = None) -> None:
        self._guard: socket.socket | None = None
        self._fixed = base_port is not None
        if base_port is not None:
            self._next, self._end = base_port, 65_536
            return
        blocks = list(range(FIRST, _last_port() - BLOCK, BLOCK))
        random.shuffle(blocks)
        for start in blocks:
            guard = _bind(start, reuse=False)
            if guard is not None:
                self._guard, self._next, self._end = guard, start + 1, start + BLOCK
                return
        raise EnvironmentFailed(
            f"no free block of {BLOCK} ports between {FIRST} and {LAST}; end other runs or give a base port"
        )

    def take(self, purpose: str) -> int:
        """The next free port. Raises EnvironmentFailed if a fixed one is in use, or the block is used up."""
        while self._next < self._end:
            port = self._next
            self._next += 1
            if self._fixed:
                check_free(port, purpose)
                return port
            probe = _bind(port, reuse=False)
            if probe is not None:
                probe.close()
                return port
        raise EnvironmentFailed(
            f"no port left for {purpose}: a block has {BLOCK}; use fewer nodes or a base port"
        )

    def close(self) -> None:
        """Give the block back."""
        if self._guard is not None:
            self._guard.close()
            self._guard = None


def check_free(port: int, purpose: str) -> None:
    """Raises EnvironmentFailed if somebody listens on a port of loopback."""
    probe = _bind(port, reuse=True)
    if probe is None:
        raise EnvironmentFailed(
            f"port {port} of {HOST}, meant for {purpose}, is in use; end the process that listens there"
            " or choose another base port"
        )
    probe.close()


def _bind(port: int, reuse: bool) -> socket.socket | None:
    """A socket bound to the port, or None if that cannot be. `reuse`: connections in TIME_WAIT do not count."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if reuse:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            return None
        raise
    return bound


def _last_port() -> int:
    """Stay below the kernel's own range where there is room below it."""
    try:
        low = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return LAST
    return low if low > FIRST + 16 * BLOCK else LAST
