"""Audits and tiling: each must catch its violation and let the innocent twin pass."""

from dataclasses import replace

from reference_db.audits import (
    FinalReplica,
    audit_convergence,
    audit_leftovers,
    audit_provenance,
    audit_replicas,
    compare_pairs,
)
from reference_db.invariants import check_tiling
from reference_db.ranges.descriptor import Descriptor, bootstrap
from reference_db.storage import keys
from reference_db.timestamp import Timestamp

FINAL = FinalReplica("n1", range_id=1, applied=9, digest="aa", locks=0, records=0)


def test_gaps_and_overlaps_of_ranges_are_found() -> None:
    good = bootstrap(3, ["n1"], 1)
    assert check_tiling(good) == []
    assert check_tiling(good[1:]) != []
    assert check_tiling(good[:-1]) != []
    assert "belong to no range" in check_tiling([good[0], good[2]])[0]
    assert "overlap" in check_tiling([*good, Descriptor(9, b"5", b"c0", ("n1",))])[0]
    assert check_tiling([]) == ["there is no range at all"]


def test_replicas_that_differ_at_the_same_index_are_found() -> None:
    assert (
        audit_replicas([FINAL, replace(FINAL, node="n2"), replace(FINAL, node="n3", applied=8, digest="bb")])
        == []
    )
    assert "differ at applied index 9" in audit_replicas([FINAL, replace(FINAL, node="n2", digest="bb")])[0]


def test_leftover_locks_and_records_are_found() -> None:
    assert audit_leftovers([FINAL]) == []
    assert len(audit_leftovers([replace(FINAL, locks=1), replace(FINAL, records=2)])) == 2


def test_replicas_that_stopped_apart_are_found() -> None:
    assert audit_convergence([FINAL, replace(FINAL, node="n2")]) == []
    assert len(audit_convergence([FINAL, replace(FINAL, node="n2", applied=8)])) == 1


def test_a_version_out_of_nothing_a_lost_one_and_a_changed_one_are_found() -> None:
    def version(key: bytes, at: int) -> bytes:
        return keys.version_key(key, Timestamp(at))

    written = {version(b"a", 1): b"\x01x", version(b"a", 2): b"\x01y", keys.lock_key(b"b"): b"intent"}
    assert audit_provenance("n1", 3, dict(written), written) == []
    lost = {key: value for key, value in written.items() if key != version(b"a", 2)}
    assert audit_provenance("n1", 3, lost, written) == [
        "range 3: the version of b'a' at 2.0 is on the record of all committed commands and not on n1"
    ]
    (appeared,) = audit_provenance("n1", 3, written | {version(b"c", 9): b"\x01z"}, written)
    assert "the version of b'c' at 9.0 is on n1 and not on" in appeared
    (changed,) = compare_pairs("n1", written, "n2", written | {keys.lock_key(b"b"): b"other"})
    assert changed == "the intent on b'b' is b'intent' on n1 and b'other' on n2"
    many = {version(b"k%d" % number, 1): b"" for number in range(9)}
    assert len(compare_pairs("n1", many, "n2", {})) == 6
