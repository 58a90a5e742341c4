"""A node looks after the ranges that it leads: splits what is large or hot, merges what is idle and small.

Called once a second. What it decides by is in `placement.shapes`, what a split or a merge is in `reshaping`; one change
at a time, and a range whose change failed is left alone for a while.

Sizes are measured and not kept: bytes written are counted while commands are applied, and when enough were, the range's
versions are read once, in steps, which also finds the key in the middle. A range is *idle* when its replica here
sleeps: no request has come for `quiesce_ticks`, or the leader, here or elsewhere, would have woken it. So with
`quiescence=off` nothing is ever merged by itself. Only a leader of the left range merges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from reference_db.gateway.open_transaction import Failed
from reference_db.gateway.reshaping import Reshaper
from reference_db.placement.shapes import (
    LOAD_LOOKS,
    Limits,
    cut_of_load,
    merged_bytes_most,
    must_measure,
)
from reference_db.ranges.load import RangeLoad
from reference_db.ranges.replica import Replica
from reference_db.ranges.store import Store
from reference_db.storage import keys
from reference_db.storage.engine import Reader
from reference_db.trace import Trace

PAIRS_A_STEP = 1000
"""About a millisecond of work between two pauses."""
MARKS_MOST = 512
"""Keys that are remembered while a range is measured; when there are more, every second is dropped."""
LEFT_ALONE_S = 20.0
"""A range whose change failed is not changed again for so long."""
CHANGE_S = 3.0
"""How long one change may take."""


@dataclass(slots=True)
class ShapeCounters:
    """Changes that this node has carried out by itself, since it was started."""

    by_size: int = 0
    by_load: int = 0
    idle: int = 0
    """Merges."""
    failed: int = 0
    measured: int = 0
    """How often a range was read to know its size."""


async def measure(
    reader: Reader, start: bytes, end: bytes | None, most: int | None = None
) -> tuple[int, bytes | None]:
    """Bytes of the versions of `[start, end)` as they are stored, and the user key before which half of them lie (None
    if no key but the first has any). With `most` no more is read than to know that there is more."""
    total = 0
    marks: list[tuple[int, bytes]] = []
    last, distance, passed = b"", 1, 0
    for pairs, (encoded, value) in enumerate(reader.scan(*keys.span(keys.VERSION, start, end)), 1):
        key = keys.split_version_key(encoded)[0]
        if key != last:
            if last and passed % distance == 0:
                marks.append((total, key))
                if len(marks) > MARKS_MOST:
                    marks, distance = marks[1::2], distance * 2
            passed += bool(last)
            last = key
        total += len(encoded) + len(value)
        if most is not None and total > most:
            break
        if pairs % PAIRS_A_STEP == 0:
            await asyncio.sleep(0)
    if not marks:
        return total, None
    return total, min(marks, key=lambda mark: abs(2 * mark[0] - total))[1]


class Shaper:
    """Does this for one node."""

    def __init__(
        self,
        store: Store,
        reshaper: Reshaper,
        reader: Reader,
        limits: Limits,
        now: Callable[[], float],
        trace: Trace | None = None,
    ) -> None:
        """`now` is the loop's time, s."""
        self._store = store
        self._reshaper = reshaper
        self._reader = reader
        self._limits = limits
        self._now = now
        self._trace = trace
        self._idle_since: dict[int, float] = {}
        """By range: when its replica here was first found asleep, and has been since."""
        self._not_before: dict[int, float] = {}
        self.counters = ShapeCounters()

    async def look(self) -> None:
        """Change one range, if any needs it."""
        limits = self._limits
        if not any(limits):
            return
        now = self._now()
        self._not_before = {one: until for one, until in self._not_before.items() if until > now}
        for replica in list(self._store.replicas.values()):
            if not self._is_mine(replica):
                continue
            if must_measure(replica.state.written_bytes, limits) and await self._split_by_size(replica):
                return
        if limits.split_load:
            for replica in list(self._store.replicas.values()):
                if replica.load is not None and await self._split_by_load(replica):
                    return
        if limits.merge_idle_s:
            await self._merge_idle(now)

    def _is_mine(self, replica: Replica) -> bool:
        return (
            replica.leadership is not None
            and replica.group.is_leader
            and replica.descriptor.merging is None
            and replica.id not in self._not_before
        )

    async def _split_by_size(self, replica: Replica) -> bool:
        replica.state.written_bytes = 0
        descriptor = replica.descriptor
        self.counters.measured += 1
        size, middle = await measure(self._reader, descriptor.start, descriptor.end)
        if size < self._limits.split_bytes or middle is None:
            return False
        if await self._split(replica, middle):
            self.counters.by_size += 1
            if self._trace is not None:
                self._trace.mark("a range was split because of its size")
        return True

    async def _split_by_load(self, replica: Replica) -> bool:
        load = replica.load
        assert load is not None, f"range {replica.id} counts no requests"
        load.looks = load.looks + 1 if load.take() >= self._limits.split_load else 0
        if load.looks < LOAD_LOOKS or not self._is_mine(replica):
            return False
        load.looks = 0
        key = cut_of_load(load.keys, replica.descriptor.start)
        if key is None:
            self._leave_alone(replica)
            return False
        replica.load = RangeLoad()
        if await self._split(replica, key):
            self.counters.by_load += 1
            if self._trace is not None:
                self._trace.mark("a range was split because of its load")
        return True

    async def _split(self, replica: Replica, key: bytes) -> bool:
        try:
            await self._reshaper.split(key, self._now() + CHANGE_S)
        except Failed:
            self._leave_alone(replica)
            return False
        return True

    async def _merge_idle(self, now: float) -> None:
        replicas = self._store.replicas
        asleep = {one.id for one in replicas.values() if one.asleep_since is not None}
        self._idle_since = {one: self._idle_since.get(one, now) for one in sorted(asleep)}
        long_idle = {
            one for one, since in self._idle_since.items() if now - since >= self._limits.merge_idle_s
        }
        by_start = {replicas[one].descriptor.start: replicas[one] for one in long_idle}
        most = merged_bytes_most(self._limits)
        for left in [replicas[one] for one in sorted(long_idle)]:
            end = left.descriptor.end
            right = None if end is None else by_start.get(end)
            if right is None or not self._is_mine(left) or right.id in self._not_before:
                continue
            if sorted(left.descriptor.replicas) != sorted(right.descriptor.replicas):
                continue
            start, last = left.descriptor.start, right.descriptor.end
            self.counters.measured += 1
            size, _ = await measure(self._reader, start, last, most)
            if size > most:
                self._leave_alone(left)
                continue
            try:
                await self._reshaper.merge(start, self._now() + CHANGE_S)
            except Failed:
                self._leave_alone(left)
            else:
                self.counters.idle += 1
                if self._trace is not None:
                    self._trace.mark("two idle ranges were merged")
            return

    def _leave_alone(self, replica: Replica) -> None:
        self.counters.failed += 1
        self._not_before[replica.id] = self._now() + LEFT_ALONE_S
