"""The timestamp cache never answers lower than the reads that really happened, and exactly while it has room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.reads import TimestampCache

ONE, TWO, THREE = b"1" * 16, b"2" * 16, b"3" * 16


def at(wall: int) -> Timestamp:
    return Timestamp(wall)


def test_a_write_goes_above_the_read() -> None:
    cache = TimestampCache(ZERO)
    cache.record(b"k", at(10))
    assert cache.write_timestamp(b"k", at(5)) == at(10).next()
    assert cache.write_timestamp(b"k", at(10)) == at(10).next()
    assert cache.write_timestamp(b"k", at(11)) == at(11)
    assert cache.write_timestamp(b"other", at(5)) == at(5)


def test_own_reads_dont_stand_in_the_way() -> None:
    cache = TimestampCache(ZERO)
    cache.record(b"k", at(10), ONE)
    assert cache.last_read(b"k", ONE) == ZERO
    assert cache.last_read(b"k", TWO) == cache.last_read(b"k", None) == at(10)


def test_the_earlier_read_of_another_still_counts_for_the_later_reader() -> None:
    cache = TimestampCache(ZERO)
    cache.record(b"k", at(8), TWO)
    cache.record(b"k", at(10), ONE)
    assert cache.last_read(b"k", ONE) == at(8)
    assert cache.last_read(b"k", TWO) == at(10)
    cache.record(b"k", at(9), THREE)
    assert cache.last_read(b"k", ONE) == at(9)


def test_two_readers_at_one_timestamp_both_go_above() -> None:
    cache = TimestampCache(ZERO)
    cache.record(b"k", at(10), ONE)
    cache.record(b"k", at(10), TWO)
    assert cache.last_read(b"k", ONE) == cache.last_read(b"k", TWO) == at(10)


def test_a_scan_covers_keys_that_dont_exist() -> None:
    cache = TimestampCache(ZERO)
    cache.record_span(b"b", b"d", at(10), ONE)
    assert cache.last_read(b"b") == cache.last_read(b"c\xff") == at(10)
    assert cache.last_read(b"d") == cache.last_read(b"a") == ZERO
    assert cache.last_read(b"c", ONE) == ZERO
    cache.record_span(b"x", None, at(12))
    assert cache.last_read(b"\xff" * 9) == at(12)


def test_a_span_of_one_key_is_a_point() -> None:
    cache = TimestampCache(ZERO, span_limit=2)
    for i in range(10):
        cache.record_span(b"%d" % i, b"%d\x00" % i, at(10 + i))
    assert cache.low_water == ZERO
    assert cache.last_read(b"3") == at(13)


def test_a_new_leader_starts_with_everything_read_up_to_its_low_water_mark() -> None:
    cache = TimestampCache(at(100))
    assert cache.write_timestamp(b"never seen", at(50)) == at(100).next()
    cache.record(b"k", at(20))
    assert cache.last_read(b"k") == at(100)
    assert cache.last_read(b"k", ONE) == at(100), "whose reads the earlier leader saw is unknown"


def test_forgetting_raises_the_low_water_mark() -> None:
    cache = TimestampCache(ZERO, point_limit=3)
    for i in range(5):
        cache.record(b"k%d" % i, at(10 + i))
    assert cache.low_water == at(11)
    assert cache.last_read(b"k0") >= at(10)
    assert cache.last_read(b"k4") == at(14)

    cache = TimestampCache(ZERO, span_limit=4)
    for i in range(5):
        cache.record_span(b"a%d" % i, b"b%d" % i, at(10 + i))
    assert cache.low_water == at(11)
    assert cache.last_read(b"a4") == at(14)


keys = st.sampled_from([b"a", b"b", b"c", b"d"])
ends = st.none() | st.sampled_from([b"a\x00", b"b", b"c", b"d", b"e"])
readers = st.none() | st.sampled_from([ONE, TWO, THREE])
reads = st.lists(
    st.tuples(keys, st.none() | ends.map(lambda end: (end,)), st.integers(1, 30), readers), max_size=30
)


@given(reads, keys, readers, st.booleans())
def test_against_a_list_of_all_reads(
    script: list[tuple[bytes, tuple[bytes | None] | None, int, bytes | None]],
    key: bytes,
    asking: bytes | None,
    is_small: bool,
) -> None:
    cache = TimestampCache(ZERO, 2, 2) if is_small else TimestampCache(ZERO)
    truth = ZERO
    for start, span, time, reader in script:
        if span is None:
            cache.record(start, at(time), reader)
            covers = start == key
        else:
            cache.record_span(start, span[0], at(time), reader)
            covers = start <= key and (span[0] is None or key < span[0])
        if covers and (reader is None or reader != asking):
            truth = max(truth, at(time))
    if is_small:
        assert cache.last_read(key, asking) >= truth
    else:
        assert cache.last_read(key, asking) == truth
