"""Schedules: the request grammar, drawing from a seed, saving and loading."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemesis.clock import DRAWN as CLOCKS_DRAWN
from nemesis.clock import Clock
from nemesis.disk import Disk
from nemesis.package import check_schedule
from nemesis.packet import Packet
from nemesis.partition import Partition
from nemesis.process import Kill, Pause, Restart
from nemesis.schedule import ALL, NAMES, Request, Schedule, Step, draw, parse_nemesis, requested_classes

PACKAGES = {
    package.name: package for package in (Partition(), Packet(), Kill(), Pause(), Restart(), Clock(), Disk())
}
SECOND = 1_000_000_000


def names_of(size: int) -> list[str]:
    return [f"n{number}" for number in range(1, size + 1)]


def test_requests_are_read_with_shape_and_target() -> None:
    assert parse_nemesis("partition:bridge, kill@leader,clock") == [
        Request("partition", "bridge"),
        Request("kill", None, "leader"),
        Request("clock"),
    ]
    assert parse_nemesis("partition:one-way@n2") == [Request("partition", "one-way", "n2")]
    assert parse_nemesis("none") == []
    with pytest.raises(ValueError, match="is empty"):
        parse_nemesis(" ")
    assert parse_nemesis("all") == [ALL]
    assert parse_nemesis("kill,kill") == [Request("kill")]
    assert str(Request("partition", "one-way", "n2")) == "partition:one-way@n2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kill,explode", "unknown nemesis 'explode'; known: partition"),
        ("kill,", "the form is name"),
        ("kill@", "the form is name"),
        (":bridge", "the form is name"),
        ("partition:", "the form is name"),
        ("none,kill", "'none' stands alone"),
        ("all:bridge", "'all' takes no shape"),
    ],
)
def test_a_request_that_cannot_be_read_says_what_would_be(text: str, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_nemesis(text)
    assert words in str(raised.value)


def test_every_known_name_is_read() -> None:
    assert [request.name for request in parse_nemesis(",".join(NAMES))] == list(NAMES)


requests_of_a_run = st.lists(st.sampled_from(sorted(PACKAGES)), min_size=1, unique=True).map(
    lambda names: [Request(name) for name in names]
)


@given(requests_of_a_run, st.integers(0, 2**32), st.integers(10, 300), st.integers(1, 7))
@settings(max_examples=150)
def test_every_class_comes_early_and_lasts_and_ends_within_the_run(
    requests: list[Request], seed: int, seconds: int, size: int
) -> None:
    duration = seconds * SECOND
    schedule = draw(requests, Random(seed), duration, names_of(size), PACKAGES)

    assert schedule.requested == tuple(sorted(request.name for request in requests)) == schedule.faults()
    for request in requests:
        steps = [step for step in schedule if step.fault == request.name]
        first = steps[0]
        assert 0.1 * duration <= first.at_ns < 0.4 * duration
        for step, following in pairwise(steps):
            assert step.end_ns < following.at_ns, "steps of one class never overlap"
    for step in schedule:
        assert SECOND <= step.duration_ns <= 10 * SECOND
        assert step.end_ns <= duration


@given(requests_of_a_run, st.integers(0, 2**32), st.integers(20, 600))
@settings(max_examples=100)
def test_a_longer_run_has_a_calm_stretch_in_its_middle(
    requests: list[Request], seed: int, seconds: int
) -> None:
    duration = seconds * SECOND
    for step in draw(requests, Random(seed), duration, names_of(5), PACKAGES):
        assert step.end_ns <= int(0.45 * duration) or step.at_ns >= int(0.55 * duration), step.describe()


def test_faults_of_different_classes_overlap_sometimes_and_calm_is_left() -> None:
    requests = [Request("partition"), Request("kill"), Request("pause")]
    overlaps = calm = total = 0
    for seed in range(50):
        schedule = draw(requests, Random(seed), 60 * SECOND, names_of(3), PACKAGES)
        for tenth in range(600):
            now = tenth * SECOND // 10
            active = sum(step.at_ns <= now < step.end_ns for step in schedule)
            overlaps += active >= 2
            calm += active == 0
            total += 1
    assert overlaps > 0.05 * total
    assert 0.3 * total < calm < 0.7 * total


def test_a_higher_intensity_draws_more_steps_and_leaves_the_calm_stretch() -> None:
    def steps(intensity: float) -> list[Step]:
        found: list[Step] = []
        for seed in range(40):
            requests = [Request("kill"), Request("partition")]
            found += draw(requests, Random(seed), 60 * SECOND, names_of(5), PACKAGES, intensity)
        return found

    counts = [len(steps(intensity)) for intensity in (0.5, 1.0, 3.0)]
    assert counts[0] < counts[1] < counts[2], counts
    assert counts[2] > 1.3 * counts[0], counts
    assert not [one for one in steps(3.0) if one.at_ns < 33 * SECOND and one.end_ns > 27 * SECOND]


def test_the_seed_is_the_schedule() -> None:
    requests = [Request("partition"), Request("clock")]
    one = draw(requests, Random(7), 60 * SECOND, names_of(5), PACKAGES)
    same = draw(list(reversed(requests)), Random(7), 60 * SECOND, names_of(5), PACKAGES)
    other = draw(requests, Random(8), 60 * SECOND, names_of(5), PACKAGES)
    assert one == same
    assert one != other


def test_what_was_asked_for_is_what_is_drawn() -> None:
    requests = parse_nemesis("partition:bridge,kill@leader,clock:drift@n3,partition@leader")
    schedule = draw(requests, Random(1), 120 * SECOND, names_of(5), PACKAGES)
    aims = {(step.fault, step.shape, step.target) for step in schedule}
    assert aims == {
        ("partition", "bridge", "one"),
        ("partition", "leader", "leader"),
        ("kill", None, "leader"),
        ("clock", "drift", "n3"),
    }


def test_a_shape_that_was_asked_for_is_what_the_run_must_show() -> None:
    """Any partition was once proof enough for a bridge."""
    requests = parse_nemesis("partition:bridge@n2,partition,kill@leader,clock:drift")
    obliged = ("clock:drift", "kill", "partition", "partition:bridge")
    assert requested_classes(requests) == obliged
    assert draw(requests, Random(1), 60 * SECOND, names_of(5), PACKAGES).requested == obliged
    assert requested_classes([ALL]) == requested_classes([]) == ()


def test_small_clusters_are_given_only_targets_that_they_have() -> None:
    for seed in range(100):
        schedule = draw(
            [Request(name) for name in PACKAGES], Random(seed), 60 * SECOND, names_of(2), PACKAGES
        )
        check_schedule(schedule, PACKAGES, names_of(2))


def test_over_many_seeds_every_shape_and_target_is_drawn() -> None:
    """A generator that never draws some shape would leave it untested without anybody noticing."""
    seen: set[tuple[str, str | None]] = set()
    targets: set[tuple[str, str | None]] = set()
    for seed in range(200):
        schedule = draw(
            [Request(name) for name in PACKAGES], Random(seed), 120 * SECOND, names_of(5), PACKAGES
        )
        seen |= {(step.fault, step.shape) for step in schedule}
        targets |= {(step.fault, step.target) for step in schedule}
    assert {shape for fault, shape in seen if fault == "partition"} == set(Partition.shapes)
    assert {shape for fault, shape in seen if fault == "clock"} == set(CLOCKS_DRAWN)
    assert {target for fault, target in targets if fault == "kill"} == {
        "one",
        "minority",
        "majority",
        "all",
        "leader",
    }


def test_the_first_kill_and_pause_leave_others_something_to_hit() -> None:
    for seed in range(200):
        schedule = draw([Request("kill"), Request("pause")], Random(seed), 30 * SECOND, names_of(3), PACKAGES)
        for fault in ("kill", "pause"):
            first = next(step for step in schedule if step.fault == fault)
            assert first.target in ("one", "leader")


def test_nothing_asked_for_or_no_time_gives_an_empty_schedule() -> None:
    assert len(draw([], Random(1), 60 * SECOND, names_of(3), PACKAGES)) == 0
    assert len(draw([Request("kill")], Random(1), 0, names_of(3), PACKAGES)) == 0


def test_a_saved_schedule_comes_back_as_it_was(tmp_path: Path) -> None:
    schedule = draw([Request(name) for name in PACKAGES], Random(3), 60 * SECOND, names_of(5), PACKAGES)
    path = tmp_path / "schedule.jsonl"
    schedule.save(path)
    assert Schedule.load(path) == schedule
    assert Schedule.from_dicts(schedule.to_dicts()) == schedule


def test_a_schedule_with_nonsense_lists_all_its_problems(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as raised:
        Schedule.of([Step(1, 0, "kill"), Step(1, -5, "kill"), Step(2, 9, "Quake!")])
    for problem in ("at_ns -5", "step id 1 occurs twice", "step 2: 'Quake!' is no name of a fault"):
        assert problem in str(raised.value)
    path = tmp_path / "schedule.jsonl"
    path.write_text('{"id":1,"at_ns":0,"fault":"kill"}\n{"id":"two"}\n')
    with pytest.raises(ValueError, match="line 2: not a step"):
        Schedule.load(path)
