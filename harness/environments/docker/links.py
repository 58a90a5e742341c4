"""Which links are cut, in the namespaces of running containers, and the proof of it.

`Links` knows what is cut *now*, whichever nodes run: a container that starts joins with the rules already in place, one
that stops takes its namespace and rules with it. Changes of links are made one after the other; each takes a few
milliseconds and its proof some fifty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from harness.environments.docker import rules
from harness.environments.docker.engine import Engine
from harness.environments.docker.namespace import (
    EnteredPrograms,
    ExecutedPrograms,
    NodeNamespace,
    ProbeEnd,
    Programs,
    open_probe_end,
    travels,
)
from harness.environments.docker.network import AddressPlan
from harness.environments.docker.rules import Rule
from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import Ledger
from nemesis.cluster import CLIENT, Evidence, FaultFailed, Link, combine

DISCARD_PORT = 9
"""Where probes go that nobody is meant to receive."""

Reading = Mapping[str, Any]
"""`arrived` (None: could not be seen) and `dropped` (packets; None: there is no such rule), or `unknown` with why."""


class Links:
    """The directed links between the nodes of a run, and between them and the clients."""

    def __init__(
        self,
        engine: Engine,
        run_key: str,
        addresses: AddressPlan,
        containers: Mapping[str, str],
        ledger: Ledger,
        enters_namespaces: bool,
    ) -> None:
        self._engine = engine
        self._run_key = run_key
        self._containers = containers
        self._client_address = addresses.client_address
        self._addresses = {name: addresses.data_address(name) for name in containers}
        self._ledger = ledger
        self._enters_namespaces = enters_namespaces
        self._namespaces: dict[str, NodeNamespace] = {}
        """Of the nodes whose container runs."""
        self._client_probe: ProbeEnd | None = None
        self._entries: dict[Link, int] = {}
        self._lock = asyncio.Lock()

    @property
    def cut_links(self) -> tuple[Link, ...]:
        """What is cut now, in the order of cutting."""
        return tuple(self._entries)

    # Nodes come and go

    async def join(self, node: str, pid: int) -> None:
        """The node's container runs with this first process: cut in its namespace what is cut now."""
        programs: Programs
        if self._enters_namespaces:
            programs = EnteredPrograms(pid)
        else:
            programs = ExecutedPrograms(self._engine, self._containers[node])
        namespace = NodeNamespace(node, self._run_key, programs)
        try:
            await namespace.prepare()
            if self._enters_namespaces:
                namespace.probe_end = await open_probe_end(self._addresses[node], pid)
            async with self._lock:
                await namespace.want(self._wanted(node))
                self._namespaces[node] = namespace
        except (FaultFailed, OSError) as error:
            namespace.close()
            raise EnvironmentFailed(f"cannot set up the network of {node}: {error}") from error

    def leave(self, node: str) -> None:
        """The node's container has ended, and its namespace with it."""
        namespace = self._namespaces.pop(node, None)
        if namespace is not None:
            namespace.close()

    def close(self) -> None:
        """Close every probe. Rules stay where they are."""
        for node in list(self._namespaces):
            self.leave(node)
        if self._client_probe is not None:
            self._client_probe.close()
            self._client_probe = None

    # Cutting and mending

    async def cut(self, links: Sequence[Link]) -> Evidence:
        """See `Cluster.cut`: proven by datagrams that are lost, and counted by the rule that should drop them."""
        async with self._lock:
            wanted = self._checked(links)
            fresh = [link for link in wanted if link not in self._entries]
            before = await self._read(wanted, expect_arrival=set(fresh))
            entries = {
                (source, target): self._ledger.intend("links", source=source, target=target)
                for source, target in fresh
            }
            self._entries.update(entries)
            try:
                await self._apply(wanted)
            except (FaultFailed, EnvironmentFailed) as error:
                await self._take_back(entries)
                raise FaultFailed(str(error)) from error
            after = await self._read(wanted, expect_arrival=set())
        return evidence(before, after, _proves_cut)

    async def mend(self, links: Sequence[Link]) -> Evidence:
        """See `Cluster.mend`. TCP has lost nothing that it would not send again, so no connection is reset; after a
        long cut, its next attempt may take as long as the cut lasted."""
        async with self._lock:
            wanted = self._checked(links)
            before = await self._read(
                wanted, expect_arrival={link for link in wanted if link not in self._entries}
            )
            entries = {link: self._entries.pop(link) for link in wanted if link in self._entries}
            try:
                await self._apply(wanted)
            except (FaultFailed, EnvironmentFailed) as error:
                self._entries.update(entries)
                raise FaultFailed(str(error)) from error
            for entry in entries.values():
                self._ledger.done(entry)
            after = await self._read(wanted, expect_arrival=set(wanted))
        return evidence(before, after, _proves_mended)

    def _checked(self, links: Sequence[Link]) -> list[Link]:
        """Each link once. Raises ValueError for one that does not exist."""
        once = list(dict.fromkeys(links))
        for link in once:
            self._place(link)
        return once

    def _place(self, link: Link) -> tuple[str, Rule]:
        """In whose namespace a link is cut, and by which rule."""
        return rules.rule_for(link, self._addresses, self._client_address)

    def _wanted(self, node: str) -> frozenset[Rule]:
        places = (self._place(link) for link in self._entries)
        return frozenset(rule for place, rule in places if place == node)

    async def _apply(self, links: Collection[Link]) -> None:
        """Make the rules of every running node that these links concern what they should be now."""

        async def one(node: str) -> None:
            namespace = self._namespaces.get(node)
            if namespace is None:
                return  # It is down, and joins with its rules when it starts.
            try:
                await namespace.want(self._wanted(node))
            except (FaultFailed, EnvironmentFailed):
                if self._namespaces.get(node) is namespace:
                    raise  # Else it has just ended, and took the rules with it.

        await _all_of([one(node) for node in sorted({self._place(link)[0] for link in links})])

    async def _take_back(self, entries: Mapping[Link, int]) -> None:
        """A cut failed half-way: undo what was done of it. Where even that fails, the ledger keeps it."""
        for link in entries:
            self._entries.pop(link, None)
        with suppress(FaultFailed, EnvironmentFailed):
            await self._apply(list(entries))
            for entry in entries.values():
                self._ledger.done(entry)

    # Proof

    async def _read(self, links: Sequence[Link], expect_arrival: Collection[Link]) -> dict[Link, Reading]:
        """Send datagrams over each link; then look at what arrived and what the rules have counted."""
        readings: dict[Link, Reading] = {}
        probed: list[Link] = []
        for link in links:
            down = [end for end in link if end != CLIENT and end not in self._namespaces]
            if down:
                readings[link] = {"unknown": f"{' and '.join(down)} down"}
            else:
                probed.append(link)
        arrivals = await asyncio.gather(*(self._send(link, link in expect_arrival) for link in probed))
        places = {link: self._place(link) for link in probed}
        nodes = sorted({node for node, _ in places.values()})
        counted = dict(zip(nodes, await asyncio.gather(*map(self._counters, nodes)), strict=True))
        for link, arrived in zip(probed, arrivals, strict=True):
            node, rule = places[link]
            seen = counted[node]
            if seen is None or (arrived is None and self._enters_namespaces):
                readings[link] = {"unknown": "a node ended during the probe"}
            else:
                readings[link] = {"arrived": arrived, "dropped": seen.get(rule)}
        return {link: readings[link] for link in links}

    async def _counters(self, node: str) -> dict[Rule, int] | None:
        """None if the node ended meanwhile."""
        namespace = self._namespaces.get(node)
        if namespace is None:
            return None
        try:
            return await namespace.counters()
        except (FaultFailed, EnvironmentFailed):
            if self._namespaces.get(node) is namespace:
                raise
            return None

    async def _send(self, link: Link, expect_arrival: bool) -> bool | None:
        """Whether datagrams get from source to target; None if that could not be seen."""
        source, target = link
        if self._enters_namespaces:
            start, end = await self._probe_end(source), await self._probe_end(target)
            return (
                None if start is None or end is None else await travels(start, end, expected=expect_arrival)
            )
        address = self._client_address if target == CLIENT else self._addresses[target]
        if source == CLIENT:
            start = await self._probe_end(CLIENT)
            assert start is not None, "the clients' end of probes is always there"
            start.send(b"probe", (address, DISCARD_PORT))
            return None
        # Where its own OUTPUT drops it, the sender is refused: counted all the same.
        script = f"import socket; socket.socket(2, 2).sendto(b'probe', ({address!r}, {DISCARD_PORT}))"
        await ExecutedPrograms(self._engine, self._containers[source]).run(["python3", "-c", script])
        return None

    async def _probe_end(self, end: str) -> ProbeEnd | None:
        """The probe end in a node's namespace (None: it has just ended), or on this host for the clients."""
        if end != CLIENT:
            namespace = self._namespaces.get(end)
            return None if namespace is None else namespace.probe_end
        if self._client_probe is None:
            try:
                self._client_probe = await open_probe_end(self._client_address, None)
            except OSError as error:
                raise FaultFailed(
                    f"this host has no address {self._client_address} on the run's network ({error}): the engine's "
                    "networks are not on this host"
                ) from error
        return self._client_probe


async def _all_of(acts: Sequence[Any]) -> None:
    """Do all at once, wait for all, then raise the first failure: none goes on unseen."""
    for result in await asyncio.gather(*acts, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def evidence(
    before: Mapping[Link, Reading], after: Mapping[Link, Reading], proves: Callable[[Reading, Reading], bool]
) -> Evidence:
    """Evidence for each link. One with a stopped end can prove nothing (`proves` is None): shown, and not counted."""
    measured: list[Evidence] = []
    unknown: list[dict[str, Any]] = []
    for (source, target), then in after.items():
        first = before[source, target]
        is_known = "unknown" not in then
        probe = {
            "what": f"datagrams {source} -> {target}",
            "before": dict(first),
            "after": dict(then),
            "proves": proves(first, then) if is_known else None,
        }
        if is_known:
            measured.append(Evidence(bool(probe["proves"]), [probe]))
        else:
            unknown.append(probe)
    whole = combine(measured)
    return Evidence(whole.took_effect, [*whole.probes, *unknown])


def _proves_cut(before: Reading, after: Reading) -> bool:
    """Lost, and counted by the rule: not lost for some other reason."""
    return after["arrived"] is not True and (after["dropped"] or 0) > (before.get("dropped") or 0)


def _proves_mended(_before: Reading, after: Reading) -> bool:
    return after["arrived"] is not False and after["dropped"] is None
