"""Each rule of `transact-write`: a history that breaks it, and its innocent twin."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.checker import Limits
from checkers.transact_write import TransactWriteChecker
from checkers.words import spelt
from results.history import History
from results.operation import FAIL, INFO, INVOKE, OK, Operation
from results.verdict import INVALID, UNKNOWN, VALID

Event = tuple[int, str, str, Any]


def write(process: int, token: Any, *keys: Any, ends: str = OK, **condition: Any) -> list[Event]:
    value = {"token": token, "keys": list(keys), **condition}
    return [(process, INVOKE, "write", value), (process, ends, "write", value)]


def read(process: int, answer: dict[Any, Any]) -> list[Event]:
    return [(process, INVOKE, "read", list(answer)), (process, OK, "read", answer)]


def judge(*operations: list[Event]) -> tuple[str, set[str]]:
    events = [event for operation in operations for event in operation]
    history = History(
        [
            Operation(index, index, process, type_, f, value)
            for index, (process, type_, f, value) in enumerate(events)
        ]
    )
    verdict = TransactWriteChecker().check(history, Limits())
    return verdict.outcome, {anomaly.type for anomaly in verdict.anomalies}


AB = ("a", "b")


def test_attempts_with_one_token_count_once() -> None:
    once = [write(0, 1, *AB), write(1, 1, *AB), write(2, 1, *AB, ends=INFO)]
    assert judge(*once, read(3, {"a": [1], "b": [1]})) == (VALID, set())
    outcome, found = judge(*once, read(3, {"a": [1, 1], "b": [1]}))
    assert (outcome, found) == (INVALID, {"token applied twice"})


@pytest.mark.parametrize(
    "token", [0.5, float("nan"), float("inf"), [1], {"of": [1]}, True, 10**30, "", None], ids=str
)
def test_a_token_may_be_any_value(token: Any) -> None:
    assert judge(write(0, token, *AB), read(1, {"a": [token], "b": [token]})) == (VALID, set())
    assert judge(write(0, token, *AB), read(1, {"a": [token, token], "b": [token]})) == (
        INVALID,
        {"token applied twice"},
    )
    other = write(0, 7, *AB)
    assert judge(other, read(1, {"a": [7, token], "b": [7]})) == (INVALID, {"write that nobody tried"})


def test_tokens_are_one_if_json_says_so() -> None:
    assert judge(write(0, 1, *AB), read(1, {"a": [1.0], "b": [1]}))[0] == VALID
    assert judge(write(0, 1, *AB), read(1, {"a": [True], "b": [1]}))[0] == INVALID
    assert judge(write(0, [1], *AB), read(1, {"a": ["[1]"], "b": [[1]]}))[0] == INVALID


def test_keys_that_are_no_list_are_left_out_and_told() -> None:
    wrong: list[Event] = [(0, INVOKE, "write", {"token": 1, "keys": 5})]
    assert judge(wrong, write(1, 2, *AB), read(2, {"a": [2], "b": [2]}))[0] == UNKNOWN
    for value in ({"token": 1}, {"keys": ["a"]}):
        assert judge([(0, INVOKE, "write", value)], read(1, {"a": []}))[0] == UNKNOWN


def test_before_is_by_position_and_never_by_a_clock() -> None:
    """The read began after the acknowledgement; another clock had it before, or at the same time."""
    events = [*write(0, 1, *AB), *read(1, {"a": [], "b": []})]
    for times in ((5, 6, 1, 2), (3, 3, 3, 3)):
        history = History(
            [
                Operation(index, time, process, type_, f, value)
                for index, (time, (process, type_, f, value)) in enumerate(zip(times, events, strict=True))
            ]
        )
        assert TransactWriteChecker().check(history, Limits()).outcome == INVALID


def test_a_condition_may_name_its_key_as_a_number() -> None:
    needing = write(0, 1, 1, must_exist=1)
    assert judge(needing, read(1, {1: [1]})) == (INVALID, {"condition ignored"})
    assert judge(write(0, 1, "None"), read(1, {"None": [1]}))[0] == VALID, "nothing had to exist"


@pytest.mark.parametrize("other", ["1", True, [1], 1.5, None], ids=str)
def test_keys_are_what_they_are(other: Any) -> None:
    """Two lists whose keys look alike: each has its own tokens, and a text of JSON means the key that was asked for."""
    both = [write(0, 7, 1), write(0, 8, other)]

    def one(key: Any, tokens: list[int]) -> list[Event]:
        text = key if isinstance(key, str) else spelt(key)
        return [(3, INVOKE, "read", [key]), (3, OK, "read", {text: tokens})]

    assert judge(*both, one(1, [7]), one(other, [8])) == (VALID, set())
    assert judge(*both, one(1, [7]), one(other, [])) == (INVALID, {"lost write"})


def test_a_text_that_may_mean_two_keys_decides_nothing() -> None:
    both = [write(0, 7, 1), write(0, 8, "1")]
    asked = (3, INVOKE, "read", [1, "1"])
    assert judge(*both, [asked, (3, OK, "read", {"1": [7]})])[0] == UNKNOWN
    assert judge(*both, [asked, (3, OK, "read", {1: [7], "1": [8]})])[0] == VALID, "not of JSON"


def test_a_write_is_whole_or_not_there() -> None:
    unknown = write(0, 1, *AB, ends=INFO)
    assert judge(unknown, read(1, {"a": None, "b": None}))[0] == VALID
    assert judge(unknown, read(1, {"a": [1], "b": [1]}))[0] == VALID
    assert judge(unknown, read(1, {"a": [1]}))[0] == VALID, "the other key was not read"
    assert judge(unknown, read(1, {"a": [1], "b": []})) == (INVALID, {"torn write"})


def test_writes_have_one_order() -> None:
    both = [write(0, 1, *AB), write(0, 2, *AB)]
    assert judge(*both, read(1, {"a": [2, 1], "b": [2, 1]}))[0] == VALID, "nobody knows when they took effect"
    assert judge(*both, read(1, {"a": [1, 2], "b": [2, 1]})) == (INVALID, {"writes in two orders"})


def test_lists_only_grow_at_their_ends() -> None:
    late = [write(0, 1, "a", ends=INFO), write(5, 2, "a", ends=INFO)]
    assert judge(*late, read(1, {"a": [1]}), read(1, {"a": [1, 2]}))[0] == VALID
    outcome, found = judge(*late, read(1, {"a": [2]}), read(1, {"a": [1, 2]}))
    assert (outcome, found) == (INVALID, {"list rewritten"})


def test_a_read_that_began_later_may_have_seen_less_if_they_overlap() -> None:
    unknown = write(0, 1, "a", ends=INFO)
    (asked, more), (also, less) = read(1, {"a": [1]}), read(2, {"a": []})
    assert judge(unknown, [asked, also, less, more]) == (VALID, set())


def test_what_is_wrong_in_one_place_of_a_list_is_no_reason_to_miss_the_rest() -> None:
    both = [write(0, 1, "a"), write(0, 2, "a")]
    assert judge(*both, read(1, {"a": [9, 1, 2]})) == (INVALID, {"write that nobody tried"})
    assert judge(*both, read(1, {"a": [1, 1, 2]})) == (INVALID, {"token applied twice"})


def test_what_was_acknowledged_is_seen_by_later_reads() -> None:
    assert judge(write(0, 1, *AB), read(1, {"a": [1], "b": [1]}))[0] == VALID
    assert judge(write(0, 1, *AB), read(1, {"a": [], "b": []})) == (INVALID, {"lost write"})
    (invoke, ok), (asked, answer) = write(0, 1, "a"), read(1, {"a": []})
    assert judge([invoke, asked, ok, answer])[0] == VALID, "it began before the acknowledgement"
    again = write(2, 1, "a")
    assert judge(write(0, 1, "a"), read(1, {"a": []}), again) == (INVALID, {"lost write"}), "by the first"


def test_a_write_of_which_every_attempt_failed_is_nowhere() -> None:
    failed = write(0, 1, *AB, ends=FAIL)
    assert judge(failed, read(1, {"a": None, "b": None}))[0] == VALID
    assert judge(failed, read(1, {"a": [1], "b": [1]})) == (INVALID, {"failed write seen"})
    again = write(1, 1, *AB, ends=INFO)
    assert judge(failed, again, read(2, {"a": [1], "b": [1]}))[0] == VALID, "another attempt may have been it"


def test_a_write_that_needs_a_list_to_exist_is_not_the_first_in_it() -> None:
    both = [write(0, 1, "a", ends=INFO), write(1, 2, "a", must_exist="a", ends=INFO)]
    assert judge(*both, read(2, {"a": [1, 2]}))[0] == VALID
    assert judge(*both, read(2, {"a": [2, 1]})) == (INVALID, {"condition ignored"})


def test_two_writes_that_each_need_the_others_list_to_be_empty_do_not_both_take_effect() -> None:
    """Write skew at its smallest; one alone is fine, and so is a third that asks for nothing."""
    one, other = (
        write(0, 1, "a", must_be_empty="b", ends=INFO),
        write(1, 2, "b", must_be_empty="a", ends=INFO),
    )
    assert judge(one, other, read(2, {"a": [1], "b": None}))[0] == VALID
    assert judge(one, other, read(2, {"a": [1], "b": [2]})) == (INVALID, {"condition ignored"})
    plain = write(1, 2, "b", ends=INFO)
    assert judge(one, plain, read(2, {"a": [1], "b": [2]}))[0] == VALID, "1 may have come first"


def test_who_needs_the_list_to_be_empty_that_it_writes_is_the_first_in_it() -> None:
    """It does not stand in its own way."""
    first = write(0, 1, *AB, must_be_empty="a")
    assert judge(first, read(1, {"a": [1], "b": [1]})) == (VALID, set())
    assert judge(first, write(0, 2, *AB), read(1, {"a": [1, 2], "b": [1, 2]})) == (VALID, set())
    assert judge(write(0, 2, *AB), first, read(1, {"a": [2, 1], "b": [2, 1]})) == (
        INVALID,
        {"condition ignored"},
    )


def test_attempts_that_differ_have_only_the_conditions_and_keys_that_all_have() -> None:
    plain = write(1, 1, "a", ends=INFO)
    for condition in ({"must_exist": "a"}, {"must_be_empty": "b"}):
        needing = write(0, 1, "a", ends=INFO, **condition)
        other, end = write(2, 2, "b"), read(3, {"a": [1], "b": [2]})
        before = read(3, {"a": [], "b": [2]})
        assert judge(needing, other, before, end) == (INVALID, {"condition ignored"})
        assert judge(needing, plain, other, before, end) == (VALID, set())
        assert judge(plain, needing, other, before, end) == (VALID, set())
    assert judge(plain, write(0, 1, "b", ends=INFO), read(3, {"b": [1]})) == (VALID, set())


def test_a_read_may_see_a_write_that_began_while_it_ran() -> None:
    asked, answered = read(3, {"a": [1]})
    assert judge([asked], write(0, 1, "a"), [answered]) == (VALID, set())


def test_where_a_write_cannot_be_read_nothing_is_foreign_or_failed() -> None:
    unreadable: list[Event] = [(9, INVOKE, "write", 5), (9, OK, "write", 5)]
    failed, one = write(0, 1, "a", ends=FAIL), write(0, 1, "a")
    for writes, seen in ((failed, {"a": [1]}), (one, {"b": [1]}), (one, {"a": [1, 7]})):
        assert judge(writes, read(3, seen))[0] == INVALID
        assert judge(writes, unreadable, read(3, seen)) == (UNKNOWN, set())
    twice = read(3, {"a": [1, 2, 2]})
    assert judge(one, write(1, 2, "a"), unreadable, twice) == (INVALID, {"token applied twice"})


def test_what_cannot_be_read_may_have_been_there_first() -> None:
    """A write that has no keys, as far as one can see, may have written the list that another one needs."""
    needing = write(0, 1, "a", must_exist="a")
    unreadable: list[Event] = [(1, INVOKE, "write", 5), (1, OK, "write", 5)]
    assert judge(unreadable, needing, read(2, {"a": [7, 1]})) == (UNKNOWN, set())
    assert judge(unreadable, needing, read(2, {"a": [1]})) == (INVALID, {"condition ignored"})


def test_what_needs_a_list_to_be_empty_comes_before_all_that_is_in_it() -> None:
    needy, other = write(0, 1, "a", must_be_empty="b", ends=INFO), write(1, 2, "a", "b", ends=INFO)
    assert judge(needy, other, read(2, {"a": [1, 2], "b": [2]}))[0] == VALID
    assert judge(needy, other, read(2, {"a": [2, 1], "b": [2]})) == (INVALID, {"condition ignored"})
    plain, late = write(1, 2, "b", ends=INFO), write(0, 1, "a", must_be_empty="b", ends=INFO)
    end = read(3, {"a": [1], "b": [2]})
    assert judge(needy, plain, read(2, {"a": [1], "b": []}), end)[0] == VALID
    nothing = read(2, {"a": [], "b": []})
    assert judge(needy, nothing, read(2, {"a": [1], "b": []}))[0] == VALID, "it was empty before, too"
    assert judge(needy, plain, read(2, {"a": [], "b": [2]}), end) == (INVALID, {"condition ignored"})
    assert judge(write(1, 2, "b"), late, end) == (INVALID, {"condition ignored"}), "acknowledged before"
    assert judge(plain, late, end)[0] == VALID, "nobody knows when it took effect"
    again = write(4, 1, "a", must_be_empty="b", ends=INFO)
    assert judge(late, write(1, 2, "b"), again, end)[0] == VALID, "the first attempt may have been it"


@pytest.mark.parametrize("nonsense", [9, "corrupted", [1], True, None])
def test_what_nobody_wrote_is_an_anomaly(nonsense: Any) -> None:
    assert judge(write(0, 1, "a"), read(1, {"a": [1, nonsense]})) == (INVALID, {"write that nobody tried"})


def test_without_reads_or_with_other_shapes_nothing_is_known() -> None:
    assert judge(write(0, 1, "a"))[0] == UNKNOWN
    assert judge(write(0, 1, "a"), read(1, {"a": "text"}))[0] == UNKNOWN
    assert judge(write(0, 1, "a"), read(1, {"a": [1], "b": "text"}))[0] == UNKNOWN
    lost = read(2, {"a": []})
    assert judge(write(0, 1, "a"), read(1, {"a": "text"}), lost) == (INVALID, {"lost write"})


def test_a_write_is_seen_where_it_wrote_and_not_before_it_began() -> None:
    assert judge(write(0, 1, "a"), read(1, {"a": [1], "b": None}))[0] == VALID
    assert judge(write(0, 1, "a"), read(1, {"a": [1], "b": [1]})) == (INVALID, {"write that nobody tried"})
    assert judge(read(1, {"a": [1]}), write(0, 1, "a")) == (INVALID, {"write that nobody tried"})
    failed = write(2, 1, "a", ends=FAIL)
    assert judge(failed, read(1, {"a": [1]}), write(0, 1, "a")) == (INVALID, {"write that nobody tried"})
    (invoke, ok), (asked, answer) = write(0, 1, "a"), read(1, {"a": [1]})
    assert judge([invoke, asked, answer, ok])[0] == VALID


def test_attempts_with_one_token_that_differ_promise_what_they_have_in_common() -> None:
    both = [write(0, 1, *AB, ends=FAIL), write(0, 1, "a", must_exist="a")]
    assert judge(*both, read(1, {"a": [1], "b": []}))[0] == VALID
    assert judge(*both, read(1, {"a": [], "b": []})) == (INVALID, {"lost write"})
    assert judge(*both, read(1, {"a": [1], "b": [1], "c": [1]})) == (INVALID, {"write that nobody tried"})


def test_what_a_read_saw_stays_whole_for_all_that_begin_later() -> None:
    """That it was seen proves that it took effect, though nobody acknowledged it."""
    unknown = write(0, 1, *AB, ends=INFO)
    assert judge(unknown, read(1, {"a": [1]}), read(1, {"b": [1]}))[0] == VALID
    assert judge(unknown, read(1, {"b": []}), read(1, {"a": [1]}))[0] == VALID
    assert judge(unknown, read(1, {"a": [1]}), read(1, {"b": []})) == (INVALID, {"torn write"})
    (asked, seen), (also, missed) = read(1, {"a": [1]}), read(2, {"b": []})
    assert judge(unknown, [asked, also, seen, missed]) == (VALID, set()), "they overlap"
    less = write(3, 1, "a", ends=INFO)
    assert judge(unknown, less, read(1, {"a": [1]}), read(1, {"b": []}))[0] == VALID, "that may have been it"
    assert judge(unknown, write(3, 2, *AB), read(1, {"a": [1, 2]}), read(1, {"b": [2]}))[0] == INVALID
    unreadable: list[Event] = [(9, INVOKE, "write", 5), (9, OK, "write", 5)]
    assert judge(unknown, unreadable, read(1, {"a": [1]}), read(1, {"b": []})) == (UNKNOWN, set())


def test_nothing_is_taken_away() -> None:
    unknown = [write(0, 1, "a", ends=INFO), write(5, 2, "a", ends=INFO)]
    assert judge(*unknown, read(1, {"a": []}), read(1, {"a": [1]}), read(1, {"a": [1, 2]}))[0] == VALID
    assert judge(*unknown, read(1, {"a": [1]}), read(1, {"a": []})) == (INVALID, {"list rewritten"})
    assert judge(*unknown, read(1, {"a": [1, 2]}), read(2, {"a": [1]})) == (INVALID, {"list rewritten"})
    foreign = (INVALID, {"write that nobody tried", "list rewritten"})
    assert judge(*unknown, read(1, {"a": [7]}), read(1, {"a": None})) == foreign
    (asked, more), whole = read(1, {"a": [1, 2]}), read(2, {"a": [1]})
    assert judge(*unknown, [asked], whole, [more])[0] == VALID, "the longer one ended later"


def test_the_list_that_must_exist_does_when_it_took_effect() -> None:
    needing, other = write(0, 1, "a", must_exist="b"), write(1, 2, "b", ends=INFO)
    ignored = (INVALID, {"condition ignored"})
    nothing = read(2, {"b": []})
    assert judge(other, nothing, needing, read(2, {"a": [1], "b": [2]}))[0] == VALID
    assert judge(needing, read(2, {"a": [1], "b": []})) == ignored
    assert judge(other, needing, read(2, {"a": [1], "b": []})) == ignored, "seen together"
    assert judge(other, needing, nothing) == ignored, "nothing is taken away, so it was empty before, too"
    assert judge(needing, other, read(2, {"a": [1], "b": [2]})) == ignored, "the other began later"
    assert judge(other, needing, read(2, {"a": [1]})) == (VALID, set())
    assert judge(needing, read(2, {"a": []}))[0] == INVALID
    (invoke, ok), (asked, answer) = needing, nothing
    assert judge(other, [invoke, asked, ok, answer]) == (VALID, set()), (
        "it may have taken effect after the read"
    )
    failed = write(0, 1, "a", must_exist="b", ends=FAIL)
    lost = write(0, 1, "a", must_exist="b", ends=INFO)
    for harmless in (failed, lost):
        assert judge(harmless, nothing, read(2, {"a": []})) == (VALID, set())
    assert judge(lost, write(3, 1, "a"), read(2, {"a": [1], "b": []})) == (VALID, set()), (
        "an attempt without it"
    )
    unreadable: list[Event] = [(9, INVOKE, "write", 5), (9, OK, "write", 5)]
    assert judge(unreadable, needing, read(2, {"a": [1]})) == (UNKNOWN, set()), "that may have written b"


def test_what_needs_a_list_to_exist_does_not_come_before_the_first_in_it() -> None:
    needing, both = write(0, 1, "a", must_exist="b", ends=INFO), write(1, 2, *AB, ends=INFO)
    ignored = (INVALID, {"condition ignored"})
    assert judge(needing, both, read(2, {"a": [2, 1], "b": [2]}))[0] == VALID
    assert judge(needing, both, read(2, {"a": [1, 2], "b": [2]})) == ignored
    two, end = write(1, 2, "b", "c", ends=INFO), read(3, {"b": [2]})
    assert judge(needing, two, read(2, {"a": [1], "c": [2]}), end)[0] == VALID
    assert judge(needing, two, read(2, {"a": [1], "c": []}), end) == ignored
    assert judge(needing, two, read(2, {"a": [1]}), read(2, {"c": []}), end) == ignored


def test_what_was_seen_came_before_what_was_missed_then_or_tried_later() -> None:
    needy, other = write(0, 1, "a", must_be_empty="b"), write(1, 2, "b", "c", ends=INFO)
    ignored = (INVALID, {"condition ignored"})
    end = read(3, {"a": [1], "b": [2]})
    assert judge(other, needy, read(2, {"c": [2]}), end) == (VALID, set())
    assert judge(other, read(2, {"c": [2]}), needy, end) == ignored
    late = write(0, 1, "a", must_be_empty="b", ends=INFO)
    assert judge(other, late, read(2, {"a": [], "c": [2]}), end) == ignored
    assert judge(other, late, read(2, {"c": [2]}), read(2, {"a": []}), end) == ignored
    assert judge(other, late, read(2, {"a": []}), read(2, {"c": [2]}), end) == (VALID, set())
    first, second = write(0, 1, "a", must_be_empty="a"), write(1, 2, "a", must_be_empty="a")
    assert judge(first, second, read(2, {"b": []})) == ignored, "one of them, whoever it was"
    assert judge(first, write(1, 2, "a", must_be_empty="a", ends=INFO), read(2, {"b": []})) == (VALID, set())
