"""What a replica of a range holds besides Raft: versions in the engine, intents and records also in memory.

Every replica keeps one, leader or not, and changes it only by applying commands in log order, or by loading it whole.
Memory and batch change together, so between turns memory equals the engine.
"""

from __future__ import annotations

import msgspec

from ..storage import keys
from ..storage.engine import Reader, WriteBatch
from ..storage.mvcc import Mvcc
from ..timestamp import ZERO, Timestamp, decode_timestamp
from .command import (
    Command,
    DropVersion,
    PutIntent,
    PutRecord,
    PutVersion,
    RaiseThreshold,
    RememberReply,
    RemoveIntent,
    RemoveRecord,
)
from .locks import Intent, LockTable
from .record import TransactionRecord
from .sessions import SessionReplies


class RangeState:
    """The applied state of one range, `[start, end)` of the keyspace."""

    __slots__ = (
        "end",
        "locks",
        "mvcc",
        "puts",
        "reader",
        "records",
        "sessions",
        "start",
        "threshold",
        "written_bytes",
    )

    def __init__(self, reader: Reader, start: bytes, end: bytes | None, remember: int = 10_000) -> None:
        self.reader = reader
        self.start = start
        self.end = end
        self.mvcc = Mvcc(reader, remember)
        self.locks = LockTable()
        self.records: dict[bytes, TransactionRecord] = {}
        """By transaction id: the records anchored in this range."""
        self.sessions: SessionReplies | None = None
        """Replies to writes of sessions; None as long as there are none, as in most ranges."""
        self.written_bytes = 0
        """Of versions and intents applied here, since whoever measures the range last did."""
        self.puts = 0
        """Versions that were applied here since this replica was made, and one for all that came otherwise."""
        self.threshold = ZERO
        """Nobody reads below it: what only such a reader could see may be gone. Never decreases (`collecting`)."""
        self.load()

    def load(self) -> None:
        """Take everything from the engine: at start, and after a batch that installed a snapshot was written."""
        self.mvcc.forget()
        self.locks = LockTable(
            (keys.split_lock_key(key), _INTENT_DECODER.decode(raw))
            for key, raw in self.reader.scan(*keys.span(keys.LOCK, self.start, self.end))
        )
        records = (
            _RECORD_DECODER.decode(raw)
            for _, raw in self.reader.scan(*keys.span(keys.RECORD, self.start, self.end))
        )
        self.records = {record.transaction.id: record for record in records}
        self.sessions = SessionReplies.load(self.reader, self.start, self.end)
        if self.reader.first(*keys.span(keys.VERSION, self.start, self.end)) is not None:
            self.puts += 1
        thresholds = self.reader.scan(*keys.span(keys.THRESHOLD, self.start, self.end))
        self.threshold = max([decode_timestamp(raw) for _, raw in thresholds], default=ZERO)

    def widen(self, start: bytes, end: bytes | None) -> None:
        """The right neighbour's span `[start, end)` is this range's from now on. All that was ever applied there must
        be in the engine. It is taken into memory at once, before the next entry: what later ones in the same batch
        write depends on it, as on a replica that has them in another batch."""
        assert self.end == start, f"[{self.start!r}, {self.end!r}) and [{start!r}, {end!r}) are no neighbours"
        other = RangeState(self.reader, start, end)
        self.end = end
        for key, intent in other.locks.items():
            self.locks.put(key, intent)
        self.records |= other.records
        if other.sessions is not None:
            self.sessions = (
                other.sessions if self.sessions is None else self.sessions.together(other.sessions)
            )
        self.puts += other.puts
        self.threshold = max(self.threshold, other.threshold)

    def narrow(self, end: bytes, batch: WriteBatch) -> None:
        """The range ends before this key from now on: what is from there on is no longer its own."""
        self.end = end
        self.mvcc.forget_from(end)
        for key, _ in list(self.locks.in_span(end, None)):
            self.locks.remove(key)
        gone = [one for one, record in self.records.items() if record.transaction.anchor >= end]
        for one in gone:
            del self.records[one]
        if self.sessions is not None:
            self.sessions.narrow(self.start, end, batch)
        if self.threshold != ZERO:
            # The other half has lost as much as this one.
            self._put_threshold(self.start, batch)
            self._put_threshold(end, batch)

    def _put_threshold(self, start: bytes, batch: WriteBatch) -> None:
        batch.put(keys.threshold_key(start), self.threshold.encode())

    def _raise_threshold(self, threshold: Timestamp, batch: WriteBatch) -> None:
        if threshold > self.threshold:
            self.threshold = threshold
            self._put_threshold(self.start, batch)

    def contains(self, key: bytes) -> bool:
        return self.start <= key and (self.end is None or key < self.end)

    def contains_span(self, start: bytes, end: bytes | None) -> bool:
        if start < self.start:
            return False
        return self.end is None or (end is not None and end <= self.end)

    def apply(self, command: Command, entry_term: int, batch: WriteBatch) -> bool:
        """Carry out a committed command into a batch; false if it was dropped, because its entry's term isn't the one
        it was evaluated in. The caller forwards its clock to `command.timestamp`, and puts the applied index into the
        same batch, dropped or not."""
        if command.term != entry_term:
            return False
        for mutation in command.mutations:
            match mutation:
                case PutVersion():
                    self.written_bytes += len(mutation.key) + len(mutation.value or b"")
                    self.puts += 1
                    self.mvcc.put_version(
                        batch, mutation.key, mutation.timestamp, mutation.value, mutation.writer
                    )
                case PutIntent():
                    batch.put(keys.lock_key(mutation.key), _ENCODER.encode(mutation.intent))
                    self.locks.put(mutation.key, mutation.intent)
                case RemoveIntent():
                    batch.delete(keys.lock_key(mutation.key))
                    self.locks.remove(mutation.key)
                case PutRecord():
                    record = mutation.record
                    key = keys.record_key(record.transaction.anchor, record.transaction.id)
                    batch.put(key, _ENCODER.encode(record))
                    self.records[record.transaction.id] = record
                case RemoveRecord():
                    batch.delete(keys.record_key(mutation.anchor, mutation.transaction_id))
                    self.records.pop(mutation.transaction_id, None)
                case RememberReply():
                    if self.sessions is None:
                        self.sessions = SessionReplies()
                    for key, session in mutation.forgotten:
                        self.sessions.forget(key, session, self.start, batch)
                    self.sessions.remember(mutation.key, mutation.session, mutation.reply, batch)
                case RaiseThreshold():
                    self._raise_threshold(mutation.threshold, batch)
                case DropVersion():
                    self.mvcc.drop_version(batch, mutation.key, mutation.timestamp)
        return True


_ENCODER = msgspec.msgpack.Encoder()
_INTENT_DECODER = msgspec.msgpack.Decoder(Intent)
_RECORD_DECODER = msgspec.msgpack.Decoder(TransactionRecord)
