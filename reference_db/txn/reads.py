"""The timestamp cache: up to when each key has been read, so that no write slips in below a read.

A leader notes a read *before* it confirms its leadership for that read. Whoever leads later starts with a low-water
mark above every timestamp that any earlier leader can have served, because its clock has heard of them. The cache only
ever errs upward: it forgets by raising the mark, which costs some transaction a refresh, never an anomaly.
"""

from __future__ import annotations

from collections import OrderedDict

from ..timestamp import ZERO, Timestamp

PointRead = tuple[Timestamp, bytes | None, Timestamp]
"""Latest read, its reader (None: several, or one outside of transactions), latest read by anybody else."""

SpanRead = tuple[bytes, bytes | None, Timestamp, bytes | None]


class TimestampCache:
    """Reads of one range's keys under one leadership. The latest reader's transaction id is kept, so that a
    transaction's own reads don't stand in the way of its writes."""

    __slots__ = ("_highest_span", "_point_limit", "_points", "_span_limit", "_spans", "low_water")

    def __init__(self, low_water: Timestamp, point_limit: int = 20_000, span_limit: int = 64) -> None:
        self.low_water = low_water
        """Every key counts as read up to here. Never decreases."""
        self._points: OrderedDict[bytes, PointRead] = OrderedDict()
        self._spans: list[SpanRead] = []
        self._highest_span = ZERO
        self._point_limit = point_limit
        self._span_limit = span_limit

    def copy(self) -> TimestampCache:
        """Another one that knows the same."""
        other = TimestampCache(self.low_water, self._point_limit, self._span_limit)
        other._points = self._points.copy()
        other._spans = list(self._spans)
        other._highest_span = self._highest_span
        return other

    def record(self, key: bytes, timestamp: Timestamp, transaction_id: bytes | None = None) -> None:
        """A key was read at a timestamp."""
        points = self._points
        old = points.get(key)
        if old is None:
            if len(points) >= self._point_limit:
                _, forgotten = points.popitem(last=False)
                if forgotten[0] > self.low_water:
                    self.low_water = forgotten[0]
            points[key] = (timestamp, transaction_id, ZERO)
            return
        latest, reader, others = old
        if transaction_id == reader:
            if timestamp <= latest:
                return
            points[key] = (timestamp, reader, others)
        elif timestamp > latest:
            points[key] = (timestamp, transaction_id, latest)
        elif timestamp == latest:
            points[key] = (latest, None, latest)
        elif timestamp > others:
            points[key] = (latest, reader, timestamp)
        points.move_to_end(key)

    def record_span(
        self, start: bytes, end: bytes | None, timestamp: Timestamp, transaction_id: bytes | None = None
    ) -> None:
        """All keys of `[start, end)` were read at a timestamp, also those that don't exist."""
        if end is not None and end == start + b"\x00":
            self.record(start, timestamp, transaction_id)
            return
        spans = self._spans
        for at, (low, high, earlier, reader) in enumerate(spans):
            if low == start and high == end and reader == transaction_id:
                if timestamp > earlier:
                    spans[at] = (start, end, timestamp, transaction_id)
                break
        else:
            if len(spans) >= self._span_limit:
                # Forget the half with the lowest timestamps.
                spans.sort(key=lambda span: span[2])
                half = len(spans) // 2
                self.low_water = max(self.low_water, spans[half - 1][2])
                del spans[:half]
            spans.append((start, end, timestamp, transaction_id))
        if timestamp > self._highest_span:
            self._highest_span = timestamp

    def last_read(self, key: bytes, transaction_id: bytes | None = None) -> Timestamp:
        """Up to when a key was read by anybody but this transaction."""
        highest = self.low_water
        point = self._points.get(key)
        if point is not None:
            own = transaction_id is not None and point[1] == transaction_id
            highest = max(highest, point[2] if own else point[0])
        if self._highest_span > highest:
            for start, end, timestamp, reader in self._spans:
                if (
                    timestamp > highest
                    and start <= key
                    and (end is None or key < end)
                    and (reader is None or reader != transaction_id)
                ):
                    highest = timestamp
        return highest

    def write_timestamp(
        self, key: bytes, at_least: Timestamp, transaction_id: bytes | None = None
    ) -> Timestamp:
        """The smallest timestamp, not below `at_least`, at which the key may be written."""
        last = self.last_read(key, transaction_id)
        return last.next() if last >= at_least else at_least
