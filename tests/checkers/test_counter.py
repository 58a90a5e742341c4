"""The counter checker: each mistake at its smallest beside an innocent twin, and brute force on tiny histories."""

from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import counter_levels_kernel
from checkers.checker import Limits
from checkers.counter import CounterChecker
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import Counter
from results import kernels
from results.history import History, HistoryBuilder
from results.operation import FINAL_PHASE
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story, kinds, random_history, some_order


def story() -> Story:
    return Story()


def test_a_read_after_an_add_has_to_see_it() -> None:
    assert story().did(0, "add", 3).did(1, "read", None, 3).judged(CounterChecker()).outcome == VALID
    verdict = story().did(0, "add", 3).did(1, "read", None, 0).judged(CounterChecker())
    assert kinds(verdict) == ["counter too low"]
    assert "process 1 (0.002–0.003 s) saw 0" in verdict.sentence
    assert "come to 3 at least" in verdict.sentence
    assert verdict.anomalies[0].operations == [2, 3]


def test_a_failed_add_must_not_count_and_one_of_unknown_outcome_may() -> None:
    assert kinds(story().failed(0, "add", 3).did(1, "read", None, 3).judged(CounterChecker())) == [
        "counter too high"
    ]
    for value in (0, 3):
        assert (
            story().crashed(0, "add", 3).did(1, "read", None, value).judged(CounterChecker()).outcome == VALID
        )
    flapping = story().crashed(0, "add", 3).did(1, "read", None, 3).did(1, "read", None, 0)
    assert kinds(flapping.judged(CounterChecker())) == ["counter went backwards"]


def test_a_value_between_the_bounds_that_no_adds_come_to() -> None:
    told = story()
    told.invoke(0, "add", 5)
    told.invoke(1, "add", 7)
    told.did(2, "read", None, 6)
    verdict = told.judged(CounterChecker())
    assert kinds(verdict) == ["impossible sum"]
    assert "no choice among the adds that were open during it (5, 7)" in verdict.sentence
    told = story()
    told.invoke(0, "add", 5)
    told.invoke(1, "add", 7)
    assert told.did(2, "read", None, 7).judged(CounterChecker()).outcome == VALID


@pytest.mark.parametrize("huge", [10**6, 10**18, 10**30])
def test_sums_far_apart_are_looked_at_where_they_are_few(huge: int) -> None:
    """Amounts of both signs, too far apart for a bit each: four crashed adds come to sixteen sums at most."""
    for value, outcome in ((3, VALID), (huge, VALID), (huge - 1, INVALID), (2, INVALID), (-huge + 3, VALID)):
        told = (
            story().crashed(0, "add", huge).crashed(1, "add", -huge).crashed(2, "add", 3).crashed(3, "add", 7)
        )
        verdict = told.did(4, "read", None, value).judged(CounterChecker())
        assert verdict.outcome == outcome, value
        if outcome == INVALID:
            assert kinds(verdict) == ["impossible sum"]


def test_more_sums_than_can_be_looked_at_are_left_to_the_search() -> None:
    told = story()
    for number in range(12):
        told.crashed(number, "add", 10**6 * 2**number + 1)
        told.crashed(20 + number, "add", -(10**7) * 3**number)
    assert told.did(99, "read", None, 7).judged(CounterChecker(), Limits(time_s=1)).outcome in (
        UNKNOWN,
        INVALID,
    )


def test_the_second_of_two_adds_cannot_count_without_the_first() -> None:
    """Both overlap the read, but one process made them one after the other."""
    for value, outcome in ((5, VALID), (12, VALID), (0, VALID), (7, INVALID)):
        told = story()
        told.invoke(2, "read")
        told.did(0, "add", 5).did(0, "add", 7)
        told.ok(2, value)
        assert told.judged(CounterChecker()).outcome == outcome, value


def test_decrements_make_a_counter_fall() -> None:
    told = story().did(0, "add", 5).did(1, "read", None, 5).did(0, "add", -3).did(1, "read", None, 2)
    assert told.judged(CounterChecker()).outcome == VALID
    told = story().did(0, "add", -5).did(1, "read", None, -5).did(1, "read", None, 0)
    assert kinds(told.judged(CounterChecker())) == ["counter too high"]


def test_a_read_during_a_rise_and_a_fall_may_see_the_peak() -> None:
    """A bound at the read's begin and end alone would miss what was true in between."""
    told = story()
    told.invoke(1, "read")
    told.did(0, "add", 10).did(0, "add", -10)
    told.ok(1, 10)
    assert told.judged(CounterChecker()).outcome == VALID


def test_reads_that_fit_the_adds_may_contradict_each_other() -> None:
    """Two adds of one happen between two reads, of which the later saw only one more; a third, crashed add would
    explain each of the reads by itself."""
    told = story().crashed(9, "add", 1).did(1, "read", None, 1)
    told.did(0, "add", 1).did(0, "add", 1)
    assert told.did(1, "read", None, 3).judged(CounterChecker()).outcome == VALID
    told = story().crashed(9, "add", 1).did(1, "read", None, 1)
    told.did(0, "add", 1).did(0, "add", 1)
    verdict = told.did(1, "read", None, 2).judged(CounterChecker())
    assert kinds(verdict) == ["adds lost between reads"]
    assert "2 adds of 1 began and ended between them" in verdict.sentence
    assert verdict.anomalies[0].operations == [2, 3, 4, 5, 6, 7, 8, 9]


def test_an_add_between_two_equal_reads() -> None:
    """Brute force found it: the first read counts a crashed add, the second should count one more."""
    for amount in (1, -1):
        told = Story().crashed(0, "add", amount).did(1, "read", None, amount).did(2, "add", amount)
        assert kinds(told.did(1, "read", None, amount).judged(CounterChecker())) == [
            "adds lost between reads"
        ]
    assert (
        story().crashed(0, "add", 1).did(2, "add", 1).did(1, "read", None, 1).judged(CounterChecker()).outcome
        == VALID
    )


def test_adds_between_reads_that_saw_fewer_more() -> None:
    """Of four adds the first ends between the reads of 1 and 2, the next two between those of 1 and 3 and of 2 and 4,
    and the last one between those of 3 and 4. Only three of them were counted: with the crashed one that is 4."""

    def told(*last: int) -> Story:
        told = story().crashed(9, "add", 1).did(5, "read", None, 1).did(0, "add", 1)
        for process, value in ((1, 2), (2, 3)):
            told.invoke(process, "add", 1)
            told.did(5, "read", None, value)
            told.ok(process)
        told.did(3, "add", 1)
        for value in last:
            told.did(5, "read", None, value)
        return told

    assert told(5).judged(CounterChecker()).outcome == VALID
    verdict = told(4).judged(CounterChecker())
    assert kinds(verdict) == ["adds lost between reads"]
    assert "4 adds of 1 began and ended between them" in verdict.sentence
    assert verdict.anomalies[0].operations == [2, 3, 4, 5, 6, 9, 10, 13, 14, 15, 16, 17]


def test_an_add_that_was_lost_is_not_made_up_for_later() -> None:
    """Two adds between the reads of 1 and 2; another crashed one explains the 3."""
    for values, outcome in (((3,), VALID), ((2, 3), INVALID), ((3, 4), VALID)):
        told = story().crashed(8, "add", 1).crashed(9, "add", 1).did(1, "read", None, 1)
        told.did(0, "add", 1).did(0, "add", 1)
        for value in values:
            told.did(1, "read", None, value)
        assert told.judged(CounterChecker()).outcome == outcome, values


def test_adds_of_twos_never_come_to_an_odd_number() -> None:
    told = story()
    told.invoke(0, "add", 2)
    told.invoke(1, "add", -4)
    assert kinds(told.did(2, "read", None, -1).judged(CounterChecker())) == ["impossible sum"]
    told = story().crashed(0, "add", 4).crashed(1, "add", 6)
    assert kinds(told.did(2, "read", None, 3).judged(CounterChecker())) == ["impossible sum"], "told once"


def test_an_eventual_counter_may_be_stale_until_the_end() -> None:
    checker = CounterChecker(eventual=True)
    stale = story().did(0, "add", 3).did(1, "read", None, 0)
    assert stale.did(1, "read", None, 3).judged(checker).outcome == VALID
    assert kinds(story().did(0, "add", 3).did(1, "read", None, 0).judged(checker)) == ["counter too low"]
    reordered = story().did(0, "add", 5).did(0, "add", -5).did(1, "read", None, -5)
    assert reordered.did(1, "read", None, 0).judged(checker).outcome == VALID
    invented = story().did(0, "add", 3).did(1, "read", None, 9).did(1, "read", None, 3)
    assert kinds(invented.judged(checker)) == ["counter too high"]
    low = story().did(0, "add", -3).did(0, "add", 1).did(1, "read", None, -4).did(1, "read", None, -2)
    verdict = low.judged(checker)
    assert kinds(verdict) == ["counter too low"]
    assert "saw -4, but all adds that had begun by its end come to -3 at least" in verdict.sentence
    missed = story().did(0, "add", -3).did(0, "add", 1).did(1, "read", None, -3).did(1, "read", None, -3)
    assert (
        "saw -3, but the adds that had ended before, and no others, come to -2"
        in missed.judged(checker).sentence
    )
    odd = story().did(0, "add", 5).did(1, "read", None, 4).did(0, "add", 5)
    assert kinds(odd.did(1, "read", None, 10).judged(checker)) == ["impossible sum"]
    some = story().did(0, "add", 5).did(1, "read", None, 5).did(0, "add", 5)
    assert some.did(1, "read", None, 10).judged(checker).outcome == VALID
    unfinished = story().did(1, "read", None, 0).did(0, "add", 3)
    assert unfinished.judged(checker).outcome == UNKNOWN
    early = story().did(1, "read", None, 1).did(0, "add", 3).did(1, "read", None, 3)
    assert kinds(early.judged(checker)) == ["counter too high"]
    begun = story()
    begun.invoke(0, "add", 3)
    begun.did(1, "read", None, 3)
    begun.ok(0)
    assert begun.did(1, "read", None, 3).judged(checker).outcome == VALID


@pytest.mark.parametrize("values", list(itertools.permutations((0, 3, 3))))
def test_the_last_read_of_each_process_has_to_see_everything(values: tuple[int, ...]) -> None:
    told = story().did(0, "add", 3)
    for process, value in enumerate(values, 1):
        told.did(process, "read", None, value)
    assert kinds(told.judged(CounterChecker(eventual=True))) == ["counter too low"]


def test_where_there_is_a_final_phase_its_reads_have_to_see_everything() -> None:
    """And no others, though one is the last of its process."""
    for stale, phase, outcome in ((1, FINAL_PHASE, INVALID), (2, FINAL_PHASE, VALID), (2, "main", INVALID)):
        told = story().did(0, "add", 3)
        told.did(2, "read", None, 0)
        for value in (0 if stale == 1 else 3, 3):
            told.invoke(1, "read", phase=phase)
            told.ok(1, value)
        assert told.judged(CounterChecker(eventual=True)).outcome == outcome, (stale, phase)


def test_without_an_answer_nothing_is_known() -> None:
    """Where nobody asked, nothing can be wrong; where all questions failed, it may be."""
    assert story().did(0, "add", 1).judged(CounterChecker()).outcome == VALID
    verdict = story().did(0, "add", 1).failed(1, "read").judged(CounterChecker())
    assert verdict.outcome == UNKNOWN
    assert "none of 1 read succeeded" in verdict.sentence


def test_values_that_are_no_numbers_are_told_and_hide_nothing() -> None:
    strange = story().did(0, "add", [1]).did(1, "read", None, 0).did(1, "read", None, float("nan"))
    verdict = strange.judged(CounterChecker())
    assert verdict.outcome == UNKNOWN
    assert "2 values are not whole numbers" in verdict.sentence
    assert "event 0, add: [1]" in verdict.sentence or "event 1, add: [1]" in verdict.sentence
    assert story().did(0, "add", 3.0).did(1, "read", None, 3.0).judged(CounterChecker()).outcome == VALID
    worse = story().did(1, "read", None, 7).did(0, "add", True).judged(CounterChecker())
    assert worse.outcome == INVALID


def test_an_add_of_no_number_may_explain_what_was_read_later() -> None:
    for value in (5, 7):
        assert (
            story().did(0, "add", "5").did(1, "read", None, value).judged(CounterChecker()).outcome == UNKNOWN
        )
    assert story().failed(0, "add", "5").did(1, "read", None, 5).judged(CounterChecker()).outcome == INVALID
    for value, outcome in ((3, UNKNOWN), (2, INVALID)):
        told = story().did(0, "add", 3).did(1, "read", None, value).did(0, "add", "5").did(1, "read", None, 8)
        assert told.judged(CounterChecker()).outcome == outcome


def test_reads_of_different_amounts_may_contradict_each_other() -> None:
    """Each read is right alone: with 3 and with 5 added. But 3 was there, and nothing takes it away."""

    def told(*values: int) -> Story:
        told = story()
        told.invoke(8, "add", 3)
        told.invoke(9, "add", 5)
        told.invoke(7, "add", -1)
        for value in values:
            told.did(1, "read", None, value)
        return told

    assert told(3, 8).judged(CounterChecker()).outcome == VALID
    assert told(3, 2, 7).judged(CounterChecker()).outcome == VALID
    for values in ((3, 5), (3, 2, 4), (-1, 3), (5, 4, 5)):
        verdict = told(*values).judged(CounterChecker())
        assert verdict.outcome == INVALID, values
        assert verdict.anomalies[0].operations


def test_a_counter_that_falls_too_may_be_read_as_if_it_grew() -> None:
    """Two reads of 2, of which one alone would show nothing but adds; with another add, -3 explains them no more."""
    for sign in (1, -1):
        told = story().crashed(9, "add", -3 * sign).did(0, "add", 5 * sign)
        told.did(1, "read", None, 2 * sign).did(1, "read", None, 2 * sign)
        assert told.judged(CounterChecker()).outcome == VALID
        told.did(0, "add", 7 * sign).did(1, "read", None, 12 * sign)
        assert told.judged(CounterChecker()).outcome == INVALID


def test_the_first_read_of_all_is_one_that_later_reads_must_not_go_behind() -> None:
    for amount in (1, -1):
        back = story().crashed(8, "add", amount).did(1, "read", None, 0).did(1, "read", None, amount)
        assert kinds(back.did(1, "read", None, 0).judged(CounterChecker())) == ["counter went backwards"]
    for values, outcome in (((3, 5), VALID), ((5, 3), INVALID)):
        told = story().crashed(8, "add", 2).crashed(9, "add", 3)
        for value in values:
            told.did(1, "read", None, value)
        verdict = told.judged(CounterChecker())
        assert verdict.outcome == outcome
        assert kinds(verdict) == (["counter went backwards"] if outcome == INVALID else [])


@pytest.mark.parametrize("sign", [1, -1])
def test_what_no_order_explains_is_told_with_the_value_before(sign: int) -> None:
    told = story().crashed(8, "add", 3 * sign).crashed(9, "add", 5 * sign)
    verdict = told.did(1, "read", None, 3 * sign).did(2, "read", None, 5 * sign).judged(CounterChecker())
    assert f"process 2 read {5 * sign}" in verdict.sentence
    assert f"leads from the value that was read before to that, {3 * sign}" in verdict.sentence
    assert {4, 5, 6, 7} <= set(verdict.anomalies[0].operations)
    more = told.did(3, "read", None, 8 * sign).judged(CounterChecker())
    assert more.sentence == verdict.sentence, "the first value that cannot be reached"


def test_what_levels_or_equal_amounts_decide_is_no_question_of_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checkers.counter._MOST_BITS", 2)
    monkeypatch.setattr("checkers.counter._MOST_SUMS", 2)
    for amounts, values, outcome in (
        ((1, 1, 1), (1,), VALID),
        ((2, 2, 2), (4,), VALID),
        ((-3, -3, -3), (-3,), VALID),
        ((5, 7, 11), (5, 16), VALID),
        ((5, -7, 11), (4,), UNKNOWN),
        ((5, -7, 11), (16,), VALID),
        ((5, -7, 11), (-7,), VALID),
    ):
        for before in (0, amounts[0]):
            told = story()
            if before:
                told.did(0, "add", before)
            for number, amount in enumerate(amounts, 1):
                told.crashed(number, "add", amount)
            for value in values:
                told.did(9, "read", None, before + value)
            assert told.judged(CounterChecker()).outcome == outcome, (amounts, values, before)


@pytest.mark.parametrize("seed", range(5))
def test_moments_that_no_read_needs_any_more_are_dropped(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads that begin early and end late, a third of them with another answer; what is wrong stays wrong."""
    draw = random.Random(seed)
    events = list(simulated(draw, 80, 8, (1, -2, 5, -9), 0.0).operations)
    for number, event in enumerate(events):
        if event.f == "read" and event.type == "ok" and draw.random() < 0.3:
            events[number] = msgspec.structs.replace(event, value=event.value + draw.choice([-3, -1, 1, 2]))
    history = History(events)
    verdict = CounterChecker().check(history, Limits())
    assert "impossible sum" in kinds(verdict)
    for most in (0, 2):
        monkeypatch.setattr("checkers.counter._MOST_KEPT", most)
        assert CounterChecker().check(history, Limits()).anomalies == verdict.anomalies


def test_a_read_that_there_was_no_time_for_is_not_right() -> None:
    told = story().crashed(1, "add", 4).crashed(2, "add", -6)
    for _ in range(1_030):
        told.did(0, "add", 3).did(0, "add", -3)
    history = told.did(3, "read", None, 1).done()
    assert kinds(CounterChecker().check(history, Limits())) == ["impossible sum"]
    ticks = itertools.count()
    verdict = CounterChecker().check(history, Limits(time_s=0.5, clock=lambda: float(next(ticks))))
    assert verdict.outcome == UNKNOWN
    assert "1 read within the bounds could not be judged" in verdict.sentence


def test_what_the_search_cannot_decide_is_unknown() -> None:
    told = story()
    for process in range(30):
        told.crashed(process, "add", (-1) ** process * (1000 + process * 37))
    for value in (0, 37, 0, 111, 37):
        told.did(99, "read", None, value)
    ticks = itertools.count()
    verdict = told.judged(CounterChecker(), Limits(time_s=3, clock=lambda: float(next(ticks))))
    assert verdict.outcome == UNKNOWN
    assert "ran out" in verdict.sentence or "too many sums" in verdict.sentence


def test_numbers_beyond_64_bits() -> None:
    huge = 10**30
    assert story().did(0, "add", huge).did(1, "read", None, huge).judged(CounterChecker()).outcome == VALID
    verdict = story().did(0, "add", huge).did(1, "read", None, huge + 1).judged(CounterChecker())
    assert kinds(verdict) == ["counter too high"]
    for amounts in ((huge,), (huge, huge), (huge, 2 * huge), (huge, -2 * huge)):
        for values, outcome in (((0,), VALID), ((0, 0), VALID), ((1,), INVALID), ((0, 1), INVALID)):
            told = story()
            for process, amount in enumerate(amounts):
                told.crashed(process, "add", amount)
            for value in values:
                told.did(9, "read", None, value)
            assert told.judged(CounterChecker()).outcome == outcome, (amounts, values)
    mixed = story().did(0, "add", huge).did(0, "add", -1).did(1, "read", None, huge - 1)
    assert mixed.judged(CounterChecker()).outcome == VALID


def test_too_many_sums_are_not_guessed_at() -> None:
    told = story()
    for process in range(40):
        told.crashed(process, "add", 1000 + process * 37)
    assert told.did(99, "read", None, 12_345).judged(CounterChecker()).outcome == UNKNOWN
    assert kinds(told.did(99, "read", None, -1).judged(CounterChecker())) == ["counter too low"]


def test_other_initial_values() -> None:
    assert story().did(1, "read", None, 10).judged(CounterChecker(initial=10)).outcome == VALID
    assert story().did(1, "read", None, 0).judged(CounterChecker(initial=10)).outcome == INVALID
    told = story().did(0, "add", 3).did(1, "read", None, 11).judged(CounterChecker(initial=10))
    assert "saw 11" in told.sentence
    assert "come to 13 at least" in told.sentence
    assert told.anomalies[0].evidence["first_value"] == 11


def step(state: int, pair) -> int | None:
    if pair.f == "add":
        return state + pair.invocation.value
    return state if pair.completion.value == state else None


def simulated(
    draw: random.Random, operations: int, clients: int, amounts: tuple[int, ...], crash: float
) -> History:
    """What a counter answers whose operations take effect at some moment while they run."""
    builder = HistoryBuilder()
    value = 0
    running: dict[int, list[Any]] = {}
    idle = list(range(clients))
    fresh = itertools.count(clients)
    for _ in range(6 * operations):
        if idle and operations and draw.random() < 0.5:
            process = idle.pop(draw.randrange(len(idle)))
            amount = draw.choice([None, draw.choice(amounts)])
            builder.invoke(process, "read" if amount is None else "add", amount)
            running[process] = [amount, None]
            operations -= 1
        elif running:
            process = draw.choice(sorted(running))
            amount, answer = running[process]
            if answer is None:
                value += amount or 0
                running[process][1] = value if amount is None else amount
            elif draw.random() < crash:
                builder.info(process)
                del running[process]
                idle.append(next(fresh))
            else:
                builder.ok(process, answer)
                del running[process]
                idle.append(process)
    return builder.done()


def counters(
    amounts: st.SearchStrategy[int], values: st.SearchStrategy[int], most: int = 7
) -> st.SearchStrategy[History]:
    @st.composite
    def drawn(draw: st.DrawFn) -> History:
        operations = draw(
            st.lists(
                st.one_of(amounts.map(lambda n: ("add", n)), st.just(("read", None))),
                min_size=1,
                max_size=most,
            )
        )
        return random_history(
            lambda least, most: draw(st.integers(least, most)),
            operations,
            lambda f, asked: asked if f == "add" else draw(values),
        )

    return drawn()


@given(counters(st.just(1), st.integers(0, 3)))
def test_equal_amounts_are_decided_exactly(history: History) -> None:
    verdict = CounterChecker().check(history, Limits())
    reads = [pair for pair in history.pairs() if pair.f == "read" and pair.type == "ok"]
    if not reads:
        only_adds = all(pair.f == "add" for pair in history.pairs())
        added = any(pair.type != "fail" for pair in history.pairs())
        assert verdict.outcome == (VALID if only_adds and added else UNKNOWN)
        return
    expected = some_order(_without_crashed_reads(history), 0, step, {"add", "read"})
    assert (verdict.outcome == VALID) == expected, verdict.sentence


@settings(max_examples=400)
@given(counters(st.sampled_from([1, 2, 3, 5]), st.integers(0, 11), most=9), st.sampled_from([1, -1]))
def test_amounts_of_one_sign_are_decided_exactly(history: History, sign: int) -> None:
    operations = [
        msgspec.structs.replace(
            event, value=event.value * sign if isinstance(event.value, int) else event.value
        )
        for event in history.operations
    ]
    history = History(operations)
    verdict = CounterChecker().check(history, Limits())
    if any(pair.f == "read" and pair.type == "ok" for pair in history.pairs()):
        expected = some_order(_without_crashed_reads(history), 0, step, {"add", "read"})
        assert (verdict.outcome == VALID) == expected, verdict.sentence
        assert verdict.details.get("decided_by") != "search"


@pytest.mark.parametrize(("clients", "crash"), [(4, 0.0), (12, 0.0), (12, 0.02)])
@pytest.mark.parametrize("amounts", [(1, 2, 3, 4, 5), (3, 7, 70), (-1, -4)])
def test_what_a_right_counter_answers_is_right(clients: int, crash: float, amounts: tuple[int, ...]) -> None:
    """And an answer that another moment than its own would have had, hundreds of operations later, is not."""
    history = simulated(random.Random(3), 400, clients, amounts, crash)
    verdict = CounterChecker().check(history, Limits())
    assert verdict.outcome == VALID, verdict.sentence
    assert verdict.details["decided_by"] == "levels"


@pytest.mark.parametrize("seed", range(6))
def test_levels_and_search_agree(seed: int) -> None:
    """On counters that were right but for one read, which may or may not be possible all the same."""
    draw = random.Random(seed)
    events = list(simulated(draw, 60, 6, (1, 2, 4), 0.05).operations)
    at = draw.choice(
        [number for number, event in enumerate(events) if event.f == "read" and event.type == "ok"]
    )
    events[at] = msgspec.structs.replace(events[at], value=events[at].value + draw.choice([-1, 1, 2]))
    history = History(events)
    searched = LinearizabilityChecker(Counter(), split_by_key=False).check(history, Limits())
    assert CounterChecker().check(history, Limits()).outcome == searched.outcome != UNKNOWN


def test_where_levels_leave_too_many_choices_the_search_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checkers.counter_levels.MOST", 1)
    monkeypatch.setattr("checkers.counter_levels.PATIENCE", -1_000)
    history = simulated(random.Random(3), 100, 8, (1, 2, 3), 0.0)
    verdict = CounterChecker().check(history, Limits())
    assert (verdict.outcome, verdict.details["decided_by"]) == (VALID, "search")


@pytest.mark.parametrize("seed", range(12))
def test_all_ways_through_the_levels_say_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One choice at a time, compiled and interpreted, and all choices at a time; with crashes, and one wrong read in
    half of the histories."""
    draw = random.Random(seed)
    events = list(simulated(draw, 80, 6, (1, 2, 4, 7), draw.choice([0.0, 0.1])).operations)
    if seed % 2:
        reads = [n for n, event in enumerate(events) if event.f == "read" and event.type == "ok"]
        at = draw.choice(reads)
        events[at] = msgspec.structs.replace(events[at], value=events[at].value + draw.choice([-2, -1, 1, 2]))
    history = History(events)
    verdicts = [CounterChecker().check(history, Limits())]
    interpreted = kernels.load_interpreted(counter_levels_kernel)
    monkeypatch.setattr("checkers.counter_levels.counter_levels_kernel", interpreted)
    verdicts.append(CounterChecker().check(history, Limits()))
    monkeypatch.setattr("checkers.counter_levels.PATIENCE", -1_000)
    verdicts.append(CounterChecker().check(history, Limits()))
    assert len({verdict.outcome for verdict in verdicts}) == 1
    assert len({tuple(kinds(verdict)) for verdict in verdicts}) == 1
    assert all(verdict.details.get("decided_by") != "search" for verdict in verdicts)


@pytest.fixture(params=["one choice at a time", "interpreted", "all choices"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Levels are gone through in this way only."""

    def not_asked(*_: Any) -> None:
        pytest.fail("one choice at a time is enough for what is so small")

    if request.param != "all choices":
        monkeypatch.setattr("checkers.counter_levels._follow_all", not_asked)
    if request.param == "interpreted":
        interpreted = kernels.load_interpreted(counter_levels_kernel)
        monkeypatch.setattr("checkers.counter_levels.counter_levels_kernel", interpreted)
    if request.param == "all choices":
        monkeypatch.setattr("checkers.counter_levels.PATIENCE", -1_000)
    return request.param


@pytest.mark.parametrize("seed", range(3))
def test_every_way_through_the_levels_says_what_brute_force_says(seed: int, way: str) -> None:
    """On counters of a few operations of which up to two reads are wrong."""
    draw = random.Random(seed)
    for _ in range(60):
        events = list(simulated(draw, 8, 5, (1, 2, 3, 5), 0.2).operations)
        reads = [n for n, event in enumerate(events) if event.f == "read" and event.type == "ok"]
        for at in draw.sample(reads, min(len(reads), draw.randrange(3))):
            value = max(0, events[at].value + draw.choice([-3, -2, -1, 1, 2]))
            events[at] = msgspec.structs.replace(events[at], value=value)
        history = History(events)
        if reads:
            expected = some_order(_without_crashed_reads(history), 0, step, {"add", "read"})
            verdict = CounterChecker().check(history, Limits())
            assert (verdict.outcome == VALID) == expected, verdict.sentence


def levels(*told: Any) -> Story:
    """`n`: a crashed add of so much; `(process, n)`: an add that begins; `process` alone as a text: it ends;
    `[n]`: a read of n."""
    grown = story()
    for number, one in enumerate(told):
        match one:
            case int():
                grown.crashed(100 + number, "add", one)
            case (process, amount):
                grown.invoke(process, "add", amount)
            case str():
                grown.ok(int(one))
            case [value]:
                grown.did(99, "read", None, value)
    return grown


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ((5, 2, [2], [7]), VALID),
        ((5, 2, [2], [5]), INVALID),
        ((5, 2, 3, [2], [5]), VALID),
        ((5, 2, [2], [5], 3), INVALID),
        ((3, 1, 1, [3], (7, 2), "7", [5]), VALID),
        ((3, 1, 1, [3], (7, 2), "7", [4]), INVALID),
        (((7, 2), 1, 3, [3], [4], [6], "7"), VALID),
        (((7, 2), 1, 3, [3], [4], [5], "7"), INVALID),
        ((1, (7, 1), (8, 2), [2], [3], "7", "8"), VALID),
        (((7, 1), 2, 3, [3], (8, 3), [6], [8], "7", "8"), VALID),
        ((3, (7, 3), (8, 2), [5], [7], "7", "8"), INVALID),
        ((3, 3, 2, 2, [7], [7]), VALID),
        ((3, 3, 2, 2, [7], [8]), INVALID),
        (((7, 5), (8, 3), 6, [3], [8], "7", "8"), VALID),
        (((7, 5), (8, 3), 6, [3], [6], "7", "8"), INVALID),
        (((7, 5), (8, 3), 3, 9, [3], [6], "7", "8"), VALID),
        (((7, 5), (8, 3), 3, 9, [6], [9], "7", "8"), INVALID),
    ],
)
def test_what_may_be_added_between_two_reads(told: tuple[Any, ...], outcome: str, way: str) -> None:
    """Each read is right alone; together they need an add that comes too late, or one of them twice."""
    assert levels(*told).judged(CounterChecker()).outcome == outcome


@pytest.mark.parametrize(("late", "outcome"), [(False, VALID), (True, INVALID)])
def test_who_saw_less_saw_it_before_the_read_of_more_had_ended(late: bool, outcome: str, way: str) -> None:
    """The read of 4 goes on after that of 7, but came before it; an add of 4 that begins after the 7 is too late."""
    told = story()
    told.invoke(1, "read")
    told.crashed(7, "add", 7).crashed(8, "add", 3)
    if not late:
        told.crashed(9, "add", 4)
    told.did(2, "read", None, 7)
    if late:
        told.crashed(9, "add", 4)
    told.ok(1, 4)
    verdict = told.judged(CounterChecker())
    assert verdict.outcome == outcome
    assert kinds(verdict) == (["reads that no order explains"] if late else [])


@pytest.mark.parametrize(("after", "outcome"), [(False, VALID), (True, INVALID)])
def test_a_crashed_add_comes_not_before_one_that_had_ended_when_it_began(
    after: bool, outcome: str, way: str
) -> None:
    """A long read sees the crashed 3 without the 2."""
    told = story()
    told.invoke(1, "read")
    told.invoke(7, "add", 2)
    if after:
        told.ok(7)
    told.crashed(8, "add", 3)
    if not after:
        told.ok(7)
    told.ok(1, 3)
    assert told.did(1, "read", None, 5).judged(CounterChecker()).outcome == outcome


@pytest.mark.parametrize("other", [2, -2])
@pytest.mark.parametrize("crashes", [False, True])
def test_an_add_between_two_equal_reads_is_not_made_up_for_by_another_amount(
    other: int, crashes: bool, way: str
) -> None:
    """It fits neither before the first of them nor after the second, though a later read has it."""
    sign = 1 if other > 0 else -1

    def told(*between: str, last: int | None = None) -> Story:
        told = story()
        told.invoke(7, "add", sign)
        told.did(1, "read", None, sign)
        told.invoke(8, "add", sign)
        for process in between:
            told.ok(int(process))
        told.did(1, "read", None, sign)
        told.ok(7)
        if not between:
            told.ok(8)
        told.crashed(9, "add", other) if crashes else told.did(9, "add", other)
        return told if last is None else told.did(1, "read", None, last)

    all_of_them = 2 * sign + other
    assert told().judged(CounterChecker()).outcome == VALID
    assert told(last=all_of_them).judged(CounterChecker()).outcome == VALID
    for last in (None, all_of_them):
        verdict = told("8", last=last).judged(CounterChecker())
        assert kinds(verdict) == ["adds lost between reads"]
        assert f"but 1 add of {sign} began and ended between them" in verdict.sentence
        assert verdict.anomalies[0].operations == [1, 2, 3, 4, 5, 6]


def test_adds_lost_between_reads_are_told_of_the_first_value(way: str) -> None:
    told = story()
    told.invoke(5, "add", 4)
    told.crashed(6, "add", 1).crashed(7, "add", 3)
    told.did(1, "read", None, 4).did(2, "add", 1).did(3, "add", 2).did(1, "read", None, 4)
    told.did(1, "read", None, 10).did(4, "add", 3).did(1, "read", None, 10)
    verdict = told.judged(CounterChecker())
    assert kinds(verdict) == ["adds lost between reads"]
    assert "but 2 adds of 1, 2 began and ended between them" in verdict.sentence
    assert verdict.anomalies[0].operations == [5, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("patience", [64, -1_000])
def test_where_not_all_sums_were_looked_at_nobody_is_accused(
    patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkers.counter_levels.MOST", 1)
    monkeypatch.setattr("checkers.counter_levels.PATIENCE", patience)
    verdict = levels(2, 3, [5], [5]).judged(CounterChecker())
    assert (verdict.outcome, verdict.details["decided_by"]) == (VALID, "search")


def test_levels_of_numbers_beyond_64_bits() -> None:
    """They are followed all at a time."""
    huge = 10**30
    told = story()
    told.invoke(7, "add", 1)
    told.did(1, "read", None, 1).did(8, "add", 1).did(1, "read", None, 1)
    told.ok(7)
    assert kinds(told.did(9, "add", huge).judged(CounterChecker())) == ["adds lost between reads"]
    told = story()
    told.invoke(8, "add", 3 * huge)
    told.invoke(9, "add", 5 * huge)
    told.did(1, "read", None, 3 * huge)
    assert told.did(1, "read", None, 8 * huge).judged(CounterChecker()).outcome == VALID
    told = story()
    told.invoke(8, "add", 3 * huge)
    told.invoke(9, "add", 5 * huge)
    told.did(1, "read", None, 3 * huge)
    assert kinds(told.did(1, "read", None, 5 * huge).judged(CounterChecker())) == [
        "reads that no order explains"
    ]


@given(counters(st.sampled_from([-2, 1, 3, 7]), st.integers(-3, 11)))
def test_each_read_alone_is_decided_exactly(history: History) -> None:
    """With all other reads left out, brute force and checker agree, and with all."""
    reads = [pair for pair in history.pairs() if pair.f == "read" and pair.type == "ok"]
    verdict = CounterChecker().check(history, Limits())
    if not reads:
        only_adds = all(pair.f == "add" for pair in history.pairs())
        added = any(pair.type != "fail" for pair in history.pairs())
        assert verdict.outcome == (VALID if only_adds and added else UNKNOWN)
        return
    possible = []
    for read in reads:
        alone = History(
            [
                operation
                for operation in _renumbered(
                    history, keep=lambda pair, read=read: pair.f == "add" or pair is read
                )
            ]
        )
        expected = some_order(alone, 0, step, {"add", "read"})
        assert (CounterChecker().check(alone, Limits()).outcome == VALID) == expected
        possible.append(expected)
    if not all(possible):
        assert verdict.outcome == INVALID
    expected = some_order(_without_crashed_reads(history), 0, step, {"add", "read"})
    assert (verdict.outcome == VALID) == expected, verdict.sentence


def _without_crashed_reads(history: History) -> History:
    return History(_renumbered(history, keep=lambda pair: pair.f == "add" or pair.type == "ok"))


def _renumbered(history: History, keep) -> list:
    kept = {index for pair in history.pairs() if keep(pair) for index in pair.indices}
    events = [event for event in history.operations if event.index in kept]
    return [msgspec.structs.replace(event, index=number) for number, event in enumerate(events)]
