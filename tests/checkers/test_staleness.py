"""Bounded staleness: reads that lag too far behind, by real time and by commit times."""

from __future__ import annotations

import pytest

from checkers.staleness import StalenessChecker
from results.verdict import INVALID, UNKNOWN, VALID
from tests.support.stories import Story, kinds

SECOND = 1_000_000_000


class Timed(Story):
    """Operations at given seconds, each taking a tenth of one."""

    def at(self, second: float, process: int, f: str, asked: object, answer: object) -> Timed:
        start = int(second * SECOND)
        self.invoke(process, f, asked, time=start)
        self.event(process, "ok", f, answer, time=start + SECOND // 10)
        return self

    def write(self, second: float, process: int, key: str, value: object, *timestamp: int) -> Timed:
        return self.at(second, process, "write", [key, value], [key, value, *timestamp])

    def read(self, second: float, process: int, key: str, value: object, *timestamp: int) -> Timed:
        return self.at(second, process, "read", [key, None], [key, value, *timestamp])


def checker(seconds: float, same_clock: bool = False) -> StalenessChecker:
    return StalenessChecker(int(seconds * SECOND), same_clock)


def test_an_old_version_is_allowed_for_as_long_as_the_bound() -> None:
    story = Timed().write(0, 0, "x", 1).write(1, 0, "x", 2).read(4, 1, "x", 1)
    assert story.judged(checker(3)).outcome == VALID
    verdict = story.judged(checker(2))
    assert kinds(verdict) == ["read too stale"]
    assert (
        "a newer value, 2, written by process 0 (1.000–1.100 s), had been acknowledged 2.900 s"
        in verdict.sentence
    )
    assert verdict.anomalies[0].operations == [2, 3, 4, 5]
    assert verdict.anomalies[0].evidence["longest_lag_ns"] == 2.9 * SECOND


def test_exactly_the_bound_is_not_more_than_the_bound() -> None:
    story = Timed().write(0, 0, "x", 1).write(1, 0, "x", 2).read(4.1, 1, "x", 1)
    assert story.judged(checker(3)).outcome == VALID
    assert story.judged(checker(2.999)).outcome == INVALID


def test_a_clock_that_goes_back_makes_nothing_late() -> None:
    """The read came first; only a clock that was set back since would have it after the second write."""
    story = Timed().write(10, 0, "x", 1).read(10.5, 1, "x", 1).write(4, 0, "x", 2)
    verdict = story.judged(checker(3))
    assert verdict.outcome == UNKNOWN
    assert verdict.sentence.startswith("the clock of the history went back by 6.6 s (event 4), so")
    # What is too late by every time that was recorded is still wrong.
    assert kinds(story.read(15, 1, "x", 1).judged(checker(3))) == ["read too stale"]


def test_nil_that_was_written_may_be_older_or_newer() -> None:
    story = Timed().write(0, 0, "x", 1).write(1, 0, "x", None).read(4, 1, "x", None)
    verdict = story.judged(checker(1))
    assert verdict.outcome == UNKNOWN
    assert verdict.sentence.startswith(
        "nil was written to 'x', so a read of nil may have seen that or nothing yet"
    )
    assert kinds(story.read(5, 1, "x", 1).judged(checker(1))) == ["read too stale"]
    unread = Timed().write(0, 0, "x", None).write(1, 0, "x", 1).read(4, 1, "x", 1)
    assert unread.judged(checker(1)).outcome == VALID


def test_nothing_is_older_than_anything() -> None:
    story = Timed().write(0, 0, "x", 1).read(4, 1, "x", None)
    assert kinds(story.judged(checker(3))) == ["read too stale"]
    assert Timed().write(0, 0, "y", 1).read(4, 1, "x", None).judged(checker(3)).outcome == VALID


def test_writes_that_overlap_have_no_known_order_without_timestamps() -> None:
    def overlapping(*timestamps: tuple[int, ...]) -> Timed:
        story = Timed()
        story.invoke(0, "write", ["x", 1], time=0)
        story.invoke(1, "write", ["x", 2], time=0)
        story.event(0, "ok", "write", ["x", 1, *timestamps[0]], time=SECOND)
        story.event(1, "ok", "write", ["x", 2, *timestamps[1]], time=SECOND)
        return story.read(9, 2, "x", 1)

    assert overlapping((), ()).judged(checker(1)).outcome == VALID
    assert overlapping((11,), (10,)).judged(checker(1)).outcome == VALID
    verdict = overlapping((10,), (11,)).judged(checker(1))
    assert kinds(verdict) == ["read too stale"]
    assert "had been acknowledged 8.000 s before" in verdict.sentence


def test_commit_timestamps_of_completions_order_writes_that_overlap() -> None:
    def overlapping(first: int | None, second: int | None) -> Timed:
        story = Timed()
        story.invoke(0, "write", ["x", 1], time=0)
        story.invoke(1, "write", ["x", 2], time=0)
        story.event(0, "ok", "write", ["x", 1], time=SECOND, committed_at=first)
        story.event(1, "ok", "write", ["x", 2], time=SECOND, committed_at=second)
        return story.read(9, 2, "x", 1)

    assert overlapping(11, 10).judged(checker(1)).outcome == VALID
    assert overlapping(None, 10).judged(checker(1)).outcome == VALID
    assert kinds(overlapping(10, 11).judged(checker(1))) == ["read too stale"]


def test_where_one_of_two_versions_has_a_timestamp_real_time_orders_them() -> None:
    for first, second in (((), (11,)), ((10,), ())):
        story = Timed().write(0, 0, "x", 1, *first).write(1, 0, "x", 2, *second)
        assert story.read(2, 1, "x", 2).judged(checker(2)).outcome == VALID
        verdict = story.read(4, 1, "x", 1, *first).judged(checker(2))
        assert kinds(verdict) == ["read too stale"]
        assert "had been acknowledged 2.900 s before" in verdict.sentence


def test_without_a_bound_a_read_misses_nothing_that_had_ended() -> None:
    story = Timed().write(0, 0, "x", 1)
    story.invoke(0, "write", ["x", 2], time=SECOND)
    story.event(0, "ok", "write", ["x", 2], time=SECOND + 1)
    story.invoke(1, "read", ["x", None], time=SECOND + 2)
    story.event(1, "ok", "read", ["x", 1], time=SECOND + 3)
    assert kinds(story.judged(StalenessChecker())) == ["read too stale"]


def test_the_read_that_lags_most_is_told_first() -> None:
    story = Timed().write(0, 0, "x", 1).write(1, 0, "x", 2)
    for second in (4, 9, 5):
        story.read(second, 1, "x", 1)
    (anomaly,) = story.judged(checker(1)).anomalies
    assert anomaly.sentence.startswith("3 reads too stale: process 1 read 1 from key 'x' (9.000–9.100 s)")
    assert anomaly.operations == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_value_may_be_a_list_of_two() -> None:
    """Only a compare-and-set writes the second of them."""
    story = Timed().write(0, 0, "x", [1, 2]).write(1, 0, "x", [3, 2]).read(2, 1, "x", [3, 2])
    assert story.judged(checker(1)).outcome == VALID
    assert "but a newer value, [3, 2]," in story.read(9, 1, "x", [1, 2]).judged(checker(1)).sentence


@pytest.mark.parametrize(
    ("f", "asked", "answer", "may_have_written"),
    [
        ("write", 5, 5, True),
        ("write", ["x"], ["x"], True),
        ("write", ["x", 3], 5, False),
        ("write", ["x", 3], "none", False),
        ("read", ["x", None], 5, False),
        ("read", ["x", None], ["x"], False),
    ],
)
def test_what_has_another_shape_hides_nothing_but_what_it_may_have_written(
    f: str, asked: object, answer: object, may_have_written: bool
) -> None:
    """A write that was answered with something else has written what was asked for."""
    story = Timed().write(0, 0, "x", 1).write(1, 0, "x", 2).at(2, 1, f, asked, answer)
    story.read(2.5, 2, "x", 2)
    assert story.judged(checker(1)).outcome == UNKNOWN
    assert (story.read(3, 3, "x", 9).judged(checker(1)).outcome == INVALID) is not may_have_written
    if f == "write" and not may_have_written:
        assert "a newer value, 3," in story.read(9, 2, "x", 2).judged(checker(1)).sentence


@pytest.mark.parametrize(
    ("f", "asked", "answer"),
    [
        ("write", ["x", 3], ["x", 4]),
        ("write", ["x", 3], ["y", 3]),
        ("write", ["x", 3], ["x", "3", 5]),
        ("cas", ["x", [2, 3]], ["x", [2, 4]]),
        ("cas", ["x", [2, 3]], ["y", [2, 3]]),
    ],
)
def test_an_answer_about_another_write_leaves_open_what_was_written(
    f: str, asked: object, answer: object
) -> None:
    story = Timed().write(0, 0, "x", 1).write(1, 0, "x", 2).at(2, 1, f, asked, answer)
    for value in (2, 3, 4):
        assert story.read(9, 2, "x", value).judged(checker(1)).outcome == UNKNOWN
    assert kinds(story.read(9, 2, "x", 1).judged(checker(1))) == ["read too stale"]
    told = Timed().write(0, 0, "x", 1).write(1, 0, "x", 2).at(2, 1, f, asked, asked)
    assert kinds(told.read(9, 2, "x", 2).judged(checker(1))) == ["read too stale"]


def test_an_answer_about_another_key_was_read_nowhere() -> None:
    story = Timed().write(0, 0, "x", 1).write(1, 0, "y", 2)
    assert story.at(9, 1, "read", ["y", None], ["x", None]).judged(checker(1)).outcome == UNKNOWN
    assert kinds(story.at(9, 1, "read", ["x", None], ["x", None]).judged(checker(1))) == ["read too stale"]


def test_a_write_of_unknown_outcome_is_never_missed_but_may_be_seen() -> None:
    story = Timed().write(0, 0, "x", 1)
    story.invoke(5, "write", ["x", 2], time=SECOND)
    story.info(5, "timeout", time=SECOND)
    assert story.read(9, 1, "x", 1).judged(checker(1)).outcome == VALID
    assert story.read(10, 1, "x", 2).judged(checker(1)).outcome == VALID
    story.write(11, 0, "x", 3)
    assert story.read(20, 1, "x", 2).judged(checker(1)).outcome == VALID
    assert kinds(story.read(20, 1, "x", 1).judged(checker(1))) == ["read too stale"]


def test_commit_times_on_the_same_clock_bound_a_read_too() -> None:
    """The newer write was acknowledged just before the read, but committed long ago."""
    story = Timed().write(0, 0, "x", 1, 0)
    story.invoke(1, "write", ["x", 2], time=SECOND)
    story.event(1, "ok", "write", ["x", 2, SECOND], time=9 * SECOND)
    story.read(9.1, 2, "x", 1, 0)
    assert story.judged(StalenessChecker(3 * SECOND)).outcome == VALID
    verdict = story.judged(checker(3, same_clock=True))
    assert kinds(verdict) == ["read too stale"]
    assert "had been committed 8.100 s before" in verdict.sentence


def test_timestamps_have_to_make_sense() -> None:
    two = Timed().write(0, 0, "x", 1, 10).read(1, 1, "x", 1, 11)
    verdict = two.judged(checker(5))
    assert kinds(verdict) == ["version with two timestamps"]
    assert "10 for process 0 (0.000–0.100 s) and 11 for process 1 (1.000–1.100 s)" in verdict.sentence
    one = Timed().write(0, 0, "x", 1, 10).write(1, 0, "x", 2, 10).read(2, 1, "x", 2, 10)
    assert kinds(one.judged(checker(5))) == ["timestamp of two versions"]
    assert "1 and 2 of key 'x' both have timestamp 10" in one.judged(checker(5)).sentence
    assert one.judged(checker(5)).anomalies[0].operations == [0, 1, 2, 3]
    last = Timed().write(0, 0, "x", 1, 5).write(1, 0, "x", 2, 10).write(2, 0, "x", 3, 10).read(3, 1, "x", 3)
    assert "2 and 3 of key 'x' both have timestamp 10" in last.judged(checker(5)).sentence
    assert (
        Timed().write(0, 0, "x", 1, 10).write(1, 0, "y", 2, 10).read(2, 1, "x", 1).judged(checker(5)).outcome
        == VALID
    )


def test_values_from_nowhere() -> None:
    assert kinds(Timed().read(0, 0, "x", 7).judged(checker(1))) == ["value never written"]
    story = Timed()
    story.failed(0, "write", ["x", 7])
    assert kinds(story.did(1, "read", ["x", None], ["x", 7]).judged(checker(1))) == [
        "value of a failed write"
    ]


def test_what_cannot_be_judged() -> None:
    assert Timed().write(0, 0, "x", 1).judged(checker(1)).outcome == UNKNOWN
    twice = Timed().write(0, 0, "x", 1).write(1, 0, "x", 1).read(2, 1, "x", 1).judged(checker(1))
    assert twice.outcome == UNKNOWN
    assert "written more than once" in twice.sentence
    strange = (
        Timed().did(0, "read", "x", "seven").did(0, "write", ["x", 1], ["x", 1, "noon"]).judged(checker(1))
    )
    assert strange.outcome == UNKNOWN
    others = Timed().write(0, 0, "x", 1).write(1, 0, "x", 2)
    for answer in ("no", 5, ["x"]):
        others.did(3, "read", ["x", None], answer)
    assert others.read(2, 1, "x", 2).judged(checker(2)).outcome == UNKNOWN
    assert kinds(others.read(9, 1, "x", 1).judged(checker(2))) == ["read too stale"]
    with pytest.raises(ValueError, match="give 0 or more"):
        StalenessChecker(-1)


def test_a_compare_and_set_writes_its_new_value() -> None:
    """Unless it failed: then nobody may ever read it."""
    story = Timed().write(0, 0, "x", 1).at(1, 0, "cas", ["x", [1, 2]], ["x", [1, 2]])
    assert story.read(2, 1, "x", 2).judged(checker(0)).outcome == VALID
    assert kinds(story.read(4, 1, "x", 1).judged(checker(2))) == ["read too stale"]
    refused = Timed().write(0, 0, "x", 1)
    refused.invoke(0, "cas", ["x", [5, 6]], time=SECOND)
    refused.event(0, "fail", "cas", ["x", [5, 6]], time=SECOND + 1)
    assert kinds(refused.read(2, 1, "x", 6).judged(checker(2))) == ["value of a failed write"]


def test_where_nothing_was_written_nothing_can_be_missed() -> None:
    verdict = Timed().read(1, 0, "x", None).judged(checker(1))
    assert verdict.outcome == UNKNOWN
    assert "nothing was written" in verdict.sentence
    assert kinds(Timed().read(1, 0, "x", None).read(2, 0, "x", 7).judged(checker(1))) == [
        "value never written"
    ]


def test_the_newer_value_of_a_compare_and_set_is_told() -> None:
    story = Timed().write(0, 0, "x", 1).at(1, 0, "cas", ["x", [1, 2]], ["x", [1, 2]]).read(4, 1, "x", 1)
    assert "but a newer value, 2, written by process 0" in story.judged(checker(2)).sentence


def test_nil_that_was_written_has_no_timestamp_of_its_own() -> None:
    story = Timed().read(0, 1, "x", None, 3).write(1, 0, "x", 1, 5).write(2, 0, "x", None, 7)
    assert story.read(2.5, 1, "x", None, 7).judged(checker(100)).outcome == UNKNOWN
    twin = Timed().read(0, 1, "x", 2, 3).write(0, 0, "x", 2, 7)
    assert "version with two timestamps" in kinds(twin.judged(checker(100)))


def test_a_version_is_not_read_before_its_write_began() -> None:
    """However old a read may be, it is not younger than what there is."""
    early = Timed().read(0, 1, "x", 1).write(1, 0, "x", 1)
    assert kinds(early.judged(checker(100))) == ["value before its write"]
    overlapping = Timed()
    overlapping.invoke(1, "read", ["x", None], time=0)
    overlapping.invoke(0, "write", ["x", 1], time=1)
    overlapping.event(1, "ok", "read", ["x", 1], time=2)
    overlapping.event(0, "ok", "write", ["x", 1], time=3)
    assert overlapping.judged(checker(100)).outcome == VALID


def test_a_write_whose_answer_cannot_be_read_wrote_what_it_was_asked_to() -> None:
    for answer in ("nonsense", [[]], {"x": 5}):
        story = Story().did(0, "write", ["x", 1], answer).did(0, "cas", ["x", [1, 2]], answer)
        story.did(1, "read", ["x", None], ["x", 1]).did(1, "read", ["x", None], ["x", 2])
        verdict = story.judged(checker(100))
        assert verdict.outcome == UNKNOWN, verdict.sentence
