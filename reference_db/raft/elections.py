"""Terms, campaigns and votes (paper 5.2 and 5.4.1; pre-vote and the recent-leader rule: thesis 9.6, 6.4.1)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from . import replication
from .messages import NO_NODE, Message, MessageKind, Role
from .quorum import VoteResult

if TYPE_CHECKING:
    from .core import RaftCore

TRANSFER_CONTEXT = b"CampaignTransfer"
"""In a VOTE: the leader itself asked for this election, so the recent-leader rule doesn't hold it up."""


class Campaign(Enum):
    PRE_ELECTION = "pre-election"
    ELECTION = "election"
    TRANSFER = "transfer"


def start(raft: RaftCore) -> None:
    """Campaign because nobody seems to lead."""
    campaign_if_allowed(raft, Campaign.PRE_ELECTION if raft.config.pre_vote else Campaign.ELECTION)


def campaign_if_allowed(raft: RaftCore, kind: Campaign) -> None:
    if raft.role == Role.LEADER:
        return
    if not raft.is_promotable:
        _trace_refusal(raft, "not a voter, or about to restore a snapshot")
    elif raft.log.has_unapplied_conf_change():
        # Campaigning with a membership that is known to be outdated could elect a leader of the wrong quorum.
        _trace_refusal(raft, "a committed membership change is not applied yet")
    else:
        campaign(raft, kind)


def campaign(raft: RaftCore, kind: Campaign) -> None:
    if kind is Campaign.PRE_ELECTION:
        raft.become_pre_candidate()
        # Asked for the term that the election would have, without entering it.
        ask, answer, term = MessageKind.PRE_VOTE, MessageKind.PRE_VOTE_RESPONSE, raft.term + 1
    else:
        raft.become_candidate()
        ask, answer, term = MessageKind.VOTE, MessageKind.VOTE_RESPONSE, raft.term
    context = TRANSFER_CONTEXT if kind is Campaign.TRANSFER else b""
    if raft.trace is not None:
        raft.trace("campaign", {"kind": kind.value, "term": term})
        if kind is Campaign.TRANSFER:
            raft.trace("transfer-campaign", {"term": term})
    for node in sorted(raft.peers.configuration.all_voters):
        if node == raft.node_id:
            # Our own vote counts when it is durable, like anybody's.
            raft.send_after_append(Message(answer, node, node, term))
        else:
            raft.send(
                Message(
                    ask,
                    node,
                    raft.node_id,
                    term,
                    raft.log.last_index,
                    raft.log.last_term,
                    context=context,
                )
            )


def settle_term(raft: RaftCore, m: Message) -> bool:
    """A message of another term: follow a newer one, refuse an older one. Says whether the message goes on."""
    if m.term > raft.term:
        return _newer_term(raft, m)
    _older_term(raft, m)
    return False


def _newer_term(raft: RaftCore, m: Message) -> bool:
    kind = m.kind
    if (
        (kind == MessageKind.VOTE or kind == MessageKind.PRE_VOTE)
        and m.context != TRANSFER_CONTEXT
        and raft.in_lease()
    ):
        # We hear a leader: a node that doesn't is partitioned or was removed, and must not disturb it.
        if raft.trace is not None:
            raft.trace("vote-ignored", {"candidate": m.source, "term": m.term})
        return False
    if kind == MessageKind.PRE_VOTE or (kind == MessageKind.PRE_VOTE_RESPONSE and not m.reject):
        # Pre-votes speak about a term that nobody has entered yet.
        return True
    if kind == MessageKind.APPEND or kind == MessageKind.HEARTBEAT or kind == MessageKind.SNAPSHOT:
        raft.become_follower(m.term, m.source)
    else:
        raft.become_follower(m.term, NO_NODE)
    return True


def _older_term(raft: RaftCore, m: Message) -> None:
    kind = m.kind
    if kind == MessageKind.HEARTBEAT or kind == MessageKind.APPEND:
        if raft.config.check_quorum or raft.config.pre_vote:
            # 1. We were cut off and raised our term in a failed election. 2. The leader of the lower term is alive,
            # but everybody who hears it ignores our votes. Without an answer we would stay stuck; this one makes the
            # leader step down, and a fresh election takes us in.
            raft.send_after_append(Message(MessageKind.APPEND_RESPONSE, m.source, raft.node_id, raft.term))
    elif kind == MessageKind.PRE_VOTE:
        # A candidate with an older term must hear of ours, or nodes with different settings could block each other.
        refuse(raft, m.source, MessageKind.PRE_VOTE_RESPONSE)
    elif kind == MessageKind.STORAGE_APPEND_RESPONSE:
        raft.storage_appended(m.term, m.index, m.log_term, m.snapshot)


def answer_vote(raft: RaftCore, m: Message) -> None:
    """Grant at most one vote a term, and only to a log that is at least as complete as ours.

    Learners vote too: one may have been promoted without knowing it yet, and its vote may be needed.
    """
    is_pre_vote = m.kind == MessageKind.PRE_VOTE
    answer = MessageKind.PRE_VOTE_RESPONSE if is_pre_vote else MessageKind.VOTE_RESPONSE
    can_vote = (
        raft.vote == m.source
        or (raft.vote == NO_NODE and raft.leader_id == NO_NODE)
        or (is_pre_vote and m.term > raft.term)
    )
    if not can_vote or not raft.log.is_up_to_date(m.log_term, m.index):
        if raft.trace is not None:
            what = (
                "pre-vote-refused"
                if is_pre_vote
                else "vote-refused-behind"
                if can_vote
                else "vote-refused-given"
            )
            raft.trace(what, {"candidate": m.source, "term": m.term})
        refuse(raft, m.source, answer)
        return
    # The answer carries the asker's term: a granted pre-vote would otherwise look outdated to it.
    raft.send_after_append(Message(answer, m.source, raft.node_id, m.term))
    if not is_pre_vote:
        assert raft.vote in (NO_NODE, m.source), (
            f"node {raft.node_id} voted for {raft.vote} in term {raft.term} and would now vote for {m.source}"
        )
        raft.election_elapsed = 0
        raft.vote = m.source
        if raft.trace is not None:
            raft.trace("vote", {"candidate": m.source, "term": m.term})


def refuse(raft: RaftCore, candidate: int, answer: MessageKind) -> None:
    """Refuse a vote, and tell the candidate which entry we know to be committed.

    A membership change takes effect when it is known to be committed, so this can happen:

    1. n3 leads voters (n1 n3), and commits the change to voters (n1). It applies it, is no voter any more and steps
       down. Its last notice, that the change is committed, is lost; it also holds later, uncommitted entries.
    2. n1 campaigns among (n1 n3), as far as it knows. n3 refuses: its log is longer. n3 itself may not campaign.

    The refusal's commit index ends this: n1 holds that entry, learns that it is committed, applies the change and
    wins with its own vote.
    """
    commit = commit_term = 0
    if raft.config.refusals_carry_commit:
        commit = raft.log.committed
        commit_term = raft.log.term_or_zero(commit)
    raft.send_after_append(
        Message(answer, candidate, raft.node_id, raft.term, log_term=commit_term, commit=commit, reject=True)
    )


def _learn_commit(raft: RaftCore, m: Message) -> None:
    """An entry that somebody knows as committed, and that is in our log as well, is committed with all before it."""
    if m.commit > raft.log.committed and raft.log.matches(m.commit, m.log_term):
        raft.commit_to(m.commit)
        if raft.trace is not None:
            raft.trace("commit-learned", {"index": m.commit, "source": m.source})
        if raft.log.has_unapplied_conf_change():
            # The membership we campaign with is outdated.
            raft.become_follower(raft.term, NO_NODE)


def count_vote(raft: RaftCore, m: Message) -> None:
    """An answer to a campaign. Answers to an earlier kind of campaign are stale."""
    pre = raft.role == Role.PRE_CANDIDATE
    if m.kind != (MessageKind.PRE_VOTE_RESPONSE if pre else MessageKind.VOTE_RESPONSE):
        return
    if m.reject and m.commit:
        _learn_commit(raft, m)
        if raft.role == Role.FOLLOWER:
            return
    raft.peers.record_vote(m.source, not m.reject)
    result = raft.peers.tally()
    if result is VoteResult.WON:
        if pre:
            campaign(raft, Campaign.ELECTION)
        else:
            raft.become_leader()
            replication.broadcast_append(raft)
    elif result is VoteResult.LOST:
        # A granted pre-vote has a future term; ours is the one to stay in.
        raft.become_follower(raft.term, NO_NODE)


def _trace_refusal(raft: RaftCore, reason: str) -> None:
    if raft.trace is not None:
        raft.trace("campaign-refused", {"term": raft.term, "reason": reason})
