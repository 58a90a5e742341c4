"""What only a leader does: proposals, checking its quorum, reads, handing over, changing the membership."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import replication
from .config import ReadMode
from .membership import Changer, Configuration, ProgressMap
from .messages import (
    LEAVE_JOINT,
    NO_NODE,
    ConfChange,
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    ProposalDropped,
    ReadState,
    Role,
    decode_conf_change,
)
from .reads import ReadRequest

if TYPE_CHECKING:
    from .core import RaftCore


# Bound once: Python 3.11 takes a tenth of a microsecond and more to look up a member of an enum.
_LEADER = Role.LEADER
_NORMAL = EntryKind.NORMAL


def tick(raft: RaftCore) -> bool:
    """Time passes for a leader. Says whether anything but counters changed."""
    config = raft.config
    acted = False
    raft.heartbeat_elapsed += 1
    if raft.election_elapsed >= config.election_ticks:
        raft.election_elapsed = 0
        acted = True
        if config.check_quorum:
            check_quorum(raft)
            if raft.role != _LEADER:
                return True
        replication.give_up_lost_snapshots(raft)
        # A transfer that took a whole election timeout has failed: serve again.
        raft.transfer_target = NO_NODE
    if raft.heartbeat_elapsed >= config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        if config.own_heartbeats:
            heartbeat(raft)
            return True
    return acted


def heartbeat(raft: RaftCore) -> None:
    """An ordinary round of heartbeats."""
    replication.broadcast_heartbeat(raft, heartbeat_context(raft))


def heartbeat_context(raft: RaftCore) -> bytes:
    """What an ordinary round of heartbeats carries: a number of its own where its answers may extend a lease."""
    if raft.renews_lease and raft.committed_in_term and not raft.peers.is_singleton:
        return raft.reads.open_round(raft.term, raft.log.committed, raft.ticks)
    return raft.reads.newest_context(raft.term)


def check_quorum(raft: RaftCore) -> None:
    """A leader that didn't hear from a quorum for an election timeout steps down: another may lead already."""
    if not raft.peers.quorum_active():
        if raft.trace is not None:
            raft.trace("quorum-lost", {"term": raft.term})
        raft.become_follower(raft.term, NO_NODE)
    for node, record in raft.peers.progress.items():
        if node != raft.node_id:
            record.recent_active = False


# Proposals.


def on_propose(raft: RaftCore, m: Message) -> None:
    propose(raft, [(entry.kind, entry.data) for entry in m.entries])


def propose(raft: RaftCore, proposals: Sequence[tuple[EntryKind, bytes]]) -> int:
    """Append proposals as one batch and spread it. Returns the first one's index. Raises `ProposalDropped`."""
    assert proposals, "an empty batch was proposed"
    if raft.node_id not in raft.peers.progress:
        raise ProposalDropped(f"node {raft.node_id} leads term {raft.term} but was removed from the group")
    if raft.transfer_target != NO_NODE:
        raise ProposalDropped(
            f"leadership of term {raft.term} is being transferred to {raft.transfer_target}"
        )
    term, first = raft.term, raft.log.last_index + 1
    entries: list[Entry] = []
    added = 0
    pending_conf_index = raft.pending_conf_index
    for index, (kind, data) in enumerate(proposals, first):
        entry = Entry(term, index, data, kind)
        if kind != _NORMAL:
            refusal = conf_change_refusal(raft, decode_conf_change(entry))
            if refusal and not raft.config.disable_conf_change_validation:
                # It becomes an empty entry: its index was perhaps already promised to somebody.
                if raft.trace is not None:
                    raft.trace("conf-change-refused", {"index": index, "reason": refusal})
                entry = Entry(term, index)
            else:
                raft.pending_conf_index = index
        added += len(entry.data)
        entries.append(entry)
    if (
        added
        and raft.uncommitted_bytes
        and raft.uncommitted_bytes + added > raft.config.max_uncommitted_bytes
    ):
        raft.pending_conf_index = pending_conf_index
        raise ProposalDropped(
            f"{raft.uncommitted_bytes} bytes are uncommitted, {added} more exceed the limit of "
            f"{raft.config.max_uncommitted_bytes}; try again later"
        )
    raft.uncommitted_bytes += added
    raft.append_as_leader(entries)
    replication.broadcast_append(raft)
    return first


def conf_change_refusal(raft: RaftCore, change: ConfChange) -> str:
    """Why a change can't be proposed now; empty if it can."""
    is_joint = raft.peers.configuration.is_joint
    leaves = not change.changes
    if raft.pending_conf_index > raft.log.applied:
        return f"possible unapplied conf change at index {raft.pending_conf_index} (applied to {raft.log.applied})"
    if is_joint and not leaves:
        return "must transition out of joint config first"
    if not is_joint and leaves:
        return "not in joint state; refusing empty conf change"
    return ""


# Membership.


def changer(raft: RaftCore) -> Changer:
    return Changer(raft.peers.configuration, raft.peers.progress, raft.log.last_index, raft.new_inflights())


def leave_joint(raft: RaftCore) -> None:
    """The joint configuration is applied and asked to be left by itself."""
    try:
        propose(raft, [(LEAVE_JOINT.entry_kind, LEAVE_JOINT.encode())])
    except ProposalDropped:
        # A transfer is under way. Whoever leads afterwards tries again when it applies its next entry.
        if raft.trace is not None:
            raft.trace("leave-joint-postponed", {"transfer_target": raft.transfer_target})


def switch_configuration(raft: RaftCore, configuration: Configuration, progress: ProgressMap) -> ConfState:
    """Use another membership from now on, and react: step down, commit by the new quorum, start replicating."""
    peers = raft.peers
    peers.install(configuration, progress)
    if raft.trace is not None:
        raft.trace("configuration", {"configuration": str(configuration), "term": raft.term})
    conf_state = configuration.conf_state()
    if raft.role != _LEADER:
        return conf_state
    own = peers.progress.get(raft.node_id)
    if own is None or own.is_learner:
        # It has led to the end of its own removal; others go on.
        if raft.config.step_down_on_removal:
            raft.become_follower(raft.term, NO_NODE)
        return conf_state
    if not configuration.voters:
        return conf_state
    # A lease that a quorum of the old members granted may not bind a quorum of the members after the next change.
    raft.reads.confirmed_tick = -1
    if replication.maybe_commit(raft):
        # A smaller quorum may have everything already.
        replication.broadcast_append(raft)
    else:
        for node in peers.others:
            replication.maybe_send_append(raft, node, send_if_empty=False)
    _answer_rounds(raft)
    if raft.transfer_target != NO_NODE and not peers.is_voter(raft.transfer_target):
        raft.transfer_target = NO_NODE
    return conf_state


# Handing over.


def on_transfer_leader(raft: RaftCore, m: Message) -> None:
    transfer_leadership(raft, m.source)


def transfer_leadership(raft: RaftCore, target: int) -> None:
    """Make `target` campaign as soon as its log is complete (thesis 3.10). Given up after an election timeout."""
    record = raft.peers.progress.get(target)
    if record is None or record.is_learner or target == raft.transfer_target:
        return
    raft.transfer_target = NO_NODE
    if target == raft.node_id:
        return
    raft.election_elapsed = 0
    raft.transfer_target = target
    if raft.trace is not None:
        raft.trace("transfer", {"target": target, "term": raft.term})
    if record.match == raft.log.last_index:
        send_timeout_now(raft, target)
    else:
        replication.send_append(raft, target)


def send_timeout_now(raft: RaftCore, target: int) -> None:
    # However late this message arrives, it makes the target campaign without regard to our lease.
    raft.lease_broken = True
    raft.send(Message(MessageKind.TIMEOUT_NOW, target, raft.node_id, raft.term))


# Reads.


def on_read_index(raft: RaftCore, m: Message) -> None:
    raft.reads.ask(m.source, (m.context,))


def lease_valid(raft: RaftCore) -> bool:
    """Whether no other leader can exist yet, judged by ticks alone.

    A quorum answered a round that was sent `age` ticks ago. Each of them ignores votes for `election_ticks` ticks
    since it heard that round. Ticks aren't aligned, so up to one may be missing on either side.
    """
    if raft.role != _LEADER or raft.config.read_mode != ReadMode.LEASE:
        return False
    if raft.lease_broken or not raft.committed_in_term:
        return False
    if raft.peers.is_singleton:
        return True
    confirmed = raft.reads.confirmed_tick
    return confirmed >= 0 and raft.ticks - confirmed <= raft.config.election_ticks - 2


def flush_reads(raft: RaftCore) -> None:
    """Answer the waiting reads, or send a round for them. They wait on while the leader lacks a commit in its term."""
    reads = raft.reads
    if raft.role != _LEADER:
        _pass_reads_on(raft)
        return
    if not raft.committed_in_term:
        return
    if raft.peers.is_singleton or lease_valid(raft):
        waiting, reads.waiting = reads.waiting, []
        for request in waiting:
            _answer_read(raft, request, raft.log.committed)
        return
    replication.broadcast_heartbeat(raft, reads.open_round(raft.term, raft.log.committed, raft.ticks))


def _pass_reads_on(raft: RaftCore) -> None:
    """A follower asks its leader, with one message for all; without a leader the reads are dropped, and said to be."""
    reads = raft.reads
    if raft.leader_id == NO_NODE:
        raft.dropped_reads.extend(reads.drop(raft.node_id))
        return
    token, lost = reads.ask_leader(raft.node_id)
    raft.dropped_reads.extend(lost)
    raft.send(Message(MessageKind.READ_INDEX, raft.leader_id, raft.node_id, context=token))


def on_round_answered(raft: RaftCore, m: Message) -> None:
    """A heartbeat's response with a round's context."""
    configuration = raft.peers.configuration
    for done in raft.reads.acknowledge(m.source, m.context, raft.term, raft.node_id, configuration):
        for request in done.requests:
            _answer_read(raft, request, done.commit)


def _answer_rounds(raft: RaftCore) -> None:
    """The quorum changed: rounds may be complete without another answer."""
    for done in raft.reads.confirm(raft.node_id, raft.peers.configuration):
        for request in done.requests:
            _answer_read(raft, request, done.commit)


def _answer_read(raft: RaftCore, request: ReadRequest, index: int) -> None:
    if request.source == raft.node_id:
        raft.read_states.extend(ReadState(index, context) for context in request.contexts)
        return
    raft.send(
        Message(
            MessageKind.READ_INDEX_RESPONSE,
            request.source,
            raft.node_id,
            raft.term,
            index,
            context=request.contexts[0],
        )
    )


# Two leaders.


def on_other_leader(raft: RaftCore, m: Message) -> None:
    assert m.source == raft.node_id, (
        f"term {raft.term} has two leaders: {raft.node_id} and {m.source} (seen by node {raft.node_id})"
    )
