"""A whole node: store, gateway and clock, run by coroutines on whatever loop, clock, network and engine it is given.

The server gives it sockets, a sync thread and RocksDB; tests and the simulation give it virtual ones. This file uses
asyncio's futures, tasks and timers of the running loop and nothing else of the outside world.

Rules that live here: nothing leaves the node while its clock is ahead of what is durable (`HybridClock`); a peer gets
one frame per turn; no two lives of a node draw the same random numbers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Literal, Protocol

from reference_db.api import (
    MAX_WRITE_BYTES,
    SYSTEM_END,
    Add,
    Added,
    Ambiguous,
    BadRequest,
    BeginTransaction,
    ClientAdd,
    ClientCompareAndSet,
    ClientDelete,
    ClientForsake,
    ClientGet,
    ClientGetMany,
    ClientGetVersion,
    ClientMerge,
    ClientMove,
    ClientOperation,
    ClientPlacement,
    ClientPut,
    ClientReply,
    ClientRequest,
    ClientScan,
    ClientSplit,
    ClientTransactWrite,
    ClientTransfer,
    CommitTransaction,
    CompareAndSet,
    Compared,
    Consistency,
    CutLogs,
    Delete,
    Get,
    IntentConflict,
    NotLeader,
    OpenSession,
    Overloaded,
    Pushed,
    Put,
    RangeMismatch,
    RangeReply,
    RangeRequest,
    ReadUncertain,
    ReplicaState,
    ReplicaStates,
    RollbackTransaction,
    Scan,
    SessionWrite,
    SnapshotTooOld,
    Status,
    TimedOut,
    TransactionAborted,
    Unavailable,
    ValueResult,
)
from reference_db.codec import Followed, FrameError, PeerFrame, PeerMessage, encode_peer_frames
from reference_db.gateway.chosen_reads import ChosenReads
from reference_db.gateway.clock_offsets import ClockOffsetExceeded, ClockOffsets, measured
from reference_db.gateway.collector import HELD_TTLS, Collector, OpenReads
from reference_db.gateway.coordinator import ISOLATIONS, PROTOCOLS, Coordinator
from reference_db.gateway.directory import Directory
from reference_db.gateway.fault_points import FaultPoints, Forsaken
from reference_db.gateway.members import Members, read_members
from reference_db.gateway.moving import Mover
from reference_db.gateway.open_transaction import Failed, OpenTransaction
from reference_db.gateway.placing import LOOK_S, Placer, PlacingOptions
from reference_db.gateway.protocols.deciding import DELETE_RECORDS_S, HEARTBEAT_S
from reference_db.gateway.pusher import Pusher
from reference_db.gateway.reporting import REPORT_RANGE, Reporter
from reference_db.gateway.reshaping import Reshaper
from reference_db.gateway.router import ATTEMPT_S, LOST, Router
from reference_db.gateway.session_writes import SessionWrites
from reference_db.gateway.shaping import Shaper
from reference_db.gateway.sweeper import Sweeper
from reference_db.gateway.transact_write import TokenKeeper, TransactWriter
from reference_db.metrics import Sources, read_metrics
from reference_db.placement.leaders import choose_handovers
from reference_db.placement.shapes import Limits
from reference_db.placement.state import Placement, encode_placement, founded, parse_zones
from reference_db.raft import Message, MessageKind
from reference_db.raft.progress import ProgressState
from reference_db.ranges.closed_timestamps import Closings
from reference_db.ranges.descriptor import Descriptor, bootstrap
from reference_db.ranges.heartbeats import Heartbeats
from reference_db.ranges.options import StoreOptions, Switch, is_on
from reference_db.ranges.replica import Replica
from reference_db.ranges.store import Store, bootstrap_store
from reference_db.storage import keys
from reference_db.storage.engine import Engine
from reference_db.storage.range_digest import digest_at_once, digest_in_steps
from reference_db.timestamp import ZERO, HybridClock, Timestamp
from reference_db.trace import Trace

OPEN_TRANSACTIONS_MOST = 1000
"""Interactive transactions of one client connection."""
CLIENT_REQUESTS_MOST = 10_000
"""Client requests that one node has under way, above which more are refused as overloaded."""
BOUND_MARGIN_NS = 1_000_000_000
"""A turn is run, if only for that, when less than this is left of the clock's durable window."""
KEEPALIVE_TICKS = 10
"""A peer to which nothing was sent for so many ticks gets an empty frame: a sign of life, and of the clock. Where
ranges sleep, these stand for their heartbeats, and are as frequent."""
TELL_AGAIN_TICKS = 10
"""What another node should know already is told again after so many ticks: a frame may be lost without a link's end."""

SHAPE_S = 1.0
"""How often a node looks whether ranges should be split or merged."""
PLACE_S = 0.5
"""How often a node looks which ranges it should hand over."""
CLOCK_RANGE = 0
"""No range has this id: a request for it asks for nothing but an answer, which carries the node's clock."""
WALL_CLOCK = 1
"""The generation of such a request that asks for the node's wall clock in place of its hybrid one."""
NEEDED = 2
"""And of one that asks below which timestamp no transaction of the node reads any more."""
DRAIN_S = 0.5
"""How long a planned stop waits for others to take over."""
DRAIN_LOOKS = 50
CUT_LOOKS = 1000
"""How often it is looked whether no turn waits for its sync, before logs are not cut after all."""
DIGEST_ATTEMPTS = 3
"""How often a digest is begun anew because something was applied meanwhile, before it is taken in one go."""
RECENTLY_S = 0.5
"""A node that was heard of within this is expected to answer."""
OBSERVE_FIRST_S = 0.03
"""How long it waits for the nodes that were heard last, before it asks the others too."""
OBSERVE_S = 0.3
"""How long a transaction waits for other nodes' clocks before it reads with uncertainty."""

READS: dict[str, Consistency] = {one.name.lower(): one for one in Consistency}
"""What reads may promise, as options name it."""
_LINEARIZABLE, _LEASE = Consistency.LINEARIZABLE, Consistency.LEASE

DoneWithClient = Callable[[ClientReply], None]


class Transport(Protocol):
    """How frames reach other nodes. Frames of one sender arrive in order, or not at all."""

    def is_up(self, node: str) -> bool:
        """Whether there is a connection, as far as is known."""

    def send(self, node: str, frame: bytes) -> bool:
        """Hand over a frame. False: certainly not sent."""

    def add_peer(self, node: str, address: tuple[str, int] | None) -> None:
        """There is another node, at this address; again and again, if need be."""


class SyncExecutor(Protocol):
    """How written batches become durable without stopping the loop."""

    def sync(self, done: Callable[[], None]) -> None:
        """Make what the engine was given so far durable, then call `done` on the loop. One at a time."""


class NodeOptions(StoreOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node can be set to; see `StoreOptions` for the rest."""

    reads: str = "linearizable"
    """What a read outside of transactions promises where its client doesn't say: one of `READS`."""
    max_staleness_ms: int = 1000
    """How stale a bounded read may be where its client doesn't say."""
    protocol: str = "record"
    """What a transaction follows where its client doesn't say: one of `PROTOCOLS`."""
    isolation: str = "own"
    """What a transaction is promised where its client doesn't say: one of `ISOLATIONS`."""
    parallel_commit: Switch = False
    """Protocol `record`: a commit over several ranges waits for one consensus round, not two."""
    one_range_commit: Switch = True
    """Protocol `record`: a commit in one range is one log entry, without intents and a record."""
    async_commit: Switch = False
    """Protocol `primary-lock`: a transaction's locks are its commit, one round before the answer."""
    fault_points: Switch = False
    """Whether clients may have coordinators die at a step of their choice; for tests (`gateway/fault_points.py`)."""
    sessions: Switch | Literal["blind"] = False
    """What clients of workloads do with a single write whose outcome they have not heard: never send it again (off);
    again, as a write of their session, so that it happens once (on); or just again, and it may happen twice (blind)."""
    timeout_ms: int = 4000
    """How long a client's request may take if the client doesn't say."""
    max_offset_ms: int = 0
    """A node whose wall clock is further than this from most others' stops itself; 0: nobody measures."""
    offset_interval_ms: int = 1000
    """How often that is measured, and so how long it may go unnoticed."""
    gc_ttl_ms: int = 14_400_000
    """How long versions that newer ones hide are kept at least, for reads that began before; 0: for ever."""
    token_ms: int = 600_000
    """How long the token of a `transact_write` is remembered, at least."""
    zones: str = ""
    """With `placement`: which node is where, `n1:eu/n2:us/n3:us`; replicas of a range spread over zones."""
    leader_zones: str = ""
    """With `placement`: where leaders should be, `eu/us`."""
    follow_workload: Switch = False
    """With `placement`: leaders go to the zone from which most requests for their ranges come."""
    dead_after_ms: int = 60_000
    """With `placement`: replicas on a node that has been silent for so long go to others."""
    placement_moves: int = 2
    """With `placement`: replicas that it moves at once."""

    def problems(self) -> list[str]:
        """What is wrong, one sentence each."""
        wrong = super().problems()
        if self.reads not in READS:
            wrong.append(f"reads is {self.reads!r}: the ways offered are {', '.join(READS)}")
        for name, offered in (("protocol", PROTOCOLS), ("isolation", ISOLATIONS)):
            if getattr(self, name) not in offered:
                wrong.append(f"{name} is {getattr(self, name)!r}: offered are {', '.join(offered)}")
        if self.cores > 1 and is_on(self.placement):
            wrong.append("placement does not know of cores yet: leave one of them out")
        if not 1 <= self.max_staleness_ms <= 600_000:
            wrong.append(f"max_staleness_ms is {self.max_staleness_ms}: it must be between 1 and 600000")
        if not 10 <= self.timeout_ms <= 600_000:
            wrong.append(f"timeout_ms is {self.timeout_ms}: it must be between 10 and 600000")
        if not 0 <= self.max_offset_ms <= 3_600_000:
            wrong.append(f"max_offset_ms is {self.max_offset_ms}: it must be between 0 and 3600000")
        if not 50 <= self.offset_interval_ms <= 600_000:
            wrong.append(f"offset_interval_ms is {self.offset_interval_ms}: it must be between 50 and 600000")
        if self.gc_ttl_ms and not 20 <= self.gc_ttl_ms <= 864_000_000:
            wrong.append(f"gc_ttl_ms is {self.gc_ttl_ms}: it must be 0, or between 20 and 864000000")
        for name, least, most in (
            ("token_ms", 100, 86_400_000),
            ("dead_after_ms", 2000, 86_400_000),
            ("placement_moves", 0, 1000),
        ):
            if not least <= getattr(self, name) <= most:
                wrong.append(f"{name} is {getattr(self, name)}: it must be between {least} and {most}")
        try:
            zones = set(parse_zones(self.zones).values())
        except ValueError as error:
            wrong.append(str(error))
        else:
            unknown = [zone for zone in self.leader_zones.split("/") if zone and zone not in zones]
            if unknown:
                wrong.append(f"leader_zones names {', '.join(unknown)}: no node is there according to zones")
        return wrong


class ClientConnection:
    """What a node keeps for one client connection: its open transactions, by the id of the request that began them."""

    __slots__ = ("transactions",)

    def __init__(self) -> None:
        self.transactions: dict[int, OpenTransaction] = {}


class Node:
    """One member of a cluster. `start` before anything else; `stop` ends it like a crash, apart from the disk."""

    def __init__(
        self,
        *,
        name: str,
        nodes: Sequence[str],
        replication: int,
        ranges: int,
        engine: Engine,
        transport: Transport,
        syncer: SyncExecutor,
        wall_ns: Callable[[], int],
        random_stream: random.Random,
        options: NodeOptions | None = None,
        trace: Trace | None = None,
        notice: Callable[[str, str], None] | None = None,
        alarm: Callable[[str, str], None] | None = None,
        monotonic_ns: Callable[[], int] | None = None,
        joining: Placement | None = None,
    ) -> None:
        """`nodes` are those that founded the cluster, in the same order everywhere: a node's place is its Raft id. One
        that is none of them begins with the state of placement that names it (`joining`). `random_stream` may be
        the same for all nodes and all their lives. `notice(area, text)` hears what a log should keep: seldom things;
        `alarm(area, text)` what somebody must do something about. `monotonic_ns` measures leases and staleness: it
        never stands still, and is read anew each time (by default the loop's). Raises ValueError if the engine belongs
        to another node, or the node is no member."""
        self.name = name
        self._replication = replication
        self.options = options if options is not None else NodeOptions()
        self._engine = engine
        descriptors = bootstrap(ranges, nodes, replication, self.options.cores)
        bootstrap_store(engine, name, nodes, descriptors)
        zones, leader_zones = parse_zones(self.options.zones), self.options.leader_zones.split("/")
        founding = founded(nodes, replication, zones, [*filter(None, leader_zones)])
        known = read_members(engine, founding if joining is None else joining)
        if known.find(name) is None:
            raise ValueError(
                f"{name} is no member: the nodes are {', '.join(one.name for one in known.members)}"
            )
        self.nodes = tuple(one.name for one in known.members)
        """Everybody that there ever was, in the order of their Raft ids."""
        self._counted = known.counted
        """Those among whom the replicas of any range are."""
        self._names = dict(enumerate(self.nodes, 1))
        self._raft_ids = {node: number for number, node in self._names.items()}
        self._transport = transport
        self._syncer = syncer
        self._wall_ns = wall_ns
        self._trace = trace
        self._notice = notice
        self._alarm: Callable[[str, str], None] = alarm if alarm is not None else lambda _area, _text: None
        loop = self._loop = asyncio.get_running_loop()
        self._monotonic_ns = monotonic_ns if monotonic_ns is not None else lambda: int(loop.time() * 1e9)
        self._stopped = False
        self._tasks: dict[asyncio.Task[None], None] = {}
        """In the order they began."""
        self._timer: asyncio.TimerHandle | None = None
        self._turn_scheduled = False
        self._flush_scheduled = False
        self._is_turning = False
        """What is to be sent leaves at the end of this turn."""
        self._is_placed = is_on(self.options.placement)
        self._outbox_raft: dict[str, list[tuple[int, Message]]] = {}
        self._outbox_lazy: dict[str, list[tuple[int, Message]]] = {}
        """Messages that don't make a frame of their own: they go with the next one, or at the next tick."""
        self._outbox_single: dict[str, list[tuple[int, Message]]] = {}
        """Without coalescing: heartbeats and their answers, each of which makes a frame of its own."""
        self._coalescing = is_on(self.options.coalescing)
        self._keepalive_ticks = KEEPALIVE_TICKS
        if is_on(self.options.quiescence):
            self._keepalive_ticks = min(KEEPALIVE_TICKS, self.options.heartbeat_ticks)
        self._outbox_tick: dict[str, dict[int, Message]] = {}
        """By node and range: questions whether this node still leads, for those who need not be asked as long as the
        others answer. They go at the next tick; a newer one stands for all before it."""
        self._outbox: dict[str, list[PeerMessage]] = {}
        self._outbox_closings: dict[str, list[Closings]] = {}
        self._held_replies: list[tuple[DoneWithClient, ClientReply]] = []
        """Replies to clients that wait until the clock's bound is durable."""
        self._open_client_requests = 0
        self.refused_client_requests = 0
        self._idle_ticks: dict[str, int] = {node: 0 for node in self.nodes if node != name}
        self._heard_at: dict[str, float] = {}
        self._confirming_order: list[str] = []
        """The other nodes, those first that were heard of lately."""
        self._confirming: dict[tuple[str, ...], frozenset[str]] = {}
        """By the nodes that hold a range's replicas: the first of them that make a quorum with this one."""
        self._told: dict[str, tuple[int, int]] = {}
        """By node: the version of whom this node follows that it was told last in full, and in which tick."""
        self._ticks = 0
        self.frames_sent = 0
        self.bytes_sent = 0
        self.frames_received = 0

        bound = int.from_bytes(engine.get(keys.CLOCK_BOUND) or b"", "big")
        if bound and trace is not None:
            trace.mark("a node started with what an earlier life left")
        self.clock = HybridClock(wall_ns, bound)
        random_stream = _stream_of_this_life(random_stream, name, self.clock.now())
        self.store = Store(
            node=name,
            names=self._names,
            engine=engine,
            clock=self.clock,
            monotonic_ns=self._monotonic_ns,
            options=self.options,
            random_stream=random.Random(random_stream.getrandbits(64)),
            send=self._post_raft,
            sync=self._sync,
            wake=self._wake,
            leader_changed=self._note_leader,
            alarm=self._alarm,
            descriptor_changed=self._note_descriptor,
            trace=trace,
            others_needed=self._others_needed,
        )
        self.store.closed.others = [node for node in self._counted if node != name]
        self.members = Members(known, self.store.keep, self._take_members)
        self.store.may_hold = self.members.may_hold
        self.directory = Directory(descriptors)
        self.store.elsewhere = self.directory.holders
        for replica in self.store.replicas.values():
            if replica.descriptor.is_known:
                self.directory.learn(replica.descriptor)
        self.router = Router(
            node=name,
            directory=self.directory,
            now=self._loop.time,
            clock=self.clock,
            random_stream=random.Random(random_stream.getrandbits(64)),
            # Above every id of an earlier life, because the hybrid clock is.
            first_request_id=self.clock.now().wall_ns,
            send_local=self._submit if self._is_placed else self.store.submit,
            send_remote=self._post_request,
            trace=trace,
            nodes=self.nodes,
        )
        self.pusher = Pusher(self.router, random.Random(random_stream.getrandbits(64)), trace)
        self.fault_points = FaultPoints(trace)
        self.coordinator = Coordinator(
            router=self.router,
            pusher=self.pusher,
            clock=self.clock,
            random_stream=random.Random(random_stream.getrandbits(64)),
            spawn=self._spawn,
            observe=self._observe,
            protocol=PROTOCOLS[self.options.protocol],
            isolation=ISOLATIONS[self.options.isolation],
            parallel_commit=is_on(self.options.parallel_commit),
            one_range_commit=is_on(self.options.one_range_commit),
            async_commit=is_on(self.options.async_commit),
            fault_points=self.fault_points,
            trace=trace,
        )
        self.open_reads = OpenReads(self._monotonic_ns)
        self.coordinator.on_begin = self.open_reads.note
        self.collector = Collector(
            router=self.router,
            clock=self.clock,
            monotonic_ns=self._monotonic_ns,
            ttl_ms=self.options.gc_ttl_ms,
            closed_ms=self.store.closed.read_for_ms,
            needed=self._needed,
            trace=trace,
        )
        self.clock_offsets = ClockOffsets(name, self.options.max_offset_ms, self.options.offset_interval_ms)
        self.mover = Mover(self.router, self.store, self.nodes, self._spawn, trace)
        self.reporter = Reporter(self.store, self.members, self._names, self.options.settled_ticks)
        self.placer = Placer(
            node=name,
            founded=founding,
            members=self.members,
            options=PlacingOptions(
                follow=is_on(self.options.follow_workload),
                dead_after_s=self.options.dead_after_ms / 1000,
                moves_most=self.options.placement_moves,
                transfers_most=self.options.handovers_most,
            ),
            router=self.router,
            store=self.store,
            mover=self.mover,
            reporter=self.reporter,
            spawn=self._spawn,
            trace=trace,
        )
        self.reshaper = Reshaper(
            self.router, random.Random(random_stream.getrandbits(64)), ranges, self.mover
        )
        options = self.options
        limits = Limits(options.split_bytes, options.split_load, options.merge_idle)
        self.shaper = Shaper(self.store, self.reshaper, engine, limits, self._loop.time, trace)
        self.session_writes = SessionWrites(
            self.router, self.pusher, self.clock, random.Random(random_stream.getrandbits(64))
        )
        self.sweeper = Sweeper(self.router, self.pusher, trace)
        self.transact_writer = TransactWriter(self.coordinator, self.router, trace)
        self.token_keeper = TokenKeeper(self.router, self._monotonic_ns, self.options.token_ms, trace)
        self.chosen_reads = ChosenReads(self.store, self.directory, trace)

    # Its life.

    def start(self) -> None:
        """Begin to tick."""
        self._next_tick = self._loop.time() + self.options.tick_ms / 1000
        self._timer = self._loop.call_at(self._next_tick, self._tick)
        for member in self.members.known.members:
            if member.name != self.name:
                self._transport.add_peer(member.name, member.address)
        self._spawn(self._every(HEARTBEAT_S, self.coordinator.heartbeat))
        self._spawn(self._every(2.0, self._sweep))
        if self._is_placed:
            self._spawn(self._every(LOOK_S, self._look_at_placement))
        else:
            self._spawn(self._every(PLACE_S, self._place_leaders))
        self._spawn(self._every(1.0, self._undo_merges))
        self._spawn(self._every(1.0, self.mover.tend))
        self._spawn(self._every(SHAPE_S, self.shaper.look))
        self._spawn(self._every(DELETE_RECORDS_S, self.coordinator.delete_records))
        self._spawn(self._every(self.token_keeper.look_s, self._forget_tokens))
        if self.options.gc_ttl_ms:
            self._spawn(self._every(self.collector.look_s, self._collect))
        if self.options.max_offset_ms:
            self._spawn(self._every(self.options.offset_interval_ms / 1000, self._measure_clocks))
        self._wake()

    async def drain(self) -> None:
        """Before a planned stop: hand over what this node leads, so that nobody has to wait for an election. Returns
        when that is done, or has taken too long."""
        if not self.store.give_away():
            return
        if self._trace is not None:
            self._trace.mark("a node gave away what it led before it stopped")
        for _ in range(DRAIN_LOOKS):
            await asyncio.sleep(DRAIN_S / DRAIN_LOOKS)
            if not any(replica.group.is_leader for replica in self.store.replicas.values()):
                return

    def stop(self) -> None:
        """End everything at once. Calls that are under way get no answer."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._stopped:
            coroutine.close()
            return
        self._tasks[self._loop.create_task(coroutine)] = None

    def _forget_tasks(self) -> None:
        """Called every tick: lets go of the tasks that are done, and tells of those that failed."""
        for task in [task for task in self._tasks if task.done()]:
            del self._tasks[task]
            if not task.cancelled() and task.exception() is not None:
                self._loop.call_exception_handler(
                    {
                        "message": f"a task of node {self.name} failed",
                        "exception": task.exception(),
                        "task": task,
                    }
                )

    async def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Again and again. An exception is handed to the loop like one of a callback, not like one of a request's task:
        without its periodic work a node may not go on (the server stops it)."""
        try:
            while True:
                await asyncio.sleep(seconds)
                await work()
        except Exception as error:  # noqa: BLE001  (whatever it is, the owner of the loop must hear of it)
            self._loop.call_exception_handler(
                {"message": f"periodic work of node {self.name} failed", "exception": error}
            )

    async def _place_leaders(self) -> None:
        led = self.store.led_for_others()
        if not led:
            return
        room = self.options.handovers_most - self.store.handing_over
        for range_id in choose_handovers(led, self.options.settled_ticks, room):
            self.store.hand_over(range_id)

    async def _look_at_placement(self) -> None:
        self.reporter.passed(LOOK_S)
        await self.placer.look()

    async def _undo_merges(self) -> None:
        """Ranges that this node leads and that somebody has frozen and not come back for."""
        for descriptor in self.store.stuck_ranges():
            self._spawn(self._undo_merge(descriptor))

    async def _undo_merge(self, descriptor: Descriptor) -> None:
        if self._trace is not None:
            self._trace.mark("a merge that nobody finished was undone")
        try:
            await self.reshaper.undo(descriptor)
        except Failed as failed:
            if self._notice is not None:
                self._notice(f"range {descriptor.id}", f"is frozen, and could not be thawed: {failed}")

    async def _sweep(self) -> None:
        await self.sweeper.sweep(
            [(replica.id, replica.state, replica.group.term) for replica in self.store.unsettled()]
        )

    async def _collect(self) -> None:
        await self.collector.look(self.store.serving())

    def _own_needed(self) -> Timestamp:
        """Below this no transaction of this node reads any more."""
        oldest = self.open_reads.oldest(HELD_TTLS * self.options.gc_ttl_ms)
        return self.clock.last if oldest is None else min(oldest, self.clock.last)

    async def _needed(self) -> Timestamp:
        """Below this no transaction of any node reads any more, as far as they answer."""
        answers = await asyncio.gather(*(self._ask(node, NEEDED) for node in self._idle_ticks))
        told = [reply.timestamp for reply in answers if reply.error is None]
        return min([self._own_needed(), *told])

    async def _ask(self, node: str, what: int) -> RangeReply:
        """Ask a node about itself: `WALL_CLOCK` or `NEEDED`."""
        answered: asyncio.Future[RangeReply] = self._loop.create_future()
        question = RangeRequest(self.router.next_id(), CLOCK_RANGE, what, ())
        self.router.ask(node, question, self._loop.time() + OBSERVE_S, answered.set_result)
        return await answered

    async def _measure_clocks(self) -> None:
        """Ask everybody for the time. Raises ClockOffsetExceeded, which ends the node."""
        await asyncio.gather(*(self._measure_clock(node) for node in self._idle_ticks))
        far = self.clock_offsets.beyond(self._monotonic_ns(), self._wall_ns())
        # A silent node is waited for; meanwhile a clock may have been mended.
        await asyncio.gather(*(self._measure_clock(node) for node in far))
        why = self.clock_offsets.why_stop(self._monotonic_ns(), self._wall_ns())
        if why is not None:
            if self._trace is not None:
                self._trace.mark("a node stopped because its clock was too far from the others'")
            self._alarm("clock", why)
            self.stop()
            raise ClockOffsetExceeded(why)

    async def _measure_clock(self, node: str) -> None:
        answered: asyncio.Future[RangeReply] = self._loop.create_future()
        sent_ns, sent_wall_ns = self._monotonic_ns(), self._wall_ns()
        question = RangeRequest(self.router.next_id(), CLOCK_RANGE, WALL_CLOCK, ())
        limit = self._loop.time() + self.options.offset_interval_ms / 2000
        self.router.ask(node, question, limit, answered.set_result)
        reply = await answered
        if reply.error is None:
            found = measured(sent_wall_ns, sent_ns, self._monotonic_ns(), reply.timestamp.wall_ns)
            self.clock_offsets.note(node, found)

    async def _forget_tokens(self) -> None:
        await self.token_keeper.look(
            [
                (replica.id, replica.state, replica.group.term)
                for replica in self.store.replicas.values()
                if replica.group.is_leader and replica.descriptor.is_known
            ]
        )

    # Turns and ticks.

    def _wake(self) -> None:
        # The end of a turn that waits for its sync looks by itself whether there is more to do.
        if not self._turn_scheduled and not self._stopped and self.store.may_turn:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
        if self._stopped or not self.store.may_turn:
            return
        self._is_turning = True
        self.store.turn()
        self._is_turning = False
        self._flush()

    def _sync(self, done: Callable[[], None]) -> None:
        self._syncer.sync(lambda: self._synced(done))

    def _synced(self, done: Callable[[], None]) -> None:
        if self._stopped:
            return
        done()
        if self._held_replies:
            if self.clock.is_ahead_of_bound:
                self._wake()
            else:
                held, self._held_replies = self._held_replies, []
                for deliver, reply in held:
                    deliver(reply)
        if not self._turn_scheduled:
            # Else the turn that follows at once takes the promises along in its frames.
            self._flush()

    def _tick(self) -> None:
        if self._stopped:
            return
        tick_s = self.options.tick_ms / 1000
        now = self._loop.time()
        if now - self._next_tick > 2 * tick_s:
            # The process stalled (paused, starved). One tick stands for all that was missed, and only after what has
            # arrived meanwhile was taken in: most often that is a leader's heartbeat.
            if self._trace is not None:
                self._trace.mark("a node stalled for several ticks")
            if self._notice is not None:
                self._notice("node", f"stalled for {now - self._next_tick:.1f} s")
            self._next_tick = now + tick_s
            self._timer = self._loop.call_at(self._next_tick, self._tick)
            self._loop.call_later(tick_s / 2, self._tick_store)
            return
        self._next_tick = max(self._next_tick + tick_s, now)
        self._timer = self._loop.call_at(self._next_tick, self._tick)
        self._tick_store()

    def _tick_store(self) -> None:
        if self._stopped:
            return
        self._ticks += 1
        self._forget_tasks()
        self._choose_confirming()
        self.store.tick()
        if self.store.heartbeats:
            self._schedule_flush()
        for node, closings in self.store.closed.tick().items():
            self._post_closings(node, closings)
        self.router.sweep()
        if self.clock.bound_ns < max(self._wall_ns(), self.clock.last.wall_ns) + BOUND_MARGIN_NS:
            self._wake()
        for node, questions in self._outbox_tick.items():
            self._outbox_raft.setdefault(node, []).extend(questions.items())
            self._schedule_flush()
        self._outbox_tick.clear()
        for node, idle in self._idle_ticks.items():
            if idle >= self._keepalive_ticks or node in self._outbox_lazy:
                self._outbox_raft.setdefault(node, [])
                self._schedule_flush()
            self._idle_ticks[node] = idle + 1

    # Other nodes.

    def receive(self, frame: PeerFrame) -> None:
        """A frame of another node arrived, whole."""
        if self._stopped:
            return
        if frame.sender not in self._raft_ids:
            return  # It joins, and was heard of elsewhere first.
        self.frames_received += 1
        self._heard_at[frame.sender] = self._loop.time()
        clock = self.clock
        clock.forward(frame.clock)
        self.store.heard(self._raft_ids[frame.sender])
        if frame.follows_version:
            self.store.heard_follower(
                self._raft_ids[frame.sender], frame.clock, frame.follows, frame.follows_version
            )
        if frame.closings is not None:
            echo = self.store.closed.heard(frame.sender, frame.closings)
            if echo is not None:
                self._post_closings(frame.sender, echo)
        if frame.raft:
            self.store.receive(frame.raft)
        elif clock.is_ahead_of_bound:
            self._wake()
        if frame.heartbeats is not None:
            self.store.receive_heartbeats(self._raft_ids[frame.sender], frame.heartbeats)
            if self.store.heartbeats:
                self._schedule_flush()
        for message in frame.messages:
            if isinstance(message, RangeReply):
                self.router.receive(message)
            elif message.range_id == CLOCK_RANGE:
                told = clock.last
                if message.generation == WALL_CLOCK:
                    told = Timestamp(self._wall_ns(), 0)
                elif message.generation == NEEDED:
                    told = self._own_needed()
                self._reply_to(frame.sender)(RangeReply(message.request_id, timestamp=told))
            elif message.range_id == REPORT_RANGE:
                self.reporter.answer(message, self._reply_to(frame.sender))
            else:
                if self._is_placed:
                    self.reporter.demand.note(message.range_id, frame.sender)
                self.store.submit(message, self._reply_to(frame.sender))

    def _submit(self, request: RangeRequest, done: Callable[[RangeReply], None]) -> None:
        """A request of this node's own gateway, for a replica here."""
        self.reporter.demand.note(request.range_id, self.name)
        self.store.submit(request, done)

    def _choose_confirming(self) -> None:
        """In which order to ask others whether this node still leads: the first that make a quorum with it at once,
        the others at the next tick."""
        now = self._loop.time()
        place = self.nodes.index(self.name)
        # The same few for all ranges, so that one frame asks for all of them.
        order = sorted(
            self._idle_ticks,
            key=lambda node: (
                now - self._heard_at.get(node, -RECENTLY_S) >= RECENTLY_S,
                (self.nodes.index(node) - place) % len(self.nodes),
            ),
        )
        if order != self._confirming_order:
            self._confirming_order = order
            self._confirming.clear()

    def _is_confirming(self, node: str, range_id: int) -> bool:
        """Whether a node is among the first that this range's leader asks."""
        replica = self.store.replicas.get(range_id)
        if replica is None or replica.descriptor.is_moving:
            return True
        replicas = replica.descriptor.replicas
        confirming = self._confirming.get(replicas)
        if confirming is None:
            others = [other for other in self._confirming_order if other in replicas]
            confirming = self._confirming[replicas] = frozenset(others[: len(replicas) // 2])
        return node in confirming

    async def _observe(self, deadline: float) -> Timestamp | None:
        """Hear the clocks of so many nodes that they meet every quorum of every range; answers the latest. None: too
        few answered. Every answer is at or above this node's clock of now, which the question carries."""
        needed = self._others_needed
        if needed <= 0:
            return self.clock.now()
        heard: asyncio.Future[bool] = self._loop.create_future()
        latest = ZERO
        others = sorted(
            (node for node in self._counted if node != self.name),
            key=lambda node: -self._heard_at.get(node, -RECENTLY_S),
        )
        left = len(others)

        def answered(reply: RangeReply) -> None:
            nonlocal needed, left, latest
            left -= 1
            if reply.error is None:
                needed -= 1
                latest = max(latest, reply.timestamp)
            if not heard.done() and (needed <= 0 or left < needed):
                heard.set_result(needed <= 0)

        limit = min(deadline, self._loop.time() + OBSERVE_S)

        def ask(nodes: Sequence[str]) -> None:
            for node in nodes:
                self.router.ask(
                    node, RangeRequest(self.router.next_id(), CLOCK_RANGE, 0, ()), limit, answered
                )

        # As many as are needed; the others only if those are silent.
        first, rest = others[:needed], others[needed:]
        ask(first)
        later = self._loop.call_later(OBSERVE_FIRST_S, ask, rest) if rest else None
        try:
            return latest if await heard else None
        finally:
            if later is not None:
                later.cancel()

    @property
    def _others_needed(self) -> int:
        """So many other nodes meet, with this one, every quorum of every range. One that was decommissioned is in no
        quorum itself."""
        itself = self.name in self._counted
        return max(len(self._counted) - self._replication // 2 - itself, 0)

    def _take_members(self, placement: Placement) -> None:
        """There are other nodes than before, or they may hold something else."""
        for number, member in enumerate(placement.members, 1):
            if member.name not in self._raft_ids:
                self.nodes = (*self.nodes, member.name)
                self._raft_ids[member.name] = number
                self._idle_ticks[member.name] = 0
                self.store.add_member(number, member.name)
                self._transport.add_peer(member.name, member.address)
                if self._notice is not None:
                    self._notice("node", f"{member.name} joins, at {member.address}")
        if placement.counted != self._counted:
            self._counted = placement.counted
            others = [node for node in self._counted if node != self.name]
            self.store.closed.recount(others, self._others_needed)
        self.router.nodes = self.mover.nodes = self._counted
        self._confirming_order = []
        self._choose_confirming()

    def _reply_to(self, node: str) -> Callable[[RangeReply], None]:
        def reply(message: RangeReply) -> None:
            self._outbox.setdefault(node, []).append(message)
            self._schedule_flush()

        return reply

    def link_lost(self, node: str) -> None:
        """The connection to a node broke."""
        if self._stopped:
            return
        self._heard_at[node] = -RECENTLY_S
        self._told.pop(node, None)
        self._choose_confirming()
        self.store.link_lost(node)
        self.router.link_lost(node)

    def _post_raft(self, node: str, range_id: int, message: Message) -> None:
        kind = message.kind
        if not self._coalescing and not message.context and kind in (_HEARTBEAT, _HEARTBEAT_RESPONSE):
            self._outbox_single.setdefault(node, []).append((range_id, message))
        elif kind == _APPEND and (not message.entries or self._can_wait(node, range_id, message)):
            # It tells a follower how far it may apply, or what others acknowledge sooner: nobody waits for it.
            self._outbox_lazy.setdefault(node, []).append((range_id, message))
        elif kind == _HEARTBEAT and message.context and not self._is_confirming(node, range_id):
            # Reads wait for a quorum's answers to a round of heartbeats; the others' would be too many.
            self._outbox_tick.setdefault(node, {})[range_id] = message
        else:
            self._outbox_raft.setdefault(node, []).append((range_id, message))

    def _can_wait(self, node: str, range_id: int, message: Message) -> bool:
        """Whether these entries may go to a follower with the next frame, or at the next tick: one that keeps up, and
        is not needed for a quorum with those who are asked at once."""
        if self._is_confirming(node, range_id):
            return False
        replica = self.store.replicas.get(range_id)
        if replica is None:
            return True  # Merged away in this very turn.
        follower = replica.group.core.peers.progress.get(message.target)
        return follower is not None and follower.state == ProgressState.REPLICATE

    def _post_request(self, node: str, request: RangeRequest) -> bool:
        if not self._transport.is_up(node):
            return False
        self._outbox.setdefault(node, []).append(request)
        self._schedule_flush()
        return True

    def _post_closings(self, node: str, closings: Closings) -> None:
        self._outbox_closings.setdefault(node, []).append(closings)
        self._outbox_raft.setdefault(node, [])
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not (self._flush_scheduled or self._turn_scheduled or self._is_turning):
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_scheduled = False
        if not self._stopped and not (self._turn_scheduled and self.store.may_turn):
            self._flush()

    def _flush(self) -> None:
        """Everything in the outbox leaves, one frame a peer; unless the clock is ahead of what is durable."""
        heartbeats, single = self.store.heartbeats, self._outbox_single
        if not (self._outbox_raft or self._outbox or heartbeats or single):
            return
        if self.clock.is_ahead_of_bound:
            self._wake()
            return
        raft, self._outbox_raft = self._outbox_raft, {}
        others, self._outbox = self._outbox, {}
        if single:
            self._flush_single()
        nodes: Iterable[str] = raft
        if heartbeats:
            nodes = sorted(raft.keys() | others.keys() | heartbeats.nodes())
        elif others:
            nodes = sorted(raft.keys() | others.keys()) if raft else sorted(others)
        for node in nodes:
            messages = others.get(node, ())
            left = refused = 0
            ours = raft.get(node, [])
            lazy = self._outbox_lazy.pop(node, None)
            if lazy is not None:
                ours = lazy + ours
            # Whoever is asked or answered may have to know that it still leads.
            version, follows = self._follows(node) if messages else (0, None)
            beats = heartbeats.take(node)
            if beats is not None:
                self.store.counters.heartbeat_envelopes += bool(beats.beats)
                self.store.counters.answer_envelopes += bool(beats.answers)
            closings = self._outbox_closings.pop(node, None)
            encoded = self._encode(
                node, ours, messages, version, follows, beats, closings.pop() if closings else None
            )
            for more in closings or ():
                encoded += encode_peer_frames(self.name, self.clock.last, (), closings=more)
            for frame in encoded:
                if self._transport.send(node, frame):
                    left += 1
                else:
                    refused += 1
                self.frames_sent += 1
                self.bytes_sent += len(frame)
            self._idle_ticks[node] = 0
            if refused:
                self._told.pop(node, None)
                # Which frame a request was in is not known here: only if none has left, it certainly was not sent.
                error = LOST if left else _NOT_SENT
                for message in messages:
                    if isinstance(message, RangeRequest):
                        self.router.receive(RangeReply(message.request_id, error=error))

    def _flush_single(self) -> None:
        """Without coalescing: a frame for each heartbeat, and for each answer."""
        single, self._outbox_single = self._outbox_single, {}
        counters = self.store.counters
        for node, messages in single.items():
            for one in messages:
                for frame in encode_peer_frames(self.name, self.clock.last, (one,)):
                    self._transport.send(node, frame)
                    self.frames_sent += 1
                    self.bytes_sent += len(frame)
                if one[1].kind == _HEARTBEAT:
                    counters.heartbeat_envelopes += 1
                else:
                    counters.answer_envelopes += 1
            self._idle_ticks[node] = 0

    def _follows(self, node: str) -> tuple[int, Followed | None]:
        """What to tell a node of the ranges in which this one follows it: all of them if that has changed, or was not
        told for a while; else only that it is still the same."""
        version, followed = self.store.follows(self._raft_ids[node])
        told, told_at = self._told.get(node, (0, 0))
        if told == version and self._ticks - told_at < TELL_AGAIN_TICKS:
            return version, None
        self._told[node] = (version, self._ticks)
        return version, followed

    def _encode(
        self,
        node: str,
        raft: Sequence[tuple[int, Message]],
        messages: Sequence[PeerMessage],
        version: int,
        follows: Followed | None,
        beats: Heartbeats | None,
        closings: Closings | None,
    ) -> list[bytes]:
        """The frames of one peer. A message that is too long for any frame is refused or dropped; it ends nothing."""
        try:
            return encode_peer_frames(
                self.name, self.clock.last, raft, messages, version, follows, beats, closings=closings
            )
        except FrameError:
            frames = []
            if self._trace is not None:
                self._trace.mark("a message was too long for any frame")
            for one in raft:
                try:
                    frames += encode_peer_frames(self.name, self.clock.last, (one,))
                except FrameError as error:
                    self._alarm(f"range {one[0]}", f"a {one[1].kind.name} to {node} was dropped: {error}")
            for message in messages:
                try:
                    frames += encode_peer_frames(self.name, self.clock.last, (), (message,))
                except FrameError as error:
                    refusal = RangeReply(message.request_id, error=BadRequest(str(error)))
                    if isinstance(message, RangeRequest):
                        self.router.receive(refusal)
                    else:
                        # Only reads have answers of such a size, see `MAX_WRITE_BYTES`.
                        frames += encode_peer_frames(self.name, self.clock.last, (), (refusal,))
            return frames

    def _note_leader(self, range_id: int, leader: str | None) -> None:
        if leader is not None:
            self.directory.learn_leader(range_id, leader)
        if self._notice is not None and leader is not None:
            term = self.store.replicas[range_id].group.term
            self._notice(f"range {range_id}", f"{leader} leads in term {term}")

    def _note_descriptor(self, descriptor: Descriptor) -> None:
        self.directory.learn(descriptor)
        if self._notice is not None:
            start, end = descriptor.start, descriptor.end
            self._notice(
                f"range {descriptor.id}", f"holds {start!r} to {'the end' if end is None else repr(end)}"
            )

    # Clients.

    def handle(self, request: ClientRequest, connection: ClientConnection, done: DoneWithClient) -> None:
        """A client's request; `done` gets its reply exactly once, unless the node is stopped."""
        if self._stopped:
            return
        if self._open_client_requests >= CLIENT_REQUESTS_MOST:
            self.refused_client_requests += 1
            reason = f"{CLIENT_REQUESTS_MOST} client requests are under way on {self.name}"
            done(ClientReply(request.request_id, error=Overloaded(reason)))
            return
        refusal = _why_refused(request.operation)
        if refusal is not None:
            done(ClientReply(request.request_id, error=BadRequest(refusal)))
            return
        self._open_client_requests += 1
        timeout_ms = request.timeout_ms or self.options.timeout_ms
        deadline = self._loop.time() + timeout_ms / 1000
        operation = request.operation
        if request.write is not None:
            self._spawn(self._write_once(request, request.write, deadline, done))
            return
        match operation:
            case ClientPut(transaction=0):
                self._single(request, Put(operation.key, operation.value), operation.key, deadline, done)
            case ClientGet(transaction=0):
                choice = self._choice(operation)
                self._single(request, Get(operation.key), operation.key, deadline, done, choice)
            case ClientCompareAndSet():
                single = CompareAndSet(operation.key, operation.expected, operation.new)
                self._single(request, single, operation.key, deadline, done)
            case ClientAdd(key=key, amount=amount):
                self._single(request, Add(key, amount), key, deadline, done)
            case ClientDelete(transaction=0):
                self._single(request, Delete(operation.key), operation.key, deadline, done)
            case BeginTransaction() | ClientPut() | ClientDelete() | RollbackTransaction():
                try:
                    value = self._note(request, connection)
                except Failed as failed:
                    self._reply(done, ClientReply(request.request_id, error=failed.error))
                else:
                    if request.quiet:
                        self._open_client_requests -= 1
                    else:
                        self._reply(done, ClientReply(request.request_id, value))
            case OpenSession():
                self._reply(done, ClientReply(request.request_id, self.session_writes.open()))
            case Status(ranges=ranges):
                self._reply(done, ClientReply(request.request_id, self.status(ranges)))
            case _:
                self._spawn(self._run(request, operation, connection, deadline, done))

    def _reply(self, done: DoneWithClient, reply: ClientReply) -> None:
        self._open_client_requests -= 1
        if self.clock.is_ahead_of_bound:
            self._held_replies.append((done, reply))
            if self._trace is not None:
                self._trace.mark("something waited for the clock's bound to be durable")
            self._wake()
        else:
            done(reply)

    def _choice(self, operation: ClientGet | ClientGetMany | ClientScan) -> tuple[Consistency, int]:
        """What a read outside of transactions must promise, and how stale it may be, ms."""
        consistency = operation.consistency
        return (
            READS[self.options.reads] if consistency is None else consistency,
            operation.max_staleness_ms or self.options.max_staleness_ms,
        )

    def _reader(self, descriptor: Descriptor) -> str:
        """Whose replica to ask for a read that any may answer: this node's own, else that of a node heard of lately."""
        if descriptor.id in self.store.replicas:
            return self.name
        return max(descriptor.replicas, key=lambda node: self._heard_at.get(node, -RECENTLY_S))

    # Single keys: one attempt without a task; whatever is not an answer goes the slow way.

    def _single(
        self,
        request: ClientRequest,
        operation: Get | Put | Delete | CompareAndSet | Add,
        key: bytes,
        deadline: float,
        done: DoneWithClient,
        choice: tuple[Consistency, int] = (_LINEARIZABLE, 0),
    ) -> None:
        descriptor = self.directory.find(key)
        router = self.router
        consistency, max_staleness_ms = choice
        ranged = RangeRequest(
            router.next_id(),
            descriptor.id,
            descriptor.generation,
            (operation,),
            consistency=consistency,
            max_staleness_ms=max_staleness_ms,
        )
        if consistency <= _LEASE:
            node = self.directory.candidate(descriptor.id)
        else:
            node = self._reader(descriptor)

        def answered(reply: RangeReply) -> None:
            if reply.error is None:
                self._reply(done, ClientReply(request.request_id, _value(reply)))
            else:
                self._spawn(
                    self._single_again(request, operation, descriptor.id, node, reply, deadline, done)
                )

        # A read that gets no answer is sent again, so its first attempt is as short as the others.
        limit = min(deadline, self._loop.time() + ATTEMPT_S) if isinstance(operation, Get) else deadline
        router.ask(node, ranged, limit, answered)

    async def _single_again(
        self,
        request: ClientRequest,
        operation: Get | Put | Delete | CompareAndSet | Add,
        range_id: int,
        asked: str,
        reply: RangeReply,
        deadline: float,
        done: DoneWithClient,
    ) -> None:
        """The first attempt was refused or met an obstacle."""
        repeatable = isinstance(operation, Get)
        pushed: tuple[Pushed, ...] = ()
        while True:
            match reply.error:
                case None:
                    self._reply(done, ClientReply(request.request_id, _value(reply)))
                    return
                case NotLeader(leader=leader):
                    self.router.learn(range_id, asked, leader)
                case RangeMismatch() as mismatch:
                    if not self.router.learn_ranges(asked, mismatch):
                        self.directory.forget_leader(range_id, asked)
                case IntentConflict() as conflict:
                    cleared = await self.pusher.clear(conflict, deadline, None, pushed)
                    if cleared.error is not None:
                        reason = getattr(cleared.error, "reason", str(cleared.error))
                        self._reply(done, ClientReply(request.request_id, error=TimedOut(reason)))
                        return
                    pushed = cleared.pushed
                case ReadUncertain() | SnapshotTooOld():
                    pushed = ()
                case Ambiguous() if repeatable and self._loop.time() < deadline:
                    self.directory.forget_leader(range_id, asked)
                case Ambiguous(reason=reason) if repeatable:
                    # A read has no effect, so that it did not end is all there is to say.
                    self._reply(done, ClientReply(request.request_id, error=TimedOut(reason)))
                    return
                case Unavailable() if self._loop.time() < deadline:
                    self.directory.forget_leader(range_id, asked)
                case Ambiguous() | Unavailable() | TimedOut() | BadRequest() | Overloaded() as error:
                    self._reply(done, ClientReply(request.request_id, error=error))
                    return
                case error:
                    refusal = Unavailable(f"range {range_id} cannot be served: {error}")
                    self._reply(done, ClientReply(request.request_id, error=refusal))
                    return
            reply = await self.router.send((operation,), deadline, repeatable=repeatable, pushed=pushed)

    async def _write_once(
        self, request: ClientRequest, write: SessionWrite, deadline: float, done: DoneWithClient
    ) -> None:
        """A write of a session: see `gateway.session_writes`."""
        reply = await self.session_writes.write(request.operation, write, deadline)
        if reply.error is None:
            self._reply(done, ClientReply(request.request_id, _value(reply)))
        else:
            self._reply(done, ClientReply(request.request_id, error=reply.error))  # type: ignore[arg-type]

    def _cut_logs(self) -> list[tuple[int, int, int]]:
        """An engine that fails here ends the node as it does in a turn, and not only this request."""
        try:
            return self.store.cut_logs()
        except OSError as error:
            self._loop.call_exception_handler(
                {"message": f"the logs of {self.name} could not be cut", "exception": error}
            )
            raise Failed(Unavailable(f"{self.name} stops: {error}")) from error

    # Transactions and scans.

    async def _run(
        self,
        request: ClientRequest,
        operation: ClientOperation,
        connection: ClientConnection,
        deadline: float,
        done: DoneWithClient,
    ) -> None:
        try:
            value = await self._perform(operation, connection, deadline)
        except Failed as failed:
            self._reply(done, ClientReply(request.request_id, error=failed.error))
        except Forsaken:
            self._open_client_requests -= 1
        except Exception as error:
            # A defect of this program. The client must not wait for it, and must not believe anything.
            self._reply(done, ClientReply(request.request_id, error=Ambiguous(f"internal error: {error!r}")))
            raise
        else:
            self._reply(done, ClientReply(request.request_id, value))

    def _note(self, request: ClientRequest, connection: ClientConnection) -> Any:
        """What a transaction is told that needs nobody else. Raises Failed."""
        coordinator = self.coordinator
        match operation := request.operation:
            case BeginTransaction():
                if len(connection.transactions) >= OPEN_TRANSACTIONS_MOST:
                    raise Failed(
                        Overloaded(f"{OPEN_TRANSACTIONS_MOST} transactions are open on this connection")
                    )
                number = request.request_id
                if number in connection.transactions:
                    raise Failed(BadRequest(f"transaction {number} is open on this connection already"))
                connection.transactions[number] = coordinator.begin(
                    operation.priority, operation.protocol, operation.isolation
                )
                return number
            case ClientPut():
                coordinator.put(_find(connection, operation.transaction), operation.key, operation.value)
            case ClientDelete():
                coordinator.put(_find(connection, operation.transaction), operation.key, None)
            case RollbackTransaction():
                found = connection.transactions.pop(operation.transaction, None)
                if found is not None:
                    coordinator.rollback(found)
        return None

    async def _perform(
        self, operation: ClientOperation, connection: ClientConnection, deadline: float
    ) -> Any:
        coordinator = self.coordinator
        match operation:
            case ClientGet():
                return await coordinator.get(
                    _find(connection, operation.transaction), operation.key, deadline
                )
            case ClientGetMany(transaction=0):
                values = self.chosen_reads.get_many(operation.keys, *self._choice(operation))
                if values is not None:
                    return values
                return await coordinator.run_read_only(
                    lambda open_one: coordinator.get_many(open_one, operation.keys, deadline), deadline
                )
            case ClientGetMany():
                return await coordinator.get_many(
                    _find(connection, operation.transaction), operation.keys, deadline
                )
            case ClientScan(transaction=0):
                start = max(operation.start, SYSTEM_END)
                span = Scan(start, operation.end, operation.limit, operation.reverse)
                pairs = self.chosen_reads.scan(span, *self._choice(operation))
                if pairs is not None:
                    return pairs

                async def scan(open_one: OpenTransaction) -> Any:
                    return await coordinator.scan(
                        open_one, operation.start, operation.end, operation.limit, operation.reverse, deadline
                    )

                return await coordinator.run_read_only(scan, deadline)
            case ClientScan():
                return await coordinator.scan(
                    _find(connection, operation.transaction),
                    operation.start,
                    operation.end,
                    operation.limit,
                    operation.reverse,
                    deadline,
                )
            case CommitTransaction():
                open_one = _find(connection, operation.transaction)
                del connection.transactions[operation.transaction]
                if operation.writes not in (None, open_one.puts):
                    open_one.over = True
                    text = f"{operation.writes} writes were sent and {open_one.puts} taken; begin a new transaction"
                    raise Failed(TransactionAborted(text))
                if operation.token:
                    return await self.transact_writer.commit_once(open_one, operation.token, deadline)
                await coordinator.commit(open_one, deadline)
                return open_one.committed_at if operation.is_timed else None
            case ReplicaStates(digests=digests):
                return [
                    await self._replica_state(replica, digests)
                    for _, replica in sorted(self.store.replicas.items())
                    if replica.descriptor.is_known
                ]
            case ClientTransactWrite():
                return await self.transact_writer.write(operation, deadline)
            case ClientForsake():
                return self._forsake(operation)
            case ClientGetVersion(key=key):
                return await self.transact_writer.version(key, deadline)
            case ClientPlacement():
                if not self._is_placed:
                    raise Failed(BadRequest("placement is off: start the nodes with placement=on"))
                return encode_placement(await self.placer.perform(operation, deadline))
            case ClientMove() | ClientTransfer():
                return await self.mover.perform(operation, deadline)
            case CutLogs():
                for _ in range(CUT_LOOKS):
                    if self.store.may_turn:
                        return self._cut_logs()
                    await asyncio.sleep(0.001)
                raise Failed(TimedOut(f"a sync of {self.name} takes too long"))
            case ClientMerge(key=key):
                one = await self.reshaper.merge(key, deadline)
                return [[one.id, one.start, one.end, one.generation]]
            case ClientSplit(key=key):
                return [
                    [one.id, one.start, one.end, one.generation]
                    for one in await self.reshaper.split(key, deadline)
                ]
            case _:
                raise Failed(BadRequest(f"{type(operation).__name__} is not understood"))

    def _forsake(self, operation: ClientForsake) -> dict[str, int]:
        if not is_on(self.options.fault_points):
            raise Failed(BadRequest("fault_points is off: no coordinator dies at anybody's wish here"))
        try:
            self.fault_points.arm(operation.step, operation.count)
        except ValueError as error:
            raise Failed(BadRequest(str(error))) from error
        return self.fault_points.died

    # Looking in.

    async def _replica_state(self, replica: Replica, with_digest: bool) -> ReplicaState:
        """What a replica holds. Its digest is taken while it applies nothing, in steps if that comes to an end."""
        descriptor, digest = replica.descriptor, None
        if with_digest:
            for _ in range(DIGEST_ATTEMPTS):
                before = (replica.applied_index, replica.descriptor)
                digest = await self._digest(replica)
                if (replica.applied_index, replica.descriptor) == before:
                    break
            else:
                digest = digest_at_once(self._engine, descriptor.start, descriptor.end)
        return ReplicaState(
            range_id=replica.id,
            start=descriptor.start,
            end=descriptor.end,
            generation=descriptor.generation,
            replicas=descriptor.replicas,
            term=replica.group.term,
            applied=replica.applied_index,
            locks=len(replica.state.locks),
            records=len(replica.state.records),
            digest=digest,
        )

    async def _digest(self, replica: Replica) -> str:
        steps = digest_in_steps(self._engine, replica.descriptor.start, replica.descriptor.end)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return str(done.value)
            await asyncio.sleep(0)

    def status(self, with_ranges: bool = True) -> dict[str, Any]:
        """What the node says about itself: see docs of `Client.status`."""
        return {
            "node": self.name,
            "clock_ns": self._wall_ns(),
            "hybrid_clock": str(self.clock.last),
            "monotonic": self._loop.time(),
            "ranges": self.store.status() if with_ranges else [],
            "clock_offsets_ms": {
                peer: round(found.offset_ns / 1e6, 3)
                for peer, found in self.clock_offsets.fresh(self._monotonic_ns(), self._wall_ns()).items()
            },
            "placement": self.placer.status() if self._is_placed else None,
            "coordinators_died": dict(self.fault_points.died),
            "coordinators_passed": dict(self.fault_points.passed),
            "counters": read_metrics(self.sources()),
        }

    def sources(self) -> Sources:
        """Where everything is counted, as of now."""
        return Sources(
            node=self.name,
            store=self.store,
            engine=self._engine.counters,
            survey=self.store.survey(),
            shapes=self.shaper.counters,
            collections=self.collector.counters,
            placing=self.placer.counters,
            frames_sent=self.frames_sent,
            frames_received=self.frames_received,
            bytes_sent=self.bytes_sent,
            open_client_requests=self._open_client_requests,
            refused_client_requests=self.refused_client_requests,
            pending_range_requests=self.router.pending,
        )


def _stream_of_this_life(given: random.Random, name: str, first: Timestamp) -> random.Random:
    """A stream that no other node, and no other life of this node, draws from: ids of transactions must never come
    twice. `first` is the clock's first timestamp of this life; it lies above the durable bound, and below the bound
    that must be durable before anything of this life leaves the node."""
    return random.Random(f"{given.getrandbits(64)} {name} {first.wall_ns} {first.logical}")


def _find(connection: ClientConnection, number: int) -> OpenTransaction:
    open_one = connection.transactions.get(number)
    if open_one is None:
        raise Failed(BadRequest(f"no transaction {number} is open on this connection"))
    return open_one


def _why_refused(operation: ClientOperation) -> str | None:
    """The rule for keys and sizes that a client's request breaks; the coordinator asks of writes in transactions."""
    match operation:
        case (
            ClientGet(key=key)
            | ClientPut(key=key, transaction=0)
            | ClientDelete(key=key, transaction=0)
            | ClientCompareAndSet(key=key)
            | ClientAdd(key=key)
            | ClientGetVersion(key=key)
        ):
            lowest = key
        case ClientGetMany(keys=keys):
            lowest = min(keys, default=SYSTEM_END)
        case _:
            lowest = SYSTEM_END
    if lowest < SYSTEM_END:
        return f"key {lowest!r} is the system's: keys of clients begin at {SYSTEM_END!r}"
    return _why_too_large(operation)


def _why_too_large(operation: ClientOperation) -> str | None:
    """Keys and values outside of transactions; the coordinator counts those inside."""
    match operation:
        case ClientPut(transaction=0):
            size = len(operation.key) + len(operation.value)
        case ClientCompareAndSet():
            size = len(operation.key) + len(operation.expected or b"") + len(operation.new or b"")
        case ClientGet() | ClientDelete(transaction=0) | ClientAdd():
            size = len(operation.key)
        case ClientGetMany():
            size = sum(map(len, operation.keys))
        case ClientScan():
            size = len(operation.start) + len(operation.end or b"")
        case _:
            return None
    if size <= MAX_WRITE_BYTES:
        return None
    return f"keys and values of {size} bytes, the limit of a request is {MAX_WRITE_BYTES}; send smaller ones"


def _value(reply: RangeReply) -> Any:
    """What a client is told of a single-key operation."""
    match reply.results[0]:
        case ValueResult(value=value):
            return value
        case Compared(applied=applied, current=current):
            return [applied, current]
        case Added(value=value):
            return value
        case _:
            return None


_APPEND, _HEARTBEAT = MessageKind.APPEND, MessageKind.HEARTBEAT
_HEARTBEAT_RESPONSE = MessageKind.HEARTBEAT_RESPONSE
_NOT_SENT = Unavailable("the connection was clogged or gone; the request was not sent")
