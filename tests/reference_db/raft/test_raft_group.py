"""The handle: what owners may call when, what they get, and what is refused with which words."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_db.raft import (
    ConfChange,
    Config,
    ConfState,
    Entry,
    EntryKind,
    MemoryLogStore,
    Message,
    MessageKind,
    ProposalDropped,
    RaftGroup,
    ReadMode,
    Role,
    Snapshot,
    Transition,
    decode_conf_change,
)
from reference_db.raft.describe import MESSAGE_NAMES, describe_message, describe_ready, parse_changes

from .cluster import Cluster, Member

# Messages on the wire.

SMALL = st.integers(0, 2**40)
ENTRIES = st.lists(
    st.builds(Entry, SMALL, SMALL, st.binary(max_size=8), st.sampled_from(list(EntryKind))), max_size=3
).map(tuple)
NODES = st.lists(st.integers(1, 9), max_size=3).map(tuple)
SNAPSHOTS = st.builds(
    Snapshot,
    SMALL,
    SMALL,
    st.builds(ConfState, NODES, NODES, NODES, NODES, st.booleans()),
    st.binary(max_size=8),
)
MESSAGES = st.builds(
    Message,
    kind=st.sampled_from(list(MessageKind)),
    target=SMALL,
    source=SMALL,
    term=SMALL,
    index=SMALL,
    log_term=SMALL,
    commit=SMALL,
    entries=ENTRIES,
    reject=st.booleans(),
    hint=SMALL,
    context=st.binary(max_size=16),
    snapshot=st.none() | SNAPSHOTS,
    vote=SMALL,
)


@given(MESSAGES)
def test_a_message_survives_the_wire(message: Message) -> None:
    decoder = msgspec.msgpack.Decoder(Message)
    assert decoder.decode(msgspec.msgpack.encode(message)) == message
    assert describe_message(message)


def test_every_kind_of_message_has_a_name() -> None:
    assert set(MESSAGE_NAMES) == set(MessageKind)


@pytest.mark.parametrize("changes", ["", "v1", "v1 l2 r3 u4"])
@pytest.mark.parametrize("transition", list(Transition))
def test_a_membership_change_survives_the_log(changes: str, transition: Transition) -> None:
    change = ConfChange(parse_changes(changes), transition, b"why")
    entry = Entry(1, 1, change.encode(), change.entry_kind)
    assert decode_conf_change(entry) == change


def test_leaving_a_joint_configuration_is_an_empty_entry() -> None:
    assert ConfChange().encode() == b""
    assert decode_conf_change(Entry(1, 1, b"", EntryKind.CONF_CHANGE)) == ConfChange()
    with pytest.raises(ValueError, match="normal entry"):
        decode_conf_change(Entry(1, 1))


# Settings.


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"node_id": 0}, "positive"),
        ({"election_ticks": 1, "heartbeat_ticks": 1}, "must exceed"),
        ({"heartbeat_ticks": 0}, "must exceed"),
        ({"max_inflight_messages": 0}, "at least 1"),
        ({"max_inflight_bytes": 10, "max_bytes_per_message": 20}, "single message"),
        ({"read_mode": ReadMode.LEASE, "check_quorum": False}, "check_quorum"),
        ({"max_uncommitted_bytes": 0}, "positive"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Config(**({"node_id": 1} | settings))


# Turns.


def test_an_idle_group_has_nothing_ready() -> None:
    cluster = Cluster.of(3)
    cluster.elect(1)
    for node_id in cluster.members:
        assert not cluster[node_id].has_ready()
    cluster[2].tick()
    assert not cluster[2].has_ready()
    cluster[1].tick()
    assert cluster[1].has_ready(), "a heartbeat is due"


def test_nothing_is_ready_between_ready_and_advance_and_nothing_gets_lost_there() -> None:
    alone = Member(voters=(1,)).lead()
    alone.group.propose(b"a")
    ready = alone.group.ready()
    term, index = alone.group.propose(b"b")
    assert not alone.group.has_ready()
    with pytest.raises(AssertionError, match="again without advance"):
        alone.group.ready()
    alone.store.append(ready.entries)
    alone.group.advance(ready)
    alone.messages()
    assert alone.group.commit == index
    assert [entry.data for entry in alone.applied] == [b"", b"a", b"b"]
    assert term == alone.group.term


def test_only_the_last_ready_can_be_advanced() -> None:
    member = Member(voters=(1,)).lead()
    member.group.propose(b"a")
    ready = member.group.ready()
    member.store.append(ready.entries)
    member.group.advance(ready)
    with pytest.raises(AssertionError, match="without ready"):
        member.group.advance(ready)


def test_a_leader_counts_itself_only_when_its_entry_is_durable() -> None:
    leader = Member().lead()
    for follower in (2, 3):
        leader.receive(MessageKind.APPEND_RESPONSE, follower, index=1)
    leader.messages()
    leader.group.propose(b"x")
    ready = leader.group.ready()
    assert [message.kind for message in ready.messages] == [MessageKind.APPEND] * 2, (
        "appends leave before the sync"
    )
    assert ready.must_sync
    leader.receive(MessageKind.APPEND_RESPONSE, 2, index=2)
    assert leader.group.commit == 1, "one of three"
    leader.store.append(ready.entries)
    leader.group.advance(ready)
    assert leader.group.commit == 2


@pytest.mark.parametrize("announce", [True, False])
def test_the_last_acknowledgement_asks_for_a_turn_only_if_commits_are_announced(announce: bool) -> None:
    leader = Member(coalesce_appends=True, announce_commits=announce).lead()
    leader.receive(MessageKind.APPEND_RESPONSE, 2, index=1)
    leader.messages()
    assert leader.group.commit == 1
    leader.receive(MessageKind.APPEND_RESPONSE, 3, index=1)
    assert leader.group.has_ready() is announce, "there is the commit index to send, or nothing"


def test_a_commit_index_alone_needs_no_sync() -> None:
    follower = Member(log=[1])
    follower.receive(MessageKind.HEARTBEAT, 2, term=1, commit=1)
    ready = follower.group.ready()
    assert ready.hard_state is not None
    assert ready.hard_state.commit == 1
    assert not ready.must_sync
    assert "MustSync=false" in describe_ready(ready)


def test_promises_wait_and_answers_to_heartbeats_do_not() -> None:
    follower = Member()
    follower.receive(MessageKind.APPEND, 2, term=1, entries=(Entry(1, 1),))
    follower.receive(MessageKind.HEARTBEAT, 2, term=1)
    ready = follower.group.ready()
    assert [message.kind for message in ready.messages] == [MessageKind.HEARTBEAT_RESPONSE]
    assert [message.kind for message in ready.messages_after_append] == [MessageKind.APPEND_RESPONSE]


# Proposals.


def test_a_batch_gets_consecutive_indexes_and_one_message_a_follower() -> None:
    leader = Member().lead()
    for follower in (2, 3):
        leader.receive(MessageKind.APPEND_RESPONSE, follower, index=1)
    leader.messages()
    first = leader.group.propose_many([b"a", b"b", b"c"])
    assert leader.group.propose(b"d") == (leader.group.term, first + 3)
    sent = leader.messages()
    assert [(message.target, len(message.entries)) for message in sent] == [(2, 4), (3, 4)]


def test_proposals_are_dropped_where_nobody_leads_here() -> None:
    follower = Member()
    with pytest.raises(ProposalDropped, match="no leader is known in term 0"):
        follower.group.propose(b"x")
    follower.receive(MessageKind.HEARTBEAT, 2, term=1)
    with pytest.raises(ProposalDropped, match="node 2 leads term 1; propose there"):
        follower.group.propose(b"x")
    follower.group.campaign()
    with pytest.raises(ProposalDropped):
        follower.group.propose(b"x")
    with pytest.raises(ValueError, match="at least one entry"):
        follower.group.propose_many([])


def test_a_follower_that_may_forward_passes_proposals_on() -> None:
    cluster = Cluster.of(3, disable_proposal_forwarding=False)
    cluster.elect(1)
    assert cluster[2].propose(b"x") == (0, 0)
    cluster.settle()
    assert cluster.members[3].applied[-1].data == b"x"


def test_a_change_that_cannot_be_made_now_becomes_an_empty_entry() -> None:
    alone = Member(voters=(1,)).lead()
    change = ConfChange(parse_changes("l2"))
    assert alone.group.conf_change_refusal(change) == ""
    alone.group.propose_conf_change(change)
    assert "unapplied conf change at index 2" in alone.group.conf_change_refusal(change)
    alone.group.propose_conf_change(change)
    alone.messages()
    assert [entry.kind for entry in alone.applied] == [
        EntryKind.NORMAL,
        EntryKind.CONF_CHANGE,
        EntryKind.NORMAL,
    ]
    with pytest.raises(ValueError, match="exactly one node"):
        alone.group.propose_conf_change(ConfChange(parse_changes("v2 v3"), single=True))


def test_uncommitted_data_is_limited_but_never_the_first_proposal() -> None:
    leader = Member(max_uncommitted_bytes=10).lead()
    leader.group.propose(b"x" * 50)
    with pytest.raises(ProposalDropped, match="50 bytes are uncommitted, 1 more exceed the limit of 10"):
        leader.group.propose(b"y")
    leader.group.propose(b"")
    leader.messages()
    leader.receive(MessageKind.APPEND_RESPONSE, 2, index=3)
    leader.messages()
    leader.group.propose(b"y")


# What arrives and makes no sense.


def test_strange_messages_are_dropped_and_traced() -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    store = MemoryLogStore()
    store.restore(Snapshot(1, 1, ConfState(voters=(1, 2, 3))))
    group = RaftGroup(
        Config(node_id=1), store, Random(1), lambda name, details: events.append((name, details)), 1
    )
    events.clear()
    group.step(Message(MessageKind.APPEND_RESPONSE, 1, 9, 5))
    group.step(Message(MessageKind.STORAGE_APPEND_RESPONSE, 1, 2, 5))
    group.step(Message(MessageKind.PROPOSE, 1, 2, entries=(Entry(0, 0, b"x"),)))
    assert [(name, details.get("reason")) for name, details in events] == [
        ("message-refused", "unknown-peer"),
        ("message-refused", "local-message"),
        ("proposal-dropped", "no leader is known in term 0"),
    ]
    assert group.term == 0
    assert not group.has_ready()


def test_two_leaders_in_one_term_stop_the_node() -> None:
    follower = Member()
    follower.receive(MessageKind.HEARTBEAT, 2, term=1)
    with pytest.raises(AssertionError, match="term 1 has two leaders: 2 and 3"):
        follower.receive(MessageKind.HEARTBEAT, 3, term=1)
    leader = Member().lead()
    with pytest.raises(AssertionError, match="two leaders: 1 and 2"):
        leader.receive(MessageKind.APPEND, 2)


def test_a_hard_state_that_does_not_fit_the_log_stops_the_start() -> None:
    with pytest.raises(AssertionError, match="hard state says commit 5"):
        Member(log=[1, 1], commit=5)


# Elections with pre-vote, check-quorum and priority.


def test_a_leader_steps_down_without_a_quorum_and_the_others_elect_another() -> None:
    cluster = Cluster.of(3, pre_vote=True, check_quorum=True)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.tick(60)
    assert len(cluster.leaders()) == 1
    assert cluster.leaders() != [1]
    cluster.heal()
    cluster.tick(5)
    assert len({cluster[node_id].leader_id for node_id in cluster.members}) == 1


def test_a_node_that_was_cut_off_returns_without_an_election() -> None:
    cluster = Cluster.of(3, pre_vote=True, check_quorum=True)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.tick(100)
    term = cluster[1].term
    assert cluster[3].term == term
    cluster.heal()
    cluster.tick(40)
    assert cluster.leaders() == [1]
    assert cluster[3].term == term


def test_a_stuck_node_with_a_higher_term_is_taken_back_through_a_new_election() -> None:
    """Without pre-vote a node that campaigned alone has a higher term; the leader hears of it and gives way."""
    cluster = Cluster.of(3, check_quorum=True)
    cluster.elect(1)
    cluster.isolate(3)
    for _ in range(3):
        cluster[3].campaign()
    cluster.settle()
    cluster.heal()
    cluster.tick(60)
    assert len(cluster.leaders()) == 1
    assert len({cluster[node_id].term for node_id in cluster.members}) == 1


@pytest.mark.parametrize("seed", range(10))
def test_the_preferred_node_leads_and_without_it_somebody_else(seed: int) -> None:
    members = [Member(node_id, seed=seed, pre_vote=True, check_quorum=True) for node_id in (1, 2, 3)]
    cluster = Cluster(*members)
    for node_id, priority in ((1, -2), (2, 0), (3, -1)):
        cluster[node_id].set_priority(priority)
    cluster.tick(20)
    assert cluster.leaders() == [2]
    cluster.isolate(2)
    cluster.tick(60)
    assert 3 in cluster.leaders()
    cluster.isolate(3)
    cluster.cut -= {(1, 2), (2, 1)}
    cluster.tick(120)
    assert [node_id for node_id in cluster.leaders() if node_id != 3], "1 and 2 are a majority"


def test_a_learner_never_campaigns_but_votes_when_asked() -> None:
    learner = Member(3, voters=(1, 2), learners=(3,))
    learner.tick(100)
    learner.group.campaign()
    assert learner.group.role == Role.FOLLOWER
    learner.receive(MessageKind.VOTE, 1, term=1)
    (answer,) = learner.messages()
    assert not answer.reject


def test_nobody_campaigns_with_a_membership_change_committed_and_not_applied() -> None:
    change = ConfChange(parse_changes("v4"))
    member = Member()
    member.receive(
        MessageKind.APPEND,
        2,
        term=1,
        entries=(Entry(1, 1, change.encode(), EntryKind.CONF_CHANGE),),
        commit=1,
    )
    ready = member.group.ready()
    member.group.campaign()
    assert member.group.role == Role.FOLLOWER
    member.store.append(ready.entries)
    member.group.apply_conf_change(change)
    member.group.advance(ready)
    member.group.campaign()
    assert member.group.role == Role.CANDIDATE


# Transfer, quiescence.


def test_leadership_moves_on_request_also_when_a_follower_is_asked() -> None:
    cluster = Cluster.of(3, pre_vote=True, check_quorum=True)
    cluster.elect(1)
    cluster[2].transfer_leadership(3)
    cluster.settle()
    assert cluster.leaders() == [3]


def test_a_removed_transfer_target_ends_the_transfer() -> None:
    leader = Member().lead()
    leader.receive(MessageKind.APPEND_RESPONSE, 2, index=1)
    leader.group.transfer_leadership(3)
    with pytest.raises(ProposalDropped, match="transferred to 3"):
        leader.group.propose(b"x")
    leader.group.apply_conf_change(ConfChange(parse_changes("r3")))
    leader.group.propose(b"x")


def test_a_quiet_group_may_stop_ticking_and_wakes_without_an_election() -> None:
    cluster = Cluster.of(3, pre_vote=True, check_quorum=True)
    cluster.elect(1)
    cluster.tick(3)
    assert cluster[1].may_quiesce
    assert not cluster[2].may_quiesce, "only a leader knows"
    for _ in range(100):
        for node_id in cluster.members:
            cluster[node_id].tick_quiesced()
            assert not cluster[node_id].has_ready()
    for node_id in cluster.members:
        cluster[node_id].wake()
    cluster.settle()
    cluster.tick(12)
    assert cluster.leaders() == [1]
    cluster[1].propose(b"x")
    assert not cluster[1].may_quiesce


def test_the_status_shows_progress_on_the_leader_only() -> None:
    cluster = Cluster.of(3)
    cluster.elect(1)
    status = cluster[1].status()
    assert (status.role, status.term, status.commit, status.conf_state.voters) == (
        Role.LEADER,
        1,
        1,
        (1, 2, 3),
    )
    assert {node_id: peer.match for node_id, peer in status.progress.items()} == {1: 1, 2: 1, 3: 1}
    assert cluster[2].status().progress == {}
    assert cluster[2].status().leader_id == 1
