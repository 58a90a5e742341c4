"""Transaction records, and what a leader remembers about transactions beside them.

A record is the transaction's fate, replicated in the range of its anchor key: PENDING or STAGING, then COMMITTED or
ABORTED for good. It is the only thing that decides; intents merely point to it. STAGING means: committed at
`commit_timestamp` as soon as there is an intent at or below it on each of `keys`, whether or not anybody has noticed;
and aborted only by somebody who has made sure that one of them will never be (`gateway/pusher.py`).

The leader's memory beside it is volatile. `Liveness` says whose coordinator hasn't been heard for too long, by this
leader's own monotonic clock: it only ever lets an abort *begin*. `TransactionMarkers` hold what was promised about
transactions that have no record (yet): aborted for ever, or committing above some timestamp at the earliest. A new
leader has no markers; instead it refuses to create records for transactions that began before it led (as CockroachDB
does through its timestamp cache).
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from ..api import Transaction, TransactionStatus
from ..timestamp import ZERO, Timestamp


class TransactionRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The replicated fate of a transaction."""

    transaction: Transaction
    status: TransactionStatus
    commit_timestamp: Timestamp = ZERO
    """Set when COMMITTED, or STAGING. A committed one's intents have provisional timestamps at or below it."""
    floor: Timestamp = ZERO
    """While PENDING: it may only commit here or later. Never decreases."""
    keys: tuple[bytes, ...] = ()
    """Every key it has an intent on."""


SPANS_MOST = 16
"""Spans with a mark of their own; more are taken together, which refuses more than needed."""


class Marker(msgspec.Struct, frozen=True, gc=False):
    """A promise about a transaction without a record."""

    made_at: Timestamp
    """Clock of the leader when the promise was made: not below the transaction's `began`."""
    aborted: bool
    floor: Timestamp = ZERO
    committed_at: Timestamp | None = None
    """It was committed at once, without a record."""
    forgotten: bool = False
    """Its record or lock was looked for, or removed, so that nobody knows here whether it was aborted; it gets none."""


class TransactionMarkers:
    """Promises of this leader. A bounded number; forgetting one raises `low_water`, which refuses more than needed."""

    __slots__ = ("_limit", "_markers", "_spans", "low_water")

    def __init__(self, low_water: Timestamp, limit: int = 10_000) -> None:
        self.low_water = low_water
        """No record is created for a transaction that began at or before this: a promise may have been forgotten."""
        self._markers: OrderedDict[bytes, Marker] = OrderedDict()
        self._spans: list[tuple[bytes, bytes | None, Timestamp]] = []
        """For transactions with their anchor in a span: a mark of its own."""
        self._limit = limit

    def copy(self) -> TransactionMarkers:
        """Another one that has promised the same."""
        other = TransactionMarkers(self.low_water, self._limit)
        other._markers = self._markers.copy()
        other._spans = list(self._spans)
        return other

    def forget_before(self, start: bytes, end: bytes | None, until: Timestamp) -> None:
        """Promises about transactions with their anchor in `[start, end)`, made up to then, are not known here."""
        self._spans.append((start, end, until))
        if len(self._spans) > SPANS_MOST:
            self.low_water = max(self.low_water, *(one[2] for one in self._spans))
            self._spans.clear()

    def abort(self, transaction_id: bytes, now: Timestamp) -> None:
        """Promise that this transaction never gets a record (again)."""
        if self.committed_at(transaction_id) is None:
            self._keep(transaction_id, Marker(now, aborted=True))

    def forget(self, transaction_id: bytes, now: Timestamp) -> None:
        """Promise the same of a transaction that may have been committed, and of which nothing is left here."""
        if self.committed_at(transaction_id) is None and not self.is_certainly_aborted(transaction_id):
            self._keep(transaction_id, Marker(now, aborted=True, forgotten=True))

    def is_certainly_aborted(self, transaction_id: bytes) -> bool:
        """Whether it was aborted, as far as this leader remembers, and not only forgotten."""
        marker = self._markers.get(transaction_id)
        return marker is not None and marker.aborted and not marker.forgotten

    def commit(self, transaction_id: bytes, at: Timestamp, now: Timestamp) -> None:
        """Remember that this transaction is committed at once, so that whoever asks again hears of it."""
        self._keep(transaction_id, Marker(now, aborted=False, committed_at=at))

    def committed_at(self, transaction_id: bytes) -> Timestamp | None:
        """When it was committed at once, as far as this leader remembers."""
        marker = self._markers.get(transaction_id)
        return None if marker is None else marker.committed_at

    def push(self, transaction_id: bytes, floor: Timestamp, now: Timestamp) -> Timestamp:
        """Promise that its record is created with at least this floor; returns the floor that now holds."""
        old = self._markers.get(transaction_id)
        assert old is None or not old.aborted, (
            f"push of transaction {transaction_id.hex()}, which is marked aborted"
        )
        if old is not None and old.floor > floor:
            floor = old.floor
        self._keep(transaction_id, Marker(now, aborted=False, floor=floor))
        return floor

    def is_aborted(self, transaction_id: bytes) -> bool:
        marker = self._markers.get(transaction_id)
        return marker is not None and marker.aborted

    def why_refused(self, transaction: Transaction) -> str | None:
        """Why no record may be created for a transaction; None if one may."""
        if self.is_aborted(transaction.id):
            return "aborted by another transaction before its record was written"
        if self.committed_at(transaction.id) is not None:
            return "it is committed already"
        low_water, anchor = self.low_water, transaction.anchor
        for start, end, until in self._spans:
            if until > low_water and start <= anchor and (end is None or anchor < end):
                low_water = until
        if transaction.began <= low_water:
            return f"began at {transaction.began}, before this leader's memory of aborted ones ({low_water})"
        return None

    def floor(self, transaction_id: bytes) -> Timestamp:
        marker = self._markers.get(transaction_id)
        return ZERO if marker is None else marker.floor

    def _keep(self, transaction_id: bytes, marker: Marker) -> None:
        markers = self._markers
        markers.pop(transaction_id, None)
        if len(markers) >= self._limit:
            _, forgotten = markers.popitem(last=False)
            self.low_water = max(self.low_water, forgotten.made_at)
        markers[transaction_id] = marker


class Liveness:
    """When this leader last heard of a transaction's coordinator, or was first asked about it; monotonic time."""

    __slots__ = ("_expiry_ns", "_heard", "_limit")

    def __init__(self, expiry_ns: int = 4_000_000_000, limit: int = 100_000) -> None:
        self._expiry_ns = expiry_ns
        self._heard: OrderedDict[bytes, int] = OrderedDict()
        self._limit = limit

    def copy(self) -> Liveness:
        """Another one that has heard the same."""
        other = Liveness(self._expiry_ns, self._limit)
        other._heard = self._heard.copy()
        return other

    def heard(self, transaction_id: bytes, monotonic_ns: int) -> None:
        """A sign of life."""
        self._heard.pop(transaction_id, None)
        self._keep(transaction_id, monotonic_ns)

    def is_expired(self, transaction_id: bytes, monotonic_ns: int) -> bool:
        """Silent for longer than the expiry? The first question counts as a sign of life."""
        last = self._heard.get(transaction_id)
        if last is None:
            self._keep(transaction_id, monotonic_ns)
            return False
        return monotonic_ns - last > self._expiry_ns

    def forget(self, transaction_id: bytes) -> None:
        self._heard.pop(transaction_id, None)

    def _keep(self, transaction_id: bytes, monotonic_ns: int) -> None:
        if len(self._heard) >= self._limit:
            # Whoever is forgotten is heard anew when asked about: it expires later, never earlier.
            self._heard.popitem(last=False)
        self._heard[transaction_id] = monotonic_ns
