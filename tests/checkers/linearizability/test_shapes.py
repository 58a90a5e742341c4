"""Operations that cannot be understood leave their object undecided, unless it is wrong anyway, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.checker import Limits
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import GivenModel, model_named
from results.history import History, HistoryBuilder
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

Row = tuple[int, str, str, Any]


def told(*rows: Row) -> History:
    """A history of events `(process, type, f, value)`."""
    builder = HistoryBuilder()
    for process, type_, f, value in rows:
        builder.event(process, type_, f, value)
    return builder.done()


def done(process: int, f: str, asked: Any, answered: Any = "same") -> list[Row]:
    """An operation that nobody overlaps."""
    return [
        (process, "invoke", f, asked),
        (process, "ok", f, asked if answered == "same" else answered),
    ]


def judged(model: str, history: History, *, keyed: bool = False, **arguments: Any) -> Verdict:
    checker = LinearizabilityChecker(model_named(model, **arguments), split_by_key=keyed)
    return checker.check(history, Limits())


STALE = [*done(0, "write", ["y", 1]), *done(0, "write", ["y", 2]), *done(1, "read", ["y", None], ["y", 1])]
FRESH = [*STALE[:-1], (1, "ok", "read", ["y", 2])]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (done(3, "cas", ["x", [1, 2, 3]]), "event 0: a cas has the value [old, new], not [1, 2, 3]"),
        (done(3, "cas", ["x", None]), "event 0: a cas has the value [old, new], not None"),
        (done(3, "read", ["x", None], ["z", 1]), "event 1: the read of key 'x' was answered ['z', 1]"),
        (
            done(3, "read", None, 1),
            "event 0: the read has the value None; where objects are told apart by key",
        ),
    ],
)
def test_the_other_keys_are_decided(rows: list[Row], sentence: str) -> None:
    wrong = judged("cas-register", told(*rows, *STALE), keyed=True)
    assert wrong.outcome == INVALID
    assert wrong.details["wrong_keys"] == ["y"]
    right = judged("cas-register", told(*rows, *FRESH), keyed=True)
    assert right.outcome == UNKNOWN
    assert sentence in right.sentence


def test_a_change_of_nobody_knows_which_key_hides_only_what_comes_after_it() -> None:
    """It may have written 1 to y again; but not before it was invoked."""
    unclear = done(3, "write", 7)
    assert judged("register", told(*unclear, *STALE), keyed=True).outcome == UNKNOWN
    verdict = judged("register", told(*STALE, *unclear), keyed=True)
    assert verdict.outcome == INVALID
    assert judged("register", told(*FRESH, *unclear), keyed=True).outcome == UNKNOWN


def test_what_was_wrong_before_stays_wrong() -> None:
    stale = [*done(0, "write", 1), *done(0, "write", 2), *done(1, "read", None, 1)]
    unclear = done(3, "cas", [1, 2, 3])
    assert judged("cas-register", told(*stale, *unclear)).outcome == INVALID
    assert judged("cas-register", told(*unclear, *stale)).outcome == UNKNOWN
    # The read was still running when the cas came, which may have written its answer.
    running = told(*done(0, "write", 1), (1, "invoke", "read", None), *unclear, (1, "ok", "read", 3))
    assert judged("cas-register", running).outcome == UNKNOWN


@pytest.mark.parametrize("type_", ["fail", "info"])
def test_what_did_not_happen_needs_no_shape(type_: str) -> None:
    rows = [(3, "invoke", "cas", [1, 2, 3]), (3, type_, "cas", [1, 2, 3]), *done(0, "write", 1)]
    verdict = judged("cas-register", told(*rows))
    assert verdict.outcome == (VALID if type_ == "fail" else UNKNOWN)


@pytest.mark.parametrize(
    ("model", "before", "unclear", "sentence"),
    [
        ("counter", [("add", 1, 1)], ("add", "x", "x"), "the add has the value 'x'; an add has a number"),
        (
            "counter",
            [("add", 1, 1)],
            ("read", None, "one"),
            "was answered 'one'; the value of a counter is a number",
        ),
        ("set", [("add", 1, 1)], ("read", None, 5), "was answered 5; a read of a set answers a list"),
        ("semaphore", [], ("acquire", "x", "x"), "has the value 'x'; permits are counted from 1"),
        ("semaphore", [], ("acquire", 0, 0), "has the value 0; permits are counted from 1"),
        ("fenced-lock", [], ("acquire", None, "x"), "was answered 'x'; a fencing token is a number"),
        ("multi-register", [], ("txn", [["r", "x"]], [["r", "x"]]), "a transaction is a list of"),
        ("multi-register", [], ("txn", 7, 7), "a transaction is a list of"),
        (
            "priority-queue",
            [("insert", 1, 1), ("insert", "x", "x")],
            ("delete-max", None, 1),
            "cannot be compared",
        ),
        (
            "kv",
            [("put", ["k", [1]], ["k", [1]])],
            ("append", ["k", "x"], ["k", "x"]),
            "only texts or lists are joined",
        ),
    ],
)
def test_each_model_says_which_shape_it_knows(
    model: str, before: list[tuple[str, Any, Any]], unclear: tuple[str, Any, Any], sentence: str
) -> None:
    rows = [row for one in [*before, unclear] for row in done(0, one[0], one[1], one[2])]
    verdict = judged(model, told(*rows), keyed=model == "kv")
    assert verdict.outcome == UNKNOWN, verdict.sentence
    assert "traceback" not in verdict.details
    assert sentence in verdict.sentence
    assert "event " in verdict.sentence


def test_a_counter_that_read_nonsense_can_still_be_wrong() -> None:
    nonsense = done(1, "read", None, "one")
    assert (
        judged("counter", told(*done(0, "add", 1), *nonsense, *done(1, "read", None, 1))).outcome == UNKNOWN
    )
    assert (
        judged("counter", told(*done(0, "add", 1), *nonsense, *done(1, "read", None, 2))).outcome == INVALID
    )
    text = done(0, "add", "x")
    assert judged("counter", told(*done(1, "read", None, 2), *text)).outcome == INVALID
    assert judged("counter", told(*text, *done(1, "read", None, 2))).outcome == UNKNOWN


UNCLEAR = done(3, "cas", [1, 2, 3])
READ_X = [["r", "x", None]]


@pytest.mark.parametrize(
    ("model", "rows", "outcome"),
    [
        # What failed needs no shape, but what comes after it does.
        ("cas-register", [*UNCLEAR[:1], (3, "fail", "cas", [1, 2, 3]), *UNCLEAR], UNKNOWN),
        # The first of two hides what comes after it.
        ("cas-register", [*UNCLEAR, *done(0, "write", 1), *done(1, "read", None, 2), *UNCLEAR], UNKNOWN),
        # Who was answered nonsense may have the lock, or not; two others cannot both have it.
        ("fenced-lock", [*done(1, "acquire", None, "x"), *done(1, "release", None)], UNKNOWN),
        (
            "fenced-lock",
            [*done(1, "acquire", None, "x"), *done(2, "acquire", None, 5), *done(3, "acquire", None, 6)],
            INVALID,
        ),
        ("multi-register", [(0, "invoke", "txn", 7), (0, "info", "txn", 7)], UNKNOWN),
        ("multi-register", [*done(0, "txn", 7), *done(0, "txn", READ_X, 7)], UNKNOWN),
    ],
)
def test_what_one_nonsense_says_about_the_rest(model: str, rows: list[Row], outcome: str) -> None:
    assert judged(model, told(*rows)).outcome == outcome


@pytest.mark.parametrize(
    ("model", "rows", "outcome"),
    [
        # A read of nobody knows which key tells nothing about the first.
        ("register", [*done(0, "write", ["x", 1]), *done(3, "read", None, 5)], UNKNOWN),
        ("register", [*done(0, "write", ["x", 1]), *done(3, "read", None, 5), *done(3, "write", 7)], UNKNOWN),
        # A write that was answered for another key was one to its own, or none.
        (
            "register",
            [*done(0, "write", ["x", 1], ["z", 1]), *done(1, "read", ["x", None], ["x", 1])],
            UNKNOWN,
        ),
        (
            "register",
            [*done(0, "write", ["x", 1], ["z", 1]), *done(1, "read", ["x", None], ["x", 2])],
            INVALID,
        ),
        # An add to nobody knows which counter may have been to any.
        (
            "counter",
            [*done(0, "add", ["x", 1]), *done(1, "add", 5), *done(2, "read", ["y", None], ["y", 5])],
            UNKNOWN,
        ),
        ("counter", [*done(0, "add", ["x", "z"]), *done(2, "read", ["y", None], ["y", 5])], INVALID),
        ("counter", [*done(0, "add", ["x", "z"]), *done(2, "read", ["x", None], ["x", 5])], UNKNOWN),
        ("multi-register", [*done(0, "txn", ["x", 7]), *done(1, "txn", ["y", READ_X], ["y", 7])], UNKNOWN),
    ],
)
def test_what_one_nonsense_says_about_other_keys(model: str, rows: list[Row], outcome: str) -> None:
    assert judged(model, told(*rows), keyed=True).outcome == outcome


def test_a_model_of_ones_own_may_refuse_a_call() -> None:
    def step(state: int, f: str, argument: Any, answer: Any) -> list[int]:
        if not isinstance(argument, int):
            raise ValueError(f"{f} has a number, not {argument!r}")
        return [state + argument]

    checker = LinearizabilityChecker(GivenModel("account", 0, step))
    verdict = checker.check(told(*done(0, "deposit", ["a", 1]), *done(0, "deposit", ["b", "x"])), Limits())
    assert verdict.outcome == UNKNOWN
    assert "key 'b' could not be decided: deposit has a number, not 'x'" in verdict.sentence


def test_a_call_that_a_model_refuses_hides_no_other_key() -> None:
    """The keys take turns; the first is given up, and the others go on."""

    def step(state: int, f: str, argument: Any, answer: Any) -> list[int]:
        if f == "refuse":
            raise ValueError("refused")
        return [argument] if f == "write" else [state] if answer == state else []

    checker = LinearizabilityChecker(GivenModel("picky", 0, step))
    for answer, outcome in ((2, INVALID), (1, UNKNOWN)):
        rows = [*done(0, "refuse", ["a", 1]), *done(0, "write", ["b", 1])]
        verdict = checker.check(told(*rows, *done(0, "read", ["b", None], ["b", answer])), Limits())
        assert verdict.outcome == outcome
        assert [one["key"] for one in verdict.details["undecided"]] == ["a"]


@pytest.mark.parametrize("permits", ["x", 1.5, True, 0, None])
def test_a_semaphore_has_some_permits(permits: Any) -> None:
    with pytest.raises(ValueError, match="a semaphore has a whole number of permits, at least one, not"):
        model_named("semaphore", permits=permits)
