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
from collections.abc import Callable, Iterable, Mapping, Sequence
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
)
from harness.systems.system import DefectSheet, FinalState
from nemesis.cluster import Reshaping
from reference_db.api import ReplicaState
from reference_db.audits import audit_provenance
from reference_db.client import Client, ClientError, RangeSeen
from reference_db.client import Transaction as ClientTransaction
from reference_db.defects import defect_names, describe, describe_own
from reference_db.invariants import Violation, Watcher
from reference_db.node import NodeOptions
from reference_db.server.config import parse_config
from reference_db.server.hosted import serve_on
from reference_db.server.program import Program, StartFailed, load_defect
from reference_db.trace import MARKS
from workloads.session import (
    CHOSEN_READS,
    COMPARE_AND_SET,
    KEY_VALUE,
    SCAN,
    TRANSACTIONAL_SCAN,
    TRANSACTIONS,
    Definite,
    Indefinite,
    SessionError,
)

CONFIG_FILE = "node.json"
ASK_TIMEOUT_S = 0.5
"""How long a node may be silent before it counts as not answering questions about itself."""

DIGEST_TIMEOUT_S = 30.0
"""How long a node may take to read all its data for digests."""

RESHAPE_TIMEOUT_S = 3.0
"""How long a change of ranges may take."""
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
    "reads (linearizable, lease, bounded, stale), max_staleness_ms, leases (on or off), closed_timestamp_ticks, "
    "tick_ms, election_ticks, heartbeat_ticks, timeout_ms, batching, coalescing and quiescence (on or off), "
    "quiesce_ticks, storm_control, election_jitter and election_priority (on or off), elections_most, handovers_most"
)


def defect_sheets() -> dict[str, DefectSheet]:
    """Every planted defect by name, with what the harness should know to find it."""
    sheets = {}
    for name in defect_names():
        defect = describe(name)
        sheets[name] = msgspec.convert(msgspec.to_builtins(defect), DefectSheet)
    return sheets


def own_defect_sheet(name: str) -> DefectSheet:
    """What is known of a defect from elsewhere, `module:attribute`. Raises ValueError if there is none."""
    return msgspec.convert(msgspec.to_builtins(describe_own(name)), DefectSheet)


def planted_defects() -> dict[str, str]:
    """Every planted defect by name, with its caption."""
    return {name: sheet.caption for name, sheet in defect_sheets().items()}


def directed_story(story: str, *, planted: bool) -> list[str]:
    """What a directed story shows that must never be, in sentences; none without its defect."""
    directed: Callable[[bool], list[str]] = importlib.import_module(f"reference_db.directed.{story}").directed
    return directed(planted)


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
    ports = (PEER, CLIENT_PORT)
    supports = frozenset({"clock", "leaders", "ranges"})
    clock_port = True
    environments = None
    interfaces = frozenset({KEY_VALUE, COMPARE_AND_SET, SCAN, TRANSACTIONS, TRANSACTIONAL_SCAN, CHOSEN_READS})
    log_patterns = LOG_PATTERNS
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
        if defect is not None and ":" not in defect and defect not in self.defects:
            raise ValueError(f"unknown defect {defect!r}; the defects are {', '.join(self.defects)}")
        try:
            checked = msgspec.convert(self.options, type=NodeOptions)
        except msgspec.ValidationError as error:
            raise ValueError(
                f"system option of reference-db: {error}; the options are {HEALTHY_OPTIONS}"
            ) from error
        problems = checked.problems()
        if problems:
            raise ValueError("system options of reference-db: " + "; ".join(problems))
        self.timeout_s = checked.timeout_ms / 1000

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

    def _configuration(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> dict[str, Any]:
        """What a node is told at its start."""
        data_dir = Path(plan.data_dir)
        return {
            "node": plan.name,
            "data_dir": str(data_dir / "store"),
            "peer_listen": list(plan.listen[PEER]),
            "client_listen": list(plan.listen[CLIENT_PORT]),
            "peers": {node: list(plan.reach[node][PEER]) for node in all_nodes if node != plan.name},
            "nodes": list(all_nodes),
            "replication": min(self.replication, len(all_nodes)),
            "ranges": self.ranges,
            "clock_file": None if plan.clock_file is None else str(plan.clock_file),
            "seed": self.seed + plan.index,
            "defect": self.defect,
            "options": self.options,
        }

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """A server process that reads its configuration from its data folder."""
        data_dir = Path(plan.data_dir)
        config = self._configuration(plan, all_nodes)
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
        config, options = parse_config(json.dumps(self._configuration(plan, all_nodes)).encode())
        world, watcher = self._world, self._watcher

        def made(program: Program) -> None:
            if world is None or watcher is None:
                return
            tell(world, watcher.attach(plan.name, program.node))
            host.after_step = lambda: tell(world, watcher.after_step(plan.name))

        trace = None if world is None else WorldTrace(world, plan.name)
        return await serve_on(host, config, options, stopping, trace=trace, made=made)

    def watch(self, world: SimulatedWorld | None) -> None:
        """The invariants of all nodes are checked from now on, and what they break is told to this world."""
        self._world = world
        self._watcher = Watcher() if world is not None and self.invariants else None

    def disk_damaged(self, node: str) -> None:
        """A fault has destroyed what was durable on this node's disk."""
        if self._watcher is not None:
            self._watcher.forget_disk(node)

    def draw_options(self, random: Random, round_trip_ms: float) -> dict[str, Any]:
        """Timing with which elections work where a round trip takes so long, and leave a run of 20 s time for others:
        an election timeout of ten round trips or more, and 3 s at the most; heartbeats a third of it apart or less."""
        least_ms = max(200.0, 10 * round_trip_ms)
        election_ms = math.exp(random.uniform(math.log(least_ms), math.log(max(least_ms, 3000.0))))
        election_ticks = random.choice((10, 10, 15, 20))
        return {
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
        }

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
            status = await self.status(address)
        except (OSError, TimeoutError):
            return False
        return all(one["leader"] is not None for one in status["ranges"])

    async def read_clock(self, address: Addresses) -> int | None:
        """The node's wall clock in ns as it sees it, or None."""
        try:
            return int((await self.status(address))["clock_ns"])
        except (OSError, TimeoutError):
            return None

    async def leaders(self, addresses: Mapping[str, Addresses]) -> dict[str, str]:
        """Range id (as text) -> leading node; where nodes disagree, the newest term wins."""
        answers = await asyncio.gather(
            *(self.status(address) for _, address in sorted(addresses.items())), return_exceptions=True
        )
        newest: dict[str, tuple[int, str]] = {}
        for answer in answers:
            if isinstance(answer, BaseException):
                continue
            for one in answer["ranges"]:
                if one["leader"] is not None:
                    claim = (int(one["term"]), str(one["leader"]))
                    newest[str(one["id"])] = max(
                        newest.get(str(one["id"]), claim), claim, key=lambda item: item[0]
                    )
        return {
            range_id: leader
            for range_id, (_, leader) in sorted(newest.items(), key=lambda item: int(item[0]))
        }

    async def reshape(
        self, addresses: Mapping[str, Addresses], kind: Reshaping, node: str, draw: int
    ) -> list[dict[str, Any]]:
        """See `harness.environments.environment.RangedSystem`."""
        random = Random(draw)
        others = sorted(addresses.keys() - {node})
        random.shuffle(others)
        change = self._split if kind == "split" else self._merge
        problem: Exception | None = None
        for asked in [node, *others] if node in addresses else others:
            client = Client(addresses[asked][CLIENT_PORT])
            try:
                async with asyncio.timeout(RESHAPE_TIMEOUT_S):
                    await client.connect()
                    probes = await change(client, random)
            except (OSError, ClientError) as error:
                problem = error
                continue
            finally:
                client.close_now()
            # A node without a replica knows of no range that it could name.
            if probes:
                return [{**probe, "asked": asked} for probe in probes]
        if problem is not None:
            raise problem
        return []

    async def _merge(self, client: Client, random: Random) -> list[dict[str, Any]]:
        """Merge two neighbours among the ranges of this node. Where there are none on the same nodes, one is split for
        it."""
        pairs = await self._neighbours(client)
        if not pairs:
            await self._split(client, random)
            pairs = await self._neighbours(client)
        if not pairs:
            return []
        pair = random.choice(pairs)
        after = await client.merge(pair[0].start.decode(errors="replace"))
        return [
            {
                "what": f"the range of {pair[0].start!r} is merged with its neighbour",
                "before": [str(RangeSeen(one.range_id, one.start, one.end, one.generation)) for one in pair],
                "after": str(after),
                "proves": after.start <= pair[0].start and (after.end is None or after.end > pair[1].start),
            }
        ]

    async def _neighbours(self, client: Client) -> list[tuple[ReplicaState, ReplicaState]]:
        ranges = sorted(await client.replica_states(), key=lambda one: one.start)
        return [
            (one, other)
            for one, other in pairwise(ranges)
            if one.end == other.start and sorted(one.replicas) == sorted(other.replicas)
        ]

    async def _split(self, client: Client, random: Random) -> list[dict[str, Any]]:
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
                return [
                    {
                        "what": f"the range of {key!r} is split there",
                        "before": str(before),
                        "after": [str(one) for one in after],
                        "proves": len(after) == 2,
                    }
                ]
        return []

    async def final_states(
        self, addresses: Mapping[str, Addresses], *, digests: bool
    ) -> tuple[list[FinalState], list[str]]:
        """See `harness.systems.system.AuditedSystem`."""
        if digests:
            self._audit()
        nodes = sorted(addresses)
        answers = await asyncio.gather(
            *(self._replica_states(node, addresses[node], digests) for node in nodes), return_exceptions=True
        )
        states: list[FinalState] = []
        silent: list[str] = []
        for node, answer in zip(nodes, answers, strict=True):
            if isinstance(answer, (OSError, TimeoutError)):
                silent.append(node)
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
            if sentences:
                self._world.found("audit", "version provenance", "\n".join(sentences), node, range_id)

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
        return ReferenceSession(client)


class ReferenceSession:
    """One client connection, in the words of workloads."""

    interfaces = ReferenceDatabase.interfaces

    def __init__(self, client: Client) -> None:
        self._client = client

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
            await self._client.put(key, value)
        except ClientError as error:
            raise sorted_error(error) from error

    async def delete(self, key: str) -> None:
        """See `workloads.session.KeyValue`."""
        try:
            await self._client.delete(key)
        except ClientError as error:
            raise sorted_error(error) from error

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        """See `workloads.session.CompareAndSet`."""
        try:
            return await self._client.compare_and_set(key, expected, new)
        except ClientError as error:
            raise sorted_error(error) from error

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Any]]:
        """See `workloads.session.Scan`."""
        try:
            return await self._client.scan(start, end, limit)
        except ClientError as error:
            raise sorted_error(error) from error

    async def merge(self, key: str) -> RangeSeen:
        """Merge the range of a key with its right neighbour. No workload's verb."""
        try:
            return await self._client.merge(key)
        except ClientError as error:
            raise sorted_error(error) from error

    async def split(self, key: str) -> list[RangeSeen]:
        """Cut the range of a key in two before it. No workload's verb."""
        try:
            return await self._client.split(key)
        except ClientError as error:
            raise sorted_error(error) from error

    def transaction(self) -> ReferenceTransaction:
        """See `workloads.session.Transactions`."""
        return ReferenceTransaction(self._client.transaction())


class ReferenceTransaction:
    """One interactive transaction; commits where its block ends normally."""

    def __init__(self, transaction: ClientTransaction) -> None:
        self._transaction = transaction

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
