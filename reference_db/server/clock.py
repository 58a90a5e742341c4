"""The node's wall clock: the machine's, moved by the offset and drift that a clock file asks for.

A fault injector cannot change the clock of one process, so the database offers a port: a 40-byte file that the
injector writes and the node maps into memory. Five little-endian 64-bit integers:

    sequence (odd while it is being written), offset in ns, rate in parts per billion,
    CLOCK_MONOTONIC in ns at which the offset held, reserved

and the node's wall clock is `real wall + offset + rate * (monotonic - anchor)`. Only the wall clock moves: ticks,
timeouts and expiry run on the monotonic clock, and no promise of the database depends on the wall clock at all.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable

LAYOUT = struct.Struct("<QqqqQ")
"""sequence, offset_ns, rate_ppb, anchor_monotonic_ns, reserved."""

SPINS = 1000
"""How often a torn read is repeated before the last whole one is used (the writer may have died while writing)."""

RETRY_NS = 500_000_000
"""While the clock file does not exist, how often to look for it."""


def monotonic_ns() -> int:
    """Nanoseconds that only grow, and that go on while the process is paused and while the machine sleeps: a lease ends
    then too. Read anew by each call, unlike the time of a loop. Where there is no such clock, the monotonic one."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if boot is None else time.clock_gettime_ns(boot)


class Clock:
    """Wall clock in ns since 1970 as this node sees it, and whether somebody moved it.

    `path` None means the machine's own clock. A file that does not exist (yet) or is too short means no offset.
    """

    __slots__ = ("_anchor", "_map", "_monotonic_ns", "_next_look", "_offset", "_path", "_rate", "_wall_ns")

    def __init__(
        self,
        path: str | None,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._path = path
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._map: mmap.mmap | None = None
        self._next_look = 0
        self._offset = 0
        self._rate = 0
        self._anchor = 0

    def wall_ns(self) -> int:
        """The node's wall clock now. May jump in either direction: that is what a clock fault is."""
        real = self._wall_ns()
        if self._path is None:
            return real
        self._read()
        if self._rate == 0:
            return real + self._offset
        return real + self._offset + self._rate * (self._monotonic_ns() - self._anchor) // 1_000_000_000

    def _read(self) -> None:
        if self._map is None and not self._open():
            return
        assert self._map is not None
        for _ in range(SPINS):
            sequence, offset, rate, anchor, _reserved = LAYOUT.unpack_from(self._map)
            if sequence & 1 == 0 and LAYOUT.unpack_from(self._map)[0] == sequence:
                self._offset, self._rate, self._anchor = offset, rate, anchor
                return

    def _open(self) -> bool:
        assert self._path is not None
        now = self._monotonic_ns()
        if now < self._next_look:
            return False
        self._next_look = now + RETRY_NS
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            if os.fstat(descriptor).st_size < LAYOUT.size:
                return False
            self._map = mmap.mmap(descriptor, LAYOUT.size, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        return True

    def close(self) -> None:
        """Unmap the file."""
        if self._map is not None:
            self._map.close()
            self._map = None
