"""A cluster in a simulated world: the verbs on hosts, clocks, links and disks, each with its evidence.

Although the world could simply be looked into, every act is probed from outside as on real nodes: a node is asked from
another host, a port is dialled, a clock is read through the system, a link is measured by what travels on it. So a
fault that silently did nothing is told apart here too.

The harness asks nodes from a host of its own (`HARNESS_HOST`), whose links are quick and touched by no fault; clients
sit on another.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import msgspec

from harness.environments.clock_file import REAL_TIME, ClockSetting
from harness.environments.clocks import Reading, evidence
from harness.environments.environment import (
    Address,
    Addresses,
    EnvironmentFailed,
    Finding,
    Folder,
    MessageReader,
    NodeExit,
    NodePlan,
    Progress,
    SimulatedSystem,
    SystemUnderTest,
    started_first,
)
from harness.environments.healing import Healing
from harness.environments.lacking import NO_PACKETS, NO_RESOURCES, NO_TRUNCATION
from harness.environments.replacing import Replacements
from harness.environments.simulation.disk import CrashReport
from harness.environments.simulation.disk_faults import DiskFaults
from harness.environments.simulation.host import EPOCH_NS, Host
from harness.environments.simulation.link_faults import LinkFaults, evidence_of_measured
from harness.environments.simulation.messages import MessageRecord
from harness.environments.simulation.options import SimulationOptions
from harness.environments.simulation.world import CLIENT_HOST, World
from nemesis.cluster import (
    Capability,
    DiskMode,
    Evidence,
    FaultFailed,
    FaultUnavailable,
    HealReport,
    Link,
    NodeState,
    Reshaping,
    evidence_of,
)
from results.messages import Message

T = TypeVar("T")

HARNESS_HOST = "harness"
FIRST_PORT = 7001
READY_TIMEOUT_S = 30.0
TERMINATE_GRACE_S = 10.0
POLL_S = 0.05
ANSWER_S = 1.0
"""A node that does not answer a question within this time is silent."""
VISIBLE_DRIFT_NS = 20_000_000
LONGEST_DRIFT_WAIT_S = 1.0
CLOCK_PROOF_NS = 1_500_000_000
"""So long readings of a clock are taken again while they prove nothing."""
LAST_LINES = 20
FINDINGS_MOST = 100
"""A broken rule is often found broken again; so many findings are kept."""


@dataclass
class Node:
    """One node and its host."""

    plan: NodePlan
    host: Host
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """What SIGTERM is to a process, for its present life."""
    ending: bool = False
    """We have asked for its end, so its exit is no crash."""
    exit_status: str = ""


class RunnableSystem(SystemUnderTest, SimulatedSystem):
    """A system under test that can be simulated."""


class SimulatedCluster:
    """See `EnvironmentCluster`. Made by `SimulationEnvironment.create_cluster`."""

    def __init__(
        self,
        world: World,
        system: Any,
        names: Sequence[str],
        folder: Folder,
        capabilities: Mapping[str, Capability],
        options: SimulationOptions,
    ) -> None:
        self.world = world
        self.system: RunnableSystem = system
        self.folder = folder
        self._names = tuple(names)
        self.replacements = Replacements(self, system, self._from_harness_host)
        self._first = started_first(system, names)
        self._capabilities = dict(capabilities)
        self._exits: list[NodeExit] = []
        self._findings: list[Finding] = []
        self._found = asyncio.Event()
        self._marks: dict[str, int] = {}
        self._changed_clocks: set[str] = set()
        self._trace: BinaryIO | None = None
        self._messages_most = options.messages
        self._ended = False

        world.network.latency_ns = round(options.latency_ms * 1e6)
        world.network.jitter_ns = round(options.jitter_ms * 1e6)
        # What is measured from the host of the harness must not be as coarse as a slow network would make it.
        quick = msgspec.structs.replace(world.network.options, latency_ns=100_000, jitter_ns=50_000)
        for name in names:
            for link in ((HARNESS_HOST, name), (name, HARNESS_HOST)):
                world.network.link(*link).configure(quick)
        if options.trace == "full":
            self._trace = (folder.path / "trace.jsonl").open("wb")
            world.trace = self._trace.write
        listen = {
            name: {port: (name, FIRST_PORT + at) for at, port in enumerate(system.ports)} for name in names
        }
        self._ports = {FIRST_PORT + at: port for at, port in enumerate(system.ports)}
        self._nodes = {
            name: Node(self._plan(name, index, listen), world.host(name)) for index, name in enumerate(names)
        }
        for node in self._nodes.values():
            node.host.on_exit = self._on_exit
            node.host.disk.sync_ns = round(options.sync_ms * 1e6)
        world.host(CLIENT_HOST).begin_life()
        world.host(HARNESS_HOST).begin_life()
        self._links = LinkFaults(world, self._names)
        self._disks = DiskFaults(world)
        self.system.watch(self)

    def _plan(self, name: str, index: int, listen: Mapping[str, Addresses]) -> NodePlan:
        reach = {other: listen[other] for other in self._names if other != name}
        return NodePlan(
            name, index, Path("/data"), self.folder.path / "nodes" / name / "node.log", listen[name], reach
        )

    # Life.

    async def start_all(self) -> None:
        """Start every node's program, but for those that join later."""
        for name in self._first:
            self._launch(self._nodes[name])

    def _launch(self, node: Node) -> None:
        node.ending, node.exit_status = False, ""
        stopping = node.stopping = asyncio.Event()

        def program(host: Host) -> Coroutine[Any, Any, int]:
            return self.system.run_on(host, node.plan, self._names, stopping)

        node.host.start(program)

    async def wait_ready(self, timeout_s: float = READY_TIMEOUT_S, progress: Progress | None = None) -> None:
        """Wait until every node answers. Raises EnvironmentFailed with the last lines of those that do not."""
        results = await asyncio.gather(
            *(self._wait_node_ready(self._nodes[name], timeout_s) for name in self._first),
            return_exceptions=True,
        )
        problems = [result for result in results if isinstance(result, BaseException)]
        if problems:
            raise EnvironmentFailed("\n".join(str(problem) for problem in problems)) from problems[0]
        if progress is not None:
            seconds = self.world.loop.time()
            progress(f"all {len(self._first)} nodes ready after {seconds:.2f} virtual seconds")

    async def _wait_node_ready(self, node: Node, timeout_s: float) -> float:
        """Virtual seconds it took. Raises EnvironmentFailed if the program ends or the time is over."""
        started = self.world.loop.time()
        name = node.plan.name
        while True:
            if node.host.state == "down":
                raise EnvironmentFailed(
                    f"{name} ended before it was ready: {node.exit_status or 'not started'}\n{self._tail(node)}"
                )
            if await self._ask(self.system.is_ready(node.plan.listen)):
                return self.world.loop.time() - started
            if self.world.loop.time() - started > timeout_s:
                raise EnvironmentFailed(
                    f"{name} is not ready after {timeout_s:.0f} virtual seconds\n{self._tail(node)}"
                )
            await asyncio.sleep(POLL_S)

    async def _ask(self, question: Coroutine[Any, Any, T]) -> T | None:
        """The answer to a question that is asked on the host of the harness; None if there is none in time."""
        task = self.world.loop.create_task(question, context=self.world.host(HARNESS_HOST).context())
        try:
            return await asyncio.wait_for(task, ANSWER_S)
        except Exception:  # noqa: BLE001 - whatever keeps a node from answering, it does not answer
            return None

    async def _from_harness_host(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer to a question that is asked on the host of the harness, however long it takes."""
        return await self.world.loop.create_task(question, context=self.world.host(HARNESS_HOST).context())

    def _tail(self, node: Node) -> str:
        lines = node.host.log_lines[-LAST_LINES:]
        if not lines:
            return "it has printed nothing"
        return "its last lines:\n" + "\n".join("    " + line for line in lines)

    def _on_exit(self, host: Host, status: str) -> None:
        """A program has ended by itself."""
        node = self._nodes[host.name]
        node.exit_status = status
        if not node.ending:
            lines = tuple("\n".join(host.log_lines[-LAST_LINES:]).splitlines()[-LAST_LINES:])
            self._exits.append(NodeExit(host.name, host.lives, status, lines, self.clock_ns()))

    async def wait_for_failure(self) -> str:
        """For ever: a world does not break, and an error of its own is raised by its loop."""
        never: asyncio.Future[str] = self.world.loop.create_future()
        return await never

    async def detach(self) -> str:
        raise EnvironmentFailed(
            "a simulated cluster lives in this process and ends with it: it cannot be kept running"
        )

    async def destroy(self) -> None:
        """End every life. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self.system.watch(None)
        for _, host in sorted(self.world.hosts.items()):
            host.kill()
        self.world.trace = None
        if self._trace is not None:
            self._trace.close()

    # What is asked of it.

    @property
    def nodes(self) -> tuple[str, ...]:
        return self._names

    def capabilities(self) -> Mapping[str, Capability]:
        return self._capabilities

    def state(self, node: str) -> NodeState:
        return self._node(node).host.state

    def client_address(self, node: str) -> Addresses:
        return self._node(node).plan.listen

    def direct_address(self, node: str) -> Addresses:
        """The same: it is the host of the one who dials that makes the difference."""
        return self._node(node).plan.listen

    def wall_ns(self) -> int:
        return EPOCH_NS + self.world.loop.now_ns

    def known_as(self, node: str) -> str:
        return self.plan(node).known_as

    def plan(self, node: str) -> NodePlan:
        """Where the node lives."""
        return self._node(node).plan

    def put_plan(self, node: str, plan: NodePlan) -> None:
        """The node in this place is another one from now on."""
        self._node(node).plan = plan
        self._ports |= {number: port for port, (_, number) in plan.listen.items()}

    def clock_ns(self) -> int:
        return self.world.loop.now_ns

    def client_context(self) -> contextvars.Context | None:
        return self.world.host(CLIENT_HOST).context()

    def crashes(self) -> Sequence[NodeExit]:
        return tuple(self._exits)

    async def collect_logs(self) -> Mapping[str, Path]:
        found = {}
        for name, node in self._nodes.items():
            if node.host.log_lines:
                path = self.folder.node_dir(name) / "node.log"
                path.write_text("\n".join(node.host.log_lines) + "\n", encoding="utf-8", errors="replace")
                found[name] = path
        return found

    async def leaders(self) -> dict[str, str]:
        if not self.replacements.addresses():
            return {}
        return await self._ask(self.replacements.leaders()) or {}

    async def reshape(self, kind: Reshaping, node: str, draw: int) -> Evidence:
        return await self._from_harness_host(self.replacements.reshape(kind, node, draw))

    async def replace(self, node: str) -> Evidence:
        return await self.replacements.replace(node)

    def _node(self, name: str) -> Node:
        if name not in self._nodes:
            raise ValueError(f"unknown node {name!r}; nodes: {', '.join(self._names)}")
        return self._nodes[name]

    # What is seen inside (`SimulatedWorld`).

    def found(
        self,
        kind: Literal["invariant", "audit"],
        name: str,
        text: str,
        node: str | None,
        range_id: int | None,
    ) -> None:
        """See the role. Called in the middle of a step of some host."""
        if len(self._findings) < FINDINGS_MOST:
            loop = self.world.loop
            finding = Finding(
                kind=kind,
                name=name,
                text=text,
                node=node,
                range_id=range_id,
                step=loop.events,
                time_ns=loop.now_ns,
            )
            self._findings.append(finding)
            self.world.emit("finding", name, text=text, node=node, range_id=range_id)
            self._found.set()

    def record_messages(self) -> None:
        network = self.world.network
        if self._messages_most:
            network.messages = MessageRecord(self._messages_most)
            network.unrecorded = frozenset((HARNESS_HOST,))

    def messages(self, began_ns: int) -> tuple[int, list[Message]] | None:
        record = self.world.network.messages
        if record is None:
            return None
        reader = self.system if isinstance(self.system, MessageReader) else None
        return record.told(reader, self._ports, began_ns)

    def clock_settings(self) -> Sequence[tuple[int, str, float, float]]:
        return sorted(
            (at_ns, name, offset_ns / 1e6, rate_ppm)
            for name, node in self._nodes.items()
            for at_ns, offset_ns, rate_ppm in node.host.clock.settings
        )

    @property
    def is_traced(self) -> bool:
        return self._trace is not None

    def emit(self, area: str, name: str, /, **fields: Any) -> None:
        self.world.emit(area, name, **fields)

    def mark(self, name: str) -> None:
        self._marks[name] = self._marks.get(name, 0) + 1

    def marks(self) -> Mapping[str, int]:
        return dict(sorted(self._marks.items()))

    def findings(self) -> Sequence[Finding]:
        return tuple(self._findings)

    async def wait_for_finding(self) -> None:
        await self._found.wait()

    async def clock_offsets(self) -> Mapping[str, float]:
        """Nobody asks: a question would be one more event of the world."""
        return {}

    async def expect(self, faults: Collection[str]) -> None:
        """The simulated world has everything."""

    # Links.

    async def cut(self, links: Sequence[Link]) -> Evidence:
        return await self._links.cut(links)

    async def mend(self, links: Sequence[Link]) -> Evidence:
        return await self._links.mend(links)

    async def slow(self, links: Sequence[Link], delay_ms: float, jitter_ms: float = 0.0) -> Evidence:
        return await self._links.slow(links, delay_ms, jitter_ms)

    async def throttle(self, links: Sequence[Link], bytes_per_s: int | None) -> Evidence:
        return await self._links.throttle(links, bytes_per_s)

    async def lose(self, links: Sequence[Link], share: float, burst: float = 1.0) -> Evidence:
        if burst != 1.0:
            raise FaultUnavailable(f"losses in bursts of {burst:g} are not available here: {NO_PACKETS}")
        return await self._links.lose(links, share)

    async def disturb(
        self, links: Sequence[Link], duplicate: float = 0.0, reorder: float = 0.0, corrupt: float = 0.0
    ) -> Evidence:
        raise FaultUnavailable(f"disturb is not available here: {NO_PACKETS}")

    async def reset(self, links: Sequence[Link]) -> Evidence:
        return await self._links.reset(links)

    async def half_open(self, links: Sequence[Link]) -> Evidence:
        return await self._links.half_open(links)

    # Processes.

    async def kill(self, node: str) -> Evidence:
        return await self._end(node, lambda host: host.kill())

    async def terminate(self, node: str) -> Evidence:
        known = self._node(node)
        if self.state(node) == "paused":
            await self.resume(node)
        forced = False

        async def ask_to_end() -> None:
            nonlocal forced
            known.stopping.set()
            if not await self._until(lambda: known.host.state == "down", TERMINATE_GRACE_S):
                forced = True
                known.host.kill()

        shown = await self._end(node, lambda host: None, ask_to_end)
        if forced:
            what = f"{node} did not end within {TERMINATE_GRACE_S:.0f} s of being asked to, and was killed"
            return evidence_of([*shown.probes, {"what": what, "proves": True}])
        return shown

    async def _end(
        self,
        node: str,
        act: Callable[[Host], object],
        wait: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> Evidence:
        """Acts before it waits for anything."""
        known = self._node(node)
        before = known.host.state
        life = known.host.lives
        known.ending = True
        act(known.host)
        if before == "down":
            gone = {"what": f"program of {node}", "before": "down", "after": "down", "proves": True}
            return Evidence(True, [gone])
        if wait is not None:
            await wait()
        after = known.host.state
        answers = {port: await self._dial(address) for port, address in sorted(known.plan.listen.items())}
        return evidence_of(
            [
                {
                    "what": f"program of {node} (life {life})",
                    "before": before,
                    "after": after + (f" ({known.exit_status})" if known.exit_status else ""),
                    "proves": after == "down",
                },
                {
                    "what": f"ports of {node}",
                    "before": "listening",
                    "after": answers,
                    "proves": "accepted" not in answers.values(),
                },
            ]
        )

    async def start(self, node: str) -> Evidence:
        known = self._node(node)
        before = self.state(node)
        if before == "paused":
            return await self.resume(node)
        if before == "down":
            await self.replacements.before_start(node)
            self._launch(known)
        try:
            took_s = await self._wait_node_ready(known, READY_TIMEOUT_S)
        except EnvironmentFailed as error:
            raise FaultFailed(f"start {node}: {error}") from error
        probe = {
            "what": f"{node} answers requests",
            "before": before,
            "after": f"ready after {took_s:.2f} s (life {known.host.lives})",
            "proves": known.host.state == "up",
        }
        return evidence_of([probe])

    async def pause(self, node: str) -> Evidence:
        known = self._node(node)
        before = self.state(node)
        if before == "down":
            raise FaultFailed(f"cannot pause {node}: it is down")
        answered = before == "up" and await self._answers(known)
        known.host.pause()
        after = self.state(node)
        silent = not await self._answers(known)
        return evidence_of_measured(
            [
                _state_probe(node, before, after, after == "paused"),
                {
                    "what": f"{node} is asked for its time",
                    "before": _answer(answered),
                    "after": _answer(not silent),
                    # One that did not answer before shows nothing by its silence.
                    "proves": silent if answered else None if silent else False,
                },
            ]
        )

    async def resume(self, node: str) -> Evidence:
        known = self._node(node)
        before = self.state(node)
        if before == "down":
            return Evidence(True, [{"what": f"{node} is down: nothing to resume", "proves": True}])
        known.host.resume()
        after = self.state(node)
        answers = await self._answers(known)
        return evidence_of_measured(
            [
                _state_probe(node, before, after, after == "up"),
                {
                    "what": f"{node} is asked for its time",
                    "after": _answer(answers),
                    "proves": True if answers else None,
                },
            ]
        )

    async def _answers(self, node: Node) -> bool:
        """Whether the node says anything at all, asked past all faults of links."""
        return await self._ask(self.system.read_clock(node.plan.listen)) is not None

    async def _dial(self, address: Address) -> str:
        """What comes of dialling a port: `accepted`, `refused`, or, of a machine without power, `silent`."""

        async def dial() -> str:
            try:
                _, writer = await asyncio.open_connection(*address)
            except ConnectionError:
                return "refused"
            writer.close()
            return "accepted"

        return await self._ask(dial()) or "silent"

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = self.world.loop.time() + timeout_s
        while not condition():
            if self.world.loop.time() > deadline:
                return False
            await asyncio.sleep(POLL_S / 5)
        return True

    # Clocks.

    async def set_clock(self, node: str, offset_ms: float, rate_ppm: float = 0.0) -> Evidence:
        known = self._node(node)
        before = await self._read_clock(known)
        setting = self._set_clock(known, offset_ms, rate_ppm)
        if rate_ppm:
            await asyncio.sleep(min(LONGEST_DRIFT_WAIT_S, VISIBLE_DRIFT_NS / (abs(rate_ppm) * 1000)))
        give_up_ns = self.world.loop.now_ns + CLOCK_PROOF_NS
        while True:
            shown = evidence(node, setting, before, await self._read_clock(known))
            # A small shift shows in an exact reading, and a drift after a while.
            if shown.took_effect or self.world.loop.now_ns > give_up_ns or self.state(node) == "down":
                return shown
            await asyncio.sleep(POLL_S)

    async def strobe_clock(self, node: str, offset_ms: float) -> None:
        self._set_clock(self._node(node), offset_ms, 0.0)

    async def reset_clock(self, node: str) -> Evidence:
        known = self._node(node)
        before = await self._read_clock(known) if self.state(node) == "up" else None
        known.host.clock.reset()
        self._changed_clocks.discard(node)
        after = await self._read_clock(known) if self.state(node) == "up" else None
        if after is not None:
            return evidence(node, REAL_TIME, before, after)
        what = f"clock of the host {node} (the node is {self.state(node)}, or tells no time)"
        is_real = known.host.clock.offset_ns() == 0
        return evidence_of([{"what": what, "after": "real time", "proves": is_real}])

    def _set_clock(self, node: Node, offset_ms: float, rate_ppm: float) -> ClockSetting:
        setting = ClockSetting(round(offset_ms * 1e6), round(rate_ppm * 1000), self.world.loop.now_ns)
        self._changed_clocks.add(node.plan.name)
        node.host.clock.set(setting.offset_ns, rate_ppm)
        return setting

    async def _read_clock(self, node: Node) -> Reading | None:
        """What the node itself says; None if it does not tell its time."""
        asked_ns = self.world.loop.now_ns
        shown_ns = await self._ask(self.system.read_clock(node.plan.listen))
        if shown_ns is None:
            return None
        half_ns = (self.world.loop.now_ns - asked_ns) // 2
        middle_ns = asked_ns + half_ns
        return Reading(shown_ns - (EPOCH_NS + middle_ns), half_ns, middle_ns)

    # Disks.

    async def power_loss(self, node: str) -> Evidence:
        reports: list[CrashReport] = []

        def lose_power(host: Host) -> None:
            report = host.kill(lose_unsynced=True)
            assert report is not None, "a power loss says what it did to the disk"
            reports.append(report)

        shown = await self._end(node, lose_power)
        return evidence_of([*shown.probes, self._disks.lost(node, reports[0])])

    async def fail_disk(
        self, node: str, mode: DiskMode, share: float = 1.0, delay_ms: float = 0.0
    ) -> Evidence:
        return await self._disks.fail(self._node(node).plan.name, mode, share, delay_ms)

    async def heal_disk(self, node: str) -> Evidence:
        return await self._disks.heal(self._node(node).plan.name)

    async def flip_bits(self, node: str) -> Evidence:
        self.system.disk_damaged(self.known_as(node))
        return self._disks.flip_bits(self._node(node).plan.name)

    async def limit_cpu(self, node: str, share: float | None) -> Evidence:
        raise FaultUnavailable(f"limit_cpu is not available here: {NO_RESOURCES}")

    async def exhaust_memory(self, node: str) -> Evidence:
        raise FaultUnavailable(f"exhaust_memory is not available here: {NO_RESOURCES}")

    async def limit_memory(self, node: str, spare_mb: int | None) -> Evidence:
        raise FaultUnavailable(f"limit_memory is not available here: {NO_RESOURCES}")

    async def truncate(self, node: str) -> Evidence:
        raise FaultUnavailable(f"truncate is not available here: {NO_TRUNCATION}")

    async def wipe(self, node: str) -> Evidence:
        self.system.disk_damaged(self.known_as(node))
        return self._disks.wipe(self._node(node).plan.name)

    async def lose_file(self, node: str) -> Evidence:
        self.system.disk_damaged(self.known_as(node))
        return self._disks.lose_file(self._node(node).plan.name)

    # Healing.

    async def heal_all(self) -> HealReport:
        healing = Healing()
        attempt = healing.attempt
        links = self._links
        broken, shaped = sorted(links.cut_links | links.halved), sorted(links.shaped)
        if broken:
            await attempt(f"mended {_names_of(broken)}", lambda: links.mend(broken))
        if shaped:
            await attempt(f"restored the speed of {_names_of(shaped)}", lambda: links.restore(shaped))

        async def node_heals(name: str) -> None:
            if name in self._disks.failing:
                await attempt(f"healed the disk of {name}", lambda: self.heal_disk(name))
            if self.state(name) == "paused":
                await attempt(f"resumed {name}", lambda: self.resume(name))
            if self.state(name) == "down":
                await attempt(f"started {name}", lambda: self.start(name))
            if name in self._changed_clocks:
                await attempt(f"reset the clock of {name}", lambda: self.reset_clock(name))

        await asyncio.gather(*(node_heals(name) for name in self._names))
        for name in self._names:
            if self.state(name) != "up":
                healing.fail(f"{name} is {self.state(name)} after healing")
        return healing.report()


def _state_probe(node: str, before: str, after: str, proves: bool) -> dict[str, Any]:
    return {"what": f"program of {node}", "before": before, "after": after, "proves": proves}


def _answer(answered: bool) -> str:
    return "answered" if answered else "silent"


def _names_of(links: Sequence[Link]) -> str:
    shown = ", ".join(f"{source} -> {target}" for source, target in links[:6])
    return shown + (f" and {len(links) - 6} more links" if len(links) > 6 else "")
