"""The hybrid clock: order, encoding, and the bound that carries it over a crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_db.storage import keys
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.timestamp import (
    MAX_LOGICAL,
    MAX_TIMESTAMP,
    MAX_WALL_NS,
    ZERO,
    HybridClock,
    Timestamp,
    decode_timestamp,
)

timestamps = st.builds(Timestamp, st.integers(0, MAX_WALL_NS - 1), st.integers(0, MAX_LOGICAL))
SECOND = 1_000_000_000


class Wall:
    """A wall clock that stands where the test puts it."""

    def __init__(self, now: int = 1_700_000_000 * SECOND) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def opened_clock(wall: Wall) -> HybridClock:
    """A clock whose first bound is durable."""
    clock = HybridClock(wall)
    bound = clock.bound_to_persist()
    assert bound is not None
    clock.bound_persisted(bound)
    return clock


@given(timestamps, timestamps)
def test_encoding_keeps_the_order(one: Timestamp, other: Timestamp) -> None:
    assert (one < other) == (one.encode() < other.encode())
    assert decode_timestamp(one.encode()) == one


@given(timestamps)
def test_nothing_lies_between_a_timestamp_and_its_next(timestamp: Timestamp) -> None:
    assert timestamp < timestamp.next()
    assert timestamp.next().prev() == timestamp


def test_the_ends_of_time() -> None:
    assert Timestamp(5, MAX_LOGICAL).next() == Timestamp(6, 0)
    assert Timestamp(6, 0).prev() == Timestamp(5, MAX_LOGICAL)
    assert ZERO < Timestamp(0, 1) < MAX_TIMESTAMP
    with pytest.raises(ValueError, match="nothing comes before"):
        ZERO.prev()
    with pytest.raises(ValueError, match="12 bytes, got 3"):
        decode_timestamp(b"abc")


def test_now_follows_the_wall_and_counts_while_it_stands_or_goes_back() -> None:
    wall = Wall()
    clock = opened_clock(wall)
    first = clock.now()
    assert first == Timestamp(wall.now, 0)
    assert clock.now() == Timestamp(wall.now, 1)
    wall.now -= 3600 * SECOND
    assert clock.now() == Timestamp(first.wall_ns, 2)
    wall.now = first.wall_ns + 5
    assert clock.now() == Timestamp(first.wall_ns + 5, 0)


def test_a_message_from_the_future_lifts_the_clock() -> None:
    wall = Wall()
    clock = opened_clock(wall)
    heard = Timestamp(wall.now + 7, 3)
    clock.forward(heard)
    assert clock.last == heard
    assert clock.now() == heard.next()
    clock.forward(ZERO)
    assert clock.now() > heard


def test_now_never_passes_the_durable_bound() -> None:
    wall = Wall()
    clock = opened_clock(wall)
    wall.now += 3600 * SECOND
    held = [clock.now() for _ in range(5)]
    assert held == sorted(set(held))
    assert all(timestamp.wall_ns == clock.bound_ns for timestamp in held)
    assert not clock.is_ahead_of_bound
    bound = clock.bound_to_persist()
    assert bound is not None
    assert bound > wall.now
    clock.bound_persisted(bound)
    assert clock.now() == Timestamp(wall.now, 0)


def test_a_peer_beyond_the_window_holds_everything_back_until_the_bound_has_moved() -> None:
    wall = Wall()
    clock = opened_clock(wall)
    clock.forward(Timestamp(wall.now + 3600 * SECOND, 0))
    assert clock.is_ahead_of_bound
    bound = clock.bound_to_persist()
    assert bound is not None
    assert clock.is_ahead_of_bound, "a bound that is only proposed isn't durable"
    clock.bound_persisted(bound)
    assert not clock.is_ahead_of_bound


def test_the_bound_moves_once_per_half_window() -> None:
    wall = Wall()
    clock = HybridClock(wall, window_ns=2 * SECOND)
    written = 0
    for _ in range(10_000):
        bound = clock.bound_to_persist()
        if bound is not None:
            written += 1
            clock.bound_persisted(bound)
        clock.now()
        wall.now += SECOND // 1000
    assert 9 <= written <= 11, "ten seconds, a window of two"


@given(st.lists(st.sampled_from(["now", "forward", "back", "on", "turn", "crash"]), max_size=60))
def test_whatever_left_the_node_is_below_everything_after_a_crash(script: list[str]) -> None:
    """1. The clock issues, hears, jumps. 2. Timestamps leave only while the bound covers them. 3. The node crashes and
    loses what wasn't synced. 4. Everything issued from then on is above all that had left."""
    engine = MemoryEngine()
    wall = Wall()

    def started() -> HybridClock:
        return HybridClock(wall, int.from_bytes(engine.get(keys.CLOCK_BOUND) or b"", "big"))

    clock, left = started(), ZERO
    for step in script:
        match step:
            case "now":
                issued = clock.now()
                assert issued > left
                if not clock.is_ahead_of_bound:
                    left = issued
            case "forward":
                clock.forward(Timestamp(clock.last.wall_ns + 3 * SECOND, 1))
                if not clock.is_ahead_of_bound:
                    left = max(left, clock.last)
            case "back":
                wall.now -= 30 * SECOND
            case "on":
                wall.now += SECOND
            case "turn":
                bound = clock.bound_to_persist()
                if bound is not None:
                    batch = WriteBatch()
                    batch.put(keys.CLOCK_BOUND, bound.to_bytes(8, "big"))
                    engine.write(batch)
                    engine.sync()
                    clock.bound_persisted(bound)
            case "crash":
                engine.crash()
                clock = started()
                assert clock.now() > left


def test_a_window_must_be_positive() -> None:
    with pytest.raises(ValueError, match="must be positive, got 0"):
        HybridClock(Wall(), window_ns=0)
