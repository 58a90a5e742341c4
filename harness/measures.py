"""What a running engine measures, cheap enough to count every operation: latencies, and progress for whoever shows it.

Nothing here decides anything. A histogram has a fixed number of buckets, so that a run of any length costs the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from results.operation import FAIL, INFO, OK

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


class LatencyHistogram:
    """Counts of durations in logarithmic buckets, 16 to the octave: cheap to fill, quantiles right to 7 %."""

    __slots__ = ("_counts", "count", "max_ns", "sum_ns")

    BUCKETS = 16 * 61

    def __init__(self) -> None:
        self._counts = [0] * self.BUCKETS
        self.count = 0
        self.sum_ns = 0
        self.max_ns = 0

    def add(self, duration_ns: int) -> None:
        """Counts one duration."""
        if duration_ns < 16:
            bucket = duration_ns if duration_ns > 0 else 0
        else:
            shift = duration_ns.bit_length() - 5
            bucket = (shift << 4) + (duration_ns >> shift)
        self._counts[bucket] += 1
        self.count += 1
        self.sum_ns += duration_ns
        if duration_ns > self.max_ns:
            self.max_ns = duration_ns

    def quantile(self, share: float) -> int | None:
        """The duration, in nanoseconds, that this share of all did not exceed; None if there are none. The answer is
        the upper end of its bucket, and never above the largest duration."""
        if not self.count:
            return None
        rank = max(1, -(-int(share * self.count * 1_000_000) // 1_000_000))
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(self._upper(bucket), self.max_ns)
        return self.max_ns

    @staticmethod
    def _upper(bucket: int) -> int:
        if bucket < 32:
            return bucket
        shift = (bucket >> 4) - 1
        return ((bucket - (shift << 4)) + 1 << shift) - 1

    def merge(self, other: LatencyHistogram) -> None:
        """Counts what the other has counted too."""
        if other.count:
            self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
            self.count += other.count
            self.sum_ns += other.sum_ns
            self.max_ns = max(self.max_ns, other.max_ns)

    def reset(self) -> None:
        """Forgets everything."""
        self._counts = [0] * self.BUCKETS
        self.count = self.sum_ns = self.max_ns = 0


class Quantiles(msgspec.Struct, frozen=True):
    """A distribution of durations in a few numbers, in nanoseconds."""

    samples: int = 0
    median_ns: int = 0
    p99_ns: int = 0
    max_ns: int = 0

    @classmethod
    def of(cls, histogram: LatencyHistogram) -> Quantiles:
        return cls(
            histogram.count, histogram.quantile(0.5) or 0, histogram.quantile(0.99) or 0, histogram.max_ns
        )


class Progress:
    """Live counters of a run, all phases together, for whoever shows them; reading them costs next to nothing.

    Rates and latencies are those of the last whole second.
    """

    def __init__(
        self, time_limit_s: float | None = None, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.time_limit_s = time_limit_s
        """Length of the main phase; None where it is not limited."""
        self.phase = "set-up"
        self.ok = 0
        self.fail = 0
        self.info = 0
        self.invoked = 0
        self.rate = 0.0
        """Completed operations a second."""
        self.p50_ms: float | None = None
        self.p99_ms: float | None = None
        self.messages: list[str] = []
        """What generators had to say to the user, in order."""
        self.violation: str | None = None
        """The first violation that was seen while the run went on, in words."""
        self.latency_of_phase = LatencyHistogram()
        """Latencies of the ok operations of this phase, but for the present second."""
        self._clock = clock
        self._origin_ns: int | None = None
        self._faults: dict[int, str] = {}
        self._window = LatencyHistogram()
        self._window_start_ns = clock()
        self._window_done = 0

    @property
    def elapsed_s(self) -> float:
        """Since the run began; 0 before."""
        return 0.0 if self._origin_ns is None else (self._clock() - self._origin_ns) / SECOND

    @property
    def time_left_s(self) -> float | None:
        """Of the main phase; None where it is not limited."""
        return None if self.time_limit_s is None else max(0.0, self.time_limit_s - self.elapsed_s)

    @property
    def active_faults(self) -> Sequence[str]:
        """What is broken now, in words, in the order in which it broke."""
        return tuple(self._faults.values())

    def began(self, origin_ns: int) -> None:
        """The run's time counts from here, on the clock of this object."""
        self._origin_ns = origin_ns

    def begin_phase(self, name: str) -> None:
        """Another phase begins; what was shown of the last second of the one before is over."""
        self.phase = name
        self.rate = 0.0
        self.p50_ms = self.p99_ms = None
        self.settle()
        self._window_start_ns = self._clock()
        self._window_done = self.ok + self.fail + self.info

    def completed(self, type_: str, latency_ns: int) -> None:
        """An operation has ended."""
        if type_ == OK:
            self.ok += 1
            self._window.add(latency_ns)
        elif type_ == FAIL:
            self.fail += 1
        else:
            self.info += 1

    def nemesis_event(self, type_: str, f: str, value: Any) -> None:
        """Keeps track of the active faults."""
        if type_ != INFO or not isinstance(value, dict) or "step" not in value:
            return
        step = int(value["step"])
        if f == "stop":
            self._faults.pop(step, None)
        elif f == "start" and value.get("took_effect"):
            words = [
                str(value.get("fault", "")),
                str(value.get("shape") or ""),
                ",".join(map(str, value.get("targets") or ())),
            ]
            self._faults[step] = " ".join(word for word in words if word)

    def counts(self) -> tuple[int, int, int]:
        """How many have ended in ok, fail and info."""
        return self.ok, self.fail, self.info

    def settle(self) -> None:
        """Brings `latency_of_phase` up to date."""
        self.latency_of_phase.merge(self._window)
        self._window.reset()

    def roll(self, now_ns: int) -> None:
        """Once in a while: if a second is over, its rate and latencies become those that are shown."""
        elapsed = now_ns - self._window_start_ns
        if elapsed < SECOND:
            return
        done = self.ok + self.fail + self.info
        self.rate = (done - self._window_done) * SECOND / elapsed
        window = self._window
        if window.count:
            self.p50_ms = (window.quantile(0.5) or 0) / MILLISECOND
            self.p99_ms = (window.quantile(0.99) or 0) / MILLISECOND
        self.settle()
        self._window_start_ns = now_ns
        self._window_done = done
