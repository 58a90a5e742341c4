"""Causal reverse: gaps in what reads saw, beside the same reads without them."""

from __future__ import annotations

import pytest

from checkers.causal_reverse import CausalReverseChecker
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story, kinds

CHECKER = CausalReverseChecker()


def test_a_later_write_without_an_earlier_one() -> None:
    story = Story().did(0, "write", 1).did(1, "write", 2)
    verdict = story.did(2, "read", None, [2]).judged(CHECKER)
    assert kinds(verdict) == ["causal reverse"]
    assert verdict.anomalies[0].operations == [0, 1, 2, 3, 4, 5]
    assert "process 2 read 2 (0.004–0.005 s) but not 1" in verdict.sentence
    for seen in ([], [1], [1, 2], [2, 1, 1]):
        story = Story().did(0, "write", 1).did(1, "write", 2).did(2, "read", None, [1])
        assert story.did(2, "read", None, seen).judged(CHECKER).outcome == VALID, seen


def test_writes_that_overlap_may_come_in_either_order() -> None:
    story = Story()
    story.invoke(0, "write", 1)
    story.invoke(1, "write", 2)
    story.ok(0)
    story.ok(1)
    story.did(2, "read", None, [2]).did(2, "read", None, [1])
    assert story.judged(CHECKER).outcome == VALID


def test_a_read_that_began_before_both_writes_is_judged_too() -> None:
    story = Story()
    story.invoke(2, "read")
    story.did(0, "write", 1).did(1, "write", 2)
    story.event(2, "ok", "read", [2])
    assert kinds(story.judged(CHECKER)) == ["causal reverse"]


def test_a_crashed_write_need_not_be_seen_but_binds_once_it_is() -> None:
    story = Story().crashed(9, "write", 1).did(1, "write", 2)
    assert story.did(2, "read", None, [2]).judged(CHECKER).outcome == VALID
    story = Story().did(1, "write", 2).crashed(9, "write", 1)
    assert kinds(story.did(2, "read", None, [1]).judged(CHECKER)) == ["causal reverse"]


def test_values_from_nowhere_and_from_failed_writes() -> None:
    verdict = Story().did(0, "read", None, [7]).judged(CHECKER)
    assert kinds(verdict) == ["value never written"]
    assert "read 7 (0.000–0.001 s), which nobody wrote" in verdict.sentence
    verdict = Story().failed(1, "write", 7).did(0, "read", None, [7]).judged(CHECKER)
    assert kinds(verdict) == ["value of a failed write"]
    assert "whose write had failed" in verdict.sentence


def test_every_read_with_a_gap_counts_whatever_stands_before_it() -> None:
    story = Story().did(0, "write", 1).did(1, "write", 2).did(2, "read", None, "12").did(2, "read", None, [])
    story.did(2, "read", None, [2]).did(3, "read", None, [1, 2]).did(4, "read", None, [2])
    verdict = story.judged(CHECKER)
    assert kinds(verdict) == ["causal reverse"]
    assert verdict.anomalies[0].evidence["count"] == 2


@pytest.mark.parametrize("lacking", [None, 0, 700])
def test_a_read_of_very_many_writes(lacking: int | None) -> None:
    story = Story()
    for value in range(1_010):
        story.did(0, "write", value)
    story.did(1, "read", None, [value for value in range(1_010) if value != lacking] * 2)
    assert kinds(story.judged(CHECKER)) == ([] if lacking is None else ["causal reverse"])


def test_what_cannot_be_judged() -> None:
    assert Story().judged(CHECKER).outcome == UNKNOWN
    assert Story().did(0, "write", 1).did(1, "read", None, []).judged(CHECKER).outcome == UNKNOWN
    assert Story().did(0, "write", 1).did(1, "read", None, "1").judged(CHECKER).outcome == UNKNOWN
    assert (
        Story().did(0, "write", 1).did(1, "read", None, "1").did(1, "read", None, [1]).judged(CHECKER).outcome
        == UNKNOWN
    )
    story = Story().did(1, "read").did(0, "write", 1).did(1, "read", None, [1])
    assert story.judged(CHECKER).outcome == VALID, "nil shows nothing"
    twice = Story().did(0, "write", 1).did(0, "write", 1).did(0, "write", 2).did(1, "read", None, [1])
    assert twice.judged(CHECKER).outcome == UNKNOWN
    twice.did(0, "write", 3)
    assert twice.did(1, "read", None, [1, 3]).judged(CHECKER).outcome == INVALID


def test_a_value_is_not_read_before_its_write_began() -> None:
    verdict = Story().did(0, "read", None, [1]).did(1, "write", 1).judged(CHECKER)
    assert kinds(verdict) == ["value before its write"]
    assert "process 0 read 1 (0.000–0.001 s) before process 1 began to write it" in verdict.sentence
    story = Story()
    story.invoke(0, "read")
    story.did(1, "write", 1)
    story.ok(0, [1])
    assert story.judged(CHECKER).outcome == VALID
