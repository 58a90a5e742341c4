"""The role of an environment: hosts for nodes, a cluster of them, and what it asks of a system under test.

A system says how a node is launched (`Launch`) when it is told where it lives (`NodePlan`), and how to ask a node
whether it is ready, what its clock shows and who leads. An environment starts nodes, injects faults into them
(`nemesis.cluster.Cluster`), proves that each took effect, keeps the ledger, and cleans up.

A run and all that it does lives on the environment's event loop and clock: real ones, or those of a simulated world.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import signal
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from nemesis.cluster import CLIENT, Capability, Cluster, Evidence, HealReport, Reshaping, evidence_of
from results.messages import Message

Address = tuple[str, int]
Addresses = Mapping[str, Address]
"""Port name -> (host, port) of one node."""

Progress = Callable[[str], None]
"""Takes one sentence about what the environment is doing."""

T = TypeVar("T")

PEER = "peer"
CLIENT_PORT = "client"


class EnvironmentFailed(Exception):
    """The environment cannot do its work (exit 4): a port in use, a node that never gets ready, a dead supervisor."""


@dataclass(frozen=True)
class NodePlan:
    """Where one node lives and how it reaches the others. All paths are absolute."""

    name: str
    index: int
    """Position among the nodes, from 0."""
    data_dir: Path
    log_path: Path
    """stdout and stderr of the process are appended here, over all its restarts."""
    listen: Addresses
    """Port name -> where this node must listen."""
    reach: Mapping[str, Addresses]
    """Other node -> port name -> where this node must dial it (in `local`, through the proxy of that link)."""
    clock_file: Path | None = None
    """File of the clock port (`clock_file.py`), or None where the clock cannot be set."""
    advertise: Addresses = field(default_factory=dict)
    """Port name -> where the others reach this node, if that is the same for all of them; else empty."""
    socks: Address | None = None
    """A SOCKS5 server through which this node must reach the others; None: it dials them as they are."""
    replaces: str | None = None
    """The system's name of the node that was here before and is gone for good; `identity` is then that of the new one,
    which has to join."""
    identity: str = ""
    """By which the system knows this node, where that is not `name`."""

    @property
    def known_as(self) -> str:
        """The system's name of this node."""
        return self.identity or self.name


@dataclass(frozen=True)
class Launch:
    """How to start a node. `files` are written (paths relative to data_dir) before each start."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the harness."""
    files: Mapping[str, bytes] = field(default_factory=dict)


class SystemUnderTest(Protocol):
    """What an environment asks of a system. One object serves all nodes; addresses are those of direct access."""

    @property
    def name(self) -> str:
        """As on the command line: `reference-db`."""

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of the TCP ports that a node listens on, for example ("peer", "client")."""

    @property
    def supports(self) -> frozenset[str]:
        """What the system can do beyond running: "clock" (reads the clock file), "leaders", "ranges", "members" (nodes
        join and are decommissioned); "replacement": see `ReplaceableSystem`; "memory-only": it keeps nothing on a disk,
        so that a disk that fails means nothing to it; "socks": its nodes can reach each other through a SOCKS5 server,
        and need the same addresses everywhere (`NodePlan.advertise`)."""

    @property
    def clock_port(self) -> bool:
        """True if a node takes its wall clock from `NodePlan.clock_file`."""

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """How to start this node. Called before every start; must give the same answer for the same plan."""

    async def is_ready(self, address: Addresses) -> bool:
        """True once the node answers requests. False (or any OSError) while it does not; the caller repeats. Raises
        EnvironmentFailed where it never will: a library is missing, a password is wrong."""

    async def read_clock(self, address: Addresses) -> int | None:
        """The node's own wall clock in nanoseconds since 1970, as the node sees it; None if it cannot be asked."""

    async def leaders(self, addresses: Mapping[str, Addresses]) -> dict[str, str]:
        """Range -> name of the node that leads it, from the nodes that answer; the newest term wins. {} if unknown.

        `addresses` holds the nodes that are up. Must give up on a node that is silent for half a second.
        """


@runtime_checkable
class RangedSystem(Protocol):
    """A system whose ranges can be split and merged; it has "ranges" in `supports`."""

    async def reshape(
        self, addresses: Mapping[str, Addresses], kind: Reshaping, node: str, draw: int
    ) -> list[dict[str, Any]]:
        """See `nemesis.cluster.Cluster.reshape`: the probes, none if nobody answered. `addresses` holds the nodes that
        are up. Raises OSError, TimeoutError or SessionError where it was not done."""


@runtime_checkable
class ReplaceableSystem(Protocol):
    """A system that takes new members while it runs; it has "replacement" in `supports`."""

    def launch_replacement(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """How to start a node that replaces another (`plan.replaces`) and joins the others. `all_nodes` are those that
        the system began with. In simulation `run_on` is given the plan instead."""

    async def dismiss(self, addresses: Mapping[str, Addresses], gone: str) -> str:
        """Asks the others, by their addresses, to do without a member that will not come back; what it is to them now.
        Asked again and again, until that is `GONE`. Raises OSError, TimeoutError or SessionError."""

    async def member_state(self, addresses: Mapping[str, Addresses], member: str) -> str:
        """What a member is to the others; `MEMBER` once it is one like all others. Raises as `dismiss` does."""


GONE, MEMBER = "decommissioned", "active"


async def reshaped(
    system: SystemUnderTest, addresses: Mapping[str, Addresses], kind: Reshaping, node: str, draw: int
) -> Evidence:
    """What a cluster's `reshape` answers with."""
    assert isinstance(system, RangedSystem), f"{system.name} has no ranges that could be changed"
    try:
        return evidence_of(await system.reshape(addresses, kind, node, draw))
    except Exception as error:  # noqa: BLE001 - whatever kept it from being done, it proves nothing
        text = f"{type(error).__name__}: {error}"
        return Evidence(False, [{"what": kind, "before": None, "after": text, "proves": False}])


def without_ranges(system: SystemUnderTest) -> dict[str, str]:
    """Which capabilities a system lacks that is asked to change itself (`Cluster.reshape`), and why."""
    reasons = {
        "ranges": "has no ranges that could be split or merged",
        "members": "lets no nodes join and go as it is set (reference-db: --system-option placement=on)",
    }
    return {name: f"{system.name} {why}" for name, why in reasons.items() if name not in system.supports}


@runtime_checkable
class GrowingSystem(Protocol):
    """A system of which some nodes join the others later."""

    def late_nodes(self, nodes: Sequence[str]) -> frozenset[str]:
        """Which of all nodes are not started with the others: a nemesis starts them (`membership:join`), or else the
        healing at the end. Raises ValueError where too few are left."""


def started_first(system: SystemUnderTest, nodes: Sequence[str]) -> tuple[str, ...]:
    """The nodes that a cluster begins with, in their order."""
    late = system.late_nodes(nodes) if isinstance(system, GrowingSystem) else frozenset()
    return tuple(name for name in nodes if name not in late)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody saw who looks into the nodes of a simulated cluster: a broken rule of the database."""

    kind: Literal["invariant", "audit"]
    """An invariant is looked at after every step, an audit at the end."""
    name: str
    text: str
    node: str | None = None
    range_id: int | None = None
    step: int = 0
    """The event of the simulated world after which it was seen; with the seed it says where to look."""
    time_ns: int = 0
    """Virtual time since the world began."""


class SimulatedHost(Protocol):
    """What a program that runs on a simulated host is given beside its loop, its time and its randomness."""

    @property
    def name(self) -> str: ...

    @property
    def disk(self) -> Any:
        """Its files; see `harness.environments.simulation.disk`."""

    @property
    def clock(self) -> Any:
        """Its wall clock: `wall_ns()`."""

    @property
    def random(self) -> random.Random:
        """The random stream of its present life."""

    after_step: Callable[[], None] | None
    """Called after everything that runs on this host, until this life ends."""

    def exit(self, code: int) -> None:
        """End this life at once, as `os._exit` does."""

    def forget_by(self, forget: Callable[[], object]) -> None:
        """Have this called once the host's next life has begun: it frees what the program holds in memory."""


class SimulatedWorld(Protocol):
    """What somebody who looks into the nodes of a simulated cluster may ask."""

    def found(
        self,
        kind: Literal["invariant", "audit"],
        name: str,
        text: str,
        node: str | None,
        range_id: int | None,
    ) -> None:
        """A rule is broken, at this step."""

    @property
    def is_traced(self) -> bool:
        """Whether there is a trace that events go to."""

    def emit(self, area: str, name: str, /, **fields: Any) -> None:
        """An event for the trace of the world."""

    def mark(self, name: str) -> None:
        """An interesting situation was reached."""


@runtime_checkable
class SimulatedSystem(Protocol):
    """A system that can run in a simulated world: its own code, on virtual time, network and disk."""

    async def run_on(
        self,
        host: SimulatedHost,
        plan: NodePlan,
        all_nodes: tuple[str, ...],
        stopping: asyncio.Event,
    ) -> int:
        """A node's program from its start to its end, on the host. `stopping` is what SIGTERM is to a process. Of a
        system that has "replacement" in `supports`, the node may be a new one (`plan.replaces`). Answers the exit
        code."""

    def watch(self, world: SimulatedWorld | None) -> None:
        """From now on tell this world what is wrong inside the nodes that are started; None: nobody listens."""

    def disk_damaged(self, node: str) -> None:
        """A fault has destroyed what was durable on this node's disk: nobody is to blame for what is missing now."""


class ToldMessage(msgspec.Struct, frozen=True, gc=False):
    """What one message between two hosts says; see `results.messages.Message`."""

    kind: str
    text: str = ""
    range: str = ""
    term: int = 0
    exchange: str = ""
    """A question and its answer have the same, and the answer is about the range of the question."""


@runtime_checkable
class MessageReader(Protocol):
    """A system that can put what its nodes write to each other, and clients to them, into words."""

    def read_messages(self, port: str, is_dialler: bool, data: bytes) -> list[ToldMessage]:
        """What one write says that went over a connection to the port of this name; `is_dialler`: who wrote it has
        opened the connection. Raises ValueError for bytes that are not whole messages."""


@runtime_checkable
class MessageRecording(Protocol):
    """A cluster that can keep who sent what to whom."""

    def record_messages(self) -> None:
        """From now on they are kept, the last of them; called before any node is started."""

    def messages(self, began_ns: int) -> tuple[int, list[Message]] | None:
        """How many there were since the time of the run `began_ns`, and those that are kept; None: nobody kept any."""


@runtime_checkable
class ClockRecording(Protocol):
    """A cluster whose clocks need not be asked."""

    def clock_settings(self) -> Sequence[tuple[int, str, float, float]]:
        """When a node's clock was set (`clock_ns`), which node's, how many milliseconds ahead of real time it was then,
        and how many microseconds a second it gains since."""


class Folder(Protocol):
    """What an environment uses of a run folder (`results.run_folder.RunFolder` has it)."""

    @property
    def path(self) -> Path:
        """The folder of this run."""

    @property
    def ledger_path(self) -> Path:
        """Where the ledger goes."""

    def node_dir(self, name: str) -> Path:
        """`nodes/<name>/`, created."""


@dataclass(frozen=True)
class NodeExit:
    """A process of a node that ended though nobody asked for it."""

    node: str
    pid: int
    status: str
    """`exit code 3` or `signal SIGSEGV`."""
    last_lines: tuple[str, ...]
    ended_ns: int | None = None
    """When, by `EnvironmentCluster.clock_ns`: it tells what was broken at that moment."""


class EnvironmentCluster(Cluster, Protocol):
    """A cluster, as the one who runs it sees it."""

    async def expect(self, faults: Collection[str]) -> None:
        """Before anything is started: which fault classes the schedule of this run holds, so that what only they need
        is made now. Raises EnvironmentFailed where it cannot be made."""

    async def start_all(self) -> None:
        """Start every node's process. Raises EnvironmentFailed with the node's last log lines if one ends at once."""

    async def wait_ready(self, timeout_s: float, progress: Progress | None = None) -> None:
        """Wait until every node is ready. Raises EnvironmentFailed (which nodes, their last log lines)."""

    def client_address(self, node: str) -> Addresses:
        """Where clients dial this node: the way that faults affect."""

    def direct_address(self, node: str) -> Addresses:
        """Where the harness itself asks this node: a way that network faults do not affect."""

    def known_as(self, node: str) -> str:
        """By which the system knows the node that is in this place now."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, as a node shows them whose clock is right."""
        ...

    def clock_ns(self) -> int:
        """The time of the run: monotonic nanoseconds, from anywhere."""

    def client_context(self) -> contextvars.Context | None:
        """In which the clients run; None: in that of the harness."""

    def findings(self) -> Sequence[Finding]:
        """What was seen inside the nodes so far, in order; nothing where nobody can look."""

    def marks(self) -> Mapping[str, int]:
        """Which situations of interest the nodes have reached and how often, by name; nothing where nobody can look."""

    async def wait_for_finding(self) -> None:
        """Blocks until there is one; for ever where nobody can look."""

    async def wait_for_failure(self) -> str:
        """Blocks until the environment itself can no longer do its work, normally for ever; answers why."""

    async def clock_offsets(self) -> Mapping[str, float]:
        """Node that is up and tells its time -> milliseconds by which its clock is ahead of real time now."""

    def crashes(self) -> Sequence[NodeExit]:
        """Processes that ended unasked since the start, in order."""

    async def collect_logs(self) -> Mapping[str, Path]:
        """Node -> file in the run folder with everything its process has printed so far."""

    async def detach(self) -> str:
        """Leave the cluster running when the harness ends. Returns the sentence that says how to stop it."""

    async def destroy(self) -> None:
        """End everything that was started, and mark it in the ledger. Idempotent; also after a failure."""


def name_problems(nodes: Sequence[str]) -> list[str]:
    """What is wrong with the names of nodes, in any environment."""
    if not nodes or len(set(nodes)) != len(nodes) or CLIENT in nodes:
        return [f"nodes {list(nodes)}: must be unique names, at least one, and none is '{CLIENT}'"]
    return []


class Environment(Protocol):
    """Makes clusters of a system under test."""

    @property
    def name(self) -> str:
        """As on the command line: `local`, `docker`, `simulation`."""

    @property
    def is_virtual(self) -> bool:
        """Whether time passes only as far as the run needs it: nothing lags, nothing stalls."""

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end on this environment's loop, and closes the loop."""

    def now_and_then(self, act: Callable[[], None]) -> AbstractContextManager[None]:
        """While the block runs, on the loop, `act` is called about four times a second of the user's time."""

    def on_signal(self, number: signal.Signals, act: Callable[[], None]) -> None:
        """Calls `act` on the running loop whenever this process gets the signal, for as long as the loop runs."""

    def capabilities(self, system: SystemUnderTest) -> Mapping[str, Capability]:
        """Which faults can be injected here into this system, known without starting anything."""

    def check_options(self, options: Mapping[str, Any], nodes: Sequence[str]) -> None:
        """Raises ValueError with everything that is wrong with the options and the names of nodes.

        Cheap and pure, so that wrong usage is told before anything is made; `create_cluster` asks it as well.
        """

    async def create_cluster(
        self,
        system: SystemUnderTest,
        nodes: Sequence[str],
        folder: Folder,
        options: Mapping[str, Any],
        progress: Progress | None = None,
    ) -> EnvironmentCluster:
        """Prepare hosts, ports and links; start no node. Raises EnvironmentFailed, and then has cleaned up.

        Raises ValueError, before anything is made, for what `check_options` refuses.
        """


@runtime_checkable
class OptionedEnvironment(Protocol):
    """An environment that is another one where certain options are given."""

    def with_options(self, options: Mapping[str, Any]) -> Environment:
        """The one to use with these options, which nobody has checked yet."""


__all__ = [
    "CLIENT_PORT",
    "PEER",
    "Address",
    "Addresses",
    "Capability",
    "ClockRecording",
    "Environment",
    "EnvironmentCluster",
    "EnvironmentFailed",
    "Evidence",
    "Finding",
    "Folder",
    "HealReport",
    "Launch",
    "MessageReader",
    "MessageRecording",
    "NodeExit",
    "NodePlan",
    "Progress",
    "SimulatedHost",
    "SimulatedSystem",
    "SimulatedWorld",
    "SystemUnderTest",
    "ToldMessage",
    "name_problems",
]
