"""Audits and tiling: each must catch its violation and let the innocent twin pass."""

from dataclasses import replace

from reference_db.audits import FinalReplica, audit_convergence, audit_leftovers, audit_replicas
from reference_db.invariants import check_tiling
from reference_db.ranges.descriptor import Descriptor, bootstrap

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
