"""Online checkers: each at its smallest, beside its innocent twin; and never an alarm that is not confirmed."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.alarms import contradiction, judge_alarms
from checkers.bank import BankChecker
from checkers.checker import Checker, Limits
from checkers.isolation.list_append import ListAppendChecker
from checkers.linearizability.checker import LinearizabilityChecker
from checkers.linearizability.models import CasRegister
from checkers.monotonic import MonotonicChecker
from checkers.online.bank import OnlineBank
from checkers.online.growing_set import OnlineSet
from checkers.online.list_append import OnlineListAppend
from checkers.online.monotonic import OnlineMonotonic
from checkers.online.online_checker import OnlineChecker
from checkers.online.unique_ids import OnlineUniqueIds
from checkers.online.unique_registers import OnlineRegisters
from checkers.set_full import SetFullChecker
from checkers.unique_ids import UniqueIdsChecker
from results.history import History
from results.operation import FAIL, HARNESS, INFO, INVOKE, OK, Operation
from results.verdict import INVALID, UNKNOWN, VALID, Verdict, merge

Row = tuple[int | str, str, str, Any]
"""Process, type, function, value."""


def events(*rows: Row) -> list[Operation]:
    return [Operation(index, index, *row) for index, row in enumerate(rows)]


def alarm(checker: OnlineChecker, history: list[Operation]) -> str | None:
    """The kind of the first violation that it sees."""
    for event in history:
        found = checker.observe(event)
        if found is not None:
            assert found.sentence.startswith(found.type)
            assert all(0 <= index <= event.index for index in found.operations)
            return found.type
    return None


def whole(process: int, f: str, asked: Any, answered: Any, type_: str = OK) -> list[Row]:
    return [(process, INVOKE, f, asked), (process, type_, f, answered)]


# Bank


@pytest.mark.parametrize(
    ("balances", "kind"),
    [
        ({"a": 6, "b": 4}, None),
        ({"a": 10, "b": 0}, None),
        ({"a": 6.5, "b": 3.5}, None),
        ({"a": 6, "b": 3}, "wrong total"),
        ({"a": 12, "b": -2}, "negative balance"),
        ({"a": 10}, "missing account"),
        ({"a": 6, "b": 4, "c": 0}, "unexpected account"),
        ({"a": 6, "b": None}, "account without a balance"),
    ],
)
def test_a_read_of_a_bank_is_judged_at_once(balances: dict[str, Any], kind: str | None) -> None:
    history = events(*whole(0, "read", None, balances))
    assert alarm(OnlineBank(["a", "b"], 10), history) == kind
    full = BankChecker(["a", "b"], 10).check(History(history), Limits())
    assert (full.outcome == INVALID) == (kind is not None)


# Monotonic


def test_a_number_must_not_go_back_but_may_be_seen_late_by_who_began_before() -> None:
    seen = whole(0, "inc", "k", ["k", 2])
    assert (
        alarm(OnlineMonotonic(), events(*seen, *whole(1, "read", "k", ["k", 1]))) == "counter went backwards"
    )
    assert (
        alarm(OnlineMonotonic(), events(*seen, *whole(1, "inc", "k", ["k", 2]))) == "counter went backwards"
    )
    began_before = [(1, INVOKE, "read", "k"), *seen, (1, OK, "read", ["k", 1])]
    assert alarm(OnlineMonotonic(), events(*began_before)) is None
    nothing = whole(1, "read", "k", ["k", None])
    assert alarm(OnlineMonotonic(), events(*nothing)) is None
    one = whole(0, "inc", "k", ["k", 1])
    assert alarm(OnlineMonotonic(), events(*one, *nothing)) == "counter went backwards"
    late = [*began_before, *whole(2, "read", "k", ["k", 1])]
    assert alarm(OnlineMonotonic(), events(*late)) == "counter went backwards"
    strange = whole(1, "read", "k", ["k", "one"])
    assert alarm(OnlineMonotonic(), events(*seen, *strange)) is None, "the full checker says what it is"
    elsewhere = [row for _ in range(3) for row in whole(1, "read", "j", ["j", 1])]
    again = whole(1, "read", "k", ["k", 1])
    assert alarm(OnlineMonotonic(), events(*elsewhere, *one, *seen)) is None
    assert alarm(OnlineMonotonic(), events(*elsewhere, *one, *seen, *again)) == "counter went backwards"
    other_key = whole(1, "read", "j", ["j", 1])
    assert alarm(OnlineMonotonic(), events(*seen, *other_key)) is None


# Set


def test_a_read_has_what_was_acknowledged_before_it_began() -> None:
    added = whole(0, "add", 7, 7)
    assert alarm(OnlineSet(), events(*added, *whole(1, "read", None, []))) == "stale read"
    assert alarm(OnlineSet(), events(*added, *whole(1, "read", None, [7]))) is None
    concurrent = [(1, INVOKE, "read", None), *added, (1, OK, "read", [])]
    assert alarm(OnlineSet(), events(*concurrent)) is None
    more = [*added, (1, INVOKE, "read", None), *whole(0, "add", 8, 8)]
    for shown, kind in (([7], None), ([7, 8], None), ([8], "stale read")):
        assert alarm(OnlineSet(), events(*more, (1, OK, "read", shown))) == kind
    unknown = whole(0, "add", 7, 7, INFO)
    for shown in ([], [7]):
        assert alarm(OnlineSet(), events(*unknown, *whole(1, "read", None, shown))) is None
    for type_, answer in ((FAIL, None), (FAIL, []), (INFO, []), (OK, "none")):
        assert alarm(OnlineSet(), events(*added, *whole(1, "read", None, answer, type_))) is None
    failed = whole(0, "add", 7, 7, FAIL)
    shown = whole(1, "read", None, [7])
    assert alarm(OnlineSet(), events(*failed, *shown)) == "element of a failed add"
    again = [(2, INVOKE, "add", 7)]
    assert alarm(OnlineSet(), events(*failed, *shown, *again)) == "element of a failed add"
    for others in ([*failed, *added], [*added, *failed], [*failed, *unknown], [*unknown, *failed]):
        assert alarm(OnlineSet(), events(*others, *shown)) is None, "another add of it may have happened"
    for others in ([*failed, *again], [*again, *failed]):
        assert alarm(OnlineSet(), events(*others, *shown)) is None
    twice = events(*again, *failed, (2, FAIL, "add", 7), *shown)
    assert alarm(OnlineSet(), twice) == "element of a failed add"


# Registers


def test_a_value_that_was_overwritten_is_not_read_again() -> None:
    one, two = whole(0, "write", ["k", 1], ["k", 1]), whole(0, "write", ["k", 2], ["k", 2])
    stale = whole(1, "read", ["k", None], ["k", 1])
    assert alarm(OnlineRegisters(), events(*one, *two, *stale)) == "stale read"
    assert alarm(OnlineRegisters(), events(*two, *one, *stale)) is None
    nothing = whole(1, "read", ["k", None], ["k", None])
    assert alarm(OnlineRegisters(), events(*one, *nothing)) == "stale read"
    overlapping = [one[0], *two, one[1], *stale]
    assert alarm(OnlineRegisters(), events(*overlapping)) is None, "the first write may have come second"
    early = (2, INVOKE, "read", ["k", None])
    history = [one[0], early, one[1], *two, (2, OK, "read", ["k", 2]), *stale]
    assert alarm(OnlineRegisters(), events(*history)) == "stale read", (
        "2 was written after 1, whoever read it"
    )
    again = whole(1, "read", ["k", None], ["k", 1])
    assert alarm(OnlineRegisters(), events(*one, two[0], *again, two[1])) is None
    assert alarm(OnlineRegisters(), events(*one, two[0], *again, two[1], *again)) == "stale read"
    unknown = [*whole(0, "write", ["k", 1], ["k", 1], INFO), *two, *stale]
    assert alarm(OnlineRegisters(), events(*unknown)) is None, "nobody has seen it before the second"


@pytest.mark.parametrize(
    "told",
    [
        "w1( w2( w2) w1) r2( r2) r1( r1)",
        "w1( w2( w1) w3( w3) w2) r1( r1)",
        "w3( w4( w3) w2( r3( r3) w2) w4) r3( r3)",
    ],
)
def test_a_value_is_gone_where_another_was_there_later_whatever_began_first(told: str) -> None:
    """Writes and reads of values, each with its begin and its end; without what is read last nothing is wrong."""
    rows: list[Row] = []
    process: dict[str, int] = {}
    for number, word in enumerate(told.split()):
        name, value, f = word[:2], int(word[1]), "write" if word[0] == "w" else "read"
        if word.endswith("("):
            process[name] = number
            rows.append((number, INVOKE, f, ["k", value if f == "write" else None]))
        else:
            rows.append((process[name], OK, f, ["k", value]))
    assert alarm(OnlineRegisters(), events(*rows[:-1])) is None
    assert alarm(OnlineRegisters(), events(*rows)) == "stale read"
    full = LinearizabilityChecker(CasRegister(None), split_by_key=True)
    assert full.check(History(events(*rows)), Limits()).outcome == INVALID


def test_a_compare_and_set_has_seen_what_it_replaced() -> None:
    unknown = whole(0, "write", ["k", 1], ["k", 1], INFO)
    replaced = whole(1, "cas", ["k", [1, 2]], ["k", [1, 2]])
    three, stale = whole(2, "write", ["k", 3], ["k", 3]), whole(2, "read", ["k", None], ["k", 1])
    assert alarm(OnlineRegisters(), events(*unknown, *replaced, *three, *stale)) == "stale read"
    assert alarm(OnlineRegisters(), events(*unknown, *three, *stale)) is None
    assert alarm(OnlineRegisters(), events(*unknown, *replaced, *three)) is None
    known = whole(0, "write", ["k", 1], ["k", 1])
    assert alarm(OnlineRegisters(), events(*known, *replaced, *stale)) == "stale read"
    two = whole(2, "read", ["k", None], ["k", 2])
    assert alarm(OnlineRegisters(), events(*known, *replaced, *two, *two)) is None


def test_a_value_that_nobody_wrote_or_whose_write_failed_is_not_read() -> None:
    read = whole(1, "read", ["k", None], ["k", 1])
    failed = whole(0, "cas", ["k", [None, 1]], None, FAIL)
    assert alarm(OnlineRegisters(), events(*read)) == "read of a value never written"
    assert alarm(OnlineRegisters(), events(*failed, *read)) == "read of a failed write"
    assert alarm(OnlineRegisters(), events(failed[0], *read, failed[1])) == "read of a failed write"
    assert alarm(OnlineRegisters(), events(failed[0], *read, (0, INFO, "cas", None))) is None


# Lists


def append(process: int, element: int, type_: str = OK) -> list[Row]:
    return whole(process, "txn", [["append", "k", element]], [["append", "k", element]], type_)


def read(process: int, elements: list[int] | None) -> list[Row]:
    return whole(process, "txn", [["r", "k", None]], [["r", "k", elements]])


def test_reads_of_a_list_continue_each_other() -> None:
    both = [*append(0, 1), *append(0, 2)]
    assert (
        alarm(OnlineListAppend("serializable"), events(*both, *read(1, [1]), *read(1, [2])))
        == "incompatible-order"
    )
    assert alarm(OnlineListAppend("serializable"), events(*both, *read(1, [1, 2]), *read(1, [1]))) is None
    shorter = [*both, *append(0, 3), *read(1, [1, 2]), *read(1, [1]), *read(1, [1, 3])]
    assert alarm(OnlineListAppend("serializable"), events(*shorter)) == "incompatible-order"
    forked = events(*both, *read(1, [1]), *read(1, [2]))
    for isolation, kind in (("read-uncommitted", None), ("read-committed", "incompatible-order")):
        assert alarm(OnlineListAppend(isolation), forked) == kind
        full = ListAppendChecker(isolation).check(History(forked), Limits())
        assert (full.outcome == INVALID) == (kind is not None)


def test_what_failed_is_not_read_where_that_is_demanded() -> None:
    failed = append(0, 1, FAIL)
    for history in (events(*failed, *read(1, [1])), events(failed[0], *read(1, [1]), failed[1])):
        assert alarm(OnlineListAppend("read-committed"), history) == "G1a"
        assert alarm(OnlineListAppend("read-uncommitted"), history) is None
    assert alarm(OnlineListAppend("serializable"), events(*append(0, 1, INFO), *read(1, [1]))) is None


def test_what_failed_is_told_of_the_element_that_was_read() -> None:
    history = events(*append(0, 1), *append(0, 2, FAIL), *append(0, 3), *read(1, [1, 3]))
    assert alarm(OnlineListAppend("serializable"), history) is None
    history = events(*append(0, 1), *append(0, 2, FAIL), *append(0, 3), *read(1, [1, 3, 2]))
    assert alarm(OnlineListAppend("serializable"), history) == "G1a"


# Identifiers


def test_an_identifier_comes_once() -> None:
    ids = [*whole(0, "generate", None, 5), *whole(1, "generate", None, 6)]
    assert alarm(OnlineUniqueIds(), events(*ids)) is None
    others = [*whole(1, "generate", None, [5]), *whole(1, "generate", None, 5, FAIL)]
    assert alarm(OnlineUniqueIds(), events(*ids, *others, *others)) is None, "none of these was given"
    again = events(*ids, *whole(1, "generate", None, 5))
    assert alarm(OnlineUniqueIds(), again) == "duplicate identifier"
    assert UniqueIdsChecker().check(History(again), Limits()).outcome == INVALID


# What an alarm comes to

ALARMED = (HARNESS, INFO, "alarm", {"sentence": "wrong total: 9", "ended": True})
BROKEN = (HARNESS, INFO, "alarm-broke", {"checker": "bank", "traceback": "KeyError"})


@pytest.mark.parametrize(
    ("seen", "workload", "outcome", "told"),
    [
        ([], VALID, VALID, "nothing was seen"),
        ([], INVALID, VALID, "nothing was seen"),
        ([ALARMED], INVALID, VALID, "wrong total: 9; it ended the main phase; the whole history confirms it"),
        ([ALARMED], UNKNOWN, UNKNOWN, "the whole history was not decided"),
        ([ALARMED], VALID, UNKNOWN, "the harness contradicts itself"),
        ([BROKEN], VALID, UNKNOWN, "1 online checker broke down"),
        ([BROKEN, ALARMED], INVALID, VALID, "the whole history confirms it"),
        (
            [(HARNESS, INFO, "alarm", "no mapping"), ("nemesis", INFO, "alarm", {})],
            VALID,
            VALID,
            "nothing was",
        ),
    ],
)
def test_an_alarm_has_to_be_confirmed(seen: list[Any], workload: str, outcome: str, told: str) -> None:
    verdict = judge_alarms(History(events(*seen)), Verdict(workload, "bank", "as it is"))
    assert verdict.outcome == outcome
    assert told in verdict.sentence
    contradicted = told.startswith("the harness contradicts")
    assert (contradiction(merge("all", [verdict])) is not None) == contradicted
    assert verdict.details["alarms"] == [one[3] for one in seen if one is ALARMED]


def test_an_alarm_that_ended_nothing_says_so() -> None:
    alarmed = (HARNESS, INFO, "alarm", {"sentence": "wrong total: 9", "ended": False})
    verdict = judge_alarms(History(events(alarmed)), Verdict(INVALID, "bank", ""))
    assert "it ended" not in verdict.sentence


# No false alarm


@st.composite
def histories(draw: Any, kind: str) -> list[Operation]:
    """Up to nine operations of three processes, with answers that may be right or wrong."""
    rows: list[Row] = []
    open_: dict[int, tuple[str, Any]] = {}
    process_of = [0, 1, 2]
    unique = 0
    for _ in range(draw(st.integers(2, 18))):
        thread = draw(st.integers(0, 2))
        process = process_of[thread]
        if process not in open_:
            unique += 1
            f, value = draw(_asked(kind, unique))
            open_[process] = (f, value)
            rows.append((process, INVOKE, f, value))
            continue
        f, value = open_.pop(process)
        type_ = draw(st.sampled_from([OK, OK, OK, FAIL, INFO]))
        rows.append((process, type_, f, draw(_answer(kind, f, value)) if type_ == OK else value))
        if type_ == INFO:
            process_of[thread] += 3
    return events(*rows)


def _asked(kind: str, unique: int) -> Any:
    seen = st.integers(1, max(1, unique - 1))
    match kind:
        case "registers":
            cas = seen.map(lambda old: ("cas", ["k", [old, unique]]))
            return st.one_of(st.just(("read", ["k", None])), st.just(("write", ["k", unique])), cas)
        case "set":
            return st.sampled_from([("read", None), ("add", unique)])
        case "monotonic":
            return st.sampled_from([("read", "k"), ("inc", "k")])
    steps = st.sampled_from([["r", "k", None], ["append", "k", unique]])
    return steps.map(lambda step: ("txn", [step]))


def _answer(kind: str, f: str, value: Any) -> Any:
    number = st.integers(1, 6)
    match kind, f:
        case "registers", "read":
            return st.one_of(st.none(), number).map(lambda seen: ["k", seen])
        case "set", "read":
            return st.lists(number, unique=True, max_size=4)
        case "monotonic", _:
            return number.map(lambda seen: [value, seen])
        case "lists", _ if value[0][0] == "r":
            return st.lists(number, unique=True, max_size=4).map(lambda seen: [["r", "k", seen]])
    return st.just(value)


FULL: dict[str, tuple[Any, Checker]] = {
    "registers": (OnlineRegisters, LinearizabilityChecker(CasRegister(None), split_by_key=True)),
    "set": (OnlineSet, SetFullChecker(linearizable=True)),
    "monotonic": (OnlineMonotonic, MonotonicChecker()),
    "lists": (lambda: OnlineListAppend("strict-serializable"), ListAppendChecker("strict-serializable")),
}


@pytest.mark.parametrize("kind", FULL)
def test_no_alarm_that_the_full_checker_does_not_confirm(kind: str) -> None:
    online, full = FULL[kind]

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(history=histories(kind))
    def check(history: list[Operation]) -> None:
        kind_of_alarm = alarm(online(), history)
        if kind_of_alarm is not None:
            verdict = full.check(History(history), Limits(time_s=10))
            assert verdict.outcome == INVALID, (kind_of_alarm, verdict)

    check()
