"""Commit timestamps order the appends that nobody observed; honest ones never alarm, and a lie is told."""

from dataclasses import replace

import numpy as np
import pytest

from checkers.checker import Limits
from checkers.isolation.commit_order import committed
from checkers.isolation.list_append import ListAppendChecker
from checkers.isolation.list_versions import list_versions
from checkers.isolation.rw_register import RwRegisterChecker
from checkers.synthetic.histories import history_of
from checkers.synthetic.plan import Shape
from checkers.synthetic.stores import RULES, run_store
from results.transaction_columns import TransactionsBuilder, transactions_of
from results.verdict import INVALID, UNKNOWN, VALID

LIMITS = Limits(time_s=600)


def ran(*transactions, times=(), crashed=()):
    """Transactions of one session each, all at once, and when the database says that it committed them. Those that
    crashed never end."""
    builder = TransactionsBuilder(of_registers=False)
    for number, steps in enumerate(transactions):
        builder.invoke(
            number, number, [[f, key, value if f == "append" else None] for f, key, value in steps]
        )
    for number, steps in enumerate(transactions):
        if number in crashed:
            continue
        at = times[number] if number < len(times) else None
        builder.complete(number, len(transactions) + number, "ok", steps, committed_at=at)
    return builder.done()


def judged(transactions, isolation="serializable"):
    return ListAppendChecker(isolation).check_transactions(transactions, LIMITS)


ONE, OTHER = [["append", "x", 1]], [["append", "x", 2]]
BOTH = [["r", "x", [1, 2]]]


def test_a_timestamp_that_contradicts_a_read_is_told():
    assert judged(ran(ONE, OTHER, BOTH, times=(10, 20))).outcome == VALID
    assert judged(ran(ONE, OTHER, BOTH, times=(20, 0))).outcome == INVALID
    verdict = judged(ran(ONE, OTHER, BOTH, times=(20, 10)))
    assert verdict.outcome == INVALID
    [anomaly] = verdict.anomalies
    assert anomaly.type == "incompatible-order"
    assert (
        'T2 appended 1 to key "x", and then T1 appended 2, as was read; but by the commit timestamps of the database '
        "T1 (10) came before T2 (20)" in anomaly.sentence
    )
    third = [["append", "x", 3]]
    verdict = judged(ran(ONE, OTHER, third, [["r", "x", [1, 2, 3]]], times=(20, 10, 30)))
    assert "T2 appended 1" in verdict.sentence
    assert "T1 appended 2" in verdict.sentence


def test_an_append_that_is_missing_before_a_later_commit_is_told():
    read = [["r", "x", [2]]]
    assert judged(ran(ONE, OTHER, read, times=(30, 20))).outcome == VALID
    assert judged(ran(ONE, OTHER, read, times=(0, 20))).outcome == INVALID
    verdict = judged(ran(ONE, OTHER, read, times=(10, 20)))
    assert verdict.outcome == INVALID
    assert "nobody who observed that observed that" in verdict.anomalies[0].sentence


def test_without_timestamps_or_with_ties_nothing_changes():
    for times in ((), (10, 10), (20, None), (None, 10)):
        assert judged(ran(ONE, OTHER, BOTH, times=times)).outcome == VALID


SKEWED = (
    # Under snapshot isolation one of a and b saw the other's append of x, or must not write it at all.
    [["r", "y", []], ["append", "x", 1]],
    [["r", "z", []], ["append", "x", 2], ["append", "y", 9]],
    [["append", "z", 8], ["append", "w", 5]],
    [["r", "y", [9]], ["r", "z", [8]], ["r", "w", [5]]],
)


def test_appends_that_nobody_observed_have_the_order_of_their_commits():
    """a read y before b appended to it, so a comes before b; the timestamps say the opposite of x."""
    assert judged(ran(*SKEWED)).outcome == VALID
    assert judged(ran(*SKEWED, times=(10, 20, 30))).outcome == VALID
    verdict = judged(ran(*SKEWED, times=(20, 10, 30)))
    assert verdict.outcome == INVALID
    assert verdict.anomalies[0].type in ("G-single-item", "G0")
    assert (
        'appended 1, by the commit timestamps of the database, to key "x" after'
        in verdict.anomalies[0].sentence
    )


def test_a_commit_at_time_0_has_its_place_and_two_at_one_time_have_none():
    """Whichever of the two is listed first."""
    assert judged(ran(*SKEWED, times=(20, 0, 30))).outcome == INVALID
    other_way = (SKEWED[1], SKEWED[0], *SKEWED[2:])
    assert judged(ran(*other_way, times=(10, 20, 30))).outcome == INVALID
    for transactions in (SKEWED, other_way):
        assert judged(ran(*transactions, times=(10, 10, 30))).outcome == VALID


def test_an_append_that_may_never_have_happened_leaves_the_order_of_the_others():
    """Nobody observed what the crashed transaction appended to x; what is known of a and b is so all the same."""
    late = [["append", "x", 3]]
    assert judged(ran(*SKEWED, late, times=(10, 20, 30), crashed=(4,))).outcome == VALID
    assert judged(ran(*SKEWED, late, times=(20, 10, 30), crashed=(4,))).outcome == INVALID
    # An end without a timestamp is another matter: it was made, and nobody knows when.
    assert judged(ran(*SKEWED, late, times=(20, 10, 30))).outcome == VALID


def test_who_is_known_to_have_committed():
    """Whoever is ok, and of the crashed ones those of whom something was seen."""
    transactions = ran(ONE, OTHER, [["append", "y", 1]], [["r", "x", [1]]], crashed=(0, 1))
    assert committed(list_versions(transactions)).tolist() == [True, False, True, True]


@pytest.mark.parametrize("kind", ["list-append", "rw-register"])
@pytest.mark.parametrize("level", RULES)
def test_the_timestamps_of_a_right_store_never_alarm(level, kind):
    checker = ListAppendChecker if kind == "list-append" else RwRegisterChecker
    for seed in range(2):
        shape = Shape(80, 6, kind, keys=4, writes_per_key=6, read_share=0.3, crash_share=0.05, is_timed=True)
        history = run_store(shape, level, seed)
        again = transactions_of(history_of(history), of_registers=kind == "rw-register")
        assert np.array_equal(again.committed_at, history.transactions.committed_at)
        for asked in ("strict-serializable", "snapshot-isolation", "causal", "read-committed", level):
            if asked in history.satisfies and asked != "read-uncommitted":
                verdict = checker(asked).check_transactions(history.transactions, LIMITS)
                assert verdict.outcome != INVALID, (verdict.sentence, seed)


def test_a_store_that_lies_about_its_commits_is_found():
    shape = Shape(80, 6, keys=4, writes_per_key=6, read_share=0.3, is_timed=True)
    history = run_store(shape, "strict-serializable", 1).transactions
    wrong = replace(history, committed_at=history.committed_at.max() - history.committed_at)
    assert judged(history, "strict-serializable").outcome == VALID
    assert judged(wrong, "read-committed").outcome == INVALID


def test_what_was_open_is_decided_by_timestamps():
    """Parallel snapshot isolation depends on the order of writes, which nobody observed here."""
    shape = Shape(60, 5, keys=4, writes_per_key=4, read_share=0.4, is_timed=True)
    level = "parallel-snapshot-isolation"
    for seed in range(6):
        timed = run_store(shape, level, seed).transactions
        assert judged(timed, level).outcome == VALID, seed
        assert judged(replace(timed, committed_at=None), level).outcome in (VALID, UNKNOWN)
