"""More calls open at a time than a compiled search has room for: what is obvious is decided all the same."""

from __future__ import annotations

import random

import pytest

from checkers.checker import Limits
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.calls import calls_of
from checkers.linearizability.crowded import has_obvious_order, impossible_answer
from checkers.linearizability.models import CasRegister
from results.history import History, HistoryBuilder
from results.verdict import INVALID, VALID
from tests.checkers.linearizability.brute_force import is_linearizable
from tests.checkers.linearizability.drawn import register_history
from tests.checkers.linearizability.test_named import story


def crowd(clients: int, *, cas: bool = False, then_read: object = None) -> History:
    """So many operations at once on five values, as a right register answers them in some order."""
    draw = random.Random(7)
    asked = []
    for _ in range(clients):
        f = draw.choice(["read", "write", "cas"] if cas else ["read", "write"])
        value = draw.randrange(5)
        asked.append((f, {"read": None, "write": value, "cas": [value, draw.randrange(5)]}[f]))
    builder = HistoryBuilder()
    for process, (f, value) in enumerate(asked):
        builder.invoke(process, f, value)
    state = None
    ends = []
    order = list(range(clients))
    draw.shuffle(order)
    for process in order:
        f, value = asked[process]
        failed = f == "cas" and value[0] != state
        if not failed and f != "read":
            state = value if f == "write" else value[1]
        ends.append((process, failed, state if f == "read" else value))
    draw.shuffle(ends)
    for process, failed, value in ends:
        if failed:
            builder.fail(process)
        else:
            builder.ok(process, value)
    if then_read is not None:
        builder.invoke(clients, "read")
        builder.ok(clients, then_read)
    return builder.done()


def judged(history: History, limits: Limits | None = None):
    return LinearizabilityChecker(CasRegister(), split_by_key=False).check(history, limits or Limits())


def test_a_thousand_clients_at_once() -> None:
    assert judged(crowd(1000)).outcome == VALID
    verdict = judged(crowd(1000, then_read=777))
    assert verdict.outcome == INVALID
    assert "read 777" in verdict.sentence


def test_a_search_that_cannot_end_looks_at_the_clock() -> None:
    """Between any two looks it does little."""
    ticks = iter(range(10**9))
    clock = lambda: float(next(ticks))  # noqa: E731
    history = crowd(100, cas=True, then_read=4)
    verdict = judged(history, Limits(time_s=6, clock=clock))
    assert verdict.outcome == VALID or "ran out" in verdict.sentence
    assert next(ticks) < 30


@pytest.mark.parametrize("seed", range(200))
def test_what_is_obvious_is_true(seed: int) -> None:
    draw = random.Random(seed)
    history = register_history(draw, operations=6, processes=4, crash=0.1, fail=0.1, lie=0.4, values=3)
    model = CasRegister()
    calls = calls_of(history.pairs(), reads=model.reads)
    truth = is_linearizable(history)
    if impossible_answer(calls, model) is not None:
        assert not truth
    if has_obvious_order(calls, model):
        assert truth


GUESSED: list[tuple[str, bool]] = [
    ("0 write 1, 1 read 1 ok, 0 ok", True),
    ("0 write 1 ok, 1 read 2 ok", False),
    ("0 write 1, 1 write 2, 2 write 1, 3 read 1 ok, 3 read 2 ok, 3 read 1 ok, 0 ok, 1 ok, 2 ok", True),
    ("0 write 1, 1 write 2, 2 write 3, 3 read 1 ok, 3 read 2 ok, 3 read 1 ok, 0 ok, 1 ok, 2 ok", False),
    # Of two writes that do, the one that returns first is taken: the other is needed later.
    ("0 write 1, 1 write 1, 2 read 1 ok, 1 ok, 2 write 2 ok, 2 read 1 ok, 0 ok", True),
    ("0 write 1, 1 write 1, 2 read 1 ok, 0 ok, 1 ok, 2 write 2 ok, 2 read 1 ok", False),
    # A cas explains an answer only where it found its own value.
    ("0 write 3 ok, 1 cas 3 1, 2 read 1 ok, 1 ok", True),
    ("0 write 3 ok, 1 cas 5 1, 2 read 1 ok, 1 ok", False),
    ("0 write 3 ok, 1 write 5 ok, 2 cas 3 1 ok", False),
    ("0 write 3 ok, 1 cas 3 3 ok, 2 read 3 ok", True),
    # A read that is open when its value comes is explained, though another value is there when it returns.
    ("0 read 1 ok", False),
    ("0 read, 1 write 1 ok, 1 write 2 ok, 0 ok 1, 2 read 2 ok", True),
    ("0 write 1, 0 info, 1 write 2 ok, 2 read 1 ok", True),
    ("0 write 1, 0 info, 1 write 2 ok, 2 read 1 ok, 1 write 2 ok, 2 read 1 ok", False),
]


@pytest.mark.parametrize(("lines", "fits"), GUESSED)
def test_which_orders_are_obvious(lines: str, fits: bool) -> None:
    history = story(*lines.split(", "))
    model = CasRegister()
    assert has_obvious_order(calls_of(history.pairs(), reads=model.reads), model) == fits
    assert is_linearizable(history) == fits


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ("0 read 1 ok, 1 write 1 ok", 1),
        ("0 read, 1 write 1, 0 ok 1, 1 ok", None),
        ("0 write 1 ok, 1 read 2 ok, 0 write 2 ok, 0 write 2 ok", 2),
        ("0 write 2 ok, 1 read 2 ok, 0 write 2 ok", None),
        ("0 cas 0 1 ok, 1 read 1 ok", None),
        ("0 read 0 ok", None),
        ("0 read null ok", "nil"),
        ("0 cas 5 6, 0 info", None),
    ],
)
def test_which_answers_nobody_can_have_written(lines: str, answer: object) -> None:
    model = CasRegister(0)
    found = impossible_answer(calls_of(story(*lines.split(", ")).pairs(), reads=model.reads), model)
    if answer is None:
        assert found is None
    else:
        assert found is not None
        assert found.result == (None if answer == "nil" else answer)


@pytest.mark.parametrize(("old", "outcome"), [(1, INVALID), (2, VALID)])
def test_in_a_crowd_a_failed_cas_that_observes_is_not_obvious(old: int, outcome: str) -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "write", 1)
    builder.ok(0)
    for process in range(70):
        builder.invoke(process, "read")
    builder.invoke(70, "cas", [old, 3])
    builder.fail(70)
    for process in range(70):
        builder.ok(process, 1)
    checker = LinearizabilityChecker(CasRegister(failed_cas_observes=True), split_by_key=False)
    assert checker.check(builder.done(), Limits()).outcome == outcome
