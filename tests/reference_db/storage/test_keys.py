"""The key layout: order is kept, nothing overlaps, everything can be taken apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_db.storage import keys
from reference_db.timestamp import MAX_LOGICAL, MAX_WALL_NS, Timestamp

user_keys = st.lists(st.sampled_from([0, 1, 2, 97, 254, 255]), max_size=5).map(bytes)
timestamps = st.builds(Timestamp, st.integers(0, MAX_WALL_NS), st.integers(0, MAX_LOGICAL))
ids = st.binary(min_size=16, max_size=16)


@given(user_keys, user_keys)
def test_escaping_keeps_the_order_and_no_key_is_a_prefix_of_another(one: bytes, other: bytes) -> None:
    assert (one < other) == (keys.escape(one) < keys.escape(other))
    assert keys.unescape(keys.escape(one)) == one
    if one != other:
        assert not keys.escape(one).startswith(keys.escape(other))


@given(user_keys, timestamps, user_keys, timestamps)
def test_versions_are_ordered_by_key_and_then_newest_first(
    one: bytes, at_one: Timestamp, other: bytes, at_other: Timestamp
) -> None:
    before = one < other or (one == other and at_one > at_other)
    assert (keys.version_key(one, at_one) < keys.version_key(other, at_other)) == before
    assert keys.split_version_key(keys.version_key(one, at_one)) == (one, at_one)
    assert keys.split_version_timestamp(keys.version_key(one, at_one)) == at_one


@given(user_keys, user_keys, st.none() | user_keys, timestamps, ids)
def test_a_span_holds_exactly_what_belongs_to_its_keys(
    key: bytes, start: bytes, end: bytes | None, timestamp: Timestamp, transaction_id: bytes
) -> None:
    inside = start <= key and (end is None or key < end)
    for kind, encoded in (
        (keys.VERSION, keys.version_key(key, timestamp)),
        (keys.LOCK, keys.lock_key(key)),
        (keys.RECORD, keys.record_key(key, transaction_id)),
    ):
        low, high = keys.span(kind, start, end)
        assert (low <= encoded < high) == inside


@given(st.integers(0, 2**64 - 2), st.integers(0, 2**64 - 2), st.integers(0, 2**64 - 2))
def test_a_log_lies_in_one_span_in_order(range_id: int, index: int, other: int) -> None:
    low, high = keys.log_span(range_id)
    assert low <= keys.log_key(range_id, index) < high
    assert (index < other) == (keys.log_key(range_id, index) < keys.log_key(range_id, other))
    assert keys.split_log_key(keys.log_key(range_id, index)) == (range_id, index)
    assert not low <= keys.log_key(range_id + 1, index) < high
    for single in (keys.descriptor_key, keys.hard_state_key, keys.applied_key, keys.truncated_key):
        assert not low <= single(range_id) < high
        assert keys.range_id_of(single(range_id)) == range_id


def test_kinds_dont_overlap() -> None:
    samples = {
        keys.STORE_IDENTITY,
        keys.CLOCK_BOUND,
        keys.descriptor_key(1),
        keys.hard_state_key(1),
        keys.applied_key(1),
        keys.truncated_key(1),
        keys.log_key(1, 1),
        keys.version_key(b"k", Timestamp(1)),
        keys.lock_key(b"k"),
        keys.record_key(b"k", b"i" * 16),
    }
    assert len(samples) == 10
    for kind in (keys.STORE, keys.RANGE, keys.VERSION, keys.LOCK, keys.RECORD):
        inside = [sample for sample in samples if kind <= sample < keys.after(kind)]
        assert all(sample[:1] == kind for sample in inside)
        assert inside


def test_nothing_follows_the_versions() -> None:
    """A search beyond the last version must not walk over deleted locks, records or log entries."""
    assert max(keys.STORE, keys.RANGE, keys.LOCK, keys.RECORD) < keys.VERSION


def test_a_store_finds_its_ranges_by_their_descriptors() -> None:
    assert keys.descriptor_range(keys.descriptor_key(7)) == 7
    assert keys.descriptor_range(keys.hard_state_key(7)) is None
    assert keys.descriptor_range(keys.log_key(7, ord("d"))) is None


def test_wrong_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="ends in 00 01"):
        keys.unescape(b"abc")
    with pytest.raises(AssertionError, match="16 bytes"):
        keys.record_key(b"k", b"short")


def test_a_version_key_of_a_key_with_zero_bytes_by_hand() -> None:
    encoded = keys.version_key(b"a\x00b", Timestamp(1, 2))
    assert encoded == b"va\x00\xffb\x00\x01" + b"\xff" * 7 + b"\xfe" + b"\xff" * 3 + b"\xfd"
