"""The links of a local cluster: cut, mended, slowed, throttled, reset and half-opened, and each of it proven.

The acts are requests to the proxy; the proofs are tokens that travel over the path the nodes use (`probe.py`), so
a proxy that says yes and does nothing is found out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from harness.environments.ledger import Ledger
from harness.environments.local.probe import OPEN_TIMEOUT_S, SILENCE_S, ProbeConnection, Prober
from nemesis.cluster import Evidence, Link, combine, evidence_of


class Ask(Protocol):
    """Sends a request to the proxy and returns its answer."""

    def __call__(self, verb: str, **arguments: Any) -> Awaitable[Any]:
        """Raises EnvironmentFailed if the proxy has ended or refuses."""


class LinkFaults:
    """The verbs on directed links, and which links are broken now."""

    def __init__(self, ask: Ask, prober: Prober, ledger: Ledger) -> None:
        self.cut_links: set[Link] = set()
        self.shaped: set[Link] = set()
        """Links that are slowed or throttled."""
        self.halved: set[Link] = set()
        self._ask = ask
        self._prober = prober
        self._ledger = ledger
        self._entries: dict[str, int] = {}
        """Name of a link -> its open entry in the ledger."""

    async def counters(self) -> list[dict[str, Any]]:
        """For each directed link what the proxy has counted since the start."""
        answer: list[dict[str, Any]] = await self._ask("counters")
        return answer

    async def cut(self, links: Sequence[Link]) -> Evidence:
        """From now on no byte of these directed links arrives."""
        prober = self._checked(links)
        self._note_links(links)
        before_cut = set(self.cut_links)
        silence_s = SILENCE_S if self.shaped.isdisjoint(links) else 2.0
        # Through a direction that is cut already no connection can be opened, so there is nothing to wait for.
        open_s = OPEN_TIMEOUT_S if before_cut.isdisjoint({*links, *map(_reversed, links)}) else 0.25
        connections = await prober.open_all(links, open_s)
        try:
            before = await self._measure(links, connections)
            await self._ask("cut", links=links)
            self.cut_links |= set(links)
            after = await self._measure(links, connections, silence_s)
        finally:
            for connection in connections:
                connection.close()
        counters = {(row["source"], row["target"]): row for row in await self.counters()}
        probes = []
        for link, early, late in zip(links, before, after, strict=True):
            already = link in before_cut or (link[1], link[0]) in before_cut
            connected = early is not None
            proves = late is None and (connected or already)
            if already and not connected:
                # No connection can be opened to send a token on: the proxy's own word is all there is.
                proves = bool(counters[link]["cut"])
            probes.append(
                {
                    "what": f"token {link[0]} -> {link[1]}",
                    "before": _arrival(early),
                    "after": _arrival(late),
                    "held": counters[link]["held"],
                    "proves": proves,
                }
            )
        return evidence_of(probes)

    async def mend(self, links: Sequence[Link]) -> Evidence:
        """Undo `cut` and `half_open`; connections that lost bytes are reset."""
        prober = self._checked(links)
        await self._ask("mend", links=links)
        self.cut_links -= set(links)
        self.halved -= set(links)
        open_s = OPEN_TIMEOUT_S if self.cut_links.isdisjoint(map(_reversed, links)) else 0.25
        connections = await prober.open_all(links, open_s)
        try:
            after = await self._measure(links, connections)
        finally:
            for connection in connections:
                connection.close()
        counters = {(row["source"], row["target"]): row for row in await self.counters()}
        probes = []
        for link, arrived in zip(links, after, strict=True):
            half = arrived is None and (link[1], link[0]) in self.cut_links
            row = counters[link]
            probes.append(
                {
                    "what": f"token {link[0]} -> {link[1]}",
                    "after": "the opposite direction is still cut" if half else _arrival(arrived),
                    "dropped": row["dropped"],
                    "connections_reset": row["resets"],
                    "proves": arrived is not None or (half and not row["cut"]),
                }
            )
        evidence = evidence_of(probes)
        if evidence.took_effect:
            self._note_mended(links)
        return evidence

    async def slow(self, links: Sequence[Link], delay_ms: float, jitter_ms: float = 0.0) -> Evidence:
        """Chunks arrive later, in order; 0 undoes it."""
        if delay_ms < 0 or not 0 <= jitter_ms <= delay_ms:
            raise ValueError(f"delay_ms {delay_ms}, jitter_ms {jitter_ms}: must be 0 <= jitter <= delay")
        least = (delay_ms - jitter_ms) * 0.9

        async def act() -> None:
            await self._ask("slow", links=links, delay_ms=delay_ms, jitter_ms=jitter_ms)

        def proves(before: float, after: float) -> bool:
            return after >= least - 1 if delay_ms else True

        return await self._shape(links, act, proves, 1.0 + 3 * delay_ms / 1000, 0, on=delay_ms > 0)

    async def throttle(self, links: Sequence[Link], bytes_per_s: int | None) -> Evidence:
        """So many bytes a second for each link; None undoes it."""
        if bytes_per_s is not None and bytes_per_s < 64:
            raise ValueError(f"bytes_per_s {bytes_per_s}: must be at least 64, or None to undo")
        padding = 0 if bytes_per_s is None else bytes_per_s // 4

        async def act() -> None:
            await self._ask("throttle", links=links, bytes_per_s=bytes_per_s)

        def proves(before: float, after: float) -> bool:
            return after >= 200 if bytes_per_s is not None else True

        return await self._shape(links, act, proves, 5.0, padding, on=bytes_per_s is not None)

    async def restore(self, links: Sequence[Link]) -> Evidence:
        """Undo `slow` and `throttle`."""
        return combine([await self.slow(links, 0.0), await self.throttle(links, None)])

    async def _shape(
        self,
        links: Sequence[Link],
        act: Callable[[], Awaitable[None]],
        proves: Callable[[float, float], bool],
        timeout_s: float,
        padding_bytes: int,
        on: bool,
    ) -> Evidence:
        """Slow and throttle: how long a token (and bytes before it) takes, before and after."""
        prober = self._checked(links)
        if on:
            self._note_links(links)
        # Nothing travels on a connection with a cut direction, and none can be opened: there is nothing to measure.
        idle = {link for link in links if self.cut_links & {link, _reversed(link)}}
        measured = [link for link in links if link not in idle]
        connections = await prober.open_all(measured)
        try:
            before = await self._measure(measured, connections, 5.0)
            await act()
            self.shaped = self.shaped | set(links) if on else self.shaped - set(links)
            after = await self._measure(measured, connections, timeout_s, padding_bytes)
        finally:
            for connection in connections:
                connection.close()
        if not on:
            self._note_mended(links)
        shown = evidence_of(
            [
                {
                    "what": f"token {link[0]} -> {link[1]}"
                    + (f" after {padding_bytes} bytes" if padding_bytes else ""),
                    "before": _arrival(early),
                    "after": _arrival(late),
                    "proves": early is not None and late is not None and proves(early, late),
                }
                for link, early, late in zip(measured, before, after, strict=True)
            ]
        )
        unseen = [
            {"what": f"{source} -> {target} is cut: nothing can be measured", "proves": None}
            for source, target in sorted(idle)
        ]
        # What is undone on links that are all cut is undone: the proxy has answered, and nothing else can be asked.
        return Evidence(shown.took_effect or not (measured or on), [*shown.probes, *unseen])

    async def reset(self, links: Sequence[Link]) -> Evidence:
        """Both ends of every open connection learn that it ended."""
        return await self._break_connections("reset", links, far_end_learns=True)

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        """Only the source learns that its connections ended."""
        self._note_links(links)
        evidence = await self._break_connections("half_open", links, far_end_learns=False)
        self.halved |= set(links)
        return evidence

    async def _break_connections(self, verb: str, links: Sequence[Link], far_end_learns: bool) -> Evidence:
        """Reset and half-open, judged by what happens to a connection of our own."""
        prober = self._checked(links)
        connections = await prober.open_all(links)
        probes = []
        try:
            await self._ask(verb, links=links)
            await asyncio.sleep(SILENCE_S)
            await self._ask("ping")
            for link, connection in zip(links, connections, strict=True):
                _, forth = prober.route(link)
                source, target = (
                    (connection.near, connection.far) if forth else (connection.far, connection.near)
                )
                opened = source is not None and target is not None
                source_ended = opened and source is not None and source.lost.is_set()
                target_ended = opened and target is not None and target.lost.is_set()
                probes.append(
                    {
                        "what": f"connection {link[0]} -> {link[1]}",
                        "before": "open at both ends" if opened else "could not be opened",
                        "after": f"{link[0]} {_ended(source_ended)}, {link[1]} {_ended(target_ended)}",
                        "proves": opened and source_ended and target_ended == far_end_learns,
                    }
                )
        finally:
            if far_end_learns:
                for connection in connections:
                    connection.close()
        return evidence_of(probes)

    async def _measure(
        self,
        links: Sequence[Link],
        connections: Sequence[ProbeConnection],
        timeout_s: float = 3.0,
        padding_bytes: int = 0,
    ) -> list[float | None]:
        prober = self._prober
        return list(
            await asyncio.gather(
                *(
                    connection.measure(prober.route(link)[1], timeout_s, padding_bytes)
                    if connection.far is not None
                    else _nothing()
                    for link, connection in zip(links, connections, strict=True)
                )
            )
        )

    def _checked(self, links: Sequence[Link]) -> Prober:
        """Raises ValueError for a link that does not exist."""
        for link in links:
            self._prober.route(link)
        return self._prober

    def _note_links(self, links: Sequence[Link]) -> None:
        for source, target in links:
            name = f"{source} -> {target}"
            if name not in self._entries:
                self._entries[name] = self._ledger.intend("links", link=name)

    def _note_mended(self, links: Sequence[Link]) -> None:
        for link in links:
            if link not in self.cut_links | self.shaped | self.halved:
                entry = self._entries.pop(f"{link[0]} -> {link[1]}", None)
                if entry is not None:
                    self._ledger.done(entry)


def _arrival(latency_ms: float | None) -> str:
    return "did not arrive" if latency_ms is None else f"arrived after {latency_ms:.2f} ms"


def _ended(is_lost: bool) -> str:
    return "was told that it ended" if is_lost else "believes that it is open"


def _reversed(link: Link) -> Link:
    return link[1], link[0]


async def _nothing() -> None:
    return None
