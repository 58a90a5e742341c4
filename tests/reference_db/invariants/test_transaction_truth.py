"""Each rule about transactions and keys: broken at its smallest, beside an innocent twin."""

from __future__ import annotations

from reference_db.api import Transaction, TransactionStatus
from reference_db.invariants.keyspace import Keyspace
from reference_db.invariants.transactions import TransactionTruth
from reference_db.ranges.descriptor import Descriptor, bootstrap
from reference_db.timestamp import Timestamp
from reference_db.txn.command import (
    Command,
    Mutation,
    PutIntent,
    PutRecord,
    PutVersion,
    RemoveIntent,
    RemoveRecord,
)
from reference_db.txn.locks import Intent
from reference_db.txn.record import TransactionRecord

PENDING, COMMITTED, ABORTED, _, STAGING = TransactionStatus
ALICE = Transaction(b"A" * 16, b"a", Timestamp(1), Timestamp(1))
BOB = Transaction(b"B" * 16, b"b", Timestamp(2), Timestamp(2))


class Applied:
    """Commands, one index after the other, in ranges of one's choice."""

    def __init__(self) -> None:
        self.truth = TransactionTruth()
        self._index = 0

    def __call__(self, *mutations: Mutation, range_id: int = 1) -> list[str]:
        self._index += 1
        command = Command(1, Timestamp(99), mutations)
        return [one.name for one in self.truth.applied("n1", range_id, self._index, command)]


def intent(key: bytes, at: int, who: Transaction = ALICE, value: bytes = b"v") -> PutIntent:
    return PutIntent(key, Intent(who, Timestamp(at), value, 1))


def record(
    status: TransactionStatus, at: int = 0, floor: int = 0, who: Transaction = ALICE, keys: str = "ab"
) -> PutRecord:
    named = tuple(key.encode() for key in keys)
    return PutRecord(TransactionRecord(who, status, Timestamp(at), Timestamp(floor), named))


def version(key: bytes, at: int, value: bytes | None = b"v") -> PutVersion:
    return PutVersion(key, Timestamp(at), value)


def prepared() -> Applied:
    """Alice has her record and an intent on `a` in range 1, an intent on `b` in range 2; both at 10."""
    applied = Applied()
    assert applied(record(PENDING), intent(b"a", 10)) == []
    assert applied(intent(b"b", 10), range_id=2) == []
    return applied


def test_a_transaction_from_its_first_intent_to_its_end() -> None:
    applied = prepared()
    assert applied(record(COMMITTED, 12), version(b"a", 12), RemoveIntent(b"a")) == []
    assert applied(version(b"b", 12), RemoveIntent(b"b"), range_id=2) == []
    assert applied(RemoveRecord(b"a", ALICE.id)) == []
    assert applied(version(b"a", 13)) == []


def test_versions_of_a_key_out_of_order_or_twice() -> None:
    for at, broken in ((9, ["versions in order"]), (10, ["versions in order"]), (11, [])):
        applied = Applied()
        assert applied(version(b"a", 10)) == []
        assert applied(version(b"a", at)) == broken
        assert applied(version(b"b", at)) == []


def test_an_intent_below_a_version() -> None:
    applied = Applied()
    assert applied(version(b"a", 10)) == []
    assert applied(intent(b"a", 10)) == ["versions in order"]
    assert applied(intent(b"a", 11)) == []


def test_an_intent_or_a_version_on_top_of_a_foreign_intent() -> None:
    assert prepared()(intent(b"a", 20, BOB)) == ["one intent a key"]
    assert prepared()(intent(b"a", 20)) == []
    assert prepared()(version(b"a", 20)) == ["one intent a key"]
    assert prepared()(version(b"c", 20)) == []


def test_an_intent_becomes_a_version_before_its_transaction_committed() -> None:
    assert prepared()(version(b"b", 12), RemoveIntent(b"b"), range_id=2) == ["all keys or none"]


def test_keys_of_one_transaction_at_different_timestamps() -> None:
    for at, value, broken in (
        (12, b"v", []),
        (13, b"v", ["all keys or none"]),
        (12, b"other", ["all keys or none"]),
    ):
        applied = prepared()
        assert applied(record(COMMITTED, 12), version(b"a", 12), RemoveIntent(b"a")) == []
        assert applied(version(b"b", at, value), RemoveIntent(b"b"), range_id=2) == broken


def test_an_intent_of_a_committed_transaction_is_thrown_away() -> None:
    applied = prepared()
    assert applied(record(COMMITTED, 12), version(b"a", 12), RemoveIntent(b"a")) == []
    assert applied(RemoveIntent(b"b"), range_id=2) == ["all keys or none"]


def test_a_late_intent_of_a_committed_transaction_goes_without_a_trace() -> None:
    applied = prepared()
    applied(record(COMMITTED, 12), version(b"a", 12), RemoveIntent(b"a"))
    applied(version(b"b", 12), RemoveIntent(b"b"), range_id=2)
    assert applied(intent(b"b", 13), range_id=2) == []
    assert applied(RemoveRecord(b"a", ALICE.id)) == []
    assert applied(RemoveIntent(b"b"), range_id=2) == []


def test_a_transaction_commits_after_one_of_its_intents_was_thrown_away() -> None:
    applied = prepared()
    assert applied(RemoveIntent(b"b"), range_id=2) == []
    assert applied(record(COMMITTED, 12)) == ["all keys or none"]
    aborted = prepared()
    assert aborted(RemoveIntent(b"b"), range_id=2) == []
    assert aborted(record(ABORTED)) == []
    assert aborted(RemoveIntent(b"a")) == []


def test_a_transaction_commits_below_its_intents_or_its_floor() -> None:
    assert prepared()(record(COMMITTED, 9)) == ["all keys or none"]
    assert prepared()(record(COMMITTED, 12, floor=13)) == ["one fate"]
    assert prepared()(record(COMMITTED, 12, floor=12)) == []


def test_a_record_changes_its_mind() -> None:
    for first, second, broken in (
        (record(ABORTED), record(COMMITTED, 12), ["one fate"]),
        (record(COMMITTED, 12), record(ABORTED), ["one fate"]),
        (record(COMMITTED, 12), record(COMMITTED, 13), ["one fate"]),
        (record(COMMITTED, 12), record(PENDING), ["one fate"]),
        (record(PENDING, floor=5), record(PENDING, floor=4), ["one fate"]),
        (record(PENDING, floor=5), record(PENDING, floor=6), []),
        (record(COMMITTED, 12), record(COMMITTED, 12), []),
    ):
        applied = prepared()
        assert applied(first) == []
        assert applied(second) == broken


def test_a_record_out_of_nothing_or_back_from_the_dead() -> None:
    assert Applied()(record(ABORTED)) == ["one fate"]
    applied = prepared()
    assert applied(record(ABORTED)) == []
    assert applied(RemoveRecord(b"a", ALICE.id)) == []
    assert applied(record(PENDING)) == ["one fate"]


def test_a_record_is_forgotten_too_early() -> None:
    assert prepared()(RemoveRecord(b"a", ALICE.id)) == ["one fate"]
    applied = prepared()
    assert applied(record(COMMITTED, 12), version(b"a", 12), RemoveIntent(b"a")) == []
    assert applied(RemoveRecord(b"a", ALICE.id)) == ["all keys or none"]


def test_an_intent_beside_a_record_that_is_not_pending() -> None:
    applied = prepared()
    assert applied(record(ABORTED)) == []
    assert applied(intent(b"c", 20)) == ["one fate"]
    # Another range cannot know yet.
    assert applied(intent(b"z", 20), range_id=2) == []


def test_gaps_overlaps_and_two_descriptors_of_one_generation() -> None:
    good = bootstrap(3, ["n1"], 1)
    keyspace = Keyspace()
    assert keyspace.learn("n1", good) + keyspace.check("n1") == []
    assert keyspace.learn("n2", good) == []
    other = Descriptor(2, good[1].start, b"zz", ("n1",))
    assert [one.name for one in keyspace.learn("n2", [other])] == ["ranges tile the keyspace"]
    newer = Descriptor(2, good[1].start, b"zz", ("n1",), generation=2)
    assert keyspace.learn("n2", [newer]) == []
    assert "overlap" in keyspace.check("n2")[0].text
