"""What a follower does with a leader's messages: append, heartbeat, snapshot; and what it passes on to the leader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from . import elections, leading
from .membership import restore
from .messages import NO_NODE, Message, MessageKind, ProposalDropped, ReadState, Role, Snapshot

if TYPE_CHECKING:
    from .core import RaftCore


# Bound once: Python 3.11 takes a tenth of a microsecond and more to look up a member of an enum.
_APPEND_RESPONSE = MessageKind.APPEND_RESPONSE
_HEARTBEAT_RESPONSE = MessageKind.HEARTBEAT_RESPONSE


def _hear_leader(raft: RaftCore, leader: int) -> None:
    assert raft.leader_id in (NO_NODE, leader), (
        f"term {raft.term} has two leaders: {raft.leader_id} and {leader} (seen by node {raft.node_id})"
    )
    raft.election_elapsed = 0
    raft.leader_id = leader


def on_append(raft: RaftCore, m: Message) -> None:
    """Paper 5.3: append if the entry before matches, else say where the logs may agree."""
    _hear_leader(raft, m.source)
    log = raft.log
    if m.index < log.committed:
        # An old message; everything up to the commit index agrees with any leader anyway.
        _acknowledge(raft, m.source, log.committed)
        return
    if raft.trace is not None and m.index < log.last_index:
        _trace_cut(raft, m)
    if log.maybe_append(m.index, m.log_term, m.entries):
        last = m.index + len(m.entries)
        raft.commit_to(min(m.commit, last))
        _acknowledge(raft, m.source, last)
        return
    hint, hint_term = log.find_conflict_by_term(min(m.index, log.last_index), m.log_term)
    if raft.trace is not None:
        raft.trace("append-refused", {"index": m.index, "hint": hint, "term": raft.term})
    raft.send_after_append(
        Message(
            _APPEND_RESPONSE,
            m.source,
            raft.node_id,
            raft.term,
            m.index,
            hint_term,
            reject=True,
            hint=hint,
        )
    )


def _trace_cut(raft: RaftCore, m: Message) -> None:
    """If this message's entries are going to replace others: the first of them."""
    log = raft.log
    if raft.trace is None or not log.matches(m.index, m.log_term):
        return
    for entry in m.entries:
        if entry.index <= log.last_index and not log.matches(entry.index, entry.term):
            raft.trace("log-cut", {"from": entry.index, "last": log.last_index, "term": raft.term})
            return


def _acknowledge(raft: RaftCore, leader: int, index: int) -> None:
    raft.send_after_append(Message(_APPEND_RESPONSE, leader, raft.node_id, raft.term, index))


def on_heartbeat(raft: RaftCore, m: Message) -> None:
    _hear_leader(raft, m.source)
    raft.commit_to(m.commit)
    raft.send(Message(_HEARTBEAT_RESPONSE, m.source, raft.node_id, raft.term, context=m.context))


def on_snapshot(raft: RaftCore, m: Message) -> None:
    _hear_leader(raft, m.source)
    assert m.snapshot is not None, f"SNAPSHOT from {m.source} in term {m.term} without a snapshot"
    if restore_snapshot(raft, m.snapshot):
        _acknowledge(raft, m.source, raft.log.last_index)
    else:
        _acknowledge(raft, m.source, raft.log.committed)


def restore_snapshot(raft: RaftCore, snapshot: Snapshot) -> bool:
    """Replace log and membership by the leader's snapshot, unless it is old. Says whether it did."""
    log = raft.log
    if snapshot.index <= log.committed:
        return False
    members = snapshot.conf_state
    if raft.node_id not in (*members.voters, *members.learners, *members.voters_outgoing):
        # Not meant for us: without a place in its membership we couldn't even be replicated to.
        if raft.trace is not None:
            raft.trace(
                "snapshot-refused", {"index": snapshot.index, "reason": "this node is not a member in it"}
            )
        return False
    if log.matches(snapshot.index, snapshot.term):
        # We have all of it already; it only tells that it is committed.
        raft.commit_to(snapshot.index)
        return False
    log.restore(snapshot)
    configuration, progress = restore(members, log.last_index, raft.new_inflights())
    leading.switch_configuration(raft, configuration, progress)
    if raft.trace is not None:
        raft.trace("snapshot-restored", {"index": snapshot.index, "term": snapshot.term})
    return True


# A candidate that hears from the leader of its term has lost, and follows.


def on_append_as_candidate(raft: RaftCore, m: Message) -> None:
    raft.become_follower(m.term, m.source)
    on_append(raft, m)


def on_heartbeat_as_candidate(raft: RaftCore, m: Message) -> None:
    raft.become_follower(m.term, m.source)
    on_heartbeat(raft, m)


def on_snapshot_as_candidate(raft: RaftCore, m: Message) -> None:
    raft.become_follower(m.term, m.source)
    on_snapshot(raft, m)


# What is meant for the leader.


def refuse_proposal(raft: RaftCore, m: Message) -> None:
    raise ProposalDropped(f"no leader is known in term {raft.term}")


def forward_proposal(raft: RaftCore, m: Message) -> None:
    if raft.leader_id == NO_NODE:
        refuse_proposal(raft, m)
    if raft.config.disable_proposal_forwarding:
        raise ProposalDropped(f"node {raft.leader_id} leads term {raft.term}; propose there")
    raft.send(msgspec.structs.replace(m, target=raft.leader_id))


def forward_transfer(raft: RaftCore, m: Message) -> None:
    if raft.leader_id != NO_NODE:
        raft.send(msgspec.structs.replace(m, target=raft.leader_id, term=raft.term))


def on_timeout_now(raft: RaftCore, m: Message) -> None:
    """The leader wants us to lead. No pre-vote: there is no partition to recover from."""
    elections.campaign_if_allowed(raft, elections.Campaign.TRANSFER)


def on_read_index_response(raft: RaftCore, m: Message) -> None:
    raft.read_states.extend(ReadState(m.index, context) for context in raft.reads.leader_answered(m.context))


def forget_leader(raft: RaftCore) -> None:
    """Behave as if the leader were gone, so that others may be elected at once; the timeout stays as it is."""
    if raft.role != Role.FOLLOWER or raft.leader_id == NO_NODE:
        return
    if raft.config.keeps_promises:
        # The leader's lease rests on our not helping anybody else.
        if raft.trace is not None:
            raft.trace("forget-leader-refused", {"leader": raft.leader_id, "term": raft.term})
        return
    raft.leader_id = NO_NODE
