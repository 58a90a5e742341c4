"""All replicas of one node, driven together: one batch and at most one sync a turn, whatever the number of ranges.

A turn, in this order:

1. Evaluate requests and propose what they write. (Raft messages are taken in when they arrive, or when the turn that is
   under way has ended. Those after which there is nothing to do, such as the last follower's acknowledgement, cost no
   turn.)
2. Take the Ready of every group with work. Log entries, hard states, the effects and indexes of committed entries, and
   the clock's bound go into one batch, which is written (visible, not yet durable).
3. Messages that need no durability leave. Requests whose entry was applied, and confirmed reads, are answered.
4. If anybody waits for durability, one sync is started; the loop goes on, the next turn waits for it.
5. Then the promises leave (acknowledgements, votes), and every group advances.

So every acknowledgement that a leader counts follows a sync on the node that gave it. What arrives during a sync shares
the next turn, which is what makes one sync serve many writes.

Nothing in this file knows sockets, threads or the time; the node calls `turn` and `tick`, and hears `wake`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from reference_db.api import (
    AwaitFrozen,
    BadRequest,
    Overloaded,
    RangeMismatch,
    RangeReply,
    RangeRequest,
    Reshaped,
    RetireReplica,
    TimedOut,
    spans_of,
)
from reference_db.raft import ConfState, HardState, Message, MessageKind, Ready, Role, beats
from reference_db.raft.core import RaftCore
from reference_db.raft.reads import number_of
from reference_db.ranges.closed_timestamps import ClosedTimestamps
from reference_db.ranges.descriptor import (
    Descriptor,
    decode_descriptor,
    encode_descriptor,
    unknown_range,
)
from reference_db.ranges.elections import ElectionBound
from reference_db.ranges.flow import Inbox, OpenRequests
from reference_db.ranges.heartbeats import (
    ANSWER_NUMBERS,
    BEAT_NUMBERS,
    SLEEP_NUMBERS,
    WAKE_UP,
    HeartbeatOutbox,
    Heartbeats,
)
from reference_db.ranges.led import Led
from reference_db.ranges.merge import erase_range
from reference_db.ranges.options import StoreOptions, is_on
from reference_db.ranges.replica import Done, ReadCounters, Replica, Said, Saying
from reference_db.ranges.snapshots import SnapshotCounters, SnapshotReceiver, SnapshotSender, Taken
from reference_db.ranges.split import SplitOff, write_right
from reference_db.ranges.survey import Survey, describe_replica, survey
from reference_db.ranges.tombstones import GONE, Tombstone, erase_data, read_tombstone, tombstone_for
from reference_db.ranges.unborn import Unborn
from reference_db.storage import keys
from reference_db.storage.engine import Engine, WriteBatch
from reference_db.storage.raft_log import begin_range, bootstrap_range
from reference_db.storage.range_snapshot import AppliedState, snapshot_descriptor
from reference_db.storage.snapshot_pieces import finish_placing
from reference_db.timestamp import HybridClock, Timestamp
from reference_db.trace import Trace

RANGES_KEY = keys.STORE + b"ranges"
"""The ids of the ranges that have a replica here."""
AWAIT_FROZEN_MS = 1500
"""How long a node is asked whether its replica is frozen, before it gives up."""

Retired = Callable[[str | None], None]
"""Hears why a replica may not be removed, or None once it is durable that nothing is left of it."""

_ENCODER = msgspec.msgpack.Encoder()
_HEARTBEAT, _HEARTBEAT_RESPONSE = MessageKind.HEARTBEAT, MessageKind.HEARTBEAT_RESPONSE
_SNAPSHOT, _SNAPSHOT_ANSWER = MessageKind.SNAPSHOT, MessageKind.SNAPSHOT_ANSWER
_LEADER = Role.LEADER
_PRE_VOTE, _VOTE = MessageKind.PRE_VOTE, MessageKind.VOTE
_NOBODY: dict[int, int] = {}
_INVITATIONS = frozenset({MessageKind.VOTE, MessageKind.PRE_VOTE, MessageKind.HEARTBEAT, _SNAPSHOT})
"""Messages after which a node takes part in a range that it does not know."""


@dataclass(slots=True)
class StoreCounters:
    """Since the node was started."""

    turns: int = 0
    batches: int = 0
    syncs: int = 0
    raft_messages: int = 0
    replica_ticks: int = 0
    """Ticks that passed for single replicas: none for those that sleep."""
    heartbeats: int = 0
    """Heartbeats sent, one for each range and follower, in whatever envelopes."""
    heartbeat_answers: int = 0
    heartbeat_envelopes: int = 0
    """Frames with heartbeats in them."""
    answer_envelopes: int = 0
    """Frames with answers to heartbeats in them."""
    pre_votes: int = 0
    """Requests for pre-votes sent; an election among F replicas needs F - 1."""
    votes: int = 0
    """Requests for votes sent; the same."""
    sleeps: int = 0
    """How often a replica went to sleep."""
    wakes: int = 0
    """How often one was woken."""
    requests: int = 0
    refused: int = 0
    """Requests refused because too many were under way."""
    splits: int = 0
    """Ranges that this node has seen cut in two."""
    merges: int = 0
    """Ranges that this node has seen absorbed by their neighbours."""
    snapshots: int = 0
    """Snapshots sent to followers."""
    elections_won: int = 0
    """How often a replica here became its range's leader."""
    retired: int = 0
    """Replicas removed because their ranges had left this node."""


def bootstrap_store(
    engine: Engine, node: str, nodes: Sequence[str], descriptors: Sequence[Descriptor]
) -> None:
    """Write the first state of a node into an empty engine, durably. Raises ValueError if the engine belongs to another
    node or cluster."""
    identity = _ENCODER.encode([node, list(nodes), len(descriptors)])
    known = engine.get(keys.STORE_IDENTITY)
    if known is not None:
        if known != identity:
            raise ValueError(
                f"this data folder belongs to {msgspec.msgpack.decode(known)}, not to {[node, list(nodes)]} with "
                f"{len(descriptors)} ranges (node, nodes, ranges); give each cluster folders of its own"
            )
        return
    batch = WriteBatch()
    mine = [descriptor for descriptor in descriptors if node in descriptor.replicas]
    for descriptor in mine:
        voters = [nodes.index(replica) + 1 for replica in descriptor.replicas]
        bootstrap_range(batch, descriptor.id, encode_descriptor(descriptor), voters)
    batch.put(RANGES_KEY, _ENCODER.encode([descriptor.id for descriptor in mine]))
    batch.put(keys.STORE_IDENTITY, identity)
    engine.write(batch)
    engine.sync()


def read_descriptors(engine: Engine) -> list[Descriptor]:
    """The ranges that have a replica in this engine."""
    ids = msgspec.msgpack.decode(engine.get(RANGES_KEY) or b"\x90", type=list[int])
    found = []
    for range_id in ids:
        encoded = engine.get(keys.descriptor_key(range_id))
        found.append(unknown_range(range_id) if encoded is None else decode_descriptor(encoded))
    return found


class Store:
    """The replicas of one node."""

    def __init__(
        self,
        *,
        node: str,
        names: dict[int, str],
        engine: Engine,
        clock: HybridClock,
        monotonic_ns: Callable[[], int],
        options: StoreOptions,
        random_stream: random.Random,
        send: Callable[[str, int, Message], None],
        sync: Callable[[Callable[[], None]], None],
        wake: Callable[[], None],
        leader_changed: Callable[[int, str | None], None],
        alarm: Callable[[str, str], None] | None = None,
        descriptor_changed: Callable[[Descriptor], None] | None = None,
        trace: Trace | None = None,
        others_needed: int | None = None,
    ) -> None:
        """`names` maps Raft ids to nodes. `send(node, range, message)` puts a message into the node's outbox;
        `sync(done)` makes what was written durable, then calls `done`; `wake` asks for a turn soon;
        `leader_changed(range, node)` says who leads now, as far as this node knows; `alarm(area, text)` hears, once,
        what somebody must do something about; `descriptor_changed` hears of every range of which this node has another
        descriptor than before. `others_needed`: so many other nodes meet, with this one, every quorum of every range of
        the cluster; by default all."""
        self.node = node
        self._names = names
        self._engine = engine
        self.clock = clock
        self._monotonic_ns = monotonic_ns
        self._options = options
        self._send = send
        self._sync = sync
        self._wake = wake
        self._leader_changed = leader_changed
        self._descriptor_changed = descriptor_changed
        self._alarm = alarm
        self._monotonic_ns = monotonic_ns
        self._random = random_stream
        self._trace = trace
        self._ticks = 0
        self.replicas: dict[int, Replica] = {}
        self._said: Said = {}
        self.open = OpenRequests()
        self._id = next(number for number, name in names.items() if name == node)
        self._coalescing = is_on(options.coalescing)
        self.heartbeats = HeartbeatOutbox()
        """To be sent with the node's next frames."""
        self._awake: dict[int, Replica] = {}
        """Replicas for which time passes. Everything that is done for all replicas is done for these only."""
        self._batching = is_on(options.batching)
        self._quiescence = is_on(options.quiescence)
        self._heard = {number: 0 for number in names if number != self._id}
        """By other member: the tick in which a frame of it arrived last."""
        self._election_bound = ElectionBound(options)
        self._silent: set[int] = set()
        """Members that were silent for an election timeout: whoever sleeps and relies on them was woken."""
        self._broken: set[int] = set()
        """Members whose connection broke, and that were not heard since."""
        self._followed: dict[int, dict[int, int]] = {}
        """By leader, a Raft id: the ranges in which this node follows it, with their terms."""
        self._follows_version = clock.now().wall_ns
        """Another one after each change of that; other nodes remember what it stood for. No other life of this node has
        the same ones, since its clock goes on."""
        self._touched: dict[int, Replica] = {}
        """Replicas that the next turn looks at, in the order in which they were touched."""
        self.inbox = Inbox()
        """Raft messages that arrived while a sync is under way."""
        self._strangers: list[tuple[int, Message]] = []
        """Messages for ranges that are not here. They wait for the end of a turn, which may bring the range."""
        self._frozen_waits: list[tuple[RangeRequest, Done, int]] = []
        """Who wants to hear that a replica here is frozen, durably; and until which tick."""
        self._cut_off: list[int] = []
        """Ranges that were cut off in the turn that is under way: their replicas are in its batch, and not made yet."""
        self._absorbed: set[int] = set()
        """Those among the following whose ranges are gone for good."""
        self.elsewhere: Callable[[bytes, bytes | None], Sequence[Descriptor]] = lambda _start, _end: ()
        """What this node has heard of the ranges that hold a span, wherever they are."""
        self._retiring: list[tuple[Descriptor, Retired]] = []
        """Replicas that the next turn removes: by these descriptors this node has none."""
        self._keeping: list[tuple[bytes, bytes, Callable[[], None]]] = []
        """What the node itself wants to be durable: keys, values, and who hears that they are."""
        self.may_hold: Callable[[str], bool] = lambda _node: True
        """Whether a range may take a node as a member."""
        self._in_flight = False
        """A turn waits for its sync."""
        self._room = 0
        """So many more requests may come before they must be counted again: some will have been answered by then."""
        self.counters = StoreCounters()
        self.reads = ReadCounters()
        others = [name for name in names.values() if name != node]
        self.closed = ClosedTimestamps(
            node=node,
            options=options,
            clock=clock,
            monotonic_ns=monotonic_ns,
            replicas=self.replicas,
            others=others,
            others_needed=len(others) if others_needed is None else others_needed,
        )
        # One bound method for all replicas.
        self._touch_one, self._whose_one = self._touch, self._whose
        finished = finish_placing(engine)
        if finished and trace is not None:
            trace.mark("a snapshot that a crash had left half in place was finished")
        self.snapshots = SnapshotCounters(placed=len(finished))
        self._transfers = self.clock.now().wall_ns
        self.sender = SnapshotSender(
            engine,
            options,
            self.snapshots,
            read_range=self._read_range,
            new_transfer=self._new_transfer,
            send=self._send_piece,
            failed=self._snapshot_failed,
        )
        self.receiver = SnapshotReceiver(
            engine,
            options,
            self.snapshots,
            admits=self._has_room_as_of,
            send=self._send_piece,
            is_awaited=self._awaits_snapshot,
        )
        if self.snapshots.resumed and trace is not None:
            trace.mark("a node started with a part of a snapshot")
        self._may_hold_one = self._may_hold
        for descriptor in read_descriptors(engine):
            self._add(descriptor)
        self._unborn = Unborn(node, options.election_ticks, self._quiescence)
        self._hold_unborn()
        if engine.get(keys.CLOCK_BOUND) is not None:
            # Nothing leaves a node before its clock's bound is durable: an earlier life may have promised something.
            for replica in self.replicas.values():
                replica.group.hold_votes()
        self._clean_up()

    def _add(self, descriptor: Descriptor) -> Replica:
        """Make the replica of a range whose state is in the engine."""
        replica = Replica(
            descriptor=descriptor,
            node=self.node,
            names=self._names,
            engine=self._engine,
            clock=self.clock,
            monotonic_ns=self._monotonic_ns,
            options=self._options,
            random_stream=self._random,
            touch=self._touch_one,
            trace=self._trace,
            said=self._said,
            all_open=self.open,
            whose=self._whose_one,
            may_hold=self._may_hold_one,
            closed=self.closed,
            reads=self.reads,
        )
        before = self.replicas.get(descriptor.id)
        if before is not None:
            replica.followed = before.followed
            if before.group.core.in_lease():
                # It has heard a leader, which may hold a lease because of that.
                replica.group.hold_votes()
        self._awake[descriptor.id] = self.replicas[descriptor.id] = replica
        return replica

    def _may_hold(self, node: str) -> bool:
        return self.may_hold(node)

    def add_member(self, number: int, node: str) -> None:
        """A node was added to the cluster, with this Raft id."""
        self._names[number] = node
        self._heard[number] = self._ticks

    def keep(self, key: bytes, value: bytes, done: Callable[[], None]) -> None:
        """Have something of the node itself written in the next turn; `done` hears when it is durable."""
        self._keeping.append((key, value, done))
        self._wake()

    def remove_replica(self, range_id: int) -> None:
        """Forget a replica, between two turns. All its requests must have been answered."""
        replica = self.replicas.pop(range_id)
        assert not replica.open_requests, f"range {range_id} goes with {replica.open_requests} open requests"
        self._awake.pop(range_id, None)
        self._unborn.remove(range_id)
        self._touched.pop(range_id, None)
        if self._followed.get(replica.followed[0], _NOBODY).pop(range_id, None) is not None:
            self._follows_version += 1

    # What arrives.

    def receive(self, raft: Sequence[tuple[int, Message]]) -> None:
        """Raft messages of a frame. The clock was forwarded already."""
        if self._in_flight:
            self.inbox.extend(raft)
        else:
            self._take_in(raft)

    def _take_in(self, raft: Sequence[tuple[int, Message]]) -> None:
        stepped: dict[int, Replica] = {}
        for range_id, message in raft:
            if message.kind is _SNAPSHOT_ANSWER:
                self.sender.answered(range_id, message)
                continue
            if message.kind is _SNAPSHOT and message.context:
                complete = self.receiver.take(range_id, message)
                if complete is None:
                    continue
                message = complete
            replica = self.replicas.get(range_id)
            if replica is None:
                self._strangers.append((range_id, message))
                continue
            if replica.asleep_since is not None:
                if message.kind is _HEARTBEAT_RESPONSE and message.term == replica.group.term:
                    continue  # To a heartbeat from before.
                self._wake_up(replica, message.source)
            if message.kind is not _SNAPSHOT or self._has_room_for(range_id, message):
                replica.step(message)
                stepped[range_id] = replica
        for range_id, replica in stepped.items():
            if replica.has_work:
                self._touched[range_id] = replica
        if self._touched or self._strangers or self.receiver.has_work:
            self._wake()

    def receive_heartbeats(self, source: int, heartbeats: Heartbeats) -> None:
        """An envelope of another member, a Raft id. What is only to be noted is noted, and answered, at once, even
        while a turn waits for its sync: it promises nothing that is not durable."""
        messages: list[tuple[int, Message]] = []
        replicas, touched = self.replicas, self._touched
        row = heartbeats.beats
        for at in range(0, len(row), BEAT_NUMBERS):
            range_id, term, commit, number = row[at : at + BEAT_NUMBERS]
            replica = replicas.get(range_id)
            if replica is None:
                messages.append((range_id, beats.heartbeat(source, self._id, term, commit, number)))
                continue
            if replica.asleep_since is not None:
                self._wake_up(replica, source)
            if replica.group.hear_heartbeat(source, term, commit):
                self.counters.heartbeat_answers += 1
                self.heartbeats.answer(self._names[source], range_id, term, number)
                if replica.has_work:
                    touched[range_id] = replica
            else:
                messages.append((range_id, beats.heartbeat(source, self._id, term, commit, number)))
        row = heartbeats.answers
        for at in range(0, len(row), ANSWER_NUMBERS):
            range_id, term, number = row[at : at + ANSWER_NUMBERS]
            replica = replicas.get(range_id)
            if replica is None:
                continue
            if replica.asleep_since is not None:
                if not number and term == replica.group.term:
                    continue  # To a heartbeat from before.
                self._wake_up(replica, source)
            number = max(number, 0)
            if not replica.group.hear_answer(source, term, number):
                messages.append((range_id, beats.answer(source, self._id, term, number)))
        row = heartbeats.sleeps
        for at in range(0, len(row), SLEEP_NUMBERS):
            range_id, term, last = row[at : at + SLEEP_NUMBERS]
            replica = replicas.get(range_id)
            if replica is None or replica.asleep_since is not None:
                continue
            if self._quiescence and range_id not in touched and replica.may_sleep_after(source, term, last):
                self._fall_asleep(replica)
                continue
            # Its leader must not sleep as long as it doesn't; it is told what it may have missed.
            messages.append(
                (range_id, beats.heartbeat(source, self._id, term, min(last, replica.group.last_index), 0))
            )
            self.heartbeats.answer(self._names[source], range_id, term, WAKE_UP)
        if messages:
            self.receive(messages)
        elif touched:
            self._wake()

    def _has_room_for(self, range_id: int, message: Message) -> bool:
        """Whether what a snapshot holds belongs to no other range here, but for those that it has absorbed. What one
        range has not given up yet, another cannot have: it must wait until the split is applied that parts them."""
        assert message.snapshot is not None, f"a SNAPSHOT of range {range_id} without one"
        return self._has_room_as_of(range_id, snapshot_descriptor(message.snapshot.data))

    def _has_room_as_of(self, range_id: int, encoded: bytes) -> bool:
        """The same, of a range as of this encoded descriptor."""
        descriptor = decode_descriptor(encoded)
        for other in self.replicas.values():
            if (
                other.id != range_id
                and other.descriptor.overlaps(descriptor.start, descriptor.end)
                and not self._gives_way(other.descriptor, descriptor)
            ):
                if self._trace is not None:
                    self._trace.mark("a snapshot was refused because another range holds its keys yet")
                return False
        return True

    def _gives_way(self, mine: Descriptor, snapshot: Descriptor) -> bool:
        """Whether a range here was absorbed before the snapshot was taken, and nobody here has yet to absorb it: the
        range that did is the snapshot's own."""
        return (
            mine.id in snapshot.absorbed
            and mine.merging is not None
            and mine.merging.left_id == snapshot.id
            and mine.merging.left_generation < snapshot.generation
        )

    def _take_strangers(self) -> None:
        """Messages for ranges that even the latest turn has not brought. Who is asked for its vote takes part without
        knowing anything of the range: a quorum may need that vote. It learns the rest from the split, or a snapshot."""
        strangers, self._strangers = self._strangers, []
        for range_id, message in strangers:
            if range_id not in self.replicas:
                if message.kind not in _INVITATIONS:
                    continue
                tombstone = self._tombstone(range_id)
                if tombstone is not None:
                    if not self._rejoin(range_id, message, tombstone):
                        if self._trace is not None and not tombstone.descriptor:
                            self._trace.mark("a message for a range that was merged away was dropped")
                        continue
                else:
                    if self._trace is not None:
                        self._trace.mark("a replica took part in a range that it did not know yet")
                    self._begin_unknown(range_id, HardState())
            self._take_in([(range_id, message)])

    # Snapshots, see `snapshots`: they leave and arrive in pieces, of which Raft knows nothing.

    def _new_transfer(self) -> int:
        self._transfers += 1
        return self._transfers

    def _read_range(self, range_id: int) -> tuple[AppliedState, bytes, bytes | None] | None:
        """What a snapshot of a range that is led here would be of, as the engine holds it."""
        replica = self.replicas.get(range_id)
        if replica is None or not replica.group.is_leader or not replica.descriptor.is_known:
            return None
        # In the midst of a turn the replica may have applied a split or a merge that is not in the engine yet.
        written = self._engine.get(keys.descriptor_key(range_id))
        assert written is not None, f"{self.node} leads {replica.descriptor}, which its engine does not have"
        descriptor = decode_descriptor(written)
        return replica.log.applied_state(), descriptor.start, descriptor.end

    def _send_piece(self, range_id: int, message: Message) -> None:
        self.counters.raft_messages += 1
        self._send(self._names[message.target], range_id, message)

    def _snapshot_failed(self, range_id: int, member: int) -> None:
        replica = self.replicas.get(range_id)
        if replica is not None:
            if self._trace is not None:
                self._trace.mark("a snapshot was given up because its receiver was silent")
            replica.group.report_snapshot(member, False)
            self._touch(replica)

    def _awaits_snapshot(self, range_id: int) -> bool:
        """Whether a snapshot that arrived whole has still to be put in place."""
        replica = self.replicas.get(range_id)
        if replica is not None and replica.group.core.log.snapshot is not None:
            return True
        return any(one == range_id and message.kind is _SNAPSHOT for one, message in self._strangers)

    def _ids_with(self, *new: int) -> bytes:
        return _ENCODER.encode(sorted({*self.replicas, *new}))

    def _whose(self, request: RangeRequest) -> tuple[bytes, ...]:
        """Descriptors of the ranges that hold a request's keys, encoded: those here, and as far as there are none, what
        else this node knows. A range that was cut off here may have moved away."""
        wanted = spans_of(request)
        found = [
            replica.descriptor
            for _, replica in sorted(self.replicas.items())
            if any(replica.descriptor.overlaps(start, end) for start, end in wanted)
        ]
        for start, end in wanted:
            if not any(one.contains_span(start, end) for one in found):
                found += [one for one in self.elsewhere(start, end) if one not in found]
        return tuple(map(encode_descriptor, found))

    # Who sleeps. A range goes to sleep when nothing has happened for a while and everybody has everything: its leader
    # says so to its followers, and from then on nothing is sent for it, and no time passes. Whatever touches a replica
    # wakes it; and what its heartbeats would have told is told by any frame of the leader's node.

    def _fall_asleep(self, replica: Replica) -> None:
        replica.asleep_since = self._ticks
        replica.is_fresh = False
        del self._awake[replica.id]
        self.counters.sleeps += 1

    def _wake_up(self, replica: Replica, source: int | None = None) -> None:
        """Time passes again for a replica that sleeps. If somebody else than its leader (`source`) has woken a
        follower, its leader is woken too: a healthy one speaks up before anybody campaigns."""
        assert replica.asleep_since is not None, f"range {replica.id} is awake"
        if self._unborn.remove(replica.id):
            replica.asleep_since = None
            self._awake[replica.id] = replica
            return
        core = replica.group.core
        missed = self._ticks - replica.asleep_since
        replica.group.resume(missed, self._ticks - self._heard.get(core.leader_id, self._ticks))
        replica.asleep_since = None
        replica.idle_ticks = 0
        # Thousands may wake because a node was silent: if nobody asks, they rest as soon as all are known to be well.
        replica.is_fresh = not replica.open_requests
        self._awake[replica.id] = replica
        self.counters.wakes += 1
        if source not in (None, core.leader_id, self._id) and core.leader_id not in (0, self._id):
            self.heartbeats.answer(self._names[core.leader_id], replica.id, core.term, WAKE_UP)

    def _maybe_sleep(self, replica: Replica) -> None:
        """A leader at rest."""
        if replica.id in self._touched or not replica.may_sleep(self._silent):
            return
        group = replica.group
        for member in group.core.peers.others:
            if member not in self._silent:
                self.heartbeats.sleep(self._names[member], replica.id, group.term, group.last_index)
        self._fall_asleep(replica)

    def heard(self, member: int) -> None:
        """A frame of another member, a Raft id, arrived. One that was silent may have missed much."""
        self._heard[member] = self._ticks
        if member in self._silent or member in self._broken:
            self._silent.discard(member)
            self._broken.discard(member)
            self._wake_for(member, also_led=True)
            # Its leaders may sleep, and have missed that their followers woke: those would campaign for nothing.
            for range_id, term in self._followed.get(member, _NOBODY).items():
                if self.replicas[range_id].asleep_since is None:
                    self.heartbeats.answer(self._names[member], range_id, term, WAKE_UP)

    def _listen(self) -> None:
        """Called every tick: who has become silent?"""
        for member, at in self._heard.items():
            if self._ticks - at >= self._options.election_ticks and member not in self._silent:
                self._silent.add(member)
                self._wake_for(member, also_led=False)

    def _wake_for(self, member: int, also_led: bool) -> None:
        """Something has happened to a member's node: who follows it must look; and once it is back, those who lead it,
        for it may have missed something."""
        for replica in self.replicas.values():
            if replica.asleep_since is not None and replica.relies_on(member, also_led):
                self._wake_up(replica)

    def _hold_unborn(self) -> None:
        """At the start: no time passes for ranges that nobody has led yet, see `unborn`."""
        for replica in self.replicas.values():
            if replica.is_unborn:
                replica.asleep_since = 0
                self._unborn.add(replica)
                del self._awake[replica.id]

    def _bear_some(self, cores: Sequence[RaftCore]) -> None:
        campaigning, waking = self._unborn.tick(
            self._ticks,
            len(self._awake),
            lambda: [self._names[member] for member in self._silent],
            lambda: self._election_bound.admits(cores),
        )
        for replica in campaigning:
            replica.campaign_if_new()
        for replica in waking:
            if replica.asleep_since is not None:
                self._wake_up(replica)

    def follows(self, leader: int) -> tuple[int, dict[int, int]]:
        """The ranges in which this node follows that member, a Raft id, at this moment, with the term; and the version
        of all that: as long as it stays the same, so does the rest."""
        for replica in self._touched.values():
            self._note_whom_it_follows(replica)
        return self._follows_version, self._followed.get(leader, _NOBODY)

    def _note_whom_it_follows(self, replica: Replica) -> None:
        """Called for each replica that was touched. What a turn in flight will change is not there yet, and need not
        be: what other nodes are told holds up to the clock that goes with it, and whatever is promised to another
        leader leaves later, with a later clock."""
        core = replica.group.core
        now = (core.leader_id, core.term)
        if now == replica.followed:
            return
        followed = self._followed.get(replica.followed[0])
        if followed is not None:
            followed.pop(replica.id, None)
        if core.leader_id:
            self._followed.setdefault(core.leader_id, {})[replica.id] = core.term
        replica.followed = now
        self._follows_version += 1

    def heard_follower(
        self, node: int, clock: Timestamp, followed: dict[int, int] | None, version: int = 0
    ) -> None:
        """What a member says by `follows`, and the clock that it had then. Without ranges: those of the same version,
        if that was heard."""
        before = self._said.get(node)
        if followed is None:
            if before is None or before.version != version:
                return
            followed = before.followed
        self._said[node] = Saying(clock, followed, version)

    def submit(self, request: RangeRequest, done: Done) -> None:
        """A request for a range; `done` is called exactly once."""
        self.counters.requests += 1
        replica = self.replicas.get(request.range_id)
        first = request.operations[0]
        if isinstance(first, RetireReplica):
            self.retire(decode_descriptor(first.descriptor), partial(_retired, request, done))
            return
        if replica is None:
            left = self._tombstone(request.range_id)
            error = RangeMismatch(
                request.range_id, b"" if left is None else left.descriptor, self._whose(request)
            )
            done(RangeReply(request.request_id, error=error))
            return
        self._room -= 1
        overload = self._overload(replica)
        if overload is not None:
            self.counters.refused += 1
            if self._trace is not None:
                self._trace.mark("a request was refused because too many are under way")
            done(RangeReply(request.request_id, error=Overloaded(overload)))
            return
        if isinstance(first, AwaitFrozen):
            until = self._ticks + max(AWAIT_FROZEN_MS // self._options.tick_ms, 1)
            self._frozen_waits.append((request, done, until))
            self._touch(replica)
            return
        replica.submit(request, done)

    def _overload(self, replica: Replica) -> str | None:
        """Why no more requests can be taken on; None if they can."""
        options = self._options
        if self._room < 0 and not self._has_room():
            return f"{options.requests_most} requests are under way on {self.node}"
        if self.open.size_bytes > options.request_bytes_most:
            return f"requests that write {self.open.size_bytes} bytes are under way on {self.node}"
        if replica.open_requests >= options.range_requests_most:
            return f"{replica.open_requests} requests of range {replica.id} are under way on {self.node}"
        return None

    def _has_room(self) -> bool:
        """Counts what is open, and says whether one more may come."""
        room = self._options.requests_most - self.open_requests
        self._room = max(room - 1, 0)
        return room > 0

    @property
    def open_requests(self) -> int:
        """Requests that have not been answered yet."""
        return self.open.count

    def tick(self) -> None:
        """One tick passes for all groups."""
        self._ticks += 1
        self._listen()
        self.sender.tick()
        self.receiver.tick()
        if self.receiver.has_work:
            self._wake()
        awake = list(self._awake.values())
        self.counters.replica_ticks += len(awake)
        # All at the same ticks, so that they share envelopes.
        beats_now = self._coalescing and self._ticks % self._options.heartbeat_ticks == 0
        self._election_bound.next_tick()
        cores = [replica.group.core for replica in awake]
        least_rest = self._options.heartbeat_ticks
        for replica, core in zip(awake, cores, strict=True):
            if core.election_elapsed + 1 >= core.randomized_timeout and self._election_bound.holds_back(
                core, cores
            ):
                continue
            replica.tick()
            if beats_now and core.role is _LEADER:
                self._beat(replica)
            if replica.has_work:
                self._touch(replica)
            elif (
                self._quiescence
                and core.role is _LEADER
                and replica.idle_ticks > least_rest
                and replica.idle_ticks >= replica.rests_after_ticks
            ):
                self._maybe_sleep(replica)
        if self._unborn:
            self._bear_some(cores)
        if self._ticks % max(1000 // self._options.tick_ms, 1) == 0:
            self._upkeep()

    def _beat(self, replica: Replica) -> None:
        """The heartbeats of a range that is led here."""
        group = replica.group
        number, told = group.heartbeats()
        self.counters.heartbeats += len(told)
        for member, commit in told:
            self.heartbeats.beat(self._names[member], replica.id, group.term, commit, number)

    def _upkeep(self) -> None:
        """Once a second or so."""
        for replica in self._awake.values():
            if replica.group.is_leader:
                replica.look_after_snapshots(self.sender.members(replica.id))

    def cut_logs(self) -> list[tuple[int, int, int]]:
        """Between two turns: drop all that is applied from the logs here. Of each range its first index before and
        after."""
        assert not self._in_flight, "logs are cut while a turn waits for its sync"
        batch, found = WriteBatch(), []
        for range_id, replica in sorted(self.replicas.items()):
            before = replica.log.first_index()
            replica.cut_log(batch)
            found.append((range_id, before, replica.log.first_index()))
        if len(batch):
            self.counters.batches += 1
            self._engine.write(batch)
        return found

    def led(self) -> list[Replica]:
        """Those that lead and may answer, in the order of their ids."""
        return [one for _, one in sorted(self.replicas.items()) if one.leadership and one.group.is_leader]

    def led_for_others(self) -> list[Led]:
        """The ranges that this node leads though another replica is preferred."""
        return [led for replica in self._awake.values() if (led := replica.led()) is not None]

    def serving(self) -> list[Replica]:
        """Those that lead and may answer, asleep or not, and are not about to be merged away."""
        return [
            replica
            for _, replica in sorted(self.replicas.items())
            if replica.leadership is not None and replica.descriptor.merging is None
        ]

    def unsettled(self) -> list[Replica]:
        """Those that serve, and hold intents or records of transactions."""
        return [
            replica
            for replica in self._awake.values()
            if replica.leadership is not None and (replica.state.records or len(replica.state.locks))
        ]

    @property
    def handing_over(self) -> int:
        """How many ranges are being handed over now."""
        return sum(1 for replica in self._awake.values() if replica.group.core.transfer_target)

    def hand_over(self, range_id: int) -> None:
        """Ask the preferred replica of a range that this node leads to take over."""
        if self._trace is not None:
            self._trace.mark("a leader handed over to the preferred replica")
        self.replicas[range_id].hand_over()
        self._touch(self.replicas[range_id])

    def give_away(self) -> bool:
        """This node is about to stop: hand over what it leads. Says whether anything was left to hand over."""
        led = [replica for replica in self.replicas.values() if replica.group.is_leader]
        for replica in led:
            replica.give_away()
        return bool(led)

    def link_lost(self, node: str) -> None:
        """The connection to a node broke."""
        for replica in self.replicas.values():
            replica.report_unreachable(node)
        member = next((number for number, name in self._names.items() if name == node), 0)
        self._broken.add(member)
        self._wake_for(member, also_led=False)

    def _touch(self, replica: Replica) -> None:
        if replica.asleep_since is not None:
            self._wake_up(replica)
        self._touched[replica.id] = replica
        self._wake()

    # The turn.

    @property
    def may_turn(self) -> bool:
        """No turn is waiting for its sync."""
        return not self._in_flight

    def turn(self) -> None:
        """Run one turn; see the top of the file. Not while another one waits for its sync."""
        assert not self._in_flight, "a turn was started while another one waits for its sync"
        self.counters.turns += 1
        batch = WriteBatch()
        under_way: list[tuple[Replica, Ready]] = []
        split_off: list[SplitOff] = []
        gone: list[Replica] = []
        retired = self._remove_retiring(batch, gone) if self._retiring else []
        keeping, self._keeping = self._keeping, []
        for key, value, done in keeping:
            batch.put(key, value)
            retired.append(partial(_kept, done))
        touched = self._take_touched()
        must_sync = bool(retired)
        for replica in touched.values():
            replica.evaluate()
            self._note_whom_it_follows(replica)
        for replica in touched.values():
            group = replica.group
            if replica.is_retired or not group.has_ready():
                continue
            ready = group.ready()
            if ready.snapshot is not None:
                replica.make_room = WriteBatch()
                gone += self._make_room(replica, ready.snapshot.data, replica.make_room)
                self.receiver.placed(replica.id)
            replica.take_ready(ready, batch)
            for right in replica.absorbs:
                gone.append(self._take_over(replica, right, batch))
            replica.absorbs = ()
            under_way.append((replica, ready))
            must_sync = must_sync or ready.must_sync or ready.snapshot is not None
            for message in ready.messages:
                self._post(replica.id, message)
            if ready.committed_entries:
                replica.compact(batch)
            if replica.split_off:
                for origin in replica.split_off:
                    if self._has_left(origin.right, batch):
                        continue
                    self._write_right(origin, batch)
                    split_off.append(origin)
                replica.split_off = ()
        taken = self.receiver.write(batch) if self.receiver.has_work else []
        if self._cut_off:
            # After all that came and went in this turn.
            batch.put(RANGES_KEY, self._ids_with(*self._cut_off))
        must_sync = must_sync or bool(taken)
        bound = self.clock.bound_to_persist()
        if bound is not None:
            batch.put(keys.CLOCK_BOUND, bound.to_bytes(8, "big"))
            must_sync = True
        if len(batch):
            self.counters.batches += 1
            self._engine.write(batch)
        for origin in split_off:
            self._begin_right(origin)
        frozen: list[tuple[RangeRequest, Done, Descriptor]] = []
        if self._frozen_waits:
            frozen = self._take_frozen()
            must_sync = must_sync or bool(frozen)
        for replica in gone:
            replica.retire()
        for replica in touched.values():
            if replica.is_retired:
                continue
            replica.answer()
            if replica.descriptor_changed:
                replica.descriptor_changed = False
                self._tell_descriptor(replica.descriptor)
                if replica.is_departed:
                    self.retire(replica.descriptor, _nobody)
            if replica.leader_changed:
                replica.leader_changed = False
                self.counters.elections_won += replica.group.is_leader
                self._leader_changed(replica.id, replica.leader)
        if not must_sync:
            self._end_turn(under_way, None, ())
            return
        self._in_flight = True
        self.counters.syncs += 1
        self._sync(partial(self._synced, under_way, bound, frozen, retired, taken))

    def _take_touched(self) -> dict[int, Replica]:
        """The replicas of this turn: all that have work, or without batching the first of them."""
        touched, self._touched = self._touched, {}
        if not self._batching and len(touched) > 1:
            first = next(iter(touched))
            self._touched = touched
            touched = {first: touched.pop(first)}
        return touched

    def _synced(
        self,
        under_way: list[tuple[Replica, Ready]],
        bound: int | None,
        frozen: Sequence[tuple[RangeRequest, Done, Descriptor]],
        retired: Sequence[Retired] = (),
        taken: Sequence[Taken] = (),
    ) -> None:
        self._in_flight = False
        self._end_turn(under_way, bound, frozen)
        if taken:
            self._take_in(self.receiver.written(taken))
        for done in retired:
            done(None)

    def _end_turn(
        self,
        under_way: list[tuple[Replica, Ready]],
        bound: int | None,
        frozen: Sequence[tuple[RangeRequest, Done, Descriptor]],
    ) -> None:
        if bound is not None:
            self.clock.bound_persisted(bound)
        for replica, ready in under_way:
            for message in ready.messages_after_append:
                self._post(replica.id, message)
            replica.group.advance(ready)
            if replica.has_work and not replica.is_retired:
                self._touched[replica.id] = replica
        for request, done, descriptor in frozen:
            done(RangeReply(request.request_id, (Reshaped((encode_descriptor(descriptor),)),)))
        if self._strangers:
            self._take_strangers()
        if self.inbox:
            self._take_in(self.inbox.take())
        if self._touched or self._retiring or self._keeping:
            self._wake()

    # Who moves away. A replica whose range has left this node is removed; what stays is a tombstone.

    def retire(self, descriptor: Descriptor, done: Retired) -> None:
        """By this descriptor the range has no replica here: the next turn removes what there is, unless that is newer.
        `done` hears why that may not be, or None once it is durable that nothing older comes back."""
        self._retiring.append((descriptor, done))
        self._wake()

    def retire_absorbed(self, range_id: int, absorber: int) -> bool:
        """The range was absorbed by another one, of which this node has no replica: remove this one's for good. False
        if the one that takes it over is here; it will."""
        replica = self.replicas.get(range_id)
        if replica is None or (not replica.descriptor.is_known and absorber in self.replicas):
            return False
        merging = replica.descriptor.merging
        if merging is not None and merging.left_id in self.replicas:
            return False
        self._retiring.append((replica.descriptor, _nobody))
        self._absorbed.add(range_id)
        self._wake()
        return True

    def _remove_retiring(self, batch: WriteBatch, gone: list[Replica]) -> list[Retired]:
        """Put the removals that wait into this batch; who must hear when they are durable."""
        retiring, self._retiring = self._retiring, []
        told: list[Retired] = []
        laid: dict[int, Tombstone] = {}
        """Tombstones of this batch: who hears twice in one turn that it has left keeps what it had promised."""
        for descriptor, done in retiring:
            range_id = descriptor.id
            replica = self.replicas.get(range_id)
            is_gone = range_id in self._absorbed
            refusal = None if is_gone else self._why_stays(descriptor, replica)
            before = laid.get(range_id) or self._tombstone(range_id)
            if refusal is None and before is not None and before.generation is None:
                refusal = f"range {range_id} was merged into another one"
            if refusal is not None:
                done(refusal)
                continue
            promised = HardState()
            if replica is not None:
                core = replica.group.core
                promised = HardState(core.term, core.vote)
            tombstone = laid[range_id] = GONE if is_gone else tombstone_for(descriptor, promised, before)
            self._absorbed.discard(range_id)
            if replica is None:
                batch.put(keys.tombstone_key(range_id), tombstone.encode())
            else:
                if replica.descriptor.is_known:
                    erase_data(batch, replica.descriptor.start, replica.descriptor.end)
                if self._trace is not None:
                    self._trace.mark("a replica that its range had left was removed")
                self.counters.retired += 1
                self._remove(replica, batch, tombstone)
                gone.append(replica)
            told.append(done)
        return told

    def _why_stays(self, descriptor: Descriptor, replica: Replica | None) -> str | None:
        """Why a replica may not be removed because of this descriptor; None if it may."""
        if self.node in descriptor.members:
            return f"{self.node} is a member of {descriptor}"
        if replica is None:
            return None
        mine = replica.descriptor
        if mine.is_known and not replica.is_departed and mine.generation >= descriptor.generation:
            return f"{self.node} has range {mine.id} as of generation {mine.generation}, not {descriptor.generation}"
        return None

    def strays(self) -> list[Descriptor]:
        """Ranges of which this node has a replica that hears no leader; of one that is nothing but a promise, since it
        was asked for a vote and has got no data yet, only the id is known."""
        return [replica.descriptor for replica in self._awake.values() if replica.group.hears_no_leader]

    def moves_under_way(self) -> list[tuple[Descriptor, int]]:
        """Ranges led here that are being moved; and for how many ticks nobody has asked about that."""
        return [
            (replica.descriptor, replica.moving_ticks)
            for replica in self._awake.values()
            if replica.leadership is not None and replica.descriptor.is_moving
        ]

    def _tombstone(self, range_id: int) -> Tombstone | None:
        """What is left of a replica that was removed from here; None if none was."""
        return read_tombstone(self._engine, range_id)

    def _rejoin(self, range_id: int, message: Message, tombstone: Tombstone) -> bool:
        """A message for a range whose replica was removed from here. A snapshot that is newer than that brings it back,
        with what it had promised; says whether."""
        if message.kind is not _SNAPSHOT or not self._has_room_for(range_id, message):
            return False
        assert message.snapshot is not None, f"a SNAPSHOT of range {range_id} without one"
        descriptor = decode_descriptor(snapshot_descriptor(message.snapshot.data))
        if not tombstone.admits(descriptor) or self.node not in descriptor.members:
            return False
        self._begin_unknown(range_id, HardState(tombstone.term, tombstone.vote))
        replica = self.replicas[range_id]
        replica.is_rejoining = True
        replica.group.hold_votes()
        if self._trace is not None:
            self._trace.mark("a replica came with a snapshot newer than its tombstone")
        return True

    def _begin_unknown(self, range_id: int, hard_state: HardState) -> None:
        """Make a replica that knows nothing of its range yet."""
        batch = WriteBatch()
        begin_range(batch, range_id, b"", ConfState(), hard_state=hard_state)
        batch.put(RANGES_KEY, self._ids_with(range_id))
        self.counters.batches += 1
        self._engine.write(batch)
        self._add(unknown_range(range_id))

    def _clean_up(self) -> None:
        """At the start: what a crash has left of replicas that had left, or had not quite come back."""
        for range_id, replica in sorted(self.replicas.items()):
            if replica.is_departed:
                self._retiring.append((replica.descriptor, _nobody))
            elif not replica.descriptor.is_known:
                tombstone = self._tombstone(range_id)
                if tombstone is not None and tombstone.descriptor:
                    self._retiring.append((decode_descriptor(tombstone.descriptor), _nobody))

    def _write_right(self, origin: SplitOff, batch: WriteBatch) -> None:
        """A range was cut off in this batch: put its first state here beside it."""
        early = HardState()
        before = self.replicas.get(origin.right.id)
        if before is not None:
            assert not before.descriptor.is_known, (
                f"{origin.right} is split off, and {before.descriptor} is here"
            )
            # What it has been asked since its last turn is forgotten with it; what it has promised is not.
            early = HardState(before.group.core.term, before.group.core.vote)
            before.retire()
            if self._trace is not None and early.vote:
                self._trace.mark("a split met a replica that had voted before it")
        write_right(batch, origin.right, origin.conf_state, early)
        self._cut_off.append(origin.right.id)
        batch.put(RANGES_KEY, self._ids_with(*self._cut_off))
        self.counters.splits += 1

    def _has_left(self, right: Descriptor, batch: WriteBatch) -> bool:
        """A range was cut off in this batch, and has moved away from here before this node knew of it: then there is
        only something to remove."""
        tombstone = self._tombstone(right.id)
        if tombstone is None or tombstone.admits(right):
            return False
        assert not (right.id in self.replicas and self.replicas[right.id].descriptor.is_known), (
            f"{right} is split off, and {self.replicas[right.id].descriptor} is here"
        )
        if self._trace is not None:
            self._trace.mark("a split brought a range that had moved away already")
        erase_data(batch, right.start, right.end)
        return True

    def _take_over(self, left: Replica, right: Descriptor, batch: WriteBatch) -> Replica:
        """A range absorbs its neighbour in this batch: remove that one's replica, which holds all that will ever be."""
        replica = self.replicas.get(right.id)
        mine = None if replica is None else replica.descriptor
        assert replica is not None, f"range {left.id} absorbs {right} on {self.node}, where there is none"
        assert mine == right, f"range {left.id} absorbs {right} on {self.node}, which has {mine}"
        if self._trace is not None:
            self._trace.mark("a range absorbed its neighbour")
        self.counters.merges += 1
        self._remove(replica, batch)
        return replica

    def _make_room(self, replica: Replica, data: bytes, batch: WriteBatch) -> list[Replica]:
        """A snapshot is about to be installed: remove the replicas of ranges that its range has absorbed."""
        descriptor = decode_descriptor(snapshot_descriptor(data))
        gone = [
            other
            for _, other in sorted(self.replicas.items())
            if other.id in descriptor.absorbed
            and (not other.descriptor.is_known or self._gives_way(other.descriptor, descriptor))
        ]
        for other in gone:
            if self._trace is not None:
                self._trace.mark("a snapshot brought a merge that was missed")
            erase_data(batch, other.descriptor.start, other.descriptor.end)
            self._remove(other, batch)
        return gone

    def _remove(self, replica: Replica, batch: WriteBatch, tombstone: Tombstone = GONE) -> None:
        """A replica goes; by default its range is gone for good."""
        range_id = replica.id
        # Not asked in this turn any more; it hears about it when the batch is written.
        replica.is_retired = True
        self._unborn.remove(range_id)
        del self.replicas[range_id]
        self._awake.pop(range_id, None)
        self._touched.pop(range_id, None)
        followed = self._followed.get(replica.followed[0])
        if followed is not None and followed.pop(range_id, None) is not None:
            self._follows_version += 1
        erase_range(batch, range_id, tombstone)
        batch.put(RANGES_KEY, self._ids_with())

    def _take_frozen(self) -> list[tuple[RangeRequest, Done, Descriptor]]:
        """Those who wait for a range to be frozen and may hear of it once this turn is durable; others go on waiting,
        or have waited for too long."""
        found: list[tuple[RangeRequest, Done, Descriptor]] = []
        left: list[tuple[RangeRequest, Done, int]] = []
        for request, done, until in self._frozen_waits:
            operation = request.operations[0]
            assert isinstance(operation, AwaitFrozen), f"{operation} waits for nothing"
            replica = self.replicas.get(request.range_id)
            descriptor = None if replica is None else replica.descriptor
            if descriptor is not None and descriptor.generation == operation.generation:
                found.append((request, done, descriptor))
            elif self._ticks >= until or descriptor is None or descriptor.generation > operation.generation:
                error = TimedOut(f"range {request.range_id} is not frozen on {self.node}")
                done(RangeReply(request.request_id, error=error))
            else:
                left.append((request, done, until))
        self._frozen_waits = left
        return found

    def stuck_ranges(self) -> list[Descriptor]:
        """Ranges that this node leads and that have been frozen for longer than a merge takes. None of them sleeps."""
        return [one.descriptor for _, one in sorted(self._awake.items()) if one.is_stuck]

    def _begin_right(self, origin: SplitOff) -> None:
        """The batch is written: the new range begins."""
        if self._trace is not None:
            self._trace.mark("a range was split")
        self._cut_off.remove(origin.right.id)
        replica = self._add(origin.right)
        replica.begin(origin)
        self._touch(replica)
        self._tell_descriptor(origin.right)

    def _tell_descriptor(self, descriptor: Descriptor) -> None:
        if self._descriptor_changed is not None:
            self._descriptor_changed(descriptor)

    def _post(self, range_id: int, message: Message) -> None:
        kind, context = message.kind, message.context
        if kind is _HEARTBEAT:
            self.counters.heartbeats += 1
            if self._coalescing and not context:
                self.heartbeats.beat(self._names[message.target], range_id, message.term, message.commit, 0)
                return
        elif kind is _HEARTBEAT_RESPONSE:
            self.counters.heartbeat_answers += 1
            if self._coalescing:
                number = number_of(context)
                self.heartbeats.answer(self._names[message.target], range_id, message.term, number)
                return
        elif kind is _PRE_VOTE:
            self.counters.pre_votes += 1
        elif kind is _VOTE:
            self.counters.votes += 1
        if kind is _SNAPSHOT:
            self.counters.snapshots += 1
            self.sender.begin(range_id, message)
            return
        self.counters.raft_messages += 1
        self._send(self._names[message.target], range_id, message)

    # Looking in.

    def status(self) -> list[dict[str, Any]]:
        """One entry a replica, in order of ids; leaders are node names."""
        now_ns = self._monotonic_ns()
        return [
            describe_replica(replica, self._names, self.closed, now_ns)
            for _, replica in sorted(self.replicas.items())
        ]

    def survey(self) -> Survey:
        """All replicas in a few numbers."""
        return survey(self.replicas, self._names, self._monotonic_ns())


def _kept(done: Callable[[], None], _refusal: str | None) -> None:
    done()


def _nobody(_refusal: str | None) -> None:
    """Nobody waits for it."""


def _retired(request: RangeRequest, done: Done, refusal: str | None) -> None:
    """Answer who asked for a replica to be removed."""
    operation = request.operations[0]
    assert isinstance(operation, RetireReplica), f"{operation} removes nothing"
    if refusal is None:
        done(RangeReply(request.request_id, (Reshaped((operation.descriptor,)),)))
    else:
        done(RangeReply(request.request_id, error=BadRequest(refusal)))
