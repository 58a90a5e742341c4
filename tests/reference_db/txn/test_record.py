"""What a leader remembers beside records: promises that aren't broken, and signs of life."""

from __future__ import annotations

import pytest

from reference_db.api import Transaction
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.record import Liveness, TransactionMarkers

SECOND = 1_000_000_000


def transaction(number: int, began: int = 50) -> Transaction:
    return Transaction(b"%016d" % number, b"anchor", Timestamp(began), Timestamp(began))


def test_an_aborted_one_never_gets_a_record() -> None:
    markers = TransactionMarkers(Timestamp(10))
    assert markers.why_refused(transaction(1)) is None
    markers.abort(transaction(1).id, Timestamp(60))
    assert "aborted by another transaction" in (markers.why_refused(transaction(1)) or "")
    with pytest.raises(AssertionError, match="marked aborted"):
        markers.push(transaction(1).id, Timestamp(70), Timestamp(61))


def test_a_pushed_one_gets_its_record_with_the_floor() -> None:
    markers = TransactionMarkers(ZERO)
    assert markers.push(transaction(1).id, Timestamp(70), Timestamp(60)) == Timestamp(70)
    assert markers.push(transaction(1).id, Timestamp(65), Timestamp(61)) == Timestamp(70), (
        "a floor never sinks"
    )
    assert markers.floor(transaction(1).id) == Timestamp(70)
    assert markers.floor(transaction(2).id) == ZERO
    assert markers.why_refused(transaction(1)) is None
    markers.abort(transaction(1).id, Timestamp(62))
    assert markers.is_aborted(transaction(1).id)


def test_a_new_leader_refuses_those_that_began_before_it() -> None:
    markers = TransactionMarkers(Timestamp(50))
    assert "before this leader's memory" in (markers.why_refused(transaction(1, began=50)) or "")
    assert markers.why_refused(transaction(2, began=51)) is None


def test_a_forgotten_promise_refuses_more_than_needed_but_never_less() -> None:
    markers = TransactionMarkers(ZERO, limit=2)
    for i in (1, 2, 3):
        markers.abort(transaction(i).id, Timestamp(60 + i))
    assert not markers.is_aborted(transaction(1).id), "forgotten"
    assert markers.low_water == Timestamp(61)
    assert markers.why_refused(transaction(1, began=50)) is not None
    assert markers.why_refused(transaction(9, began=62)) is None


def test_silence_counts_from_the_first_question_or_the_last_sign_of_life() -> None:
    liveness = Liveness(expiry_ns=4 * SECOND)
    one = transaction(1).id
    assert not liveness.is_expired(one, 100 * SECOND)
    assert not liveness.is_expired(one, 104 * SECOND)
    assert liveness.is_expired(one, 104 * SECOND + 1)
    liveness.heard(one, 105 * SECOND)
    assert not liveness.is_expired(one, 109 * SECOND)
    liveness.forget(one)
    assert not liveness.is_expired(one, 200 * SECOND), "asked for the first time again"


def test_memory_of_signs_of_life_is_bounded_and_errs_towards_life() -> None:
    liveness = Liveness(expiry_ns=SECOND, limit=2)
    for i in range(3):
        liveness.heard(transaction(i).id, 0)
    assert not liveness.is_expired(transaction(0).id, 10 * SECOND)
    assert liveness.is_expired(transaction(2).id, 10 * SECOND)
