"""A cluster whose nodes are processes of this host, children of a supervisor: the verbs on them, with evidence.

Every act is written into the ledger before it is done, and probed from outside after: processes in the process
table and at their ports, clocks by asking the node. A fault that silently did nothing therefore yields evidence
that says so. What the links between the nodes are is for the environment to say, which inherits from this.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environments.channel import Channel
from harness.environments.clocks import Clocks
from harness.environments.disks.disks import Disks, DiskVerbs, Place, ThisHost
from harness.environments.environment import (
    Address,
    Addresses,
    EnvironmentFailed,
    Folder,
    NodeExit,
    NodePlan,
    Progress,
    SystemUnderTest,
    started_first,
)
from harness.environments.failure import Failure
from harness.environments.healing import Healing
from harness.environments.lacking import LacksSimulatedFaults
from harness.environments.last_lines import last_lines, nothing_printed
from harness.environments.ledger import Ledger
from harness.environments.linux.cgroups import Resources
from harness.environments.process_clocks import COARSE_NS, FAKETIME, FakedClocks, ProcessClocks
from harness.environments.processes import (
    ProcessIdentity,
    end_process,
    identify,
    is_running,
    process_state,
    processes_with_token,
    python_path,
)
from harness.environments.readiness import Readiness
from harness.environments.real_time import RealTimeCluster
from harness.environments.replacing import Replacements, launch_of
from harness.seeds import Seeds
from nemesis.cluster import (
    Capability,
    Evidence,
    FaultFailed,
    HealReport,
    NodeState,
    Reshaping,
    evidence_of,
)

READY_TIMEOUT_S = 30.0
PORTS_S = 2.0
TERMINATE_GRACE_S = 10.0
POLL_S = 0.01


@dataclass
class Node:
    """One node and its present process."""

    plan: NodePlan
    process: ProcessIdentity | None = None
    entry: int | None = None
    """Its entry in the ledger."""
    paused: bool = False
    ending: bool = False
    """We have asked for its end, so its exit is no crash."""
    exit_status: str = ""


class SupervisedCluster(DiskVerbs, RealTimeCluster, LacksSimulatedFaults):
    """What `EnvironmentCluster` asks for, but for the links. An environment makes the nodes' plans (`place`) after
    `start_supervisor`, says what is special about it by overriding the methods under *For the environment*, and
    calls `destroy` should creating fail."""

    def __init__(
        self,
        system: SystemUnderTest,
        names: Sequence[str],
        folder: Folder,
        environment: str,
        capabilities: Mapping[str, Capability],
        seeds: Seeds,
        progress: Progress | None,
    ) -> None:
        self.system = system
        self.seeds = seeds
        self.folder = folder
        self.ledger = Ledger.create(folder.ledger_path, environment)
        self._names = tuple(names)
        self.replacements = Replacements(self, system)
        self._first = started_first(system, names)
        self._capabilities = dict(capabilities)
        self._progress: Progress = progress or (lambda sentence: None)
        self._nodes: dict[str, Node] = {}
        self._exits: list[NodeExit] = []
        self._pause_entries: dict[str, int] = {}
        self._early_exits: dict[int, str] = {}
        """Processes that ended before the answer to their spawn was taken up."""
        how = capabilities["clock"].mechanism
        processes = None if system.clock_port else ProcessClocks(self.pid, self.state)
        self._faked = FakedClocks(self._faketime_file) if how == FAKETIME else None
        self._clocks = Clocks(
            system,
            self.ledger,
            self.state,
            self.direct_address,
            lambda node: self.plan(node).clock_file,
            deliver=None if processes is None else (self._faked or processes).tell,
            shown=None if processes is None or self._faked is not None else processes.shown,
            by=how,
            coarse_ns=0 if self._faked is None else COARSE_NS,
        )
        self._tells_processes = False
        """Whether each new process of a node is told the time: this run sets clocks, and nobody reads a file."""
        self._supervisor: Channel | None = None
        self._supervisor_process: subprocess.Popen[bytes] | None = None
        self._supervisor_entry: int | None = None
        self._failure = Failure()
        self.disks = Disks(self.ledger, self.disk_place(), self._failure.note, seeds)
        self.resources = Resources(self.ledger, self.pid, owns_groups=False)
        self._ended = False

    # For the environment.

    def command(self, node: str, argv: Sequence[str]) -> list[str]:
        """What is executed to start a node whose system says `argv`."""
        return list(argv)

    async def may_start(self, plan: NodePlan) -> None:
        """Raises EnvironmentFailed where a node cannot start now: its port is taken."""

    def disk_place(self) -> Place:
        """Where the nodes' data is."""
        return ThisHost(self.ledger, self.folder.path)

    async def process_state(self, node: str, process: ProcessIdentity) -> str | None:
        """What the operating system says of a process of this node, as a letter; None: it is gone."""
        return process_state(process.pid)

    async def is_alive(self, node: str, process: ProcessIdentity) -> bool:
        """Whether this very process of the node runs."""
        return is_running(process)

    async def put_files(self, plan: NodePlan, files: Mapping[str, bytes]) -> None:
        """Files that the node is started with, by path relative to its data."""
        for relative, content in files.items():
            path = plan.data_dir / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    async def mend_everything(self, healing: Healing) -> None:
        """Heals the links, first of all."""

    async def port_probes(self, node: str) -> list[dict[str, Any]]:
        """After the end of a node: probes which show that nobody answers at its ports."""
        refused = {port: await refuses(address) for port, address in self.direct_address(node).items()}
        return [
            {
                "what": f"ports of {node}",
                "before": "listening",
                "after": {port: "refused" if answer else "accepted" for port, answer in refused.items()},
                "proves": all(refused.values()),
            }
        ]

    def child_ended(self, name: str, pid: int, status: str) -> bool:
        """A child of the supervisor has ended: whether it is one of the environment's own, who has then said what
        that means."""
        return False

    async def before_detaching(self) -> None:
        """Something else than nodes that must stay is told to."""

    def close_all(self) -> None:
        """Closes what the environment has open in this process. Idempotent."""

    def place(self, node: Node) -> None:
        """From now on there is this node."""
        self._nodes[node.plan.name] = node

    # Life.

    async def start_supervisor(self, descriptors: Sequence[int] = ()) -> None:
        """Starts the supervisor, who inherits these file descriptors as well."""
        ours, theirs = socket.socketpair()
        self._supervisor_entry = self.ledger.intend("process", name="supervisor")
        with (self.folder.path / "supervisor.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.environments.supervisor", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.variables({"PYTHONPATH": python_path()}),
                pass_fds=[theirs.fileno(), *descriptors],
                start_new_session=True,
            )
        self._supervisor_process = process
        identity = identify(process.pid)
        self.ledger.note(
            self._supervisor_entry, pid=process.pid, started=identity.started if identity else ""
        )
        theirs.close()
        self._supervisor = await Channel.open("supervisor", ours, self._on_event, self._on_supervisor_end)

    async def spawn(
        self,
        name: str,
        argv: Sequence[str],
        cwd: Path,
        more: Mapping[str, str],
        log: Path,
        descriptors: Sequence[int] = (),
    ) -> tuple[int, ProcessIdentity]:
        """A new child of the supervisor, and its entry in the ledger. `more` is added to the environment variables."""
        entry = self.ledger.intend("process", name=name)
        try:
            answer = await self._ask_supervisor(
                "spawn",
                name=name,
                argv=list(argv),
                cwd=str(cwd.absolute()),
                env=self.variables(more),
                log=str(log.absolute()),
                fds=list(descriptors),
            )
        except EnvironmentFailed as error:
            self.ledger.done(entry)
            raise EnvironmentFailed(f"cannot start {name} ({argv[0]}): {error}") from error
        self.ledger.note(entry, **answer)
        return entry, ProcessIdentity(answer["pid"], answer["started"])

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment variables of a process of this run."""
        return {**os.environ, **more, **self.ledger.variables()}

    async def start_all(self) -> None:
        """Start every node's process, all at once, but for those that join later."""
        await asyncio.gather(*(self._spawn(self._nodes[name]) for name in self._first))

    async def wait_ready(self, timeout_s: float = READY_TIMEOUT_S, progress: Progress | None = None) -> None:
        """Wait until every node answers. Raises EnvironmentFailed with the last lines of those that do not."""
        tell = progress or (lambda sentence: None)
        ready: list[str] = []

        async def one(name: str) -> None:
            await self._wait_node_ready(self._nodes[name], timeout_s)
            ready.append(name)
            tell(f"{len(ready)} of {len(self._first)} nodes ready ({', '.join(sorted(ready))})")

        results = await asyncio.gather(*(one(name) for name in self._first), return_exceptions=True)
        problems = [result for result in results if isinstance(result, BaseException)]
        if problems:
            raise EnvironmentFailed("\n".join(str(problem) for problem in problems)) from problems[0]

    async def _spawn(self, node: Node) -> None:
        plan = node.plan
        await self.replacements.before_start(plan.name)
        await self.may_start(plan)
        launch = launch_of(self.system, plan, self._names)
        await self.put_files(plan, launch.files)
        node.ending, node.paused, node.exit_status = False, False, ""
        argv = self.command(plan.name, launch.argv)
        more = {**launch.env, **self._clock_variables(plan.name, launch.argv[0])}
        node.entry, process = await self.spawn(plan.name, argv, plan.data_dir, more, plan.log_path)
        node.process = process
        self.resources.started(plan.name)
        status = self._early_exits.pop(process.pid, None)
        if status is not None:
            self._on_event({"name": plan.name, "pid": process.pid, "status": status})

    def _clock_variables(self, node: str, program: str) -> dict[str, str]:
        """Environment variables by which a new process of the node takes its time from us."""
        if self._faked is None or not self._tells_processes:
            return {}
        try:
            return self._faked.variables(node, program)
        except FaultFailed as error:
            raise EnvironmentFailed(str(error)) from error

    def _faketime_file(self, node: str) -> Path:
        return self.plan(node).data_dir.with_name("faketime").absolute()

    async def _wait_node_ready(self, node: Node, timeout_s: float) -> float:
        """Seconds it took. Raises EnvironmentFailed if the process ends or the time is over."""
        started = time.monotonic()
        name = node.plan.name
        readiness = Readiness(self.system)
        while True:
            if self._tells_processes:
                with contextlib.suppress(FaultFailed):  # It may just be becoming another program.
                    await self._clocks.follow(name)
            if node.process is None:
                raise EnvironmentFailed(
                    f"{name} ended before it was ready: {node.exit_status or 'not started'}\n{self._tail(node)}"
                )
            if await readiness.ask(self.direct_address(name)):
                if self._tells_processes:
                    await self._clocks.follow(name)
                return time.monotonic() - started
            if time.monotonic() - started > timeout_s:
                raise EnvironmentFailed(
                    f"{name} is not ready after {timeout_s:.0f} s: {readiness.said}\n{self._tail(node)}"
                )
            await asyncio.sleep(2 * POLL_S)

    def _tail(self, node: Node) -> str:
        lines = last_lines(node.plan.log_path)
        if not lines:
            return nothing_printed(node.plan.log_path)
        return f"its last lines ({node.plan.log_path}):\n" + "\n".join("    " + line for line in lines)

    def _on_event(self, event: dict[str, Any]) -> None:
        """A child of the supervisor has ended."""
        if self.child_ended(event["name"], event["pid"], event["status"]):
            return
        node = self._nodes.get(event["name"])
        if node is None or node.process is None or node.process.pid != event["pid"]:
            self._early_exits[event["pid"]] = event["status"]
            return
        if node.entry is not None and not self._ended:
            self.ledger.done(node.entry)
        if not node.ending and not self.resources.was_ended_for_memory(node.plan.name):
            lines = tuple(last_lines(node.plan.log_path))
            self._exits.append(
                NodeExit(node.plan.name, event["pid"], event["status"], lines, self.clock_ns())
            )
        node.process, node.paused, node.exit_status = None, False, event["status"]

    def _on_supervisor_end(self) -> None:
        process = self._supervisor_process
        self.fail(
            f"the supervisor (process {process.pid if process else 'unknown'}) has ended by itself, and with it "
            "all nodes",
            "supervisor.log",
        )

    def fail(self, why: str, log: str) -> None:
        """Something of ours has ended. What ends because we end it is no failure."""
        if not self._ended:
            path = self.folder.path / log
            self._failure.note("\n".join([why, *(f"    {line}" for line in last_lines(path))]))

    async def wait_for_failure(self) -> str:
        return await self._failure.wait()

    async def detach(self) -> str:
        """The supervisor stays when the harness goes, and with it the nodes."""
        await self.before_detaching()
        await self.disks.stay()
        await self._ask_supervisor("stay")
        self._ended = True
        self.ledger.detach()
        if self._supervisor is not None:
            self._supervisor.close()
        self.close_all()
        self.ledger.close()
        return f"the cluster goes on running; stop it with: harness heal {self.folder.path}"

    async def destroy(self) -> None:
        """End everything that was started. Idempotent."""
        if self._ended:
            return
        self._ended = True
        for node in self._nodes.values():
            node.ending = True
        await self.disks.before_end()
        if self._supervisor is not None and not self._supervisor.closed:
            try:
                await self._supervisor.request("shutdown", timeout_s=15.0)
            except EnvironmentFailed as error:
                self._progress(f"the supervisor did not confirm its end: {error}")
        if self._supervisor is not None:
            self._supervisor.close()
        if self._faked is not None:
            self._faked.end()
        self.close_all()
        await self._wait_supervisor()
        await self.disks.end()
        self.resources.end()
        # Where the kernel does not end the children of a supervisor that was killed, they are found by the token.
        for process in processes_with_token(self.ledger.header.token):
            end_process(process)
        for node in self._nodes.values():
            node.process = None
        for entry in self.ledger.open_entries:
            self.ledger.done(entry)
        self.ledger.close()
        for path in sorted(self.folder.path.glob("*.log")):
            if path.stat().st_size == 0:
                path.unlink()

    async def _wait_supervisor(self) -> None:
        process = self._supervisor_process
        if process is None:
            return
        deadline = time.monotonic() + 15.0
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()  # Its children die with it.
            await asyncio.sleep(POLL_S)

    async def _ask_supervisor(self, verb: str, **arguments: Any) -> Any:
        if self._supervisor is None:
            raise EnvironmentFailed(f"the supervisor was never started: it cannot {verb}")
        return await self._supervisor.request(verb, **arguments)

    # What is asked of it.

    @property
    def nodes(self) -> tuple[str, ...]:
        return self._names

    def capabilities(self) -> Mapping[str, Capability]:
        return self._capabilities

    def state(self, node: str) -> NodeState:
        known = self._node(node)
        if known.process is None:
            return "down"
        return "paused" if known.paused else "up"

    @property
    def supervisor_pid(self) -> int | None:
        """Of the supervisor; None before it was started."""
        return None if self._supervisor_process is None else self._supervisor_process.pid

    def pid(self, node: str) -> int | None:
        """Of the node's process; None while it is down."""
        process = self._node(node).process
        return None if process is None else process.pid

    def plan(self, node: str) -> NodePlan:
        """Where the node lives."""
        return self._node(node).plan

    def direct_address(self, node: str) -> Addresses:
        """Where the harness asks a node; an environment whose nodes listen elsewhere says so."""
        return self._node(node).plan.listen

    def crashes(self) -> Sequence[NodeExit]:
        return tuple(self._exits)

    async def collect_logs(self) -> Mapping[str, Path]:
        return {name: node.plan.log_path for name, node in self._nodes.items() if node.plan.log_path.exists()}

    async def leaders(self) -> dict[str, str]:
        return await self.replacements.leaders()

    async def reshape(self, kind: Reshaping, node: str, draw: int) -> Evidence:
        return await self.replacements.reshape(kind, node, draw)

    async def replace(self, node: str) -> Evidence:
        return await self.replacements.replace(node)

    def known_as(self, node: str) -> str:
        return self.plan(node).known_as

    def put_plan(self, node: str, plan: NodePlan) -> None:
        """The node in this place is another one from now on."""
        self._node(node).plan = plan

    def _node(self, name: str) -> Node:
        if name not in self._nodes:
            raise ValueError(f"unknown node {name!r}; nodes: {', '.join(self._names)}")
        return self._nodes[name]

    # Processes.

    def data_folders(self) -> Mapping[str, Path]:
        return {name: self.plan(name).data_dir.absolute() for name in self._names}

    async def kill(self, node: str) -> Evidence:
        return await self._end(node, signal.SIGKILL)

    async def terminate(self, node: str) -> Evidence:
        return await self._end(node, signal.SIGTERM)

    async def _end(self, node: str, how: signal.Signals) -> Evidence:
        known = self._node(node)
        process = known.process
        if process is None:
            gone = {"what": f"process of {node}", "before": "down", "after": "down", "proves": True}
            return Evidence(True, [gone])
        before = await self.process_state(node, process)
        known.ending = True
        if how == signal.SIGTERM and known.paused:
            await self.resume(node)
        await self._signal(known, how)
        if how == signal.SIGKILL:
            await self.disks.let_die(node)
        forced = False
        grace = TERMINATE_GRACE_S if how == signal.SIGTERM else 5.0
        if not await until(lambda: known.process is not process, grace) and how == signal.SIGTERM:
            forced = True
            await self._signal(known, signal.SIGKILL)
            await self.disks.let_die(node)
            await until(lambda: known.process is not process, 5.0)
        gone_now = not await self.is_alive(node, process)
        now = None if gone_now else await self.process_state(node, process)
        probes = [
            {
                "what": f"process {process.pid} of {node}",
                "before": f"state {before}",
                "after": f"gone ({known.exit_status})" if gone_now else f"state {now}",
                "proves": gone_now and before is not None,
            },
            *await self._silent_ports(node),
        ]
        if forced:
            probes.append(
                {"what": f"{node} ignored SIGTERM for {grace:.0f} s and was killed", "proves": True}
            )
        return evidence_of(probes)

    async def _silent_ports(self, node: str) -> list[dict[str, Any]]:
        """The probes of the ports once nobody answers there, or after `PORTS_S` whatever they are: where a node is
        several processes, its first one may be gone before the others are."""
        deadline = time.monotonic() + PORTS_S
        while True:
            probes = await self.port_probes(node)
            if all(probe["proves"] for probe in probes) or time.monotonic() > deadline:
                return probes
            await asyncio.sleep(POLL_S)

    async def start(self, node: str) -> Evidence:
        known = self._node(node)
        before = self.state(node)
        if before == "paused":
            return await self.resume(node)
        if before == "down":
            await self._spawn(known)
        try:
            took_s = await self._wait_node_ready(known, READY_TIMEOUT_S)
        except EnvironmentFailed as error:
            raise FaultFailed(f"start {node}: {error}") from error
        process = known.process
        alive = process is not None and await self.is_alive(node, process)
        probe = {
            "what": f"{node} answers requests",
            "before": before,
            "after": f"ready after {took_s:.2f} s (process {process.pid if process else 'gone'})",
            "proves": alive,
        }
        return evidence_of([probe])

    async def pause(self, node: str) -> Evidence:
        known = self._node(node)
        process = known.process
        if process is None:
            raise FaultFailed(f"cannot pause {node}: it is down")
        before = await self.process_state(node, process)
        entry = self.ledger.intend("pause", name=node, pid=process.pid, started=process.started)
        known.paused = True
        await self._signal(known, signal.SIGSTOP)
        after = await self._await_state(node, process, lambda state: state in ("T", None))
        stands = after in ("T", None)
        if after != "T":
            known.paused = False
        if stands:
            self._pause_entries[node] = entry
        else:
            self.ledger.done(entry)
        return evidence_of([_state_probe(node, process, before, after, after == "T")])

    async def resume(self, node: str) -> Evidence:
        known = self._node(node)
        process = known.process
        entry = self._pause_entries.pop(node, None)
        if process is None:
            if entry is not None:
                self.ledger.done(entry)
            return Evidence(True, [{"what": f"{node} is down: nothing to resume", "proves": True}])
        before = await self.process_state(node, process)
        await self._signal(known, signal.SIGCONT)
        after = await self._await_state(node, process, lambda state: state != "T")
        known.paused = after == "T"
        if entry is not None and not known.paused:
            self.ledger.done(entry)
        return evidence_of([_state_probe(node, process, before, after, after not in ("T", None))])

    async def _await_state(
        self, node: str, process: ProcessIdentity, is_wanted: Callable[[str | None], bool]
    ) -> str | None:
        """The state once it is wanted, or after two seconds whatever it is."""
        deadline = time.monotonic() + 2.0
        while not is_wanted(state := await self.process_state(node, process)):
            if time.monotonic() > deadline:
                return state
            await asyncio.sleep(POLL_S / 5)
        return state

    async def _signal(self, node: Node, number: signal.Signals) -> None:
        """To the whole session of the node, by its parent, who knows that the pid is still its own."""
        assert node.process is not None
        try:
            await self._ask_supervisor("signal", pid=node.process.pid, signal=int(number))
        except EnvironmentFailed:
            if self._supervisor is None or self._supervisor.closed:
                raise
            await asyncio.sleep(0)  # It has just ended by itself; the event is on its way.

    # Resources.

    async def limit_cpu(self, node: str, share: float | None) -> Evidence:
        self._node(node)
        return await self.resources.limit_cpu(node, share)

    async def limit_memory(self, node: str, spare_mb: int | None) -> Evidence:
        self._node(node)
        return await self.resources.limit_memory(node, spare_mb)

    async def exhaust_memory(self, node: str) -> Evidence:
        known = self._node(node)
        process = known.process
        known.ending = True
        try:
            return await self.resources.exhaust_memory(node, lambda: known.process is not process)
        finally:
            if known.process is process:
                known.ending = False  # It lives on, and what ends it later is not our doing.

    # Clocks.

    async def expect(self, faults: Collection[str]) -> None:
        await super().expect(faults)
        self._tells_processes = "clock" in faults and self._capabilities["clock"].available

    async def set_clock(self, node: str, offset_ms: float, rate_ppm: float = 0.0) -> Evidence:
        return await self._clocks.set(node, offset_ms, rate_ppm)

    async def strobe_clock(self, node: str, offset_ms: float) -> None:
        self._clocks.strobe(node, offset_ms)

    async def clock_offsets(self) -> Mapping[str, float]:
        return await self._clocks.offsets(self.nodes)

    async def reset_clock(self, node: str) -> Evidence:
        return await self._clocks.reset(node)

    # Healing.

    async def heal_all(self) -> HealReport:
        healing = Healing()
        attempt = healing.attempt
        await self.mend_everything(healing)
        await self.disks.heal_all(healing)

        async def node_heals(name: str) -> None:
            if self.state(name) == "paused":
                await attempt(f"resumed {name}", lambda: self.resume(name))
            if self.state(name) == "down":
                await attempt(f"started {name}", lambda: self.start(name))
            if name in self.resources.limited:
                await attempt(f"let {name} compute freely", lambda: self.limit_cpu(name, None))
            if name in self.resources.short_of_memory:
                await attempt(f"gave {name} its memory back", lambda: self.limit_memory(name, None))
            if name in self._clocks.changed:
                await attempt(f"reset the clock of {name}", lambda: self.reset_clock(name))

        await asyncio.gather(*(node_heals(name) for name in self._names))
        for name in self._names:
            if self.state(name) != "up":
                healing.fail(f"{name} is {self.state(name)} after healing")
        return healing.report()


def _state_probe(
    node: str, process: ProcessIdentity, before: str | None, after: str | None, proves: bool
) -> dict[str, Any]:
    return {
        "what": f"process {process.pid} of {node}",
        "before": f"state {before}",
        "after": f"state {after}" if after else "gone",
        "proves": proves,
    }


async def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S / 5)
    return True


async def refuses(address: Address) -> bool:
    """True if nobody listens there."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(*address), 1.0)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return False
