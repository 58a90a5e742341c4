"""Scans: phantoms are wrong at serializable and not at repeatable read; what a scan answered counts everywhere."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers.checker import Limits
from checkers.isolation.lattice import ruled_out
from checkers.isolation.polygraph_checker import check_polygraph
from checkers.isolation.predicates import without_scans
from checkers.isolation.reads_from import LAST, OWN, UNANSWERED, find_reads_from
from checkers.isolation.rw_register import RwRegisterChecker
from checkers.isolation.weak_levels import check_weak
from results.transaction_columns import TransactionsBuilder
from results.verdict import INVALID, UNKNOWN, VALID

LIMITS = Limits(time_s=600)
SER, SI, REPEATABLE = "serializable", "snapshot-isolation", "repeatable-read"


def ran(*transactions):
    """Transactions of one session each, all at once."""
    builder = TransactionsBuilder(of_registers=True)
    for number, steps in enumerate(transactions):
        builder.invoke(number, number, [[f, key, value if f == "w" else None] for f, key, value in steps])
    for number, steps in enumerate(transactions):
        builder.complete(number, len(transactions) + number, "ok", steps)
    return builder.done()


def outcomes(*transactions):
    return [check_polygraph(ran(*transactions), level, LIMITS).outcome for level in (REPEATABLE, SI, SER)]


def test_a_phantom_is_allowed_by_repeatable_read_and_by_nothing_above():
    """T2 saw what T1 did after its insert, but scanned without the insert."""
    insert = [["w", "b", 1], ["w", "z", 1]]
    assert outcomes(insert, [["r", "z", 1], ["scan", ["a", "c"], []]]) == [VALID, INVALID, INVALID]
    assert outcomes(insert, [["r", "z", 1], ["scan", ["a", "c"], [["b", 1]]]]) == [VALID, VALID, VALID]
    assert outcomes(insert, [["r", "z", None], ["scan", ["a", "c"], []]]) == [VALID, VALID, VALID]
    assert outcomes(insert, [["r", "z", 1], ["scan", ["c", "d"], []]]) == [VALID, VALID, VALID]


def test_a_skew_of_inserts_is_a_phantom_that_snapshot_isolation_allows():
    """Each counts the rows of a range and inserts one because there was none (Fekete et al.)."""
    one = [["scan", ["a", "c"], []], ["w", "a", 1]]
    other = [["scan", ["a", "c"], []], ["w", "b", 1]]
    assert outcomes(one, other) == [VALID, VALID, INVALID]
    assert outcomes(one, [["scan", ["a", "c"], [["a", 1]]], ["w", "b", 1]]) == [VALID, VALID, VALID]
    assert outcomes(one, [["scan", ["b", "c"], []], ["w", "b", 1]]) == [VALID, VALID, VALID]


def test_a_phantom_is_told_as_a_scan_that_did_not_find():
    verdict = check_polygraph(
        ran([["w", "b", 1], ["w", "z", 1]], [["r", "z", 1], ["scan", ["a", "c"], []]]), SER, LIMITS
    )
    [anomaly] = verdict.anomalies
    assert anomaly.type == "G-single"
    assert anomaly.sentence == (
        "T1 (process 0, events 0 and 2) came before T2 (process 1, events 1 and 3) (T2 read 'z' = 1 of it); but T2 "
        "came before T1 (T2 scanned ['a', 'c') without finding 'b', not T1's later 1): a contradiction"
    )
    assert {SER, SI} <= ruled_out([anomaly.type])
    assert REPEATABLE not in ruled_out([anomaly.type])


def test_a_skew_of_inserts_is_g2_and_not_of_items():
    one = [["scan", ["a", "c"], []], ["w", "a", 1]]
    other = [["scan", ["a", "c"], []], ["w", "b", 1]]
    [anomaly] = check_polygraph(ran(one, other), SER, LIMITS).anomalies
    assert anomaly.type == "G2"


def test_what_a_scan_answered_is_a_read_at_every_level():
    """Half of a transaction, found by a scan and a read: the items alone are wrong."""
    whole = [["w", "a", 1], ["w", "b", 1]]
    newer = [["w", "a", 2], ["w", "b", 2], ["r", "c", None]]
    mixed = [["scan", ["a", "b"], [["a", 1]]], ["scan", ["b", "c"], [["b", 2]]]]
    order = [["scan", ["a", "c"], [["a", 2], ["b", 2]]], ["w", "c", 1]]
    assert outcomes(whole, newer, mixed) == [INVALID, INVALID, INVALID]
    assert outcomes(whole, newer, order) == [VALID, VALID, VALID]
    failed = check_weak(
        ran(whole, [["scan", ["a", "c"], [["a", 7], ["b", 1]]], ["r", "a", 8]]), "read-committed", LIMITS
    )
    assert failed.outcome == INVALID
    assert "scanned ['a', 'c') and found 'a' = 7, which nobody ever wrote" in failed.sentence


def test_a_scan_sees_what_its_own_transaction_wrote():
    assert outcomes([["w", "b", 1], ["scan", ["a", "c"], [["b", 1]]]]) == [VALID, VALID, VALID]
    assert outcomes([["w", "b", 1], ["scan", ["a", "c"], []]]) == [VALID, INVALID, INVALID]


def test_numbers_and_strings_are_never_in_one_range_and_bounds_may_be_open():
    transactions = ran(
        [["w", 1, 1], ["w", "b", 1], ["w", 7, 1]], [["scan", [None, 5], [[1, 1]]], ["scan", ["a", None], []]]
    )
    items = without_scans(transactions, phantoms=True, memory_mb=100)
    assert items.transactions.spelt(1) == [["r", 1, 1], ["r", "b", None]]
    assert items.range.tolist() == [-1, -1, -1, 0, 1]
    assert without_scans(transactions, phantoms=False, memory_mb=100).transactions.spelt(1) == [["r", 1, 1]]


def test_too_many_keys_in_a_range_are_unknown_not_a_broken_limit():
    scans = ran([["w", "b", 1]], [["scan", ["a", "c"], []]])
    verdict = check_polygraph(scans, SER, Limits(time_s=60, memory_mb=0))
    assert verdict.outcome == UNKNOWN
    assert "scan smaller ranges" in verdict.sentence


@st.composite
def scanning(draw):
    """Up to four transactions that write and scan three keys; scans answer what may or may not have been there."""
    fresh = 0
    shapes = []
    for _ in range(draw(st.integers(2, 4))):
        steps = []
        for _ in range(draw(st.integers(1, 2))):
            if draw(st.booleans()):
                fresh += 1
                steps.append(["w", draw(st.sampled_from("abc")), fresh])
            else:
                steps.append(["scan", draw(st.sampled_from([["a", "b"], ["a", "c"], ["b", "d"]])), None])
        shapes.append(steps)
    written = {key: [v for steps in shapes for f, k, v in steps if f == "w" and k == key] for key in "abc"}
    for steps in shapes:
        for step in steps:
            if step[0] == "scan":
                keys = [key for key in "abc" if step[1][0] <= key < step[1][1]]
                seen = [(key, draw(st.sampled_from([None, *written[key]]))) for key in keys]
                step[2] = [[key, value] for key, value in seen if value is not None]
    return shapes


def runs(order):
    state: dict[str, int] = {}
    for steps in order:
        for f, key, value in steps:
            if f == "w":
                state[key] = value
            elif [[k, state[k]] for k in sorted(state) if key[0] <= k < key[1]] != value:
                return False
    return True


@settings(max_examples=200, deadline=None)
@given(scanning())
def test_brute_force_says_the_same_of_scans(shapes):
    verdict = check_polygraph(ran(*shapes), SER, LIMITS)
    assert (verdict.outcome == VALID) == any(runs(order) for order in permutations(shapes))


@pytest.mark.parametrize("level", ["read-uncommitted", "strong-read-committed"])
def test_at_weak_levels_a_scan_is_reads_of_what_it_answered(level):
    def outcome(*transactions):
        return RwRegisterChecker(level, initial=None).check_transactions(ran(*transactions), LIMITS).outcome

    insert = [["w", "b", 1], ["w", "z", 1]]
    assert outcome(insert, [["r", "z", 1], ["scan", ["a", "c"], []]]) == VALID
    circle = outcome([["w", "b", 1], ["r", "z", 1]], [["scan", ["a", "c"], [["b", 1]]], ["w", "z", 1]])
    assert circle == (VALID if level == "read-uncommitted" else INVALID)


@pytest.mark.parametrize("level", ["read-uncommitted", "read-committed", "strong-session-read-committed"])
def test_a_scan_of_other_keys_changes_nothing_about_what_read_committed_means(level):
    """Of Adya's, who saw a newer version may see an older one then; of that of Biswas and Enea nobody may."""

    def outcome(*transactions):
        return RwRegisterChecker(level, initial=None).check_transactions(ran(*transactions), LIMITS).outcome

    writes = [["w", "x", 1]], [["w", "x", 3]]
    scan = [["scan", ["p", "q"], []]]
    for back in (None, 1):
        reads = [["r", "x", 3], ["r", "x", back]]
        assert outcome(*writes, reads) == VALID
        assert outcome(*writes, reads, scan) == VALID
    scanned = [["scan", ["x", "y"], [["x", 3]]], ["scan", ["x", "y"], [["x", 1]]]]
    assert outcome(*writes, scanned) == VALID
    circle = [["w", "x", 1], ["r", "y", 1]], [["r", "x", 1], ["w", "y", 1]]
    half = [["w", "x", 1], ["w", "x", 2]], [["r", "x", 1]]
    for wrong in (circle, half):
        for more in ((), (scan,)):
            assert outcome(*wrong, *more) == (VALID if level == "read-uncommitted" else INVALID)


def test_without_times_read_committed_is_the_stronger_one_with_and_without_scans():
    for more in ([], [[["scan", ["p", "q"], []]]]):
        builder = TransactionsBuilder(of_registers=True, has_real_time=False)
        steps = [[["w", "x", 1]], [["w", "x", 3]], [["r", "x", 3], ["r", "x", None]], *more]
        for number, asked in enumerate(steps):
            builder.invoke(number, number, asked)
            builder.complete(number, len(steps) + number, "ok", asked)
        verdict = RwRegisterChecker("read-committed", initial=None).check_transactions(builder.done(), LIMITS)
        assert verdict.outcome == INVALID


@pytest.mark.parametrize("level", ["read-uncommitted", "read-committed", SER])
def test_a_scan_that_found_nothing_has_read(level):
    checker = RwRegisterChecker(level, initial=None)
    scanned = checker.check_transactions(ran([["w", "x", 1]], [["scan", ["p", "q"], []]]), LIMITS)
    assert scanned.outcome == VALID, scanned.sentence
    assert checker.check_transactions(ran([["w", "x", 1]]), LIMITS).outcome == UNKNOWN


def test_scans_that_were_not_made_reads_are_passed_over():
    """There are more ranges than keys, so that their numbers are no keys."""
    scans = [["scan", ["a", "c"], [["b", 1]]], ["scan", ["b", "c"], []], ["scan", ["c", "d"], []]]
    roles = find_reads_from(ran([*scans, ["w", "b", 1], ["r", "b", 1]])).roles
    assert roles.role.tolist() == [UNANSWERED] * 3 + [LAST, OWN]
    assert roles.other.tolist() == [-1] * 4 + [3]


def test_lists_are_refused():
    builder = TransactionsBuilder()
    builder.invoke(0, 0, [["append", "x", 1]])
    with pytest.raises(ValueError, match="check them as list-append"):
        find_reads_from(builder.done())


@pytest.mark.parametrize(
    ("answer", "outcome", "type_"),
    [
        ([["b", 1]], VALID, None),
        ([["b", 1], ["x", 1]], INVALID, "scan-outside-range"),
        ([["b", 1], ["c", 9]], INVALID, "scan-outside-range"),
        ([["x", 1], ["c", 9]], INVALID, "scan-outside-range"),
        ([["b", 1], ["b", 1]], INVALID, "scan-repeats-key"),
        ([["b", 1], ["a", 9]], INVALID, "garbage-read"),
    ],
)
def test_a_scan_answers_rows_of_its_range_each_once(answer, outcome, type_):
    transactions = ran([["w", "b", 1], ["w", "x", 1]], [["scan", ["a", "c"], answer]])
    verdict = RwRegisterChecker(SER, initial=None).check_transactions(transactions, LIMITS)
    assert verdict.outcome == outcome, verdict.sentence
    assert [anomaly.type for anomaly in verdict.anomalies] == ([] if type_ is None else [type_])


def test_every_scan_is_looked_at_and_a_few_wrong_ones_are_told():
    good, wrong = ["scan", ["a", "c"], [["b", 1]]], ["scan", ["c", "d"], [["b", 1]]]

    def told(*scans):
        transactions = ran([["w", "b", 1]], *([scan] for scan in scans))
        return RwRegisterChecker(SER, initial=None).check_transactions(transactions, LIMITS).anomalies

    [anomaly] = told(good, wrong)
    assert anomaly.sentence.startswith("T1 (process 2, ")
    assert anomaly.sentence.endswith("was answered 'b', which does not lie there")
    [anomaly] = told(["scan", ["a", "c"], [["b", 1], ["b", 1]]])
    assert anomaly.sentence.endswith("was answered 'b', which is one row, twice")
    assert len(told(*[wrong] * 9)) == 8


def test_a_history_of_scans_alone():
    assert outcomes([["scan", ["a", "c"], []]], [["scan", ["b", None], []]]) == [VALID, VALID, VALID]


def test_what_nobody_wrote_is_the_initial_state_only_where_nobody_said_what_that_is():
    transactions = ran([["w", "b", 1]], [["scan", ["a", "c"], [["b", 1]]], ["r", "z", 7]])
    for level in (SER, "read-atomic", "causal"):
        before = RwRegisterChecker(level).check_transactions(transactions, LIMITS)
        assert before.outcome == VALID, before.sentence
        fresh = RwRegisterChecker(level, initial=None).check_transactions(transactions, LIMITS)
        assert fresh.outcome == INVALID
        assert "read 'z' = 7, which nobody ever wrote" in fresh.sentence


def test_scans_of_registers_that_all_exist_at_first_are_not_judged():
    """Which keys would be missing from an answer, nobody can say."""
    verdict = RwRegisterChecker(SER, initial=5).check_transactions(
        ran([["w", "b", 1]], [["scan", ["a", "c"], [["b", 1]]]]), LIMITS
    )
    assert verdict.outcome == UNKNOWN
    assert "--initial null" in verdict.sentence
