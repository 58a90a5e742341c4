"""Which seeds a person means, and nonsense that is refused with all its problems."""

from __future__ import annotations

from itertools import islice

import pytest

from harness.explore.seed_ranges import count_seeds, endless, parse_seeds
from harness.scenario import MAX_SEED, ScenarioError


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("1-2000", (range(1, 2001),)),
        ("7", (range(7, 8),)),
        ("1-10,50", (range(1, 11), range(50, 51))),
        (" 3 - 5 , 1 ", (range(1, 2), range(3, 6))),
        ("0", (range(1),)),
        ("5-9,1-6,9", (range(1, 10),)),
        ("1-3,4-6", (range(1, 7),)),
        (str(MAX_SEED), (range(MAX_SEED, MAX_SEED + 1),)),
    ],
)
def test_seeds_are_read_in_order_and_once(text: str, ranges: tuple[range, ...]) -> None:
    assert parse_seeds(text) == ranges


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5-1", "ends before it begins; did you mean 1-5"),
        ("a", "'a' is neither a seed"),
        ("", "'' is neither a seed"),
        (" ", "'' is neither a seed"),
        ("1,", "'' is neither a seed"),
        ("-5", "'-5' is neither a seed"),
        ("1--5", "neither a seed"),
        ("1-2-3", "neither a seed"),
        ("1.5", "neither a seed"),
        ("1e3", "neither a seed"),
        ("٣", "neither a seed"),
        ("1-10000000000", "10000000000 seeds in one sweep are more than 10000000"),
        ("9" * 19, "beyond the largest seed"),
        ("9" * 400, "neither a seed"),
        ("0-" + str(MAX_SEED), "more than"),
    ],
)
def test_nonsense_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        parse_seeds(text)


def test_all_problems_are_told_together() -> None:
    with pytest.raises(ScenarioError) as told:
        parse_seeds("5-1,x,3")
    assert "5-1" in str(told.value)
    assert "'x'" in str(told.value)


def test_a_large_range_is_never_written_out() -> None:
    ranges = parse_seeds("1-10000000")
    assert count_seeds(ranges) == 10_000_000


def test_without_an_end_the_seeds_go_on_behind_the_last_one() -> None:
    assert list(islice(endless(parse_seeds("2-3,9")), 6)) == [2, 3, 9, 10, 11, 12]
    assert list(endless(parse_seeds(str(MAX_SEED - 1)))) == [MAX_SEED - 1, MAX_SEED]
