"""Each rule about protocols `primary-lock` and `two-phase`: broken at its smallest, beside an innocent twin."""

from __future__ import annotations

import pytest

from reference_db.api import ORACLE_KEY, Transaction, TransactionProtocol, TransactionStatus
from reference_db.invariants.transactions import TransactionTruth
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, Mutation, PutIntent, PutRecord, PutVersion, RemoveIntent
from reference_db.txn.locks import Intent
from reference_db.txn.record import TransactionRecord

PENDING, COMMITTED, ABORTED, _, _ = TransactionStatus
ALICE = Transaction(b"A" * 16, b"a", Timestamp(1), Timestamp(1), TransactionProtocol.PRIMARY_LOCK)
BOB = Transaction(b"B" * 16, b"a", Timestamp(1), Timestamp(1), TransactionProtocol.TWO_PHASE)


class Applied:
    """Commands, one index after the other; the oracle's window is at 100."""

    def __init__(self) -> None:
        self.truth = TransactionTruth()
        self._index = 0
        assert self(window(100)) == []

    def __call__(self, *mutations: Mutation, range_id: int = 1) -> list[str]:
        self._index += 1
        command = Command(1, Timestamp(99), mutations)
        return [one.name for one in self.truth.applied("n1", range_id, self._index, command)]


def window(at: int) -> PutVersion:
    return PutVersion(ORACLE_KEY, Timestamp(at), Timestamp(at).encode())


def lock(key: bytes, at: int = 10, who: Transaction = ALICE) -> PutIntent:
    return PutIntent(key, Intent(who, Timestamp(at), b"v", 1))


def record(status: TransactionStatus, at: int = 0) -> PutRecord:
    return PutRecord(TransactionRecord(ALICE, status, Timestamp(at), Timestamp(0), (b"a", b"b")))


def version(key: bytes, at: int) -> PutVersion:
    return PutVersion(key, Timestamp(at), b"v")


def prewritten() -> Applied:
    """Alice has her primary lock in range 1, another lock in range 2; both at 10."""
    applied = Applied()
    assert applied(lock(b"a")) == []
    assert applied(lock(b"b"), range_id=2) == []
    return applied


def test_a_commit_at_the_primary_and_then_elsewhere() -> None:
    applied = prewritten()
    assert applied(record(COMMITTED, 20), version(b"a", 20), RemoveIntent(b"a")) == []
    assert applied(version(b"b", 20), RemoveIntent(b"b"), range_id=2) == []


def test_a_rollback_leaves_a_record_where_the_primary_lock_was() -> None:
    assert prewritten()(record(ABORTED), RemoveIntent(b"a")) == []
    assert prewritten()(RemoveIntent(b"a")) == ["one fate"]


def test_a_rollback_comes_before_the_primary_lock_and_then_instead_of_it() -> None:
    applied = Applied()
    assert applied(record(ABORTED)) == []
    assert applied(lock(b"b"), range_id=2) == []
    assert "one fate" in applied(lock(b"a"))


@pytest.mark.parametrize(("at", "broken"), [(100, []), (101, ["timestamps only grow"])])
def test_no_timestamp_is_above_the_window(at: int, broken: list[str]) -> None:
    assert Applied()(lock(b"a", at)) == broken
    assert prewritten()(record(COMMITTED, at), version(b"a", at), RemoveIntent(b"a")) == broken


def test_the_window_never_goes_back() -> None:
    applied = Applied()
    assert applied(PutVersion(ORACLE_KEY, Timestamp(101), Timestamp(100).encode())) == []
    assert applied(PutVersion(ORACLE_KEY, Timestamp(102), Timestamp(99).encode())) == ["timestamps only grow"]


def test_no_version_of_an_undecided_transaction() -> None:
    assert prewritten()(version(b"b", 20), RemoveIntent(b"b"), range_id=2) == ["all keys or none"]


def test_versions_of_two_phase_commit_have_one_timestamp() -> None:
    for at, broken in ((20, []), (21, ["all keys or none"])):
        applied = Applied()
        assert applied(lock(b"a", who=BOB)) == []
        assert applied(lock(b"b", who=BOB), range_id=2) == []
        assert applied(version(b"a", 20), RemoveIntent(b"a")) == []
        assert applied(version(b"b", at), RemoveIntent(b"b"), range_id=2) == broken
