"""Long fork: reads that saw two writes in opposite orders, beside reads of one order."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.long_fork import LongForkChecker
from results.history import History
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story, kinds

CHECKER = LongForkChecker()


def written(*keys: Any) -> Story:
    story = Story()
    for key in keys:
        story.did(0, "write", [["w", key, 1]])
    return story


def read(story: Story, process: int, **seen: int | None) -> Story:
    return story.did(
        process,
        "read",
        [["r", key, None] for key in seen],
        [["r", key, value] for key, value in seen.items()],
    )


def test_two_readers_and_two_writes() -> None:
    story = read(written("x", "y"), 1, x=1, y=None)
    assert read(story, 2, x=1, y=1).judged(CHECKER).outcome == VALID
    verdict = read(story, 2, x=None, y=1).judged(CHECKER)
    assert kinds(verdict) == ["long fork"]
    assert "process 1 (0.004–0.005 s) saw 'x', but not 'y'" in verdict.sentence
    assert "process 2 (0.008–0.009 s) saw 'y', but not 'x'" in verdict.sentence
    assert verdict.anomalies[0].operations == [0, 1, 2, 3, 4, 5, 8, 9]


def test_a_fork_among_reads_that_share_only_some_keys() -> None:
    story = read(read(written("x", "y", "z"), 1, x=1, y=None), 2, y=1, z=None)
    assert read(story, 3, x=1, z=None).judged(CHECKER).outcome == VALID
    verdict = read(story, 3, z=1, x=None).judged(CHECKER)
    assert kinds(verdict) == ["long fork"]


def test_a_read_at_odds_with_itself() -> None:
    story = written("x").did(1, "read", [], [["r", "x", 1], ["r", "x", None]])
    assert kinds(story.judged(CHECKER)) == ["read at odds with itself"]


def test_a_crashed_write_may_be_seen() -> None:
    story = written("y").crashed(7, "write", [["w", "x", 1]])
    assert read(story, 1, x=1, y=None).judged(CHECKER).outcome == VALID
    assert kinds(read(story, 1, x=None, y=1).judged(CHECKER)) == ["long fork"]


def test_values_from_nowhere() -> None:
    verdict = read(written("x"), 1, x=2, y=None).judged(CHECKER)
    assert kinds(verdict) == ["value never written"]
    assert "read 2 from key 'x' (0.002–0.003 s), which nobody wrote" in verdict.sentence
    story = written("x").failed(3, "write", [["w", "y", 1]])
    verdict = read(story, 1, x=1, y=1).judged(CHECKER)
    assert kinds(verdict) == ["value of a failed write"]
    later = Story().failed(3, "write", [["w", "y", 1]]).did(0, "write", [["w", "x", 1]])
    assert read(later, 1, x=1, y=None).judged(CHECKER).outcome == VALID
    strange = Story().did(0, "write", [["w", "x", 1], ["w", "y", 1]])
    assert read(strange, 1, x=1, y=1).judged(CHECKER).outcome == UNKNOWN, "it may have written them"
    assert "whose write had failed" in verdict.sentence


def test_a_value_seen_before_its_write_began() -> None:
    early = read(Story(), 1, x=1, y=None).did(0, "write", [["w", "x", 1]])
    verdict = early.judged(CHECKER)
    assert kinds(verdict) == ["value before its write"]
    assert "read 1 from key 'x' (0.000–0.001 s) before process 0 began to write it (0.0" in verdict.sentence
    assert verdict.anomalies[0].operations == [0, 1, 2, 3]
    during = Story()
    during.invoke(0, "write", [["w", "x", 1]])
    read(during, 1, x=1, y=None)
    during.ok(0)
    assert during.judged(CHECKER).outcome == VALID
    untimed = History(early.done().operations, has_real_time=False)
    assert CHECKER.check(untimed, Limits()).outcome == VALID, "nobody knows what came first"
    strange = read(Story(), 1, x=1, y=None).did(0, "write", [["w", "x", 1]]).did(0, "write", 3)
    assert strange.judged(CHECKER).outcome == UNKNOWN, "that may have been written before"


def test_what_cannot_be_judged() -> None:
    assert written("x").judged(CHECKER).outcome == UNKNOWN
    assert read(written("x"), 1, x=1).judged(CHECKER).outcome == UNKNOWN
    assert read(written("x", "x"), 1, x=1, y=None).judged(CHECKER).outcome == UNKNOWN
    strange = written("x").did(0, "write", 3).did(1, "read", None, [["w", "x", 1]]).judged(CHECKER)
    assert strange.outcome == UNKNOWN
    assert "2 values are not" in strange.sentence
    mixed = written("x", "y").did(1, "read", [], [["r", "x", 1], ["w", "y", 1]]).judged(CHECKER)
    assert mixed.outcome == UNKNOWN
    assert "1 value is not" in mixed.sentence


def forked(story: Story) -> Story:
    return read(read(story, 1, x=1, y=None), 2, x=None, y=1)


def test_what_cannot_be_judged_hides_no_fork_that_comes_later() -> None:
    story = Story().did(0, "write", 3).did(0, "write", [["w", "z", 1]]).did(0, "write", [["w", "z", 2]])
    for key in ("x", "y"):
        story.did(0, "write", [["w", key, 1]])
    story.did(1, "read", None, 7)
    read(story, 1, z=1, x=1, y=None)
    assert story.judged(CHECKER).outcome == UNKNOWN
    assert kinds(read(story, 2, z=1, x=None, y=1).judged(CHECKER)) == ["long fork"]


def test_a_key_that_was_written_twice_makes_no_fork() -> None:
    """Which of the two writes of x a read missed is not known: both readers may be right."""
    verdict = forked(written("x", "x", "y")).judged(CHECKER)
    assert verdict.outcome == UNKNOWN
    assert "1 key (first 'x') written more than once cannot be judged here" in verdict.sentence
    assert kinds(forked(written("x", "y")).judged(CHECKER)) == ["long fork"]


KEYS = ["a", "b", "c", "d"]


@given(
    st.lists(
        st.dictionaries(st.sampled_from(KEYS), st.sampled_from([1, None]), min_size=2), min_size=1, max_size=6
    )
)
def test_agrees_with_brute_force(reads: list[dict[str, int | None]]) -> None:
    """There is an order of the writes in which every read is some prefix, or there is a fork."""
    story = written(*KEYS)
    for process, seen in enumerate(reads):
        read(story, process, **seen)
    possible = any(
        all(
            any(
                all((key in order[:length]) == (value is not None) for key, value in seen.items())
                for length in range(len(KEYS) + 1)
            )
            for seen in reads
        )
        for order in permutations(KEYS)
    )
    verdict = CHECKER.check(story.done(), Limits())
    assert verdict.outcome == (VALID if possible else INVALID)
