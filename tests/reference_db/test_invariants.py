"""Invariants and audits: each must catch its violation and let the innocent twin pass."""

from dataclasses import replace

from reference_db.audits import FinalReplica, audit_convergence, audit_leftovers, audit_replicas
from reference_db.invariants import ElectionSafety, Progress, ReplicaState, check_indexes, check_tiling
from reference_db.ranges.descriptor import Descriptor, bootstrap

LEADER = ReplicaState("n1", range_id=1, term=3, leads=True, commit=5, applied=5, last_index=6)
FINAL = FinalReplica("n1", range_id=1, applied=9, digest="aa", locks=0, records=0)


def test_two_leaders_of_one_term_are_found_even_if_seen_at_different_times() -> None:
    safety = ElectionSafety()
    assert safety.observe([LEADER, replace(LEADER, node="n2", leads=False)]) == []
    assert safety.observe([replace(LEADER, node="n2", term=4), replace(LEADER, node="n3", range_id=2)]) == []
    assert safety.observe([replace(LEADER, node="n2")]) == ["range 1 has two leaders in term 3: n1 and n2"]


def test_indexes_in_order() -> None:
    assert check_indexes([LEADER]) == []
    assert len(check_indexes([replace(LEADER, applied=6), replace(LEADER, commit=7, applied=6)])) == 2


def test_nothing_goes_back_except_over_a_restart() -> None:
    progress = Progress()
    assert progress.observe([LEADER]) == []
    assert progress.observe([replace(LEADER, commit=6)]) == []
    assert progress.observe([LEADER]) == ["commit of range 1 on n1 went back: 6 to 5"]
    progress.forget("n1")
    assert progress.observe([replace(LEADER, commit=2, applied=2)]) == []


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
