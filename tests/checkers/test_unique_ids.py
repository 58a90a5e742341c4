"""The unique-ids checker: identifiers of any shape, given once or twice."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.unique_ids import UniqueIdsChecker
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story, kinds

CHECKER = UniqueIdsChecker()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, True),
        (1, "1"),
        ([1], "[1]"),
        ([1, 2], [[1, 2]]),
        ({"a": 1}, [["a", 1]]),
        ({1: 2}, {"1": 2}),
        (float("nan"), "nan"),
    ],
)
def test_identifiers_that_only_look_alike(one: Any, other: Any) -> None:
    assert (
        Story().did(0, "generate", None, one).did(1, "generate", None, other).judged(CHECKER).outcome == VALID
    )
    twice = Story().did(0, "generate", None, one).did(1, "generate", None, one).judged(CHECKER)
    assert kinds(twice) == ["duplicate identifier"]


def test_the_identifier_given_most_often_is_told_first() -> None:
    story = Story()
    for process, identifier in enumerate(["a", "a", "b", "b", "b", "c"]):
        story.did(process, "generate", None, identifier)
    verdict = story.judged(CHECKER)
    assert verdict.outcome == INVALID
    assert "2 duplicate identifiers: 'b' was given 3 times: to process 2 (0.004–0.005 s)" in verdict.sentence
    assert verdict.details["duplicates"] == 2


def test_requests_that_failed_or_crashed_gave_nothing() -> None:
    told = Story().crashed(0, "generate").failed(1, "generate").did(2, "generate", None, 1)
    assert told.judged(CHECKER).outcome == UNKNOWN
    assert told.did(2, "generate", None, 2).judged(CHECKER).outcome == VALID
    assert Story().crashed(0, "generate").judged(CHECKER).outcome == UNKNOWN
    assert Story().judged(CHECKER).outcome == UNKNOWN


def test_one_identifier_alone_could_not_collide() -> None:
    one = Story().did(0, "generate", None, 1)
    verdict = one.judged(CHECKER)
    assert verdict.outcome == UNKNOWN
    assert "only 1 identifier was given, which could collide with no other" in verdict.sentence
    assert one.did(0, "generate").judged(CHECKER).outcome == UNKNOWN, "no identifier was in the second answer"
    two = Story().did(0, "generate", None, 1).did(0, "generate", None, 2)
    assert two.judged(CHECKER).sentence == "all 2 identifiers differ"


def test_an_answer_without_an_identifier_cannot_be_judged() -> None:
    told = Story().did(0, "generate").did(1, "generate")
    assert told.judged(CHECKER).outcome == UNKNOWN
    assert kinds(told.did(2, "generate", None, 1).did(2, "generate", None, 1).judged(CHECKER)) == [
        "duplicate identifier"
    ]


def test_a_megabyte_identifier_is_not_quoted_whole() -> None:
    huge = "x" * 1_000_000
    verdict = Story().did(0, "generate", None, huge).did(1, "generate", None, huge).judged(CHECKER)
    assert verdict.outcome == INVALID
    assert len(verdict.sentence) < 400
