"""The clock port: a 40-byte file through which an environment tells a node what its wall clock shows.

Little-endian: u64 sequence, i64 offset_ns, i64 rate_ppb, i64 anchor_monotonic_ns, u64 reserved. The wall clock of
a node is then `real wall + offset + rate * (monotonic - anchor)`, with CLOCK_MONOTONIC of the same host. The
sequence is a seqlock: odd while being written, so a reader takes a copy, and takes it again if the sequence was
odd or has changed. The host's own clock is never touched.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import NamedTuple

SIZE_BYTES = 40
AT_ONCE, LATER, PAUSE_S = 100, 300, 0.001
"""How often a reader looks again: so often at once, then so often after a pause; then the writer must have died."""
_SEQUENCE = struct.Struct("<Q")
_BODY = struct.Struct("<qqq")
_WHOLE = struct.Struct("<QqqqQ")


class ClockSetting(NamedTuple):
    """What a node's clock shows relative to real time. All zero: real time."""

    offset_ns: int = 0
    rate_ppb: int = 0
    anchor_monotonic_ns: int = 0

    def shift_ns(self, monotonic_ns: int) -> int:
        """By how much the node's wall clock is ahead of real time at this reading of CLOCK_MONOTONIC."""
        return self.offset_ns + self.rate_ppb * (monotonic_ns - self.anchor_monotonic_ns) // 1_000_000_000


REAL_TIME = ClockSetting()


def write_clock(path: Path, setting: ClockSetting) -> None:
    """Create the file if need be, and set it. One writer at a time; readers may hold the file mapped."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.fstat(descriptor).st_size != SIZE_BYTES:
            os.ftruncate(descriptor, SIZE_BYTES)
        with mmap.mmap(descriptor, SIZE_BYTES) as mapped:
            sequence = _SEQUENCE.unpack_from(mapped, 0)[0] & ~1
            _SEQUENCE.pack_into(mapped, 0, sequence + 1)
            _BODY.pack_into(mapped, 8, *setting)
            _SEQUENCE.pack_into(mapped, 0, sequence + 2)
    finally:
        os.close(descriptor)


def read_clock(path: Path) -> ClockSetting:
    """The setting as a node would read it. Raises ValueError if the file is short or stays half written."""
    for attempt in range(AT_ONCE + LATER):
        if attempt >= AT_ONCE:
            time.sleep(PAUSE_S)  # On a busy machine a writer may be kept from going on.
        content = path.read_bytes()
        if len(content) != SIZE_BYTES:
            raise ValueError(f"{path} has {len(content)} bytes: a clock file has {SIZE_BYTES}")
        sequence, offset_ns, rate_ppb, anchor_ns, _reserved = _WHOLE.unpack(content)
        if sequence % 2 == 0 and path.read_bytes()[:8] == content[:8]:
            return ClockSetting(offset_ns, rate_ppb, anchor_ns)
    raise ValueError(f"{path} is half written (odd sequence): its writer died; write it again")
