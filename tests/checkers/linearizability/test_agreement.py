"""On all kinds of tiny histories, brute force, the search and the zones say the same."""

from __future__ import annotations

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from brute_force import is_linearizable
from drawn import register_history
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import CasRegister
from results.history import History, HistoryBuilder
from results.operation import Operation
from results.verdict import VALID, Verdict

LIMITS = Limits(time_s=600)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Anything that up to four processes can do to a register, right or wrong, unique values or not."""
    builder = HistoryBuilder()
    values = st.integers(1, draw(st.sampled_from([2, 3, 5])))
    unique = draw(st.booleans())
    fresh = successors = 0
    busy: dict[int, str] = {}
    numbers = list(range(draw(st.integers(1, 4))))
    left = draw(st.integers(1, 7))
    while left or busy:
        choices = [number for number in numbers if number in busy or left]
        process = draw(st.sampled_from(choices))
        if process not in busy:
            f = draw(st.sampled_from(["read", "write", "cas"]))
            fresh += 1
            new = fresh if unique else draw(values)
            old = draw(st.one_of(st.none(), values))
            builder.invoke(process, f, {"read": None, "write": new, "cas": [old, new]}[f])
            busy[process] = f
            left -= 1
            continue
        f = busy.pop(process)
        how = draw(st.sampled_from(["ok", "ok", "ok", "info", "fail", "never"]))
        if how == "ok":
            if f == "read":
                builder.event(process, "ok", "read", draw(st.one_of(st.none(), values)))
            else:
                builder.ok(process)
        elif how == "fail":
            builder.fail(process)
        else:
            if how == "info":
                builder.info(process)
            successors += 1
            numbers[numbers.index(process)] = 10 + successors
    return builder.done()


def judge(history: History, *, zones: bool, failed_cas_observes: bool = False) -> Verdict:
    model = CasRegister(failed_cas_observes=failed_cas_observes)
    return LinearizabilityChecker(model, False, zones=zones).check(history, LIMITS)


@settings(max_examples=400)
@given(histories())
def test_brute_force_search_and_zones_agree(history: History) -> None:
    expected = is_linearizable(history)
    assert (judge(history, zones=False).outcome == VALID) == expected
    assert (judge(history, zones=True).outcome == VALID) == expected


@settings(max_examples=150)
@given(histories())
def test_brute_force_and_search_agree_where_failed_cas_observe(history: History) -> None:
    expected = is_linearizable(history, failed_cas_observes=True)
    assert (judge(history, zones=True, failed_cas_observes=True).outcome == VALID) == expected


@settings(max_examples=200)
@given(histories())
def test_the_evidence_is_wrong_by_itself_and_nothing_in_it_is_too_much_to_believe(history: History) -> None:
    """Unless it starts in mid-history or reads a cas as a write, brute force condemns the evidence alone too; and
    every event that it names exists."""
    for zones in (True, False):
        for anomaly in judge(history, zones=zones).anomalies:
            rows = anomaly.evidence["minimal_history"]
            assert {row["index"] for row in rows} <= set(anomaly.operations)
            assert len(rows) <= 7
            assert anomaly.sentence
            if not anomaly.evidence["from_any_state"] and all(row["f"] != "cas" for row in rows):
                assert not is_linearizable(_only(history, anomaly.operations))


def _only(history: History, indices: list[int]) -> History:
    """The named events alone, numbered anew."""
    builder = HistoryBuilder()
    for index in sorted(indices):
        event: Operation = history.operations[index]
        builder.event(event.process, event.type, event.f, event.value)
    return builder.done()


def test_zones_and_search_agree_on_longer_drawn_histories() -> None:
    """Both right and lying registers, with crashes and failures; enough of each outcome to mean something."""
    outcomes = []
    for seed in range(150):
        source = random.Random(seed)
        history = register_history(
            source, operations=60, processes=4, values=None, crash=0.1, lie=source.choice([0, 0.1]), fail=0.1
        )
        quick, slow = judge(history, zones=True), judge(history, zones=False)
        assert quick.details["decided_by_zones"] == 1
        assert quick.outcome == slow.outcome, f"seed {seed}"
        outcomes.append(quick.outcome)
    assert 30 < outcomes.count(VALID) < 120


def test_splitting_by_key_agrees_with_judging_each_key_alone() -> None:
    for seed in range(60):
        source = random.Random(seed)
        history = register_history(source, operations=24, processes=3, values=3, keys=3, crash=0.1, lie=0.05)
        expected = all(is_linearizable(_of_key(history, key)) for key in range(3))
        verdict = LinearizabilityChecker(CasRegister()).check(history, LIMITS)
        assert (verdict.outcome == VALID) == expected, f"seed {seed}"


def _of_key(history: History, key: int) -> History:
    builder = HistoryBuilder()
    for event in history.operations:
        if event.value[0] == key:
            builder.event(event.process, event.type, event.f, event.value[1])
    return builder.done()
