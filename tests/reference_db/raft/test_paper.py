"""The rules of the Raft paper (Ongaro and Ousterhout, 2014, extended version), one test a rule."""

from __future__ import annotations

import pytest

from reference_db.raft import Entry, MessageKind, Role

from .cluster import Cluster, Member, entries_of

APPEND, APPENDED = MessageKind.APPEND, MessageKind.APPEND_RESPONSE
VOTE, VOTED = MessageKind.VOTE, MessageKind.VOTE_RESPONSE


# 5.1: terms.


def _member_in(role: Role) -> Member:
    member = Member()
    if role == Role.CANDIDATE:
        member.group.campaign()
    elif role == Role.LEADER:
        member.lead()
    assert member.group.role == role
    return member


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_a_larger_term_in_a_message_is_taken_over_and_makes_anybody_a_follower(role: Role) -> None:
    member = _member_in(role)
    member.receive(APPEND, 2, term=7)
    assert member.group.term == 7
    assert member.group.role == Role.FOLLOWER


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_a_message_of_an_older_term_is_rejected(role: Role) -> None:
    member = _member_in(role)
    member.receive(VOTE, 3, term=9)
    member.messages()
    before = member.log_terms()
    member.receive(APPEND, 2, term=8, index=len(before), log_term=0, entries=(Entry(8, len(before) + 1),))
    assert member.log_terms() == before
    assert member.group.term == 9


# 5.2: leader election.


def test_a_node_starts_as_follower() -> None:
    assert Member().group.role == Role.FOLLOWER


def test_a_leader_sends_heartbeats_to_everybody_at_every_interval() -> None:
    leader = Member(heartbeat_ticks=2).lead()
    leader.receive(APPENDED, 2, index=1)
    leader.receive(APPENDED, 3, index=1)
    leader.messages()
    leader.tick()
    assert leader.kinds() == []
    leader.tick()
    assert leader.kinds() == [(MessageKind.HEARTBEAT, 2), (MessageKind.HEARTBEAT, 3)]


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_silence_makes_a_follower_or_candidate_start_a_new_election(role: Role) -> None:
    member = _member_in(role)
    member.messages()
    term = member.group.term
    member.tick(2 * member.config.election_ticks - 1)
    assert member.group.role == Role.CANDIDATE
    assert member.group.term == term + 1
    assert member.group.status().vote == 1
    asked = [(m.kind, m.target, m.term) for m in member.messages()]
    assert asked == [(VOTE, 2, term + 1), (VOTE, 3, term + 1)]


@pytest.mark.parametrize(
    ("size", "granted", "role"),
    [
        (1, {}, Role.LEADER),
        (3, {2: True, 3: True}, Role.LEADER),
        (3, {2: True}, Role.LEADER),
        (3, {}, Role.CANDIDATE),
        (3, {2: False, 3: False}, Role.FOLLOWER),
        (5, {2: True, 3: True}, Role.LEADER),
        (5, {2: True}, Role.CANDIDATE),
        (5, {2: True, 3: False, 4: False}, Role.CANDIDATE),
        (5, {2: True, 3: False, 4: False, 5: False}, Role.FOLLOWER),
    ],
)
def test_a_candidate_wins_with_a_majority_loses_with_one_against_it_else_waits(
    size: int, granted: dict[int, bool], role: Role
) -> None:
    member = Member(voters=range(1, size + 1))
    member.group.campaign()
    member.messages()
    for voter, vote in granted.items():
        member.receive(VOTED, voter, reject=not vote)
    assert member.group.role == role
    assert member.group.term == 1


@pytest.mark.parametrize(
    ("vote", "candidate", "granted"), [(0, 2, True), (0, 3, True), (2, 2, True), (2, 3, False), (3, 2, False)]
)
def test_a_follower_votes_for_at_most_one_candidate_a_term_first_come_first_served(
    vote: int, candidate: int, granted: bool
) -> None:
    member = Member(term=1, vote=vote)
    member.receive(VOTE, candidate, term=1)
    (answer,) = member.messages()
    assert (answer.kind, answer.target, answer.reject) == (VOTED, candidate, not granted)


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_candidate_that_hears_from_a_leader_of_its_term_or_later_follows(ahead: int) -> None:
    member = _member_in(Role.CANDIDATE)
    member.receive(APPEND, 2, term=1 + ahead)
    assert member.group.role == Role.FOLLOWER
    assert member.group.leader_id == 2
    assert member.group.term == 1 + ahead


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_election_timeouts_are_drawn_from_the_whole_interval(role: Role) -> None:
    drawn = set()
    for seed in range(300):
        member = Member(seed=seed)
        if role == Role.CANDIDATE:
            member.group.campaign()
        waited = 0
        term = member.group.term
        while member.group.term == term:
            member.tick()
            waited += 1
        drawn.add(waited)
    ticks = member.config.election_ticks
    assert drawn == set(range(ticks, 2 * ticks))


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_different_timeouts_mostly_let_one_node_campaign_alone(role: Role) -> None:
    conflicts = 0
    for seed in range(300):
        members = [Member(node_id, (1, 2, 3, 4, 5), seed=seed) for node_id in (1, 2, 3, 4, 5)]
        if role == Role.CANDIDATE:
            for member in members:
                member.group.campaign()
        terms = [member.group.term for member in members]
        while [member.group.term for member in members] == terms:
            for member in members:
                member.tick()
        started = sum(member.group.term > term for member, term in zip(members, terms, strict=True))
        conflicts += started > 1
    assert conflicts / 300 < 0.4


# 5.3: log replication.


def test_a_leader_appends_a_proposal_and_sends_it_with_the_entry_before_it() -> None:
    leader = Member().lead()
    leader.receive(APPENDED, 2, index=1)
    leader.receive(APPENDED, 3, index=1)
    leader.messages()
    leader.group.propose(b"x")
    sent = leader.messages()
    assert leader.group.last_index == 2
    assert leader.group.commit == 1
    assert [(m.kind, m.target, m.index, m.log_term, m.commit) for m in sent] == [
        (APPEND, 2, 1, 1, 1),
        (APPEND, 3, 1, 1, 1),
    ]
    assert all(m.entries == (Entry(1, 2, b"x"),) for m in sent)


def test_an_entry_on_a_majority_is_committed_applied_and_announced() -> None:
    leader = Member().lead()
    leader.receive(APPENDED, 2, index=1)
    leader.messages()
    leader.group.propose(b"x")
    leader.messages()
    leader.receive(APPENDED, 2, index=2)
    told = leader.messages()
    assert leader.group.commit == 2
    assert leader.applied[-1].data == b"x"
    assert (2, 2) in [(m.target, m.commit) for m in told]


@pytest.mark.parametrize(
    ("size", "acknowledging", "committed"),
    [
        (1, (), True),
        (3, (), False),
        (3, (2,), True),
        (5, (2,), False),
        (5, (2, 3), True),
        (5, (2, 3, 4, 5), True),
    ],
)
def test_a_leader_commits_once_a_majority_including_itself_has_the_entry(
    size: int, acknowledging: tuple[int, ...], committed: bool
) -> None:
    leader = Member(voters=range(1, size + 1)).lead()
    for follower in range(2, size + 1):
        leader.receive(APPENDED, follower, index=1)
    leader.messages()
    leader.group.propose(b"x")
    leader.messages()
    for follower in acknowledging:
        leader.receive(APPENDED, follower, index=2)
    assert (leader.group.commit == 2) is committed


@pytest.mark.parametrize("log", [[], [2], [1, 2], [1]])
def test_committing_an_entry_commits_all_before_it_also_those_of_earlier_leaders(log: list[int]) -> None:
    leader = Member(log=log, term=2).lead()
    leader.group.propose(b"x")
    leader.messages()
    last = len(log) + 2
    leader.receive(APPENDED, 2, index=last)
    leader.messages()
    assert [entry.index for entry in leader.applied] == list(range(1, last + 1))


@pytest.mark.parametrize("commit", [1, 2, 3])
def test_a_follower_applies_what_the_leader_says_is_committed_in_log_order(commit: int) -> None:
    follower = Member()
    entries = tuple(Entry(1, index, b"%d" % index) for index in (1, 2, 3))
    follower.receive(APPEND, 2, term=1, entries=entries, commit=commit)
    follower.messages()
    assert follower.applied == list(entries[:commit])


@pytest.mark.parametrize(
    ("log_term", "index", "accepted"),
    [(0, 0, True), (1, 1, True), (2, 2, True), (1, 2, False), (3, 3, False), (2, 3, False)],
)
def test_a_follower_refuses_an_append_unless_it_holds_the_entry_before(
    log_term: int, index: int, accepted: bool
) -> None:
    follower = Member(log=[1, 2], commit=0)
    follower.receive(APPEND, 2, term=2, index=index, log_term=log_term)
    (answer,) = follower.messages()
    assert answer.kind == APPENDED
    assert answer.reject is not accepted
    assert answer.index == index


@pytest.mark.parametrize(
    ("index", "log_term", "sent", "after"),
    [
        (2, 2, [3], [1, 2, 3]),
        (1, 1, [3, 4], [1, 3, 4]),
        (0, 0, [1], [1, 2]),
        (0, 0, [3], [3]),
        (0, 0, [1, 2], [1, 2]),
        (1, 1, [2], [1, 2]),
    ],
)
def test_a_follower_cuts_off_what_conflicts_and_keeps_what_agrees(
    index: int, log_term: int, sent: list[int], after: list[int]
) -> None:
    follower = Member(log=[1, 2])
    follower.receive(
        APPEND, 2, term=4, index=index, log_term=log_term, entries=tuple(entries_of(sent, index + 1))
    )
    follower.messages()
    assert follower.log_terms() == after
    assert [entry.term for entry in follower.store.entries(1, len(after) + 1, 10**6)] == after


FIGURE_7 = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]


@pytest.mark.parametrize(
    "log",
    [
        [1, 1, 1, 4, 4, 5, 5, 6, 6],
        [1, 1, 1, 4],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        [1, 1, 1, 4, 4, 4, 4],
        [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ],
    ids="abcdef",
)
def test_a_leader_brings_every_log_of_figure_7_into_line_with_its_own(log: list[int]) -> None:
    leader = Member(1, log=FIGURE_7, term=8)
    follower = Member(2, log=log, term=7)
    # The third voter is needed to elect the leader where the follower's log is longer, as in the figure.
    cluster = Cluster(leader, follower, Member(3, log=FIGURE_7, term=7))
    cluster.elect(1)
    assert cluster.leaders() == [1]
    cluster[1].propose(b"x")
    cluster.settle()
    assert follower.log_terms() == leader.log_terms() == [*FIGURE_7, 9, 9]
    assert follower.applied == leader.applied


# 5.4: safety.


@pytest.mark.parametrize("log", [[1], [1, 2], [1, 1, 2, 5]])
def test_a_vote_request_carries_the_candidates_last_entry(log: list[int]) -> None:
    candidate = Member(log=log)
    candidate.group.campaign()
    for request in candidate.messages():
        assert (request.kind, request.index, request.log_term) == (VOTE, len(log), log[-1])
        assert request.term == log[-1] + 1


@pytest.mark.parametrize(
    ("log", "last_term", "last_index", "granted"),
    [
        ([1], 1, 1, True),
        ([1], 1, 2, True),
        ([1, 1], 1, 1, False),
        ([1], 2, 1, True),
        ([1, 1], 2, 1, True),
        ([2], 1, 1, False),
        ([2], 1, 2, False),
        ([1, 2], 1, 5, False),
    ],
)
def test_a_voter_refuses_a_candidate_whose_log_is_less_complete_than_its_own(
    log: list[int], last_term: int, last_index: int, granted: bool
) -> None:
    voter = Member(log=log)
    voter.receive(VOTE, 2, term=3, index=last_index, log_term=last_term)
    (answer,) = voter.messages()
    assert answer.reject is not granted


@pytest.mark.parametrize(("acknowledged", "commit"), [(1, 0), (2, 0), (3, 3)])
def test_only_entries_of_the_current_term_are_committed_by_counting_replicas(
    acknowledged: int, commit: int
) -> None:
    """Figure 8: an entry of an earlier term on a majority may still be replaced, until one of ours is above it."""
    leader = Member(log=[1, 2], term=2).lead()
    assert leader.group.term == 3
    leader.receive(APPENDED, 2, index=acknowledged)
    assert leader.group.commit == commit


def test_figure_8_an_old_entry_on_a_majority_is_replaced_by_a_later_leader() -> None:
    """Steps a to d of the figure, with five servers; step e is the test above with index 3."""
    # c: S1 leads term 4, its entry of term 2 is on S1, S2, S3, its own of term 4 only on S1. S5 holds one of term 3.
    logs = {1: [1, 2, 4], 2: [1, 2], 3: [1, 2], 4: [1], 5: [1, 3]}
    cluster = Cluster(*(Member(n, range(1, 6), log, term=4) for n, log in logs.items()))
    # d: S1 crashes; S5 wins with the votes of S2, S3 and S4, since its last term, 3, is beyond theirs.
    cluster.isolate(1)
    cluster.elect(5)
    assert cluster.leaders() == [5]
    cluster.heal()
    cluster.tick(2)
    assert all(member.log_terms()[:2] == [1, 3] for member in cluster.members.values())
    assert all(member.group.commit == 3 for member in cluster.members.values())
