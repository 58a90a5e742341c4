"""Finding the range of a key and the parts of a span, and whom to ask."""

from reference_db.gateway.directory import Directory
from reference_db.ranges.descriptor import bootstrap


def make_directory(ranges: int = 4) -> Directory:
    return Directory(bootstrap(ranges, ["n1", "n2", "n3"], 3))


def test_every_key_is_found_in_the_range_that_contains_it() -> None:
    directory = make_directory()
    for key in (b"", b"0", b"8z", b"90", b"hzz", b"i0", b"zz", b"\xff"):
        assert directory.find(key).contains(key)


def test_a_span_is_taken_apart_at_the_borders() -> None:
    directory = make_directory()
    parts = [(part.id, start, end) for part, start, end in directory.overlapping(b"5", b"j")]
    assert parts == [(1, b"5", b"90"), (2, b"90", b"i0"), (3, b"i0", b"j")]


def test_an_open_span_reaches_the_last_range() -> None:
    parts = make_directory().overlapping(b"s", None)
    assert [(part.id, start, end) for part, start, end in parts] == [(4, b"s", None)]


def test_a_span_that_ends_at_a_border_does_not_touch_the_next_range() -> None:
    assert [part.id for part, _, _ in make_directory().overlapping(b"", b"90")] == [1]


def test_a_hint_is_followed_until_it_proves_wrong_then_replicas_are_asked_in_turn() -> None:
    directory = make_directory()
    directory.learn_leader(1, "n3")
    assert directory.candidate(1) == "n3"
    directory.forget_leader(1, "n2")
    assert directory.candidate(1) == "n3"
    directory.forget_leader(1, "n3")
    assert [directory.candidate(1) for _ in range(4)] == ["n1", "n2", "n3", "n1"]
