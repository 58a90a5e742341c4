"""The clock file: 40 bytes, a seqlock, and what a node makes of it."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.environments.clock_file import REAL_TIME, ClockSetting, read_clock, write_clock

nanoseconds = st.integers(-(2**62), 2**62)


def test_the_layout_is_the_one_that_readers_were_promised(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    write_clock(path, ClockSetting(-5, 7, 11))
    assert struct.unpack("<QqqqQ", path.read_bytes()) == (2, -5, 7, 11, 0)
    write_clock(path, ClockSetting(1, 2, 3))
    assert struct.unpack("<QqqqQ", path.read_bytes()) == (4, 1, 2, 3, 0)


@given(nanoseconds, st.integers(-(10**9), 10**9), nanoseconds)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, offset: int, rate: int, at: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "clock"
    write_clock(path, ClockSetting(offset, rate, at))
    assert read_clock(path) == ClockSetting(offset, rate, at)


def test_a_clock_drifts_from_its_anchor() -> None:
    second = 1_000_000_000
    fast = ClockSetting(offset_ns=500, rate_ppb=100_000_000, anchor_monotonic_ns=10 * second)
    assert fast.shift_ns(10 * second) == 500
    assert fast.shift_ns(12 * second) == 500 + second // 5
    assert REAL_TIME.shift_ns(99 * second) == 0


def test_a_reader_never_sees_half_a_setting(tmp_path: Path) -> None:
    """A writer alternates between two settings while a reader reads; a mixture would be a time nobody set."""
    path = tmp_path / "clock"
    settings = (ClockSetting(1, 1, 1), ClockSetting(2**40, 2**40, 2**40))
    write_clock(path, settings[0])
    enough = threading.Event()

    def write() -> None:
        for turn in range(2000):
            write_clock(path, settings[turn % 2])
        enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not enough.is_set():
        assert read_clock(path) in settings
    writer.join()


def test_a_short_or_half_written_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    path.write_bytes(b"1234")
    with pytest.raises(ValueError, match="has 4 bytes: a clock file has 40"):
        read_clock(path)
    path.write_bytes(struct.pack("<QqqqQ", 3, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="half written"):
        read_clock(path)
    write_clock(path, ClockSetting(9, 9, 9))
    assert read_clock(path) == ClockSetting(9, 9, 9), "the next writer sets it right"
