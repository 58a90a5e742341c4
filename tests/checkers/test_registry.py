"""Every one-page checker can be asked for by name, and says unknown of a history in which nothing happened."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.checker import Limits
from checkers.registry import REGISTRY, Options, QuestionError, guess, make_checker
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story

REFUSED = "refused"
"""An operation that fails."""

SMALLEST: dict[str, list[tuple[str, Any, Any]]] = {
    "set": [("add", 1, 1), ("read", None, [1])],
    "set-full": [("add", 1, 1), ("read", None, [1])],
    "bank": [("read", None, {"a": 1})],
    "counter": [("add", 1, 1), ("read", None, 1)],
    "monotonic": [("inc", "x", ["x", 1]), ("read", "x", ["x", 1])],
    "total-queue": [("enqueue", 1, 1), ("dequeue", None, 1)],
    "fifo-queue": [("enqueue", 1, 1), ("dequeue", None, 1)],
    "unique-ids": [("generate", None, 1), ("generate", None, 2)],
    "long-fork": [("write", [["w", 1, 1]], None), ("read", [], [["r", 1, 1], ["r", 2, None]])],
    "causal-reverse": [("write", 1, 1), ("read", None, [1])],
    "write-skew": [
        ("insert", [1, 0, 1], None),
        ("insert", [2, 0, 2], None),
        ("insert", [2, 1, 3], REFUSED),
    ],
    "transact-write": [
        ("write", {"token": "t", "keys": ["a", "b"]}, None),
        ("read", ["a", "b"], {"a": ["t"], "b": ["t"]}),
    ],
    "log": [("send", ["k", "a"], ["k", [0, "a"]]), ("poll", None, {"k": [[0, "a"]]})],
    "watch": [
        ("put", ["k", 1], ["k", 1, 1]),
        ("watch", {"key": "k"}, {"events": [[{"revision": 1, "type": "put", "key": "k", "value": 1}]]}),
    ],
    "sessions": [("write", ["x", 1], None), ("read", ["x", None], ["x", 1])],
    "staleness": [("write", ["x", 1], None), ("read", ["x", None], ["x", 1])],
}


@pytest.mark.parametrize("name", list(SMALLEST))
def test_by_name(name: str) -> None:
    story = Story()
    for f, asked, answer in SMALLEST[name]:
        if answer is REFUSED:
            story.failed(0, f, asked)
        else:
            story.did(0, f, asked, answer)
    history = story.done()
    verdict = make_checker(name, Options(), history).check(history, Limits())
    assert verdict.outcome == VALID, verdict.sentence
    nothing = Story().done()
    assert make_checker(name, Options(), nothing).check(nothing, Limits()).outcome == UNKNOWN


@pytest.mark.parametrize(
    "name", ["monotonic", "unique-ids", "log", "watch", "counter", "bank", "transact-write"]
)
def test_their_functions_tell_them(name: str) -> None:
    story = Story()
    for f, asked, answer in SMALLEST[name]:
        if answer is not REFUSED:
            story.did(0, f, asked, answer)
    assert guess(story.done()) == [name]


def half_done() -> Story:
    """A bank whose second read finds a transfer half done."""
    story = Story().did(1, "read", None, {"a": 5, "b": 5})
    story.invoke(0, "transfer", {"from": "a", "to": "b", "amount": 1})
    story.did(1, "read", None, {"a": 4, "b": 5})
    story.ok(0)
    return story.did(1, "read", None, {"a": 4, "b": 6})


def operations(*told: tuple[str, Any, Any]) -> Story:
    story = Story()
    for f, asked, answer in told:
        story.did(0, f, asked, answer)
    return story


@pytest.mark.parametrize(
    ("name", "story", "without", "given", "outcome"),
    [
        ("register", operations(("read", None, 7)), INVALID, {"initial": 7}, VALID),
        ("cas-register", operations(("cas", [7, 8], None)), INVALID, {"initial": 7}, VALID),
        ("semaphore", operations(("acquire", 2, None)), INVALID, {"initial": 2}, VALID),
        (
            "register",
            operations(("write", ["x", 1], None), ("read", ["y", None], ["y", None])),
            VALID,
            {"keyed": False},
            INVALID,
        ),
        (
            "register",
            operations(("write", [1, 2], None), ("write", [3, 4], None), ("read", None, [3, 4])),
            VALID,
            {"keyed": True},
            UNKNOWN,
        ),
        ("counter", operations(("read", None, 5)), INVALID, {"initial": 5}, VALID),
        (
            "counter",
            operations(("add", 3, None), ("read", None, 0), ("read", None, 3)),
            INVALID,
            {"eventual": True},
            VALID,
        ),
        ("bank", half_done(), INVALID, {"no_snapshot": True}, VALID),
        ("bank", half_done(), INVALID, {"no_snapshot": True, "total": 9}, INVALID),
        (
            "set",
            operations(("add", 1, None), ("read", None, []), ("read", None, [1])),
            VALID,
            {"linearizable": True},
            INVALID,
        ),
        (
            "staleness",
            operations(("write", ["x", 1], None), ("write", ["x", 2], None), ("read", ["x", None], ["x", 1])),
            INVALID,
            {"bound": 10**9},
            VALID,
        ),
        (
            "sessions",
            operations(("write", ["x", 1], None), ("read", ["x", None], ["x", 0])),
            INVALID,
            {"initial": 0, "guarantees": ("monotonic writes", "writes follow reads")},
            UNKNOWN,
        ),
        (
            "sessions",
            operations(("read", ["x", None], ["x", 0]), ("write", ["x", 1], None), ("read", ["x", None], ["x", 1])),
            INVALID,
            {"initial": 0},
            VALID,
        ),
        (
            "sessions",
            operations(("write", ["x", 1], None), ("read", ["y", None], ["y", None])),
            UNKNOWN,
            {"keyed": False},
            INVALID,
        ),
        (
            "sessions",
            operations(("write", 1, None), ("read", None, 1)),
            VALID,
            {"keyed": True},
            UNKNOWN,
        ),
        (
            "sessions",
            operations(("txn", [["w", "x", 1]], None), ("txn", [["r", "x", None]], [["r", "x", None]])),
            INVALID,
            {"guarantees": ("monotonic reads",)},
            UNKNOWN,
        ),
        (
            "rw-register",
            operations(("txn", [["r", "x", None]], [["r", "x", 7]])),
            VALID,
            {"initial": None},
            INVALID,
        ),
    ],
)  # fmt: skip
def test_what_else_is_asked_reaches_the_checker(
    name: str, story: Story, without: str, given: dict[str, Any], outcome: str
) -> None:
    history = story.done()
    for options, expected in ((Options(), without), (Options(**given), outcome)):
        verdict = make_checker(name, options, history).check(history, Limits())
        assert verdict.outcome == expected, verdict.sentence


@pytest.mark.parametrize("initial", [None, "5", True, 1.5])
def test_a_counter_begins_with_a_whole_number(initial: Any) -> None:
    with pytest.raises(QuestionError, match="a counter begins with a whole number"):
        make_checker("counter", Options(initial=initial), Story().done())


def test_those_that_ask_nothing_of_time_are_known() -> None:
    """Of files that do not say which operations overlapped all others say unknown."""
    assert {name for name, entry in REGISTRY.items() if not entry.needs_real_time} == {
        *("bank", "unique-ids", "write-skew", "long-fork", "sessions"),
        *("list-append", "rw-register"),
    }
    of_transactions = {name: one.reads_registers for name, one in REGISTRY.items() if one.is_transactional}
    assert of_transactions == {"list-append": False, "rw-register": True}
    assert all(one.reads_registers is None for one in REGISTRY.values() if not one.is_transactional)


@pytest.mark.parametrize(
    ("told", "models"),
    [
        ([("txn", [["append", "x", 1]], None)], ["list-append"]),
        ([("txn", [["r", "x", None]], [["r", "x", 1]]), ("txn", [["append", "x", 1]], None)], ["list-append"]),
        ([("txn", [["w", "x", 1]], None)], ["rw-register"]),
        ([("txn", [["scan", None, None]], None)], ["rw-register"]),
        ([("txn", [["write", "x", 1]], None)], ["multi-register"]),
        ([("txn", [["r", "x", None]], None)], ["list-append", "rw-register", "multi-register", "log"]),
        ([("txn", [[], 5, [5]], None)], ["list-append", "rw-register", "multi-register", "log"]),
        ([("add", 1, None), ("read", None, 1)], ["counter"]),
        ([("add", 1, None), ("read", None, [1])], ["set"]),
        ([("add", 1, None)], ["set", "counter"]),
        ([("add", 1, None), ("read", None, [1]), ("read", None, 1)], ["set", "counter"]),
        ([("write", 1, None), ("read", None, 1), ("cas", [1, 2], None)], ["cas-register"]),
    ],
)  # fmt: skip
def test_what_a_history_may_be_about(told: list[tuple[str, Any, Any]], models: list[str]) -> None:
    assert guess(operations(*told).done()) == models
