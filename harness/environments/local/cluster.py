"""A cluster of the environment `local`: processes on loopback, and a proxy on every directed link between them.

Links are proven by tokens that travel (`probe.py`); what happens to processes and clocks is told in `supervised.py`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.environments.channel import Channel
from harness.environments.clock_file import REAL_TIME, write_clock
from harness.environments.environment import (
    CLIENT_PORT,
    PEER,
    Address,
    Addresses,
    EnvironmentFailed,
    Folder,
    NodePlan,
    Progress,
    SystemUnderTest,
)
from harness.environments.healing import Healing, names_of
from harness.environments.local.links import LinkFaults
from harness.environments.local.ports import HOST, PortBlock, check_free
from harness.environments.local.probe import Prober
from harness.environments.local.way_out import made_up_address
from harness.environments.processes import python_path
from harness.environments.supervised import Node, SupervisedCluster
from harness.seeds import Seeds
from nemesis.cluster import CLIENT, Capability, Evidence, Link

PROXY = "proxy"
"""Its name among the children of the supervisor."""


class LocalCluster(SupervisedCluster):
    """See `EnvironmentCluster`. Made by `LocalEnvironment.create_cluster`."""

    def __init__(
        self,
        system: SystemUnderTest,
        names: Sequence[str],
        folder: Folder,
        capabilities: Mapping[str, Capability],
        base_port: int | None,
        seeds: Seeds,
        progress: Progress | None,
    ) -> None:
        super().__init__(system, names, folder, "local", capabilities, seeds, progress)
        self._base_port = base_port
        self._link_faults: LinkFaults | None = None
        self._ports: PortBlock | None = None
        self._proxy: Channel | None = None
        self._prober: Prober | None = None
        self._client_addresses: dict[str, dict[str, Address]] = {}
        self._listeners: dict[tuple[str, str, str], Address] = {}
        """(dialer, owner, port) -> where that is dialled now."""
        self._ways_out: dict[str, Address] = {}
        self._led_to: set[str] = set()
        """Identities of new nodes that the others reach."""

    async def create(self) -> None:
        """Start the supervisor and the proxy, choose ports, open every route."""
        self._ports = PortBlock(self.seeds.stream("ports"), self._base_port)
        ours, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        await self.start_supervisor([descriptor])
        theirs.close()
        await self._start_proxy(ours, descriptor)
        listen = {
            name: {port: (HOST, self._ports.take(f"{name} ({port})")) for port in self.system.ports}
            for name in self._names
        }
        for dialer in (*self._names, CLIENT):
            for owner in self._names:
                if dialer != owner:
                    for port, address in listen[owner].items():
                        await self._open_route(dialer, owner, port, address)
        if "socks" in self.system.supports:
            await self._open_ways_out(listen)
        for index, name in enumerate(self._names):
            self.place(Node(self._plan(name, index, listen)))
            self._client_addresses[name] = {
                port: self._listeners[CLIENT, name, port] for port in self.system.ports
            }
        between = PEER if PEER in self.system.ports else self.system.ports[0]
        outside = CLIENT_PORT if CLIENT_PORT in self.system.ports else self.system.ports[0]
        links = {(a, b): between for a in self._names for b in self._names if a != b}
        links |= {(CLIENT, name): outside for name in self._names}
        assert self._proxy is not None
        self._prober = Prober(self._proxy, links, self._listeners)
        await self._prober.start()
        self._link_faults = LinkFaults(
            lambda verb, **sent: self._ask_proxy(verb, **sent), self._prober, self.ledger
        )

    def _plan(self, name: str, index: int, listen: Mapping[str, Addresses]) -> NodePlan:
        home = self.folder.node_dir(name).absolute()
        data_dir = home / "data"
        data_dir.mkdir(parents=True, exist_ok=True)
        clock_file: Path | None = None
        if self.system.clock_port:
            clock_file = home / "clock"
            write_clock(clock_file, REAL_TIME)
        reach = {
            other: {port: self._listeners[name, other, port] for port in self.system.ports}
            for other in self._names
            if other != name
        }
        advertise: dict[str, Address] = {}
        way_out = self._ways_out.get(name)
        if way_out is not None:
            everywhere = {other: self._everywhere(other, listen[other]) for other in self._names}
            advertise = everywhere.pop(name)
            reach = everywhere
        log = home / "node.log"
        return NodePlan(name, index, data_dir, log, listen[name], reach, clock_file, advertise, way_out)

    def _everywhere(self, name: str, listen: Addresses) -> dict[str, Address]:
        """Where all others reach this node, through their ways out."""
        host = made_up_address(self._names.index(name))
        return {port: (host, address[1]) for port, address in listen.items()}

    async def _open_route(self, dialer: str, owner: str, port: str, to: Address) -> None:
        """A listener that leads there, on the links between the two. What was there before stays, and leads where it
        did."""
        number = await self._ask_proxy(
            "route", dialer=dialer, owner=owner, port=port, host=to[0], to_port=to[1]
        )
        self._listeners[dialer, owner, port] = (HOST, number)

    async def _open_ways_out(self, listen: Mapping[str, Addresses]) -> None:
        """For each node a server that knows its links to the others by their made-up addresses."""
        for dialer in self._names:
            ways = [
                (*self._everywhere(owner, listen[owner])[port], *self._listeners[dialer, owner, port])
                for owner in self._names
                for port in self.system.ports
                if owner != dialer
            ]
            self._ways_out[dialer] = (HOST, await self._ask_proxy("way_out", host=HOST, ways=ways))

    async def _lead_to(self, plan: NodePlan) -> None:
        """The others reach a new node at the address that it tells them."""
        for dialer in self._names:
            if dialer != plan.name:
                await self._open_route(dialer, plan.name, PEER, plan.listen[PEER])
                way = (*plan.advertise[PEER], *self._listeners[dialer, plan.name, PEER])
                await self._ask_proxy("more_ways", way_out=self._ways_out[dialer][1], ways=[way])
        self._led_to.add(plan.known_as)

    def put_plan(self, node: str, plan: NodePlan) -> None:
        """All nodes are on one host: the new one gets a port that nobody else has."""
        assert self._ports is not None, "the cluster was created"
        port = self._ports.take(f"{plan.known_as} ({PEER})")
        super().put_plan(node, replace(plan, listen={**plan.listen, PEER: (HOST, port)}))

    async def _start_proxy(self, end: socket.socket, descriptor: int) -> None:
        """Our end of a socket pair, and the number of the other end among the supervisor's descriptors."""
        await self.spawn(
            PROXY,
            [sys.executable, "-m", "harness.environments.local.proxy", str(descriptor)],
            self.folder.path,
            {"PYTHONPATH": python_path()},
            self.folder.path / "proxy.log",
            [descriptor],
        )
        self._proxy = await Channel.open("proxy", end)
        await self._ask_proxy("ping")

    async def _ask_proxy(self, verb: str, **arguments: Any) -> Any:
        if self._proxy is None:
            raise EnvironmentFailed(f"the proxy was never started: it cannot {verb}")
        return await self._proxy.request(verb, **arguments)

    async def may_start(self, plan: NodePlan) -> None:
        """A port that somebody took while the node was down would be a riddle. Who is new must be reached."""
        if plan.replaces is not None and plan.known_as not in self._led_to:
            await self._lead_to(plan)
        for port, address in plan.listen.items():
            check_free(address[1], f"{plan.name} ({port})")

    def child_ended(self, name: str, pid: int, status: str) -> bool:
        """The proxy is no node."""
        if name != PROXY:
            return False
        self.fail(
            f"the proxy (process {pid}) has ended by itself: {status}; all traffic between nodes and from clients went "
            "through it",
            "proxy.log",
        )
        return True

    async def before_detaching(self) -> None:
        """Nodes without a proxy would be cut off."""
        await self._ask_proxy("stay")

    def close_all(self) -> None:
        """Probes, the way to the proxy, and the hold on the ports."""
        if self._prober is not None:
            self._prober.close()
        if self._proxy is not None:
            self._proxy.close()
        if self._ports is not None:
            self._ports.close()

    def client_address(self, node: str) -> Addresses:
        """The proxy's listeners for clients."""
        return self._client_addresses[self.plan(node).name]

    async def link_counters(self) -> list[dict[str, Any]]:
        """For each directed link what the proxy has counted since the start."""
        return await self._links().counters()

    async def cut(self, links: Sequence[Link]) -> Evidence:
        return await self._links().cut(links)

    async def mend(self, links: Sequence[Link]) -> Evidence:
        return await self._links().mend(links)

    async def slow(self, links: Sequence[Link], delay_ms: float, jitter_ms: float = 0.0) -> Evidence:
        return await self._links().slow(links, delay_ms, jitter_ms)

    async def throttle(self, links: Sequence[Link], bytes_per_s: int | None) -> Evidence:
        return await self._links().throttle(links, bytes_per_s)

    async def reset(self, links: Sequence[Link]) -> Evidence:
        return await self._links().reset(links)

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        return await self._links().half_open(links)

    def _links(self) -> LinkFaults:
        if self._link_faults is None:
            raise EnvironmentFailed("the cluster was not created: it has no links")
        return self._link_faults

    async def mend_everything(self, healing: Healing) -> None:
        """Every link that is cut, half-open or shaped."""
        faults = self._links()
        broken, shaped = sorted(faults.cut_links | faults.halved), sorted(faults.shaped)
        if broken:
            await healing.attempt(f"mended {names_of(broken)}", lambda: faults.mend(broken))
        if shaped:
            await healing.attempt(f"restored the speed of {names_of(shaped)}", lambda: faults.restore(shaped))
