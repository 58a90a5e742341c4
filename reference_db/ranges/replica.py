"""One copy of a range on one node: its Raft group, its applied state, and the requests that it serves while it leads.

A request's way, told for a leader that has applied an entry of its own term:

1. `submit` queues it. In the store's turn it asks for its latches, and waits for those before it.
2. A read is noted in the timestamp cache, then waits until a round of heartbeats has confirmed the leader and all that
   was committed then is applied; then it is evaluated and answered.
3. A write is evaluated and proposed; it is answered when its entry is applied, in the term in which it was proposed.
   Another term's entry at its index means that it certainly never happens.

Nothing here sends, writes to the disk, or knows when: the store's turn does, with what `take_ready` leaves in the
turn's batch.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from reference_db.api import (
    CHANGES,
    AbsorbRange,
    Ambiguous,
    BadRequest,
    BumpRange,
    CompareAndSet,
    Compared,
    Consistency,
    EndTransaction,
    FreezeRange,
    IntentConflict,
    MoveReplica,
    NotLeader,
    Overloaded,
    PushTransaction,
    RangeError,
    RangeMismatch,
    RangeReply,
    RangeRequest,
    RecordState,
    Refresh,
    SnapshotTooOld,
    SplitRange,
    ThawRange,
    TransactionAborted,
    TransferRange,
)
from reference_db.raft import (
    Config,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    ProposalDropped,
    RaftGroup,
    ReadMode,
    Ready,
    decode_conf_change,
)
from reference_db.raft.progress import ProgressState
from reference_db.ranges.applied_reads import read_closed, read_stale
from reference_db.ranges.certain_reads import evaluate_certain_read, is_certain, was_pushed_for
from reference_db.ranges.closed_timestamps import ClosedTimestamps
from reference_db.ranges.descriptor import Descriptor, decode_descriptor, encode_descriptor
from reference_db.ranges.elections import election_window
from reference_db.ranges.flow import OpenRequests, written_bytes
from reference_db.ranges.leases import Lease
from reference_db.ranges.led import Led
from reference_db.ranges.load import RangeLoad
from reference_db.ranges.lock_waits import LockWaits
from reference_db.ranges.merge import changed, evaluate_merge
from reference_db.ranges.moving import (
    Leading,
    evaluate_move,
    evaluate_transfer,
    membership_change,
    moved,
)
from reference_db.ranges.options import StoreOptions, is_on
from reference_db.ranges.split import FIRST_TERM, SplitOff, evaluate_split, split_descriptor
from reference_db.ranges.truncation import cut_at, cut_at_size, needed_by_followers
from reference_db.storage import keys
from reference_db.storage.engine import Engine, WriteBatch
from reference_db.storage.raft_log import RaftLog
from reference_db.storage.range_snapshot import AppliedState, put_applied_state
from reference_db.timestamp import ZERO, HybridClock, Timestamp
from reference_db.trace import RAFT_MARKS, Trace
from reference_db.txn.by_protocol import evaluate_write
from reference_db.txn.collecting import checked
from reference_db.txn.command import Absorb, Change, Command, Move, MoveStep, SplitAt, decode_command
from reference_db.txn.evaluate import (
    Leadership,
    begin_read,
    evaluate_read,
    latch_spans,
    note_applied,
    why_invalid,
)
from reference_db.txn.evaluation import Evaluation, refuse
from reference_db.txn.latches import Latches, LatchGuard
from reference_db.txn.state import RangeState

Done = Callable[[RangeReply], None]
_LEASE, _BOUNDED, _STALE = Consistency.LEASE, Consistency.BOUNDED, Consistency.STALE

MAX_BYTES_PER_APPEND = 1 << 20
SNAPSHOT_PATIENCE_S = 3
"""A follower that was sent a snapshot and has not answered: assume that it was lost."""

_APPEND, _APPEND_RESPONSE = MessageKind.APPEND, MessageKind.APPEND_RESPONSE
_CAMPAIGNS = (MessageKind.VOTE, MessageKind.PRE_VOTE)
_CONTEXT = struct.Struct(">Q")
_NOTHING: tuple[list[Work], Timestamp] = ([], ZERO)


@dataclass(slots=True)
class ReadCounters:
    """Reads of a node's replicas since it was started, by how they were answered."""

    rounds: int = 0
    """Rounds of heartbeats that were opened, for all reads of a turn together."""
    lease: int = 0
    lease_refused: int = 0
    """No lease held, so a round was opened."""
    bounded: int = 0
    bounded_refused: int = 0
    """No closed timestamp was fresh enough, or an intent stood in the way: the leader was asked."""
    stale: int = 0


class Saying(NamedTuple):
    """What a member last said of whom it follows."""

    clock: Timestamp
    """The clock it had then."""
    followed: dict[int, int]
    """In which ranges, and terms, it followed this node."""
    version: int
    """Its word for all that."""


Said = dict[int, Saying]
"""By member, a Raft id."""


def _clock_of(said: tuple[int, Saying]) -> Timestamp:
    return said[1].clock


class Work:
    """One request from its arrival to its answer."""

    __slots__ = (
        "command",
        "done",
        "guard",
        "is_certain",
        "latches",
        "reply",
        "request",
        "size_bytes",
        "term",
        "timestamp",
    )

    def __init__(self, request: RangeRequest, done: Done) -> None:
        self.request = request
        self.done = done
        self.size_bytes = written_bytes(request.operations)
        self.guard: LatchGuard | None = None
        self.latches: Latches | None = None
        """Where the guard was acquired: each leadership has its own."""
        self.timestamp: Timestamp | None = None
        """Reads: where it was noted that they read."""
        self.is_certain = False
        """Reads: whether they need not look above that, see `certain_reads`."""
        self.reply: RangeReply | None = None
        """Writes: the answer, if it comes to be."""
        self.command: Command | None = None
        self.term = 0
        """Writes: in which term it was proposed."""


class Replica:
    """One replica. Owned by the store of its node; used from its loop only."""

    # A node holds thousands. With `__dict__` what observes or breaks single replicas can still be hung into them; it
    # takes no room while it is empty.
    __slots__ = (
        "__dict__",
        "_all_open",
        "_area",
        "_changing_at",
        "_clock",
        "_closed",
        "_conf_state",
        "_confirmed",
        "_confirmed_clock",
        "_contexts",
        "_early_ticks",
        "_finished",
        "_frozen_ticks",
        "_heritage",
        "_is_preferred",
        "_joined",
        "_latches",
        "_lock_waits",
        "_marks",
        "_may_hold",
        "_monotonic_ns",
        "_names",
        "_node",
        "_options",
        "_patience_ticks",
        "_preferred_id",
        "_preferred_seen_at",
        "_proposed",
        "_pushes",
        "_queue",
        "_reload",
        "_said",
        "_served_term",
        "_snapshot_sent",
        "_touch",
        "_trace",
        "_unconfirmed",
        "_waiting",
        "_whose",
        "absorbs",
        "applied_index",
        "applied_term",
        "asleep_since",
        "descriptor",
        "descriptor_changed",
        "followed",
        "group",
        "id",
        "idle_ticks",
        "is_departed",
        "is_fresh",
        "is_rejoining",
        "is_retired",
        "leader_changed",
        "leadership",
        "lease",
        "led_ticks",
        "load",
        "log",
        "make_room",
        "moving_ticks",
        "open_requests",
        "reads",
        "split_off",
        "state",
    )

    def __init__(
        self,
        *,
        descriptor: Descriptor,
        node: str,
        names: dict[int, str],
        engine: Engine,
        clock: HybridClock,
        monotonic_ns: Callable[[], int],
        options: StoreOptions,
        random_stream: random.Random,
        touch: Callable[[Replica], None],
        trace: Trace | None = None,
        said: Said | None = None,
        all_open: OpenRequests | None = None,
        whose: Callable[[RangeRequest], tuple[bytes, ...]] = lambda _request: (),
        may_hold: Callable[[str], bool] = lambda _node: True,
        closed: ClosedTimestamps | None = None,
        reads: ReadCounters | None = None,
    ) -> None:
        """`names` maps Raft ids to nodes; `random_stream` may be shared with other replicas; `touch` asks the store to
        look at this replica in its next turn; `said` is filled by the store with what other nodes say; `all_open`
        counts the requests of all its replicas; `whose` answers with the encoded descriptors of the ranges here that
        hold a request's keys; `may_hold` says whether a node may become a member; `closed` are the node's closed
        timestamps, and `reads` its counters."""
        self.descriptor = descriptor
        self.id = descriptor.id
        self._area = "" if trace is None else f"range {self.id}"
        self._node = node
        self._names = names
        self._clock = clock
        self._monotonic_ns = monotonic_ns
        self._options = options
        self._touch = touch
        self._whose = whose
        self._may_hold = may_hold
        self._trace = trace
        self.log = RaftLog(engine, self.id)
        self.state = RangeState(engine, descriptor.start, descriptor.end)
        applied = self.log.applied_state()
        self.applied_index = applied.index
        self.applied_term = applied.term
        self._conf_state = applied.conf_state
        self._is_preferred = descriptor.preferred_leader == node
        self._preferred_id = self._id_of(descriptor.preferred_leader)
        self._preferred_seen_at = 0
        self.group = RaftGroup(
            Config(
                node_id=self._id_of(node),
                election_ticks=options.election_ticks,
                heartbeat_ticks=options.heartbeat_ticks,
                max_bytes_per_message=min(MAX_BYTES_PER_APPEND, options.inflight_bytes_most),
                max_uncommitted_bytes=options.proposal_bytes_most,
                max_inflight_bytes=options.inflight_bytes_most,
                election_window=election_window(descriptor, node, options),
                # Followers apply with the next entries or the next round of heartbeats: reads from them may lag.
                announce_commits=False,
                own_heartbeats=not is_on(options.coalescing),
                read_mode=ReadMode.PROMISES if is_on(options.leases) else ReadMode.READ_INDEX,
                group_id=self.id,
                # Who sends it in pieces knows best whether it is lost.
                snapshot_ticks=0,
            ),
            self.log,
            random_stream,
            None if trace is None else self._trace_raft,
            applied.index,
        )
        self.lease = Lease(self.group.core, options)
        self.reads = reads if reads is not None else ReadCounters()
        self._closed = closed
        self.leadership: Leadership | None = None
        """What a serving leader remembers; None while this replica may not serve."""
        self._latches = Latches()
        self._served_term = 0
        """The term that `leadership` belongs to."""
        self.led_ticks = 0
        self._queue: list[Work] = []
        """Arrived, or given their latches, since the last turn."""
        self._waiting: dict[int, Work] = {}
        """Waiting for latches."""
        self._lock_waits = LockWaits(options.lock_wait_ticks)
        self._proposed: dict[int, Work] = {}
        """By log index: waiting to be applied."""
        self._changing_at = 0
        """Index of an entry that changes the range itself and was proposed in the term that is served: until it is
        applied nothing else is evaluated, so that nothing is decided, and no read is noted, for a range that is about
        to be another one. 0: there is none."""
        self.split_off: tuple[SplitOff, ...] = ()
        """New ranges, cut off in this turn's batch: the store makes their replicas."""
        self.absorbs: tuple[Descriptor, ...] = ()
        """Right neighbours, taken over in this turn's batch: the store removes their replicas."""
        self._frozen_ticks = 0
        """For how long the range has been frozen, as far as this leader knows."""
        self.moving_ticks = 0
        """For how long nobody has asked about the move that is under way here."""
        self._joined: dict[int, int] = {}
        """By member, a Raft id, that came while this replica was here: the index of the entry that brought it. It may
        have been here before, so what it seems to acknowledge below that is an earlier life's."""
        self._pushes: tuple[int, ...] = ()
        """Members that were added in this turn: they have nothing, and get a snapshot once the batch is written."""
        self.is_departed = descriptor.is_known and node not in descriptor.members
        """It has learned that its node has no replica of the range any more."""
        self.is_rejoining = False
        """It was removed from here once, and has come back, but not got its snapshot yet: it helps no candidate."""
        self.descriptor_changed = False
        """Whether the descriptor is another than when the store last asked."""
        self.is_retired = False
        """Another replica of this range has taken its place in the store."""
        self._heritage: Leadership | None = None
        """What the leader of the range that this one was cut off from remembered, while that may be gone on with."""
        self._patience_ticks = 0
        """This node led the range that this one was cut off from, and campaigns: so long are requests kept for it."""
        self._early_ticks = 0
        """A replica that knows nothing of its range yet answers no entries for so long: most often it is about to apply
        the split that the range comes from, and an answer would only bring a snapshot that it does not need."""
        if not descriptor.is_known:
            self._early_ticks = options.election_ticks
        self._contexts = 0
        self._unconfirmed: dict[bytes, tuple[list[Work], Timestamp]] = {}
        """Waiting for a round of heartbeats, by its context; and this node's clock when the round was opened."""
        self._marks: dict[bytes, Callable[[], None]] = {}
        """To be called once a round, by its context, is confirmed."""
        self._confirmed_clock = ZERO
        """A quorum that still followed this leader had clocks of at least this. Later leaders write above it, so a
        read that need not look above a timestamp up to here needs no round of its own (`_needs_no_round`)."""
        self._said = said if said is not None else {}
        self._confirmed: list[tuple[int, list[Work]]] = []
        """Waiting until that much is applied."""
        self._finished: list[tuple[Work, RangeReply]] = []
        """To be answered once this turn's batch is written."""
        self.make_room: WriteBatch | None = None
        """What must be gone before the data of the snapshot comes that is in the next Ready."""
        self._reload = False
        """A snapshot is in this turn's batch: the memory is loaded anew once it is written."""
        self._snapshot_sent: dict[int, int] = {}
        self.leader_changed = True
        """Whether the known leader is another than when the store last asked."""
        self.followed = (0, 0)
        """Whom this replica follows, a Raft id, and in which term, as the store last noted it."""
        self.asleep_since: int | None = None
        """The store's tick at which it went to sleep; None while it is awake."""
        self.idle_ticks = 0
        """For how long nothing has happened that asks for anything."""
        self.is_fresh = True
        """Since it was made, or woken, no request has come."""
        self.load = RangeLoad() if options.split_load else None
        """What it is asked for, where ranges are split by load."""
        self.open_requests = 0
        self._all_open = all_open if all_open is not None else OpenRequests()

    def _id_of(self, node: str | None) -> int:
        """A node's Raft id; 0 for one that is no member of the cluster."""
        return next((number for number, name in self._names.items() if name == node), 0)

    def _trace_raft(self, name: str, fields: dict[str, object]) -> None:
        assert self._trace is not None
        self._trace.event(self._area, name, **fields)
        mark = RAFT_MARKS.get(name)
        if mark is not None:
            self._trace.mark(mark)

    def _mark_wait(self, request: RangeRequest) -> None:
        """The request has to wait for its latches."""
        if self._trace is not None:
            if request.is_read:
                self._trace.mark("a read waited for a latch")
            else:
                self._trace.mark("a write waited for a latch")

    def _mark_evaluated(self, request: RangeRequest, evaluation: Evaluation) -> None:
        """What was interesting about a write's evaluation."""
        assert self._trace is not None
        results = evaluation.reply.results
        match request.operations[0]:
            case EndTransaction(commit=True) if isinstance(evaluation.reply.error, TransactionAborted):
                self._trace.mark("an aborted transaction came to commit")
            case CompareAndSet() if any(isinstance(one, Compared) and not one.applied for one in results):
                self._trace.mark("a compare-and-set found another value")
            case PushTransaction() if evaluation.command is not None:
                # It changed the record: moved its floor, or ended it.
                if any(isinstance(one, RecordState) and one.status.name == "PENDING" for one in results):
                    self._trace.mark("a transaction was pushed to a later timestamp")
                else:
                    self._trace.mark("a push aborted a transaction")

    # What arrives.

    def submit(self, request: RangeRequest, done: Done) -> None:
        """A request for this range. `done` is called exactly once, now or in a later turn."""
        if request.consistency >= _BOUNDED and self._read_applied(request, done):
            return
        if not self.group.is_leader and not self._patience_ticks:
            if request.generation < self.descriptor.generation:
                # Whoever leads would say the same, and may know less of who has what the range gave up.
                done(self._mismatch(request))
            else:
                done(RangeReply(request.request_id, error=self.not_leader()))
            return
        self.idle_ticks = 0
        self.is_fresh = False
        if self.load is not None:
            self.load.note(request)
        self.open_requests += 1
        work = Work(request, done)
        self._all_open.count += 1
        self._all_open.size_bytes += work.size_bytes
        self._queue.append(work)
        self._touch(self)

    def _read_applied(self, request: RangeRequest, done: Done) -> bool:
        """Answer a read that need not ask anybody from what is applied here; False if that may not be, or if something
        is wrong with it, which the leader says."""
        if request.transaction is not None or request.generation != self.descriptor.generation:
            return False
        if self._why_refused(request) is not None or not request.is_read:
            return False
        if request.consistency == _STALE:
            self.reads.stale += 1
            done(read_stale(request, self.state))
            return True
        closed = self._closed
        if closed is None:
            return False
        closed.want(self.id)
        fresh = closed.newest(self.id)
        if fresh is not None and closed.is_within(fresh.since_ns, request.max_staleness_ms):
            reply = read_closed(request, self.state, fresh.timestamp)
            # Looked at once more, now that the reply is there: the process may have been paused.
            if reply is not None and closed.is_within(fresh.since_ns, request.max_staleness_ms):
                self.reads.bounded += 1
                if self._trace is not None:
                    self._trace.mark("a bounded read was answered by a replica")
                done(reply)
                return True
        self.reads.bounded_refused += 1
        if self._trace is not None:
            self._trace.mark("a bounded read was sent on to the leader")
        return False

    def step(self, message: Message) -> None:
        """A Raft message of another member."""
        kind = message.kind
        if not self.descriptor.is_known:
            if self._early_ticks and kind == _APPEND:
                return
            if self.is_rejoining and kind in _CAMPAIGNS:
                return
        if (
            self._joined
            and kind == _APPEND_RESPONSE
            and not message.reject
            and message.index < self._joined.get(message.source, 0)
        ):
            return
        self.group.step(message)

    def not_leader(self) -> NotLeader:
        """The refusal of a replica that does not lead, with the leader if it knows one."""
        leader = self._names.get(self.group.leader_id)
        return NotLeader(self.id, None if leader == self._node else leader)

    @property
    def leader(self) -> str | None:
        """Who leads, as far as this replica knows."""
        return self._names.get(self.group.leader_id)

    # The store's turn, in this order: evaluate, take_ready (then the batch is written), answer.

    def evaluate(self) -> None:
        """Take requests as far as they come: to their latches, to the log, to a round of heartbeats."""
        if not self._queue:
            return
        if not self.group.is_leader:
            if not self._patience_ticks:
                self._refuse_all()
            return
        if self._changing_at or not self._may_serve():
            return
        leadership = self.leadership
        assert leadership is not None
        queue, self._queue = self._queue, []
        if self.descriptor.merging is not None:
            # Frozen: what comes waits for the end of the merge, and only that is taken.
            thaws = [work for work in queue if isinstance(work.request.operations[0], CHANGES)]
            self._queue = [work for work in queue if not isinstance(work.request.operations[0], CHANGES)]
            queue = thaws
        proposals: list[Work] = []
        to_confirm: list[Work] = []
        term = self.group.term
        for number, work in enumerate(queue, 1):
            request = work.request
            if request.generation != self.descriptor.generation:
                self._answer(work, self._mismatch(request))
                continue
            if isinstance(request.operations[0], CHANGES):
                evaluation = self._evaluate_change(request)
                work.reply = evaluation.reply
                if evaluation.command is None:
                    to_confirm.append(work)
                    continue
                work.command, work.term = evaluation.command, term
                self._clock.forward(evaluation.command.timestamp)
                proposals.append(work)
                self._queue = queue[number:] + self._queue
                break
            if work.guard is None:
                refusal = self._why_refused(request)
                if refusal is not None:
                    self._answer(work, RangeReply(request.request_id, error=refusal))
                    continue
                spans = latch_spans(request)
                if request.is_read and self._latches.are_free(spans) and self._read_at_once(work):
                    continue
                work.latches = self._latches
                work.guard = self._latches.acquire(spans, partial(self._granted, work))
                if not work.guard.is_granted:
                    self._waiting[id(work)] = work
                    if self._trace is not None:
                        self._mark_wait(request)
                    continue
            if request.timestamp is not None:
                self._clock.forward(request.timestamp)
            if request.is_read:
                work.timestamp = begin_read(request, leadership, self._clock.now())
                # Certain reads and refreshes ask for nothing above their timestamp.
                work.is_certain = is_certain(request)
                if self._needs_no_round(work):
                    self._answer_or_wait(work, self._evaluate_confirmed(work).reply)
                    if self._trace is not None:
                        self._trace.mark("a read needed no round of heartbeats")
                    continue
                if request.consistency == _LEASE and request.transaction is None:
                    if self._answer_by_lease(work):
                        continue
                    self.reads.lease_refused += 1
                    if self._trace is not None:
                        self._trace.mark("a read found no lease and asked a quorum")
                to_confirm.append(work)
                continue
            evaluation = evaluate_write(
                request, self.state, leadership, self._clock.now(), self._monotonic_ns(), term
            )
            work.reply = evaluation.reply
            if self._trace is not None:
                self._mark_evaluated(request, evaluation)
            if evaluation.command is not None:
                work.command = evaluation.command
                work.term = term
                self._clock.forward(evaluation.command.timestamp)
                proposals.append(work)
            elif evaluation.confirm:
                to_confirm.append(work)
            else:
                self._answer_or_wait(work, evaluation.reply)
        if proposals:
            self._propose(proposals)
        if to_confirm:
            self.confirm_leadership(to_confirm)

    def _read_at_once(self, work: Work) -> bool:
        """Answer a read that nobody is in the way of and that needs no round, without taking latches for this moment;
        False if it cannot be."""
        request = work.request
        if self.leadership is None:
            return False
        if request.consistency == _LEASE and request.transaction is None:
            work.timestamp = begin_read(request, self.leadership, self._clock.now())
            return self._answer_by_lease(work)
        if not is_certain(request):
            return False
        assert request.timestamp is not None
        self._clock.forward(request.timestamp)
        work.timestamp = begin_read(request, self.leadership, self._clock.now())
        work.is_certain = True
        if not self._needs_no_round(work):
            return False
        self._answer_or_wait(work, self._evaluate_confirmed(work).reply)
        if self._trace is not None:
            self._trace.mark("a read needed no round of heartbeats")
        return True

    def _answer_by_lease(self, work: Work) -> bool:
        """Answer a read that was noted already without asking anybody, if the lease holds; it is looked at again when
        the reply is there, and that is the moment as of which it is true."""
        lease = self.lease
        lease.want()
        core = self.group.core
        if core.term == self._served_term and lease.is_valid(self._monotonic_ns()):
            reply = self._evaluate_confirmed(work).reply
            if lease.is_valid(self._monotonic_ns()):
                self.reads.lease += 1
                self._answer_or_wait(work, reply)
                if self._trace is not None:
                    self._trace.mark("a read was answered by a lease")
                return True
        return False

    def _needs_no_round(self, work: Work) -> bool:
        """Whether enough is known of a quorum's clocks to answer a read at once.

        What is read may lie no higher than the clocks of a quorum that followed this leader: whoever leads later starts
        above. And what was found out at anchors on behalf of the request must be older than that, too: an intent that
        looks undecided here may have been made final under a later leader, and its record forgotten; but then the
        anchor, and so the sender of the request, have heard of the clocks that elected that leader."""
        request, reaches_to = work.request, work.timestamp
        assert reaches_to is not None
        if not (work.is_certain or isinstance(request.operations[0], Refresh)):
            return False
        if was_pushed_for(request):
            if request.asked_at is None:
                return False
            reaches_to = max(reaches_to, request.asked_at)
        if reaches_to > self._confirmed_clock:
            self._believe_followers()
        return reaches_to <= self._confirmed_clock

    def _mismatch(self, request: RangeRequest) -> RangeReply:
        """The refusal of a request that was sent to this range as it was, or is not yet."""
        mine = encode_descriptor(self.descriptor) if self.descriptor.is_known else b""
        error = RangeMismatch(self.id, mine, self._whose(request))
        return RangeReply(request.request_id, error=error)

    def _evaluate_change(self, request: RangeRequest) -> Evaluation:
        """A request that changes the range itself."""
        operation = request.operations[0]
        if request.timestamp is not None:
            self._clock.forward(request.timestamp)
        frozen_for = self.descriptor.merging
        if len(request.operations) > 1:
            error = BadRequest(f"{type(operation).__name__} must be alone in its request")
            return refuse(request, error)
        if frozen_for is not None and not isinstance(operation, (ThawRange, FreezeRange)):
            # What it asks for may be possible when the merge is over.
            return refuse(request, NotLeader(self.id))
        now, term = self._clock.now(), self.group.term
        if isinstance(operation, MoveReplica):
            self.moving_ticks = 0
            return evaluate_move(request, operation, self.descriptor, self._leading(), now, term)
        if isinstance(operation, TransferRange):
            return evaluate_transfer(request, operation, self.descriptor, self._leading(), now)
        if self.descriptor.is_moving and isinstance(operation, (SplitRange, FreezeRange)):
            # A move takes no longer than a snapshot.
            return refuse(request, NotLeader(self.id))
        if not isinstance(operation, SplitRange):
            assert isinstance(operation, (FreezeRange, ThawRange, AbsorbRange, BumpRange)), (
                f"{operation} does not change a range"
            )
            return evaluate_merge(request, operation, self.descriptor, now, term)
        return evaluate_split(request, operation, self.descriptor, now, term)

    def _leading(self) -> Leading:
        return Leading(
            self._node, self._lag_of, self._begin_handing_over, self._may_hold, self._options.cores
        )

    def _lag_of(self, node: str) -> int | None:
        """How many entries a member lacks; None where it is not being sent entries yet."""
        peer = self.group.core.peers.progress.get(self._id_of(node))
        if peer is None or peer.state != ProgressState.REPLICATE:
            return None
        return self.group.last_index - peer.match

    def _begin_handing_over(self, node: str | None) -> str | None:
        """Hand over to a node, or to the follower that is nearest; to whom, None if there is nobody."""
        target = self._id_of(node) if node is not None else self._nearest()
        if not target or target == self.group.config.node_id:
            return None
        self.group.transfer_leadership(target)
        return self._names[target]

    def _why_refused(self, request: RangeRequest) -> RangeError | None:
        invalid = why_invalid(request, self.state)
        return None if invalid is None else BadRequest(invalid)

    def _granted(self, work: Work) -> None:
        """The latches of a waiting request are free; called from within another one's release."""
        if self._waiting.pop(id(work), None) is None:
            return  # It was refused meanwhile, and is about to be answered.
        self._queue.append(work)
        self._touch(self)

    def _may_serve(self) -> bool:
        """Whether an entry of the own term is applied, so that this state is nobody's past."""
        term = self.group.term
        if self.leadership is not None and self._served_term == term:
            return True
        if self.applied_term != term:
            return False
        heritage, self._heritage, self._patience_ticks = self._heritage, None, 0
        if heritage is not None and term == FIRST_TERM + 1:
            # Nobody has led this range before, and this node has led the one that it was a part of.
            self.leadership = heritage
        else:
            # Above every timestamp that an earlier leader has served: those who confirmed its reads have heard of
            # them, and a quorum of them has elected this one.
            options = self._options
            self.leadership = Leadership(
                self._clock.now(), options.transaction_expiry_ms * 1_000_000, options.session_replies_most
            )
        self._latches = Latches()
        self._served_term = term
        self._confirmed_clock = ZERO
        return True

    def _propose(self, proposals: list[Work]) -> None:
        change = proposals[-1].command and proposals[-1].command.change
        if isinstance(change, Move) and len(proposals) > 1:
            self._propose(proposals[:-1])
            proposals = proposals[-1:]
        try:
            encoded = [work.command.encode() for work in proposals if work.command]
            if isinstance(change, Move):
                _, first = self.group.propose_conf_change(membership_change(change, self._id_of, encoded[0]))
            else:
                first = self.group.propose_many(encoded)
        except ProposalDropped:
            if len(proposals) > 1:
                # There may be room for some of them.
                for work in proposals:
                    self._propose([work])
                return
            # A transfer is under way, or too much is uncommitted: certainly in no log, so another attempt is safe.
            if self._trace is not None:
                self._trace.mark("a proposal was dropped")
            error: RangeError = NotLeader(self.id)
            if not self.group.core.transfer_target:
                self._all_open.refused += 1
                error = Overloaded(
                    f"{self.group.core.uncommitted_bytes} bytes of range {self.id} are uncommitted"
                )
            self._answer(proposals[0], RangeReply(proposals[0].request.request_id, error=error))
            return
        for offset, work in enumerate(proposals):
            assert first + offset not in self._proposed, (
                f"range {self.id}: {first + offset} is proposed in term {work.term}, and was by "
                f"{self._proposed[first + offset].request} in term {self._proposed[first + offset].term}"
            )
            self._proposed[first + offset] = work
        last = proposals[-1].command
        if last is not None and last.change is not None:
            self._changing_at = first + len(proposals) - 1

    def _believe_followers(self) -> None:
        """Take what members have said for what it is: as good as answers to a round of heartbeats (thesis 6.4), up to
        their clocks of then, where they followed this leader in the term that it serves."""
        members = [self.group.config.node_id]
        for node, (clock, followed, _) in sorted(self._said.items(), key=_clock_of, reverse=True):
            if clock <= self._confirmed_clock:
                return
            if followed.get(self.id) == self._served_term:
                members.append(node)
                if self.group.is_quorum(members):
                    self._confirmed_clock = clock
                    return

    def confirm_mark(self, done: Callable[[], None]) -> None:
        """Call `done` once a quorum has confirmed, after now, that this replica leads; never, if it doesn't."""
        self.idle_ticks = 0
        self._marks[self.confirm_leadership([])] = done
        self._touch(self)

    def close(self, timestamp: Timestamp) -> int:
        """A serving leader takes no write at or below this timestamp any more. The index at which those end that it has
        taken already."""
        assert self.leadership is not None, (
            f"range {self.id}: {timestamp} is closed by a replica that doesn't serve"
        )
        reads = self.leadership.reads
        reads.low_water = max(reads.low_water, timestamp)
        return self.group.last_index

    def confirm_leadership(self, works: list[Work]) -> bytes:
        """Answer these once a quorum has confirmed, after now, that this replica leads. The round's context."""
        self.reads.rounds += 1
        self._contexts += 1
        context = _CONTEXT.pack(self._contexts)
        self._unconfirmed[context] = (works, self._clock.last)
        self.group.read_index(context)
        return context

    def take_ready(self, ready: Ready, batch: WriteBatch) -> None:
        """Put everything that a Ready wants kept, and the effects of what is committed, into the turn's batch."""
        if ready.soft_state is not None:
            self.leader_changed = True
            self.idle_ticks = 0
            if self._patience_ticks and self.group.leader_id not in (0, self.group.config.node_id):
                # Another one won.
                self._patience_ticks = 0
                self._touch(self)
        if self.leadership is not None and (not self.group.is_leader or self.group.term != self._served_term):
            self._refuse_all()
        if ready.snapshot is not None:
            assert not ready.committed_entries, f"range {self.id}: entries to apply beside a snapshot"
            before, self.make_room = self.make_room, None
            if before is None:
                before = WriteBatch()
            mine = self.descriptor
            if mine.is_known:
                # It may hold less by now: what it has lost is for others to bring.
                for kind in keys.DATA:
                    before.delete_range(*keys.span(kind, mine.start, mine.end))
            self._become(decode_descriptor(self.log.restore(batch, ready.snapshot, before).descriptor))
            self.state.start, self.state.end = self.descriptor.start, self.descriptor.end
            self.applied_index, self.applied_term = ready.snapshot.index, ready.snapshot.term
            self._conf_state = ready.snapshot.conf_state
            self._reload = True
            self._lose_track(ready.snapshot.index)
            if self._trace is not None:
                self._trace.mark("a replica was restored from a snapshot")
        if ready.hard_state is not None:
            self.log.set_hard_state(batch, ready.hard_state)
        if ready.entries:
            self.log.append(batch, ready.entries)
        for state in ready.read_states:
            asked = self._unconfirmed.pop(state.context, None)
            marked = self._marks.pop(state.context, None)
            if marked is not None and self.leadership is not None:
                marked()
            if asked is not None:
                works, clock = asked
                if self.leadership is not None and clock > self._confirmed_clock:
                    self._confirmed_clock = clock
                if works:
                    self._confirmed.append((state.index, works))
        for context in ready.dropped_reads:
            self._marks.pop(context, None)
            for work in self._unconfirmed.pop(context, _NOTHING)[0]:
                self._finished.append((work, RangeReply(work.request.request_id, error=self.not_leader())))
        if ready.entries or ready.committed_entries:
            self.idle_ticks = 0
        if ready.committed_entries:
            for entry in ready.committed_entries:
                if self.is_departed:
                    break  # The store removes it in its next turn.
                self._apply(entry, batch)
            put_applied_state(
                batch, self.id, AppliedState(self.applied_index, self.applied_term, self._conf_state)
            )

    def _apply(self, entry: Entry, batch: WriteBatch) -> None:
        index = entry.index
        assert index == self.applied_index + 1, (
            f"range {self.id}: entry {index} to be applied after {self.applied_index}"
        )
        work = self._proposed.pop(index, None)
        happened = False
        data = entry.data
        if entry.kind != EntryKind.NORMAL:
            membership = decode_conf_change(entry)
            data = membership.context
            if not data:
                self._conf_state = self.group.apply_conf_change(membership)
        if data:
            is_ours = work is not None and work.term == entry.term and work.command is not None
            command = work.command if is_ours and work is not None else decode_command(data)
            assert command is not None
            self._clock.forward(command.timestamp)
            happened = command.generation == self.descriptor.generation and self.state.apply(
                command, entry.term, batch
            )
            if happened and entry.kind != EntryKind.NORMAL:
                self._conf_state = self.group.apply_conf_change(membership)
                self._note_members(index)
            if happened and command.change is not None:
                self._carry_out(command.change, entry.term, command.timestamp, batch)
            if happened and self._lock_waits:
                for freed in self._lock_waits.freed_by(command.mutations):
                    self._queue.append(freed)
                    self._touch(self)
            if not happened and self._trace is not None:
                self._trace.mark("a command of another term was dropped when applied")
        self.applied_index = index
        if self._changing_at and index >= self._changing_at:
            self._changing_at = 0
            self._touch(self)
        if entry.term > self.applied_term:
            self.applied_term = entry.term
            self._answer_lost(entry.term)
        if work is None:
            return
        if work.term == entry.term and happened:
            assert work.reply is not None
            assert work.command is not None
            if work.term == self._served_term and work.command.timestamp > self._confirmed_clock:
                # The quorum that took the entry heard at least this clock with it, and followed this leader.
                self._confirmed_clock = work.command.timestamp
            if work.term == self._served_term and self.leadership is not None:
                note_applied(work.request, work.reply, work.command.timestamp, self.leadership)
            self._finished.append((work, work.reply))
        elif work.term == entry.term:
            # It was evaluated for the range as it was, and has had no effect.
            self._finished.append((work, self._mismatch(work.request)))
        else:
            # The index went to another term's entry, so this one can never be committed.
            if self._trace is not None:
                self._trace.mark("a proposal was lost with its leadership")
            self._finished.append((work, RangeReply(work.request.request_id, error=self.not_leader())))

    def _note_members(self, index: int) -> None:
        """An entry has changed who is a member."""
        members = self.group.core.peers.progress
        new = [one for one in self._conf_state.learners if one not in self._joined]
        for one in new:
            self._joined[one] = index
        self._joined = {one: at for one, at in self._joined.items() if one in members}
        self._pushes += tuple(new)

    def push_snapshots(self) -> None:
        """Leader: whoever was added and has nothing yet is sent a snapshot, without being asked whether it wants one;
        for it may not even take part before that."""
        self._pushes = ()
        for node in self.descriptor.learners:
            if self.group.push_snapshot(self._id_of(node)):
                if self._trace is not None:
                    self._trace.mark("a new member was sent a snapshot")
                self._touch(self)

    def _carry_out(self, change: Change, term: int, timestamp: Timestamp, batch: WriteBatch) -> None:
        """An entry of this term changes the range itself; what other ranges have to do with it is for the store."""
        leads = self.group.is_leader and self.group.term == term == self._served_term
        match change:
            case SplitAt(key=key):
                left, right = split_descriptor(self.descriptor, change)
                self._become(left)
                batch.put(keys.descriptor_key(self.id), encode_descriptor(left))
                self.state.narrow(key, batch)
                heritage = self.leadership.copy() if leads and self.leadership is not None else None
                self.split_off += (SplitOff(right, self._conf_state, leads, heritage),)
            case Move():
                if self._trace is not None and leads and change.step is MoveStep.LEAVE:
                    self._trace.mark("a replica was moved")
                self._become(moved(self.descriptor, change))
                batch.put(keys.descriptor_key(self.id), encode_descriptor(self.descriptor))
                self.moving_ticks = 0
            case _:
                self._become(changed(self.descriptor, change))
                batch.put(keys.descriptor_key(self.id), encode_descriptor(self.descriptor))
                self._frozen_ticks = 0
                if isinstance(change, Absorb):
                    self._absorb(decode_descriptor(change.right), timestamp)
        if leads:
            # So that followers hear at once that it is committed, and apply it too: what comes next waits for them.
            self.confirm_leadership([])
        if self._lock_waits:
            self._queue += self._lock_waits.take_all()

    def _absorb(self, right: Descriptor, timestamp: Timestamp) -> None:
        """The right neighbour's keys are this range's, as of this timestamp."""
        self.absorbs += (right,)
        # All its replicas had it frozen, durably, before this entry was proposed: the engine has everything.
        self.state.widen(right.start, right.end)
        if self.leadership is not None:
            self.leadership.reads.record_span(right.start, right.end, timestamp)
            self.leadership.markers.forget_before(right.start, right.end, timestamp)

    def retire(self) -> None:
        """Another range has taken this one over, or another replica this one's place: whoever waits is told."""
        self.is_retired = True
        works = [*self._queue, *self._waiting.values(), *self._lock_waits.take_all()]
        works += [work for _, some in self._confirmed for work in some]
        works += [work for some, _ in self._unconfirmed.values() for work in some]
        self._queue, self._confirmed = [], []
        self._waiting.clear()
        self._unconfirmed.clear()
        for work in works:
            self._answer(work, self._mismatch(work.request))
        unknown = Ambiguous("the range was merged into another one while the request was under way")
        proposed = [work for _, work in sorted(self._proposed.items())]
        self._proposed.clear()
        for work in proposed:
            self._answer(work, RangeReply(work.request.request_id, error=unknown))

    def _become(self, descriptor: Descriptor) -> None:
        """The range is another one from now on."""
        self.descriptor = descriptor
        self.descriptor_changed = True
        self.is_departed = self._node not in descriptor.members
        self._preferred_id = self._id_of(descriptor.preferred_leader)
        self.group.set_election_window(election_window(descriptor, self._node, self._options))
        is_preferred = descriptor.preferred_leader == self._node
        if is_preferred != self._is_preferred:
            self._is_preferred = is_preferred
            self.group.set_priority(1 if is_preferred else 0)

    def begin(self, origin: SplitOff) -> None:
        """This replica was just made by a split."""
        self._heritage = origin.heritage
        if origin.is_heir:
            if self._trace is not None:
                self._trace.mark("a leader campaigned for the range that it had cut off")
            self._patience_ticks = self._options.election_ticks
            # Nobody else leads yet, so there is nobody whom a campaign without being asked first could disturb.
            me = self.group.config.node_id
            self.group.step(Message(MessageKind.TIMEOUT_NOW, me, me, self.group.term))

    def _answer_lost(self, term: int) -> None:
        """An entry of this term was committed, so no entry of an earlier term that comes after it ever will be: in
        every log that a later leader may have, terms never decrease. Those above its index that were cut off get no
        other answer, since another term's entry may never reach their index while they are remembered."""
        for at in sorted(at for at, work in self._proposed.items() if work.term < term):
            if self._trace is not None:
                self._trace.mark("a proposal was lost with its leadership")
            work = self._proposed.pop(at)
            self._finished.append((work, RangeReply(work.request.request_id, error=self.not_leader())))

    def _lose_track(self, index: int) -> None:
        """A snapshot covers these entries; whether they are among ours is not known."""
        lost = Ambiguous("the leader was replaced by a snapshot while the request was under way")
        for at in [at for at in self._proposed if at <= index]:
            if self._trace is not None:
                self._trace.mark("the outcome of a request was lost in a snapshot")
            work = self._proposed.pop(at)
            self._finished.append((work, RangeReply(work.request.request_id, error=lost)))
        self._answer_lost(self.applied_term)

    def answer(self) -> None:
        """The turn's batch is written: answer what was applied, and evaluate the reads whose time has come."""
        if self._reload:
            self._reload = False
            self.state.load()
        if self._pushes:
            self.push_snapshots()
        if self.leadership is None and self.group.is_leader and self._may_serve() and self._queue:
            self._touch(self)
        if self._finished:
            finished, self._finished = self._finished, []
            for work, reply in finished:
                self._answer(work, reply)
        if self._confirmed:
            confirmed, self._confirmed = self._confirmed, []
            for index, works in confirmed:
                if index > self.applied_index:
                    self._confirmed.append((index, works))
                    if self._trace is not None:
                        self._trace.mark("a read waited for what it must see to be applied")
                    continue
                for work in works:
                    self._answer_or_wait(work, self._evaluate_confirmed(work).reply)

    def _evaluate_confirmed(self, work: Work) -> Evaluation:
        if self.leadership is None:
            return refuse(work.request, self.not_leader())
        if work.request.generation != self.descriptor.generation:
            if self._trace is not None:
                self._trace.mark("a request was under way when its range was split")
            return Evaluation(self._mismatch(work.request))
        if work.reply is not None:
            return Evaluation(work.reply)
        assert work.timestamp is not None
        if work.is_certain:
            reply = evaluate_certain_read(work.request, self.state, work.timestamp)
        else:
            reply = evaluate_read(work.request, self.state, self.leadership, work.timestamp).reply
        if self.state.threshold != ZERO:
            reply = checked(work.request, reply, self.state)
            if self._trace is not None and isinstance(reply.error, SnapshotTooOld):
                self._trace.mark("a read was refused below the threshold of what is kept")
        return Evaluation(reply)

    def _answer_or_wait(self, work: Work, reply: RangeReply) -> None:
        """Answer what was just evaluated, unless an intent is in the way that will most likely go by itself."""
        if (
            not isinstance(reply.error, IntentConflict)
            or not self._options.lock_wait_ticks
            # Who refreshes holds intents, which others wait for.
            or isinstance(work.request.operations[0], Refresh)
        ):
            self._answer(work, reply)
            return
        if work.guard is not None:
            assert work.latches is not None
            work.latches.release(work.guard)
            work.guard = work.latches = None
        self._lock_waits.add(work, reply)
        if self._trace is not None:
            self._trace.mark("a request waited for an intent to go")

    def _answer(self, work: Work, reply: RangeReply) -> None:
        self.open_requests -= 1
        self._all_open.count -= 1
        self._all_open.size_bytes -= work.size_bytes
        if work.guard is not None:
            assert work.latches is not None
            work.latches.release(work.guard)
            # It refers back to the request: let go of, both are freed here and not by the garbage collector.
            work.guard = None
        work.done(reply)

    def _refuse_all(self) -> None:
        """This replica does not lead any more. What was proposed may still be committed, so it stays."""
        self.leadership = self._heritage = None
        self._changing_at = self._patience_ticks = 0
        works = [*self._queue, *self._waiting.values(), *self._lock_waits.take_all()]
        self._queue.clear()
        self._waiting.clear()
        for _, confirmed in self._confirmed:
            works.extend(confirmed)
        self._confirmed.clear()
        refusal = self.not_leader()
        if works and self._trace is not None:
            self._trace.mark("requests were refused because leadership was lost")
        for work in works:
            self._finished.append((work, RangeReply(work.request.request_id, error=refusal)))
        self._touch(self)

    # Now and then.

    @property
    def has_work(self) -> bool:
        """Whether a turn would do something here."""
        return bool(
            self._finished
            or (
                self._queue
                and not self._changing_at
                and (
                    self.descriptor.merging is None
                    or not self.group.is_leader
                    or any([isinstance(work.request.operations[0], CHANGES) for work in self._queue])
                )
                and (self.leadership is not None if self.group.is_leader else not self._patience_ticks)
            )
            or self.group.has_ready()
        )

    def tick(self) -> None:
        """One tick passes."""
        descriptor = self.descriptor
        if self._lock_waits.waiting:
            self._finished += self._lock_waits.tick()
        if self.group.core.renews_lease:
            now_ns = self._monotonic_ns()
            self.group.tick()
            self.lease.tick(now_ns)
        else:
            self.group.tick()
        self.idle_ticks += 1
        if self._early_ticks:
            self._early_ticks -= 1
        if self._patience_ticks:
            self._patience_ticks -= 1
        if descriptor.merging is not None:
            self._frozen_ticks += 1
            if self._frozen_ticks > self._options.election_ticks and self._queue:
                # Too long for anybody to wait without knowing.
                for work in self._queue:
                    self._finished.append(
                        (work, RangeReply(work.request.request_id, error=NotLeader(self.id)))
                    )
                self._queue = []
        elif self._frozen_ticks:
            self._frozen_ticks = 0
        if descriptor.learners or descriptor.leaving:
            self.moving_ticks += 1
        if not self.group.is_leader:
            self.led_ticks = 0
            return
        self.led_ticks += 1
        if not self._is_preferred:
            # Raft forgets this once an election timeout; whoever asks at that moment must not be misled.
            peer = self.group.core.peers.progress.get(self._preferred_id)
            if peer is not None and peer.recent_active:
                self._preferred_seen_at = self.led_ticks

    def may_sleep(self, absent: Collection[int]) -> bool:
        """Whether a leader has nothing to do, nor its followers, apart from those whose nodes are down."""
        return (
            self.leadership is not None
            and self._served_term == self.group.term
            and not self.open_requests
            and not self._unconfirmed
            and not self._proposed
            and not self._finished
            and not self._early_ticks
            and not self._patience_ticks
            and self.descriptor.merging is None
            and not self.descriptor.is_moving
            and not self.group.core.renews_lease
            # Somebody may have to finish these.
            and not self.state.records
            and not len(self.state.locks)
            # It is about to be handed over.
            and (self._is_preferred or self._preferred_id in absent or is_on(self._options.placement))
            and self.group.may_quiesce_without(absent)
        )

    def may_sleep_after(self, leader: int, term: int, last: int) -> bool:
        """Whether a follower has nothing to do that its leader doesn't know of."""
        return not self.open_requests and self.group.may_quiesce_after(leader, term, last)

    def relies_on(self, member: int, also_led: bool) -> bool:
        """Whether it follows this member; or also, leads it."""
        core = self.group.core
        if core.leader_id == member:
            return True
        return also_led and self.group.is_leader and member in core.peers.progress

    @property
    def is_unborn(self) -> bool:
        """Whether it is of a range that nobody has led, or asked to lead, as far as is known here, and that has a
        replica which should be the first to ask."""
        core = self.group.core
        return (
            core.term == 0
            and core.log.last_index == 0
            and self._preferred_id in core.peers.configuration.voters
            and self.group.config.node_id in core.peers.configuration.voters
        )

    def campaign_if_new(self) -> None:
        """At a cluster's first start whose turn it is need not wait for a timeout, nor ask before it campaigns: nobody
        leads whom it could disturb."""
        if self.group.core.term == 0 and self.group.core.leader_id == 0:
            self._touch(self)
            me = self.group.config.node_id
            self.group.step(Message(MessageKind.TIMEOUT_NOW, me, me, self.group.term))

    @property
    def rests_after_ticks(self) -> int:
        """How long nothing must happen before it may sleep. One that was just made or woken, and that nobody has asked
        for anything, waits for its followers only: of thousands of ranges of a node that starts, or that was silent
        for a moment, most are such."""
        most = self._options.quiesce_ticks
        return min(most, self._options.heartbeat_ticks + 1) if self.is_fresh else most

    def compact(self, batch: WriteBatch) -> None:
        """Drop entries that are applied and that nobody needs, or that are too many, see `truncation`."""
        log, options = self.log, self._options
        # Raft learns what this turn applies only at the end of the turn.
        first, applied = log.first_index(), self.group.applied
        at = None
        if log.size_bytes > options.log_bytes_most:
            at = cut_at_size(first, applied, log.sizes(), log.size_bytes, options.log_bytes_most)
            if at is not None and self._trace is not None:
                self._trace.mark("a log was cut because of its size")
        if at is None and applied - first >= options.log_entries_kept:
            needed = None
            if self.group.is_leader:
                peers = self.group.core.peers
                needed = needed_by_followers([peers.progress[node] for node in peers.others])
            at = cut_at(first, applied, options.log_entries_kept, needed)
        if at is not None:
            if self._trace is not None:
                self._trace.mark("a log was compacted")
            log.compact(batch, at)
            self.group.compacted(log.first_index())

    def cut_log(self, batch: WriteBatch) -> None:
        """Drop all that is applied, whoever lacks it. Between two turns."""
        applied = self.group.applied
        if applied >= self.log.first_index():
            self.log.compact(batch, applied)
            self.group.compacted(self.log.first_index())

    @property
    def is_stuck(self) -> bool:
        """Whether this replica leads a range that has been frozen for longer than a merge takes."""
        return (
            # A snapshot may have thawed it, and no tick has come since.
            self.descriptor.merging is not None
            and self._frozen_ticks > 2 * self._options.election_ticks
            and self.group.is_leader
        )

    def led(self) -> Led | None:
        """What placement must know of a range that this node leads; None if it does not."""
        if not self.group.is_leader or self.leadership is None:
            return None
        peer = self.group.core.peers.progress.get(self._preferred_id)
        if self._is_preferred or peer is None or self.group.core.transfer_target:
            return None
        return Led(
            range_id=self.id,
            preferred_is_me=False,
            preferred_is_active=(
                peer.state == ProgressState.REPLICATE
                and self.led_ticks - self._preferred_seen_at < self._options.election_ticks
            ),
            preferred_lag_entries=self.group.last_index - peer.match,
            led_for_ticks=self.led_ticks,
        )

    def hand_over(self) -> None:
        """Ask the preferred replica to take over."""
        self.group.transfer_leadership(self._preferred_id)

    def give_away(self) -> None:
        """This node is about to stop: ask the follower that is closest behind to take over, if one answers."""
        if not self.group.is_leader:
            return
        nearest = self._nearest()
        if nearest:
            self.group.transfer_leadership(nearest)
            self._touch(self)

    def _nearest(self) -> int:
        """Leader: the follower that is closest behind, answers, and will go on to vote; 0 if there is none."""
        core = self.group.core
        # Raft forgets who was heard once an election timeout; until the next answers nobody is known to be silent.
        was_forgotten = core.election_elapsed <= self._options.heartbeat_ticks
        followers = [
            (peer.match, number)
            for number, peer in core.peers.progress.items()
            if number != self.group.config.node_id
            and number in core.peers.configuration.voters
            and (peer.recent_active or was_forgotten)
            and peer.state == ProgressState.REPLICATE
        ]
        return max(followers)[1] if followers else 0

    def look_after_snapshots(self, under_way: Collection[int] = ()) -> None:
        """Called once a second: a follower that stays silent after it has got a snapshot is asked anew; not those to
        whom one is `under_way`."""
        if not self.group.is_leader:
            self._snapshot_sent.clear()
            return
        if self.descriptor.learners:
            self.push_snapshots()
        for number, peer in self.group.core.peers.progress.items():
            if peer.state != ProgressState.SNAPSHOT or number in under_way:
                self._snapshot_sent.pop(number, None)
                continue
            seconds = self._snapshot_sent.get(number, 0) + 1
            self._snapshot_sent[number] = seconds
            if seconds > SNAPSHOT_PATIENCE_S:
                self._snapshot_sent.pop(number)
                self.group.report_snapshot(number, False)
                self._touch(self)

    def report_unreachable(self, node: str) -> None:
        """The link to this node broke."""
        number = self._id_of(node)
        if number and self.group.is_leader:
            self.group.report_unreachable(number)
