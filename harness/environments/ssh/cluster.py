"""A cluster of nodes on hosts that are reached by SSH.

On each host an *agent* (`agent.py`) starts, signals and watches the node's process, runs programs, and writes files; a
packet engine may shape the links. Both are programs of ours, copied there, which end with the connection and clean up
after themselves, so a harness that is killed leaves nothing; the ledger knows it all the same.

Faults act on the addresses by which nodes and clients reach a node. The harness itself asks a node through the
connection, whose port no rule of ours touches. At the end data and logs are copied into the run folder.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from harness.environments.channel import Channel
from harness.environments.clock_file import ClockSetting
from harness.environments.clocks import Clocks
from harness.environments.disks.disks import LAYER_MODULE, Place
from harness.environments.docker.image import launched_packages, launched_program
from harness.environments.environment import (
    Addresses,
    EnvironmentFailed,
    Folder,
    NodePlan,
    Progress,
    SystemUnderTest,
)
from harness.environments.healing import Healing
from harness.environments.linux import rules
from harness.environments.linux.connections import Connections
from harness.environments.linux.faults import LinkVerbs
from harness.environments.linux.links import DISCARD_PORT, Links
from harness.environments.linux.names import FILE as HOSTS_FILE
from harness.environments.linux.names import Names, NameVerbs, behind_own_file, hosts_text
from harness.environments.linux.namespace import VARIANTS, WAIT_FOR_LOCK, Programs
from harness.environments.linux.shaping import Shaping
from harness.environments.processes import TOKEN_VARIABLE, ProcessIdentity
from harness.environments.ssh.disks import OtherHosts
from harness.environments.ssh.hosts import Destination, Host, Login
from harness.environments.ssh.shipping import PROGRAMS, SOURCES, TOOLS, bundle, send_program
from harness.environments.supervised import Node, SupervisedCluster
from harness.seeds import Seeds
from nemesis.cluster import Capability, Evidence, FaultFailed, Link, evidence_of

FIRST_PORT = 7000
"""Ports are the same on every host, counted from here in the order of the system's port names."""
CLOSE_TIMEOUT_S = 20.0
TIME_READINGS = 7
"""Each is wrong by half its round trip; on a busy machine one of some is short."""
LOG_COPY_BYTES = 1 << 24


_AGENT, _ENGINE = "harness.environments.ssh.agent", "harness.environments.linux.packets"
_GREETINGS = {_AGENT: "time", _ENGINE: "ping", LAYER_MODULE: "look"}
"""A verb of each of our programs that does nothing."""


class AgentPrograms:
    """Programs of a host, run by its agent; see `harness.environments.linux.namespace.Programs`."""

    def __init__(self, agent: Channel) -> None:
        self._agent = agent

    async def run(self, argv: Sequence[str], text: str = "") -> tuple[int, str]:
        status, output = await self._agent.request("run", timeout_s=30.0, argv=list(argv), text=text)
        return int(status), str(output)


class HostDoors:
    """How to get at the hosts; see `harness.environments.linux.links.Doors`."""

    enters = False

    def __init__(self, agents: Mapping[str, Channel]) -> None:
        self._agents = agents

    def programs(self, node: str, pid: int) -> Programs:
        return AgentPrograms(self._agents[node])

    async def send_from(self, node: str, address: str, count: int = 1, size: int = 5) -> None:
        await self._agents[node].request("send", address=address, port=DISCARD_PORT, count=count, size=size)


class HostConnections(Connections):
    """Connections that are reset on a host, seen in its own table of them."""

    def __init__(self, links: Links, agents: Mapping[str, Channel]) -> None:
        super().__init__(links)
        self._agents = agents

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        raise FaultFailed("half-open connections need sockets in both hosts, which SSH does not give")

    async def reset(self, links: Sequence[Link]) -> Evidence:
        return evidence_of([await self._reset(link) for link in dict.fromkeys(links)])

    async def _reset(self, link: Link) -> dict[str, Any]:
        """Those that were there are gone, and there were some: nodes that speak have connections."""
        at = self._links.node_of(link)
        other = link[0] if link[1] == at else link[1]
        filters = ["state", "established", "dst", self._links.address_of(other)]
        before = await self._list(at, filters)
        status, output = await AgentPrograms(self._agents[at]).run(["ss", "--kill", "--tcp", *filters])
        if status != 0:
            raise FaultFailed(f"ss --kill at {at}: {output.strip()[:200]}")
        left = sorted(set(before) & set(await self._list(at, filters)))
        return {
            "what": f"connections of {at} with {other}",
            "before": f"{len(before)} established",
            "after": f"{len(left)} of them left",
            "proves": bool(before) and not left,
        }

    async def _list(self, at: str, filters: Sequence[str]) -> list[str]:
        """Pairs of addresses, by `ss`, but for the harness's own connection."""
        _, output = await AgentPrograms(self._agents[at]).run(["ss", "--no-header", "--tcp", "-n", *filters])
        return [" ".join(line.split()[-2:]) for line in output.splitlines() if line.strip()]


class SshCluster(LinkVerbs, NameVerbs, SupervisedCluster):
    """See `EnvironmentCluster`. Made by `SshEnvironment.create_cluster`."""

    def __init__(
        self,
        system: SystemUnderTest,
        names: Sequence[str],
        folder: Folder,
        capabilities: Mapping[str, Capability],
        seeds: Seeds,
        progress: Progress | None,
        destinations: Sequence[Destination],
        login: Login,
        python: str,
        directory: str,
        has_names: bool = False,
    ) -> None:
        self._hosts = {name: Host(place, login) for name, place in zip(names, destinations, strict=True)}
        super().__init__(system, names, folder, "ssh", capabilities, seeds, progress)
        self._login = login
        self._python = python
        self._home = PurePosixPath(directory) / self.ledger.header.token[:12]
        self._addresses = {name: host.destination.address for name, host in self._hosts.items()}
        if has_names:
            self.names = Names(self._addresses, self._write_hosts, self._run_at, self.state, self.ledger)
        self._agents: dict[str, Channel] = {}
        self._engines: dict[str, Channel] = {}
        self._host_entries: dict[str, int] = {}
        self._real_ns: dict[str, int] = {}
        self._direct: dict[str, Addresses] = {}
        self._launched: Path | None = None
        """A program of this host that the nodes are."""
        self._program_files: dict[str, str] = {}
        """Node -> where it is on its host."""
        self._clocks = Clocks(
            system,
            self.ledger,
            self.state,
            self.direct_address,
            lambda node: self._copy(node) / "clock" if system.clock_port else None,
            self._deliver_clock,
            lambda node: self._real_ns.get(node, 0),
            None if system.clock_port else self._clock_of_processes,
            by=capabilities["clock"].mechanism,
        )

    # Life

    async def create(self) -> None:
        """Log in everywhere, copy our programs and the system's sources, start agents and packet engines."""
        launch = self.system.launch(self._plan(self.nodes[0], 0, {}), self.nodes)
        self._launched = launched_program(launch.argv)
        archive = await asyncio.to_thread(bundle, launched_packages(launch.argv))
        await self._on_all(lambda name: self._prepare(name, archive))
        client = {host.local_address for host in self._hosts.values()}
        if len(client) != 1:
            raise EnvironmentFailed(
                f"the hosts see us under different addresses ({', '.join(sorted(client))}): rules for clients "
                "need one; choose hosts on one network"
            )
        self.links = Links(
            self._run_key,
            self._addresses,
            client.pop(),
            self.ledger,
            HostDoors(self._agents),
            {name: host.destination.port for name, host in self._hosts.items()},
        )
        self.connections = HostConnections(self.links, self._agents)
        self.shaping = Shaping(self.links, self._ask_engine, self.ledger)
        for index, name in enumerate(self.nodes):
            self.place(Node(self._plan(name, index, self._addresses)))
            if self.names is not None:
                await self._write_hosts(name, hosts_text(self._addresses))
        await self._on_all(self._join)

    async def _on_all(self, act: Any) -> None:
        results = await asyncio.gather(*(act(name) for name in self.nodes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    @property
    def _run_key(self) -> str:
        return self.ledger.header.token[:8]

    def _tags(self, name: str) -> dict[str, str]:
        """Environment variables by which the processes on a node's host are known."""
        return tags_of(self.ledger.header.token, name)

    def _folder(self, name: str) -> PurePosixPath:
        """Of a node, on its host."""
        return self._home / name

    def _copy(self, name: str) -> Path:
        """Of a node, in the run folder."""
        return self.folder.node_dir(name).absolute()

    def _plan(self, name: str, index: int, addresses: Mapping[str, str]) -> NodePlan:
        home = Path(self._folder(name))
        if self.names is not None:
            addresses = {other: other for other in addresses}
        reach = {other: self._ports(address) for other, address in addresses.items() if other != name} or {
            other: self._ports("0.0.0.0") for other in self.nodes if other != name
        }
        clock = home / "clock" if self.system.clock_port else None
        own = self._ports(addresses.get(name, "0.0.0.0"))
        listen = self._ports("0.0.0.0")
        return NodePlan(name, index, home / "data", home / "node.log", listen, reach, clock, own)

    async def _write_hosts(self, node: str, text: str) -> None:
        content = base64.b64encode(text.encode()).decode()
        await self._agents[node].request("write", path=str(self._folder(node) / HOSTS_FILE), content=content)

    async def _run_at(self, node: str, argv: Sequence[str]) -> tuple[int, str]:
        """A program with the mounts of the node's process, on its host."""
        mounts = ["nsenter", f"--mount=/proc/{self.pid(node)}/ns/mnt", "--"]
        return await AgentPrograms(self._agents[node]).run([*mounts, *argv])

    def _ports(self, host: str) -> Addresses:
        return {port: (host, FIRST_PORT + number) for number, port in enumerate(self.system.ports)}

    async def _prepare(self, name: str, archive: bytes) -> None:
        host = self._hosts[name]
        await host.open()
        home = shlex.quote(str(self._folder(name)))
        self._host_entries[name] = self.ledger.intend(
            "host",
            name=name,
            destination=str(host.destination),
            login={
                "known_hosts": str(self._login.known_hosts),
                "key": None if self._login.key is None else str(self._login.key),
                "jump": None if self._login.jump is None else str(self._login.jump),
                "sudo": self._login.sudo,
                "marker": self._login.marker,
            },
            folder=str(self._folder(name)),
            run_key=self._run_key,
        )
        status, output = await host.run(f"mkdir -p {home}/data && tar -xzf - -C {home}", archive)
        if status != 0:
            raise EnvironmentFailed(f"{host.destination}: copying to {home} failed: {output.strip()[:300]}")
        status, output = await host.run(f"{shlex.quote(self._python)} -c 'import sys; print(sys.version)'")
        if status != 0:
            raise EnvironmentFailed(
                f"{host.destination}: {self._python} does not run ({output.strip()[:200]}): name another Python "
                "of these hosts with --environment-option python=PATH"
            )
        removal = rules.removal(self._run_key, host.destination.port)
        if self._launched is not None:
            self._program_files[name] = await send_program(host, self._launched, self._folder(name))
        self._agents[name] = await self._program(name, "agent", _AGENT, cleanup=removal_commands(removal))
        if self._capabilities["slow"].available:
            seed = str(self.seeds.number(f"packet engine of {name}"))
            self._engines[name] = await self._program(name, "packet engine", _ENGINE, seed)
        self._real_ns[name] = await self._measured_ahead_ns(name)
        if self.system.clock_port:
            await self._deliver_clock(name, ClockSetting())
        direct = {}
        for port, (_, number) in self._ports("").items():
            direct[port] = await asyncio.to_thread(host.tunnel, number)
        self._direct[name] = direct

    async def _measured_ahead_ns(self, name: str) -> int:
        """How far the real clock of a host is ahead of ours: of some readings, that with the shortest way."""
        readings: list[tuple[int, int]] = []
        for _ in range(TIME_READINGS):
            asked_ns = time.time_ns()
            shown_ns = int(await self._agents[name].request("time"))
            answered_ns = time.time_ns()
            readings.append((answered_ns - asked_ns, shown_ns - (asked_ns + answered_ns) // 2))
        return min(readings)[1]

    async def _program(
        self,
        name: str,
        what: str,
        module: str,
        *arguments: str,
        cleanup: Sequence[Sequence[str]] = (),
        on_end: Callable[[], None] | None = None,
    ) -> Channel:
        """Starts one of our programs on a host."""
        home = self._folder(name)
        words = [
            "env",
            f"PYTHONPATH={home}/{TOOLS}",
            *(f"{key}={value}" for key, value in self._tags(name).items()),
            self._python,
            *("-m", "harness.environments.ssh.remote", module, json.dumps(cleanup), *arguments),
        ]
        title = f"{what} on {self._hosts[name].destination}"
        log = self.folder.path.absolute() / "hosts.log"
        end = await asyncio.to_thread(self._hosts[name].program, shlex.join(words), log)
        channel = await Channel.open(
            title,
            end,
            self._on_event,
            on_end or (lambda: self.fail(f"the {title} has ended by itself, or the connection", "hosts.log")),
        )
        await channel.request(_GREETINGS[module], timeout_s=20.0)
        return channel

    async def _join(self, name: str) -> None:
        """The rules of a host are there from the start, and stay while its node is down."""
        await self.links.join(name, 0)
        if name in self._engines:
            await self.shaping.joined(name, 0)

    async def _ask_engine(self, verb: str, **arguments: Any) -> Any:
        """Each host has an engine of its own."""
        if verb == "counters":
            answers = await asyncio.gather(*(one.request(verb) for one in self._engines.values()))
            return [row for rows in answers for row in rows]
        return await self._engines[arguments["node"]].request(verb, **arguments)

    async def destroy(self) -> None:
        """End everything on the hosts, copy data and logs back, and remove what was copied there. Idempotent."""
        if self._ended:
            return
        self._ended = True
        for node in self._nodes.values():
            node.ending = True
        problems: list[str] = []
        await self.disks.before_end()

        async def leave(name: str) -> None:
            try:
                await self._leave(name)
            except (EnvironmentFailed, OSError, tarfile.TarError) as error:
                problems.append(f"{self._hosts[name].destination}: {error}")

        await asyncio.gather(*map(leave, self.nodes))
        self.close_all()
        if not problems:
            for entry in self.ledger.open_entries:
                self.ledger.done(entry)
        self.ledger.close()
        for path in sorted(self.folder.path.glob("*.log")):
            if path.stat().st_size == 0:
                path.unlink()
        if problems:
            raise EnvironmentFailed("; ".join(problems) + f"; harness heal {self.folder.path} tries again")

    async def _leave(self, name: str) -> None:
        host = self._hosts[name]
        if name not in self._host_entries:
            host.close()
            return
        engine, agent = self._engines.pop(name, None), self._agents.pop(name, None)
        if agent is not None and not agent.closed:
            await agent.request("shutdown", timeout_s=15.0)
        await self.disks.end_one(name)
        for channel in (engine, agent):
            if channel is not None:
                channel.close()
        await self._copy_back(name)
        await clean_host(host, str(self._folder(name)), self._run_key, self._tags(name))
        host.close()

    async def _copy_back(self, name: str) -> None:
        """Data, log and clock file of a node, into the run folder."""
        home = shlex.quote(str(self._folder(name)))
        with tempfile.TemporaryFile() as file:
            status = await self._hosts[name].fetch(
                f"tar -cf - -C {home} --exclude=./{TOOLS} --exclude=./{SOURCES} --exclude=./{PROGRAMS} .",
                lambda data: _write(file, data),
            )
            if status != 0:
                raise EnvironmentFailed(f"copying {home} back failed: tar ended with {status}")
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                archive.extractall(self._copy(name), filter="data")

    def close_all(self) -> None:
        for channel in [*self._engines.values(), *self._agents.values()]:
            channel.close()
        if hasattr(self, "links"):
            self.links.close()
        for host in self._hosts.values():
            host.close()

    async def detach(self) -> str:
        """Agents and engines stay on their hosts, and the nodes with them."""
        for channel in [*self._engines.values(), *self._agents.values()]:
            await channel.request("stay")
        self._ended = True
        self.ledger.detach()
        self.close_all()
        self.ledger.close()
        return f"the cluster goes on running; stop it with: harness heal {self.folder.path}"

    def disk_place(self) -> Place:
        probe = PurePosixPath(TOOLS) / "harness" / "environments" / "disks" / "probe.py"
        return OtherHosts(
            self._hosts,
            self._start_layer,
            lambda name: shlex.join([self._python, "-S", str(self._folder(name) / probe)]),
            self.folder.path.absolute() / "hosts.log",
        )

    async def _start_layer(
        self, name: str, arguments: list[str], cleanup: list[list[str]], on_end: Callable[[], None]
    ) -> Channel:
        return await self._program(name, "disk", LAYER_MODULE, *arguments, cleanup=cleanup, on_end=on_end)

    # For `SupervisedCluster`: what it asks of this host, asked of another one.

    async def spawn(
        self,
        name: str,
        argv: Sequence[str],
        cwd: Path,
        more: Mapping[str, str],
        log: Path,
        descriptors: Sequence[int] = (),
    ) -> tuple[int, ProcessIdentity]:
        entry = self.ledger.intend("process", name=name, host=str(self._hosts[name].destination))
        words = [self._python, *argv[1:]] if argv and argv[0] == sys.executable else list(argv)
        if self._launched is not None and words[0] == str(self._launched):
            words[0] = self._program_files[name]
        if self.names is not None:
            words = behind_own_file(str(self._folder(name) / HOSTS_FILE), words)
        variables = {key: value for key, value in more.items() if key != "PYTHONPATH"}
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            **self._tags(name),
            "PYTHONPATH": str(self._folder(name) / SOURCES),
            **variables,
        }
        try:
            answer = await self._agents[name].request(
                "spawn", name=name, argv=words, cwd=str(cwd), env=environment, log=str(log)
            )
        except EnvironmentFailed as error:
            self.ledger.done(entry)
            raise EnvironmentFailed(f"cannot start {name} ({words[0]}): {error}") from error
        self.ledger.note(entry, **answer)
        return entry, ProcessIdentity(answer["pid"], answer["started"])

    async def put_files(self, plan: NodePlan, files: Mapping[str, bytes]) -> None:
        for relative, content in files.items():
            await self._agents[plan.name].request(
                "write", path=str(plan.data_dir / relative), content=base64.b64encode(content).decode()
            )

    async def process_state(self, node: str, process: ProcessIdentity) -> str | None:
        state: str | None = await self._agents[node].request("state", pid=process.pid)
        return state

    async def is_alive(self, node: str, process: ProcessIdentity) -> bool:
        return await self.process_state(node, process) not in (None, "Z", "X")

    async def port_probes(self, node: str) -> list[dict[str, Any]]:
        """Nobody listens any more, as the host's own table says."""
        ports = [number for _, number in self._ports("").values()]
        _, output = await AgentPrograms(self._agents[node]).run(["ss", "--no-header", "-tln"])
        listening = [port for port in ports if f":{port} " in output]
        what = f"ports of {node}"
        return [
            {"what": what, "before": "listening", "after": f"listening: {listening}", "proves": not listening}
        ]

    async def _signal(self, node: Node, number: signal.Signals) -> None:
        assert node.process is not None, "a process that is signalled is there"
        agent = self._agents[node.plan.name]
        try:
            await agent.request("signal", pid=node.process.pid, signal=int(number))
        except EnvironmentFailed:
            if agent.closed:
                raise
            await asyncio.sleep(0)  # It has just ended by itself; the event is on its way.

    async def expect(self, faults: Collection[str]) -> None:
        await super().expect(faults)
        for name, agent in (
            self._agents.items() if self._tells_processes and not self.system.clock_port else ()
        ):
            why = await agent.request("why_no_process_clocks")
            if why is not None:
                raise EnvironmentFailed(f"{self._hosts[name].destination}: clocks cannot be set there: {why}")

    async def _deliver_clock(self, node: str, setting: ClockSetting) -> None:
        age_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - setting.anchor_monotonic_ns
        told = {
            "offset_ns": setting.offset_ns,
            "rate_ppb": setting.rate_ppb,
            "age_ns": age_ns if setting.rate_ppb else 0,
        }
        if self.system.clock_port:
            await self._agents[node].request("clock", path=str(self._folder(node) / "clock"), **told)
        elif (pid := self.pid(node)) is not None:
            try:
                paused = self.state(node) == "paused"
                await self._agents[node].request("process_clock", pid=pid, paused=paused, **told)
            except EnvironmentFailed as error:
                if self.pid(node) == pid:
                    raise FaultFailed(f"the clock of {node} cannot be set: {error}") from error

    async def _clock_of_processes(self, node: str, setting: ClockSetting) -> int | None:
        """See `Clocks`: what the processes on the node's host are told."""
        pid = self.pid(node)
        if pid is None:
            return None
        shown: list[int] = await self._agents[node].request("shown_by", pid=pid)
        monotonic_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        wanted_ns = time.time_ns() + self._real_ns.get(node, 0) + setting.shift_ns(monotonic_ns)
        return max(shown, key=lambda shown_ns: abs(shown_ns - wanted_ns))

    async def mend_everything(self, healing: Healing) -> None:
        await self.mend_links(healing)
        await self.mend_all_names(healing)

    async def collect_logs(self) -> Mapping[str, Path]:
        """The end of each log as it is now; the whole is copied when the run is over."""
        found = {}
        for name, agent in self._agents.items():
            try:
                content = await agent.request(
                    "tail", timeout_s=60.0, path=str(self.plan(name).log_path), size=LOG_COPY_BYTES
                )
            except EnvironmentFailed:
                continue  # It has printed nothing, or its host is gone, which ends the run anyway.
            path = self._copy(name) / "node.log"
            path.write_bytes(base64.b64decode(content))
            found[name] = path
        return found

    def client_address(self, node: str) -> Addresses:
        return self._ports(self._hosts[node].destination.address)

    def direct_address(self, node: str) -> Addresses:
        return self._direct[node]


def _write(file: Any, data: bytes) -> None:
    file.write(data)


def removal_commands(removal: str) -> list[list[str]]:
    """Commands that feed the removal of our rules to whichever iptables made them."""
    return [
        ["sh", "-c", f"printf %s {shlex.quote(removal)} | {tools.restore} --noflush {WAIT_FOR_LOCK}"]
        for tools in VARIANTS
    ]


def tags_of(token: str, node: str) -> dict[str, str]:
    """Environment variables by which the processes of a node on its host are known: those of the run alone would not
    do, as two hosts may be one machine, by two addresses or in two namespaces, and leaving one of them must not kill
    the other's programs, which could not clean up after themselves then."""
    return {TOKEN_VARIABLE: token, "HARNESS_NODE": node}


async def clean_host(host: Host, folder: str, run_key: str, tags: Mapping[str, str]) -> list[str]:
    """End the processes with these tags on a host, remove the rules of a run and this folder. Answers what was found,
    in words."""
    done = []
    # Two programs look at all processes: two for each would take minutes where hosts are busy. Whoever was just
    # being started by one that is ended here is found by the next round.
    first, *others = (shlex.quote(f"{key}={value}") for key, value in tags.items())
    found = f"grep -lzxF -e {first} /proc/[0-9]*/environ 2>/dev/null"
    found += "".join(f" | xargs -r grep -lzxF -e {other} 2>/dev/null" for other in others)
    script = (
        f'for round in 1 2 3; do found=$({found} | cut -d/ -f3); test -n "$found" || break; '
        'for pid in $found; do kill -9 "$pid" && echo "$pid"; done; done'
    )
    _, ended = await host.run(script)
    data = shlex.quote(f"{folder}/data")
    _, unmounted = await host.run(f"umount -l {data} 2>/dev/null && echo yes; true")
    if "yes" in unmounted:
        done.append(f"unmounted {folder}/data on {host.destination}")
    pids = dict.fromkeys(word for word in ended.split() if word.isdigit())
    done += [f"ended process {pid} on {host.destination}" for pid in pids]
    for command in removal_commands(rules.removal(run_key, host.destination.port)):
        status, _ = await host.run(shlex.join(command))
        if status == 0:
            done.append(f"removed the rules of this run on {host.destination}")
    parents = list(PurePosixPath(folder).parents)[:2]
    above = " ".join(shlex.quote(str(parent)) for parent in parents)  # Those that other nodes still use stay.
    status, output = await host.run(
        f"test -d {shlex.quote(folder)} && rm -rf {shlex.quote(folder)} && echo removed; "
        f"rmdir {above} 2>/dev/null; true"
    )
    if "removed" in output:
        done.append(f"removed {folder} on {host.destination}")
    return done
