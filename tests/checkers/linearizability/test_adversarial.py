"""Histories made to hurt: a right verdict, or an honest unknown within the limits; no crash, no endless run."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from objects import object_history

from checkers.checker import Limits
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import model_named
from checkers.synthetic.breaks import BREAKS, NoPlace, break_object
from checkers.synthetic.objects import ObjectShape, run_object
from results.history import History, HistoryBuilder
from results.verdict import INVALID, UNKNOWN, VALID, Verdict


def judge(name: str, history: History, *, keyed: bool = False, **limits: Any) -> Verdict:
    return LinearizabilityChecker(model_named(name), keyed).check(history, Limits(**limits))


def ok(builder: HistoryBuilder, process: int, f: str, asked: Any, answered: Any = None) -> None:
    builder.invoke(process, f, asked)
    builder.event(process, "ok", f, asked if answered is None else answered)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("stale", [False, True])
def test_ten_thousand_crashed_writes_on_one_register(repeated: bool, stale: bool) -> None:
    """Unique values, of which some are read later; with one written twice, zones are not open."""
    builder = HistoryBuilder()
    for value in range(10_000):
        builder.invoke(1000 + value, "write", value)
        builder.info(1000 + value)
    for value in (17, 4000, 9999) + ((9999,) if repeated else ()):
        ok(builder, 0, "read", None, value)
    if repeated:
        ok(builder, 1, "write", 17)
        ok(builder, 0, "read", None, 17)
    if stale:
        ok(builder, 0, "read", None, 4000)
    verdict = judge("register", builder.done(), time_s=30)
    assert verdict.outcome == (INVALID if stale else VALID), verdict.sentence


def test_ten_thousand_crashed_calls_that_act_alike() -> None:
    builder = HistoryBuilder()
    for number in range(10_000):
        builder.invoke(1000 + number, "write", number % 3)
        builder.info(1000 + number)
    for value in (0, 1, 2, 0, 1, 1, 2):
        ok(builder, 0, "read", None, value)
    assert judge("cas-register", builder.done(), time_s=30).outcome == VALID
    ok(builder, 0, "read", None, 3)
    assert judge("cas-register", builder.done(), time_s=30).outcome == INVALID


@pytest.mark.parametrize("name", ["owned-mutex", "fenced-lock"])
def test_ten_thousand_who_crashed_while_they_took_a_lock(name: str) -> None:
    """Nobody else can give such a lock back, so as long as somebody gets it, none of them had it."""
    builder = HistoryBuilder()
    for number in range(10_000):
        builder.invoke(1000 + number, "acquire")
        builder.info(1000 + number)
    for holder in (1, 2, 1):
        ok(builder, holder, "acquire", None)
        ok(builder, holder, "release", None)
    assert judge(name, builder.done(), time_s=2).outcome == VALID
    ok(builder, 2, "acquire", None)
    ok(builder, 1, "acquire", None)
    verdict = judge(name, builder.done(), time_s=2)
    assert verdict.outcome == INVALID
    assert len(verdict.anomalies[0].operations) == 4, "two holds that overlap, and none of the crashed ones"


@pytest.mark.parametrize("unique", [True, False])
def test_a_thousand_clients_at_once_on_one_key(unique: bool) -> None:
    """All write, then all read the same: more open calls than a machine word has bits."""
    builder = HistoryBuilder()
    for client in range(1000):
        builder.invoke(client, "write", client if unique else client % 500)
    for client in range(1000):
        builder.ok(client)
    for client in range(1000):
        builder.invoke(client, "read")
    for client in range(1000):
        builder.ok(client, 77)
    verdict = judge("register", builder.done(), time_s=1)
    assert verdict.outcome in ((VALID,) if unique else (VALID, UNKNOWN))
    ok(builder, 0, "read", None, 78)
    assert judge("register", builder.done(), time_s=1).outcome in (
        (INVALID,) if unique else (INVALID, UNKNOWN)
    )


def test_values_of_all_kinds() -> None:
    text = "x" * 1_000_000
    values = [[1, [2]], float("nan"), text, {"a": {"b": 1}}, True, 1, None, [], -0.5, "", text + "y"]
    builder = HistoryBuilder()
    for value in values:
        builder.invoke(0, "write", value)
        builder.event(0, "ok", "write", value)
        builder.invoke(0, "read")
        builder.event(0, "ok", "read", value)
    assert judge("register", builder.done()).outcome == VALID
    builder.invoke(0, "read")
    builder.event(0, "ok", "read", text)
    verdict = judge("register", builder.done())
    assert verdict.outcome == INVALID
    assert len(verdict.sentence) < 2000


def test_a_list_of_true_is_not_true() -> None:
    builder = HistoryBuilder()
    ok(builder, 0, "write", True)
    builder.invoke(0, "read")
    builder.event(0, "ok", "read", ["true"])
    assert judge("register", builder.done()).outcome == INVALID


def test_a_hundred_thousand_reads_of_one_value() -> None:
    builder = HistoryBuilder()
    ok(builder, 0, "write", 5)
    for number in range(100_000):
        ok(builder, number % 7, "read", None, 5)
    assert judge("register", builder.done()).outcome == VALID
    ok(builder, 1, "write", 6)
    ok(builder, 2, "read", None, 5)
    assert judge("register", builder.done()).outcome == INVALID


def test_nothing_at_all() -> None:
    empty = HistoryBuilder().done()
    assert judge("register", empty).outcome == VALID
    assert judge("register", empty, keyed=True).outcome == VALID
    for name in ("kv", "queue", "stack", "priority-queue", "set", "counter", "fenced-lock"):
        assert judge(name, empty, keyed=name == "kv").outcome == VALID, name


def test_many_keys_share_the_memory() -> None:
    history = run_object(
        ObjectShape(model="cas-register", operations=6000, clients=8, keys=2000, values=3)
    ).history()
    assert judge("cas-register", history, keyed=True, time_s=60, memory_mb=200).outcome == VALID


@pytest.mark.parametrize("name", ["queue", "stack", "counter", "kv"])
def test_crashes_everywhere_end_within_the_limits(name: str) -> None:
    kind = "mixed-counter" if name == "counter" else name
    history = object_history(kind, random.Random(3), operations=300, processes=8, crash=0.3, repeat=0.5)
    verdict = judge(name, history, time_s=2, memory_mb=100)
    assert verdict.outcome in (VALID, UNKNOWN), verdict.sentence
    if verdict.outcome == UNKNOWN:
        assert "could not be decided" in verdict.sentence
        assert "allow more" in verdict.sentence


@pytest.mark.parametrize(
    ("name", "broken"), [(n, b) for n, breaks in sorted(BREAKS.items()) for b in sorted(breaks)]
)
def test_every_planted_mistake_is_found_and_its_innocent_twin_is_not_accused(name: str, broken: str) -> None:
    """Histories of a simulated store, one mistake planted with a proof that no order explains it."""
    found = 0
    for seed in range(4):
        right = run_object(ObjectShape(model=name, operations=150, clients=4, crash_share=0.02), seed)
        model = model_named(name, **({"permits": 3} if name == "semaphore" else {}))
        checker = LinearizabilityChecker(model, split_by_key=name == "kv")
        assert checker.check(right.history(), Limits(time_s=20)).outcome in (VALID, UNKNOWN), f"seed {seed}"
        try:
            wrong = break_object(right, broken, seed)
        except NoPlace:
            continue
        verdict = checker.check(wrong.history(), Limits(time_s=20))
        assert verdict.outcome == INVALID, f"seed {seed}: {verdict.sentence}"
        assert verdict.anomalies[0].sentence
        found += 1
    assert found
