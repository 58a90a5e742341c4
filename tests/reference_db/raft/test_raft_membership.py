"""Membership changes: what they make of a configuration, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_db.raft import ConfChange, ConfState, Transition
from reference_db.raft.describe import describe_change, parse_changes
from reference_db.raft.membership import Changer, Configuration, ProgressMap, normalized, restore
from reference_db.raft.progress import Inflights

WINDOW = Inflights(10, 1000)


def _of(text: ConfState) -> tuple[Configuration, ProgressMap]:
    return restore(text, 10, WINDOW)


def _change(
    members: tuple[Configuration, ProgressMap], change: ConfChange
) -> tuple[Configuration, ProgressMap]:
    return Changer(*members, 10, WINDOW).change(change)


@pytest.mark.parametrize(
    ("changes", "transition", "after"),
    [
        ("v4", Transition.AUTO, "voters=(1 2 3 4)"),
        ("r3", Transition.AUTO, "voters=(1 2)"),
        ("l4", Transition.AUTO, "voters=(1 2 3) learners=(4)"),
        ("l3", Transition.AUTO, "voters=(1 2) learners=(3)"),
        ("u3", Transition.AUTO, "voters=(1 2 3)"),
        ("v4 r3", Transition.AUTO, "voters=(1 2 4)&&(1 2 3) autoleave"),
        ("v4", Transition.JOINT_IMPLICIT, "voters=(1 2 3 4)&&(1 2 3) autoleave"),
        ("v4 l3", Transition.JOINT_EXPLICIT, "voters=(1 2 4)&&(1 2 3) learners_next=(3)"),
    ],
)
def test_a_change_is_simple_where_it_can_be_and_joint_where_it_must(
    changes: str, transition: Transition, after: str
) -> None:
    start = _of(ConfState(voters=(1, 2, 3)))
    configuration, progress = _change(start, ConfChange(parse_changes(changes), transition))
    assert str(configuration) == after
    assert sorted(progress) == sorted(configuration.all_voters | configuration.learners)


def test_leaving_a_joint_configuration_makes_learners_and_forgets_the_removed() -> None:
    joint = _change(_of(ConfState(voters=(1, 2, 3))), ConfChange(parse_changes("v4 l3 r2")))
    assert not joint[1][3].is_learner, "it still votes in the old half"
    configuration, progress = _change(joint, ConfChange())
    assert str(configuration) == "voters=(1 4) learners=(3)"
    assert progress[3].is_learner
    assert 2 not in progress


@pytest.mark.parametrize(
    ("members", "change", "rule"),
    [
        (ConfState(voters=(1,)), ConfChange(parse_changes("r1")), "removed all voters"),
        (ConfState(voters=(1,)), ConfChange(), "can't leave a non-joint config"),
        (ConfState(), ConfChange((), Transition.JOINT_EXPLICIT), "zero-voter"),
        (ConfState(voters=(1,), voters_outgoing=(2,)), ConfChange(parse_changes("v3")), "in joint config"),
        (ConfState(voters=(1,), voters_outgoing=(2,)), ConfChange(parse_changes("v3 v4")), "already joint"),
    ],
)
def test_impossible_changes_are_refused_and_change_nothing(
    members: ConfState, change: ConfChange, rule: str
) -> None:
    start = _of(members)
    with pytest.raises(ValueError, match=rule):
        _change(start, change)
    assert start[0].conf_state() == normalized(members)


def test_two_voters_at_once_need_a_joint_configuration() -> None:
    changer = Changer(*_of(ConfState(voters=(1, 2, 3))), 10, WINDOW)
    with pytest.raises(ValueError, match="more than one voter changed"):
        changer.simple(parse_changes("v4 r1"))


def test_a_refused_change_leaves_the_progress_of_members_alone() -> None:
    start = _of(ConfState(voters=(1, 2)))
    with pytest.raises(ValueError, match="more than one"):
        Changer(*start, 10, WINDOW).simple(parse_changes("l1 v3"))
    assert not start[1][1].is_learner


def test_a_new_member_counts_as_active_and_is_probed_at_the_end_of_the_log() -> None:
    _, progress = _change(_of(ConfState(voters=(1,))), ConfChange(parse_changes("v2")))
    assert (progress[2].match, progress[2].next, progress[2].recent_active) == (0, 10, True)


@st.composite
def conf_states(draw: st.DrawFn) -> ConfState:
    """Possible memberships, joint and simple, in any order."""
    nodes = draw(st.permutations(range(1, 10)))
    voters = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=4, unique=True))
    others = [node for node in nodes if node not in voters]
    learners = draw(st.lists(st.sampled_from(others), max_size=3, unique=True))
    if draw(st.booleans()):
        return ConfState(tuple(voters), tuple(learners))
    rest = [node for node in nodes if node not in learners]
    outgoing = draw(st.lists(st.sampled_from(rest), min_size=1, max_size=4, unique=True))
    next_learners = [node for node in outgoing if node not in voters and draw(st.booleans())]
    return ConfState(
        tuple(voters), tuple(learners), tuple(outgoing), tuple(next_learners), draw(st.booleans())
    )


@given(conf_states())
def test_every_possible_membership_survives_a_snapshot(conf_state: ConfState) -> None:
    configuration, progress = restore(conf_state, 5, WINDOW)
    assert configuration.conf_state() == normalized(conf_state)
    for node, record in progress.items():
        assert record.is_learner == (node in conf_state.learners)


WORDS = ("v1", "v2", "v3", "l1", "l2", "l3", "r1", "r2", "r3", "v0")


@given(
    conf_states(),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
)
def test_entering_and_leaving_gives_what_the_changes_say(conf_state: ConfState, words: list[str]) -> None:
    start = restore(conf_state, 5, WINDOW)
    if start[0].is_joint:
        start = Changer(*start, 5, WINDOW).leave_joint()
    changes = parse_changes(" ".join(words))
    try:
        joint = Changer(*start, 5, WINDOW).enter_joint(False, changes)
    except ValueError:
        return
    configuration, _ = Changer(*joint, 5, WINDOW).leave_joint()
    last = {change.node: change for change in changes if change.node}
    for node, change in last.items():
        word = describe_change(ConfChange((change,)))[0]
        assert (node in configuration.voters) == (word == "v")
        if word == "r":
            assert node not in configuration.learners


@pytest.mark.parametrize("text", ["x1", "v", "1"])
def test_a_change_that_says_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no change of a node"):
        parse_changes(text)
