"""All histories up to a stated size against brute force: what a drawn history may miss, these do not.

Of two values that only differ by name one is always met first. The slow tests look at each fifth history, or at all
with HARNESS_FULL_SIZES.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice, permutations, product
from typing import Any

import pytest

from checkers.checker import Checker, Limits
from checkers.counter import CounterChecker
from checkers.isolation import polygraph_checker
from checkers.isolation.list_append import ListAppendChecker
from checkers.isolation.rw_register import BETWEEN, RwRegisterChecker
from checkers.isolation.weak_levels import LEVELS as WEAK_LEVELS
from checkers.isolation.weak_levels import check_weak
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import CasRegister, Counter, FifoQueue, GrowSet, Model, RemovableSet
from checkers.queue import QueueChecker
from results.history import History
from results.transaction_columns import transactions_of
from results.verdict import INVALID, UNKNOWN, VALID
from tests.checkers.isolation import brute_serial, brute_weak
from tests.checkers.isolation.play import is_serializable, is_snapshot_isolated, sees_consistently
from tests.checkers.isolation.registers import Transaction, columns
from tests.checkers.small_histories import Outcome, histories, interleavings, outcomes, told_as
from tests.checkers.synthetic import axioms
from tests.support.sizes import sized
from tests.support.stories import some_order

LIMITS = Limits(time_s=600)
EVERY = sized(1, 5)
"""Of the histories of slow tests, one of so many is looked at."""

WRITES = [one for value in (0, 1) for one in outcomes("write", value, "ok", "fail", "info")]
READS = outcomes("read", None, "ok", "fail", "info", answers=[0, 1]) + outcomes("read", None, "ok")
CASES = [one for old in (0, 1) for new in (0, 1) for one in outcomes("cas", [old, new], "ok", "fail", "info")]


def certain(kinds: Sequence[Outcome]) -> list[Outcome]:
    """Without the operations that say nothing: those that failed, and reads that nobody answered."""
    return [
        one for one in kinds if one.type == "ok" or (one.type == "info" and one.f not in ("read", "dequeue"))
    ]


def register_step(state: Any, pair: Any) -> Any:
    """States are wrapped, as None is one: a step that cannot be taken answers None."""
    (value,) = state
    asked = pair.invocation.value
    if pair.f == "write":
        return (asked,)
    if pair.f == "cas":
        return (asked[1],) if value == asked[0] else None if pair.type == "ok" else state
    return state if pair.type != "ok" or pair.completion.value == value else None


def agree(
    checker: Checker,
    told: Iterator[History],
    initial: Any,
    step: Callable[[Any, Any], Any],
    functions: set[str],
) -> Tally[str]:
    """Holds a checker against brute force; how often it said what."""
    said: Tally[str] = Tally()
    for history in told:
        verdict = checker.check(history, LIMITS)
        said[verdict.outcome] += 1
        expected = VALID if some_order(history, initial, step, functions) else INVALID
        assert verdict.outcome == expected, (verdict.sentence, history.operations)
    return said


def linearizable(model: Model) -> LinearizabilityChecker:
    return LinearizabilityChecker(model, split_by_key=False)


REGISTER = {"read", "write", "cas"}
SIZES = [2, pytest.param(3, marks=pytest.mark.slow)]
"""How many operations: two are judged in less than a second, three in up to a minute if all are looked at."""


def every(number: int) -> int:
    return EVERY if number > 2 else 1


def test_the_number_of_interleavings() -> None:
    assert [len(set(interleavings(number))) for number in (1, 2, 3, 4)] == [1, 3, 15, 105]


def test_when_an_end_is_given_up_says_nothing() -> None:
    """Three operations, of which the second has no known end: wherever that is recorded, the verdict is the same."""
    checker = linearizable(CasRegister())
    number = 0
    for first, third in product(certain(WRITES), certain(READS)):
        chosen = (first, Outcome("write", 1, "info"), third)
        verdicts: dict[tuple[int, ...], set[str]] = {}
        for order in interleavings(3):
            ends_at = max(place for place, one in enumerate(order) if one == 1)
            rest = order[:ends_at] + order[ends_at + 1 :]
            verdicts.setdefault(rest, set()).add(checker.check(told_as(chosen, order), LIMITS).outcome)
            number += 1
        assert all(len(said) == 1 for said in verdicts.values())
    assert number == 15 * 4 * 3


def test_cas_registers_of_two_operations_with_all_ends() -> None:
    """All 24 operations and ends, nil and two values."""
    said = agree(
        linearizable(CasRegister()),
        histories(2, WRITES + READS + CASES, twins=(0, 1)),
        (None,),
        register_step,
        REGISTER,
    )
    assert said[VALID] > 150 < said[INVALID]


@pytest.mark.parametrize("number", SIZES)
def test_registers(number: int) -> None:
    told = histories(number, certain(WRITES) + certain(READS), every=every(number), twins=(0, 1))
    said = agree(linearizable(CasRegister()), told, (None,), register_step, REGISTER)
    assert said[VALID] > 10 < said[INVALID]


@pytest.mark.slow
def test_cas_registers_of_three_operations() -> None:
    told = histories(3, certain(WRITES) + certain(READS) + certain(CASES), every=EVERY, twins=(0, 1))
    said = agree(linearizable(CasRegister()), told, (None,), register_step, REGISTER)
    assert said[VALID] > 2_500 // EVERY < said[INVALID]


def queue_step(state: tuple[int, ...], pair: Any) -> tuple[int, ...] | None:
    if pair.f == "enqueue":
        return (*state, pair.invocation.value)
    if pair.type != "ok":
        return state[1:]
    return state[1:] if state and state[0] == pair.completion.value else None


PUTS = [one for value in (1, 2) for one in outcomes("enqueue", value, "ok", "info")]
TAKES = outcomes("dequeue", None, "ok", "info", answers=[1, 2])


@pytest.mark.parametrize("number", SIZES)
def test_queues(number: int) -> None:
    """Elements that are equal, enqueues and dequeues of unknown outcome included."""
    said = agree(
        linearizable(FifoQueue()),
        histories(number, PUTS + TAKES, every=every(number), twins=(1, 2)),
        (),
        queue_step,
        {"enqueue", "dequeue"},
    )
    assert said[VALID] > 10 < said[INVALID]


@pytest.mark.parametrize("number", SIZES)
def test_queues_that_are_drained(number: int) -> None:
    """A drain takes everything at once; one of unknown outcome everything or nothing."""

    def step(state: tuple[int, ...], pair: Any) -> tuple[int, ...] | None:
        if pair.f != "drain":
            return queue_step(state, pair)
        return () if pair.type != "ok" or tuple(pair.completion.value) == state else None

    drains = outcomes("drain", None, "ok", "info", answers=[[], [1], [2], [1, 2], [2, 1]])
    takes = outcomes("dequeue", None, "ok", answers=[1, 2])
    told = histories(number, PUTS + takes + drains, every=every(number), twins=(1, 2))
    said = agree(linearizable(FifoQueue()), told, (), step, {"enqueue", "dequeue", "drain"})
    assert said[VALID] > 10 < said[INVALID]


def test_the_axioms_of_queues_of_four_operations() -> None:
    """Two elements go in and come out, in every interleaving: an axiom is violated, or there is an order."""
    said: Tally[str] = Tally()
    work = [
        Outcome("enqueue", 1, "ok"),
        Outcome("enqueue", 2, "ok"),
        Outcome("dequeue", None, "ok", 1),
        Outcome("dequeue", None, "ok", 2),
    ]
    for chosen in permutations(work):
        if chosen.index(work[1]) < chosen.index(work[0]):
            continue  # The same with other names.
        for order in interleavings(4):
            history = told_as(chosen, order)
            outcome = QueueChecker().check(history, LIMITS).outcome
            assert (outcome == INVALID) != some_order(history, (), queue_step, {"enqueue", "dequeue"})
            said[outcome] += 1
    assert said[VALID] > 200 < said[INVALID]


def set_step(state: frozenset[int], pair: Any) -> frozenset[int] | None:
    if pair.f == "add":
        return state | {pair.invocation.value}
    return state if pair.type != "ok" or set(pair.completion.value) == state else None


@pytest.mark.parametrize("number", SIZES)
def test_sets(number: int) -> None:
    adds = [one for value in (1, 2) for one in outcomes("add", value, "ok", "fail", "info")]
    reads = outcomes("read", None, "ok", answers=[[], [1], [2], [1, 2]])
    said = agree(
        linearizable(GrowSet()),
        histories(number, adds + reads, every=every(number), twins=(1, 2)),
        frozenset(),
        set_step,
        {"add", "read"},
    )
    assert said[VALID] > 10 < said[INVALID]


@pytest.mark.parametrize("number", SIZES)
def test_sets_of_which_elements_are_removed(number: int) -> None:
    def step(state: frozenset[int], pair: Any) -> frozenset[int] | None:
        return state - {pair.invocation.value} if pair.f == "remove" else set_step(state, pair)

    changes = [one for f in ("add", "remove") for value in (1, 2) for one in outcomes(f, value, "ok", "info")]
    reads = outcomes("read", None, "ok", answers=[[], [1], [2], [1, 2]])
    told = histories(number, changes + reads, every=every(number), twins=(1, 2))
    said = agree(linearizable(RemovableSet()), told, frozenset(), step, {"add", "remove", "read"})
    assert said[VALID] > 10 < said[INVALID]


def counter_step(state: int, pair: Any) -> int | None:
    if pair.f == "add":
        return int(state + pair.invocation.value)
    return state if pair.type != "ok" or pair.completion.value == state else None


def counters(amounts: Sequence[int], number: int) -> Iterator[History]:
    """With at least one read: nothing else is asked."""
    adds = [one for amount in amounts for one in outcomes("add", amount, "ok", "info")]
    reads = outcomes("read", None, "ok", answers=[0, 1, 2, 3])
    for history in histories(number, adds + reads, every=every(number)):
        if any(event.f == "read" for event in history.operations):
            yield history


@pytest.mark.parametrize("amounts", [(1, 2), (1, -1)])
@pytest.mark.parametrize("form", ["counter", "search"])
@pytest.mark.parametrize("number", SIZES)
def test_counters(amounts: tuple[int, ...], form: str, number: int) -> None:
    """By the rules of counters, and by the search."""
    checker = CounterChecker() if form == "counter" else linearizable(Counter())
    said = agree(checker, counters(amounts, number), 0, counter_step, {"add", "read"})
    assert said[VALID] > 10 < said[INVALID]


Step = tuple[str, str]


def shapes(keys: str, most: int, write: str) -> list[tuple[Step, ...]]:
    """What a transaction may do: up to `most` writes and reads."""
    steps = [(f, key) for f in (write, "r") for key in keys]
    return [shape for length in range(1, most + 1) for shape in product(steps, repeat=length)]


def transactions(
    plans: Sequence[tuple[Step, ...]], ends: Sequence[str], *, of_registers: bool
) -> Iterator[list[Outcome]]:
    """Transactions of these shapes. Reads of lists see any appends in any order, those of registers any value that
    is written somewhere, or nil."""
    written: dict[str, list[int]] = {"x": [], "y": []}
    asked: list[list[list[Any]]] = []
    for plan in plans:
        asked.append([])
        for f, key in plan:
            if f != "r":
                written[key].append(len(written[key]) + 1)
            asked[-1].append([f, key, written[key][-1] if f != "r" else None])
    seen: dict[str, list[Any]] = {
        key: [None, *values]
        if of_registers
        else [list(order) for size in range(len(values) + 1) for order in permutations(values, size)]
        for key, values in written.items()
    }
    reads = [
        (at, place)
        for at, plan in enumerate(plans)
        for place, (f, _) in enumerate(plan)
        if f == "r" and ends[at] == "ok"
    ]
    for answers in product(*(seen[plans[at][place][1]] for at, place in reads)):
        answered = [[list(step) for step in steps] for steps in asked]
        for (at, place), answer in zip(reads, answers, strict=True):
            answered[at][place][2] = answer
        yield [
            Outcome("txn", steps, end, answer)
            for steps, end, answer in zip(asked, ends, answered, strict=True)
        ]


def judge_transactions(
    number: int, keys: str, write: str, ends: Sequence[str] = ("ok",), *, total: int = 99, every: int = 1
) -> Tally[tuple[str, str]]:
    """Every history of so many transactions of at most two writes and reads, or one of `every`, at the main levels;
    `total` bounds the steps of all together. Of two keys x is met first. How often each level was said what."""
    said: Tally[tuple[str, str]] = Tally()
    orders = list(interleavings(number))
    numbers = count()
    for plans in product(shapes(keys, 2, write), repeat=number):
        if sum(map(len, plans)) > total or plans[0][0][1] != keys[0]:
            continue
        for chosen_ends in product(ends, repeat=number):
            for chosen in transactions(plans, chosen_ends, of_registers=write == "w"):
                for order in orders:
                    if next(numbers) % every:
                        continue
                    history = told_as(chosen, order)
                    for level, holds in levels_of(history, of_registers=write == "w").items():
                        if write == "append":
                            outcome = ListAppendChecker(level).check(history, LIMITS).outcome
                            may_be_open = _two_writes(chosen)
                        else:
                            outcome = RwRegisterChecker(level, initial=None).check(history, LIMITS).outcome
                            may_be_open = level in BETWEEN and _two_writes(chosen)
                        said[level, outcome] += 1
                        if outcome != UNKNOWN:
                            assert (outcome == VALID) == holds, (level, history.operations)
                        else:
                            assert holds or may_be_open, (level, history.operations)
    return said


def levels_of(history: History, *, of_registers: bool) -> dict[str, bool]:
    """Which of the main levels hold, by brute force."""
    found = transactions_of(history, of_registers=of_registers)
    strong = ("strong-session-snapshot-isolation", "strong-snapshot-isolation")
    return {level: axioms.holds(found, level) for level in strong} | {
        "strict-serializable": is_serializable(history, strict=True),
        "strong-session-serializable": is_serializable(history, sessions=True),
        "serializable": is_serializable(history),
        "snapshot-isolation": is_snapshot_isolated(history),
        "parallel-snapshot-isolation": sees_consistently(history, "parallel-snapshot-isolation"),
        "prefix": sees_consistently(history, "prefix"),
        "causal": sees_consistently(history, "causal"),
    }


def _two_writes(chosen: Sequence[Outcome]) -> bool:
    """Whether one key is written twice, so that nobody may know the order."""
    writes = Tally(key for one in chosen for f, key, _ in one.asked if f != "r")
    return max(writes.values(), default=0) > 1


WRITES_OF = pytest.mark.parametrize("write", ["append", "w"])


def both_ways(said: Tally[tuple[str, str]], least: int) -> bool:
    """Whether each level was often found kept, and often broken."""
    return all(said[level, outcome] > least for level, _ in said for outcome in (VALID, INVALID))


@WRITES_OF
def test_two_transactions_of_three_writes_and_reads_of_one_key(write: str) -> None:
    assert both_ways(judge_transactions(2, "x", write, total=3), 10)


@WRITES_OF
@pytest.mark.slow
def test_two_transactions_of_four_writes_and_reads_of_one_key_with_all_ends(write: str) -> None:
    said = judge_transactions(2, "x", write, ("ok", "fail", "info"), every=EVERY)
    assert both_ways(said, 200 // EVERY)


@WRITES_OF
@pytest.mark.slow
def test_two_transactions_of_four_writes_and_reads_of_two_keys(write: str) -> None:
    assert both_ways(judge_transactions(2, "xy", write, every=EVERY), 300 // EVERY)


def registers(number: int, keys: str, most: int) -> Iterator[list[Transaction]]:
    """Transactions of registers, each in a session of its own; what is read was written somewhere, or is nil."""
    for plans in product(shapes(keys, most, "w"), repeat=number):
        if plans[0][0][1] != keys[0]:
            continue  # The same with the names of the keys exchanged.
        written: dict[str, list[int | None]] = {key: [None] for key in keys}
        steps: list[list[tuple[bool, str, int | None]]] = []
        for plan in plans:
            steps.append([])
            for f, key in plan:
                if f == "w":
                    written[key].append(len(written[key]))
                steps[-1].append((f == "w", key, written[key][-1] if f == "w" else None))
        reads = [
            (at, place, key)
            for at, plan in enumerate(plans)
            for place, (f, key) in enumerate(plan)
            if f == "r"
        ]
        for answers in product(*(written[key] for _, _, key in reads)):
            for (at, place, key), answer in zip(reads, answers, strict=True):
                steps[at][place] = (False, key, answer)
            yield [Transaction(session, "ok", tuple(one)) for session, one in enumerate(steps)]


def judge_registers(told: Iterator[list[Transaction]]) -> Tally[tuple[str, str]]:
    said: Tally[tuple[str, str]] = Tally()
    for transactions in told:
        built = columns(transactions)
        for level in ("serializable", "snapshot-isolation"):
            outcome = polygraph_checker.check_polygraph(built, level, LIMITS, sessions=False).outcome
            assert (outcome == VALID) == brute_serial.satisfies(transactions, level), (level, transactions)
            said[level, outcome] += 1
        for level in WEAK_LEVELS:
            outcome = check_weak(built, level, LIMITS).outcome
            assert (outcome == VALID) == brute_weak.satisfies(transactions, level), (level, transactions)
            said[level, outcome] += 1
    return said


def test_two_transactions_of_two_writes_and_reads_of_one_key() -> None:
    said = judge_registers(registers(2, "x", 2))
    assert all(said[level, outcome] for level in WEAK_LEVELS for outcome in (VALID, INVALID))


@pytest.mark.slow
def test_two_transactions_of_two_writes_and_reads_of_two_keys() -> None:
    said = judge_registers(islice(registers(2, "xy", 2), 0, None, EVERY))
    assert said["serializable", VALID] < said["snapshot-isolation", VALID]


@pytest.mark.slow
def test_three_transactions_of_two_writes_and_reads_of_one_key() -> None:
    said = judge_registers(islice(registers(3, "x", 2), 0, None, EVERY))
    assert said["serializable", VALID] <= said["snapshot-isolation", VALID] < said["causal", VALID]
