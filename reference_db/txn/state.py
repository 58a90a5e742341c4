"""What a replica of a range holds besides Raft: versions in the engine, intents and records also in memory.

Every replica keeps one, leader or not, and changes it only by applying commands in log order, or by loading it whole.
Memory and batch change together, so between turns memory equals the engine.
"""

from __future__ import annotations

import msgspec

from ..storage import keys
from ..storage.engine import Reader, WriteBatch
from ..storage.mvcc import Mvcc
from .command import Command, PutIntent, PutRecord, PutVersion, RemoveIntent, RemoveRecord
from .locks import Intent, LockTable
from .record import TransactionRecord


class RangeState:
    """The applied state of one range, `[start, end)` of the keyspace."""

    __slots__ = ("end", "locks", "mvcc", "reader", "records", "start")

    def __init__(self, reader: Reader, start: bytes, end: bytes | None, remember: int = 10_000) -> None:
        self.reader = reader
        self.start = start
        self.end = end
        self.mvcc = Mvcc(reader, remember)
        self.locks = LockTable()
        self.records: dict[bytes, TransactionRecord] = {}
        """By transaction id: the records anchored in this range."""
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

    def narrow(self, end: bytes) -> None:
        """The range ends before this key from now on: what is from there on is no longer its own."""
        self.end = end
        self.mvcc.forget_from(end)
        for key, _ in list(self.locks.in_span(end, None)):
            self.locks.remove(key)
        gone = [one for one, record in self.records.items() if record.transaction.anchor >= end]
        for one in gone:
            del self.records[one]

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
                    self.mvcc.put_version(batch, mutation.key, mutation.timestamp, mutation.value)
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
        return True


_ENCODER = msgspec.msgpack.Encoder()
_INTENT_DECODER = msgspec.msgpack.Decoder(Intent)
_RECORD_DECODER = msgspec.msgpack.Decoder(TransactionRecord)
