"""Rounds of heartbeats for reads: shared, confirmed by a quorum, and never confused with each other."""

from __future__ import annotations

from reference_db.raft import ConfChange, Message, MessageKind, ReadMode, ReadState
from reference_db.raft.describe import parse_changes
from reference_db.raft.membership import Configuration
from reference_db.raft.reads import ReadQueue

from .cluster import Cluster, Member

THREE = Configuration(voters=frozenset((1, 2, 3)))


def test_a_round_is_confirmed_by_a_majority_with_everything_that_waited() -> None:
    queue = ReadQueue(7)
    queue.ask(1, (b"a",))
    queue.ask(2, (b"b", b"c"))
    context = queue.open_round(term=4, commit=9, tick=0)
    assert queue.waiting == []
    (done,) = queue.acknowledge(2, context, 4, 1, THREE)
    assert (done.commit, [request.contexts for request in done.requests]) == (9, [(b"a",), (b"b", b"c")])
    assert queue.idle


def test_an_answer_confirms_every_earlier_round_but_no_later_one() -> None:
    queue = ReadQueue(7)
    contexts = []
    for commit in (5, 6, 7):
        queue.ask(1, (b"%d" % commit,))
        contexts.append(queue.open_round(4, commit, 0))
    assert [done.commit for done in queue.acknowledge(3, contexts[1], 4, 1, THREE)] == [5, 6]
    assert queue.acknowledge(3, contexts[0], 4, 1, THREE) == []
    assert [done.commit for done in queue.acknowledge(2, contexts[2], 4, 1, THREE)] == [7]


def test_a_joint_configuration_needs_both_halves() -> None:
    queue = ReadQueue(7)
    joint = Configuration(voters=frozenset((1, 2, 3)), outgoing=frozenset((1, 4, 5)))
    queue.ask(1, (b"a",))
    context = queue.open_round(1, 1, 0)
    assert queue.acknowledge(2, context, 1, 1, joint) == []
    assert len(queue.acknowledge(5, context, 1, 1, joint)) == 1


def test_a_learners_answer_counts_for_nothing() -> None:
    queue = ReadQueue(7)
    queue.ask(1, (b"a",))
    context = queue.open_round(1, 1, 0)
    assert queue.acknowledge(7, context, 1, 1, THREE) == []


def test_contexts_are_never_used_twice_not_even_across_terms() -> None:
    queue = ReadQueue(7)
    seen = set()
    for term in range(1, 50):
        for _ in range(5):
            queue.ask(1, (b"same",))
            seen.add(queue.open_round(term, 1, 0))
        queue.drop(1)
    assert len(seen) == 49 * 5


def test_an_answer_to_an_earlier_term_or_a_foreign_context_is_nothing() -> None:
    queue = ReadQueue(7)
    old = queue.open_round(1, 1, 0)
    queue.drop(1)
    queue.ask(1, (b"a",))
    queue.open_round(2, 1, 0)
    assert queue.acknowledge(2, old, 2, 1, THREE) == []
    assert queue.acknowledge(2, b"x", 2, 1, THREE) == []
    assert queue.acknowledge(2, b"\xff" * 16, 2, 1, THREE) == []


def test_what_is_dropped_names_our_own_reads_only() -> None:
    queue = ReadQueue(7)
    queue.ask(1, (b"a",))
    queue.ask(2, (b"theirs",))
    queue.open_round(1, 1, 0)
    queue.ask(1, (b"b",))
    assert queue.drop(1) == [b"a", b"b"]


# Through the handle.


def test_many_reads_of_a_turn_cost_one_round() -> None:
    leader = Member(voters=(1, 2, 3)).lead()
    leader.receive(MessageKind.APPEND_RESPONSE, 2, index=1)
    leader.messages()
    for number in range(100):
        leader.group.read_index(b"%d" % number)
    sent = leader.messages()
    assert [message.kind for message in sent] == [MessageKind.HEARTBEAT] * 2
    leader.receive(MessageKind.HEARTBEAT_RESPONSE, 3, context=sent[1].context)
    leader.messages()
    assert leader.read_states == [ReadState(1, b"%d" % number) for number in range(100)]


def test_the_same_context_may_come_again_and_is_answered_again() -> None:
    cluster = Cluster.of(3)
    cluster.elect(1)
    for _ in range(2):
        cluster[1].read_index(b"again")
        cluster.settle()
    assert [state.context for state in cluster.members[1].read_states] == [b"again"] * 2


def test_late_and_repeated_answers_of_the_leader_fit_no_question() -> None:
    """1. n2 asks under context r, and is answered. 2. It asks under r again. 3. The first answer arrives once more."""
    cluster = Cluster.of(3)
    cluster.elect(1)
    answers: list[Message] = []

    def note(message: Message) -> bool:
        if message.kind == MessageKind.READ_INDEX_RESPONSE:
            answers.append(message)
        return False

    cluster.lose = note
    cluster[2].read_index(b"r")
    cluster.settle()
    assert [state.context for state in cluster.members[2].read_states] == [b"r"]
    cluster.isolate(1)
    cluster[2].read_index(b"r")
    cluster.settle()
    cluster[2].step(answers[0])
    cluster.settle()
    assert len(cluster.members[2].read_states) == 1, "the second question is still open"
    cluster[3].campaign()
    cluster.settle()
    assert cluster.members[2].dropped_reads == [b"r"], "and given up with the leader it was put to"


def test_questions_that_nobody_answers_do_not_pile_up() -> None:
    follower = Member()
    follower.receive(MessageKind.HEARTBEAT, 2, term=1)
    for number in range(1100):
        follower.group.read_index(b"%d" % number)
        follower.messages()
    assert follower.dropped_reads == [b"%d" % number for number in range(1100 - 1024)]


def test_a_lost_round_is_repeated_by_the_next_heartbeat() -> None:
    cluster = Cluster.of(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster[1].read_index(b"r")
    cluster.settle()
    assert cluster.members[1].read_states == []
    cluster.heal()
    cluster.tick()
    assert [state.context for state in cluster.members[1].read_states] == [b"r"]


def test_a_single_voter_answers_at_once_but_only_after_a_commit_in_its_term() -> None:
    alone = Member(voters=(1,), log=[1, 1], commit=1)
    alone.group.campaign()
    alone.turn()
    assert alone.group.is_leader
    alone.group.read_index(b"r")
    assert alone.group.commit == 1, "entry 2 may have been committed before it restarted"
    alone.messages()
    assert alone.read_states == [ReadState(3, b"r")]


def test_a_removed_leader_cannot_answer_for_the_only_voter_left() -> None:
    """It leads on until that voter is elected, which it may be at any time without the old leader's knowledge."""
    leader = Member(voters=(1, 2), step_down_on_removal=False).lead()
    leader.receive(MessageKind.APPEND_RESPONSE, 2, index=1)
    leader.messages()
    leader.group.apply_conf_change(ConfChange(parse_changes("r1")))
    leader.group.read_index(b"r")
    (heartbeat,) = [m for m in leader.messages() if m.kind == MessageKind.HEARTBEAT]
    assert leader.read_states == []
    leader.receive(MessageKind.HEARTBEAT_RESPONSE, 2, context=heartbeat.context)
    leader.messages()
    assert leader.read_states == [ReadState(1, b"r")]


def test_a_round_that_was_open_is_confirmed_by_a_smaller_membership() -> None:
    leader = Member(voters=(1, 2)).lead()
    leader.receive(MessageKind.APPEND_RESPONSE, 2, index=1)
    leader.messages()
    leader.group.read_index(b"r")
    leader.messages()
    leader.group.apply_conf_change(ConfChange(parse_changes("r2")))
    leader.messages()
    assert leader.read_states == [ReadState(1, b"r")]


def test_a_lease_needs_a_confirmed_round_and_ends_in_time() -> None:
    options = {"check_quorum": True, "read_mode": ReadMode.LEASE, "election_ticks": 10}
    cluster = Cluster.of(3, **options)
    cluster.elect(1)
    assert not cluster[1].lease_valid
    cluster.tick()
    assert cluster[1].lease_valid
    cluster.isolate(1)
    valid = 0
    while cluster[1].lease_valid:
        cluster.tick()
        valid += 1
    assert valid == 9
    assert cluster.leaders() == [1], "nobody else can have been elected yet"
