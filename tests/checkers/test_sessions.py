"""Session guarantees: each violated at its smallest, its innocent twin, and brute force over all orders of versions."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.sessions import GUARANTEES, SessionGuaranteesChecker
from results.history import History
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story, kinds

CHECKER = SessionGuaranteesChecker()


class Session(Story):
    def read(self, process: int, value: Any, key: Any = "x") -> Session:
        self.did(process, "read", [key, None], [key, value])
        return self

    def write(self, process: int, value: Any, key: Any = "x") -> Session:
        self.did(process, "write", [key, value])
        return self


def test_a_session_that_went_forward_step_by_step_is_told_in_one() -> None:
    """It read 1 to 5, each once, and then 1 again: 1 and 5 are all that it takes."""
    story = Session()
    for value in range(1, 6):
        story.write(value, value)
    for value in (1, 2, 3, 4, 5, 1):
        story.read(9, value)
    verdict = story.judged(SessionGuaranteesChecker(guarantees=("monotonic reads",)))
    assert verdict.outcome == INVALID
    assert verdict.sentence.count("so ") == 2
    assert "and then read 5" in verdict.sentence
    assert "2 came before" not in verdict.sentence


def test_monotonic_reads() -> None:
    story = Session().write(0, 1).write(1, 2).read(2, 1).read(2, 2)
    assert story.judged(CHECKER).outcome == VALID
    assert story.read(3, 1).judged(CHECKER).outcome == VALID
    verdict = story.read(2, 1).judged(CHECKER)
    assert kinds(verdict) == ["monotonic reads violated"]
    assert (
        "process 2 read 1 (0.004–0.005 s) and then read 2 (0.006–0.007 s), so 1 came before 2"
        in verdict.sentence
    )
    assert verdict.anomalies[0].operations == [4, 5, 6, 7, 10, 11]
    assert verdict.anomalies[0].key == "x"


def test_two_sessions_that_read_in_opposite_orders() -> None:
    """Each is monotonic by itself, but there is one order of versions for both."""
    story = Session().write(0, 1).write(1, 2).read(2, 1).read(3, 2).read(2, 2).read(3, 1)
    assert kinds(story.judged(CHECKER)) == ["monotonic reads violated"]


def test_nothing_after_something() -> None:
    story = Session().read(1, None).write(0, 1).read(1, 1)
    assert story.judged(CHECKER).outcome == VALID
    verdict = story.read(1, None).judged(CHECKER)
    assert "monotonic reads violated" in kinds(verdict)
    assert "nothing is older than nil" in verdict.sentence


def test_read_your_writes() -> None:
    assert Session().write(0, 1).read(0, 1).judged(CHECKER).outcome == VALID
    assert kinds(Session().write(0, 1).read(0, None).judged(CHECKER)) == ["read your writes violated"]
    assert Session().write(1, 2).write(0, 1).read(0, 2).judged(CHECKER).outcome == VALID
    swapped = Session().write(1, 2).write(0, 1).read(0, 2).read(1, 1)
    verdict = swapped.judged(CHECKER)
    assert kinds(verdict) == ["read your writes violated"]
    assert "process 0 wrote 1 (0.002–0.003 s) and then read 2" in verdict.sentence
    in_order_of_time = SessionGuaranteesChecker(real_time=True)
    assert kinds(Session().write(1, 2).write(0, 1).read(0, 2).judged(in_order_of_time)) == [
        "read your writes violated"
    ]


def test_what_was_written_before_ones_own_newest_write() -> None:
    """Who reads the second of two writes of its own has seen it win over the first."""
    story = Session().write(0, 1).write(0, 2).read(0, 2).read(1, 2).read(1, 1)
    assert story.judged(SessionGuaranteesChecker(["monotonic reads"])).outcome == VALID
    both = SessionGuaranteesChecker(["monotonic reads", "read your writes"])
    assert kinds(story.judged(both)) == ["session guarantees together impossible"]


def test_an_older_write_of_ones_own() -> None:
    """Read your writes alone would allow it, if the second write were the older; monotonic writes forbid that."""
    story = Session().write(0, 1).write(0, 2).read(0, 1)
    own = SessionGuaranteesChecker(["read your writes"])
    assert story.judged(own).outcome == VALID
    verdict = story.judged(CHECKER)
    assert kinds(verdict) == ["session guarantees together impossible"]
    assert "are to hold together" in verdict.sentence
    assert "monotonic writes" in verdict.sentence
    assert "read your writes" in verdict.sentence
    assert kinds(story.read(0, 2).judged(own)) == ["read your writes violated"]


BOTH = SessionGuaranteesChecker(["monotonic reads", "read your writes"])


def test_all_earlier_writes_of_ones_own_are_older_than_what_is_read() -> None:
    """Who wrote 1 and 2 and reads 3 has seen it win over both."""
    story = Session().write(0, 1).write(0, 2).write(1, 3).read(0, 3)
    assert story.judged(BOTH).outcome == VALID
    assert Session().write(0, 1).write(1, 3).read(0, 3).read(2, 1).read(2, 3).judged(BOTH).outcome == VALID
    assert kinds(story.read(2, 3).read(2, 1).judged(BOTH)) == ["session guarantees together impossible"]


def test_an_older_write_of_ones_own_is_newer_than_those_after_it_and_no_others() -> None:
    story = Session().write(0, 9).write(1, 1).write(1, 2).read(1, 1)
    assert story.read(5, 1).read(5, 9).judged(BOTH).outcome == VALID, "9 is another's"
    story.write(1, 3).read(6, 1).read(6, 3)
    assert story.judged(BOTH).outcome == VALID, "3 was written after that read"


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_older_write_of_ones_own_may_be_read_after_each_newer_one(times: int) -> None:
    story = Session().write(0, 1)
    for newer in range(2, 2 + times):
        story.write(0, newer).read(0, 1)
    assert story.judged(BOTH).outcome == VALID
    assert story.read(5, 1).read(5, newer).judged(BOTH).outcome == INVALID


def test_what_others_wrote_in_between_says_nothing() -> None:
    story = Session().write(0, 1).write(1, 2).write(2, 3).read(2, 1)
    assert story.read(5, 1).read(5, 2).judged(BOTH).outcome == VALID
    assert story.read(6, 1).read(6, 3).judged(BOTH).outcome == INVALID


def swapped(first: str, asked: Any) -> Session:
    """Process 1 replaces 2 by something newer, while process 0 does something with that and then writes 2."""
    story = Session()
    story.invoke(1, "cas", ["x", [2, 3]])
    story.did(0, first, asked, ["x", 3] if first == "read" else None)
    story.write(0, 2)
    story.ok(1)
    return story


def test_monotonic_writes() -> None:
    assert Session().write(0, 1).write(0, 2).did(1, "cas", ["x", [2, 3]]).judged(CHECKER).outcome == VALID
    verdict = swapped("cas", ["x", [3, 1]]).judged(SessionGuaranteesChecker(["monotonic writes"]))
    assert kinds(verdict) == ["monotonic writes violated"]
    assert "process 1 replaced 2 by 3" in verdict.sentence
    assert "process 0 replaced 3 by 1" in verdict.sentence
    assert "and then wrote 2" in verdict.sentence
    innocent = Session().write(0, 2).did(1, "cas", ["x", [2, 3]]).did(0, "cas", ["x", [3, 1]])
    assert innocent.judged(SessionGuaranteesChecker(["monotonic writes"])).outcome == VALID


def test_a_compare_and_set_that_did_not_happen_replaced_nothing() -> None:
    """It asked for 3 in the place of 2; but 3 was written by another, before 2."""
    story = Session().write(0, 3).write(0, 2)
    story.failed(1, "cas", ["x", [2, 3]])
    assert story.read(5, 3).judged(SessionGuaranteesChecker(["monotonic writes"])).outcome == VALID
    for unread in ("failed", "crashed"):
        story = Session().write(0, 1).read(0, 1)
        getattr(story, unread)(1, "cas", ["x", [7, 8]])
        assert story.judged(CHECKER).outcome == VALID, "nobody has seen the 7"


def test_what_a_compare_and_set_replaced_it_has_read() -> None:
    reads = SessionGuaranteesChecker(["monotonic reads"])
    story = Session().write(0, 1).did(1, "cas", ["x", [1, 2]])
    assert story.read(1, 2).judged(reads).outcome == VALID
    assert kinds(story.read(1, None).judged(reads)) == ["monotonic reads violated"]
    assert kinds(Session().write(0, 1).did(1, "cas", ["x", [1, 2]]).read(1, None).judged(reads)) == [
        "monotonic reads violated"
    ]


@pytest.mark.parametrize("first", [True, False])
def test_a_compare_and_set_of_unknown_outcome_happened_if_its_value_was_read(first: bool) -> None:
    def told(*values: int) -> Session:
        story = Session() if first else Session().write(0, 1)
        story.crashed(9, "cas", ["x", [1, 2]])
        story = story.write(0, 1) if first else story
        for value in values:
            story.read(1, value)
        return story

    reads = SessionGuaranteesChecker(["monotonic reads"])
    assert told(1, 2).judged(reads).outcome == VALID
    assert kinds(told(2, 1).judged(reads)) == ["monotonic reads violated"]


def test_a_compare_and_set_that_certainly_happened_has_read_what_it_replaced() -> None:
    def told(old: Any, *reads: Any) -> Session:
        story = Session().write(0, 1)
        story.crashed(0, "cas", ["x", [old, 2]])
        for value in reads:
            story.read(1, value)
        return story

    assert told(1, 2, 2).judged(CHECKER).outcome == VALID
    verdict = told(None, 2, 2).judged(CHECKER)
    assert kinds(verdict) == ["read your writes violated"]
    assert "process 0 wrote 1 (0.000–0.001 s) and then read nil (0.002–0.003 s)" in verdict.sentence
    assert told(None, 1, 1).judged(CHECKER).outcome == VALID, "it need not have happened"
    assert told(5, 1, 1).judged(CHECKER).outcome == VALID
    assert kinds(told(5, 2, 2).judged(CHECKER)) == ["value never written"]
    assert told(None, 2, 2).write(3, 2).judged(CHECKER).outcome == UNKNOWN, "another may have written 2"
    unreadable = told(None, 2, 2).did(3, "write", ["x"])
    assert (unreadable.judged(CHECKER).outcome, kinds(unreadable.judged(CHECKER))) == (UNKNOWN, [])
    failed = Session().write(0, 1)
    failed.failed(0, "cas", ["x", [None, 2]])
    assert kinds(failed.read(1, 1).read(1, 1).judged(CHECKER)) == []


def test_what_a_compare_and_set_has_read_proves_that_another_happened() -> None:
    def told(*reads: Any) -> Session:
        story = Session().write(0, 1)
        story.crashed(0, "cas", ["x", [None, 2]])
        story.crashed(5, "cas", ["x", [2, 3]])
        for value in reads:
            story.read(1, value)
        return story

    assert told(1, 1).judged(CHECKER).outcome == VALID
    assert kinds(told(3, 3).judged(CHECKER)) == ["read your writes violated"]


def test_a_compare_and_set_that_changes_nothing_is_a_read() -> None:
    story = Session().write(0, 1).did(1, "cas", ["x", [1, 1]]).read(1, 1)
    assert story.judged(CHECKER).outcome == VALID
    assert kinds(story.read(1, None).judged(CHECKER)) == ["monotonic reads violated"]
    crashed = Session().write(0, 1).read(0, 1)
    crashed.crashed(1, "cas", ["x", [2, 2]])
    assert crashed.judged(CHECKER).outcome == VALID


def test_writes_follow_reads() -> None:
    story = Session().write(0, 1).read(1, 1).write(1, 2)
    assert story.read(2, 1).read(2, 2).judged(CHECKER).outcome == VALID
    verdict = swapped("read", ["x", None]).judged(CHECKER)
    assert kinds(verdict) == ["writes follow reads violated"]
    assert "process 0 read 3" in verdict.sentence
    joint = Session().write(0, 1).read(1, 1).write(1, 2).read(2, 2).read(2, 1)
    assert kinds(joint.judged(CHECKER)) == ["session guarantees together impossible"]
    assert kinds(joint.judged(TIMED)) == ["monotonic reads violated"]
    alone = SessionGuaranteesChecker(["writes follow reads"])
    assert kinds(swapped("read", ["x", None]).judged(alone)) == ["writes follow reads violated"]


TIMED = SessionGuaranteesChecker(["monotonic reads"], real_time=True)


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("key", ["x", "y"])
def test_in_real_time_a_write_is_newer_than_all_that_had_ended(key: str, crashed: bool) -> None:
    """1 and 2 are written at the same time, then 3; the other key is written in between, and says nothing."""
    for values, outcome in (
        ((1, 2, 3), VALID),
        ((2, 1, 3), VALID),
        ((3, 1), INVALID),
        ((3, 2), INVALID),
    ):
        other = "y" if key == "x" else "x"
        story = Session().write(7, 0, "x").write(7, 0, "y")
        story.invoke(0, "write", [key, 1])
        story.invoke(1, "write", [key, 2])
        story.write(7, 7, other)
        story.ok(0)
        story.write(7, 8, other)
        story.ok(1)
        story.write(7, 9, other)
        if crashed:
            story.crashed(2, "write", [key, 3])
        else:
            story.write(2, 3, key)
        for value in values:
            story.read(8, value, key)
        assert story.judged(TIMED).outcome == outcome, values
        story.read(8, 9, other)
        assert kinds(story.read(8, 8, other).judged(TIMED)) == ["monotonic reads violated"]


def test_in_real_time_one_write_of_each_key_is_enough() -> None:
    for key in ("x", "y"):
        for values, outcome in (((1, 2), VALID), ((2, 1), INVALID)):
            story = Session().write(0, 1, "x").write(0, 1, "y")
            story.crashed(1, "write", ["x", 2])
            story.crashed(2, "write", ["y", 2])
            for value in values:
                story.read(8, value, key)
            assert story.judged(TIMED).outcome == outcome, (key, values)


def test_transactions_are_taken_step_by_step() -> None:
    story = Session()
    story.did(0, "txn", [["w", "x", 1], ["r", "x", 1], ["w", "x", 2]]).did(
        1, "txn", [["r", "x", 1], ["r", "x", 2]]
    )
    assert story.judged(CHECKER).outcome == VALID
    story.did(1, "txn", [["r", "x", 1]])
    assert "monotonic reads violated" in kinds(story.judged(CHECKER))
    assert (
        Session().did(0, "txn", [["w", "x", 1], ["w", "y", 2], ["r", "x", 1]]).judged(CHECKER).outcome
        == VALID
    )
    early = Session()
    early.did(0, "txn", [["r", "x", 1], ["w", "x", 1]])
    assert kinds(early.judged(CHECKER)) == ["read before its write"]
    for before in (["w", "y", 2], ["r", "y", None]):
        early = Session()
        early.did(0, "txn", [before, ["r", "x", 1], ["w", "x", 1]])
        assert kinds(early.judged(CHECKER)) == ["read before its write"]


@pytest.mark.parametrize("end", ["failed", "crashed"])
def test_of_a_transaction_without_an_answer_only_the_writes_count(end: str) -> None:
    story = Session().write(0, 1).read(1, 1)
    getattr(story, end)(1, "txn", [["r", "x", None], ["w", "x", 5]])
    assert story.read(2, 1).read(2, 1).judged(CHECKER).outcome == VALID
    verdict = story.read(2, 5).judged(CHECKER)
    assert kinds(verdict) == (["value of a failed write"] if end == "failed" else [])


def test_what_a_transaction_read_is_in_its_answer() -> None:
    for value, outcome in ((1, VALID), (None, INVALID)):
        story = Session().write(0, 1).did(0, "txn", [["r", "x", None]], [["r", "x", value]])
        assert story.judged(CHECKER).outcome == outcome


def test_crashed_writes_may_be_read_and_failed_ones_may_not() -> None:
    story = Session()
    story.crashed(0, "write", ["x", 1])
    assert story.read(1, None).read(1, 1).read(1, 1).judged(CHECKER).outcome == VALID
    assert "monotonic reads violated" in kinds(story.read(1, None).judged(CHECKER))
    failed = Session()
    failed.failed(0, "write", ["x", 1])
    assert kinds(failed.read(1, 1).judged(CHECKER)) == ["value of a failed write"]
    assert kinds(Session().read(1, 1).judged(CHECKER)) == ["value never written"]
    early = Session().read(1, 1).write(0, 1).write(0, 2).judged(CHECKER)
    assert kinds(early) == ["read before its write"]
    assert early.anomalies[0].operations == [0, 1, 2, 3]


def test_a_read_that_was_not_answered_says_nothing() -> None:
    story = Session().write(0, 1).read(0, 1)
    story.failed(0, "read", ["x", None])
    story.crashed(1, "read", ["x", None])
    assert story.judged(CHECKER).outcome == VALID


def test_keys_are_apart_and_a_single_register_has_none() -> None:
    story = Session().write(0, 1, "x").write(0, 2, "y").read(0, None, "z").read(0, 1, "x").read(0, 2, "y")
    assert story.judged(CHECKER).outcome == VALID
    story = Session().write(8, 1, "x").write(8, 2, "y").read(0, 2, "y").read(1, 1, "x").read(0, 2, "y")
    assert story.judged(CHECKER).outcome == VALID
    single = SessionGuaranteesChecker(keyed=False, initial=0)
    story = Session()
    story.did(1, "read", None, 0).did(0, "write", 1).did(1, "read", None, 1)
    assert story.judged(single).outcome == VALID
    assert "monotonic reads violated" in kinds(story.did(1, "read", None, 0).judged(single))


def test_what_cannot_be_judged() -> None:
    assert Session().judged(CHECKER).outcome == UNKNOWN
    assert Session().write(0, 1).read(1, 1).judged(CHECKER).outcome == UNKNOWN
    twice = Session().write(0, 1).write(1, 1).read(2, 1).read(2, None).judged(CHECKER)
    assert twice.outcome == UNKNOWN
    assert "unique values are" in twice.sentence
    assert Session().write(0, 1).write(0, None).read(0, None).judged(CHECKER).outcome == UNKNOWN
    strange = Session().write(0, 1).did(0, "read", "x", "y").did(0, "txn", 5).judged(CHECKER)
    assert strange.outcome == UNKNOWN
    with pytest.raises(ValueError, match="guarantees: monotonic reads"):
        SessionGuaranteesChecker(["linearizable"])


@pytest.mark.parametrize(
    ("f", "asked", "answer"),
    [
        ("read", "x", ["x", 1]),
        ("read", ["x", None, None], ["x", 1]),
        ("read", ["x", None], 5),
        ("read", ["x", None], ["x", 1, 2]),
        ("read", ["x", None], ["y", 1]),
        ("read", ["x", None], ["y", 5]),
        ("write", ["x", 3], ["x", 7]),
        ("write", ["x", 3], ["y", 3]),
        ("cas", ["x", [1, 3]], ["x", [1, 7]]),
        ("cas", ["x", [1, 3]], ["y", [1, 3]]),
        ("write", ["x"], None),
        ("cas", ["x", 5], None),
        ("cas", ["x", [1, 2, 3]], None),
        ("txn", 5, None),
        ("txn", [["r", "x", None]], "nonsense"),
        ("txn", [["w", "x"]], None),
        ("txn", [["q", "x", 1]], None),
        ("txn", [5], None),
    ],
)
def test_an_operation_of_another_shape_hides_nothing_but_what_it_may_have_written(
    f: str, asked: Any, answer: Any
) -> None:
    story = Session().write(0, 1).read(0, 1).did(1, f, asked, answer)
    verdict = story.judged(CHECKER)
    assert verdict.outcome == UNKNOWN
    assert "1 value is not" in verdict.sentence
    assert kinds(story.read(2, 7).judged(CHECKER)) == (["value never written"] if f == "read" else [])
    assert "read before its write" in kinds(story.read(2, 8).write(3, 8).judged(CHECKER))


@pytest.mark.parametrize(
    ("f", "value", "answer"),
    [
        *(("write", 3, answer) for answer in ("done", ["x", 3], ["x", 3.0], ["x", 3, 17])),
        *(("cas", [1, 3], answer) for answer in ("done", ["x", [1, 3]], ["x", True])),
    ],
)
def test_an_answer_that_says_nothing_else_is_taken_as_it_is(f: str, value: Any, answer: Any) -> None:
    asked = ["x", value]
    story = Session().write(0, 1).read(0, 1).did(1, f, asked, answer)
    assert story.read(2, 3).read(2, 3).judged(CHECKER).outcome == VALID


def demanded(guarantee: str, history: History) -> set[tuple[Any, Any]]:
    """Terry's definitions, for one key: which version has to be no later than which."""
    first, second = {
        "monotonic reads": ("read", "read"),
        "monotonic writes": ("write", "write"),
        "read your writes": ("write", "read"),
        "writes follow reads": ("read", "write"),
    }[guarantee]
    pairs = history.pairs()
    return {
        (earlier.value[1], later.value[1])
        for place, later in enumerate(pairs)
        for earlier in pairs[:place]
        if earlier.process == later.process and (earlier.f, later.f) == (first, second)
    }


MOST_WRITES = 6


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Writes are invoked first and end last in time, so that any of them may be read; each belongs to a session that
    reads before and after it. Few enough that all their orders can be tried."""
    story = Session()
    number = draw(st.integers(1, 4))
    for value in range(number):
        story.crashed(100 + value, "write", ["x", value])
    values = [None, *range(number)]
    for step in range(draw(st.integers(2, 7))):
        process = draw(st.integers(0, 2))
        if draw(st.integers(0, 3)) == 0 and len(values) <= MOST_WRITES:
            story.write(process, 10 + step)
            values.append(10 + step)
        else:
            story.read(process, draw(st.sampled_from(values)))
    return story.done()


@given(histories(), st.lists(st.sampled_from(GUARANTEES), min_size=1, max_size=4, unique=True))
def test_agrees_with_brute_force(history: History, guarantees: list[str]) -> None:
    values = [pair.value[1] for pair in history.pairs() if pair.f == "write"]
    wanted = {guarantee: demanded(guarantee, history) for guarantee in guarantees}
    kept = [
        {
            guarantee
            for guarantee, versions in wanted.items()
            if all(order[one] <= order[other] for one, other in versions)
        }
        for order in (
            {None: -1, **{value: place for place, value in enumerate(one)}} for one in permutations(values)
        )
    ]
    verdict = SessionGuaranteesChecker(guarantees).check(history, Limits())
    together = any(len(one) == len(guarantees) for one in kept)
    assert (verdict.outcome == INVALID) == (not together), verdict.sentence
    alone = {guarantee for guarantee in guarantees if not any(guarantee in one for one in kept)}
    assert {kind for kind in kinds(verdict) if "together" not in kind} == {
        f"{name} violated" for name in alone
    }


@pytest.mark.parametrize(("initial", "value"), [(1, True), (0, False), (True, 1), ("1", 1)])
def test_a_value_that_looks_like_the_initial_one_is_another(initial: Any, value: Any) -> None:
    checker = SessionGuaranteesChecker(initial=initial)
    assert Session().write(0, value).read(0, value).write(0, 2).judged(checker).outcome == VALID
    assert kinds(Session().write(0, value).read(0, initial).judged(checker)) == ["read your writes violated"]
    swapped = (
        Session()
        .write(0, value)
        .did(1, "cas", ["x", [value, initial]])
        .did(0, "read", ["x", None], ["x", value])
    )
    assert swapped.judged(CHECKER).outcome == VALID


def test_what_a_transaction_of_unknown_answer_wrote_is_known() -> None:
    story = (
        Session()
        .did(0, "txn", [["w", "x", 1]], "nonsense")
        .did(1, "txn", [["r", "x", None]], [["r", "x", 1]])
    )
    assert story.judged(CHECKER).outcome == UNKNOWN
    assert story.read(0, 1).judged(CHECKER).outcome == UNKNOWN
    assert "read your writes violated" in kinds(story.read(0, None).judged(CHECKER))
    unanswered = Session().did(0, "txn", [["w", "x", 1], ["r", "x", None]], "nonsense")
    assert unanswered.judged(CHECKER).outcome == UNKNOWN, "nothing is known of what it read"
