"""The environment `docker` for containers that run already: found, broken, healed, and left as they were.

With the option `attach`, the nodes are containers of somebody else: a list of names, or a Compose project. Faults come
from outside: rules in chains of our own in their network namespaces, the packet engine, the vDSO of their processes,
the engine's signals and freezer. What cannot be done from outside without a trace, faults of their disks, is not
offered; nor, with `control=false`, is whatever ends, starts or pauses a container.

Nothing is made in the engine, so nothing is removed from it. What a container was like is written into the ledger
before anything is done to it: `undo.give_back` makes it so again, at the end as after a `kill -9` of the harness.

The harness asks a node the way that clients take, as there is no second network: while clients are cut off from a node,
so is the harness. Started again, a container keeps its address only if it is a fixed one, or nobody has taken it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.environments.disks import disks
from harness.environments.docker.cluster import DockerCluster
from harness.environments.docker.engine import Engine, EngineRefused, connect, run_key
from harness.environments.docker.environment import capabilities_of
from harness.environments.docker.network import host_networks
from harness.environments.docker.node import LOG, Node
from harness.environments.docker.undo import give_back, quota_of
from harness.environments.environment import (
    CLIENT_PORT,
    Addresses,
    EnvironmentFailed,
    Folder,
    NodePlan,
    Progress,
    SystemUnderTest,
    name_problems,
)
from harness.environments.last_lines import LINES
from harness.environments.ledger import Ledger
from harness.environments.linux.namespace import lacking_programs, may_enter_namespaces
from harness.environments.process_clocks import VDSO, why_no_process_clocks
from harness.environments.real_time import RealTime
from nemesis.cluster import Capability, Evidence, FaultFailed

COMPOSE: Final = "compose:"
_PROJECT: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"
_NUMBER: Final = "com.docker.compose.container-number"
LIVES: Final = ("kill", "terminate", "pause", "exhaust_memory")
"""What ends or stops a container."""
OPTIONS: Final[Mapping[str, str]] = {
    "attach": "the containers that are the nodes: names separated by commas, or compose:PROJECT",
    "control": "false: they are never ended, started or paused (default: true)",
    "ports": "where the database listens in them, as client=2379,peer=2380 (default: the system's usual ports)",
    "network": "the network by which they reach each other (default: the one that all of them are in)",
}


@dataclass(frozen=True)
class AttachedAddresses:
    """See `Addressed`."""

    client_address: str
    by_node: Mapping[str, str]

    def data_address(self, node: str) -> str:
        return self.by_node[node]


class AttachedCluster(DockerCluster):
    """Containers that were there before, and will be after."""

    _one_by_one: asyncio.Lock
    _since: int
    _homes: Mapping[str, str]
    _undo: Mapping[str, Mapping[str, Any]]

    def adopt(self, addresses: Mapping[str, str], undo: Mapping[str, Mapping[str, Any]]) -> None:
        """What is special about these containers. `addresses` are those that they must keep, `undo` is what the ledger
        says of each."""
        self._undo = undo
        self._one_by_one = asyncio.Lock()  # Whoever starts first gets the first free address.
        self._since = int(time.time())
        self._homes = dict(addresses)

    async def start_all(self) -> None:
        """They run. From now on they are watched, and links can be cut."""
        assert self._packets is not None, "attaching takes the right to enter namespaces"
        self._in_background(self._engine.watch(self._failure.note))
        await self._packets.start()
        for node in self._nodes.values():
            await self._join(node, await self._inspect(node))
            node.state = "up"

    async def _start(self, node: Node) -> None:
        self._check_control("kill")
        async with self._one_by_one:
            await super()._start(node)

    def _check_control(self, fault: str) -> None:
        """Raises FaultUnavailable where the lives of the containers are not ours."""
        if not self._capabilities[fault].available:
            raise self._unavailable(fault)

    async def kill(self, node: str) -> Evidence:
        self._check_control("kill")
        return await super().kill(node)

    async def terminate(self, node: str) -> Evidence:
        self._check_control("terminate")
        return await super().terminate(node)

    async def pause(self, node: str) -> Evidence:
        self._check_control("pause")
        return await super().pause(node)

    async def exhaust_memory(self, node: str) -> Evidence:
        self._check_control("exhaust_memory")
        return await super().exhaust_memory(node)

    async def _join(self, node: Node, seen: Mapping[str, Any]) -> None:
        address, old = _addresses_of(seen).values(), self._homes[node.name]
        if seen["State"]["Running"] and old not in address:
            raise EnvironmentFailed(
                f"{node.name} has another address since it was started again ({', '.join(address)} instead of {old}): "
                "give its container a fixed one, or leave out what ends it (control=false)"
            )
        await super()._join(node, seen)

    def _write_files(self, node: Node) -> None:
        """They have what they need."""

    async def _open_gate(self, node: Node) -> None:
        """Their programs run as soon as the containers do."""

    async def _record_crash(self, node: Node, pid: int) -> None:
        await self._save_log(node)
        await super()._record_crash(node, pid)

    async def _save_log(self, node: Node) -> None:
        """What the container has printed since we came."""
        printed = await self._engine.call(
            f"reading the output of {node.name}", self._engine.api.logs, node.container, since=self._since
        )
        (node.folder / LOG).write_bytes(bytes(printed))

    async def _last_words(self, node: Node) -> str:
        try:
            await self._save_log(node)
        except EnvironmentFailed as error:
            return f"  (its output cannot be read: {error})"
        lines = (node.folder / LOG).read_text(errors="replace").splitlines()[-LINES:]
        return "\n".join(f"  {line}" for line in lines) or "  (it has printed nothing)"

    async def collect_logs(self) -> Mapping[str, Path]:
        for node in self._nodes.values():
            try:
                await self._save_log(node)
            except EngineRefused:
                continue  # Its logs go elsewhere.
        return await super().collect_logs()

    def data_folders(self) -> Mapping[str, Path]:
        raise FaultFailed("the data of attached containers is their own")

    async def wipe(self, node: str) -> Evidence:
        raise self._unavailable("wipe")

    async def detach(self) -> str:
        await self.destroy()
        return "the containers were running before, and go on running; nothing of this run is left in them"

    async def destroy(self) -> None:
        """Give the containers back as they were. Raises EnvironmentFailed where one cannot be."""
        if self._destroyed:
            return
        self._destroyed = True
        self._let_go()
        try:
            assert self._packets is not None, "attaching takes the right to enter namespaces"
            await self._packets.end()
            problems = []
            for node in self._nodes.values():
                undo = self._undo[node.name]
                try:
                    await self._engine.call(f"giving {node.name} back", give_back, self._engine.api, undo)
                    self.ledger.done(node.ledger_entry)
                except (EnvironmentFailed, OSError) as error:
                    problems.append(f"{node.name}: {error}")
            if problems:
                raise EnvironmentFailed("; ".join(problems) + f"; harness heal {self._folder} tries again")
            for entry in self.ledger.open_entries:
                self.ledger.done(entry)
        finally:
            self.ledger.close()
            self._engine.close()


class AttachedEnvironment(RealTime):
    """See the page."""

    name = "docker"

    def __init__(self, control: bool, seed: int = 0) -> None:
        super().__init__(seed)
        self._control = control

    def capabilities(self, system: SystemUnderTest) -> Mapping[str, Capability]:
        """What can be done to containers from outside."""
        found = capabilities_of(system, enters=True)
        missing = dict.fromkeys(
            (*disks.MECHANISMS, *disks.WIPE), "the data of attached containers is their own"
        )
        missing["limit_memory"] = "the memory of attached containers is limited by whoever made them"
        missing["replace"] = "the data of attached containers is their own"
        missing["names"] = "attached containers look names up in their own way"
        if not self._control:
            missing |= dict.fromkeys(
                LIVES, "attached without control over the containers' lives (control=false)"
            )
        why = why_no_process_clocks("attached containers are given no clock file")
        found["clock"] = Capability("clock", why is None, VDSO if why is None else "none", why)
        return found | {
            fault: Capability(fault, False, "none", why) for fault, why in missing.items() if fault in found
        }

    def check_options(self, options: Mapping[str, Any], nodes: Sequence[str]) -> None:
        """See the role. Asks no engine."""
        problems = name_problems(nodes)
        problems += [
            f"unknown option {name!r} of environment docker with attach (known: {', '.join(OPTIONS)})"
            for name in sorted(set(options) - set(OPTIONS))
        ]
        where = str(options.get("attach", ""))
        names = [name.strip() for name in where.split(",") if name.strip()]
        if where.startswith(COMPOSE):
            if not where.removeprefix(COMPOSE).strip():
                problems.append("attach names no project: give compose:PROJECT")
        elif len(names) != len(nodes) or len(set(names)) != len(names):
            problems.append(
                f"attach names {len(set(names))} containers, and there are {len(nodes)} nodes: name one for each, or "
                f"give --nodes {max(1, len(set(names)))}"
            )
        if not isinstance(options.get("control", True), bool):
            problems.append(f"control {options['control']!r}: must be true or false")
        try:
            _ports(options.get("ports"))
        except ValueError as error:
            problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))

    async def create_cluster(
        self,
        system: SystemUnderTest,
        nodes: Sequence[str],
        folder: Folder,
        options: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> AttachedCluster:
        """Finds the containers, and writes down what they are like. Raises EnvironmentFailed; nothing is changed."""
        self.check_options(options, nodes)
        if not may_enter_namespaces():
            lacking = ", ".join(lacking_programs()) or "root"
            raise EnvironmentFailed(
                f"attaching acts from outside in the containers' namespaces: it needs {lacking}"
            )
        ports = _ports(options.get("ports")) or dict(getattr(system, "usual_ports", {}))
        if CLIENT_PORT not in ports:
            raise EnvironmentFailed(
                f"where does {system.name} listen in these containers? Give --environment-option "
                f"ports={CLIENT_PORT}=PORT"
            )
        engine = await asyncio.to_thread(connect)
        try:
            found = await _find(engine, str(options["attach"]), len(nodes))
            network = _common_network(found, options.get("network"))
            ledger = Ledger.create(folder.ledger_path, self.name)
        except BaseException:
            engine.close()
            raise
        by_node = {node: _addresses_of(seen)[network] for node, seen in zip(nodes, found, strict=True)}
        gateway = str(found[0]["NetworkSettings"]["Networks"][network]["Gateway"])
        addresses = AttachedAddresses(gateway or _our_address(by_node[nodes[0]]), by_node)
        key = run_key(ledger.header.token)
        made, undo = [], {}
        for index, (name, seen) in enumerate(zip(nodes, found, strict=True)):
            if progress is not None:
                progress(f"{name} is the container {seen['Name'].lstrip('/')} ({by_node[name]})")
            undo[name] = {
                "node": name,
                "container": seen["Id"],
                "run": key,
                "control": self._control,
                "quota": quota_of(int(seen["State"]["Pid"])),
            }
            entry = ledger.intend("attached", **undo[name])
            made.append(_node(name, index, seen, folder, by_node, ports, entry))
        cluster = AttachedCluster(
            engine,
            system,
            key,
            addresses,
            made,
            folder.path.resolve(),
            ledger,
            self.capabilities(system),
            enters_namespaces=True,
            clock_files=False,
            seeds=self.seeds,
        )
        cluster.adopt(by_node, undo)
        return cluster


def _node(
    name: str,
    index: int,
    seen: Mapping[str, Any],
    folder: Folder,
    by_node: Mapping[str, str],
    ports: Mapping[str, int],
    entry: int,
) -> Node:
    home = folder.node_dir(name).resolve()
    listen: dict[str, Addresses] = {
        node: {port: (address, number) for port, number in ports.items()} for node, address in by_node.items()
    }
    reach = {node: addresses for node, addresses in listen.items() if node != name}
    plan = NodePlan(name, index, home, home / LOG, listen[name], reach)
    return Node(name, seen["Id"], home, plan, listen[name], listen[name], entry)


async def _find(engine: Engine, where: str, wanted: int) -> list[dict[str, Any]]:
    """What the engine says of each container, in the order of the nodes. Raises EnvironmentFailed."""
    if where.startswith(COMPOSE):
        project = where.removeprefix(COMPOSE).strip()
        listed = await engine.call(
            "listing containers", engine.api.containers, filters={"label": f"{_PROJECT}={project}"}
        )
        listed.sort(key=lambda one: (one["Labels"].get(_SERVICE, ""), int(one["Labels"].get(_NUMBER, 0))))
        names = [one["Id"] for one in listed]
        if len(names) != wanted:
            shown = ", ".join(one["Names"][0].lstrip("/") for one in listed) or "none"
            raise EnvironmentFailed(
                f"the project {project} has {len(names)} running containers ({shown}), and there are {wanted} nodes: "
                "give --nodes, or the names of the containers instead of the project"
            )
    else:
        names = [name.strip() for name in where.split(",") if name.strip()]
    found = []
    for name in names:
        try:
            seen = await engine.call(f"looking at {name}", engine.api.inspect_container, name)
        except EngineRefused as error:
            if error.status == 404:
                raise EnvironmentFailed(
                    f"the engine has no container {name}: docker ps shows those it has"
                ) from error
            raise
        if not seen["State"]["Running"] or seen["State"]["Paused"]:
            raise EnvironmentFailed(
                f"the container {name} is {seen['State']['Status']}: the nodes must be running when a run begins"
            )
        if seen["HostConfig"]["NetworkMode"].startswith(("host", "container:")):
            raise EnvironmentFailed(
                f"the container {name} has no network of its own ({seen['HostConfig']['NetworkMode']}): its links "
                "cannot be told from those of others"
            )
        found.append(seen)
    return found


def _addresses_of(seen: Mapping[str, Any]) -> dict[str, str]:
    """Network -> the container's address in it."""
    networks = seen["NetworkSettings"]["Networks"]
    return {name: one["IPAddress"] for name, one in networks.items() if one.get("IPAddress")}


def _common_network(found: Sequence[Mapping[str, Any]], wanted: Any) -> str:
    """The network that all are in. Raises EnvironmentFailed."""
    common = sorted(set.intersection(*(set(_addresses_of(seen)) for seen in found)))
    if wanted is not None:
        if wanted not in common:
            raise EnvironmentFailed(
                f"not all containers are in the network {wanted}; all are in: {', '.join(common) or 'none'}"
            )
        return str(wanted)
    if len(common) != 1:
        raise EnvironmentFailed(
            f"the containers share {len(common)} networks ({', '.join(common) or 'none'}): name the one by which they "
            "reach each other with --environment-option network=NAME"
        )
    return common[0]


def _our_address(of_node: str) -> str:
    """By which the nodes see us where their network has no gateway: the first host of the network that we route to."""
    for network in host_networks():
        if ipaddress.IPv4Address(of_node) in network:
            return str(network[1])
    raise EnvironmentFailed(
        f"this host has no way to {of_node}: the containers' network cannot be reached from here"
    )


def _ports(text: Any) -> dict[str, int]:
    """`client=2379,peer=2380` as a mapping. Raises ValueError."""
    found = {}
    for pair in str(text or "").split(","):
        if pair.strip():
            name, _, number = pair.partition("=")
            if not number.strip().isdigit() or not 1 <= int(number) <= 65_535:
                raise ValueError(f"ports {pair.strip()!r}: must be NAME=PORT, as in client=2379,peer=2380")
            found[name.strip()] = int(number)
    return found
