"""A cluster of the environment `netns`: processes of this host, each in a network namespace of its own.

A namespace is kept by a process that sleeps, its *keeper*, so that it outlives the node's process: a node that is
started again finds its address and the rules that are in force. All of them are children of the supervisor.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.environments.channel import Channel
from harness.environments.clock_file import REAL_TIME, write_clock
from harness.environments.environment import (
    Addresses,
    EnvironmentFailed,
    Folder,
    NodePlan,
    Progress,
    SystemUnderTest,
)
from harness.environments.healing import Healing
from harness.environments.linux import packet_process
from harness.environments.linux.connections import Connections
from harness.environments.linux.faults import LinkVerbs
from harness.environments.linux.links import Links
from harness.environments.linux.names import FILE as HOSTS_FILE
from harness.environments.linux.names import Names, NameVerbs, behind_own_file, hosts_text
from harness.environments.linux.namespace import EnteredPrograms, Programs, search_path
from harness.environments.linux.shaping import Shaping, netem_of
from harness.environments.netns import hub
from harness.environments.processes import python_path
from harness.environments.supervised import Node, SupervisedCluster
from harness.seeds import Seeds
from nemesis.cluster import Capability

FIRST_PORT = 7000
"""Ports are the same in every namespace, counted from here in the order of the system's port names."""
KEEPER_TIMEOUT_S = 5.0
ENGINE = packet_process.NAME
XTABLES_LOCK = "XTABLES_LOCKFILE"
"""The older iptables locks a file that only root of the host may open; the lock of this run is its own."""


class NetnsDoors:
    """How to get into the namespaces; see `harness.environments.linux.links.Doors`."""

    enters = True

    def __init__(self, lock: Path) -> None:
        self._lock = lock

    def programs(self, node: str, pid: int) -> Programs:
        return EnteredPrograms(pid, {XTABLES_LOCK: str(self._lock)})

    async def send_from(self, node: str, address: str, count: int = 1, size: int = 5) -> None:
        raise AssertionError("sockets are opened in the namespaces, so nothing is sent by programs in them")


class NetnsCluster(LinkVerbs, NameVerbs, SupervisedCluster):
    """See `EnvironmentCluster`. Made by `NetnsEnvironment.create_cluster`."""

    def __init__(
        self,
        system: SystemUnderTest,
        names: Sequence[str],
        folder: Folder,
        capabilities: Mapping[str, Capability],
        seeds: Seeds,
        progress: Progress | None,
        has_names: bool = False,
    ) -> None:
        super().__init__(system, names, folder, "netns", capabilities, seeds, progress)
        addresses = {name: hub.data_address(index) for index, name in enumerate(names)}
        if has_names:
            self.names = Names(addresses, self._write_hosts, self._run_at, self.state, self.ledger)
        self._keepers: dict[str, int] = {}
        """Node -> process that keeps its namespace."""
        self._direct: dict[str, Addresses] = {}
        self._client: dict[str, Addresses] = {}
        self._lock_file = self.folder.path.absolute() / "iptables.lock"
        self.links = Links(
            self.ledger.header.token[:8],
            addresses,
            hub.CLIENT_ADDRESS,
            self.ledger,
            NetnsDoors(self._lock_file),
        )
        self.connections = Connections(self.links)
        self.shaping = Shaping(self.links, self._ask_engine, self.ledger, netem_of(self.links))
        self._engine: Channel | None = None

    async def create(self) -> None:
        """Start the supervisor and the packet engine, make the namespaces and connect them. No node runs yet."""
        ours, theirs = socket.socketpair()
        descriptor = theirs.fileno()
        await self.start_supervisor([descriptor])
        theirs.close()
        names = self.nodes
        home = self.folder.path
        for name in names:
            argv = ["unshare", "--net", "--", "sleep", "infinity"]
            path = {"PATH": search_path()}
            _, keeper = await self.spawn(_keeper_name(name), argv, home, path, home / "keepers.log")
            self._keepers[name] = keeper.pid
        await self._start_engine(ours, descriptor)
        await asyncio.gather(*(self._wait_for_namespace(name) for name in names))
        await asyncio.to_thread(hub.connect, [self._keepers[name] for name in names])
        for index, name in enumerate(names):
            self._direct[name] = self._ports(hub.control_address(index))
            self._client[name] = self._ports(hub.data_address(index))
        for index, name in enumerate(names):
            self.place(Node(self._plan(name, index)))
        await asyncio.gather(*(self.links.join(name, self._keepers[name]) for name in names))
        for name in names:
            await self.shaping.joined(name, self._keepers[name])

    async def _start_engine(self, end: socket.socket, descriptor: int) -> None:
        """Our end of a socket pair, and the number of the other end among the supervisor's descriptors."""
        await self.spawn(
            ENGINE,
            packet_process.arguments(descriptor, self.seeds.number(ENGINE)),
            self.folder.path,
            {"PYTHONPATH": python_path()},
            self.folder.path / "packets.log",
            [descriptor],
        )
        self._engine = await Channel.open(ENGINE, end)
        await self._ask_engine("ping")

    async def _ask_engine(self, verb: str, **arguments: Any) -> Any:
        if self._engine is None:
            raise EnvironmentFailed(f"the {ENGINE} was never started: it cannot {verb}")
        return await self._engine.request(verb, **arguments)

    async def _wait_for_namespace(self, name: str) -> None:
        """Until the keeper is in a namespace that is not ours."""
        pid = self._keepers[name]
        ours = os.readlink(hub.THREAD_NAMESPACE)
        deadline = asyncio.get_running_loop().time() + KEEPER_TIMEOUT_S
        while True:
            try:
                if os.readlink(f"/proc/{pid}/ns/net") != ours:
                    return
            except OSError as error:
                raise EnvironmentFailed(
                    f"the keeper of {name}'s namespace (process {pid}) has ended: {error}"
                ) from error
            if asyncio.get_running_loop().time() > deadline:
                raise EnvironmentFailed(f"{name} has no namespace after {KEEPER_TIMEOUT_S:g} s")
            await asyncio.sleep(0.001)

    def _ports(self, host: str) -> Addresses:
        return {port: (host, FIRST_PORT + number) for number, port in enumerate(self.system.ports)}

    def _plan(self, name: str, index: int) -> NodePlan:
        """A node listens on all its addresses: it is dialled on one bridge and asked on the other."""
        home = self.folder.node_dir(name).absolute()
        data_dir = home / "data"
        data_dir.mkdir(parents=True, exist_ok=True)
        clock_file: Path | None = None
        if self.system.clock_port:
            clock_file = home / "clock"
            write_clock(clock_file, REAL_TIME)
        known = self._client
        if self.names is not None:
            known = {other: self._ports(other) for other in self.nodes}
            addresses = {other: hub.data_address(number) for number, other in enumerate(self.nodes)}
            self._hosts_file(name).write_text(hosts_text(addresses))
        reach = {other: known[other] for other in self.nodes if other != name}
        return NodePlan(
            name,
            index,
            data_dir,
            home / "node.log",
            self._ports("0.0.0.0"),
            reach,
            clock_file,
            known[name],
        )

    def _hosts_file(self, node: str) -> Path:
        return self.folder.node_dir(node).absolute() / HOSTS_FILE

    async def _write_hosts(self, node: str, text: str) -> None:
        await asyncio.to_thread(self._hosts_file(node).write_text, text)

    async def _run_at(self, node: str, argv: Sequence[str]) -> tuple[int, str]:
        """A program with the mounts of the node's process, in its network."""
        mounts = ["nsenter", f"--mount=/proc/{self.pid(node)}/ns/mnt", "--"]
        return await EnteredPrograms(self._keepers[node]).run([*mounts, *argv])

    # For `SupervisedCluster`.

    def command(self, node: str, argv: Sequence[str]) -> list[str]:
        """In the node's namespace, and as the same process: its pid is the node's."""
        inside = list(argv) if self.names is None else behind_own_file(str(self._hosts_file(node)), argv)
        return ["nsenter", f"--net=/proc/{self._keepers[node]}/ns/net", "--", *inside]

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        return {**super().variables(more), "PATH": search_path()}

    def child_ended(self, name: str, pid: int, status: str) -> bool:
        """Without its keeper a node's namespace would end with the node, and the rules with it."""
        if name == ENGINE:
            self.fail(f"the {ENGINE} (process {pid}) has ended by itself: {status}", "packets.log")
            return True
        if name.endswith(_KEEPER):
            self.fail(f"{name} (process {pid}) has ended by itself: {status}", "keepers.log")
            return True
        return False

    async def mend_everything(self, healing: Healing) -> None:
        await self.mend_links(healing)
        await self.mend_all_names(healing)

    async def before_detaching(self) -> None:
        """What is late or lossy stays so."""
        await self._ask_engine("stay")

    async def packet_counters(self) -> list[dict[str, Any]]:
        """What the packet engine has done to each link that ever was shaped."""
        rows: list[dict[str, Any]] = await self._ask_engine("counters")
        return rows

    def close_all(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self.links.close()
        self._lock_file.unlink(missing_ok=True)

    async def detach(self) -> str:
        """The supervisor keeps the hub, in which it is."""
        process = self.supervisor_pid
        sentence = await super().detach()
        return f"{sentence}; reach its nodes with: nsenter --net=/proc/{process}/ns/net -- PROGRAM"

    # What is asked of it.

    def client_address(self, node: str) -> Addresses:
        return self._client[self.plan(node).name]

    def direct_address(self, node: str) -> Addresses:
        return self._direct[self.plan(node).name]


_KEEPER = "'s namespace keeper"


def _keeper_name(node: str) -> str:
    return f"{node}{_KEEPER}"
