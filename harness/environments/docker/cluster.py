"""A cluster of containers: starts and stops nodes, injects faults from outside, and proves that each took effect.

One container is one node for the whole run; stopping and starting it keeps its data and its address, but gives it a
new network namespace. So whatever links are cut are cut again in the new one *before* the node's own program runs:
the container starts with a small shell that waits at a gate (a named pipe in the node's folder) until the harness has
put the rules in place.

What a container sees as `/node` is the folder of its node in the run folder: `data/`, `node.log`, `clock`, `gate`.
So logs and data need no copying, and outlive the containers and a killed harness.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from harness.environments.clocks import Clocks
from harness.environments.disks.disks import Disks, DiskVerbs, ThisHost
from harness.environments.docker.engine import Engine, EngineMiscounts, EngineRefused, EngineSilent
from harness.environments.docker.freezer import is_frozen
from harness.environments.docker.network import Addressed
from harness.environments.docker.node import CLOCK_FILE, DATA, GATE, LOG, Node
from harness.environments.docker.programs import ContainerDoors, ExecutedPrograms
from harness.environments.environment import (
    Addresses,
    EnvironmentFailed,
    NodeExit,
    NodePlan,
    Progress,
    SystemUnderTest,
    started_first,
)
from harness.environments.failure import Failure
from harness.environments.healing import Healing
from harness.environments.lacking import LacksSimulatedFaults
from harness.environments.last_lines import LINES, last_lines, nothing_printed
from harness.environments.ledger import Ledger
from harness.environments.linux.cgroups import Resources
from harness.environments.linux.connections import Connections
from harness.environments.linux.faults import LinkVerbs
from harness.environments.linux.links import Links
from harness.environments.linux.names import FILE as HOSTS_FILE
from harness.environments.linux.names import Names, NameVerbs
from harness.environments.linux.namespace import EnteredPrograms
from harness.environments.linux.packet_process import PacketProcess
from harness.environments.linux.shaping import Shaping, netem_of
from harness.environments.process_clocks import ProcessClocks
from harness.environments.readiness import Readiness
from harness.environments.real_time import RealTimeCluster
from harness.environments.replacing import Replacements, launch_of
from harness.seeds import Seeds
from nemesis.cluster import (
    Capability,
    Evidence,
    FaultFailed,
    FaultUnavailable,
    HealReport,
    NodeState,
    Reshaping,
)

GATE_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 20.0
GRACE_S = 10.0
"""How long a node may take to end after SIGTERM."""
READY_TIMEOUT_S = 60.0
FREEZE_TIMEOUT_S = 10.0
POLL_S = 0.02
EARLY_EXIT_S = 0.2
"""A program that ends within this time after its start is reported as such, not as one that never gets ready."""


class DockerCluster(LinkVerbs, NameVerbs, DiskVerbs, RealTimeCluster, LacksSimulatedFaults):
    """Implements `EnvironmentCluster` on an engine whose containers and networks were made by `DockerEnvironment`."""

    def __init__(
        self,
        engine: Engine,
        system: SystemUnderTest,
        run_key: str,
        addresses: Addressed,
        nodes: Sequence[Node],
        folder: Path,
        ledger: Ledger,
        capabilities: Mapping[str, Capability],
        enters_namespaces: bool,
        clock_files: bool,
        seeds: Seeds,
        has_names: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """`clock_files`: the nodes read theirs; else their processes are told the time. `progress` is told what stays
        of a cluster that is destroyed."""
        self._progress = progress
        self._engine = engine
        self._system = system
        self._run_key = run_key
        self._nodes = {node.name: node for node in nodes}
        self.replacements = Replacements(self, system)
        self._first = [self._nodes[name] for name in started_first(system, tuple(self._nodes))]
        self._folder = folder
        self.ledger = ledger
        self._capabilities = dict(capabilities)
        containers = {node.name: node.container for node in nodes}
        self.links = Links(
            run_key,
            {name: addresses.data_address(name) for name in containers},
            addresses.client_address,
            ledger,
            ContainerDoors(engine, containers, enters_namespaces),
        )
        if has_names:
            by_name = {name: addresses.data_address(name) for name in containers}
            self.names = Names(by_name, self._write_hosts, self._run_at, self.state, ledger)
        self.connections = Connections(self.links)
        self._failure = Failure()
        self._packets = (
            PacketProcess(ledger, folder, self._failure.note, seeds.number("packet engine"))
            if enters_namespaces
            else None
        )
        self.disks = Disks(ledger, ThisHost(ledger, folder), self._failure.note, seeds)
        self.resources = Resources(ledger, lambda node: self._node(node).pid, owns_groups=True)
        self.shaping = Shaping(self.links, self._ask_packets, ledger, netem_of(self.links))
        processes = ProcessClocks(lambda node: self._node(node).pid, self.state)
        self._clocks = Clocks(
            system,
            ledger,
            self.state,
            self.direct_address,
            lambda node: self._node(node).folder / CLOCK_FILE if clock_files else None,
            deliver=None if clock_files else processes.tell,
            shown=None if clock_files else processes.shown,
            by=capabilities["clock"].mechanism,
        )
        self._tells_processes = False
        """Whether each new process of a node is told the time: this run sets clocks, and nobody reads a file."""
        self._crashes: list[NodeExit] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched: dict[str, int] = {}
        """Node -> file descriptor that becomes readable when its first process ends."""
        self._destroyed = False

    # What is there

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(self._nodes)

    def capabilities(self) -> Mapping[str, Capability]:
        return self._capabilities

    def state(self, node: str) -> NodeState:
        return self._node(node).state

    def client_address(self, node: str) -> Addresses:
        return self._node(node).client_address

    def direct_address(self, node: str) -> Addresses:
        return self._node(node).direct_address

    async def wait_for_failure(self) -> str:
        return await self._failure.wait()

    def crashes(self) -> Sequence[NodeExit]:
        return tuple(self._crashes)

    async def collect_logs(self) -> Mapping[str, Path]:
        """The logs are in the run folder already: the containers write them there."""
        return {node.name: node.folder / LOG for node in self._nodes.values() if (node.folder / LOG).exists()}

    async def leaders(self) -> dict[str, str]:
        return await self.replacements.leaders()

    async def reshape(self, kind: Reshaping, node: str, draw: int) -> Evidence:
        return await self.replacements.reshape(kind, node, draw)

    async def replace(self, node: str) -> Evidence:
        return await self.replacements.replace(node)

    def known_as(self, node: str) -> str:
        return self.plan(node).known_as

    def plan(self, node: str) -> NodePlan:
        """Where the node lives."""
        return self._node(node).plan

    def put_plan(self, node: str, plan: NodePlan) -> None:
        """The node in this place is another one from now on."""
        self._node(node).plan = plan

    async def _write_hosts(self, node: str, text: str) -> None:
        await asyncio.to_thread((self._node(node).folder / HOSTS_FILE).write_text, text)

    async def _run_at(self, node: str, argv: Sequence[str]) -> tuple[int, str]:
        """A program of the image, where the node's process is; entered from outside it runs while that is frozen."""
        one = self._node(node)
        if not self.links.enters:
            return await ExecutedPrograms(self._engine, one.container).run(argv)
        mounts = ["nsenter", f"--mount=/proc/{one.pid}/ns/mnt", "--"]
        return await EnteredPrograms(one.pid or 0).run([*mounts, *argv])

    def _node(self, name: str) -> Node:
        try:
            return self._nodes[name]
        except KeyError:
            raise ValueError(f"there is no node {name}; the nodes are {', '.join(self._nodes)}") from None

    # Starting

    async def start_all(self) -> None:
        """Start every container and its program, but for those that join later. Raises EnvironmentFailed with the last
        log lines of one that ends."""
        self._in_background(self._engine.watch(self._failure.note))
        if self._packets is not None:
            await self._packets.start()
        await _all(self._start(node) for node in self._first)
        await asyncio.wait([asyncio.ensure_future(self._ends_early(node)) for node in self._first])
        ended = [node for node in self._first if node.state == "down"]
        if ended:
            raise EnvironmentFailed(
                "; ".join(
                    [
                        f"the program of {node.name} ended at once:\n{await self._last_words(node)}"
                        for node in ended
                    ]
                )
            )

    async def _ends_early(self, node: Node) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(EARLY_EXIT_S):
                await node.gone.wait()

    async def wait_ready(self, timeout_s: float, progress: Progress | None = None) -> None:
        """Wait until every node is ready; says through `progress` who is missing when that changes."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        missing = {node.name for node in self._first}

        async def one(node: Node) -> None:
            await self._wait_ready(node, deadline)
            missing.discard(node.name)
            if progress is not None and missing:
                progress(f"waiting for {', '.join(name for name in self._nodes if name in missing)}")

        await _all(one(node) for node in self._first)

    async def _wait_ready(self, node: Node, deadline: float) -> None:
        """Poll until ready. Raises EnvironmentFailed at the deadline (loop time), or at once if the node is down."""
        loop = asyncio.get_running_loop()
        readiness = Readiness(self._system)
        while True:
            if node.state == "down":
                raise EnvironmentFailed(
                    f"{node.name} ended before it was ready:\n{await self._last_words(node)}"
                )
            if self._tells_processes:
                with suppress(FaultFailed):  # It may just be becoming another program.
                    await self._clocks.follow(node.name)
            if await readiness.ask(node.direct_address):
                if self._tells_processes:
                    await self._clocks.follow(node.name)
                return
            if loop.time() >= deadline:
                raise EnvironmentFailed(
                    f"{node.name} did not get ready in time: {readiness.said} "
                    f"(asked at {_shown(node.direct_address)})\n"
                    f"{await self._last_words(node)}"
                )
            await asyncio.sleep(POLL_S)

    async def _start(self, node: Node) -> None:
        """From down to a running program, with the active network faults in place before its first instruction."""
        async with node.lock:
            if node.state != "down":
                return
            await self.replacements.before_start(node.name)
            self._write_files(node)
            node.gone = asyncio.Event()
            node.end_is_asked_for = False
            await self._engine.call(f"starting {node.name}", self._engine.api.start, node.container)
            try:
                await self._join(node, await self._inspect(node))
                await self._open_gate(node)
            except BaseException:
                node.end_is_asked_for = True
                with suppress(EnvironmentFailed):
                    await self._engine.call(f"killing {node.name}", self._engine.api.kill, node.container)
                raise
            self.resources.started(node.name)
            node.state = "up"

    async def _join(self, node: Node, seen: Mapping[str, Any]) -> None:
        """The container runs, as the engine has seen: its end is watched, and its links are as they should be."""
        pid = int(seen["State"]["Pid"])
        if not seen["State"]["Running"] or pid == 0:
            raise EnvironmentFailed(f"{node.name} ended at once:\n{await self._last_words(node)}")
        self._watch(node, pid)
        if self._packets is not None:
            await self.shaping.joined(node.name, pid)
        await self.links.join(node.name, pid)

    def _write_files(self, node: Node) -> None:
        data = node.folder / DATA
        launch = launch_of(self._system, node.plan, self.nodes)
        for relative, content in launch.files.items():
            path = data / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _watch(self, node: Node, pid: int) -> None:
        """Learn of the end of a container's first process the moment it happens."""
        try:
            descriptor = os.pidfd_open(pid)
            belongs = node.container in Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            raise EnvironmentFailed(
                f"the process of {node.name} ({pid}) is not visible here, or ended at once: the harness must run on "
                "the engine's host, outside of containers"
            ) from None
        if not belongs:
            os.close(descriptor)
            raise EnvironmentFailed(
                f"process {pid} is not the one of {node.name}: the engine counts processes in another namespace; run "
                "the harness on the engine's host, outside of containers"
            )
        node.pid = pid
        self._watched[node.name] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._has_ended, node)

    def _has_ended(self, node: Node) -> None:
        """The container's first process is gone: killed, crashed, or ended as it was told."""
        self._unwatch(node)
        pid, node.pid = node.pid or 0, None
        node.state = "down"
        self.links.leave(node.name)
        if self._packets is not None and not self._destroyed:
            self._in_background(self._forget_packets(node.name))
        self._close_entry(node, "pause_entry")
        node.gone.set()
        if not node.end_is_asked_for:
            self._in_background(self._record_crash(node, pid))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forget_packets(self, node: str) -> None:
        """Should the packet engine have ended, the run fails for that."""
        with suppress(EnvironmentFailed):
            await self.shaping.left(node)

    def _unwatch(self, node: Node) -> None:
        descriptor = self._watched.pop(node.name, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

    async def _record_crash(self, node: Node, pid: int) -> None:
        try:
            seen = await self._wait_stopped(node)
            status = _exit_status(seen["State"])
            if seen["State"].get("OOMKilled") and self.resources.was_ended_for_memory(node.name):
                return
        except EngineRefused as error:
            status = f"unknown ({error})"
        except EnvironmentFailed as error:
            # An engine that ends takes its containers along: the database has done nothing wrong.
            self._failure.note(f"the end of {node.name} (process {pid}) cannot be explained: {error}")
            return
        lines = tuple(last_lines(node.folder / LOG))
        self._crashes.append(NodeExit(node.name, pid, status, lines, self.clock_ns()))

    async def _open_gate(self, node: Node) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + GATE_TIMEOUT_S
        while True:
            try:
                descriptor = os.open(node.folder / GATE, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                break
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise EnvironmentFailed(f"cannot open the gate of {node.name}: {error}") from error
            if node.gone.is_set() or loop.time() > deadline:
                raise EnvironmentFailed(
                    f"{node.name} does not come to its gate in {node.folder}; is that folder shared with the engine?\n"
                    f"{await self._last_words(node)}"
                )
            await asyncio.sleep(0.002)
        try:
            os.write(descriptor, b"go\n")
        finally:
            os.close(descriptor)

    async def _inspect(self, node: Node) -> dict[str, Any]:
        seen: dict[str, Any] = await self._engine.call(
            f"looking at {node.name}", self._engine.api.inspect_container, node.container
        )
        return seen

    async def _wait_stopped(self, node: Node) -> dict[str, Any]:
        """Until the engine, too, knows that the container ended: before, it would refuse to start it again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_TIMEOUT_S
        while True:
            seen = await self._inspect(node)
            if not seen["State"]["Running"]:
                return seen
            if loop.time() > deadline:
                raise EnvironmentFailed(
                    f"the engine says after {STOP_TIMEOUT_S:.0f} s that {node.name} still runs"
                )
            await asyncio.sleep(POLL_S)

    async def _last_words(self, node: Node) -> str:
        """The end of the node's log, and what its container printed by itself, which is normally nothing."""
        lines = [f"  {line}" for line in last_lines(node.folder / LOG)]
        with suppress(EnvironmentFailed):
            printed = await self._engine.call(
                f"reading the output of {node.name}",
                self._engine.api.logs,
                node.container,
                tail=LINES,
            )
            lines += [f"  {line}" for line in bytes(printed).decode(errors="replace").splitlines()]
        return "\n".join(lines) or f"  {nothing_printed(node.folder / LOG)}"

    # Processes

    def data_folders(self) -> Mapping[str, Path]:
        return {node.name: (node.folder / DATA).absolute() for node in self._nodes.values()}

    async def kill(self, node: str) -> Evidence:
        return await self._end(self._node(node), signal.SIGKILL)

    async def terminate(self, node: str) -> Evidence:
        return await self._end(self._node(node), signal.SIGTERM)

    async def _end(self, node: Node, with_signal: signal.Signals) -> Evidence:
        async with node.lock:
            if node.state == "down":
                return Evidence(True, [_probe(f"process of {node.name}", "gone", "gone", True)])
            was_paused, pid = node.state == "paused", node.pid
            node.end_is_asked_for = True
            try:
                if was_paused and with_signal == signal.SIGTERM:
                    await self._thaw(node)
                await self._signal(node, with_signal)
                if with_signal == signal.SIGKILL:
                    await self.disks.let_die(node.name)
                note = {}
                if with_signal == signal.SIGTERM and not await _set_within(node.gone, GRACE_S):
                    note = {"note": f"did not end within {GRACE_S:.0f} s of SIGTERM, so it was killed"}
                    await self._signal(node, signal.SIGKILL)
                    await self.disks.let_die(node.name)
                if not await _set_within(node.gone, STOP_TIMEOUT_S):
                    raise FaultFailed(f"{node.name} (process {pid}) is still there after {with_signal.name}")
                seen = await self._wait_stopped(node)
            except EnvironmentFailed as error:
                raise FaultFailed(f"{with_signal.name} for {node.name}: {error}") from error
            self._close_entry(node, "pause_entry")
            before = f"{'paused' if was_paused else 'running'}, pid {pid}"
            after = f"gone, {_exit_status(seen['State'])}"
            probe = _probe(f"process of {node.name}", before, after, not Path(f"/proc/{pid}").exists())
            return Evidence(probe["proves"], [probe | note])

    async def _signal(self, node: Node, which: signal.Signals) -> None:
        try:
            await self._engine.call(
                f"{which.name} for {node.name}", self._engine.api.kill, node.container, which.name
            )
        except EngineRefused as error:
            # 409: it ended by itself a moment ago.
            if error.status != 409:
                raise

    async def start(self, node: str) -> Evidence:
        one = self._node(node)
        if one.state == "paused":
            return await self.resume(node)
        before = "gone" if one.state == "down" else f"running, pid {one.pid}"
        try:
            await self._start(one)
            await self._wait_ready(one, asyncio.get_running_loop().time() + READY_TIMEOUT_S)
        except EnvironmentFailed as error:
            raise FaultFailed(f"cannot start {node}: {error}") from error
        return Evidence(True, [_probe(f"process of {node}", before, f"ready, pid {one.pid}", True)])

    async def pause(self, node: str) -> Evidence:
        one = self._node(node)
        async with one.lock:
            if one.state == "down":
                raise FaultFailed(f"cannot pause {node}: it is down")
            before = await self._frozen(one)
            if one.state != "paused":
                one.pause_entry = self.ledger.intend("pause", node=node, container=one.container)
                try:
                    await self._persist(one, f"pausing {node}", self._engine.api.pause)
                except FaultFailed:
                    self._close_entry(one, "pause_entry")
                    raise
                if one.state == "up":
                    one.state = "paused"
            after = await self._frozen(one)
            probe = _probe(f"freezer of {node}", _freezer(before), _freezer(after), after is True)
            return Evidence(probe["proves"], [probe])

    async def resume(self, node: str) -> Evidence:
        one = self._node(node)
        async with one.lock:
            if one.state == "down":
                return Evidence(True, [_probe(f"freezer of {node}", "gone", "gone", True)])
            before = await self._frozen(one)
            await self._thaw(one)
            after = await self._frozen(one)
            probe = _probe(f"freezer of {node}", _freezer(before), _freezer(after), after is False)
            return Evidence(probe["proves"], [probe])

    async def _thaw(self, node: Node) -> None:
        if node.state == "paused":
            await self._persist(node, f"resuming {node.name}", self._engine.api.unpause)
            if node.state == "paused":
                node.state = "up"
        self._close_entry(node, "pause_entry")

    async def _frozen(self, node: Node) -> bool | None:
        """Whether the processes stand still: what the kernel says, else the engine."""
        if node.pid is None:
            return None
        seen = is_frozen(node.pid)
        return bool((await self._inspect(node))["State"]["Paused"]) if seen is None else seen

    async def _persist(self, node: Node, doing: str, function: Callable[[str], None]) -> None:
        """Freeze or thaw. With the first version of cgroups, a busy host makes the engine give up now and then
        (`unable to freeze`), having changed nothing; a moment later it succeeds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FREEZE_TIMEOUT_S
        while True:
            try:
                await self._engine.call(doing, function, node.container)
                return
            except EngineRefused as error:
                # 409: it is so already, or the container has just ended. The probe that follows sees which.
                if error.status == 409:
                    return
                if node.gone.is_set() or loop.time() > deadline:
                    raise FaultFailed(str(error)) from error
            except EnvironmentFailed as error:
                raise FaultFailed(str(error)) from error
            await asyncio.sleep(POLL_S)

    def _close_entry(self, node: Node, which: str) -> None:
        entry = getattr(node, which)
        if entry is not None:
            self.ledger.done(entry)
            setattr(node, which, None)

    async def _ask_packets(self, verb: str, **arguments: Any) -> Any:
        if self._packets is None:
            raise self._unavailable("slow")
        return await self._packets.ask(verb, **arguments)

    async def packet_counters(self) -> list[dict[str, Any]]:
        """What the packet engine has done to each link that ever was shaped."""
        rows: list[dict[str, Any]] = await self._ask_packets("counters")
        return rows

    def _unavailable(self, fault: str) -> FaultUnavailable:
        capability = self._capabilities[fault]
        return FaultUnavailable(f"{fault} is not available in docker: {capability.reason}")

    # Resources

    async def limit_cpu(self, node: str, share: float | None) -> Evidence:
        self._node(node)
        return await self.resources.limit_cpu(node, share)

    async def limit_memory(self, node: str, spare_mb: int | None) -> Evidence:
        self._node(node)
        return await self.resources.limit_memory(node, spare_mb)

    async def exhaust_memory(self, node: str) -> Evidence:
        one = self._node(node)
        async with one.lock:
            one.end_is_asked_for = True
            evidence = await self.resources.exhaust_memory(node, one.gone.is_set)
            if one.gone.is_set():
                await self._wait_stopped(one)
            else:
                one.end_is_asked_for = False  # It lives on, and what ends it later is not our doing.
            return evidence

    # Clocks

    async def expect(self, faults: Collection[str]) -> None:
        await super().expect(faults)
        self._tells_processes = "clock" in faults and self._capabilities["clock"].available

    async def set_clock(self, node: str, offset_ms: float, rate_ppm: float = 0.0) -> Evidence:
        return await self._clocked(node).set(node, offset_ms, rate_ppm)

    async def strobe_clock(self, node: str, offset_ms: float) -> None:
        self._clocked(node).strobe(node, offset_ms)

    async def clock_offsets(self) -> Mapping[str, float]:
        return await self._clocks.offsets(self.nodes)

    async def reset_clock(self, node: str) -> Evidence:
        return await self._clocked(node).reset(node)

    def _clocked(self, node: str) -> Clocks:
        self._node(node)
        if not self._capabilities["clock"].available:
            raise self._unavailable("clock")
        return self._clocks

    # The end

    async def heal_all(self) -> HealReport:
        """Mend every link, resume, start, reset every clock, and verify each."""
        healing = Healing()
        attempt = healing.attempt
        nodes = list(self._nodes.values())
        await self.disks.heal_all(healing)
        paused = [node for node in nodes if node.state == "paused"]
        await asyncio.gather(
            *(attempt(f"resumed {node.name}", partial(self.resume, node.name)) for node in paused)
        )
        down = [node for node in nodes if node.state == "down"]
        await asyncio.gather(
            *(attempt(f"started {node.name}", partial(self._restart, node)) for node in down)
        )
        # Links before readiness is waited for: a node may need its peers to get ready.
        await self.mend_links(healing)
        await self.mend_all_names(healing)
        await asyncio.gather(
            *(attempt(f"{node.name} is ready", partial(self._confirm_ready, node)) for node in down)
        )
        slow = self.resources.limited
        await asyncio.gather(
            *(attempt(f"let {name} compute freely", partial(self.limit_cpu, name, None)) for name in slow)
        )
        short = self.resources.short_of_memory
        await asyncio.gather(
            *(
                attempt(f"gave {name} its memory back", partial(self.limit_memory, name, None))
                for name in short
            )
        )
        skewed = self._clocks.changed
        await asyncio.gather(
            *(attempt(f"reset the clock of {name}", partial(self.reset_clock, name)) for name in skewed)
        )
        for node in nodes:
            if node.state != "up":
                healing.fail(f"{node.name} is {node.state} after healing")
        return healing.report()

    async def _restart(self, node: Node) -> Evidence:
        await self._start(node)
        return Evidence(node.state == "up", [_probe(f"process of {node.name}", "gone", node.state, True)])

    async def _confirm_ready(self, node: Node) -> Evidence:
        await self._wait_ready(node, asyncio.get_running_loop().time() + READY_TIMEOUT_S)
        return Evidence(True)

    async def detach(self) -> str:
        """Leave the containers running."""
        if self._packets is not None:
            await self._packets.stay()
        await self.disks.stay()
        self.ledger.detach()
        self._let_go()
        self.ledger.close()
        self._destroyed = True
        self._engine.close()
        return (
            f"{len(self._nodes)} containers (label multiraft-harness.run={self._run_key}) go on running; "
            f"stop and remove them with: harness heal {self._folder}"
        )

    async def destroy(self) -> None:
        """Remove containers and networks. Raises EnvironmentFailed if something is left but networks that nobody is in,
        or the engine is gone."""
        if self._destroyed:
            return
        self._destroyed = True
        self._let_go()
        try:
            if self._packets is not None:
                await self._packets.end()
            await self.disks.before_end()
            stays = False
            try:
                await self._engine.remove_run(self._run_key)
            except EngineMiscounts as error:
                stays = True
                if self._progress is not None:
                    self._progress(f"{error}; then harness heal {self._folder} removes it")
            except EngineSilent as error:
                raise EnvironmentFailed(
                    f"{error}; then harness heal {self._folder} removes the rest"
                ) from error
            await self.disks.end()
            for entry in () if stays else self.ledger.open_entries:
                self.ledger.done(entry)
        finally:
            self.ledger.close()
            self._engine.close()

    def _let_go(self) -> None:
        """Stop watching, close every probe."""
        for node in self._nodes.values():
            node.end_is_asked_for = True
            self._unwatch(node)
        self.links.close()
        for task in self._tasks:
            task.cancel()


async def _all(acts: Iterable[Awaitable[None]]) -> None:
    """Do all at once, wait for all, then raise the first failure: none goes on unseen."""
    results = await asyncio.gather(*acts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _set_within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _probe(what: str, before: Any, after: Any, proves: bool) -> dict[str, Any]:
    return {"what": what, "before": before, "after": after, "proves": proves}


def _exit_status(state: Mapping[str, Any]) -> str:
    """`exit code 3`, `signal SIGSEGV`, or that the kernel killed it for its memory."""
    code = int(state.get("ExitCode", 0))
    if state.get("OOMKilled"):
        return f"out of memory (exit code {code})"
    if code > 128:
        with suppress(ValueError):
            return f"signal {signal.Signals(code - 128).name}"
    return f"exit code {code}"


def _shown(addresses: Addresses) -> str:
    return ", ".join(f"{name} {host}:{port}" for name, (host, port) in addresses.items())


def _freezer(frozen: bool | None) -> str:
    return "gone" if frozen is None else ("frozen" if frozen else "running")
