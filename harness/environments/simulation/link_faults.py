"""The links of a simulated cluster: cut, mended, slowed, throttled, lossy, reset and half-opened, and each proven.

The proofs are probes that travel on the same links as the nodes' bytes: a segment whose way is timed, or a connection
of our own that must break as those of the nodes do. A network that says yes and does nothing is found out.

A probe alone may be late or lost for another reason: the link is long, was slow or lossy before. So the network's own
word must agree with what was measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from harness.environments.simulation.host import Host
from harness.environments.simulation.links import LinkConditions
from harness.environments.simulation.world import CLIENT_HOST, World
from nemesis.cluster import Evidence, Link, evidence_of

SILENCE_S = 1.0
"""A probe that has not arrived after this, on a link that is not slow, was lost."""
PATIENCE_S = 60.0
OPEN_S = 2.0
BREAK_S = 2.0
"""How long the ends of a connection have to learn that it was reset."""
STILL_S = 0.5
"""How long an end must go on believing in a connection that is half open."""
LOSS_PROBES = 60
THROTTLE_BYTES = 4096
MOST_LOSS = 0.9


class LinkFaults:
    """The verbs on directed links, and which links are broken now."""

    def __init__(self, world: World, nodes: Sequence[str]) -> None:
        self._world = world
        self._network = world.network
        self._ends = (*nodes, CLIENT_HOST)
        self.cut_links: set[Link] = set()
        self.shaped: set[Link] = set()
        """Links that are slowed, throttled or lossy."""
        self.halved: set[Link] = set()

    async def cut(self, links: Sequence[Link]) -> Evidence:
        """From now on no byte of these directed links arrives."""
        wanted = self._checked(links)
        before = await self._times(wanted, SILENCE_S)
        self._network.cut(wanted)
        self.cut_links |= set(wanted)
        after = await self._times(wanted, SILENCE_S)
        probes = []
        for link, early, late in zip(wanted, before, after, strict=True):
            probes.append(
                {
                    **_what(link),
                    "before": _arrival(early),
                    "after": _arrival(late),
                    # Of one that was cut before, the network's own word is all there is.
                    "proves": late is None and self._network.conditions(link).is_cut,
                }
            )
        return evidence_of(probes)

    async def mend(self, links: Sequence[Link]) -> Evidence:
        """Undo `cut` and `half_open`."""
        wanted = self._checked(links)
        self._network.mend(wanted)
        self.cut_links -= set(wanted)
        self.halved -= set(wanted)
        return evidence_of(
            [
                {
                    **_what(link),
                    "after": shown,
                    "proves": passes
                    and not self._network.conditions(link).is_cut
                    and not self._network.ghosts(link),
                }
                for link, (shown, passes) in (await self._passing(wanted)).items()
            ]
        )

    async def slow(self, links: Sequence[Link], delay_ms: float, jitter_ms: float = 0.0) -> Evidence:
        """Bytes arrive later, in order; 0 undoes it."""
        if delay_ms < 0 or not 0 <= jitter_ms <= delay_ms:
            raise ValueError(f"delay_ms {delay_ms}, jitter_ms {jitter_ms}: must be 0 <= jitter <= delay")
        delay_ns, jitter_ns = round(delay_ms * 1e6), round(jitter_ms * 1e6)
        return await self._shape(
            links,
            lambda wanted: self._network.slow(wanted, delay_ns, jitter_ns),
            lambda late_ns, now: (
                late_ns >= delay_ns - jitter_ns and (now.delay_ns, now.jitter_ns) == (delay_ns, jitter_ns)
            ),
            on=delay_ms > 0,
            patience_s=2 * SILENCE_S + 3 * delay_ms / 1000,
        )

    async def throttle(self, links: Sequence[Link], bytes_per_s: int | None) -> Evidence:
        """So many bytes a second for each link; None undoes it."""
        if bytes_per_s is not None and bytes_per_s < 64:
            raise ValueError(f"bytes_per_s {bytes_per_s}: must be at least 64, or None to undo")
        least_ns = 0 if bytes_per_s is None else THROTTLE_BYTES * 1_000_000_000 // bytes_per_s
        return await self._shape(
            links,
            lambda wanted: self._network.throttle(wanted, bytes_per_s),
            lambda late_ns, now: late_ns >= least_ns and now.bytes_per_s == bytes_per_s,
            on=bytes_per_s is not None,
            patience_s=2 * SILENCE_S + 10 * least_ns / 1e9,
            size=THROTTLE_BYTES,
        )

    async def lose(self, links: Sequence[Link], share: float) -> Evidence:
        """Of the segments this share is lost and sent again; 0 undoes it."""
        if not 0.0 <= share <= MOST_LOSS:
            raise ValueError(f"share {share}: must be 0 to {MOST_LOSS}")
        wanted = self._checked(links)
        self._network.lose(wanted, share)
        if not share:
            return await self._undone(wanted)
        self.shaped |= set(wanted)
        lost_before = [self._network.conditions(link).lost_segments for link in wanted]
        probes = []
        for link, lost in zip(wanted, lost_before, strict=True):
            if link in self.cut_links or self._is_dark(link):
                probes.append(_unseen(link))
                continue
            arrived = await self._times([link] * LOSS_PROBES, PATIENCE_S)
            if not any(arrived) and self._is_dark(link):
                probes.append(_unseen(link))
                continue
            seen = self._network.conditions(link).lost_segments - lost
            expected = share * LOSS_PROBES
            # By chance alone none is lost of so many, where the share is small.
            proves = True if seen else None if expected < 10 else False
            if self._network.conditions(link).loss_share != share:
                proves = False
            probes.append({**_what(link), "before": "none lost", "after": f"{seen} lost", "proves": proves})
        return evidence_of_measured(probes)

    async def restore(self, links: Sequence[Link]) -> Evidence:
        """Undo `slow`, `throttle` and `lose`."""
        wanted = self._checked(links)
        self._network.slow(wanted, 0, 0)
        self._network.throttle(wanted, None)
        self._network.lose(wanted, 0.0)
        return await self._undone(wanted)

    async def reset(self, links: Sequence[Link]) -> Evidence:
        """Both ends of every open connection learn that it ended."""
        return await self._break_off(self._checked(links), self._network.reset, BREAK_S, target_learns=True)

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        """The source learns that its connections ended, the target does not until `mend`."""
        wanted = self._checked(links)
        self.halved |= set(wanted)
        return await self._break_off(wanted, self._network.half_open, STILL_S, target_learns=False)

    async def _break_off(
        self, links: list[Link], act: Callable[[list[Link]], object], target_s: float, *, target_learns: bool
    ) -> Evidence:
        """Acts on a connection of our own on each link, as on all others; the target is watched for `target_s`."""
        connections = await self._open_all(links)
        act(links)
        probes = []
        for link, connection in zip(links, connections, strict=True):
            if connection is None:
                probes.append(_unseen(link))
                continue
            near = await connection.near.is_lost_within(BREAK_S)
            far = await connection.far.is_lost_within(target_s)
            probes.append(
                {
                    "what": f"connection {link[0]} -> {link[1]}",
                    "before": "open",
                    "after": {"source": _end(near), "target": _end(far)},
                    "proves": near and far is target_learns,
                }
            )
            connection.close()
        return evidence_of_measured(probes)

    # How it is measured.

    async def _shape(
        self,
        links: Sequence[Link],
        act: Callable[[list[Link]], object],
        proves: Callable[[int, LinkConditions], bool],
        *,
        on: bool,
        patience_s: float,
        size: int = 0,
    ) -> Evidence:
        wanted = self._checked(links)
        if not on:
            act(wanted)
            return await self._undone(wanted)
        open_links = [link for link in wanted if link not in self.cut_links]
        before = await self._times(open_links, patience_s, size)
        act(wanted)
        self.shaped |= set(wanted)
        after = await self._times(open_links, patience_s, size)
        probes = [_unseen(link) for link in wanted if link in self.cut_links]
        for link, early, late in zip(open_links, before, after, strict=True):
            if late is None and (early is None or link in self.cut_links or self._is_dark(link)):
                # Nothing came through before either, or something else stops it now: that says nothing of this fault.
                probes.append(_unseen(link))
                continue
            shown = late is not None and proves(late, self._network.conditions(link))
            probes.append(
                {**_what(link), "before": _arrival(early), "after": _arrival(late), "proves": shown}
            )
        return evidence_of_measured(probes)

    async def _undone(self, links: list[Link]) -> Evidence:
        """The conditions of these links are what they were at the beginning, apart from cuts."""
        healthy = []
        for link in links:
            now = self._network.conditions(link)
            if not (now.delay_ns or now.jitter_ns or now.loss_share) and now.bytes_per_s is None:
                self.shaped.discard(link)
                healthy.append(link)
        return evidence_of_measured(
            [
                {**_what(link), "after": shown, "proves": link in healthy and passes}
                for link, (shown, passes) in (await self._passing(links)).items()
            ]
        )

    async def _passing(self, links: list[Link]) -> dict[Link, tuple[str, bool]]:
        """What shows that each link lets through what it should. Of one that is cut, or leads to a machine without
        power, nothing can be seen."""
        shown: dict[Link, tuple[str, bool]] = {}
        for link in links:
            if link in self.cut_links:
                shown[link] = ("the link is cut", True)
            elif self._is_dark(link):
                shown[link] = ("a machine at its end has no power", True)
        asked = [link for link in links if link not in shown]
        # A link that loses much may need a while to let a probe through.
        for link, late in zip(asked, await self._times(asked, PATIENCE_S), strict=True):
            shown[link] = (_arrival(late), late is not None)
        return {link: shown[link] for link in links}

    def _is_dark(self, link: Link) -> bool:
        """A machine at one of its ends has no power."""
        return any(self._network.is_dark(end) for end in link)

    async def _times(self, links: Sequence[Link], patience_s: float, size: int = 0) -> list[int | None]:
        """How long a probe takes on each of these links, in ns; None: it did not arrive in time."""
        patience_ns = round(patience_s * 1e9)
        return list(await asyncio.gather(*(self._network.probe(link, patience_ns, size) for link in links)))

    async def _open_all(self, links: Sequence[Link]) -> list[_Connection | None]:
        return list(await asyncio.gather(*(self._open(link) for link in links)))

    async def _open(self, link: Link) -> _Connection | None:
        """A connection from source to target; None where there can be none now."""
        source, target = self._world.host(link[0]), self._world.host(link[1])
        if "down" in (source.state, target.state) or self.cut_links & {link, (link[1], link[0])}:
            return None
        return await _Connection.open(self._world, source, target)

    def _checked(self, links: Sequence[Link]) -> list[Link]:
        """These links, each once. Raises ValueError for one that there is not."""
        for source, target in links:
            if source == target or source not in self._ends or target not in self._ends:
                raise ValueError(
                    f"there is no link {source} -> {target}; ends: {', '.join(sorted(self._ends))}"
                )
        return list(dict.fromkeys((source, target) for source, target in links))


class _End(asyncio.Protocol):
    """One end of a connection of our own."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.made = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.made.set()

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost.set()

    async def is_lost_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.lost.wait(), seconds)
        except TimeoutError:
            return False
        return True


class _Connection:
    """Both ends of it."""

    def __init__(self, near: _End, far: _End, server: Any) -> None:
        self.near = near
        self.far = far
        self._server = server

    @classmethod
    async def open(cls, world: World, source: Host, target: Host) -> _Connection | None:
        network = world.network
        far = _End()
        server = await network.listen(target, 0, lambda: far)
        try:
            async with asyncio.timeout(OPEN_S):
                port = server.sockets[0].getsockname()[1]
                _, near = await network.connect(source, target.name, port, _End)
                await far.made.wait()
        except (OSError, TimeoutError):
            server.close()
            return None
        return cls(near, far, server)

    def close(self) -> None:
        self._server.close()
        for end in (self.near, self.far):
            if end.transport is not None:
                end.transport.abort()


def evidence_of_measured(probes: list[dict[str, Any]]) -> Evidence:
    """What could not be measured counts for nothing, unless nothing could be."""
    measured = [probe for probe in probes if probe["proves"] is not None]
    return Evidence(bool(measured) and all(probe["proves"] for probe in measured), probes)


def _what(link: Link) -> dict[str, Any]:
    return {"what": f"segment {link[0]} -> {link[1]}"}


def _unseen(link: Link) -> dict[str, Any]:
    return {
        "what": f"{link[0]} -> {link[1]}: nothing can pass now, so nothing can be measured",
        "proves": None,
    }


def _arrival(time_ns: int | None) -> str:
    return "did not arrive" if time_ns is None else f"arrived after {time_ns / 1e6:.3f} ms"


def _end(is_lost: bool) -> str:
    return "ended" if is_lost else "open"
