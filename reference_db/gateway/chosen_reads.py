"""Reads of several keys that need not see the newest, answered from this node's own replicas, without a message.

Bounded ones are read at one closed timestamp in all their ranges, so they are a snapshot as those of transactions are,
only older. Stale ones are read range by range, as far as each is applied. Where a range has no replica here, no closing
is fresh enough, or an intent stands in the way, there is no answer: the caller takes the way of linearizable reads,
which keep every weaker promise. (Single keys go their own way, `node.py`, and may be read from another node's replica.)

By lease nothing is read here. A snapshot needs a timestamp that later leaders have heard of, and a lease proves nothing
about clocks; the usual way needs no round of heartbeats for it either (`ranges/certain_reads.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from reference_db.api import (
    Consistency,
    Get,
    Key,
    RangeReply,
    RangeRequest,
    Scan,
    ScanResult,
    Value,
    ValueResult,
)
from reference_db.gateway.cutting import group_keys
from reference_db.gateway.directory import Directory
from reference_db.ranges.applied_reads import read_closed, read_stale
from reference_db.ranges.descriptor import Descriptor
from reference_db.ranges.store import Store
from reference_db.timestamp import Timestamp
from reference_db.trace import Trace


class ChosenReads:
    """Lives on one node; knows its replicas and nothing of others."""

    def __init__(self, store: Store, directory: Directory, trace: Trace | None = None) -> None:
        self._store = store
        self._directory = directory
        self._trace = trace

    def get_many(
        self, keys: Sequence[Key], consistency: Consistency, max_staleness_ms: int
    ) -> list[Value | None] | None:
        """The values of these keys, in their order; None if they cannot be read here as is asked."""
        parts = group_keys(sorted(set(keys)), self._directory)
        ranges = [self._directory.find(mine[0]) for mine in parts]
        snapshot = self._snapshot([one.id for one in ranges], consistency, max_staleness_ms)
        if snapshot is None:
            return None
        found: dict[Key, Value | None] = {}
        for descriptor, mine in zip(ranges, parts, strict=True):
            reply = self._read(descriptor, tuple(map(Get, mine)), snapshot[0])
            if reply is None:
                self._refuse(consistency)
                return None
            for key, result in zip(mine, reply.results, strict=True):
                assert isinstance(result, ValueResult), f"a get was answered with {result!r}"
                found[key] = result.value
        return (
            [found[key] for key in keys] if self._is_still(snapshot, consistency, max_staleness_ms) else None
        )

    def scan(
        self, operation: Scan, consistency: Consistency, max_staleness_ms: int
    ) -> list[tuple[Key, Value]] | None:
        """The live keys of a span over all its ranges, in order; None if they cannot be read here as is asked."""
        parts = self._directory.overlapping(operation.start, operation.end)
        snapshot = self._snapshot([part[0].id for part in parts], consistency, max_staleness_ms)
        if snapshot is None:
            return None
        limit, pairs = operation.limit, list[tuple[Key, Value]]()
        for descriptor, low, high in reversed(parts) if operation.reverse else parts:
            left = limit - len(pairs) if limit else 0
            if limit and not left:
                break
            reply = self._read(descriptor, (Scan(low, high, left, operation.reverse),), snapshot[0])
            if reply is None:
                self._refuse(consistency)
                return None
            result = reply.results[0]
            assert isinstance(result, ScanResult), f"a scan was answered with {result!r}"
            pairs += result.pairs
        return pairs if self._is_still(snapshot, consistency, max_staleness_ms) else None

    def _snapshot(
        self, range_ids: list[int], consistency: Consistency, max_staleness_ms: int
    ) -> tuple[Timestamp | None, int] | None:
        """Where to read (None: what is applied), and since when that is fresh; None if it cannot be read here."""
        if consistency < Consistency.BOUNDED or any(one not in self._store.replicas for one in range_ids):
            return None
        if consistency == Consistency.STALE:
            return None, 0
        for range_id in range_ids:
            self._store.closed.want(range_id)
        snapshot = self._store.closed.snapshot(range_ids, max_staleness_ms)
        if snapshot is None:
            self._refuse(consistency)
        return snapshot

    def _read(
        self, descriptor: Descriptor, operations: tuple[Get | Scan, ...], timestamp: Timestamp | None
    ) -> RangeReply | None:
        replica = self._store.replicas[descriptor.id]
        if replica.descriptor.generation != descriptor.generation:
            return None
        request = RangeRequest(0, descriptor.id, descriptor.generation, operations)
        if timestamp is None:
            return read_stale(request, replica.state)
        return read_closed(request, replica.state, timestamp)

    def _is_still(
        self, snapshot: tuple[Timestamp | None, int], consistency: Consistency, max_staleness_ms: int
    ) -> bool:
        """The results are there. Whether they are still within the bound, for the process may have been paused."""
        if consistency == Consistency.STALE:
            self._store.reads.stale += 1
            return True
        if self._store.closed.is_within(snapshot[1], max_staleness_ms):
            self._store.reads.bounded += 1
            if self._trace is not None:
                self._trace.mark("a bounded read was answered by a replica")
            return True
        self._refuse(consistency)
        return False

    def _refuse(self, consistency: Consistency) -> None:
        if consistency == Consistency.BOUNDED:
            self._store.reads.bounded_refused += 1
            if self._trace is not None:
                self._trace.mark("a bounded read was sent on to the leader")
