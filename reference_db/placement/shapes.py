"""When a range should become two, and when two should become one: by bytes, by load, by idleness, with room between.

So that nothing flaps: two ranges merge only if the whole is at most half of what would be split again, they have both
been idle for a while, and a range is split by load only after the load has lasted, at a key that leaves a fair part of
it on either side (one hot key cannot be cut). This file knows neither Raft nor time: it is told what was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LOAD_LOOKS = 5
"""So many looks in a row must find the load, which are a second apart."""
FAIR_PART = 0.2
"""Of the requests that were seen, at least so many must fall on either side of a key at which load is cut."""
MERGED_PART = 0.5
"""Two ranges merge if the whole has at most so much of the bytes at which a range is split."""
MERGED_BYTES_MOST = 4 << 20
"""Where ranges are not split by size: the most that a whole may have."""
MEASURE_PART = 0.25
"""A range is measured when so much of the bytes at which it is split was written since it was last measured."""


class Limits(NamedTuple):
    """What ranges should be like; 0: whatever they are."""

    split_bytes: int
    split_load: int
    """Requests a second."""
    merge_idle_s: float


def must_measure(written_bytes: int, limits: Limits) -> bool:
    """Whether a range may have grown beyond its limit, by what was written since it was measured."""
    return limits.split_bytes > 0 and written_bytes >= MEASURE_PART * limits.split_bytes


def merged_bytes_most(limits: Limits) -> int:
    """The most that two ranges that merge may have together."""
    return int(MERGED_PART * limits.split_bytes) if limits.split_bytes else MERGED_BYTES_MOST


def cut_of_load(keys: Sequence[bytes], start: bytes) -> bytes | None:
    """Where to cut a range that begins at `start`, by the keys of requests that were seen; None if that would help
    nobody, as most of them are for one key."""
    ordered = sorted(keys)
    best: tuple[int, bytes] | None = None
    for at, key in enumerate(ordered):
        if at and ordered[at - 1] == key:
            continue
        part = min(at, len(ordered) - at)
        if key > start and (best is None or part > best[0]):
            best = (part, key)
    if best is None or best[0] < FAIR_PART * len(ordered):
        return None
    return best[1]
