"""The handle of one member of a Raft group: propose, step, tick, ready, advance.

How an owner runs it, in turns:

1. Put in what arrived: `step`, `tick`, `propose`, `read_index`. Allowed at any time, also between `ready` and
   `advance`.
2. If `has_ready()`, take `ready()`. Send its `messages` at once. Write `snapshot`, `hard_state` and `entries`, in this
   order, in one batch; sync it if `must_sync` (or if there is a snapshot). Only then send `messages_after_append`.
3. Apply `committed_entries` in order; for a membership change call `apply_conf_change`, unless the change is refused.
4. `advance(ready)`. It hands the member its own promises back, so a leader counts itself only when it is durable.

With `Config.async_storage_writes` steps 2 to 4 become messages: `Ready.messages` then contains STORAGE_APPEND and
STORAGE_APPLY, in order; carry each out and `step` or send its `responses`. There is no `advance`, and any number of
Readys may be under way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from random import Random

import msgspec

from . import beats, elections, following, leading, quorum, replication
from .config import Config
from .core import RaftCore, Trace
from .log import payload_of
from .log_store import LogStore
from .messages import (
    ENTRY_OVERHEAD_BYTES,
    LOCAL_APPEND,
    LOCAL_APPLY,
    LOCAL_KINDS,
    NO_NODE,
    RESPONSES,
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    ProposalDropped,
    ReadState,
    Role,
    Snapshot,
    SoftState,
)
from .progress import ProgressState

# Bound once: Python 3.11 takes a tenth of a microsecond and more to look up a member of an enum.
_LEADER = Role.LEADER
_APPEND_RESPONSE = MessageKind.APPEND_RESPONSE
_NORMAL = EntryKind.NORMAL


__all__ = ["PeerStatus", "ProposalDropped", "RaftGroup", "Ready", "Status"]


class Ready(msgspec.Struct):
    """What the owner has to do now. Fields without work are empty or None."""

    soft_state: SoftState | None = None
    """Role or leader changed. Nothing to keep."""
    hard_state: HardState | None = None
    """Term, vote or commit index changed; belongs into the same batch as the entries."""
    entries: tuple[Entry, ...] = ()
    """To be appended; they replace what the log holds at their indexes and after."""
    snapshot: Snapshot | None = None
    """Replaces state and log. Must be durable, like entries, before `messages_after_append` leave."""
    committed_entries: tuple[Entry, ...] = ()
    """To be applied, in order. Some may be among `entries`: make those durable first."""
    read_states: list[ReadState] = []
    dropped_reads: list[bytes] = []
    """Contexts of reads asked here that will never be answered: leader lost or unknown. (A question to a leader that
    is lost on the way is noticed only when the term changes; owners need a timeout.)"""
    messages: list[Message] = []
    """May leave at once, even before anything is durable."""
    messages_after_append: list[Message] = []
    """Promises to other members: may leave only when hard_state, entries and snapshot are durable."""
    must_sync: bool = False
    """Whether the batch must be synced before promises leave: entries, term or vote changed."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A member in the leader's eyes."""

    match: int
    next: int
    state: ProgressState
    is_learner: bool
    recent_active: bool
    paused: bool
    inflight: int
    pending_snapshot: int


@dataclass(frozen=True, slots=True)
class Status:
    """A picture of one member for people and audits; `progress` is empty unless it leads."""

    node_id: int
    group_id: int
    role: Role
    term: int
    vote: int
    leader_id: int
    commit: int
    applied: int
    first_index: int
    last_index: int
    transfer_target: int
    conf_state: ConfState
    progress: dict[int, PeerStatus]


_Pending = tuple[Ready, list[Message], int, int, int, int, int]
"""A Ready, our promises to ourselves, then term, last index and last term, then bytes of what is to be applied with
and without overhead."""


class RaftGroup:
    """One member of one Raft group. Not thread-safe; does no I/O and keeps no time.

    `log_store` must hold what was durable when the last incarnation stopped; `random` is this member's own stream;
    `applied` is the highest index whose effects the owner has kept (0: none). Raises `ValueError` for a stored
    membership that is impossible.
    """

    __slots__ = (
        "_commit",
        "_leader",
        "_maybe_ready",
        "_pending",
        "_role",
        "_sync",
        "_term",
        "_vote",
        "config",
        "core",
    )

    def __init__(
        self,
        config: Config,
        log_store: LogStore,
        random: Random,
        trace: Trace | None = None,
        applied: int = 0,
    ) -> None:
        self.config = config
        self.core = RaftCore(config, log_store, random, trace, applied)
        """The machine inside, for status displays and tests. Owners use the methods."""
        self._sync = not config.async_storage_writes
        self._pending: _Pending | None = None
        """What `advance` will tell the core about the outstanding Ready, fixed when that was handed out."""
        self._maybe_ready = True
        """False only if nothing changed since there was no Ready, which makes asking an idle group free."""
        self._role, self._leader = self.core.role, self.core.leader_id
        self._term, self._vote, self._commit = self.core.term, self.core.vote, self.core.log.committed

    # Putting something in.

    def tick(self) -> None:
        """One tick passes."""
        if self.core.tick():
            self._maybe_ready = True

    def tick_quiesced(self) -> None:
        """One tick passes while the group is quiesced: only the clocks move, nothing happens."""
        self.core.ticks += 1
        self.core.election_elapsed += 1

    def campaign(self) -> None:
        """Start an election now, as if the timeout had passed. Where promises are kept, not while a leader is heard."""
        self._maybe_ready = True
        if self.config.keeps_promises and self.core.in_lease():
            return
        elections.start(self.core)

    def hold_votes(self) -> None:
        """After a restart of a member that may have answered a leader: help nobody for an election timeout."""
        if self.config.keeps_promises:
            self.core.vote_hold_ticks = self.config.election_ticks

    def propose(self, data: bytes) -> tuple[int, int]:
        """Propose one entry. Returns the (term, index) that it commits at, if it ever does.

        Raises `ProposalDropped` where it certainly isn't in any log. A follower that may forward returns (0, 0).
        """
        return self._propose([(_NORMAL, data)])

    def propose_many(self, batch: Sequence[bytes]) -> int:
        """Propose entries as one batch, all or nothing. Returns the first one's index; the term is `self.term`.

        Raises `ProposalDropped` like `propose`, `ValueError` for an empty batch.
        """
        if not batch:
            raise ValueError("an empty batch was proposed; propose at least one entry")
        normal = _NORMAL
        return self._propose([(normal, data) for data in batch])[1]

    def propose_conf_change(self, change: ConfChange) -> tuple[int, int]:
        """Propose a membership change. Returns (term, index) like `propose`.

        A change that can't be made now (see `conf_change_refusal`) is replaced by an empty entry.
        """
        if change.single and len(change.changes) != 1:
            raise ValueError(f"a single change names exactly one node, this one {len(change.changes)}")
        return self._propose([(change.entry_kind, change.encode())])

    def conf_change_refusal(self, change: ConfChange) -> str:
        """Why a leader would refuse to propose this change now; empty if it wouldn't."""
        return leading.conf_change_refusal(self.core, change)

    def _propose(self, proposals: list[tuple[EntryKind, bytes]]) -> tuple[int, int]:
        core = self.core
        self._maybe_ready = True
        if core.role == _LEADER:
            first = leading.propose(core, proposals)
            return core.term, first
        entries = tuple(Entry(0, 0, data, kind) for kind, data in proposals)
        message = Message(MessageKind.PROPOSE, core.node_id, core.node_id, entries=entries)
        if core.role == Role.FOLLOWER:
            following.forward_proposal(core, message)
        else:
            following.refuse_proposal(core, message)
        return 0, 0

    def step(self, message: Message) -> None:
        """Take in a message from another member (or, with asynchronous storage, from the own storage).

        What makes no sense is dropped: a response from a node that is no member any more, a message that only a
        member's own storage may send.
        """
        self._maybe_ready = True
        gate = _GATES[message.kind]
        if gate is _LOCAL_ONLY and message.source not in _LOCAL_SOURCES:
            self._refused("local-message", message)
        elif gate is _MEMBERS_ONLY and message.source not in self.core.peers.progress:
            self._refused("unknown-peer", message)
        else:
            try:
                self.core.step(message)
            except ProposalDropped as dropped:
                # The asker isn't here. It learns by its own timeout; nothing was appended.
                if self.core.trace is not None:
                    details = {"source": message.source, "reason": str(dropped)}
                    self.core.trace("proposal-dropped", details)

    # Heartbeats that an owner of many groups sends for all of them, see `beats`.

    def heartbeats(self) -> tuple[int, list[tuple[int, int]]]:
        """Leader: the round of reads that its heartbeats of now ask for (0: none), and for each other member how far
        it may commit. They may leave at once."""
        return beats.due(self.core)

    def hear_heartbeat(self, source: int, term: int, commit: int) -> bool:
        """A heartbeat arrived; may be called at any time. False, with nothing changed: step it as a message. Else it
        is answered at once."""
        committed = self.core.log.committed
        if not beats.heard(self.core, source, term, commit):
            return False
        if self.core.log.committed != committed:
            self._maybe_ready = True
        return True

    def hear_answer(self, source: int, term: int, number: int) -> bool:
        """An answer to a heartbeat arrived; may be called at any time. False, with nothing changed: step it as a
        message."""
        return beats.answered(self.core, source, term, number)

    def _refused(self, reason: str, message: Message) -> None:
        if self.core.trace is not None:
            self.core.trace(
                "message-refused",
                {"reason": reason, "kind": message.kind.name.lower(), "source": message.source},
            )

    def read_index(self, context: bytes) -> None:
        """Ask for a linearizable read. The answer is a `ReadState` with this context in some later Ready.

        Everything asked before the next `ready()` shares one round of heartbeats. A leader that hasn't committed in
        its term yet keeps the read waiting; a follower asks its leader. If the leader is lost or unknown the context
        comes back in `Ready.dropped_reads`.
        """
        self._maybe_ready = True
        self.core.reads.ask(self.core.node_id, (context,))

    def transfer_leadership(self, target: int) -> None:
        """Ask that `target` take over. A follower passes the wish on. Given up after an election timeout."""
        self._maybe_ready = True
        self.core.step(Message(MessageKind.TRANSFER_LEADER, self.core.node_id, target))

    def forget_leader(self) -> None:
        """Follower: behave as if the leader were gone. Refused in lease mode."""
        self._maybe_ready = True
        following.forget_leader(self.core)

    def report_unreachable(self, node: int) -> None:
        """A message to `node` couldn't be delivered."""
        self._maybe_ready = True
        if self.core.role == _LEADER:
            replication.report_unreachable(self.core, node)

    def report_snapshot(self, node: int, ok: bool) -> None:
        """The snapshot to `node` was delivered, or not."""
        self._maybe_ready = True
        if self.core.role == _LEADER:
            replication.report_snapshot(self.core, node, ok)

    def push_snapshot(self, node: int) -> bool:
        """Leader: send a member that has nothing a snapshot, without asking it first. Says whether one leaves."""
        self._maybe_ready = True
        return self.core.role == _LEADER and replication.push_snapshot(self.core, node)

    def set_election_window(self, window: tuple[int, int] | None) -> None:
        """Change `Config.election_window`; takes effect with the next timeout that is drawn."""
        if window != self.config.election_window:
            self.config = self.core.config = replace(self.config, election_window=window)

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """A committed change takes effect now. Returns the membership to keep beside the applied index.

        Raises `ValueError`, with nothing changed, if it is impossible in the current configuration.
        """
        self._maybe_ready = True
        return self.core.apply_conf_change(change)

    def compacted(self, first_index: int) -> None:
        """The store dropped all entries before `first_index` (which is at most applied + 1)."""
        self.core.log.compacted(first_index)

    def set_priority(self, priority: int) -> None:
        """Change the election priority (see `Config.priority`); takes effect with a fresh timeout."""
        self.core.priority = priority
        self.core.draw_timeout()

    def set_randomized_timeout(self, ticks: int) -> None:
        """Fix the current election timeout, until the next one is drawn. For tests."""
        self.core.randomized_timeout = ticks

    # Taking something out.

    def has_ready(self) -> bool:
        """Whether `ready` may be called and would have work: never between `ready` and `advance`.

        O(1), and one attribute for a group where nothing happened.
        """
        if not self._maybe_ready or self._pending is not None:
            return False
        core = self.core
        log = core.log
        if (
            core.messages
            or core.messages_after_append
            or log.in_progress != log.last_index
            or log.committed != self._commit
            or core.append_due
            or core.read_states
            or core.dropped_reads
            or core.role != self._role
            or core.leader_id != self._leader
            or core.term != self._term
            or core.vote != self._vote
            or log.next_snapshot() is not None
            or log.has_next_committed(self._sync)
            or (core.reads.waiting and (core.role != _LEADER or core.committed_in_term))
        ):
            return True
        self._maybe_ready = False
        return False

    def ready(self) -> Ready:
        """Everything to do now. In the synchronous mode it must be answered by `advance` before the next one."""
        core = self.core
        assert self._pending is None, f"node {core.node_id}: ready() again without advance()"
        core.flush()
        log = core.log
        committed = log.next_committed(self._sync)
        entries = log.next_unstable()
        ready = Ready(
            entries=entries,
            committed_entries=committed,
            snapshot=log.next_snapshot(),
            messages=core.messages,
            read_states=core.read_states,
            dropped_reads=core.dropped_reads,
        )
        if core.role != self._role or core.leader_id != self._leader:
            self._role, self._leader = core.role, core.leader_id
            ready.soft_state = SoftState(core.leader_id, core.role)
        if core.term != self._term or core.vote != self._vote:
            ready.hard_state = core.hard_state
            ready.must_sync = True
        else:
            if log.committed != self._commit:
                ready.hard_state = core.hard_state
            ready.must_sync = bool(entries)
        assert core.term >= self._term, f"term went back from {self._term} to {core.term}"
        assert log.committed >= self._commit, f"commit went back from {self._commit} to {log.committed}"
        self._term, self._vote, self._commit = core.term, core.vote, log.committed
        payload = size = 0
        if committed:
            payload = payload_of(committed)
            size = payload + ENTRY_OVERHEAD_BYTES * len(committed)
        if self._sync:
            own = self._sort_promises(ready)
            self._pending = (ready, own, core.term, log.last_index, log.last_term, size, payload)
        else:
            self._attach_storage_messages(ready)
        core.messages, core.messages_after_append = [], []
        core.read_states, core.dropped_reads = [], []
        log.accept_unstable()
        if committed:
            log.accept_applying(committed[-1].index, size, self._sync)
        return ready

    def _sort_promises(self, ready: Ready) -> list[Message]:
        """The promises to others go out with the Ready; those to ourselves, returned, wait for `advance`."""
        core = self.core
        own: list[Message] = []
        for message in core.messages_after_append:
            if message.target != core.node_id:
                ready.messages_after_append.append(message)
            elif (
                own
                and message.kind == _APPEND_RESPONSE
                and own[-1].kind == _APPEND_RESPONSE
                and own[-1].term == message.term
            ):
                # Only the last acknowledgement of our own appends says something new.
                own[-1] = message
            else:
                own.append(message)
        return own

    def _attach_storage_messages(self, ready: Ready) -> None:
        core = self.core
        log = core.log
        hard_state, snapshot, entries = ready.hard_state, ready.snapshot, ready.entries
        promises = core.messages_after_append
        if entries or hard_state is not None or snapshot is not None or promises:
            replies = list(promises)
            if log.last_index > log.stable or snapshot is not None:
                unstable = log.last_index > log.stable
                # Sent even if this batch has no entries: an acknowledgement of an older term is ignored (see
                # storage_appended), and the batch that carries the new term must make up for it.
                replies.append(
                    Message(
                        MessageKind.STORAGE_APPEND_RESPONSE,
                        core.node_id,
                        LOCAL_APPEND,
                        core.term,
                        log.last_index if unstable else 0,
                        log.last_term if unstable else 0,
                        snapshot=snapshot,
                    )
                )
            state = hard_state if hard_state is not None else HardState()
            ready.messages.append(
                Message(
                    MessageKind.STORAGE_APPEND,
                    LOCAL_APPEND,
                    core.node_id,
                    state.term,
                    commit=state.commit,
                    vote=state.vote,
                    entries=entries,
                    snapshot=snapshot,
                    responses=tuple(replies),
                )
            )
        committed = ready.committed_entries
        if committed:
            reply = Message(MessageKind.STORAGE_APPLY_RESPONSE, core.node_id, LOCAL_APPLY, entries=committed)
            ready.messages.append(
                Message(
                    MessageKind.STORAGE_APPLY,
                    LOCAL_APPLY,
                    core.node_id,
                    entries=committed,
                    responses=(reply,),
                )
            )

    def advance(self, ready: Ready) -> None:
        """The owner has done everything that `ready` asked for. Only in the synchronous mode."""
        pending = self._pending
        assert pending is not None, f"node {self.core.node_id}: advance() without ready()"
        outstanding, own, term, last_index, last_term, size, payload = pending
        assert outstanding is ready, f"node {self.core.node_id}: advance() of a Ready that isn't the last one"
        self._pending = None
        self._maybe_ready = True
        core = self.core
        for message in own:
            core.step(message)
        if ready.entries or ready.snapshot is not None:
            core.storage_appended(term, last_index, last_term, ready.snapshot)
        if ready.committed_entries:
            core.storage_applied(ready.committed_entries[-1].index, size, payload)

    # Quiescence.

    @property
    def may_quiesce(self) -> bool:
        """Leader: whether nothing is left to do or to say, so that the owner may stop ticking all members.

        Everybody has acknowledged the whole log and was told that it is committed, all of it is applied here, no read,
        transfer or joint change is open. (Who missed the last commit notice learns it when the group wakes.)
        """
        return self.may_quiesce_without(())

    def may_quiesce_without(self, absent: Collection[int]) -> bool:
        """The same, where nobody waits for these members: their nodes are down, and the owner wakes the group when
        they are back. The others must be a quorum."""
        core = self.core
        log = core.log
        last = log.last_index
        return (
            core.role == _LEADER
            and log.applied == last
            and log.stable == last
            and core.transfer_target == NO_NODE
            and core.reads.idle
            and not core.peers.configuration.is_joint
            and all(
                node in absent
                or (record.match == last and (node == core.node_id or not record.can_bump_commit(last)))
                for node, record in core.peers.progress.items()
            )
            and (not absent or self.is_quorum([node for node in core.peers.progress if node not in absent]))
            and self._pending is None
            and not self.has_ready()
        )

    def may_quiesce_after(self, leader: int, term: int, last: int) -> bool:
        """Follower: whether it is where its leader believes it to be when that stops ticking: in this term, with a log
        up to `last`, all of it durable, committed and applied."""
        core = self.core
        log = core.log
        return (
            core.role == Role.FOLLOWER
            and core.term == term
            and core.leader_id == leader
            and log.last_index == last
            and log.applied == last
            and log.stable == last
            and self._pending is None
            and not self.has_ready()
        )

    def resume(self, missed: int, silent: int) -> None:
        """The owner ticks again, after it has left out `missed` ticks. A leader gets a whole election timeout to hear
        its quorum, and its next tick makes heartbeats; for a follower the leader was silent for `silent` ticks, as far
        as the owner knows of the leader's node."""
        core = self.core
        core.ticks += missed
        core.vote_hold_ticks = max(core.vote_hold_ticks - missed, 0)
        if core.role == _LEADER:
            core.election_elapsed = 0
            core.heartbeat_elapsed = core.config.heartbeat_ticks
        else:
            core.election_elapsed = silent

    def wake(self) -> None:
        """The owner ticks again. A leader speaks up at once, and gets a whole election timeout to hear its quorum; a
        follower waits a whole one before it campaigns."""
        core = self.core
        self._maybe_ready = True
        core.election_elapsed = 0
        core.heartbeat_elapsed = 0
        if core.role == _LEADER:
            leading.heartbeat(core)

    # Looking in.

    def is_quorum(self, members: Collection[int]) -> bool:
        """Whether these members decide in the present configuration, in both halves of a joint one."""
        configuration = self.core.peers.configuration
        return quorum.is_majority(configuration.voters, members) and quorum.is_majority(
            configuration.outgoing, members
        )

    @property
    def is_leader(self) -> bool:
        return self.core.role == _LEADER

    @property
    def role(self) -> Role:
        return self.core.role

    @property
    def leader_id(self) -> int:
        """Who leads this term as far as this node knows; 0 if nobody."""
        return self.core.leader_id

    @property
    def hears_no_leader(self) -> bool:
        """Whether nobody leads as far as this node knows. One that never campaigns, a learner, goes on believing in the
        last leader that it heard: for such a one, whether that was silent for an election timeout."""
        core = self.core
        is_silent = not core.is_promotable and core.election_elapsed >= core.randomized_timeout
        return core.leader_id == NO_NODE or is_silent

    @property
    def term(self) -> int:
        return self.core.term

    @property
    def commit(self) -> int:
        return self.core.log.committed

    @property
    def applied(self) -> int:
        return self.core.log.applied

    @property
    def last_index(self) -> int:
        return self.core.log.last_index

    @property
    def lease_valid(self) -> bool:
        """Leader: whether ticks alone prove that nobody else can lead yet. Needs `ReadMode.LEASE`."""
        return leading.lease_valid(self.core)

    @property
    def conf_state(self) -> ConfState:
        return self.core.peers.configuration.conf_state()

    def status(self) -> Status:
        core = self.core
        log = core.log
        progress = core.peers.progress if core.role == _LEADER else {}
        return Status(
            node_id=core.node_id,
            group_id=self.config.group_id,
            role=core.role,
            term=core.term,
            vote=core.vote,
            leader_id=core.leader_id,
            commit=log.committed,
            applied=log.applied,
            first_index=log.first_index,
            last_index=log.last_index,
            transfer_target=core.transfer_target,
            conf_state=self.conf_state,
            progress={
                node: PeerStatus(
                    match=record.match,
                    next=record.next,
                    state=record.state,
                    is_learner=record.is_learner,
                    recent_active=record.recent_active,
                    paused=record.paused,
                    inflight=len(record.inflights),
                    pending_snapshot=record.pending_snapshot,
                )
                for node, record in progress.items()
            },
        )


_LOCAL_SOURCES = frozenset((LOCAL_APPEND, LOCAL_APPLY))
_MEMBERS_ONLY, _LOCAL_ONLY = "members only", "local only"
_GATES = tuple(
    _LOCAL_ONLY if kind in LOCAL_KINDS else _MEMBERS_ONLY if kind in RESPONSES else None
    for kind in MessageKind
)
"""By kind of message: who may send it."""
