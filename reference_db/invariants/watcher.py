"""Watches live nodes from outside, and says after each step of one which invariants that step has broken.

`attach` hangs small taps into a node: where a replica hands out its Ready and applies an entry, where the store writes
its batch and lets a promise go, where a frame leaves. They note what changed, so that a step costs in proportion to
what it did. The node's own code knows nothing of it, and an unwatched node pays nothing.

What is durable is not asked of the node but of its disk (`durability`), and read off the bytes that were written. A
crash between two steps can't mislead: a node's durable image moves only in its own steps, so that of a dead one stays
as it was when it last was looked at, which is at the latest when it let its last promise go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from reference_db.api import AwaitFrozen, RangeReply, RangeRequest, TransactionProtocol
from reference_db.gateway.open_transaction import Failed, OpenTransaction
from reference_db.invariants.consensus import RangeTruth, shown_state
from reference_db.invariants.disk_image import (
    BatchChange,
    LeftBehind,
    RangeChange,
    RangeImage,
    read_entries,
    read_image,
    take_apart,
)
from reference_db.invariants.durability import BelievedSync, Durability, durability_of
from reference_db.invariants.keyspace import Keyspace
from reference_db.invariants.memberships import Memberships
from reference_db.invariants.placements import Placements
from reference_db.invariants.promises import Closed
from reference_db.invariants.provenance import Provenance
from reference_db.invariants.reads import ServedReads
from reference_db.invariants.states import RangeStates, ReplicaDigest, pairs_of, pairs_with, shown_changes
from reference_db.invariants.transactions import TransactionTruth
from reference_db.invariants.violation import Violation
from reference_db.node import Node
from reference_db.raft import Ready
from reference_db.raft.messages import Entry, EntryKind, Message, MessageKind
from reference_db.ranges.descriptor import Descriptor
from reference_db.ranges.replica import Done, Replica, Work
from reference_db.ranges.tombstones import GONE, Tombstone
from reference_db.storage import keys
from reference_db.storage.engine import Engine, WriteBatch
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.command import Absorb, SplitAt, decode_command

_APPEND_RESPONSE = MessageKind.APPEND_RESPONSE
_VOTE_RESPONSE, _PRE_VOTE_RESPONSE = MessageKind.VOTE_RESPONSE, MessageKind.PRE_VOTE_RESPONSE
_NORMAL = EntryKind.NORMAL


@dataclass(slots=True)
class _WatchedReplica:
    """What is known of one replica of an attached node."""

    replica: Replica
    written: RangeImage
    durable: RangeImage
    digest: ReplicaDigest
    led_term: int = 0
    """The term that it leads since before the present turn; 0 if it doesn't."""
    applied: list[Entry] = field(default_factory=list)
    """Applied in the batch that is being filled."""
    quorums: tuple[frozenset[int], ...] = ()
    """Its voters when it last handed out a Ready."""
    shaped_at: int = 0
    """The last entry, applied in this life, that changed its descriptor."""


class _WatchedNode:
    """One life of one node."""

    __slots__ = (
        "absorbed",
        "alive",
        "bound_ns",
        "durability",
        "engine",
        "left",
        "lost",
        "name",
        "node",
        "number",
        "pending",
        "replicas",
        "written_count",
    )

    def __init__(self, name: str, node: Node, engine: Engine) -> None:
        self.name = name
        self.node = node
        self.number = node.nodes.index(name) + 1
        """Its Raft id."""
        self.engine = engine
        self.alive = True
        self.replicas: dict[int, _WatchedReplica] = {}
        self.left: set[int] = set()
        """Ranges whose replicas were removed from here, in this life or an earlier one."""
        self.absorbed: dict[int, _WatchedReplica] = {}
        """The last of the replicas of ranges that others have absorbed here: what they had acknowledged they had, and
        members that have yet to hear of the merge may count on it."""
        self.lost: dict[int, tuple[RangeImage, RangeImage]] = {}
        """What it had written, and durably, when its disk was destroyed, in this life or an earlier one."""
        self.pending: deque[tuple[int, BatchChange]] = deque()
        """Batches that are written and not known to be durable, with their numbers; oldest first."""
        self.written_count = 0
        self.durability: Durability = BelievedSync()
        self.bound_ns = 0
        """The clock's bound, as durable."""

    def forget(self) -> None:
        """Nothing is compared with this life any more."""
        self.replicas.clear()
        self.absorbed.clear()
        self.pending.clear()
        # It knows the files of the life, and they hold all that was written.
        self.durability = BelievedSync()

    def catch_up(self) -> None:
        """Move the durable images to what the disk says."""
        pending = self.pending
        if not pending or not self.alive:
            return
        count = self.durability.count()
        while pending and pending[0][0] <= count:
            _, change = pending.popleft()
            for range_id, one in change.ranges.items():
                watched = self.replicas.get(range_id)
                if watched is not None:
                    watched.durable.apply(one)
            if change.clock_bound_ns is not None:
                self.bound_ns = change.clock_bound_ns


class WatcherBroken(Exception):
    """The watcher itself has failed; what it would have said is unknown."""


class Watcher:
    """All invariants, over all nodes of one cluster and all their lives. One for a run; call `attach` at each start of
    a node, before its loop runs on, `detach` when it dies, and `after_step` after each of its steps."""

    def __init__(self) -> None:
        self._nodes: dict[str, _WatchedNode] = {}
        """Attached, dead or alive: the latest life of each."""
        self._truths: dict[int, RangeTruth] = {}
        self._states: dict[int, RangeStates] = {}
        self._closed: dict[int, Closed] = {}
        self._memberships: dict[int, Memberships] = {}
        self._transactions = TransactionTruth()
        self.provenance = Provenance()
        self._reads = ServedReads()
        self._keyspace = Keyspace()
        self._placements = Placements()
        self._acknowledged = ZERO
        """The latest timestamp of a transaction that was told to be committed."""
        self._is_whole = False
        """Every node was attached at least once, so every range is known."""
        self._found: list[Violation] = []
        self._broken: Exception | None = None
        self.steps = 0
        """How often it has looked."""

    # The life of a node.

    def attach(self, name: str, node: Node) -> list[Violation]:
        """A node was made and is about to run, on an engine that holds what its last life left, all of it synced. If
        nothing is known of the engine's disk, the word of the node's syncer is believed."""
        before = self._nodes.get(name)
        watched = _WatchedNode(name, node, node.store._engine)
        bound = watched.engine.get(keys.CLOCK_BOUND)
        if before is not None:
            before.alive = False
            watched.lost.update(before.lost)
            if before.lost and bound is None:
                # Everything was: it cannot know that it ever was a node.
                self._forget_promises(name)
            else:
                watched.left |= before.left
                watched.absorbed.update(before.absorbed)
        self._nodes[name] = watched
        watched.bound_ns = int.from_bytes(bound or b"", "big")
        for replica in node.store.replicas.values():
            self._attach_replica(watched, replica, before)
        durability = durability_of(watched.engine)
        if durability is not None:
            watched.durability = durability
        else:
            believed = watched.durability = BelievedSync()
            node.store._sync = partial(believed.sync, node.store._sync)
        node.store._engine = _EngineTap(self, watched)
        node.store._add = partial(  # type: ignore[method-assign]
            self._on_add, watched, node.store._add
        )
        node.store._remove = partial(  # type: ignore[method-assign]
            self._on_remove, watched, node.store._remove
        )
        node.store._send = partial(self._on_send, watched, node.store._send)
        node.store.closed.on_heard = self._on_closing
        before_tap = node.store.submit
        node.store.submit = partial(self._on_submit, watched, before_tap)  # type: ignore[method-assign]
        if node.router._send_local == before_tap:
            node.router._send_local = node.store.submit
        node._transport = _TransportTap(self, watched)
        node.coordinator.commit = partial(  # type: ignore[method-assign]
            self._on_commit, node.coordinator.commit
        )
        record = node.coordinator.record
        record._observe = partial(self._on_observe, watched, record._observe)
        descriptors = [replica.descriptor for replica in node.store.replicas.values()]
        self._found += self._keyspace.learn(name, descriptors)
        self._found += self._placements.learn(name, descriptors)
        if not self._is_whole and all(other in self._nodes for other in node.nodes):
            self._is_whole = True
            self._found += self._keyspace.check(name)
        if before is not None:
            # What is left of the dead life may refer to it until the end.
            before.forget()
        return self._take_found()

    def _attach_replica(
        self, watched: _WatchedNode, replica: Replica, before: _WatchedNode | None, is_new: bool = False
    ) -> None:
        range_id, engine = replica.id, watched.engine
        truth = self._truths.get(range_id)
        if truth is None:
            truth = self._truths[range_id] = RangeTruth(range_id, self._images)
        if range_id not in self._states:
            self._states[range_id] = RangeStates()
        image = read_image(engine, range_id)
        # A replica that appears while its node runs is not durable yet: its batch is among the pending ones. Nor is
        # one that takes the place of another, which knew nothing yet.
        earlier = watched.replicas.get(range_id)
        durable = image.copy() if not is_new else RangeImage() if earlier is None else earlier.durable
        one = _WatchedReplica(replica, image, durable, ReplicaDigest())
        watched.replicas[range_id] = one
        left = None
        if before is not None and range_id in before.replicas:
            unsynced = tuple(
                change.ranges[range_id] for _, change in before.pending if range_id in change.ranges
            )
            left = LeftBehind(before.replicas[range_id].durable, unsynced)
        self._found += truth.started(watched.name, image, read_entries(engine, range_id), left)
        text = self._memberships_of(range_id).returned(watched.name, image.hard_state)
        if text is not None:
            self._found.append(truth.broken("promises outlive a replica", text, watched.name))
        one.digest.load(engine, replica.descriptor)
        states = self._states[range_id]
        if image.applied > states.frontier and not is_new:
            self._transactions.load(engine, replica.descriptor)
            states.pairs = dict(pairs_of(engine, replica.descriptor))
            if states.pairs:
                # What was written before anybody looked.
                self.provenance.is_whole = False
        self._reached(watched, one, image.applied, ())
        replica.take_ready = partial(  # type: ignore[method-assign]
            self._on_ready, watched, one, replica.take_ready
        )
        replica._apply = partial(  # type: ignore[method-assign]
            self._on_apply, watched, one, replica._apply
        )
        replica._answer = partial(  # type: ignore[method-assign]
            self._on_answer, watched, replica, replica._answer
        )
        replica.may_sleep = partial(  # type: ignore[method-assign]
            self._on_rest, watched, one, replica.may_sleep
        )
        replica.may_sleep_after = partial(  # type: ignore[method-assign]
            self._on_word_to_sleep, watched, one, replica.may_sleep_after
        )
        replica.step = partial(self._on_step, watched, one, replica.step)  # type: ignore[method-assign]

    def _on_add(
        self, watched: _WatchedNode, original: Callable[[Descriptor], Replica], descriptor: Descriptor
    ) -> Replica:
        __tracebackhide__ = True
        replica = original(descriptor)
        if watched.alive:
            try:
                self._attach_replica(watched, replica, None, is_new=True)
            except Exception as error:  # noqa: BLE001  (raised again by `after_step`)
                self._broken = error
        return replica

    def _on_answer(
        self,
        watched: _WatchedNode,
        replica: Replica,
        original: Callable[[Work, RangeReply], None],
        work: Work,
        reply: RangeReply,
    ) -> None:
        __tracebackhide__ = True
        self._reads.served(work.request, reply)
        merging = replica.descriptor.merging
        if merging is not None and reply.error is None and work.request.is_read:
            text = f"{replica.descriptor}, frozen for range {merging.left_id}, answered {work.request.operations}"
            self._found.append(Violation("frozen is silent", text, replica.id, watched.name))
        original(work, reply)

    def _on_closing(self, range_id: int, timestamp: Timestamp, index: int) -> None:
        self._closed.setdefault(range_id, Closed()).heard(timestamp, index)

    async def _on_commit(
        self,
        original: Callable[[OpenTransaction, float], Coroutine[Any, Any, None]],
        open_one: OpenTransaction,
        deadline: float,
    ) -> None:
        __tracebackhide__ = True
        try:
            await original(open_one, deadline)
        except Failed as failed:
            if failed.error.definite:
                self.provenance.told(open_one.id, open_one.writes, is_committed=False)
            raise
        self.provenance.told(open_one.id, open_one.writes, is_committed=True)
        if open_one.committed_at is not None and open_one.protocol is TransactionProtocol.RECORD:
            self._acknowledged = max(self._acknowledged, open_one.committed_at)

    async def _on_observe(
        self,
        watched: _WatchedNode,
        original: Callable[[float], Coroutine[Any, Any, Timestamp | None]],
        deadline: float,
    ) -> Timestamp | None:
        """Who is promised that it need not look above a timestamp must not miss what clients know already."""
        __tracebackhide__ = True
        acknowledged = self._acknowledged
        observed = await original(deadline)
        if observed is not None and observed < acknowledged and watched.alive:
            text = f"a transaction of {watched.name} reads at {observed}, and {acknowledged} was acknowledged before"
            self._found.append(Violation("acknowledged is observed", text, None, watched.name))
        return observed

    def _on_submit(
        self,
        watched: _WatchedNode,
        original: Callable[[RangeRequest, Done], None],
        request: RangeRequest,
        done: Done,
    ) -> None:
        __tracebackhide__ = True
        if isinstance(request.operations[0], AwaitFrozen):
            done = partial(self._on_frozen, watched, request, done)
        original(request, done)

    def _on_frozen(self, watched: _WatchedNode, request: RangeRequest, done: Done, reply: RangeReply) -> None:
        __tracebackhide__ = True
        one = watched.replicas.get(request.range_id)
        if reply.error is None and one is not None and watched.alive:
            watched.catch_up()
            if one.durable.applied < one.shaped_at:
                text = (
                    f"{watched.name} says that {one.replica.descriptor} is frozen by entry {one.shaped_at}, and only "
                    f"{one.durable.applied} is durably applied"
                )
                self._found.append(Violation("frozen is durable", text, request.range_id, watched.name))
        done(reply)

    def _on_rest(
        self,
        watched: _WatchedNode,
        one: _WatchedReplica,
        original: Callable[[Collection[int]], bool],
        absent: Collection[int],
    ) -> bool:
        """A leader may fall asleep, without those who are down."""
        __tracebackhide__ = True
        answer = original(absent)
        if answer and watched.alive:
            core, last = one.replica.group.core, one.replica.group.last_index
            behind = {} if one.written.applied >= last else {watched.name: one.written.applied}
            for member in core.peers.progress:
                other = self._nodes.get(one.replica._names[member])
                theirs = None if other is None else other.replicas.get(one.replica.id)
                if other is not None and one.replica.id in other.lost:
                    continue
                if member not in absent and theirs is not None and theirs.written.last < last:
                    behind[one.replica._names[member]] = theirs.written.last
            if behind:
                text = f"{watched.name} leads term {core.term} up to {last}, and falls asleep; behind are {behind}"
                self._found.append(
                    Violation("asleep is done", text, one.replica.id, watched.name, one.written.applied)
                )
        return answer

    def _on_word_to_sleep(
        self,
        watched: _WatchedNode,
        one: _WatchedReplica,
        original: Callable[[int, int, int], bool],
        leader: int,
        term: int,
        last: int,
    ) -> bool:
        """A follower may fall asleep, as its leader has."""
        __tracebackhide__ = True
        answer = original(leader, term, last)
        image = one.written
        if answer and watched.alive and (image.last, image.applied) != (last, last):
            text = (
                f"{watched.name} falls asleep in term {term} with entries up to {image.last}, applied up to "
                f"{image.applied}, and its leader has {last}"
            )
            self._found.append(Violation("asleep is done", text, one.replica.id, watched.name, image.applied))
        return answer

    def _on_step(
        self,
        watched: _WatchedNode,
        one: _WatchedReplica,
        original: Callable[[Message], None],
        message: Message,
    ) -> None:
        """What a leader believes of a member that came while it led: no more than is on that member's disk."""
        __tracebackhide__ = True
        original(message)
        replica = one.replica
        if message.kind is not _APPEND_RESPONSE or message.source not in replica._joined or not watched.alive:
            return
        name = replica._names[message.source]
        peer, other = replica.group.core.peers.progress.get(message.source), self._nodes.get(name)
        if peer is None or other is None or replica.id in other.lost or self._is_outdated(replica):
            return
        # What has absorbed the range there has taken what was acknowledged with it.
        theirs = other.replicas.get(replica.id) or other.absorbed.get(replica.id)
        if theirs is None and replica.id not in other.left:
            return
        last = 0 if theirs is None else theirs.written.last
        if peer.match > last:
            text = (
                f"{watched.name} believes that {name}, which came by entry {replica._joined[message.source]}, has "
                f"entries up to {peer.match}; it has {f'up to {last}' if last else 'nothing'}"
            )
            self._found.append(Violation("returned is empty", text, replica.id, watched.name, peer.match))

    def _is_outdated(self, replica: Replica) -> bool:
        """Whether another node knows a later descriptor of its range: then what this one believes is of the past."""
        generation = replica.descriptor.generation
        return any(
            other.replica.descriptor.generation > generation
            for watched in self._nodes.values()
            if (other := watched.replicas.get(replica.id)) is not None
        )

    def detach(self, name: str) -> None:
        """The node died. What was durable of it counts as durable; what comes of its callbacks is not looked at."""
        watched = self._nodes.get(name)
        if watched is not None:
            watched.alive = False

    def forget_disk(self, name: str) -> None:
        """A fault has destroyed what was durable on a dead node's disk, which no database can be blamed for: its next
        life is not compared with this one. What the node had acknowledged counts as it did: who was told cannot know,
        and the answer may still be on its way."""
        watched = self._nodes.get(name)
        if watched is not None:
            watched.alive = False
            for range_id, one in (*watched.absorbed.items(), *watched.replicas.items()):
                watched.lost[range_id] = (one.written, one.durable)
            watched.forget()

    def _forget_promises(self, name: str) -> None:
        for truth in self._truths.values():
            truth.forget_votes(name)
        for memberships in self._memberships.values():
            memberships.forget(name)

    def after_step(self, name: str) -> list[Violation]:
        """What the node's latest step has broken; most often nothing. Raises WatcherBroken if the watcher is."""
        self.steps += 1
        watched = self._nodes.get(name)
        if watched is not None and watched.pending:
            watched.catch_up()
        if self._found or self._broken is not None:
            return self._take_found()
        return []

    def held_and_written(self) -> Iterator[tuple[str, int, dict[bytes, bytes], dict[bytes, bytes]]]:
        """For the audit at the end: (node, range, what the node's engine holds, what committed commands have written)
        for every replica of a live node that has applied as much as any."""
        for name, watched in sorted(self._nodes.items()):
            if not watched.alive:
                continue
            for range_id, one in sorted(watched.replicas.items()):
                states = self._states[range_id]
                if one.replica.descriptor.is_known and one.written.applied == states.frontier:
                    held = dict(pairs_of(watched.engine, one.replica.descriptor))
                    yield name, range_id, held, states.pairs

    def _take_found(self) -> list[Violation]:
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise WatcherBroken("the watcher of the invariants has failed") from broken
        found, self._found = self._found, []
        return found

    def _images(self, range_id: int) -> list[tuple[str, int, RangeImage, RangeImage]]:
        found = []
        for name, watched in sorted(self._nodes.items()):
            one = watched.replicas.get(range_id) or watched.absorbed.get(range_id)
            if range_id in watched.lost:
                found.append((name, watched.number, *watched.lost[range_id]))
            if one is not None:
                found.append((name, watched.number, one.written, one.durable))
        return found

    # The taps. An exception in here must not become one of the node's; one of the node reads as if they weren't there.

    def _on_ready(
        self,
        watched: _WatchedNode,
        one: _WatchedReplica,
        original: Callable[[Ready, WriteBatch], None],
        ready: Ready,
        batch: WriteBatch,
    ) -> None:
        __tracebackhide__ = True
        if watched.alive:
            try:
                self._look_at_ready(watched, one)
            except Exception as error:  # noqa: BLE001  (raised again by `after_step`)
                self._broken = error
        original(ready, batch)

    def _look_at_ready(self, watched: _WatchedNode, one: _WatchedReplica) -> None:
        core = one.replica.group.core
        configuration = core.peers.configuration
        one.quorums = (frozenset(configuration.voters), frozenset(configuration.outgoing))
        if not one.replica.group.is_leader:
            one.led_term = 0
            return
        if one.led_term != core.term:
            truth = self._truths[one.replica.id]
            log = core.log
            self._found += truth.leads(watched.name, core.term, log.last_index, log.term_or_zero)
            # From the next Ready on: this one may carry entries that it got as a follower.
            one.led_term = -core.term
            self._look_at_leases(watched, one)

    def _look_at_leases(self, watched: _WatchedNode, one: _WatchedReplica) -> None:
        """This node has just been elected: nobody else may believe that it alone can serve."""
        for name, other in sorted(self._nodes.items()):
            rival = other.replicas.get(one.replica.id)
            if not other.alive or other is watched or rival is None:
                continue
            if rival.replica.lease.is_valid(rival.replica._monotonic_ns()):
                text = (
                    f"{watched.name} leads term {one.replica.group.term}, and the lease of {name} holds in term "
                    f"{rival.replica.group.term}"
                )
                truth = self._truths[one.replica.id]
                self._found.append(truth.broken("one lease", text, watched.name, one.written.applied))

    def _on_apply(
        self,
        watched: _WatchedNode,
        one: _WatchedReplica,
        original: Callable[[Entry, WriteBatch], None],
        entry: Entry,
        batch: WriteBatch,
    ) -> None:
        __tracebackhide__ = True
        before, generation = len(batch.changes), one.replica.descriptor.generation
        peers = one.replica.group.core.peers
        membership = peers.configuration
        original(entry, batch)
        if one.replica.descriptor.generation != generation:
            one.shaped_at = entry.index
        if peers.configuration != membership and watched.alive:
            text = self._memberships_of(one.replica.id).changed(entry.index, membership, peers.configuration)
            if text is not None:
                truth = self._truths[one.replica.id]
                self._found.append(truth.broken("quorums overlap", text, watched.name, entry.index))
        if watched.alive:
            try:
                self._look_at_applied(watched, one, entry, batch.changes, before, generation)
            except Exception as error:  # noqa: BLE001  (raised again by `after_step`)
                self._broken = error

    def _look_at_applied(
        self,
        watched: _WatchedNode,
        one: _WatchedReplica,
        entry: Entry,
        changes: Sequence[tuple[int, bytes, bytes]],
        first: int,
        generation: int,
    ) -> None:
        """`changes` of the batch from `first` on are this entry's; `generation` is the range's of before."""
        effects = changes[first:]
        one.applied.append(entry)
        one.digest.change(effects)
        states = self._states[one.replica.id]
        if entry.kind == _NORMAL and entry.data:
            command = decode_command(entry.data)
            happened = command.term == entry.term and command.generation == generation
            is_first = entry.index > states.frontier
            if happened and is_first:
                intent_on = self._transactions.intent_on
                self._found += self.provenance.applied(
                    watched.name, one.replica.id, entry.index, command, intent_on
                )
                self._found += self._transactions.applied(watched.name, one.replica.id, entry.index, command)
                text = self._reads.broken_by(command)
                if text is not None:
                    truth = self._truths[one.replica.id]
                    self._found.append(truth.broken("reads stay true", text, watched.name, entry.index))
                if not one.replica.descriptor.start:
                    self._found += self._placements.applied(watched.name, command)
            if happened:
                closed = self._closed.get(one.replica.id)
                text = None if closed is None else closed.broken_by(entry.index, command)
                if text is not None:
                    truth = self._truths[one.replica.id]
                    self._found.append(truth.broken("closed for ever", text, watched.name, entry.index))
            if happened and isinstance(command.change, (SplitAt, Absorb)):
                one.digest.take(pairs_with(watched.engine, one.replica.descriptor, changes).items())
            if is_first and not one.replica._reload:
                lowered = self.provenance.reached(
                    watched.name, one.replica.id, entry.index, one.replica.state.threshold
                )
                if lowered is not None:
                    self._found.append(lowered)
            self._reached(watched, one, entry.index, effects)
            if happened and is_first and isinstance(command.change, SplitAt):
                # What the entry itself wrote belongs to both halves.
                self._split(one.replica.id, one.replica.split_off[-1].right)
            elif happened and is_first and isinstance(command.change, Absorb):
                self._merged(one.replica, one.replica.absorbs[-1])
            return
        self._reached(watched, one, entry.index, effects)

    def _split(self, left_id: int, right: Descriptor) -> None:
        """A range is split for the first time anywhere: what was known of it is known of two."""
        self._states[right.id] = self._states[left_id].cut(right)
        self._truths[right.id] = self._truths.get(right.id) or RangeTruth(right.id, self._images)
        self._transactions.moved(left_id, right)
        self.provenance.split(left_id, right.id)

    def _merged(self, left: Replica, right: Descriptor) -> None:
        """A range absorbs its neighbour for the first time anywhere."""
        states = self._states.get(right.id)
        if states is not None:
            self._states[left.id].pairs.update(states.pairs)
        self.provenance.merged(left.id, right.id)
        self._transactions.moved(right.id, msgspec.structs.replace(right, id=left.id))

    def _on_remove(
        self,
        watched: _WatchedNode,
        original: Callable[..., None],
        replica: Replica,
        batch: WriteBatch,
        *tombstone: Tombstone,
    ) -> None:
        """A replica is given up with the batch that is being filled; what that does to it is nothing to look at."""
        original(replica, batch, *tombstone)
        one = watched.replicas.pop(replica.id, None)
        if one is not None:
            watched.left.add(replica.id)
            if tombstone in ((), (GONE,)):
                watched.absorbed[replica.id] = one
            self._memberships_of(replica.id).removed(watched.name, one.durable.hard_state)

    def _memberships_of(self, range_id: int) -> Memberships:
        return self._memberships.setdefault(range_id, Memberships())

    def _reached(
        self,
        watched: _WatchedNode,
        one: _WatchedReplica,
        index: int,
        effects: Sequence[tuple[int, bytes, bytes]],
    ) -> None:
        states = self._states[one.replica.id]
        first = states.reached(watched.name, index, one.digest.value, effects)
        if first is None:
            return
        who = "an earlier life of it" if first == watched.name else first
        text = (
            f"after index {index}, {watched.name} holds other data than {who} did there. The entry did then: "
            f"{shown_changes(states.effects(index))}; and now: {shown_changes(effects)}"
        )
        truth = self._truths[one.replica.id]
        self._found.append(truth.broken("state machine safety", text, watched.name, index))

    def _on_write(self, watched: _WatchedNode, batch: WriteBatch) -> None:
        """A batch is about to be written."""
        watched.catch_up()
        change = take_apart(batch.changes)
        watched.written_count += 1
        watched.pending.append((watched.written_count, change))
        for range_id, ours in change.ranges.items():
            one = watched.replicas.get(range_id)
            if one is not None:
                self._look_at_range(watched, one, ours)

    def _look_at_range(self, watched: _WatchedNode, one: _WatchedReplica, change: RangeChange) -> None:
        name, image = watched.name, one.written
        truth = self._truths[one.replica.id]
        if change.hard_state is not None or change.entries:
            self._found += truth.wrote(name, image, change, max(one.led_term, 0))
        commit = image.hard_state.commit
        image.apply(change)
        if image.hard_state.commit > commit:
            self._found += truth.committed_on(name, image, commit, one.quorums)
        self._found += truth.in_order(name, image, "written")
        if one.applied:
            for entry in one.applied:
                self._found += truth.applied(name, entry)
            one.applied.clear()
        one.led_term = abs(one.led_term)

    def _wrote(self, watched: _WatchedNode, batch: WriteBatch) -> None:
        """The batch is written. Data that came otherwise than by applying is looked at whole."""
        watched.durability.wrote()
        change = watched.pending[-1][1]
        if not change.has_data_wiped and not change.descriptors:
            return
        for range_id in change.ranges:
            one = watched.replicas.get(range_id)
            if one is not None and one.replica.descriptor.is_known:
                one.digest.load(watched.engine, one.replica.descriptor)
                self._reached(watched, one, one.written.applied, ())
        if change.descriptors:
            self._found += self._keyspace.learn(watched.name, change.descriptors)
            self._found += self._placements.learn(watched.name, change.descriptors)
            if self._is_whole:
                self._found += self._keyspace.check(watched.name)

    def _on_send(
        self,
        watched: _WatchedNode,
        original: Callable[[str, int, Message], None],
        target: str,
        range_id: int,
        message: Message,
    ) -> None:
        __tracebackhide__ = True
        kind = message.kind
        if (
            kind is _APPEND_RESPONSE or kind is _VOTE_RESPONSE or kind is _PRE_VOTE_RESPONSE
        ) and watched.alive:
            try:
                self._look_at_promise(watched, range_id, message)
            except Exception as error:  # noqa: BLE001  (raised again by `after_step`)
                self._broken = error
        original(target, range_id, message)

    def _look_at_promise(self, watched: _WatchedNode, range_id: int, message: Message) -> None:
        one = watched.replicas.get(range_id)
        if one is None:
            return
        if (
            message.kind is not _APPEND_RESPONSE
            and not message.reject
            and not one.replica.descriptor.is_known
            and range_id in watched.left
        ):
            text = f"{watched.name} grants node {message.target} a {message.kind.name.lower()}, and has lost its log"
            truth = self._truths[range_id]
            self._found.append(truth.broken("no vote without a log", text, watched.name))
        if message.kind is _PRE_VOTE_RESPONSE:
            return
        watched.catch_up()
        truth, durable = self._truths[range_id], one.durable
        state = durable.hard_state
        if state.term < message.term:
            text = (
                f"{watched.name} answers node {message.target} in term {message.term} "
                f"({message.kind.name.lower()}), but only {shown_state(state)} is durable"
            )
            self._found.append(truth.broken("durable before promised", text, watched.name, durable.last))
        if message.reject:
            return
        if message.kind is _VOTE_RESPONSE:
            self._found += truth.voted(watched.name, message.term, message.target)
            if state.term == message.term and state.vote != message.target:
                text = (
                    f"{watched.name} votes for node {message.target} in term {message.term}, but only "
                    f"{shown_state(state)} is durable"
                )
                self._found.append(truth.broken("durable before promised", text, watched.name, durable.last))
            return
        if state.term > message.term:
            # It has waited here while a later leader has replaced its entries: to whom it goes, it is one that was late
            # on its way, and who led its term has had them acknowledged when they were there.
            return
        index = message.index
        term = one.written.term(index)
        if index and not (durable.has(index, term) if term is not None else index <= durable.base):
            text = (
                f"{watched.name} acknowledges entries up to {index} (term {term}) to node {message.target}, but its "
                f"disk has synced {durable.base + 1} to {durable.last}, with term {durable.term(index)} at {index}"
            )
            self._found.append(truth.broken("durable before promised", text, watched.name, index))

    def _on_frame(self, watched: _WatchedNode) -> None:
        last = watched.node.clock.last.wall_ns
        if last <= watched.bound_ns:
            return
        watched.catch_up()
        if last > watched.bound_ns:
            text = (
                f"a frame leaves {watched.name} with clock {watched.node.clock.last}, above the durable bound "
                f"{watched.bound_ns}"
            )
            self._found.append(Violation("clock bound", text, None, watched.name))


class _EngineTap:
    """Stands before a node's engine, where its store writes."""

    def __init__(self, watcher: Watcher, watched: _WatchedNode) -> None:
        self._watcher = watcher
        self._watched = watched
        self._engine = watched.engine
        self.counters = watched.engine.counters
        self.get = watched.engine.get
        self.first = watched.engine.first
        self.scan = watched.engine.scan
        self.sync = watched.engine.sync
        self.close = watched.engine.close

    def write(self, batch: WriteBatch) -> None:
        __tracebackhide__ = True
        watched = self._watched
        if not watched.alive or not batch.changes:
            self._engine.write(batch)
            return
        watcher = self._watcher
        try:
            watcher._on_write(watched, batch)
        except Exception as error:  # noqa: BLE001  (raised again by `after_step`)
            watcher._broken = error
        self._engine.write(batch)
        try:
            watcher._wrote(watched, batch)
        except Exception as error:  # noqa: BLE001  (raised again by `after_step`)
            watcher._broken = error


class _TransportTap:
    """Stands before a node's transport."""

    def __init__(self, watcher: Watcher, watched: _WatchedNode) -> None:
        self._watcher = watcher
        self._watched = watched
        self._transport = watched.node._transport
        self.is_up = self._transport.is_up
        self.add_peer = self._transport.add_peer

    def send(self, node: str, frame: bytes) -> bool:
        __tracebackhide__ = True
        if self._watched.alive:
            try:
                self._watcher._on_frame(self._watched)
            except Exception as error:  # noqa: BLE001  (raised again by `after_step`)
                self._watcher._broken = error
        return self._transport.send(node, frame)
