"""How the keyspace is cut at the start, and what a span contains."""

import itertools

import pytest

from reference_db.ranges.descriptor import Descriptor, bootstrap, cut_points


def test_eight_ranges_are_cut_evenly_over_two_base_36_digits() -> None:
    assert cut_points(8) == [b"4i", b"90", b"di", b"i0", b"mi", b"r0", b"vi"]


def test_one_range_is_not_cut() -> None:
    assert cut_points(1) == []


@pytest.mark.parametrize("ranges", [0, 46_657])
def test_a_number_of_ranges_that_cannot_be_is_refused(ranges: int) -> None:
    with pytest.raises(ValueError, match=f"into {ranges} ranges"):
        cut_points(ranges)


@pytest.mark.parametrize("ranges", [1, 2, 3, 8, 100, 1296, 1297, 10_000])
def test_the_descriptors_tile_the_keyspace(ranges: int) -> None:
    descriptors = bootstrap(ranges, ["n1", "n2", "n3"], 3)
    assert descriptors[0].start == b""
    assert descriptors[-1].end is None
    assert all(left.end == right.start and left.end for left, right in itertools.pairwise(descriptors))


def test_replica_sets_and_preferred_leaders_go_round() -> None:
    descriptors = bootstrap(5, ["n1", "n2", "n3", "n4", "n5"], 3)
    assert [descriptor.preferred_leader for descriptor in descriptors] == ["n1", "n2", "n3", "n4", "n5"]
    assert descriptors[3].replicas == ("n4", "n5", "n1")


def test_more_replicas_than_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 replicas on 2 nodes"):
        bootstrap(1, ["n1", "n2"], 3)


def test_what_a_span_contains() -> None:
    middle = Descriptor(2, b"b", b"d", ("n1",))
    last = Descriptor(3, b"d", None, ("n1",))
    assert middle.contains(b"b")
    assert not middle.contains(b"d")
    assert last.contains(b"\xff")
    assert middle.contains_span(b"b", b"d")
    assert not middle.contains_span(b"b", None)
    assert last.contains_span(b"x", None)
