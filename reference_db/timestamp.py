"""Hybrid logical clock: timestamps that order everything a node has seen, and never go back, not even by a restart.

After Kulkarni, Demirbas et al., "Logical Physical Clocks" (2014), with one addition: an upper bound that is durable
before any timestamp above it leaves the node. So whoever acknowledged a message that carried timestamp R has a clock of
at least R for ever, across any crash, and safety depends on no wall clock at all.

Nothing in this file reads a real clock: `wall_ns` is passed in.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec

ENCODED_BYTES = 12
"""Length of an encoded timestamp."""

MAX_WALL_NS = 2**64 - 1
MAX_LOGICAL = 2**32 - 1

_PACKING = struct.Struct(">QI")


class Timestamp(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """A point in hybrid time: wall nanoseconds since the Unix epoch, then a counter. Ordered, hashable."""

    wall_ns: int
    logical: int = 0

    def next(self) -> Timestamp:
        """The smallest timestamp after this one."""
        if self.logical < MAX_LOGICAL:
            return Timestamp(self.wall_ns, self.logical + 1)
        return Timestamp(self.wall_ns + 1, 0)

    def prev(self) -> Timestamp:
        """The largest timestamp before this one. Raises ValueError for zero, which has none."""
        if self.logical:
            return Timestamp(self.wall_ns, self.logical - 1)
        if not self.wall_ns:
            raise ValueError("nothing comes before timestamp 0.0")
        return Timestamp(self.wall_ns - 1, MAX_LOGICAL)

    def encode(self) -> bytes:
        """Twelve bytes, ordered as the timestamps are."""
        return _PACKING.pack(self.wall_ns, self.logical)

    def __str__(self) -> str:
        return f"{self.wall_ns}.{self.logical}"


ZERO = Timestamp(0, 0)
MAX_TIMESTAMP = Timestamp(MAX_WALL_NS, MAX_LOGICAL)


def decode_timestamp(encoded: bytes) -> Timestamp:
    """The inverse of `Timestamp.encode`. Raises ValueError for another length than twelve bytes."""
    if len(encoded) != ENCODED_BYTES:
        raise ValueError(f"a timestamp is {ENCODED_BYTES} bytes, got {len(encoded)}: {encoded!r}")
    return Timestamp(*_PACKING.unpack(encoded))


class HybridClock:
    """The clock of one node.

    The owner keeps three promises, which together make the clock outlive a crash:
    1. Before its first `now()`, it has read the durable bound and passed it as `bound_ns`.
    2. Each turn, if `bound_to_persist()` answers a bound, it is written in the turn's batch, and `bound_persisted()` is
       called with it after that batch has been synced.
    3. While `is_ahead_of_bound`, no message and no reply leaves the node: they wait for the sync of promise 2. This
       happens only when another node's clock is more than the window ahead.

    `now()` itself never passes the bound: where the wall clock has, it counts logically until the bound has moved.
    """

    __slots__ = ("_bound_ns", "_last", "_proposed_ns", "_wall_ns", "_window_ns")

    def __init__(self, wall_ns: Callable[[], int], bound_ns: int = 0, window_ns: int = 2_000_000_000) -> None:
        if window_ns <= 0:
            raise ValueError(f"the clock's window must be positive, got {window_ns} ns")
        self._wall_ns = wall_ns
        self._window_ns = window_ns
        self._last = Timestamp(bound_ns, MAX_LOGICAL) if bound_ns else ZERO
        """The largest timestamp issued or heard of. Never decreases. At restart: the largest that may have been."""
        self._bound_ns = bound_ns
        """No timestamp with more wall nanoseconds than this has left the node. Durable."""
        self._proposed_ns = bound_ns
        """The bound last handed out by `bound_to_persist`; at least `_bound_ns`."""

    @property
    def last(self) -> Timestamp:
        """The largest timestamp issued or heard of: what this node's frames carry. Doesn't advance the clock."""
        return self._last

    @property
    def bound_ns(self) -> int:
        return self._bound_ns

    @property
    def is_ahead_of_bound(self) -> bool:
        """Has the clock passed what is durable? Then nothing may leave the node until a larger bound is."""
        return self._last.wall_ns > self._bound_ns or not self._bound_ns

    def now(self) -> Timestamp:
        """A timestamp above every other that this node has issued or heard of."""
        wall = self._wall_ns()
        last = self._last
        if last.wall_ns < wall <= self._bound_ns:
            self._last = Timestamp(wall, 0)
        elif wall > self._bound_ns > last.wall_ns:
            self._last = Timestamp(self._bound_ns, 0)
        else:
            self._last = last.next()
        return self._last

    def forward(self, timestamp: Timestamp) -> None:
        """Learn of a timestamp: everything issued from here on is above it."""
        if timestamp > self._last:
            self._last = timestamp

    def bound_to_persist(self) -> int | None:
        """A bound to write in this turn's batch and to sync, or None while more than half of the window is left."""
        reached, wall = self._last.wall_ns, self._wall_ns()
        if wall > reached:
            reached = wall
        if reached + self._window_ns // 2 <= self._proposed_ns:
            return None
        self._proposed_ns = reached + self._window_ns
        return self._proposed_ns

    def bound_persisted(self, bound_ns: int) -> None:
        """The bound is durable now."""
        if bound_ns > self._bound_ns:
            self._bound_ns = bound_ns
