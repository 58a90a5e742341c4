"""Has ranges drop versions that are older than anybody needs, see `txn/collecting.py` for what may go.

The leader of a range collects up to a timestamp that is

1. at least `ttl_ms` old, by this leader's monotonic clock: it notes its hybrid clock from time to time, so a wall clock
   that jumps makes nothing old;
2. not above the reads of any open transaction of a node that answers when it is asked. One that is silent, or open for
   more than `HELD_TTLS` times as long, is not waited for: if it reads on, it is told to start again;
3. old enough for every closed timestamp that a replica may still read at, where bounded reads are asked for;
4. below every intent of the range, which the range's leader sees to.

None of this is needed for what is read to be right: whoever reads below the threshold is refused. A range in which
nothing was written since it was last collected is left alone, and so sleeps on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from reference_db.api import Collected, CollectVersions
from reference_db.gateway.open_transaction import OpenTransaction
from reference_db.gateway.router import Router
from reference_db.ranges.replica import Replica
from reference_db.timestamp import HybridClock, Timestamp
from reference_db.trace import Trace

LOOKS_PER_TTL = 4
LOOK_LEAST_S, LOOK_MOST_S = 0.05, 600.0
"""How often it looks: a few times in a time to live, within these."""
HELD_TTLS = 10
"""For so many times to live an open transaction keeps what it may read."""
BUDGET_S = 1.0
"""How long a range may take to answer."""
DROPPED_AT_ONCE = 500
REQUESTS_MOST = 20
"""Versions that one request drops, and requests a range gets at one look: the rest comes at the next."""


class OpenReads:
    """Where the transactions of one node read that are not over."""

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._open: dict[bytes, tuple[OpenTransaction, int]] = {}
        """By id, in the order in which they began: since when."""
        self._tidy_at = 1000

    def note(self, open_one: OpenTransaction) -> None:
        """A transaction has begun."""
        self._open[open_one.id] = (open_one, self._monotonic_ns())
        if len(self._open) >= self._tidy_at:
            self._open = {one: entry for one, entry in self._open.items() if not entry[0].over}
            self._tidy_at = 2 * len(self._open) + 1000

    def oldest(self, held_ms: int) -> Timestamp | None:
        """The lowest timestamp at which one of them reads that began within so many milliseconds; None without any."""
        since = self._monotonic_ns() - held_ms * 1_000_000
        self._open = {
            one: entry for one, entry in self._open.items() if not entry[0].over and entry[1] >= since
        }
        reads = [entry[0].read_timestamp for entry in self._open.values()]
        return min([at for at in reads if at is not None], default=None)


@dataclass(slots=True)
class CollectorCounters:
    """Since the node was started, of the ranges that it led."""

    collected: int = 0
    """Versions that were dropped."""
    rounds: int = 0
    """Ranges that were gone through to their end."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """What was so at one moment."""

    at_ns: int
    clock: Timestamp
    puts: int
    """Versions that the range's replica here had applied."""


@dataclass(slots=True)
class _Led:
    """What is remembered of a range while this node leads it in one term."""

    term: int
    samples: deque[_Sample]
    collected_puts: int = 0
    """Of the sample up to which all was collected."""


class Collector:
    """The collections of one node, over the ranges that it leads."""

    def __init__(
        self,
        *,
        router: Router,
        clock: HybridClock,
        monotonic_ns: Callable[[], int],
        ttl_ms: int,
        closed_ms: Callable[[int], int],
        needed: Callable[[], Coroutine[Any, Any, Timestamp]],
        trace: Trace | None = None,
    ) -> None:
        """`ttl_ms` is how long versions are kept at least; 0: for ever. `closed_ms(range)` tells how old a closed
        timestamp may be that replicas of a range still read at; `needed()` asks all nodes below what none of them reads
        any more."""
        self._router = router
        self._clock = clock
        self._monotonic_ns = monotonic_ns
        self._ttl_ms = ttl_ms
        self._closed_ms = closed_ms
        self._needed = needed
        self._trace = trace
        self._led: dict[int, _Led] = {}
        self.counters = CollectorCounters()
        self.look_s = min(max(ttl_ms / 1000 / LOOKS_PER_TTL, LOOK_LEAST_S), LOOK_MOST_S)
        """How often `look` is to be called."""

    async def look(self, replicas: Iterable[Replica]) -> None:
        """Note how far each range is that this node leads, and collect those in which something is old enough."""
        now_ns = self._monotonic_ns()
        due: list[tuple[Replica, _Led, _Sample]] = []
        led: dict[int, _Led] = {}
        for replica in replicas:
            one = self._led.get(replica.id)
            if one is None or one.term != replica.group.term:
                one = _Led(replica.group.term, deque())
            led[replica.id] = one
            samples = one.samples
            if replica.state.puts > (samples[-1].puts if samples else one.collected_puts):
                samples.append(_Sample(now_ns, self._clock.last, replica.state.puts))
            old_ns = now_ns - max(self._ttl_ms, self._closed_ms(replica.id)) * 1_000_000
            ripe: _Sample | None = None
            while samples and samples[0].at_ns <= old_ns:
                ripe = samples.popleft()
            if ripe is not None:
                due.append((replica, one, ripe))
        self._led = led
        if not due:
            return
        needed = await self._needed()
        for replica, one, sample in due:
            if sample.clock > needed and self._trace is not None:
                self._trace.mark("versions were kept for an open transaction")
            if await self._collect(replica, min(sample.clock, needed)) and sample.clock <= needed:
                one.collected_puts = sample.puts
            else:
                # The rest comes at a later look.
                one.samples.appendleft(sample)

    async def _collect(self, replica: Replica, threshold: Timestamp) -> bool:
        """Whether the whole range was gone through up to the threshold."""
        key, end = replica.descriptor.start, replica.descriptor.end
        for _ in range(REQUESTS_MOST):
            operation = CollectVersions(key, threshold, DROPPED_AT_ONCE)
            reply = await self._router.send((operation,), self._router.now() + BUDGET_S, repeatable=True)
            if reply.error is not None:
                return False
            result = reply.results[0]
            assert isinstance(result, Collected), f"a collection was answered with {result!r}"
            self.counters.collected += result.dropped
            if result.dropped and self._trace is not None:
                self._trace.mark("versions that nobody may read any more were dropped")
            if result.resume is None:
                self.counters.rounds += 1
                return result.threshold >= threshold
            key = result.resume
            if end is not None and key >= end:
                return False
        return False
