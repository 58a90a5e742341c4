"""Two checkers that answer the same question give the same answer; one whose question is a part of another's never
accuses what the other acquits. Each history is drawn once and told to both, in the words of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from checkers.bank import BankChecker
from checkers.causal_reverse import CausalReverseChecker
from checkers.checker import Limits
from checkers.isolation import polygraph_checker
from checkers.isolation.lattice import DECIDED, implied_models
from checkers.isolation.list_append import ListAppendChecker
from checkers.isolation.list_versions import list_versions
from checkers.isolation.rw_register import RwRegisterChecker
from checkers.isolation.unobserved import as_registers
from checkers.isolation.weak_levels import LEVELS as WEAK_LEVELS
from checkers.isolation.weak_levels import check_weak
from checkers.linearizability import LinearizabilityChecker
from checkers.linearizability.models import (
    AppendMap,
    Bag,
    CasRegister,
    FencedLock,
    FifoQueue,
    GrowSet,
    MultiRegister,
    Mutex,
    OwnedMutex,
    Semaphore,
    Stack,
)
from checkers.long_fork import LongForkChecker
from checkers.online.bank import OnlineBank
from checkers.online.unique_ids import OnlineUniqueIds
from checkers.queue import QueueChecker
from checkers.sessions import FUTURE_READ, SessionGuaranteesChecker
from checkers.set_full import SetFullChecker
from checkers.staleness import StalenessChecker
from checkers.transact_write import TransactWriteChecker
from checkers.unique_ids import UniqueIdsChecker
from checkers.write_skew import WriteSkewChecker
from results.history import History, HistoryBuilder
from results.transaction_columns import transactions_of
from results.verdict import INVALID, UNKNOWN, VALID, Verdict
from tests.checkers.isolation import test_list_append, test_rw_register
from tests.support.stories import Story, kinds, random_history

LIMITS = Limits(time_s=60)
KEYS = ("x", "y")


@st.composite
def told(
    draw: st.DrawFn,
    functions: Sequence[str],
    answer: Any,
    *,
    most: int = 7,
    keys: Sequence[str] = KEYS,
    crashes: bool = True,
) -> History:
    """Operations `[key, number]`, each number once; `answer(draw, numbers)` is what a read of a key answers."""
    operations = []
    given: dict[str, list[int]] = {key: [] for key in keys}
    for number in range(1, draw(st.integers(2, most)) + 1):
        f, key = draw(st.sampled_from(functions)), draw(st.sampled_from(keys))
        if f != "read":
            given[key].append(number)
        operations.append((f, [key, number if f != "read" else None]))

    def least(low: int, high: int) -> int:
        return draw(st.integers(low, high)) if crashes or (low, high) != (0, 9) else 5

    return random_history(
        least,
        operations,
        lambda f, asked: [asked[0], answer(draw, given[asked[0]])] if f == "read" else asked,
    )


def one_of(draw: st.DrawFn, numbers: list[int]) -> int | None:
    return draw(st.sampled_from([None, *numbers]))


def some_of(draw: st.DrawFn, numbers: list[int]) -> list[int]:
    """Mostly the first ones."""
    if draw(st.integers(0, 3)):
        return numbers[: draw(st.integers(0, len(numbers)))]
    return draw(st.lists(st.sampled_from(numbers), unique=True)) if numbers else []


def retold(history: History, words: Any) -> History:
    """The same events in other words: `words(f, value, is_answer)` is a function and its value."""
    builder = HistoryBuilder()
    for event in history.operations:
        f, value = words(event.f, event.value, event.type == "ok")
        builder.event(event.process, event.type, f, value)
    return builder.done()


def as_transactions(history: History, write: str) -> History:
    """Each operation is a transaction of one step."""

    def words(f: str, value: Any, is_answer: bool) -> tuple[str, list[list[Any]]]:
        key, what = value
        return "txn", [["r", key, what] if f == "read" else [write, key, what]]

    return retold(history, words)


# Linearizable, and strictly serializable one by one


@settings(max_examples=100)
@given(told(["write", "read"], one_of))
def test_registers_are_linearizable_where_single_writes_and_reads_are_strictly_serializable(
    history: History,
) -> None:
    single = RwRegisterChecker("strict-serializable", initial=None).check(
        as_transactions(history, "w"), LIMITS
    )
    if single.outcome != UNKNOWN:
        assert LinearizabilityChecker(CasRegister()).check(history, LIMITS).outcome == single.outcome


@settings(max_examples=100)
@given(told(["append", "read"], some_of))
def test_maps_are_linearizable_where_single_appends_and_reads_are_strictly_serializable(
    history: History,
) -> None:
    def words(f: str, value: Any, is_answer: bool) -> tuple[str, list[Any]]:
        key, what = value
        if f == "append":
            return "append", [key, f"{what};"]
        return "get", [key, "".join(f"{one};" for one in what) if is_answer else None]

    single = ListAppendChecker("strict-serializable").check(as_transactions(history, "append"), LIMITS)
    if single.outcome != UNKNOWN:
        judged = LinearizabilityChecker(AppendMap()).check(retold(history, words), LIMITS)
        assert judged.outcome == single.outcome, (judged.sentence, single.sentence)


@settings(max_examples=100)
@given(told(["write", "read"], one_of))
def test_what_is_too_stale_without_any_delay_is_not_linearizable(history: History) -> None:
    if StalenessChecker(0).check(history, LIMITS).outcome == INVALID:
        assert LinearizabilityChecker(CasRegister()).check(history, LIMITS).outcome == INVALID


@settings(max_examples=100)
@given(test_rw_register.small_histories())
def test_registers_that_transactions_share_are_linearizable_where_these_are_strictly_serializable(
    history: History,
) -> None:
    by_model = LinearizabilityChecker(MultiRegister(), split_by_key=False).check(history, LIMITS)
    by_cycles = RwRegisterChecker("strict-serializable", initial=None).check(history, LIMITS)
    if by_cycles.outcome != UNKNOWN:
        assert by_model.outcome == by_cycles.outcome, (by_model.sentence, by_cycles.sentence)


# Containers by their axioms, and by the model of each


@settings(max_examples=100)
@given(told(["add", "read"], some_of, keys=("all",)))
def test_a_set_that_lost_an_element_is_not_linearizable(history: History) -> None:
    sets = retold(history, lambda f, value, _: (f, value[1]))
    full = SetFullChecker(linearizable=True).check(sets, LIMITS)
    whole = LinearizabilityChecker(GrowSet(), split_by_key=False).check(sets, LIMITS)
    if full.outcome == INVALID:
        assert whole.outcome == INVALID, full.sentence


@st.composite
def queues(draw: st.DrawFn) -> History:
    number = draw(st.integers(1, 4))
    operations = [("enqueue", value) for value in range(number)]
    operations += [(draw(st.sampled_from(["dequeue", "dequeue", "drain"])), None)] * draw(st.integers(1, 3))

    def answer(f: str, asked: Any) -> Any:
        if f == "drain":
            return draw(st.lists(st.integers(0, number - 1), unique=True))
        return asked if f == "enqueue" else draw(st.integers(0, number - 1))

    return random_history(
        lambda least, most: draw(st.integers(least, most)), draw(st.permutations(operations)), answer
    )


@pytest.mark.parametrize(("ordered", "model"), [(True, FifoQueue), (False, Bag)])
def test_a_queue_that_violates_an_axiom_is_not_linearizable(ordered: bool, model: Any) -> None:
    """Whatever crashed; without crashes the axioms are complete, which other tests say."""

    @settings(max_examples=100)
    @given(queues())
    def check(history: History) -> None:
        by_axioms = QueueChecker(ordered).check(history, LIMITS)
        if by_axioms.outcome == INVALID:
            judged = LinearizabilityChecker(model(), split_by_key=False).check(history, LIMITS)
            assert judged.outcome == INVALID, by_axioms.sentence

    check()


@settings(max_examples=100)
@given(queues())
def test_what_is_right_for_a_queue_or_a_stack_is_right_for_a_bag(history: History) -> None:
    """Which asks only what goes in and out."""
    stack = {"enqueue": "push", "dequeue": "pop"}
    assume(all(event.f in stack for event in history.operations))
    as_stack = retold(history, lambda f, value, _: (stack[f], value))
    bag = LinearizabilityChecker(Bag(), split_by_key=False).check(history, LIMITS)
    for ordered in (
        LinearizabilityChecker(FifoQueue(), split_by_key=False).check(history, LIMITS),
        LinearizabilityChecker(Stack(), split_by_key=False).check(as_stack, LIMITS),
    ):
        assert ordered.outcome != VALID or bag.outcome == VALID, bag.sentence


@st.composite
def holds(draw: st.DrawFn) -> History:
    """Acquires and releases, mostly in turns."""
    number = draw(st.integers(1, 7))
    functions = [draw(st.sampled_from(["acquire", "release"])) for _ in range(number)]
    if draw(st.booleans()):
        functions = ["acquire" if place % 2 == 0 else "release" for place in range(number)]
    return random_history(
        lambda least, most: draw(st.integers(least, most)),
        [(f, None) for f in functions],
        lambda f, asked: None,
        processes=draw(st.integers(1, 3)),
        reads=frozenset(),
    )


@pytest.mark.parametrize(
    ("by_search", "by_holds"), [(Mutex, Semaphore), (OwnedMutex, FencedLock)], ids=["anybody", "owners"]
)
def test_a_lock_is_a_semaphore_of_one_permit_and_with_owners_a_lock_without_tokens(
    by_search: Any, by_holds: Any
) -> None:
    @settings(max_examples=100)
    @given(holds())
    def check(history: History) -> None:
        one = LinearizabilityChecker(by_search(), split_by_key=False).check(history, LIMITS)
        other = LinearizabilityChecker(by_holds(), split_by_key=False).check(history, LIMITS)
        assert one.outcome == other.outcome, (one.sentence, other.sentence)

    check()


# Anomalies of one kind, and levels


@settings(max_examples=100)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.sampled_from([1, None]), min_size=1),
        min_size=1,
        max_size=5,
    )
)
def test_readers_see_a_fork_where_nothing_is_one_snapshot(reads: list[dict[str, int | None]]) -> None:
    """Where each key is written once, and alone, prefix consistency, snapshot isolation and serializability are one."""
    fork, registers = Story(), Story()
    for process, key in enumerate("abcd"):
        fork.did(process, "write", [["w", key, 1]])
        registers.did(process, "txn", [["w", key, 1]])
    for process, seen in enumerate(reads):
        steps = [["r", key, value] for key, value in seen.items()]
        fork.did(10 + process, "read", [["r", key, None] for key in seen], steps)
        registers.did(10 + process, "txn", [["r", key, None] for key in seen], steps)
    found = fork.judged(LongForkChecker())
    for level in ("snapshot-isolation", "serializable"):
        verdict = registers.judged(RwRegisterChecker(level, initial=None))
        assert (verdict.outcome == INVALID) == (found.outcome == INVALID), (level, verdict.sentence)
    prefix = registers.judged(RwRegisterChecker("prefix", initial=None)).outcome
    assert prefix != (VALID if found.outcome == INVALID else INVALID)
    parallel = registers.judged(RwRegisterChecker("parallel-snapshot-isolation", initial=None))
    assert parallel.outcome != INVALID, "parallel snapshot isolation allows forks"


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from([7, 8]), st.integers(0, 1), st.booleans()), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from([7, 8]), st.integers(0, 4), st.integers(0, 4)), max_size=2),
)
def test_pairs_are_skewed_where_inserts_are_not_serializable(
    inserts: list[tuple[int, int, bool]], reads: list[tuple[int, int, int]]
) -> None:
    """An insert is a transaction that finds both sides empty and fills one. Snapshot isolation demands more than that
    nothing was lost, so there the checker of pairs only knows a part."""
    seen_ids = set()
    answers = []
    for pair, *chosen in reads:
        there: list[list[int | None]] = [[None], [None]]
        for number, (of_pair, side, _) in enumerate(inserts):
            if of_pair == pair:
                there[side].append(number)
        seen = [of_side[choice % len(of_side)] for of_side, choice in zip(there, chosen, strict=True)]
        seen_ids.update(seen)
        answers.append((pair, seen))
    skew, registers = Story(), Story()
    for number, (pair, side, has_crashed) in enumerate(inserts):
        steps = [["r", f"{pair}-0", None], ["r", f"{pair}-1", None], ["w", f"{pair}-{side}", number]]
        (skew.crashed if has_crashed else skew.did)(number, "insert", [pair, side, number])
        # Who was seen has inserted, and has found both sides empty.
        (registers.crashed if has_crashed and number not in seen_ids else registers.did)(number, "txn", steps)
    for reader, (pair, seen) in enumerate(answers):
        skew.did(100 + reader, "read", pair, seen)
        both = [f"{pair}-{side}" for side in (0, 1)]
        asked = [["r", key, None] for key in both]
        registers.did(
            100 + reader, "txn", asked, [["r", key, id_] for key, id_ in zip(both, seen, strict=True)]
        )
    strict = skew.judged(WriteSkewChecker())
    serial = registers.judged(RwRegisterChecker("serializable", initial=None))
    assert (strict.outcome == INVALID) == (serial.outcome == INVALID), (strict.sentence, serial.sentence)
    lenient = skew.judged(WriteSkewChecker(allows_skew=True))
    snapshots = registers.judged(RwRegisterChecker("snapshot-isolation", initial=None))
    if lenient.outcome == INVALID or not reads:
        assert (lenient.outcome == INVALID) == (snapshots.outcome == INVALID), (lenient, snapshots)


@settings(max_examples=100)
@given(st.data())
def test_a_causal_reverse_is_not_strictly_serializable(data: st.DataObject) -> None:
    number = data.draw(st.integers(2, 4))
    operations: list[tuple[str, Any]] = [("write", value) for value in range(number)]
    operations += [("read", None)] * data.draw(st.integers(1, 3))
    history = random_history(
        lambda least, most: data.draw(st.integers(least, most)),
        data.draw(st.permutations(operations)),
        lambda f, asked: (
            asked if f == "write" else data.draw(st.lists(st.integers(0, number - 1), unique=True))
        ),
    )

    def words(f: str, value: Any, is_answer: bool) -> tuple[str, list[list[Any]]]:
        if f == "write":
            return "txn", [["w", value, 1]]
        return "txn", [["r", key, 1 if is_answer and key in value else None] for key in range(number)]

    if CausalReverseChecker().check(history, LIMITS).outcome == INVALID:
        checker = RwRegisterChecker("strict-serializable", initial=None)
        assert checker.check(retold(history, words), LIMITS).outcome == INVALID


@st.composite
def writes_of_lists(draw: st.DrawFn) -> History:
    """Writes of a token to some lists, and reads of some lists, which mostly show what one order of writes shows."""
    number = draw(st.integers(1, 4))
    of = {token: draw(st.sampled_from([["x"], ["y"], ["x", "y"]])) for token in range(number)}
    operations: list[tuple[str, Any]] = [("write", {"token": token, "keys": of[token]}) for token in of]
    operations += [
        ("read", keys)
        for keys in draw(st.lists(st.sampled_from([["x"], ["x", "y"]]), min_size=1, max_size=3))
    ]

    def answer(f: str, asked: Any) -> Any:
        if f == "write":
            return asked
        seen = {key: [token for token in of if key in of[token]] for key in asked}
        return {key: seen[key][: draw(st.integers(0, len(seen[key])))] for key in asked}

    return random_history(
        lambda least, most: draw(st.integers(least, most)), draw(st.permutations(operations)), answer
    )


@settings(max_examples=100)
@given(writes_of_lists())
def test_writes_with_tokens_that_are_not_whole_or_lost_are_not_strictly_serializable(
    history: History,
) -> None:
    def words(f: str, value: Any, is_answer: bool) -> tuple[str, list[list[Any]]]:
        if f == "write":
            return "txn", [["append", key, value["token"]] for key in value["keys"]]
        return "txn", [["r", key, value[key] if is_answer else None] for key in value]

    tokens = TransactWriteChecker().check(history, LIMITS)
    if tokens.outcome == INVALID:
        lists = ListAppendChecker("strict-serializable").check(retold(history, words), LIMITS)
        assert lists.outcome == INVALID, tokens.sentence


@settings(max_examples=100)
@given(told(["write", "read"], one_of, keys=("x",), most=8))
def test_the_four_guarantees_of_one_key_are_causal_consistency(history: History) -> None:
    sessions = SessionGuaranteesChecker().check(history, LIMITS)
    assume(FUTURE_READ not in kinds(sessions))  # Which needs a clock, so that it is no question of causality.
    transactions = transactions_of(as_transactions(history, "w"), of_registers=True)
    causal = check_weak(transactions, "causal", LIMITS)
    assert (sessions.outcome == INVALID) == (causal.outcome == INVALID), (sessions.sentence, causal.sentence)


@settings(max_examples=100)
@given(told(["write", "read"], one_of, most=8))
def test_what_is_causal_keeps_the_four_guarantees(history: History) -> None:
    sessions = SessionGuaranteesChecker().check(history, LIMITS)
    transactions = transactions_of(as_transactions(history, "w"), of_registers=True)
    if sessions.outcome == INVALID and FUTURE_READ not in kinds(sessions):
        assert check_weak(transactions, "causal", LIMITS).outcome == INVALID


# Transactions by cycles, by polygraphs, and from level to level


@settings(max_examples=100)
@given(test_list_append.small_histories(), st.sampled_from(["serializable", "snapshot-isolation"]))
def test_lists_by_cycles_and_as_registers_by_polygraphs(history: History, level: str) -> None:
    """Each element that was observed overwrote the one before it."""
    transactions = transactions_of(history, of_registers=False)
    by_cycles = ListAppendChecker(level).check_transactions(transactions, LIMITS)
    versions = list_versions(transactions)
    if versions.findings or by_cycles.outcome == UNKNOWN:
        return
    registers = as_registers(versions)
    by_polygraph = polygraph_checker.check_polygraph(registers, level, LIMITS, sessions=False)
    assert by_polygraph.outcome == by_cycles.outcome, (by_polygraph.sentence, by_cycles.sentence)


@settings(max_examples=100)
@given(test_list_append.small_histories(), st.sampled_from(WEAK_LEVELS))
def test_what_is_wrong_with_lists_at_a_weak_level_is_wrong_with_registers(
    history: History, level: str
) -> None:
    """A list may be appended to by who has not seen it; a register that is overwritten was read."""
    transactions = transactions_of(history, of_registers=False)
    lists = ListAppendChecker(level).check_transactions(transactions, LIMITS)
    versions = list_versions(transactions)
    if not versions.findings and lists.outcome == INVALID:
        registers = check_weak(as_registers(versions), level, LIMITS)
        assert registers.outcome == INVALID, lists.sentence


ASKED = sorted(DECIDED | {"prefix"})


@pytest.mark.parametrize(
    ("checker", "histories"),
    [
        (ListAppendChecker, test_list_append.small_histories()),
        (lambda level: RwRegisterChecker(level, initial=None), test_rw_register.small_histories()),
    ],
    ids=["list-append", "rw-register"],
)
def test_no_level_contradicts_one_that_it_implies(checker: Any, histories: Any) -> None:
    """Nor the models that any of them says are ruled out."""

    @settings(max_examples=60)
    @given(histories)
    def check(history: History) -> None:
        verdicts: dict[str, Verdict] = {level: checker(level).check(history, LIMITS) for level in ASKED}
        for level, verdict in verdicts.items():
            for weaker in implied_models([level]).intersection(ASKED):
                if verdict.outcome == VALID:
                    assert verdicts[weaker].outcome != INVALID, (level, weaker, verdicts[weaker].sentence)
            for out in {*verdict.details.get("not", ()), *verdict.details.get("also-not", ())}:
                if out in verdicts:
                    assert verdicts[out].outcome == INVALID, (level, out, verdict.sentence)

    check()


# While the run goes on, and afterwards


BALANCE = st.one_of(st.integers(-2, 12), st.just(5), st.sampled_from([None, True, "5"]))


@settings(max_examples=100)
@given(
    st.lists(st.dictionaries(st.sampled_from("ab"), BALANCE, min_size=1) | st.just({"a": 5, "b": 5, "c": 0}))
)
def test_each_read_of_a_bank_is_judged_alike_at_once_and_in_the_end(reads: list[dict[str, Any]]) -> None:
    for balances in reads:
        history = Story().did(0, "read", None, balances).done()
        alarm = OnlineBank("ab", 10).observe(history.operations[-1])
        verdict = BankChecker(["a", "b"], 10).check(history, LIMITS)
        assert (alarm is not None) == (verdict.outcome == INVALID), (balances, alarm, verdict.sentence)
        if alarm is not None:
            assert alarm.type in {anomaly.type for anomaly in verdict.anomalies}


@given(st.lists(st.sampled_from([1, 2, 3, "1", "2", "one"]), max_size=5))
def test_identifiers_are_judged_alike_at_once_and_in_the_end(ids: list[Any]) -> None:
    story = Story()
    for one in ids:
        story.did(0, "generate", None, one)
    history, online = story.done(), OnlineUniqueIds()
    alarms = [found for event in history.operations if (found := online.observe(event)) is not None]
    assert bool(alarms) == (UniqueIdsChecker().check(history, LIMITS).outcome == INVALID)
