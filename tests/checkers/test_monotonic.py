"""Counters that only grow: each mistake beside an innocent twin, and brute force on tiny histories."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.monotonic import MonotonicChecker
from results.history import History
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story, kinds, random_history, some_order

CHECKER = MonotonicChecker()


def inc(story: Story, process: int, value: int, key: Any = "x") -> Story:
    return story.did(process, "inc", key, [key, value])


def read(story: Story, process: int, value: int | None, key: Any = "x") -> Story:
    return story.did(process, "read", key, [key, value])


def test_a_counter_that_grows() -> None:
    story = read(inc(inc(read(Story(), 1, None), 0, 1), 2, 2), 1, 2)
    assert story.judged(CHECKER).outcome == VALID
    assert read(story, 1, 0, key="y").judged(CHECKER).outcome == VALID


def test_a_read_that_goes_backwards() -> None:
    verdict = read(inc(inc(Story(), 0, 1), 0, 2), 1, 1).judged(CHECKER)
    assert kinds(verdict) == ["counter went backwards"]
    assert (
        "process 0 incremented to 2 (0.002–0.003 s) of counter 'x', and process 1 read 1" in verdict.sentence
    )
    assert verdict.anomalies[0].operations == [2, 3, 4, 5]
    assert verdict.anomalies[0].key == "x"


def test_reads_that_overlap_may_disagree() -> None:
    story = inc(Story(), 0, 1)
    story.invoke(1, "read", "x")
    inc(story, 0, 2)
    story.event(1, "ok", "read", ["x", 1])
    assert story.judged(CHECKER).outcome == VALID


def test_two_increments_to_the_same_value() -> None:
    story = Story()
    story.invoke(0, "inc", "x")
    story.invoke(1, "inc", "x")
    story.event(0, "ok", "inc", ["x", 1])
    story.event(1, "ok", "inc", ["x", 1])
    verdict = story.judged(CHECKER)
    assert kinds(verdict) == ["duplicate increment"]
    assert verdict.anomalies[0].operations == [0, 1, 2, 3]
    assert "counter went backwards" in kinds(inc(inc(Story(), 0, 1), 0, 1).judged(CHECKER))


def test_values_need_increments() -> None:
    assert kinds(read(Story(), 0, 1).judged(CHECKER)) == ["value from nowhere"]
    assert read(Story().crashed(1, "inc", "x"), 0, 1).judged(CHECKER).outcome == VALID
    assert kinds(read(Story().crashed(1, "inc", "y"), 0, 1).judged(CHECKER)) == ["value from nowhere"]
    assert kinds(read(Story().failed(1, "inc", "x"), 0, 1).judged(CHECKER)) == ["value from nowhere"]
    assert kinds(read(Story(), 0, 1).crashed(1, "inc", "x").judged(CHECKER)) == ["value from nowhere"]
    skipped = inc(inc(Story().crashed(9, "inc", "x"), 0, 1), 0, 3)
    assert skipped.judged(CHECKER).outcome == VALID
    assert kinds(inc(inc(Story(), 0, 1), 0, 3).judged(CHECKER)) == ["value from nowhere"]


def test_increments_of_one_counter_explain_nothing_of_another() -> None:
    for explains_x in (True, False):
        story = inc(inc(Story(), 0, 1), 0, 2).crashed(9, "inc", "x")
        story = read(story, 0, 3, key="x") if explains_x else read(story, 0, 1, key="y")
        assert kinds(story.judged(CHECKER)) == ([] if explains_x else ["value from nowhere"])


def test_what_a_value_lacks_is_told() -> None:
    verdict = read(inc(Story(), 0, 1).crashed(9, "inc", "x"), 1, 4).judged(CHECKER)
    assert (
        "which needs 3 increments more than were acknowledged, but only 1 of unknown outcome had begun"
        in (verdict.sentence)
    )
    story = inc(inc(Story(), 0, 0), 1, -1)
    verdict = story.judged(CHECKER)
    assert "process 0 incremented to 0 (0.000–0.001 s) of counter 'x', which began at 0" in verdict.sentence
    nowhere = next(one for one in verdict.anomalies if one.type == "value from nowhere")
    assert nowhere.operations == [0, 1, 2, 3]


def test_within_a_process_only() -> None:
    session = MonotonicChecker(real_time=False)
    stale = read(read(inc(Story(), 0, 1), 1, 1), 2, 0)
    assert kinds(stale.judged(CHECKER)) == ["counter went backwards"]
    assert stale.judged(session).outcome == VALID
    assert kinds(read(stale, 1, 0).judged(session)) == ["counter went backwards"]


def test_each_process_sees_each_counter_grow_by_itself() -> None:
    """What another process saw of another counter is nobody's business, nor is when an increment began."""
    session = MonotonicChecker(real_time=False)
    story = Story()
    for number in range(6):
        story.crashed(90 + number, "inc", "x" if number % 2 else "y")
    for process, key, value in ((1, "x", 3), (0, "y", 2), (0, "x", 1), (1, "y", 1), (2, "x", 0), (2, "y", 0)):
        read(story, process, value, key)
    assert story.judged(session).outcome == VALID
    assert kinds(read(story, 0, 0).judged(session)) == ["counter went backwards"]
    early = read(Story(), 0, 1).crashed(1, "inc", "x")
    assert early.judged(session).outcome == VALID
    assert kinds(early.judged(CHECKER)) == ["value from nowhere"]


def test_what_is_no_counter_is_told() -> None:
    assert Story().judged(CHECKER).outcome == UNKNOWN
    strange = Story().did(0, "read", "x", ["x", "many"]).did(0, "read", "x", 7)
    verdict = read(strange, 0, 0).judged(CHECKER)
    assert verdict.outcome == UNKNOWN
    assert "2 values are not [key, whole number] of the key that was asked for" in verdict.sentence
    assert read(strange, 0, 10**25).judged(CHECKER).outcome == INVALID
    nothing = Story().did(0, "read", "x", 7).judged(CHECKER)
    assert nothing.outcome == UNKNOWN
    assert "1 value is not [key, whole number]" in nothing.sentence
    assert "no operation was answered" in Story().crashed(0, "inc", "x").judged(CHECKER).sentence


def test_an_answer_about_another_counter_decides_nothing() -> None:
    """Which of the two was incremented nobody knows, and what was read is neither's."""
    astray = Story().did(0, "inc", "x", ["y", 1])
    for story in (astray, read(astray, 1, 0), read(astray, 1, 1), read(astray, 1, 1, key="y")):
        assert story.judged(CHECKER).outcome == UNKNOWN
    assert kinds(read(astray, 1, 2).judged(CHECKER)) == ["value from nowhere"]
    assert kinds(read(astray, 1, 1, key="z").judged(CHECKER)) == ["value from nowhere"]
    other = inc(Story(), 0, 1).did(1, "read", "x", ["y", 0])
    assert other.judged(CHECKER).outcome == UNKNOWN
    assert inc(Story(), 0, 1).did(1, "read", "x", ["x", 1]).judged(CHECKER).outcome == VALID
    assert kinds(inc(Story(), 0, 1).did(1, "read", "x", ["x", 0]).judged(CHECKER)) == [
        "counter went backwards"
    ]


def step(state: int, pair: Any) -> int | None:
    if pair.type == "info":
        return state + 1 if pair.f == "inc" else None
    after = state + (pair.f == "inc")
    return after if pair.completion.value[1] == after else None


@st.composite
def histories(draw: st.DrawFn) -> History:
    operations = draw(st.lists(st.sampled_from([("inc", "x"), ("read", "x")]), min_size=1, max_size=7))
    return random_history(
        lambda least, most: draw(st.integers(least, most)),
        operations,
        lambda f, asked: ["x", draw(st.integers(0, 4))],
    )


@given(histories())
def test_agrees_with_brute_force(history: History) -> None:
    verdict = CHECKER.check(history, Limits())
    if not any(pair.type == "ok" for pair in history.pairs()):
        assert verdict.outcome == UNKNOWN
        return
    expected = some_order(history, 0, step, {"inc", "read"})
    assert (verdict.outcome == VALID) == expected, verdict.sentence


def test_an_increment_that_does_not_say_its_value_is_not_judged() -> None:
    """Only a counter that was read can be absent, which is 0. What was read later may be its doing, and no more."""
    story = read(read(Story(), 1, None).did(0, "inc", "x", ["x", None]), 1, 1)
    verdict = story.judged(CHECKER)
    assert verdict.outcome == UNKNOWN
    assert "1 value is not [key, whole number]" in verdict.sentence
    assert kinds(read(story, 1, 2).judged(CHECKER)) == ["value from nowhere"]
