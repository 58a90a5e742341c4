"""Whatever is in a history, a one-page checker gives a verdict: it never raises, and never calls nonsense valid."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.bank import BankChecker
from checkers.causal_reverse import CausalReverseChecker
from checkers.checker import Checker, Limits
from checkers.counter import CounterChecker
from checkers.log import LogChecker
from checkers.long_fork import LongForkChecker
from checkers.monotonic import MonotonicChecker
from checkers.queue import QueueChecker
from checkers.sessions import SessionGuaranteesChecker
from checkers.set_full import SetFullChecker
from checkers.staleness import StalenessChecker
from checkers.transact_write import TransactWriteChecker
from checkers.unique_ids import UniqueIdsChecker
from checkers.watch import WatchChecker
from checkers.write_skew import WriteSkewChecker
from results.history import History, HistoryBuilder
from results.verdict import INVALID, UNKNOWN, VALID, encode

CHECKERS: list[tuple[Checker, list[str]]] = [
    (BankChecker(), ["read", "transfer"]),
    (BankChecker(snapshot=False), ["read", "transfer"]),
    (CausalReverseChecker(), ["write", "read"]),
    (CounterChecker(), ["add", "read"]),
    (CounterChecker(eventual=True), ["add", "read"]),
    (LogChecker(start="beginning"), ["send", "poll", "txn", "assign", "subscribe", "crash"]),
    (LongForkChecker(), ["write", "read"]),
    (MonotonicChecker(), ["inc", "read"]),
    (MonotonicChecker(real_time=False), ["inc", "read"]),
    (QueueChecker(), ["enqueue", "dequeue", "drain"]),
    (SessionGuaranteesChecker(real_time=True), ["read", "write", "cas", "txn"]),
    (SessionGuaranteesChecker(keyed=False), ["read", "write", "cas"]),
    (SetFullChecker(), ["add", "read"]),
    (StalenessChecker(1, same_clock=True), ["read", "write", "cas"]),
    (TransactWriteChecker(), ["write", "read"]),
    (UniqueIdsChecker(), ["generate"]),
    (WatchChecker(), ["put", "delete", "watch"]),
    (WriteSkewChecker(), ["insert", "read"]),
]

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0, math.nan, math.inf, -math.inf, 10**20, -(10**20), 1 << 62, 1 << 63]),
    st.sampled_from(["", "x", "k", "r", "w", "poll", "send", "put", "x" * 200]),
)
SHAPED = st.one_of(
    st.tuples(st.sampled_from(["x", 1]), PLAIN).map(list),
    st.tuples(st.sampled_from(["x", 1]), PLAIN, PLAIN).map(list),
    st.lists(
        st.tuples(st.sampled_from(["r", "w", "send", "poll"]), st.sampled_from(["x", "y"]), PLAIN).map(list)
    ),
    st.dictionaries(
        st.sampled_from(["x", "y"]), st.lists(st.tuples(st.integers(-1, 3), PLAIN).map(list), max_size=3)
    ),
    st.fixed_dictionaries({"key": st.just("x"), "revision": PLAIN}),
    st.fixed_dictionaries(
        {
            "events": st.lists(
                st.lists(
                    st.fixed_dictionaries(
                        {
                            "revision": st.integers(-1, 3),
                            "type": st.sampled_from(["put", "delete"]),
                            "key": st.sampled_from(["x", "y"]),
                            "value": PLAIN,
                            "previous": PLAIN,
                            "is_create": PLAIN,
                        }
                    ),
                    max_size=2,
                ),
                max_size=3,
            ),
            "bookmarks": st.lists(
                st.one_of(PLAIN, st.tuples(st.integers(0, 2), PLAIN).map(list)), max_size=2
            ),
        }
    ),
    st.fixed_dictionaries({"keys": PLAIN, "from": st.sampled_from(["beginning", "latest", None])}),
    st.fixed_dictionaries({"from": PLAIN, "to": PLAIN, "amount": PLAIN}),
    st.fixed_dictionaries(
        {"token": PLAIN, "keys": st.one_of(PLAIN, st.lists(st.sampled_from(["x", "y"])))},
        optional={"must_exist": PLAIN, "must_be_empty": PLAIN},
    ),
    st.dictionaries(st.sampled_from(["a", "b"]), PLAIN),
)
VALUES = st.recursive(
    st.one_of(PLAIN, SHAPED),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "x", "key"]), inner)
    ),
    max_leaves=5,
)


@st.composite
def histories(draw: st.DrawFn, functions: list[str]) -> History:
    builder = HistoryBuilder()
    number = 10
    for _ in range(draw(st.integers(0, 7))):
        process = draw(st.integers(0, 2))
        f = draw(st.sampled_from(functions))
        outcome = draw(st.sampled_from(["ok", "ok", "ok", "fail", "info", "none"]))
        if outcome in ("info", "none"):
            process = number = number + 1
        asked = draw(VALUES)
        builder.invoke(process, f, asked)
        if outcome != "none":
            builder.event(process, outcome, f, draw(st.one_of(VALUES, st.just(asked))))
    return builder.done()


@pytest.mark.parametrize(("checker", "functions"), CHECKERS, ids=lambda one: getattr(one, "name", None))
def test_any_values_get_a_verdict(checker: Checker, functions: list[str]) -> None:
    @settings(max_examples=25)
    @given(histories(functions))
    def judged(history: History) -> None:
        verdict = checker.check(history, Limits())
        assert verdict.outcome in (VALID, INVALID, UNKNOWN)
        assert (verdict.outcome == INVALID) == bool(verdict.anomalies)
        assert verdict.sentence
        assert len(verdict.sentence) < 20_000
        for anomaly in verdict.anomalies:
            assert anomaly.operations
            assert max(anomaly.operations) < len(history)
        encode(verdict)

    judged()


@pytest.mark.parametrize(("checker", "functions"), CHECKERS, ids=lambda one: getattr(one, "name", None))
def test_values_that_mean_nothing_are_not_valid(checker: Checker, functions: list[str]) -> None:
    builder = HistoryBuilder()
    for f in functions:
        builder.invoke(0, f, {"nonsense": [1]})
        builder.event(0, "ok", f, 7.5)
    if functions != ["generate"]:
        assert checker.check(builder.done(), Limits()).outcome != VALID


@pytest.mark.parametrize(
    ("checker", "write", "read"),
    [
        (LongForkChecker(), "write", ([["r", "x", None]], [["r", "x", 1]])),
        (SessionGuaranteesChecker(), "write", (["x", None], ["x", 1])),
        (StalenessChecker(1), "write", (["x", None], ["x", 1])),
        (TransactWriteChecker(), "write", (["x"], {"x": [1]})),
        (
            WatchChecker(),
            "put",
            ({"key": "x"}, {"events": [[{"revision": 1, "type": "put", "key": "x", "value": 1}]]}),
        ),
        (LogChecker(), "send", (None, {"x": [[0, 1]]})),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_what_a_write_that_cannot_be_read_may_have_written_is_not_called_unwritten(
    checker: Checker, write: str, read: tuple[Any, Any]
) -> None:
    f = {"put": "watch", "send": "poll"}.get(write, "read")
    for end, outcome in (("ok", UNKNOWN), ("info", UNKNOWN), ("fail", INVALID), (None, UNKNOWN)):
        builder = HistoryBuilder()
        builder.invoke(0, write, {"nonsense": [1]})
        if end is not None:
            builder.event(0, end, write, {"nonsense": [1]})
        builder.invoke(1, f, read[0])
        builder.event(1, "ok", f, read[1])
        assert checker.check(builder.done(), Limits()).outcome == outcome, end


@pytest.mark.parametrize(
    ("checker", "operations"),
    [
        (SetFullChecker(), [("add", "{}", None), ("read", None, ["{}"])]),
        (CausalReverseChecker(), [("write", "{}", None), ("read", None, ["{}"])]),
        (QueueChecker(), [("enqueue", "{}", None), ("dequeue", None, "{}")]),
        (SessionGuaranteesChecker(), [("write", ["{}", "{}"], None), ("read", ["{}", None], ["{}", "{}"])]),
        (StalenessChecker(1), [("write", ["{}", "{}"], None), ("read", ["{}", None], ["{}", "{}"])]),
        (LogChecker(), [("send", ["{}", "{}"], ["{}", [0, "{}"]]), ("poll", None, {"{}": [[0, "{}"]]})]),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_strings_of_a_megabyte(checker: Checker, operations: list[tuple[str, Any, Any]]) -> None:
    """Right ones are valid; wrong ones are told in a sentence that one can read."""
    huge = "m" * 1_000_000

    def filled(value: Any, text: str) -> Any:
        if isinstance(value, str):
            return value.replace("{}", text)
        if isinstance(value, list):
            return [filled(item, text) for item in value]
        if isinstance(value, dict):
            return {filled(key, text): filled(item, text) for key, item in value.items()}
        return value

    for last, outcome in ((huge, VALID), (huge + "!", INVALID)):
        builder = HistoryBuilder()
        for number, (f, asked, answer) in enumerate(operations):
            text = last if number + 1 == len(operations) else huge
            builder.invoke(0, f, filled(asked, huge))
            builder.event(0, "ok", f, filled(asked if answer is None else answer, text))
        verdict = checker.check(builder.done(), Limits())
        if isinstance(checker, SessionGuaranteesChecker | StalenessChecker) and outcome == INVALID:
            continue  # Another key, of which nothing is known.
        assert verdict.outcome == outcome, verdict.sentence[:500]
        assert len(verdict.sentence) < 5000


@pytest.mark.parametrize(("checker", "functions"), CHECKERS, ids=lambda one: getattr(one, "name", None))
def test_an_unknown_says_what_would_tell(checker: Checker, functions: list[str]) -> None:
    """Where everything was tried and nothing succeeded, and where nothing was tried."""
    builder = HistoryBuilder()
    for f in functions:
        builder.invoke(0, f, None)
        builder.fail(0)
    for history in (builder.done(), HistoryBuilder().done()):
        verdict = checker.check(history, Limits())
        assert verdict.outcome in (UNKNOWN, VALID)
        assert "none of 0" not in verdict.sentence
        if verdict.outcome == UNKNOWN:
            assert re.search("would|could collide", verdict.sentence), verdict.sentence
