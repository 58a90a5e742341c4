"""Registers of few calls: the quick search and its evidence say what the plain ones say, compiled and interpreted."""

from __future__ import annotations

import random
import sys
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pytest
from drawn import register_history

from checkers.checker import Limits
from checkers.linearizability import LinearizabilityChecker, short, short_kernel
from checkers.linearizability.columns import CallColumns
from checkers.linearizability.decide import SEARCH, ZONES, decide
from checkers.linearizability.explain import ValuesOfCalls, evidence_of_search, explain
from checkers.linearizability.footprints import number_of
from checkers.linearizability.models import CasRegister, GivenModel, Model, Register
from checkers.linearizability.search import Search
from checkers.linearizability.short import ShortRegister, ValuesOfRegister
from results import kernels
from results.history import History, HistoryBuilder
from results.verdict import INVALID, VALID
from tests.checkers.linearizability.test_named import judge, story

INTERPRETED: Any = kernels.load_interpreted(short_kernel)

needs_compiler = pytest.mark.skipif(
    not kernels.is_compiled(short_kernel), reason="where no kernel is compiled, other pages do this work"
)


def drawn(seed: int) -> History:
    source = random.Random(seed)
    return register_history(
        source,
        operations=source.choice([6, 12, 30, 50]),
        processes=source.choice([2, 4, 6, 9]),
        values=source.choice([2, 3, 5, 20]),
        crash=source.choice([0, 0, 0.1, 0.3]),
        lie=source.choice([0, 0.05, 0.3]),
        fail=0.1,
    )


def registers(columns: CallColumns, model: CasRegister) -> list[Any]:
    """The kernel's object in every form there is."""
    arrays: list[Any] = [columns.start, columns.end, columns.type, columns.function]
    arrays += [columns.argument, columns.second, columns.result]
    copies = [array(code, column.tolist()) for code, column in zip("qqbiiii", arrays, strict=True)]
    functions = {name: number for number, name in enumerate(columns.functions)}
    names = tuple(functions.get(name, short.NOWHERE) for name in ("read", "write", "cas"))
    rest = (names, "cas" in model.failures, *number_of(model.initial_state(), columns))
    forms = [INTERPRETED.ShortRegister(None, *copies, *rest)]
    if kernels.is_compiled(short_kernel):
        kernel: Any = short_kernel
        forms.append(kernel.ShortRegister(None, *arrays, *rest))
    return forms


def test_it_says_what_the_plain_search_says_and_leaves_the_same_evidence() -> None:
    outcomes = {True: 0, False: 0}
    for seed in range(300):
        model = CasRegister(failed_cas_observes=seed % 3 == 0)
        columns = CallColumns.of(drawn(seed))
        matter = columns.that_matter_to(model)
        calls = {call.start: call for call in matter.calls()}
        result = Search(list(calls.values()), model).run()
        assert result is not None
        outcomes[result.legal] += 1
        for register in registers(columns, model):
            assert columns.start[list(register.rows())].tolist() == list(calls), f"seed {seed}"
            found = register.judge(10**6)
            if result.legal:
                assert found == short_kernel.LEGAL, f"seed {seed}"
                continue
            stuck = result.stuck
            assert stuck is not None
            assert columns.start[found] == stuck.start, f"seed {seed}"
            plain = evidence_of_search(list(calls.values()), stuck, model)
            rows, crashed, loosened, from_any, _ = register.evidence(stuck.end, lambda: False)
            starts = columns.start[rows].tolist()
            assert starts == [call.start for call in plain.calls], f"seed {seed}"
            assert crashed == [call.end != calls[call.start].end for call in plain.calls], f"seed {seed}"
            assert loosened == [call.f != calls[call.start].f for call in plain.calls], f"seed {seed}"
            assert from_any == (plain.start_states is not None), f"seed {seed}"
            assert register.judge(10**6) == found, f"seed {seed}: looking for evidence left traces"
    assert min(outcomes.values()) > 50


@needs_compiler
def test_its_sentences_are_those_of_all_calls() -> None:
    told = 0
    for seed in range(300):
        model = CasRegister(failed_cas_observes=seed % 3 == 0)
        columns = CallColumns.of(drawn(seed))
        register = ShortRegister.of(columns, model)
        assert register is not None
        verdict = register.judge()
        if verdict is None or verdict[1] is None:
            continue
        told += 1
        evidence = register.evidence(verdict[1], lambda: False)
        assert evidence is not None
        calls = columns.that_matter_to(model).calls()
        quick = explain(evidence, ValuesOfRegister(register, [evidence], list), model)
        plain = explain(
            evidence_of_search(calls, verdict[1], model), ValuesOfCalls(calls, list, model), model
        )
        assert quick == plain, f"seed {seed}"
    assert told > 50


@needs_compiler
@pytest.mark.parametrize("stale", [False, True])
def test_the_mistake_is_found_at_the_end_of_a_long_history(stale: bool) -> None:
    """One value comes again and again, so zones are not open; the last read is of a value long gone, or not."""
    builder = HistoryBuilder()
    for number in range(3_000):
        builder.invoke(0, "write", number % 5)
        builder.ok(0)
    for answer in (4, 3 if stale else 4):
        builder.invoke(1, "read")
        builder.event(1, "ok", "read", answer)
    verdict = LinearizabilityChecker(CasRegister(), split_by_key=False).check(builder.done(), Limits())
    assert verdict.outcome == (INVALID if stale else VALID)
    if stale:
        (anomaly,) = verdict.anomalies
        assert anomaly.type == "stale read"
        assert [row["index"] for row in anomaly.evidence["minimal_history"]] == [5996, 6000, 6002]
        assert "3 had last been written by process 0" in anomaly.sentence


@needs_compiler
def test_what_has_no_room_is_left_to_the_searches_that_have_it() -> None:
    """Sixty-five clients write at the same time; sixty-four do not trouble it."""
    for clients in (64, 65):
        builder = HistoryBuilder()
        for process in range(clients):
            builder.invoke(process, "write", 1)
        for process in range(clients):
            builder.ok(process)
        columns = CallColumns.of(builder.done())
        register = ShortRegister.of(columns, CasRegister())
        assert register is not None
        assert (register.judge() is None) == (clients == 65)
        (item,) = decide(columns, CasRegister(), Limits())
        assert (item.wrong, item.undecided) == (False, None)


@needs_compiler
def test_zones_keep_what_is_theirs() -> None:
    """With each value written once zones decide, which know all conflicts; with one written twice, the search."""
    for again, way in ((False, ZONES), (True, SEARCH)):
        builder = HistoryBuilder()
        for value in (1, 2, *((1,) if again else ())):
            builder.invoke(0, "write", value)
            builder.ok(0)
        builder.invoke(0, "read")
        builder.event(0, "ok", "read", 1)
        (item,) = decide(CallColumns.of(builder.done()), CasRegister(), Limits())
        assert (item.way, item.wrong) == (way, not again)


AGAIN = ("0 write 1 ok", "0 write 2 ok", "0 write 1 ok", "1 read 1 ok")
"""A value that comes back, so that zones are not open."""


@pytest.mark.parametrize(("answer", "outcome"), [(2, INVALID), (1, VALID)])
def test_a_value_does_not_come_back_by_itself(answer: int, outcome: str) -> None:
    assert judge(story(*AGAIN, f"2 read {answer} ok")).outcome == outcome


@pytest.mark.parametrize(
    ("model", "f"), [(Register(), "cas"), (Register(), "explode"), (CasRegister(), "explode")]
)
def test_a_function_that_the_register_does_not_have_is_told(model: Model, f: str) -> None:
    builder = HistoryBuilder()
    for name, value in (("write", 1), ("write", 1), ("read", 1), (f, [1, 2])):
        builder.invoke(0, name, value)
        builder.ok(0, value)
    with pytest.raises(ValueError, match=f"has no function '{f}'"):
        LinearizabilityChecker(model, split_by_key=False).check(builder.done(), Limits())


def test_what_reads_and_writes_need_not_be_a_register() -> None:
    """What is written is added to what is there."""

    def step(total: int, f: str, argument: Any, answer: Any) -> list[int]:
        return [total + argument] if f == "write" else [total] if answer == total else []

    history = story("0 write 1 ok", "1 read 1 ok", "0 write 1 ok", "1 read 2 ok")
    for model, outcome in ((GivenModel("sum", 0, step), VALID), (Register(), INVALID)):
        assert LinearizabilityChecker(model, split_by_key=False).check(history, Limits()).outcome == outcome


@pytest.mark.parametrize("answer", [1, 2])
def test_columns_that_are_a_view_of_others_are_judged_alike(answer: int) -> None:
    """As a reader of files has them: every other number of an array, or an array that must not be changed."""
    columns = CallColumns.of(story(*AGAIN, f"2 read {answer} ok"))
    fixed = columns.end.copy()
    fixed.flags.writeable = False
    for view in (replace(columns, start=np.repeat(columns.start, 2)[::2]), replace(columns, end=fixed)):
        (item,) = decide(view, CasRegister(), Limits())
        assert item.wrong == (answer == 2)


@needs_compiler
def test_who_has_no_time_for_evidence_gets_none() -> None:
    """What the stale read contradicts lies far behind it."""
    columns = CallColumns.of(story(*AGAIN, *["3 write 5", "3 fail"] * 9, "2 read 2 ok"))
    register = ShortRegister.of(columns, CasRegister())
    assert register is not None
    verdict = register.judge()
    assert verdict is not None
    assert verdict[1] is not None
    assert register.evidence(verdict[1], lambda: True) is None
    found = register.evidence(verdict[1], lambda: False)
    assert found is not None
    assert len(found.calls) == 3
