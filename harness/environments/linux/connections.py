"""Connections that break while links carry on: at both ends, or at one end only.

They are ended by the kernel's own socket destruction (`ss --kill`, INET_DIAG_DESTROY) in the namespace of one end: that
end is told at once, and the kernel tells the other by a reset. Where only one end may learn of it, resets are dropped
on the link until it is mended; so the other goes on believing, as with a peer that lost its power.

The proof is a connection of our own over the same link: what its two ends are told must be what the fault says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

from harness.environments.linux.entering import open_inside
from harness.environments.linux.links import Links
from harness.environments.linux.namespace import search_path
from nemesis.cluster import CLIENT, Evidence, FaultFailed, Link, evidence_of

OPEN_S = 1.2
OPEN_TRIES = 4
"""A link may be lossy: a connection whose first segments were lost is given up, and another one tried."""
BREAK_S = 2.0
"""How long both ends of a connection have to learn that it ended."""
STILL_S = 0.3
"""How long an end must go on believing in a connection that is half open."""


def can_break() -> bool:
    """Whether the program is there that destroys sockets; whether the kernel does, the first proof shows."""
    return shutil.which("ss", path=search_path()) is not None


class Connections:
    """The verbs on the connections of a run's links."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def reset(self, links: Sequence[Link]) -> Evidence:
        """See `Cluster.reset`."""
        return await self._all([self._break(link, False) for link in dict.fromkeys(links)])

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        """See `Cluster.half_open`."""
        wanted = list(dict.fromkeys(links))
        for link in wanted:
            self._links.node_of(link)
        await self._links.muffle(wanted)
        return await self._all([self._break(link, True) for link in wanted])

    async def _all(self, acts: Sequence[Awaitable[dict[str, Any]]]) -> Evidence:
        """What cannot be measured is shown and counts for nothing."""
        probes = await asyncio.gather(*acts)
        shown = evidence_of([probe for probe in probes if probe["proves"] is not None])
        return Evidence(shown.took_effect, list(probes))

    async def _break(self, link: Link, only_source: bool) -> dict[str, Any]:
        """Ends all connections of a link, and tells what became of one of our own."""
        self._links.node_of(link)
        source, target = link
        # Where either end may be the one that is destroyed it is a node's: a client's host is not ours to ask.
        at = source if only_source or source != CLIENT else target
        other = target if at == source else source
        probe: dict[str, Any] = {"what": f"connection {source} -> {target}"}
        if link in self._links.cut_links or (target, source) in self._links.cut_links:
            await self._destroy(at, other)
            return {**probe, "after": "the link is cut: no connection could be opened on it", "proves": None}
        async with self._connection(link) as ends:
            if ends is None:
                return {**probe, "before": "could not be opened", "proves": False}
            await self._destroy(at, other)
            near, far = ends
            told_source, told_target = await asyncio.gather(
                _is_told(near, BREAK_S), _is_told(far, STILL_S if only_source else BREAK_S)
            )
        return {
            **probe,
            "before": "open at both ends",
            "after": f"{source} {_said(told_source)}, {target} {_said(told_target)}",
            "proves": told_source and told_target != only_source,
        }

    async def _destroy(self, at: str, other: str) -> None:
        """Ends the TCP connections of the namespace of `at` with the address of `other`."""
        pid = self._links.pid_of(at)
        entering = [] if pid is None else ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]
        argv = [
            *entering,
            "ss",
            "--kill",
            "--tcp",
            "state",
            "connected",
            "dst",
            self._links.address_of(other),
        ]
        done = await asyncio.to_thread(
            subprocess.run,
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": search_path()},
            check=False,
        )
        if done.returncode != 0:
            raise FaultFailed(f"ss --kill at {at}: {done.stdout.decode(errors='replace').strip()[:200]}")

    @contextlib.asynccontextmanager
    async def _connection(self, link: Link) -> AsyncIterator[tuple[socket.socket, socket.socket] | None]:
        """A TCP connection of our own from source to target: its two ends; None if it could not be opened."""
        source, target = (self._links.pid_of(end) for end in link)
        address = self._links.address_of(link[1])
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(_inside(target))
            listener.bind((address, 0))
            listener.listen(OPEN_TRIES)
            for _ in range(OPEN_TRIES):
                near = stack.enter_context(_inside(source))
                near.bind((self._links.address_of(link[0]), 0))
                try:
                    async with asyncio.timeout(OPEN_S):
                        await loop.sock_connect(near, listener.getsockname())
                        while True:
                            far, peer = await loop.sock_accept(listener)
                            stack.enter_context(far)
                            if peer == near.getsockname():
                                break
                except (OSError, TimeoutError):
                    continue
                yield near, far
                return
            yield None


def _inside(pid: int | None) -> socket.socket:
    """A TCP socket in the namespace of a process, or in our own."""

    def make() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    return make() if pid is None else open_inside(pid, make)


async def _is_told(end: socket.socket, patience_s: float) -> bool:
    """Whether this end of a connection learns that it ended."""
    try:
        async with asyncio.timeout(patience_s):
            return await asyncio.get_running_loop().sock_recv(end, 1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def _said(is_told: bool) -> str:
    return "was told that it ended" if is_told else "believes that it is open"
