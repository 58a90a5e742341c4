"""Which values are the same, which numbers stand for them, and how verdicts spell them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from checkers.conclusion import conclude
from checkers.values import Numbering, identity, integers, meant_keys, number_all, whole_number
from checkers.words import allowance, count, interval, listing, none_of, shown, spelt
from results.verdict import UNKNOWN, VALID
from tests.support.stories import Story

NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (NAN, -NAN),
        ([1, [None]], (1.0, (None,))),
        ({"a": [1], "b": 2}, {"b": 2.0, "a": (1,)}),
        ([NAN], [NAN]),
    ],
)
def test_the_same(one: Any, other: Any) -> None:
    assert identity(one) == identity(other)
    assert hash(identity(one)) == hash(identity(other))
    assert Numbering().number([one, other]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (0, False),
        (0, None),
        (1, "1"),
        (1.5, 2.5),
        (NAN, 1.5),
        ([1], [True]),
        ([], {}),
        ([["a", 1]], {"a": 1}),
        ({1: 0}, {"1": 0}),
        ("[]", []),
        ([1, 2], [2, 1]),
    ],
)
def test_not_the_same(one: Any, other: Any) -> None:
    assert identity(one) != identity(other)
    numbering = Numbering()
    assert numbering.number([one, other, one]).tolist() == [0, 1, 0]
    assert numbering.find([other, "another", one]).tolist() == [1, -1, 0]
    assert spelt(numbering.values) == spelt([one, other])


def test_what_cannot_be_compared_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match="set"):
        identity({1, 2})


def test_a_column_may_be_anything_that_can_be_gone_through() -> None:
    numbers, values = number_all(value % 2 for value in range(4))
    assert (numbers.tolist(), values) == ([0, 1, 0, 1], [0, 1])


@pytest.mark.parametrize(
    ("named", "found", "meant"),
    [
        ([1], ["1"], {"1": 1}),
        ([True, [1, None]], ["true", "[1, null]"], {"true": True, "[1, null]": [1, None]}),
        (["a", "b"], ["a"], {"a": "a"}),
        (["1", 1], ["1"], {}),
        ([1], [1, "1"], {1: 1, "1": "1"}),
        ([], ["x"], {"x": "x"}),
        ([1, 1.0], ["1"], {"1": 1}),
    ],
)
def test_which_key_a_text_of_json_stands_for(
    named: list[Any], found: list[Any], meant: dict[Any, Any]
) -> None:
    assert meant_keys(named, found) == meant


def test_numbers_of_64_bits_are_taken_only_where_their_sums_fit() -> None:
    for values, dtype in (
        ([], np.int64),
        ([2**61, -5], np.int64),
        ([2**61, -(2**61)], object),
        ([10**30], object),
    ):
        assert integers(values).dtype == dtype
        assert integers(values).tolist() == values


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (3, 3),
        (-3.0, -3),
        (3.5, None),
        (True, None),
        ("3", None),
        (None, None),
        (NAN, None),
        (float("inf"), None),
    ],
)
def test_whole_numbers(value: Any, whole: int | None) -> None:
    assert whole_number(value) == whole
    assert type(whole_number(value)) is type(whole)


def test_words() -> None:
    assert [count(1, "read"), count(2, "read"), count(0, "process", "processes")] == [
        *("1 read", "2 reads", "0 processes"),
    ]
    assert none_of(3, "read", "succeeded") == "none of 3 reads succeeded"
    assert none_of(0, "read", "succeeded") == "there was no read"
    assert [listing(range(8)), listing(range(9))] == [
        "0, 1, 2, 3, 4, 5, 6, 7",
        "0, 1, 2, 3, 4, 5, 6, 7 and 1 more",
    ]
    assert [allowance(19.94), allowance(99.96), allowance(100), allowance(3600)] == [
        *("19.9 s", "100 s", "100 s", "3600 s"),
    ]
    assert spelt([True, False, None, {"a": "b", 1: (2.5,)}]) == "[true, false, null, {'a': 'b', 1: [2.5]}]"


def test_long_values_are_cut() -> None:
    assert shown("x" * 80) == repr("x" * 80)[:80] + "…"
    assert shown("x" * 78) == repr("x" * 78)
    assert shown("x" * 81) == f"{'x' * 80!r}… (81 characters)"
    assert shown([12345], 7) == "[12345]"
    assert shown([123456], 7) == "[123456…"


def test_when_an_operation_ran() -> None:
    told = Story().did(0, "read", None, 1)
    told.invoke(0, "read")
    assert [interval(pair) for pair in told.done().pairs()] == ["0.000–0.001 s", "from 0.002 s"]


def test_a_doubt_makes_it_unknown() -> None:
    assert conclude("x", [], [], "all is well", {}).outcome == VALID
    verdict = conclude("x", [], ["this", "that"], "all is well", {"reads": 1})
    assert (verdict.outcome, verdict.sentence, verdict.details) == (UNKNOWN, "this; that", {"reads": 1})
