"""Latches: short holds on key spans by requests, so that evaluating, proposing and applying go one by one per key.

First come, first served, and never a deadlock: a request names all its spans at once and waits for every earlier one
that conflicts, whether that one holds its latches yet or still waits. Two shared latches don't conflict. Nothing
blocks: `acquire` answers at once, and a request that must wait is called when its turn has come.

Keys here are latch keys: a user key behind "d", a record's id behind "t" (`evaluate.latch_spans` makes them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec


class LatchSpan(msgspec.Struct, frozen=True, gc=False):
    """A point (`end` None) or `[start, end)`, shared or exclusive."""

    start: bytes
    end: bytes | None = None
    exclusive: bool = True

    def conflicts_with(self, other: LatchSpan) -> bool:
        if not (self.exclusive or other.exclusive):
            return False
        if self.end is None:
            return self.start == other.start if other.end is None else other.start <= self.start < other.end
        if other.end is None:
            return self.start <= other.start < self.end
        return self.start < other.end and other.start < self.end


class LatchGuard:
    """One request's latches, from `acquire` to `release`."""

    __slots__ = ("_blocks", "_granted", "_released", "_waits_for", "spans")

    def __init__(self, spans: Sequence[LatchSpan], granted: Callable[[], None] | None) -> None:
        self.spans = spans
        self._granted = granted
        self._waits_for = 0
        """How many earlier guards that conflict with this one are not released yet. Zero: granted."""
        self._blocks: list[LatchGuard] = []
        """Later guards that wait for this one."""
        self._released = False

    @property
    def is_granted(self) -> bool:
        return not self._waits_for and not self._released

    @property
    def is_released(self) -> bool:
        return self._released


class Latches:
    """All latches of one range."""

    __slots__ = ("_points", "_spans")

    def __init__(self) -> None:
        self._points: dict[bytes, list[tuple[LatchSpan, LatchGuard]]] = {}
        """Unreleased point latches by key, in order of arrival."""
        self._spans: list[tuple[LatchSpan, LatchGuard]] = []
        """Unreleased span latches, in order of arrival."""

    def __len__(self) -> int:
        """How many point keys and spans are latched or waited for."""
        return len(self._points) + len(self._spans)

    def are_free(self, spans: Sequence[LatchSpan]) -> bool:
        """Whether nobody holds or waits for any latch on these points; never says so of spans."""
        if self._spans:
            return False
        points = self._points
        return all([span.end is None and span.start not in points for span in spans])

    def acquire(self, spans: Sequence[LatchSpan], granted: Callable[[], None] | None = None) -> LatchGuard:
        """Queue for latches. If `is_granted` is false on return, `granted` is called once, from within the `release`
        of the last guard in the way. Every guard must be released, granted or not."""
        guard = LatchGuard(spans, granted)
        before: dict[int, LatchGuard] = {}
        points = self._points
        for span in spans:
            if span.end is None:
                waiting = points.get(span.start)
                if waiting:
                    for other, holder in waiting:
                        if (span.exclusive or other.exclusive) and holder is not guard:
                            before[id(holder)] = holder
            else:
                for key, waiting in points.items():
                    if span.start <= key < span.end:
                        for other, holder in waiting:
                            if (span.exclusive or other.exclusive) and holder is not guard:
                                before[id(holder)] = holder
            for other, holder in self._spans:
                if holder is not guard and span.conflicts_with(other):
                    before[id(holder)] = holder
            if span.end is not None:
                self._spans.append((span, guard))
            else:
                points.setdefault(span.start, []).append((span, guard))
        guard._waits_for = len(before)
        for holder in before.values():
            holder._blocks.append(guard)
        return guard

    def release(self, guard: LatchGuard) -> None:
        """Let go: of held latches, or of a place in the queue. A second release does nothing."""
        if guard._released:
            return
        guard._released = True
        points = self._points
        for span in guard.spans:
            if span.end is None:
                # A span named twice finds nothing of its own the second time.
                others = [entry for entry in points.pop(span.start, ()) if entry[1] is not guard]
                if others:
                    points[span.start] = others
            else:
                self._spans = [entry for entry in self._spans if entry[1] is not guard]
        called: list[LatchGuard] = []
        for later in guard._blocks:
            later._waits_for -= 1
            if not later._waits_for and not later._released:
                called.append(later)
        guard._blocks = []
        for later in called:
            if later._granted is not None and not later._released:
                later._granted()
