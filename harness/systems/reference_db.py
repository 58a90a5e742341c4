"""The reference Multi-Raft database as a system under test: launch a node, open a session, name the leaders.

The only file of the harness that imports the database. Errors are sorted here: what the client calls definite
is Definite, all else Indefinite; inside a transaction everything before the commit is Definite, because only the commit
writes.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

import msgspec

from harness.environments.environment import (
    CLIENT_PORT,
    PEER,
    Addresses,
    Launch,
    NodePlan,
    SimulatedHost,
    SimulatedWorld,
    ToldMessage,
)
from harness.systems.commit_times import CommitTimes, Origin
from harness.systems.system import DefectSheet, FinalState
from nemesis.cluster import Reshaping
from reference_db import wire_words
from reference_db.api import Isolation, ReplicaState
from reference_db.audits import audit_provenance
from reference_db.client import Client, ClientError, Item, RangeSeen
from reference_db.client import Transaction as ClientTransaction
from reference_db.client_session import WriteSession
from reference_db.defects import defect_names, describe, describe_own
from reference_db.gateway.coordinator import ISOLATIONS, OWN_ISOLATION, PROTOCOLS
from reference_db.gateway.fault_points import STEPS
from reference_db.invariants import Violation, Watcher
from reference_db.node import NodeOptions
from reference_db.placement.state import MemberState, parse_zones
from reference_db.ranges.cores import node_of, stores_of
from reference_db.ranges.options import is_on
from reference_db.server.config import parse_config
from reference_db.server.hosted import serve_stores_on
from reference_db.server.program import Program, StartFailed, load_defect
from reference_db.trace import MARKS
from workloads.session import (
    CHOSEN_READS,
    COMPARE_AND_SET,
    COUNTER,
    KEY_VALUE,
    RETRIED_TRANSACTIONS,
    SCAN,
    TRANSACT_WRITE,
    TRANSACTIONAL_SCAN,
    TRANSACTIONS,
    Definite,
    Indefinite,
    SessionError,
    WriteItem,
)

CONFIG_FILE = "node.json"
METRICS_PORT = "metrics"
"""A node with this port in its plan has a page `/metrics` there."""
ASK_TIMEOUT_S = 0.5
FORSAKE_S = 2.0
"""How long a step at which coordinators shall die stays armed, if nobody reaches it."""
FORSAKE_LOOKS = 20
"""How long a node may be silent before it counts as not answering questions about itself."""

DIGEST_TIMEOUT_S = 30.0
"""How long a node may take to read all its data for digests."""

REFILLED_MOST = 2
"""Ranges that are moved back to a node that was emptied."""
JOIN_PATIENCE_S = 3600.0
"""A node that joins goes on asking: whoever it would ask may be cut off for as long as a fault lasts."""
RESHAPE_TIMEOUT_S = 3.0
"""How long a change of ranges may take."""
DISCARD_PORT = 9
"""Where nobody listens."""
KEYS_LOOKED_AT = 100
"""Among so many keys of a range the one is chosen at which it is split."""

LOG_PATTERNS = (
    r"Traceback \(most recent call last\)",
    r"\bAssertionError\b",
    r" (ERROR|CRITICAL) ",
    r"^panicked at",
)
"""Lines of a node's log that count as errors: a broken assertion, an unexpected exception, a panic of the engine."""

HEALTHY_OPTIONS = (
    "split_bytes, split_load, merge_idle, "
    "sessions (on, off, or blind: retries that may happen twice), session_replies_most, token_ms, "
    "reads (linearizable, lease, bounded, stale), max_staleness_ms, protocol (record, primary-lock, two-phase), "
    "isolation (own, serializable, snapshot), parallel_commit, one_range_commit and async_commit (on or off), "
    "transaction_expiry_ms, lock_wait_ticks, leases (on or off), closed_timestamp_ticks, "
    "gc_ttl_ms, tick_ms, election_ticks, heartbeat_ticks, timeout_ms, batching, coalescing and "
    "quiescence (on or off), "
    "quiesce_ticks, settled_ticks, storm_control, election_jitter and election_priority (on or off), elections_most, "
    "handovers_most, placement and follow_workload (on or off), zones (n1:eu/n2:us), leader_zones (eu/us), "
    "dead_after_ms, placement_moves, cores, joiners (nodes that are not there at the beginning), "
    "max_offset_ms, offset_interval_ms, log_entries_kept, log_bytes_most, requests_most, request_bytes_most, "
    "range_requests_most, proposal_bytes_most, inflight_bytes_most, snapshot_chunk_bytes, "
    "snapshot_bytes_per_second, snapshots_most, fault_points (on or off)"
)


def defect_sheets() -> dict[str, DefectSheet]:
    """Every planted defect by name, with what the harness should know to find it."""
    sheets = {}
    for name in defect_names():
        defect = describe(name)
        sheets[name] = msgspec.convert(msgspec.to_builtins(defect), DefectSheet)
    return sheets


def own_defect_sheet(name: str) -> DefectSheet:
    """What is known of a defect from elsewhere, `module:attribute`. Raises ValueError if there is none, or if its
    module cannot be imported."""
    try:
        defect = describe_own(name)
    except ValueError:
        raise
    except Exception as error:
        raise _broken_module(name, error) from error
    return msgspec.convert(msgspec.to_builtins(defect), DefectSheet)


def _broken_module(defect: str, error: Exception) -> ValueError:
    module = defect.partition(":")[0]
    return ValueError(
        f"defect {defect}: importing {module} raised {type(error).__name__}: {error}; mend it there"
    )


def planted_defects() -> dict[str, str]:
    """Every planted defect by name, with its caption."""
    return {name: sheet.caption for name, sheet in defect_sheets().items()}


def directed_story(story: str, *, planted: bool) -> list[str]:
    """What a directed story shows that must never be, in sentences; none without its defect."""
    directed: Callable[[bool], list[str]] = importlib.import_module(f"reference_db.directed.{story}").directed
    return directed(planted)


def witnessed_story(story: str, *, planted: bool) -> list[tuple[int, str, str, Any]]:
    """What the clients of a directed story were told: process, type, function and value of each event."""
    module = importlib.import_module(f"reference_db.directed.{story}")
    events: list[tuple[int, str, str, Any]] = module.witnessed(planted)
    return events


def sorted_error(error: ClientError) -> SessionError:
    """A client's error as the session's: definite or not, with the same kind and text."""
    return Definite(error.kind, error.text) if error.definite else Indefinite(error.kind, error.text)


def tell(world: SimulatedWorld, violations: Iterable[Violation]) -> None:
    """What a watcher has found, as the world's findings."""
    for one in violations:
        world.found("invariant", one.name, str(one), one.node, one.range_id)


class WorldTrace:
    """The trace of a simulated node: its events go to the trace of its world, its marks are counted there."""

    def __init__(self, world: SimulatedWorld, node: str) -> None:
        self._world = world
        self._node = node
        self._is_traced = world.is_traced

    def event(self, area: str, name: str, **fields: Any) -> None:
        """See `reference_db.trace.Trace`."""
        if self._is_traced:
            shown = {key: _shown(value) for key, value in fields.items()}
            self._world.emit(f"{self._node} {area}", name, **shown)

    def mark(self, name: str, **fields: Any) -> None:
        """See `reference_db.trace.Trace`."""
        self._world.mark(name)
        if self._is_traced:
            self.event("mark", name, **fields)


def _shown(value: Any) -> Any:
    """As it can stand in a trace that is the same each time: sets have no order of their own."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return value.hex() if len(value) == 16 else repr(value)[2:-1]
        case set() | frozenset():
            return sorted(map(str, value))
        case _:
            return str(value)


class ReferenceDatabase:
    """The system `reference-db`. Raises ValueError for options, a defect or a layout that cannot be."""

    name = "reference-db"
    ports: tuple[str, ...] = (PEER, CLIENT_PORT)
    """Those of a node's first store; with `cores` each further one has two of its own."""
    supports: frozenset[str] = frozenset({"clock", "leaders", "ranges"})
    """And, with `placement=on`, "members", "replacement", and "socks": members tell each other where they are."""
    clock_port = True
    environments = None
    interfaces = frozenset(
        {
            KEY_VALUE,
            COMPARE_AND_SET,
            SCAN,
            TRANSACTIONS,
            TRANSACTIONAL_SCAN,
            CHOSEN_READS,
            TRANSACT_WRITE,
            RETRIED_TRANSACTIONS,
        }
    )
    log_patterns = LOG_PATTERNS
    leader_pattern = r"range (?P<range>\d+): (?P<leader>\S+) leads in term (?P<term>\d+)"
    """A line that says who leads a range; see `harness/leader_changes.py`."""
    marks = MARKS
    """Situations of interest that a sweep can reach, with what each means. Nodes tell of others as well, if met."""
    defects = planted_defects()
    """Planted defects by name, with their captions."""
    python_packages = ("msgspec", "rocksdict", "uvloop")
    """What a host without this checkout's environment needs beside the package `reference_db`."""

    def __init__(
        self,
        *,
        replication: int = 3,
        ranges: int = 8,
        seed: int = 0,
        defect: str | None = None,
        options: Mapping[str, Any] | None = None,
        invariants: bool = True,
    ) -> None:
        """`invariants`: whether a simulated cluster is watched from inside."""
        self.invariants = invariants
        self._world: SimulatedWorld | None = None
        self._watcher: Watcher | None = None
        self.replication = replication
        self.ranges = ranges
        self.seed = seed
        self.defect = defect
        self.options = {name.replace("-", "_"): value for name, value in (options or {}).items()}
        self._joiners = self.options.pop("joiners", 0)
        if defect is not None and ":" not in defect and defect not in self.defects:
            raise ValueError(f"unknown defect {defect!r}; the defects are {', '.join(self.defects)}")
        try:
            checked = msgspec.convert(self.options, type=NodeOptions)
        except msgspec.ValidationError as error:
            raise ValueError(
                f"system option of reference-db: {error}; the options are {HEALTHY_OPTIONS}"
            ) from error
        problems = checked.problems()
        if type(self._joiners) is not int or self._joiners < 0:
            problems.append(f"joiners is {self._joiners!r}: it must be a number of nodes, from 0 on")
        elif self._joiners and not is_on(checked.placement):
            problems.append(f"joiners is {self._joiners}: nodes join only with placement=on")
        if problems:
            raise ValueError("system options of reference-db: " + "; ".join(problems))
        self.timeout_s = checked.timeout_ms / 1000
        self.cores = checked.cores
        self.ports = tuple(port for store in self._ports_of_stores() for port in store)
        self._sessions = checked.sessions
        self._commit_origin = Origin()
        if self._repeats:
            self.interfaces = self.interfaces | {COUNTER}
        if is_on(checked.placement):
            self.supports = self.supports | {"replacement", "members", "socks"}

    @property
    def _repeats(self) -> bool:
        """Whether clients send a write again whose outcome they have not heard."""
        return self._sessions == "blind" or is_on(self._sessions)

    @property
    def isolation(self) -> str:
        """See `harness.systems.system.IsolatingSystem`."""
        protocol = PROTOCOLS[str(self.options.get("protocol", NodeOptions().protocol))]
        isolation = ISOLATIONS[str(self.options.get("isolation", NodeOptions().isolation))]
        if isolation is None:
            isolation = OWN_ISOLATION[protocol]
        return "strict-serializable" if isolation == Isolation.SERIALIZABLE else "strong-snapshot-isolation"

    def require_defect(self) -> None:
        """Whether the defect can be planted, before anything is started. Raises ValueError. A saved run can be judged
        without its defect, so this is asked for runs only."""
        if self.defect is None:
            return
        try:
            load_defect(self.defect)
        except StartFailed as error:
            raise ValueError(
                f"{error}; a defect of your own is MODULE:FUNCTION, with its folder on PYTHONPATH"
            ) from error
        except Exception as error:
            raise _broken_module(self.defect, error) from error

    def late_nodes(self, nodes: Sequence[str]) -> frozenset[str]:
        """See `harness.environments.environment.GrowingSystem`: the last ones, as many as the option `joiners` says."""
        founders = len(nodes) - self._joiners
        if self._joiners and founders < self.replication:
            raise ValueError(
                f"joiners is {self._joiners}: of {len(nodes)} nodes only {max(founders, 0)} would begin, and each "
                f"range has {self.replication} replicas"
            )
        return frozenset(nodes[founders:])

    def _ports_of_stores(self) -> list[tuple[str, str]]:
        """Of each store of a node: the names of the ports for its peers and for clients."""
        return [(PEER, CLIENT_PORT)] + [
            (f"{PEER}-{store}", f"{CLIENT_PORT}-{store}") for store in range(2, self.cores + 1)
        ]

    def _stores(self, addresses: Mapping[str, Addresses]) -> dict[str, Addresses]:
        """All stores of these nodes, by name, each with addresses as those of a node."""
        found: dict[str, Addresses] = {}
        for node, address in addresses.items():
            for store, (peer, client) in zip(
                stores_of([node], self.cores), self._ports_of_stores(), strict=True
            ):
                found[store] = {PEER: address[peer], CLIENT_PORT: address[client]}
        return found

    def _configuration(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> dict[str, Any]:
        """What a node is told at its start."""
        data_dir = Path(plan.data_dir)
        late = self.late_nodes(all_nodes)
        founders = tuple(node for node in all_nodes if node not in late)
        join = None
        if plan.name in late:
            clients = [list(plan.reach[node][CLIENT_PORT]) for node in founders]
            address = plan.advertise.get(PEER, plan.listen[PEER])
            zone = parse_zones(str(self.options.get("zones", ""))).get(plan.name, "")
            join = {"clients": clients, "address": list(address), "zone": zone, "patience_s": JOIN_PATIENCE_S}
        return {
            "node": plan.name,
            "data_dir": str(data_dir / "store"),
            "peer_listen": list(plan.listen[PEER]),
            "client_listen": list(plan.listen[CLIENT_PORT]),
            "metrics_listen": list(plan.listen[METRICS_PORT]) if METRICS_PORT in plan.listen else None,
            "peers": {node: list(plan.reach[node][PEER]) for node in all_nodes if node != plan.name},
            "nodes": list(founders),
            "replication": min(self.replication, len(founders)),
            "ranges": self.ranges,
            "clock_file": None if plan.clock_file is None else str(plan.clock_file),
            "socks": None if plan.socks is None else list(plan.socks),
            "seed": self.seed + plan.index,
            "defect": self.defect,
            "join": join,
            "options": {"fault_points": True, **self.options},
            "more_stores": [
                {
                    "peer_listen": list(plan.listen[peer]),
                    "client_listen": list(plan.listen[client]),
                    "peers": {node: list(plan.reach[node][peer]) for node in all_nodes if node != plan.name},
                }
                for peer, client in self._ports_of_stores()[1:]
            ],
        }

    def _joining(
        self, plan: NodePlan, founders: tuple[str, ...], members: Sequence[Addresses], zone: str = ""
    ) -> dict[str, Any]:
        """What a node is told that is no founder, and asks one of these members to take it."""
        clients = [list(one[CLIENT_PORT]) for one in members]
        address = (plan.advertise or plan.listen)[PEER]
        joining = {"clients": clients, "address": list(address), "zone": zone}
        return {**self._configuration(plan, founders), "join": joining}

    def _replacing(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> dict[str, Any]:
        """The same of one that replaces another. Nobody is dialled in the place of the founder that was here."""
        nowhere = {PEER: ((plan.advertise or plan.listen)[PEER][0], DISCARD_PORT)}
        members = [plan.reach[node] for node in sorted(plan.reach)]
        joining = replace(plan, name=plan.known_as, reach={**plan.reach, plan.name: nowhere})
        config = self._joining(joining, all_nodes, members)
        return {**config, "join": {**config["join"], "patience_s": JOIN_PATIENCE_S}}

    def launch_joining(
        self, plan: NodePlan, founders: tuple[str, ...], members: Sequence[Addresses], zone: str = ""
    ) -> Launch:
        """A server process of a node that is no founder, and asks one of these members to take it."""
        return self._launch(plan, self._joining(plan, founders, members, zone))

    def launch_replacement(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """See `ReplaceableSystem`."""
        return self._launch(plan, self._replacing(plan, all_nodes))

    async def dismiss(self, addresses: Mapping[str, Addresses], gone: str) -> str:
        """See `ReplaceableSystem`: it is decommissioned."""
        state = await self.member_state(addresses, gone)
        if state in (MemberState.ACTIVE.name.lower(), MemberState.JOINING.name.lower()):
            async with asyncio.timeout(RESHAPE_TIMEOUT_S), self._client_of(addresses) as client:
                await self._told(client.decommission(gone))
            state = await self.member_state(addresses, gone)
        return state

    async def member_state(self, addresses: Mapping[str, Addresses], member: str) -> str:
        """See `ReplaceableSystem`."""
        async with asyncio.timeout(RESHAPE_TIMEOUT_S), self._client_of(addresses) as client:
            placement: Any = await self._told(client.placement())
        found = placement.find(member)
        return "unknown" if found is None else str(found.state.name.lower())

    @staticmethod
    def _client_of(addresses: Mapping[str, Addresses]) -> Client:
        if not addresses:
            raise ConnectionError("no node is up that could be asked")
        return Client([addresses[node][CLIENT_PORT] for node in sorted(addresses)])

    @staticmethod
    async def _told(answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except ClientError as error:
            raise sorted_error(error) from error

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """A server process that reads its configuration from its data folder."""
        return self._launch(plan, self._configuration(plan, all_nodes))

    @staticmethod
    def _launch(plan: NodePlan, config: dict[str, Any]) -> Launch:
        data_dir = Path(plan.data_dir)
        paths = (str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", ""))
        return Launch(
            argv=[sys.executable, "-m", "reference_db.server", "--config", str(data_dir / CONFIG_FILE)],
            env={"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"},
            files={CONFIG_FILE: json.dumps(config, indent=1).encode()},
        )

    async def run_on(
        self, host: SimulatedHost, plan: NodePlan, all_nodes: tuple[str, ...], stopping: asyncio.Event
    ) -> int:
        """The same node on a simulated host."""
        told = self._configuration if plan.replaces is None else self._replacing
        config, options = parse_config(json.dumps(told(plan, all_nodes)).encode())
        world, watcher = self._world, self._watcher

        stores = stores_of([config.node], options.cores)

        def look() -> None:
            assert world is not None
            assert watcher is not None
            for store in stores:
                tell(world, watcher.after_step(store))

        def made(store: str, program: Program) -> None:
            if world is None or watcher is None:
                return
            tell(world, watcher.attach(store, program.node))
            host.forget_by(partial(watcher.detach, store))
            host.after_step = look

        def trace(store: str) -> WorldTrace | None:
            return None if world is None else WorldTrace(world, store)

        return await serve_stores_on(host, config, options, stopping, trace=trace, made=made)

    def watch(self, world: SimulatedWorld | None) -> None:
        """The invariants of all nodes are checked from now on, and what they break is told to this world."""
        self._world = world
        self._watcher = Watcher() if world is not None and self.invariants else None

    def read_messages(self, port: str, is_dialler: bool, data: bytes) -> list[ToldMessage]:
        """See `MessageReader`; nodes only send on connections that they opened themselves."""
        if port.startswith(PEER):
            words = wire_words.between_nodes(data)
        else:
            words = wire_words.of_client(data) if is_dialler else wire_words.to_client(data)
        return [
            ToldMessage(
                one.kind,
                one.text,
                "" if one.range_id is None else str(one.range_id),
                one.term,
                str(one.request_id or ""),
            )
            for one in words
        ]

    def disk_damaged(self, node: str) -> None:
        """A fault has destroyed what was durable on this node's disk."""
        if self._watcher is not None:
            for store in stores_of([node], self.cores):
                self._watcher.forget_disk(store)

    def draw_options(self, random: Random, round_trip_ms: float) -> dict[str, Any]:
        """Timing with which elections work where a round trip takes so long, and leave a run of 20 s time for others:
        an election timeout of ten round trips or more, and 3 s at the most; heartbeats a third of it apart or less."""
        least_ms = max(200.0, 10 * round_trip_ms)
        election_ms = math.exp(random.uniform(math.log(least_ms), math.log(max(least_ms, 3000.0))))
        election_ticks = random.choice((10, 10, 15, 20))
        drawn = {
            "tick_ms": max(10, round(election_ms / election_ticks)),
            "heartbeat_ticks": random.choice((1, 2, 2, 3)),
            "election_ticks": election_ticks,
            "settled_ticks": random.choice((5, 30, 30, 100)),
            "log_entries_kept": random.choice((20, 100, 5000)),
            # A short log of few bytes, so that whoever misses some entries gets a snapshot.
            "log_bytes_most": random.choice((2000, 20_000, 64 << 20)),
            # With few, nodes are overloaded and refuse requests, in the middle of transactions too.
            "requests_most": random.choice((5000, 6, 5000, 5000, 5000, 5000, 5000, 5000)),
            # Without waiting, whoever meets an intent pushes its holder at once.
            "lock_wait_ticks": random.choice((0, 1, 1, 3)),
            "batching": random.choice((True, True, True, True, True, True, True, False)),
            "coalescing": random.choice((True, True, True, False)),
            # Both are linearizable, as far as clocks run about alike, and no fault changes that.
            "reads": random.choice(("linearizable", "lease")),
            "quiescence": random.choice((True, True, True, False)),
            # Short, so that ranges fall asleep and wake in the midst of everything.
            "election_priority": random.choice((True, True, False)),
            "elections_most": random.choice((200, 200, 1)),
            "quiesce_ticks": random.choice((1, 3, 3, 10, 30)),
            # Transactions over several ranges wait for one consensus round, or two.
            "parallel_commit": random.choice((True, False)),
            "one_range_commit": random.choice((True, True, True, False)),
        }
        if self.defect is None:
            # What keeps the promise of the default, in another way. A defect is of one protocol, and says which.
            protocol, isolation = random.choice((*[("record", "own")] * 3, ("primary-lock", "serializable")))
            drawn |= {"protocol": protocol, "isolation": isolation}
            # Small pieces, so that snapshots have many, and crashes come in between.
            drawn["snapshot_chunk_bytes"] = random.choice((500, 256 << 10))
            # Short, so that versions go while others would still read them.
            drawn["gc_ttl_ms"] = random.choice((14_400_000, 14_400_000, 20, 300, 3000))
            # Transactions of protocol primary-lock wait for one consensus round, or two.
            drawn["async_commit"] = random.choice((True, False))
            # Nodes whose clocks are further off than that measure it, and stop themselves; faults set clocks to less
            # than the one, and to more than the other.
            drawn["max_offset_ms"] = random.choice((0, 0, 250, 5000))
        return drawn

    async def status(self, address: Addresses) -> dict[str, Any]:
        """What the node says about itself; OSError (or TimeoutError) if it does not answer within half a second."""
        client = Client(address[CLIENT_PORT], timeout_s=ASK_TIMEOUT_S)
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                await client.connect()
                return await client.status()
        except ClientError as error:
            raise ConnectionError(str(error)) from error
        finally:
            client.close_now()

    async def is_ready(self, address: Addresses) -> bool:
        """The node answers, and every range of which it holds a replica has a leader that it knows."""
        try:
            states = await asyncio.gather(*map(self.status, self._stores({"it": address}).values()))
        except (OSError, TimeoutError):
            return False
        return all(one["leader"] is not None for status in states for one in status["ranges"])

    async def read_clock(self, address: Addresses) -> int | None:
        """The node's wall clock in ns as it sees it, or None."""
        try:
            return int((await self.status(address))["clock_ns"])
        except (OSError, TimeoutError):
            return None

    async def counters(self, address: Addresses) -> dict[str, int | float]:
        """See `CountingSystem`: all that `Client.status` counts."""
        states = await asyncio.gather(*map(self.status, self._stores({"it": address}).values()))
        total = dict(states[0]["counters"])
        for state in states[1:]:
            for name, count in state["counters"].items():
                total[name] = total.get(name, 0) + count
        return total

    async def leaders(self, addresses: Mapping[str, Addresses]) -> dict[str, str]:
        """Range id (as text) -> leading node; where nodes disagree, the newest term wins. Beside them `placement` ->
        the placement leader, if there is one."""
        answers = await asyncio.gather(
            *(self.status(address) for _, address in sorted(self._stores(addresses).items())),
            return_exceptions=True,
        )
        newest: dict[str, tuple[int, str]] = {}
        placement: dict[str, str] = {}
        for answer in answers:
            if isinstance(answer, BaseException):
                continue
            if (answer["placement"] or {}).get("leading"):
                placement = {"placement": str(answer["node"])}
            for one in answer["ranges"]:
                if one["leader"] is not None:
                    claim = (int(one["term"]), node_of(str(one["leader"]), self.cores))
                    newest[str(one["id"])] = max(
                        newest.get(str(one["id"]), claim), claim, key=lambda item: item[0]
                    )
        leaders = {
            range_id: leader
            for range_id, (_, leader) in sorted(newest.items(), key=lambda item: int(item[0]))
        }
        return leaders | placement

    async def reshape(
        self, addresses: Mapping[str, Addresses], kind: Reshaping, node: str, draw: int
    ) -> list[dict[str, Any]]:
        """See `harness.environments.environment.RangedSystem`."""
        if kind == "forsake":
            return [await self._forsake(addresses[node], node, draw)]
        if kind == "compact":
            return await self._compact(addresses, node)
        if kind in ("decommission", "recommission", "joined"):
            return [await self._change_member(addresses, kind, node)]
        if kind == "snapshots":
            states = await asyncio.gather(
                *(self.status(address) for _, address in sorted(self._stores(addresses).items()))
            )
            sent = sum(state["counters"]["snapshots"] for state in states)
            return [{"what": "snapshots sent", "before": None, "after": sent, "proves": True}]
        random = Random(draw)
        others = sorted(addresses.keys() - {node})
        random.shuffle(others)
        changes: dict[Reshaping, Callable[[Client, Random], AsyncIterator[dict[str, Any]]]] = {
            "split": self._split,
            "merge": self._merge,
            "move": partial(self._move, sorted(self._stores(addresses))),
            "transfer": self._transfer,
            "drain": partial(self._drain, node, sorted(self._stores(addresses))),
            "refill": partial(self._refill, node, sorted(self._stores(addresses))),
        }
        change = changes[kind]
        problem: Exception | None = None
        for asked in [node, *others] if node in addresses else others:
            stores = list(self._stores({asked: addresses[asked]}).items())
            if len(stores) > 1:
                random.shuffle(stores)
            probes: list[dict[str, Any]] = []
            for _, address in stores:
                client = Client(address[CLIENT_PORT])
                try:
                    async with asyncio.timeout(RESHAPE_TIMEOUT_S):
                        await client.connect()
                        async for probe in change(client, random):
                            probes.append(probe)
                except (OSError, ClientError) as error:
                    problem = error
                finally:
                    client.close_now()
                if probes and kind != "drain":
                    break
            # A node without a replica knows of no range that it could name.
            if probes:
                return [{**probe, "asked": asked} for probe in probes]
        if problem is not None:
            raise problem
        return []

    async def _forsake(self, address: Addresses, node: str, draw: int) -> dict[str, Any]:
        """Have some coordinators of this node die at a step, and wait until one did. Which step: the rest of the draw
        by one more than there are; the last stands for one that this node's coordinators have come to, or, where the
        quotient is odd, for whichever is come to first: where most requests are refused, few go far."""
        count, place = divmod(draw, len(STEPS) + 1)
        client = Client(address[CLIENT_PORT], timeout_s=ASK_TIMEOUT_S)
        try:
            await client.connect()
            passed = (await client.status())["coordinators_passed"]
            # What is come to more often is taken more often.
            weighted = [step for step in STEPS for _ in range(passed[step])] or list(STEPS)
            armed: Sequence[str] = STEPS[place : place + 1] or (weighted[count // 3 % len(weighted)],)
            if place == len(STEPS) and count % 2:
                armed = [step for step in STEPS if step in weighted]
            before: dict[str, int] = {}
            for step in armed:
                before |= {step: (await client.forsake(step, 1 + count % 3))[step]}
            for _ in range(FORSAKE_LOOKS):
                await asyncio.sleep(FORSAKE_S / FORSAKE_LOOKS)
                died = (await client.status())["coordinators_died"]
                if any(died[step] > before[step] for step in armed):
                    break
            for step in armed:
                died = await client.forsake(step, 0)
        finally:
            client.close_now()
        where = max(armed, key=lambda step: died[step] - before[step])
        return {
            "what": f"coordinators of {node} died at {where}",
            "before": before[where],
            "after": died[where],
            "proves": died[where] > before[where],
        }

    async def _change_member(
        self, addresses: Mapping[str, Addresses], kind: Reshaping, node: str
    ) -> dict[str, Any]:
        """Ask others what this node is in the state of placement, have it changed, and ask again."""
        others = {name: address for name, address in addresses.items() if name != node}
        before = after = await self.member_state(others, node)
        if kind == "decommission" or (kind == "recommission" and before != "decommissioned"):
            async with asyncio.timeout(RESHAPE_TIMEOUT_S), self._client_of(others) as client:
                change = client.decommission if kind == "decommission" else client.recommission
                await self._told(change(node))
            after = await self.member_state(others, node)
        proves = {
            "decommission": before == "active" and after in ("draining", "decommissioned"),
            "recommission": after in ("active", "decommissioned"),
            "joined": after in ("joining", "active"),
        }
        return {"what": f"{node} is", "before": before, "after": after, "proves": proves[kind]}

    async def _compact(self, addresses: Mapping[str, Addresses], node: str) -> list[dict[str, Any]]:
        """All nodes but this one cut their logs. It proves something if this one lacks entries that are gone now."""
        own = await asyncio.gather(*map(self.status, self._stores({node: addresses[node]}).values()))
        lasts = {one["id"]: one["last_index"] for state in own for one in state["ranges"]}
        firsts: dict[int, list[int]] = {}
        others = {other: addresses[other] for other in sorted(addresses.keys() - {node})}
        for address in self._stores(others).values():
            async with asyncio.timeout(RESHAPE_TIMEOUT_S), Client(address[CLIENT_PORT]) as client:
                for range_id, _, first in await client.cut_logs():
                    firsts.setdefault(range_id, []).append(first)
        behind = sorted(one for one, last in lasts.items() if one in firsts and min(firsts[one]) > last + 1)
        return [
            {
                "what": f"ranges of which {node} lacks entries that nobody has any more",
                "before": 0,
                "after": behind,
                "proves": bool(behind),
            }
        ]

    async def _merge(self, client: Client, random: Random) -> AsyncIterator[dict[str, Any]]:
        """Merge two neighbours among the ranges of this node. Where there are none on the same nodes, one is split for
        it."""
        pairs = await self._neighbours(client)
        if not pairs:
            async for _ in self._split(client, random):
                pass
            pairs = await self._neighbours(client)
        if not pairs:
            return
        pair = random.choice(pairs)
        after = await client.merge(pair[0].start.decode(errors="replace"))
        yield {
            "what": f"the range of {pair[0].start!r} is merged with its neighbour",
            "before": [str(RangeSeen(one.range_id, one.start, one.end, one.generation)) for one in pair],
            "after": str(after),
            "proves": after.start <= pair[0].start and (after.end is None or after.end > pair[1].start),
        }

    async def _move(self, up: Sequence[str], client: Client, random: Random) -> AsyncIterator[dict[str, Any]]:
        """Move a replica of one of this node's ranges to a node that is up and has none of it."""
        ranges = [one for one in await client.replica_states() if self._free(up, one)]
        if not ranges:
            return
        one = random.choice(ranges)
        source, target = random.choice(one.replicas), random.choice(self._free(up, one))
        yield _moved(one, source, target, await client.move(one.range_id, source, target))

    async def _transfer(self, client: Client, random: Random) -> AsyncIterator[dict[str, Any]]:
        """Let another replica of one of this node's ranges lead."""
        leaders = {one["id"]: one["leader"] for one in (await client.status())["ranges"]}
        ranges = [one for one in await client.replica_states() if len(one.replicas) > 1]
        if not ranges:
            return
        one = random.choice(ranges)
        before = leaders.get(one.range_id)
        target = random.choice([node for node in one.replicas if node != before])
        await client.transfer(one.range_id, target)
        yield {
            "what": f"leadership of range {one.range_id} is transferred",
            "before": before,
            "after": target,
            "proves": True,
        }

    async def _drain(
        self, node: str, up: Sequence[str], client: Client, random: Random
    ) -> AsyncIterator[dict[str, Any]]:
        """Move everything that a node holds to others that are up."""
        moves = []
        for one in await client.replica_states():
            source = next((store for store in one.replicas if self._is_on(node, store)), None)
            free = self._free(up, one)
            if source is not None and free:
                moves.append((one, source, random.choice(free)))
        async for probe in _moves(client, moves):
            yield probe

    async def _refill(
        self, node: str, up: Sequence[str], client: Client, random: Random
    ) -> AsyncIterator[dict[str, Any]]:
        """Move a replica of each of a few ranges to a node, from whoever has one."""
        stores = [store for store in up if self._is_on(node, store)]
        if not stores:
            return
        ranges = [
            one
            for one in await client.replica_states()
            if not any(self._is_on(node, store) for store in one.replicas)
        ]
        random.shuffle(ranges)
        moves = []
        for one in ranges[:REFILLED_MOST]:
            source = random.choice(one.replicas)
            moves.append((one, source, stores[0] if len(stores) == 1 else random.choice(stores)))
        async for probe in _moves(client, moves):
            yield probe

    def _is_on(self, node: str, store: str) -> bool:
        return node_of(store, self.cores) == node

    def _free(self, stores: Sequence[str], one: ReplicaState) -> list[str]:
        """Which of these stores are on nodes that have no replica of a range."""
        taken = {node_of(store, self.cores) for store in one.replicas}
        return sorted(store for store in stores if node_of(store, self.cores) not in taken)

    async def _neighbours(self, client: Client) -> list[tuple[ReplicaState, ReplicaState]]:
        ranges = sorted(await client.replica_states(), key=lambda one: one.start)
        return [(one, other) for one, other in pairwise(ranges) if one.end == other.start]

    async def _split(self, client: Client, random: Random) -> AsyncIterator[dict[str, Any]]:
        """Split a range of this node, any of which may be chosen, at a key that exists."""
        ranges = await client.replica_states()
        random.shuffle(ranges)
        for one in ranges:
            start, end = one.start.decode(errors="replace"), (one.end or b"").decode(errors="replace")
            keys = [key for key, _ in await client.scan(start, end, KEYS_LOOKED_AT) if key != start]
            if keys:
                key = random.choice(keys)
                after = await client.split(key)
                before = RangeSeen(one.range_id, one.start, one.end, one.generation)
                yield {
                    "what": f"the range of {key!r} is split there",
                    "before": str(before),
                    "after": [str(one) for one in after],
                    "proves": len(after) == 2,
                }
                return

    async def final_states(
        self, addresses: Mapping[str, Addresses], *, digests: bool
    ) -> tuple[list[FinalState], list[str]]:
        """See `harness.systems.system.AuditedSystem`."""
        if digests:
            self._audit()
        stores = self._stores(addresses)
        names = sorted(stores)
        answers = await asyncio.gather(
            *(self._replica_states(name, stores[name], digests) for name in names), return_exceptions=True
        )
        states: list[FinalState] = []
        silent: list[str] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, (OSError, TimeoutError)):
                silent.append(name)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                states += answer
        return states, silent

    def _audit(self) -> None:
        """In a simulated world everything that was ever committed is known: nothing else may be there at the end, and
        nothing of it may be gone."""
        if self._world is None or self._watcher is None:
            return
        for node, range_id, held, written in self._watcher.held_and_written():
            sentences = audit_provenance(node, range_id, held, written)
            sentences += self._watcher.provenance.audit_writers(range_id, held)
            if sentences:
                self._world.found("audit", "version provenance", "\n".join(sentences), node, range_id)
        told = self._watcher.provenance.audit_outcomes()
        if told:
            self._world.found("audit", "what clients were told", "\n".join(told), None, None)

    async def _replica_states(self, node: str, address: Addresses, digests: bool) -> list[FinalState]:
        """What one node holds. Raises OSError or TimeoutError where it does not answer."""
        limit_s = DIGEST_TIMEOUT_S if digests else ASK_TIMEOUT_S
        client = Client(address[CLIENT_PORT], timeout_s=limit_s)
        try:
            async with asyncio.timeout(limit_s):
                await client.connect()
                replicas = await client.replica_states(digests=digests)
        except ClientError as error:
            raise ConnectionError(str(error)) from error
        finally:
            client.close_now()
        return [
            FinalState(
                node=node,
                range=str(one.range_id),
                replicas=one.replicas,
                term=one.term,
                applied=one.applied,
                locks=one.locks,
                records=one.records,
                digest=one.digest,
            )
            for one in replicas
        ]

    async def open_session(self, address: Addresses, node: str) -> ReferenceSession:
        """A connection to this node. Raises Definite where it cannot be made."""
        client = Client(address[CLIENT_PORT], timeout_s=self.timeout_s)
        try:
            await client.connect()
        except (OSError, ClientError) as error:
            client.close_now()
            raise Definite("refused", f"cannot connect to {node}: {error}") from error
        except BaseException:
            client.close_now()
            raise
        if not self._repeats:
            return ReferenceSession(client, client, self.interfaces, self._commit_origin)
        writer = WriteSession(client, is_blind=self._sessions == "blind")
        return ReferenceSession(client, writer, self.interfaces, self._commit_origin)


async def _moves(
    client: Client, moves: Iterable[tuple[ReplicaState, str, str]]
) -> AsyncIterator[dict[str, Any]]:
    """Carries out moves of a range's replica from a store to another. One that is refused does not keep the others from
    being tried; if all are, the last refusal is raised."""
    refusal: ClientError | None = None
    has_moved = False
    for one, source, target in moves:
        try:
            after = await client.move(one.range_id, source, target)
        except ClientError as error:
            refusal = error
        else:
            has_moved = True
            yield _moved(one, source, target, after)
    if refusal is not None and not has_moved:
        raise refusal


def _moved(before: ReplicaState, source: str, target: str, after: RangeSeen) -> dict[str, Any]:
    """The probe of a move."""
    return {
        "what": f"range {before.range_id} is moved from {source} to {target}",
        "before": list(before.replicas),
        "after": list(after.replicas),
        "proves": target in after.replicas and source not in after.replicas,
    }


class ReferenceSession:
    """One client connection, in the words of workloads."""

    def __init__(
        self, client: Client, writer: Client | WriteSession, interfaces: frozenset[str], origin: Origin
    ) -> None:
        """`writer` carries out single writes; commit timestamps are counted from `origin`."""
        self._commit_times = CommitTimes(origin)
        self._client = client
        self._writer = writer
        self.interfaces = interfaces

    async def close(self) -> None:
        """Close the connection at once, whatever is under way."""
        self._client.close_now()

    async def get(self, key: str) -> Any:
        """See `workloads.session.KeyValue`."""
        try:
            return await self._client.get(key)
        except ClientError as error:
            raise sorted_error(error) from error

    async def get_as(self, key: str, consistency: str, max_staleness_ms: int) -> Any:
        """See `workloads.session.ReadsByChoice`."""
        try:
            return await self._client.get(key, consistency, max_staleness_ms)
        except ClientError as error:
            raise sorted_error(error) from error

    async def get_many_as(self, keys: Sequence[str], consistency: str, max_staleness_ms: int) -> list[Any]:
        """See `workloads.session.ReadsByChoice`."""
        try:
            return await self._client.get_many(keys, consistency, max_staleness_ms)
        except ClientError as error:
            raise sorted_error(error) from error

    async def put(self, key: str, value: Any) -> None:
        """See `workloads.session.KeyValue`."""
        try:
            await self._writer.put(key, value)
        except ClientError as error:
            raise sorted_error(error) from error

    async def delete(self, key: str) -> None:
        """See `workloads.session.KeyValue`."""
        try:
            await self._writer.delete(key)
        except ClientError as error:
            raise sorted_error(error) from error

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        """See `workloads.session.CompareAndSet`."""
        try:
            return await self._writer.compare_and_set(key, expected, new)
        except ClientError as error:
            raise sorted_error(error) from error

    async def add(self, counter: str, amount: int) -> None:
        """See `workloads.session.Counter`."""
        try:
            await self._writer.add(counter, amount)
        except ClientError as error:
            raise sorted_error(error) from error

    async def count(self, counter: str) -> int:
        """See `workloads.session.Counter`."""
        return int(await self.get(counter) or 0)

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Any]]:
        """See `workloads.session.Scan`."""
        try:
            return await self._client.scan(start, end, limit)
        except ClientError as error:
            raise sorted_error(error) from error

    async def transact_write(self, items: Sequence[WriteItem], token: str) -> None:
        """See `workloads.session.TransactWrite`."""
        wished = []
        for one in items:
            exists = True if one.must_exist else False if one.must_not_exist else None
            wished.append(
                Item.update(one.key, one.elements, exists=exists)
                if one.elements
                else Item.check(one.key, exists=exists)
            )
        try:
            await self._client.transact_write(wished, token)
        except ClientError as error:
            raise sorted_error(error) from error

    async def retried(self, work: Callable[[Any], Awaitable[Any]], token: str) -> Any:
        """See `workloads.session.RetriedTransactions`."""
        try:
            return await self._client.transact(work, token=token)
        except ClientError as error:
            raise sorted_error(error) from error

    async def merge(self, key: str) -> RangeSeen:
        """Merge the range of a key with its right neighbour. No workload's verb."""
        try:
            return await self._client.merge(key)
        except ClientError as error:
            raise sorted_error(error) from error

    async def move(self, range_id: int, source: str, target: str) -> RangeSeen:
        """Move a range's replica from one node to another. No workload's verb."""
        try:
            return await self._client.move(range_id, source, target)
        except ClientError as error:
            raise sorted_error(error) from error

    async def transfer(self, range_id: int, target: str) -> RangeSeen:
        """Let a node lead a range. No workload's verb."""
        try:
            return await self._client.transfer(range_id, target)
        except ClientError as error:
            raise sorted_error(error) from error

    async def place(self, wish: str, node: str) -> str:
        """`decommission` or `recommission` a node; what it is then. No workload's verb."""
        change = self._client.decommission if wish == "decommission" else self._client.recommission
        try:
            member = (await change(node)).find(node)
        except ClientError as error:
            raise sorted_error(error) from error
        return f"{node} is {'no member' if member is None else member.state.name.lower()}"

    async def split(self, key: str) -> list[RangeSeen]:
        """Cut the range of a key in two before it. No workload's verb."""
        try:
            return await self._client.split(key)
        except ClientError as error:
            raise sorted_error(error) from error

    def transaction(self) -> ReferenceTransaction:
        """See `workloads.session.Transactions`."""
        return ReferenceTransaction(self._client.transaction(), self._commit_times)

    def take_commit_time(self) -> int | None:
        """See `workloads.session.TellsCommitTimes`."""
        return self._commit_times.take()


class ReferenceTransaction:
    """One interactive transaction; commits where its block ends normally."""

    def __init__(self, transaction: ClientTransaction, commit_times: CommitTimes) -> None:
        self._transaction = transaction
        self._commit_times = commit_times

    async def __aenter__(self) -> ReferenceTransaction:
        try:
            await self._transaction.begin()
        except ClientError as error:
            raise Definite(error.kind, error.text) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._transaction.abandon()
            return
        try:
            await self._transaction.commit()
        except ClientError as failure:
            raise sorted_error(failure) from failure
        self._commit_times.note(self._transaction.committed_at)

    async def get(self, key: str) -> Any:
        """See `workloads.session.Transaction`."""
        try:
            return await self._transaction.get(key)
        except ClientError as error:
            raise Definite(error.kind, error.text) from error

    async def get_many(self, keys: Sequence[str]) -> list[Any]:
        """The values of several keys, in their order, in one round trip."""
        try:
            return await self._transaction.get_many(keys)
        except ClientError as error:
            raise Definite(error.kind, error.text) from error

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Any]]:
        """See `workloads.session.ReadsRanges`."""
        try:
            return await self._transaction.scan(start, end, limit)
        except ClientError as error:
            raise Definite(error.kind, error.text) from error

    async def put(self, key: str, value: Any) -> None:
        """See `workloads.session.Transaction`."""
        try:
            await self._transaction.put(key, value)
        except ClientError as error:
            raise Definite(error.kind, error.text) from error

    async def delete(self, key: str) -> None:
        """See `workloads.session.Transaction`."""
        try:
            await self._transaction.delete(key)
        except ClientError as error:
            raise Definite(error.kind, error.text) from error
