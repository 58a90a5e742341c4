"""What is said of versions that go too early, and of transactions that are not what their clients were told."""

from __future__ import annotations

from reference_db.invariants.provenance import Provenance
from reference_db.storage import keys
from reference_db.storage.mvcc import Version, encode_version
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.command import Command, DropVersion, Mutation, PutVersion, RaiseThreshold

WRITER = b"w" * 16


def at(wall: int) -> Timestamp:
    return Timestamp(wall, 0)


def apply(truth: Provenance, *mutations: Mutation, range_id: int = 1) -> list[str]:
    command = Command(1, at(100), mutations)
    return [one.name for one in truth.applied("n1", range_id, 7, command, lambda _key: None)]


def written(*versions: tuple[int, bytes | None]) -> Provenance:
    truth = Provenance()
    for wall, value in versions:
        assert apply(truth, PutVersion(b"k", at(wall), value, WRITER)) == []
    return truth


def test_a_version_that_a_newer_one_hides_may_go_and_the_one_that_is_seen_may_not():
    truth = written((1, b"1"), (5, b"2"))
    assert apply(truth, RaiseThreshold(at(7)), DropVersion(b"k", at(1))) == []
    truth = written((1, b"1"), (5, b"2"))
    assert apply(truth, RaiseThreshold(at(7)), DropVersion(b"k", at(5))) == ["garbage only"]
    # Below the threshold nothing newer hides it yet: readers at the threshold see it.
    truth = written((1, b"1"), (9, b"2"))
    assert apply(truth, RaiseThreshold(at(7)), DropVersion(b"k", at(1))) == ["garbage only"]
    # Nobody has raised the threshold that far.
    truth = written((1, b"1"), (5, b"2"))
    assert apply(truth, RaiseThreshold(at(3)), DropVersion(b"k", at(1))) == ["garbage only"]


def test_a_deletion_may_go_when_nothing_is_beneath_it():
    truth = written((1, b"1"), (5, None))
    assert apply(truth, RaiseThreshold(at(7)), DropVersion(b"k", at(1)), DropVersion(b"k", at(5))) == []
    truth = written((1, b"1"), (5, None))
    assert apply(truth, RaiseThreshold(at(7)), DropVersion(b"k", at(5))) == ["garbage only"]


def test_a_threshold_that_was_raised_holds_in_both_halves_and_in_what_absorbs_them():
    truth = written((1, b"1"))
    apply(truth, RaiseThreshold(at(7)))
    truth.split(1, 2)
    assert truth.reached("n1", 2, 11, at(7)) is None
    lost = truth.reached("n1", 2, 11, ZERO)
    assert lost is not None
    assert lost.name == "garbage only"
    truth.merged(3, 2)
    assert truth.reached("n1", 3, 12, at(6)) is not None


def test_a_version_names_who_wrote_it():
    truth = written((1, b"1"))
    held = {keys.version_key(b"k", at(1)): encode_version(Version(at(1), b"1", WRITER))}
    assert truth.audit_writers(1, held) == []
    other = {keys.version_key(b"k", at(1)): encode_version(Version(at(1), b"1"))}
    (told,) = truth.audit_writers(1, other)
    assert "names no transaction" in told


def test_what_was_acknowledged_was_written_and_what_was_refused_was_not():
    truth = written((1, b"1"))
    truth.told(WRITER, [b"k"], is_committed=True)
    assert truth.audit_outcomes() == []
    truth.told(WRITER, [b"k", b"l"], is_committed=True)
    assert "has no version of b'l'" in truth.audit_outcomes()[0]
    truth.told(WRITER, [b"k"], is_committed=False)
    assert "was refused for certain" in truth.audit_outcomes()[0]
    torn = written((1, b"1"))
    apply(torn, PutVersion(b"l", at(2), b"1", WRITER))
    torn.told(WRITER, [b"k", b"l"], is_committed=True)
    assert "has versions at" in torn.audit_outcomes()[0]
