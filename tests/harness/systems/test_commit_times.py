"""Commit timestamps as numbers: ordered as the clock orders them, and left out where they do not fit in."""

from itertools import pairwise

from harness.systems.commit_times import BEFORE_NS, CommitTimes, Origin
from reference_db.timestamp import Timestamp

NOW = 1_800_000_000_000_000_000


def test_numbers_are_ordered_as_the_timestamps_are():
    origin = Origin()
    times = [
        Timestamp(NOW),
        Timestamp(NOW, 1),
        Timestamp(NOW, 65_535),
        Timestamp(NOW + 1),
        Timestamp(NOW + 10**13),
    ]
    numbers = [origin.number(one) for one in times]
    assert all(one < other for one, other in pairwise(numbers))
    assert max(numbers) < 1 << 62
    assert origin.number(Timestamp(NOW - BEFORE_NS)) == 0


def test_what_does_not_fit_in_is_left_out():
    origin = Origin()
    assert origin.number(Timestamp(NOW)) is not None
    for one in (Timestamp(NOW - BEFORE_NS - 1), Timestamp(NOW, 65_536), Timestamp(NOW + 2**46)):
        assert origin.number(one) is None


def test_only_one_commit_is_told_and_once():
    times = CommitTimes(Origin())
    assert times.take() is None
    times.note(Timestamp(NOW))
    assert times.take() is not None
    assert times.take() is None
    times.note(Timestamp(NOW))
    times.note(Timestamp(NOW, 1))
    assert times.take() is None
    times.note(None)
    assert times.take() is None
