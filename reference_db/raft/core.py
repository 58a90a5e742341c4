"""The Raft state machine of one member: its state, its roles, and which rule answers which message.

Sans-IO: a tick, a message or a call goes in; state changes, and messages collect in `messages` and
`messages_after_append`. The rules themselves stand in `elections`, `following`, `leading`, `replication` and
`responses`; this file holds what they share and the table that says which rule runs in which role. Nothing here knows
the time, a socket or a disk; the only randomness is the stream that is passed in.

The message discipline follows etcd's raft, whose published test data this core is checked against.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from . import elections, following, leading, replication, responses
from .config import LOWEST_PRIORITY, Config, ReadMode
from .log import RaftLog
from .log_store import LogStore
from .membership import restore
from .messages import (
    NO_NODE,
    ConfChange,
    ConfState,
    Entry,
    HardState,
    Message,
    MessageKind,
    ReadState,
    Role,
    Snapshot,
)
from .peers import Peers
from .progress import Inflights, Progress
from .reads import ReadQueue

# Bound once: Python 3.11 takes a tenth of a microsecond and more to look up a member of an enum.
_LEADER = Role.LEADER
_APPEND_RESPONSE = MessageKind.APPEND_RESPONSE


Trace = Callable[[str, dict[str, Any]], None]
"""A sink for what happens inside: the event's name and its details.

Events: role, elected, deposed-with-uncommitted, campaign, transfer-campaign, campaign-refused, vote, vote-ignored,
vote-refused-behind, vote-refused-given, pre-vote-refused, commit, commit-learned, append-refused, log-cut,
configuration, quorum-lost, transfer, snapshot-sent, snapshot-restored, snapshot-refused, conf-change-refused,
leave-joint-postponed, forget-leader-refused, proposal-dropped, message-refused. Without a sink none of them costs
anything.
"""
Rule = Callable[["RaftCore", Message], None]


class RaftCore:
    """One member of one group. `group.RaftGroup` is the handle that owners use."""

    __slots__ = (
        "_rules",
        "append_due",
        "config",
        "dropped_reads",
        "election_elapsed",
        "heartbeat_elapsed",
        "leader_id",
        "lease_broken",
        "log",
        "messages",
        "messages_after_append",
        "node_id",
        "peers",
        "pending_conf_index",
        "priority",
        "random",
        "randomized_timeout",
        "read_states",
        "reads",
        "renews_lease",
        "role",
        "term",
        "ticks",
        "trace",
        "transfer_target",
        "uncommitted_bytes",
        "vote",
        "vote_hold_ticks",
    )

    def __init__(
        self, config: Config, store: LogStore, random: Random, trace: Trace | None = None, applied: int = 0
    ) -> None:
        hard_state, conf_state = store.initial_state()
        self.config = config
        self.node_id: int = config.node_id
        self.random = random
        self.trace = trace
        self.term: int = 0
        """The latest term seen. Never decreases, and is durable before anything sent in it may count."""
        self.vote: int = NO_NODE
        """Who got our vote in this term. Changes at most once a term."""
        self.role: Role = Role.FOLLOWER
        self.leader_id: int = NO_NODE
        self.log = RaftLog(
            store, config.max_committed_bytes_per_ready, config.tail_entries, config.tail_bytes
        )
        self.peers = Peers(config.node_id)
        self.reads = ReadQueue(random.getrandbits(64))
        self.read_states: list[ReadState] = []
        """Answered reads for the next Ready."""
        self.dropped_reads: list[bytes] = []
        """Contexts of our own reads that will never be answered, for the next Ready."""
        self.messages: list[Message] = []
        """May leave at once."""
        self.messages_after_append: list[Message] = []
        """Promise durable state: may leave only when all that is unstable now is durable."""
        self.append_due = False
        """The leader has entries or a commit index to spread at the next Ready (coalesced appends)."""
        self.ticks = 0
        """Ticks since the start; the leader's clock for its lease."""
        self.election_elapsed = 0
        """Follower: ticks since it heard from a leader. Leader: since the last check for a quorum."""
        self.heartbeat_elapsed = 0
        self.priority: int = config.priority
        self.randomized_timeout = config.election_ticks
        self.transfer_target: int = NO_NODE
        """Whom the leader is handing over to. It accepts no proposals meanwhile."""
        self.lease_broken = False
        """The leader told somebody to campaign at once in this term; its lease proves nothing any more."""
        self.renews_lease = config.read_mode == ReadMode.LEASE
        """Whether a leader numbers its ordinary heartbeats, so that their answers say when it certainly still led."""
        self.vote_hold_ticks = 0
        """After a restart in lease mode, or where the owner says so: a leader may still hold a lease that rests on our
        earlier heartbeat responses, so no votes for one election timeout."""
        self.pending_conf_index = 0
        """Highest index that may hold an unapplied membership change. At most one is in flight."""
        self.uncommitted_bytes = 0
        self._rules: tuple[Rule, ...] = _RULES[Role.FOLLOWER]

        configuration, progress = restore(conf_state, self.log.last_index, self.new_inflights())
        self.peers.install(configuration, progress)
        if hard_state != HardState():
            assert self.log.committed <= hard_state.commit <= self.log.last_index, (
                f"hard state says commit {hard_state.commit}, the log reaches from "
                f"{self.log.committed} to {self.log.last_index}"
            )
            self.term, self.vote = hard_state.term, hard_state.vote
            self.log.committed = hard_state.commit
        if applied:
            self.log.applied_to(applied, 0)
        if config.read_mode == ReadMode.LEASE and self.term > 0:
            self.vote_hold_ticks = config.election_ticks
        self.become_follower(self.term, NO_NODE)

    # Small facts.

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote, self.log.committed)

    @property
    def is_promotable(self) -> bool:
        """Whether this node may become leader: a voter whose state isn't about to be replaced by a snapshot."""
        record = self.peers.progress.get(self.node_id)
        return record is not None and not record.is_learner and self.log.snapshot is None

    @property
    def committed_in_term(self) -> bool:
        """Whether the leader has committed an entry of its own term, so that its commit index is nobody's past."""
        return self.log.term_or_zero(self.log.committed) == self.term

    def new_inflights(self) -> Inflights:
        return Inflights(self.config.max_inflight_messages, self.config.max_inflight_bytes)

    def in_lease(self) -> bool:
        """Whether we heard from a leader so recently that no other may be elected with our help (thesis 6.4.1)."""
        if not self.config.check_quorum:
            return False
        return self.vote_hold_ticks > 0 or (
            self.leader_id != NO_NODE and self.election_elapsed < self.config.election_ticks
        )

    # Roles.

    def become_follower(self, term: int, leader: int) -> None:
        if self.trace is not None and self.role == _LEADER and self.log.committed < self.log.last_index:
            details = {"committed": self.log.committed, "last": self.log.last_index, "term": self.term}
            self.trace("deposed-with-uncommitted", details)
        self._reset(term)
        self._enter(Role.FOLLOWER, leader)

    def become_pre_candidate(self) -> None:
        """Asks whether an election could be won; changes neither term nor vote."""
        assert self.role != _LEADER, f"node {self.node_id} leads term {self.term} and can't campaign"
        self._drop_reads()
        self.peers.reset_votes()
        self._enter(Role.PRE_CANDIDATE, NO_NODE)

    def become_candidate(self) -> None:
        assert self.role != _LEADER, f"node {self.node_id} leads term {self.term} and can't campaign"
        self._reset(self.term + 1)
        self.vote = self.node_id
        self._enter(Role.CANDIDATE, NO_NODE)

    def become_leader(self) -> None:
        assert self.role != Role.FOLLOWER, (
            f"node {self.node_id} can't lead term {self.term} without campaigning"
        )
        self._reset(self.term)
        self._enter(_LEADER, self.node_id)
        if self.trace is not None:
            self.trace("elected", {"term": self.term})
        own = self.peers.progress[self.node_id]
        own.become_replicate()
        own.recent_active = True
        # There may be an unapplied membership change anywhere in the log. Waiting until all of it is applied is
        # cheaper than looking.
        self.pending_conf_index = self.log.last_index
        # An empty entry of the new term: earlier entries can only be committed together with it (paper 5.4.2).
        self.append_as_leader([Entry(self.term, self.log.last_index + 1)])

    def _reset(self, term: int) -> None:
        assert term >= self.term, f"term would go back from {self.term} to {term}"
        if term != self.term:
            self.term = term
            self.vote = NO_NODE
        self.leader_id = NO_NODE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.draw_timeout()
        self.transfer_target = NO_NODE
        self.lease_broken = False
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.append_due = False
        self._drop_reads()
        self.peers.reset_votes()
        last = self.log.last_index
        fresh = {
            node: Progress(
                match=last if node == self.node_id else 0,
                next=last + 1,
                inflights=self.new_inflights(),
                is_learner=record.is_learner,
            )
            for node, record in self.peers.progress.items()
        }
        self.peers.install(self.peers.configuration, fresh)

    def _enter(self, role: Role, leader: int) -> None:
        self.role = role
        self.leader_id = leader
        self._rules = _RULES[role]
        if self.trace is not None:
            self.trace("role", {"role": role.name.lower(), "term": self.term, "leader": leader})

    def _drop_reads(self) -> None:
        if not self.reads.idle:
            self.dropped_reads.extend(self.reads.drop(self.node_id))

    def draw_timeout(self) -> None:
        """A new randomized election timeout (paper 5.2), shifted by the priority; see `Config.priority`."""
        ticks, priority = self.config.election_ticks, self.priority
        if self.config.election_window is not None:
            first, end = self.config.election_window
            self.randomized_timeout = first + self.random.randrange(end - first)
        elif priority >= 0:
            self.randomized_timeout = ticks + self.random.randrange(max(ticks // (priority + 1), 1))
        else:
            self.randomized_timeout = ticks * (1 - max(priority, LOWEST_PRIORITY)) + self.random.randrange(
                ticks
            )

    # Time.

    def tick(self) -> bool:
        """One tick passes. Says whether anything but counters changed."""
        self.ticks += 1
        self.election_elapsed += 1
        if self.vote_hold_ticks:
            self.vote_hold_ticks -= 1
        if self.role == _LEADER:
            return leading.tick(self)
        if self.election_elapsed < self.randomized_timeout or not self.is_promotable:
            return False
        self.election_elapsed = 0
        elections.start(self)
        return True

    # Messages.

    def step(self, message: Message) -> None:
        """Take a message in. May raise `ProposalDropped` for a PROPOSE."""
        term = message.term
        if term and term != self.term and not elections.settle_term(self, message):
            return
        self._rules[message.kind](self, message)

    def send(self, message: Message) -> None:
        self.messages.append(message)

    def send_after_append(self, message: Message) -> None:
        """For promises: it leaves when everything appended so far, term and vote are durable."""
        self.messages_after_append.append(message)

    # The log.

    def append_as_leader(self, entries: list[Entry]) -> None:
        """Append our own new entries, and acknowledge them to ourselves once they are durable."""
        self.log.append(entries)
        self.send_after_append(
            Message(_APPEND_RESPONSE, self.node_id, self.node_id, self.term, self.log.last_index)
        )

    def commit_to(self, index: int) -> bool:
        """Raise the commit index. Says whether it moved."""
        moved = self.log.commit_to(index)
        if moved and self.trace is not None:
            self.trace("commit", {"index": index, "term": self.term})
        return moved

    def storage_appended(self, term: int, index: int, log_term: int, snapshot: Snapshot | None) -> None:
        """The owner made everything durable that it was given in `term`, up to the entry `(log_term, index)`.

        If the term has changed since, the entries may have been overwritten by ones that are still on their way to
        the disk, even with the same content as before, so only the snapshot counts. A later acknowledgement, which
        every new term causes, covers the entries.
        """
        if index and term == self.term:
            self.log.stable_to(index, log_term)
        if snapshot is not None:
            self.log.stable_snapshot_to(snapshot.index)
            self.applied_to(max(snapshot.index, self.log.applied), 0)

    def storage_applied(self, index: int, size_bytes: int, payload_bytes: int) -> None:
        """The owner applied committed entries up to `index`."""
        self.applied_to(max(index, self.log.applied), size_bytes)
        self.uncommitted_bytes = max(self.uncommitted_bytes - payload_bytes, 0)

    def applied_to(self, index: int, size_bytes: int) -> None:
        self.log.applied_to(index, size_bytes)
        if self.role == _LEADER and self.peers.configuration.auto_leave and index >= self.pending_conf_index:
            leading.leave_joint(self)

    # Membership.

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """A committed change takes effect. Raises `ValueError` if it is impossible in this configuration."""
        configuration, progress = leading.changer(self).change(change)
        return leading.switch_configuration(self, configuration, progress)

    # Turns.

    def flush(self) -> None:
        """Turn what waited for the end of the turn into messages: reads, and coalesced appends."""
        if self.append_due:
            self.append_due = False
            replication.flush_appends(self)
        if self.reads.waiting:
            leading.flush_reads(self)


def _ignore(raft: RaftCore, message: Message) -> None:
    """This role has no use for this message."""


def _table(rules: dict[MessageKind, Rule]) -> tuple[Rule, ...]:
    shared: dict[MessageKind, Rule] = {
        MessageKind.VOTE: elections.answer_vote,
        MessageKind.PRE_VOTE: elections.answer_vote,
        MessageKind.STORAGE_APPEND_RESPONSE: responses.on_storage_appended,
        MessageKind.STORAGE_APPLY_RESPONSE: responses.on_storage_applied,
    }
    return tuple((rules | shared).get(kind, _ignore) for kind in MessageKind)


_CANDIDATE: dict[MessageKind, Rule] = {
    MessageKind.PROPOSE: following.refuse_proposal,
    MessageKind.APPEND: following.on_append_as_candidate,
    MessageKind.HEARTBEAT: following.on_heartbeat_as_candidate,
    MessageKind.SNAPSHOT: following.on_snapshot_as_candidate,
    MessageKind.VOTE_RESPONSE: elections.count_vote,
    MessageKind.PRE_VOTE_RESPONSE: elections.count_vote,
}

_RULES: dict[Role, tuple[Rule, ...]] = {
    Role.FOLLOWER: _table(
        {
            MessageKind.PROPOSE: following.forward_proposal,
            MessageKind.APPEND: following.on_append,
            MessageKind.HEARTBEAT: following.on_heartbeat,
            MessageKind.SNAPSHOT: following.on_snapshot,
            MessageKind.TRANSFER_LEADER: following.forward_transfer,
            MessageKind.TIMEOUT_NOW: following.on_timeout_now,
            MessageKind.READ_INDEX_RESPONSE: following.on_read_index_response,
        }
    ),
    Role.PRE_CANDIDATE: _table(_CANDIDATE),
    Role.CANDIDATE: _table(_CANDIDATE),
    Role.LEADER: _table(
        {
            MessageKind.PROPOSE: leading.on_propose,
            MessageKind.APPEND_RESPONSE: responses.on_append_response,
            MessageKind.HEARTBEAT_RESPONSE: responses.on_heartbeat_response,
            MessageKind.TRANSFER_LEADER: leading.on_transfer_leader,
            MessageKind.READ_INDEX: leading.on_read_index,
            MessageKind.APPEND: leading.on_other_leader,
            MessageKind.HEARTBEAT: leading.on_other_leader,
            MessageKind.SNAPSHOT: leading.on_other_leader,
        }
    ),
}
