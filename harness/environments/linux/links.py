"""Which links are cut, in the network namespaces of nodes, and the proof of it.

`Links` knows what is cut *now*, whichever nodes run: a namespace that is made joins with the rules already in place,
one that ends takes its rules with it. Changes of links are made one after the other; each takes a few
milliseconds and its proof some fifty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from harness.environments.environment import EnvironmentFailed
from harness.environments.ledger import Ledger
from harness.environments.linux import rules
from harness.environments.linux.namespace import NodeNamespace, ProbeEnd, Programs, open_probe_end, travels
from harness.environments.linux.rules import Rule
from nemesis.cluster import CLIENT, Evidence, FaultFailed, Link, combine

DISCARD_PORT = 9
"""Where probes go that nobody is meant to receive."""

Reading = Mapping[str, Any]
"""`arrived` (None: could not be seen) and `dropped` (packets; None: there is no such rule), or `unknown` with why."""


class Doors(Protocol):
    """How to get into the namespaces of a run's nodes."""

    @property
    def enters(self) -> bool:
        """Whether sockets can be opened in them from outside; else probes start where programs run."""

    def programs(self, node: str, pid: int) -> Programs:
        """Runs programs in the namespace of this process, which is the node's."""

    async def send_from(self, node: str, address: str, count: int = 1, size: int = 5) -> None:
        """Sends datagrams of so many bytes from the node's namespace to `DISCARD_PORT` of an address; only where
        `enters` is false."""


class Links:
    """The directed links between the nodes of a run, and between them and the clients."""

    def __init__(
        self,
        run_key: str,
        addresses: Mapping[str, str],
        client_address: str,
        ledger: Ledger,
        doors: Doors,
        spared_ports: Mapping[str, int] | None = None,
    ) -> None:
        """`addresses` are those at which the nodes reach each other; clients come from `client_address`. TCP to and
        from the spared port of a node is never touched."""
        self._run_key = run_key
        self._spared_ports = dict(spared_ports or {})
        self._client_address = client_address
        self._addresses = dict(addresses)
        self._ledger = ledger
        self._doors = doors
        self._enters_namespaces = doors.enters
        self._namespaces: dict[str, NodeNamespace] = {}
        """Of the nodes that have one."""
        self._client_probe: ProbeEnd | None = None
        self._entries: dict[Link, int] = {}
        self._queues: dict[Link, int] = {}
        """Links that go through a queue, and its number in the namespace where they are met."""
        self._muffled: set[Link] = set()
        """Links that carry everything but TCP's resets."""
        self._lock = asyncio.Lock()

    @property
    def cut_links(self) -> tuple[Link, ...]:
        """What is cut now, in the order of cutting."""
        return tuple(self._entries)

    @property
    def enters(self) -> bool:
        """Whether sockets can be opened at the ends of links."""
        return self._enters_namespaces

    async def send_blind(self, link: Link, count: int, size: int) -> None:
        """Datagrams over a link, whose arrival nobody sees."""
        source, target = link
        address = self.address_of(target)
        if source != CLIENT:
            await self._doors.send_from(source, address, count, size)
            return
        start = await self._probe_end(CLIENT)
        assert start is not None, "the clients' end of probes is always there"
        for _ in range(count):
            start.send(bytes(size), (address, DISCARD_PORT))

    # Nodes come and go

    async def join(self, node: str, pid: int) -> None:
        """The node has the namespace of this process: cut in it what is cut now."""
        namespace = NodeNamespace(
            node,
            pid,
            self._run_key,
            self._doors.programs(node, pid),
            spared_port=self._spared_ports.get(node),
        )
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
        """The node's namespace has ended."""
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
            self._muffled -= set(wanted)
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
        places = [self._place(link) for link in self._entries]
        for link, queue in self._queues.items():
            place, rule = self._place(link)
            places.append((place, replace(rule, queue=queue)))
        for link in self._muffled:
            place, rule = self._place(link)
            places.append((place, replace(rule, only_resets=True)))
        return frozenset(rule for place, rule in places if place == node)

    # For those who delay and lose packets

    def node_of(self, link: Link) -> str:
        """The node in whose namespace the bytes of a link are met. Raises ValueError if there is no such link."""
        return self._place(link)[0]

    def rule_of(self, link: Link) -> Rule:
        """Where its bytes are met in the namespace of `node_of` it: the side, and the address at the other end."""
        return self._place(link)[1]

    async def run_at(self, node: str, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        """A program in the namespace of a node. Raises FaultFailed if it has none."""
        if node not in self._namespaces:
            raise FaultFailed(f"{node} has no namespace now")
        return await self._namespaces[node].run(argv, text)

    async def queue(self, numbers: Mapping[Link, int | None]) -> None:
        """From now on each of these links goes through the queue with this number, or (None) through none again."""
        async with self._lock:
            for link, number in numbers.items():
                if number is None:
                    self._queues.pop(link, None)
                else:
                    self._queues[link] = number
            await self._apply(list(numbers))

    async def muffle(self, links: Sequence[Link]) -> None:
        """From now on, until mended, nobody is told over these links that a connection ended."""
        async with self._lock:
            self._muffled |= set(links)
            await self._apply(links)

    @property
    def muffled(self) -> frozenset[Link]:
        """The links on which resets are dropped."""
        return frozenset(self._muffled)

    def why_silent(self, link: Link) -> str | None:
        """Why no probe could travel over this link now; None if one could."""
        if link in self._entries:
            return "it is cut"
        gone = [end for end in link if end != CLIENT and end not in self._namespaces]
        return f"{' and '.join(gone)} down" if gone else None

    def address_of(self, end: str) -> str:
        """Of a node, or of the clients."""
        return self._client_address if end == CLIENT else self._addresses[end]

    def pid_of(self, end: str) -> int | None:
        """A process in the namespace of a node; None for the clients, who are in our own. Raises FaultFailed if it has
        none."""
        if end == CLIENT:
            return None
        if end not in self._namespaces:
            raise FaultFailed(f"{end} has no namespace now")
        return self._namespaces[end].pid

    async def probe_ends(self, link: Link) -> tuple[ProbeEnd, ProbeEnd] | None:
        """Where probes of a link start and end; None if one of the two has no namespace now."""
        source, target = await self._probe_end(link[0]), await self._probe_end(link[1])
        return None if source is None or target is None else (source, target)

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
        await self._doors.send_from(source, address)
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
