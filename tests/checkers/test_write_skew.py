"""Write skew: two inserts of one pair, known from answers or from reads."""

from __future__ import annotations

from checkers.checker import Limits
from checkers.write_skew import WriteSkewChecker
from results.history import History
from results.verdict import UNKNOWN, VALID
from tests.support.stories import Story, kinds

CHECKER = WriteSkewChecker()


def test_both_sides_of_a_pair() -> None:
    story = Story().did(0, "insert", [7, 0, 1])
    assert story.failed(1, "insert", [7, 1, 2]).judged(CHECKER).outcome == VALID
    verdict = Story().did(0, "insert", [7, 0, 1]).did(1, "insert", [7, 1, 2]).judged(CHECKER)
    assert kinds(verdict) == ["write skew (G2-item)"]
    assert (
        "pair 7: process 0 inserted 1 on side 0 (0.000–0.001 s), having found both sides empty"
        in verdict.sentence
    )
    assert verdict.anomalies[0].operations == [0, 1, 2, 3]
    other = Story().did(0, "insert", [7, 0, 1]).did(1, "insert", [8, 1, 2]).failed(1, "insert", [7, 1, 3])
    assert other.judged(CHECKER).outcome == VALID


def test_snapshot_isolation_allows_both_sides_but_not_one_side_twice() -> None:
    """Whoever has inserted on the other side excuses nobody."""
    lenient = WriteSkewChecker(allows_skew=True)
    story = Story().did(0, "insert", [7, 0, 1]).did(1, "insert", [7, 1, 2])
    story.did(0, "insert", [8, 1, 3]).did(1, "insert", [8, 0, 4])
    verdict = story.judged(lenient)
    assert verdict.outcome == VALID
    assert "of 2 contested pairs none lost an update; 2 were filled on both sides" in verdict.sentence
    assert verdict.details["write_skews"] == 2
    for side in (0, 1):
        third = Story().did(0, "insert", [7, 0, 1]).did(1, "insert", [7, 1, 2]).did(2, "insert", [7, side, 5])
        verdict = third.judged(lenient)
        assert kinds(verdict) == ["lost update"]
        assert f"inserted 5 on side {side}" in verdict.sentence
        assert verdict.details["write_skews"] == 0
    assert Story().did(0, "insert", [7, 0, 1]).failed(1, "insert", [7, 1, 2]).judged(lenient).sentence == (
        "of 1 contested pair none was filled by two transactions"
    )


def test_the_same_side_twice_is_a_lost_update() -> None:
    verdict = Story().did(0, "insert", [7, 0, 1]).did(1, "insert", [7, 0, 2]).judged(CHECKER)
    assert kinds(verdict) == ["lost update"]


def test_an_insert_of_unknown_outcome_happened_if_it_was_read() -> None:
    story = Story().did(0, "insert", [7, 0, 1]).crashed(1, "insert", [7, 1, 2])
    assert story.did(2, "read", 7, [1, None]).judged(CHECKER).outcome == VALID
    verdict = story.did(2, "read", 7, [1, 2]).judged(CHECKER)
    assert kinds(verdict) == ["write skew (G2-item)"]
    assert verdict.anomalies[0].operations == [0, 1, 2, 3, 6, 7]
    both = Story().crashed(0, "insert", [7, 0, 1]).crashed(1, "insert", [7, 1, 2])
    both.did(2, "read", 7, [1, None]).did(2, "read", 7, [None, 2])
    assert kinds(both.judged(CHECKER)) == ["write skew (G2-item)"]


def test_ids_from_nowhere() -> None:
    story = Story().did(0, "insert", [7, 0, 1]).failed(1, "insert", [7, 1, 2])
    verdict = story.did(2, "read", 7, [None, 2]).judged(CHECKER)
    assert kinds(verdict) == ["id of a failed insert"]
    assert "read 2 on side 1 of pair 7 (0.004–0.005 s), whose insert had failed" in verdict.sentence
    strange = Story().did(0, "insert", [7, 1]).did(2, "read", 7, [None, 9])
    assert strange.judged(CHECKER).outcome == UNKNOWN, "it may have inserted the 9"
    verdict = Story().did(2, "read", 7, [None, 9]).judged(CHECKER)
    assert kinds(verdict) == ["id never inserted"]
    assert "which nobody inserted" in verdict.sentence


def test_an_id_seen_before_its_insert_began() -> None:
    early = Story().did(2, "read", 7, [1, None]).crashed(0, "insert", [7, 0, 1]).did(1, "insert", [7, 1, 2])
    verdict = early.judged(CHECKER)
    assert kinds(verdict) == ["id before its insert"], "whether the insert that crashed happened is not known"
    assert (
        "read 1 on side 0 of pair 7 (0.000–0.001 s) before process 0 began to insert it (" in verdict.sentence
    )
    during = Story()
    during.invoke(0, "insert", [7, 0, 1])
    during.did(2, "read", 7, [1, None])
    during.ok(0)
    assert during.failed(1, "insert", [7, 1, 2]).judged(CHECKER).outcome == VALID
    untimed = History(early.done().operations, has_real_time=False)
    assert kinds(CHECKER.check(untimed, Limits())) == ["write skew (G2-item)"]
    assert early.did(3, "insert", [7, 1]).judged(CHECKER).outcome == UNKNOWN, "it may have inserted the 1"


def test_what_cannot_be_judged_hides_nothing_that_comes_later() -> None:
    story = Story().did(0, "insert", [7, True, 0]).did(3, "read", 7, 5).did(0, "insert", [7, 0, 1])
    story.crashed(1, "insert", [7, 1, 2])
    assert story.judged(CHECKER).outcome == UNKNOWN
    verdict = story.did(2, "read", 7, [None, 2]).judged(CHECKER)
    assert kinds(verdict) == ["write skew (G2-item)"]
    assert "of unknown outcome, but its id was read" in verdict.sentence


def test_what_cannot_be_judged() -> None:
    assert Story().judged(CHECKER).outcome == UNKNOWN
    assert Story().did(0, "insert", [7, 0, 1]).judged(CHECKER).outcome == UNKNOWN
    refused = Story().failed(0, "insert", [7, 0, 1]).failed(0, "insert", [7, 1, 2])
    assert refused.judged(CHECKER).outcome == UNKNOWN
    strange = Story().did(0, "insert", [7, 2, 1]).did(0, "insert", 7).did(0, "read", 7, 1).judged(CHECKER)
    assert strange.outcome == UNKNOWN
    assert "3 values are not" in strange.sentence
