"""Calls as columns: the same calls as objects, in both forms of the kernel, and what is refused."""

from __future__ import annotations

import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pytest
from drawn import register_history

from checkers.checker import Limits
from checkers.linearizability import LinearizabilityChecker, columns_kernel
from checkers.linearizability.calls import FOREVER, calls_of, split_by_key
from checkers.linearizability.columns import CallColumns
from checkers.linearizability.models import CasRegister, Register
from results import kernels
from results.history import HistoryBuilder
from results.verdict import INVALID, VALID


@pytest.mark.parametrize("observes", [True, False])
def test_columns_give_the_same_calls_as_pairs(observes: bool) -> None:
    model = CasRegister(failed_cas_observes=observes)
    for seed in range(30):
        history = register_history(
            random.Random(seed), operations=40, processes=5, crash=0.2, fail=0.2, keys=3 if seed % 2 else 0
        )
        keyed = bool(seed % 2)
        columns = CallColumns.of(history, keyed=keyed).that_matter_to(model)
        groups = split_by_key(history.pairs()) if keyed else {None: history.pairs()}
        assert [key for key in columns.keys] == list(groups)
        for number, pairs in enumerate(groups.values()):
            expected = calls_of(pairs, reads=model.reads, failures=model.failures, keyed=keyed)
            found = columns.calls(np.flatnonzero(columns.key == number))
            assert [(c.pair, c.f, c.argument, c.type, c.start, c.end) for c in found] == [
                (c.pair, c.f, c.argument, c.type, c.start, c.end) for c in expected
            ]
            assert [c.result for c in found if c.f == "read"] == [c.result for c in expected if c.f == "read"]


def test_both_forms_of_the_kernel_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    history = register_history(random.Random(5), operations=60, processes=5, crash=0.2, fail=0.2, keys=3)
    one = CallColumns.of(history, keyed=True)
    interpreted = kernels.load_interpreted(columns_kernel)
    monkeypatch.setattr("checkers.linearizability.columns.split_calls", interpreted.split_calls)
    other = CallColumns.of(history, keyed=True)
    for name in ("start", "end", "type", "function", "argument", "second", "result", "process", "key"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    assert (one.values, one.keys, one.functions) == (other.values, other.keys, other.functions)


def test_values_that_python_takes_for_equal_are_told_apart() -> None:
    builder = HistoryBuilder()
    for value in (1, True, ["true"], {"a": [1]}, None, float("nan"), "1"):
        builder.invoke(0, "write", value)
        builder.ok(0)
    assert len(set(CallColumns.of(builder.done()).argument.tolist())) == 7


@pytest.mark.parametrize(("answer", "outcome"), [(1, INVALID), (2, VALID)])
def test_what_is_not_of_the_clients_or_not_asked_about_is_passed_over(answer: int, outcome: str) -> None:
    builder = HistoryBuilder()
    for process, f, asked, answered in (
        ("nemesis", "kill", "n1", "done"),
        (0, "write", ["x", 1], None),
        (0, "scan", None, [["x", 1]]),
        ("nemesis", "start", "n1", "done"),
        (1, "write", ["x", 2], ["x", 2]),
        (2, "read", ["x", None], ["x", answer]),
    ):
        builder.invoke(process, f, asked)
        builder.event(process, "info" if process == "nemesis" else "ok", f, answered)
    checker = LinearizabilityChecker(Register(), functions=frozenset({"read", "write"}))
    verdict = checker.check(builder.done(), Limits())
    assert verdict.outcome == outcome
    assert verdict.details["operations"] == 3


@pytest.mark.parametrize(("answer", "outcome"), [(0, VALID), (1, INVALID)])
def test_keys_that_python_takes_for_equal_are_told_apart(answer: int, outcome: str) -> None:
    builder = HistoryBuilder()
    builder.invoke("nemesis", "kill", "n1")
    builder.event("nemesis", "info", "kill", "n1")
    keys = [1, True, "1", [1], 2.5]
    for number, key in enumerate(keys):
        builder.invoke(0, "write", [key, number])
        builder.ok(0, [key, number])
    for number, key in enumerate(keys):
        builder.invoke(0, "read", [key, None])
        builder.ok(0, [key, number or answer])
    verdict = LinearizabilityChecker(Register()).check(builder.done(), Limits())
    assert (verdict.outcome, verdict.details["keys"]) == (outcome, 5)


@pytest.mark.parametrize(
    ("asked", "answered", "message"),
    [
        (3, None, "event 0: the write has the value 3; where objects are told apart by key"),
        ([1, 2, 3], None, "event 0: the write has the value"),
        (["x", 1], ["y", 1], "event 1: the write of key 'x' was answered"),
        ([[1], 1], 5, r"event 1: the write of key \[1\] was answered 5"),
    ],
)
def test_values_without_their_key_are_told(asked: object, answered: object, message: str) -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "write", asked)
    builder.ok(0, answered)
    misshapen = CallColumns.of(builder.done(), keyed=True).misshapen
    assert list(misshapen) == [0]
    assert re.match(message, misshapen[0].sentence)


def test_a_cas_without_two_values_is_told() -> None:
    builder = HistoryBuilder()
    builder.invoke(0, "cas", 5)
    assert CallColumns.of(builder.done()).misshapen[0].sentence == (
        "event 0: a cas has the value [old, new], not 5"
    )


def test_columns_need_no_history() -> None:
    """As a reader or a benchmark makes them: write 7, read 7, read nil."""

    def numbers(*values: int) -> np.ndarray:
        return np.array(values, dtype=np.int32)

    columns = CallColumns(
        start=np.array([0, 2, 4], dtype=np.int64),
        end=np.array([1, 3, FOREVER], dtype=np.int64),
        type=np.array([1, 1, 3], dtype=np.int8),
        function=numbers(0, 1, 1),
        argument=numbers(1, 0, 0),
        second=numbers(0, 0, 0),
        result=numbers(0, 1, 0),
        process=numbers(0, 0, 0),
        key=numbers(0, 0, 0),
        functions=("write", "read"),
        values=[None, 7],
        processes=[4],
        keys=[None],
    )
    checker = LinearizabilityChecker(Register(), split_by_key=False)
    assert checker.check_columns(columns, Limits()).outcome == VALID
    wrong = CallColumns(**{**columns.__dict__, "result": numbers(0, 0, 0)})
    verdict = checker.check_columns(wrong, Limits())
    assert verdict.outcome == INVALID
    assert "process 4 read null (0.002–0.003 s), after process 4 wrote 7" in verdict.sentence
