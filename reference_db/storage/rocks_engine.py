"""The engine of real nodes: RocksDB, through rocksdict.

One column family: the key's first byte says what it is (`keys.py`), and so a crash can't tear one kind of data from
another. There are no snapshots here: the iterators of rocksdict's (0.3.29) read the present, and one thread doesn't
need them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import rocksdict

from .engine import DELETE, PUT, EngineCounters, Pair, WriteBatch

WRITE_BUFFER_BYTES = 16 << 20
"""What is written is held in memory up to here, then goes to a file of its own: no size from 8 to 64 MiB made a node
faster, and a node's memory grows until the first one is full."""


class RocksEngine:
    """A database in a folder of its own, created if it isn't there.

    A write goes to the log file without a sync: it survives the death of the process, not that of the machine.
    `sync()` syncs that log file and releases the GIL meanwhile; beside a thread that computes without pause its caller
    waits up to one switch interval (5 ms by default) to get the GIL back, so servers set `sys.setswitchinterval` lower.
    """

    __slots__ = ("_broken", "_database", "counters", "path")

    def __init__(self, path: Path | str, write_buffer_bytes: int = WRITE_BUFFER_BYTES) -> None:
        self.path = Path(path)
        self.counters = EngineCounters()
        self._broken: Exception | None = None
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(write_buffer_bytes)
        options.set_max_background_jobs(2)
        options.set_keep_log_file_num(2)
        options.set_stats_dump_period_sec(0)
        options.set_stats_persist_period_sec(0)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._database = rocksdict.Rdict(str(self.path), options)

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._database.get(key)
        return value

    def first(self, start: bytes, end: bytes) -> Pair | None:
        cursor = self._database.iter()
        cursor.seek(start)
        if not cursor.valid():
            cursor.status()
            return None
        key: bytes = cursor.key()
        return (key, cursor.value()) if key < end else None

    def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[Pair]:
        cursor = self._database.iter()
        if reverse:
            cursor.seek_for_prev(end)
            if cursor.valid() and cursor.key() == end:
                cursor.prev()
            while cursor.valid():
                key = cursor.key()
                if key < start:
                    return
                yield key, cursor.value()
                cursor.prev()
        else:
            cursor.seek(start)
            while cursor.valid():
                key = cursor.key()
                if key >= end:
                    return
                yield key, cursor.value()
                cursor.next()
        cursor.status()

    def write(self, batch: WriteBatch) -> None:
        if not batch.changes:
            return
        raw = rocksdict.WriteBatch(raw_mode=True)
        put = raw.put
        for change, key, value in batch.changes:
            if change == PUT:
                put(key, value)
            elif change == DELETE:
                raw.delete(key)
            else:
                raw.delete_range(key, value)
        self._database.write(raw)
        counters = self.counters
        counters.batches += 1
        counters.changes += len(batch.changes)
        counters.bytes += batch.size_bytes

    def sync(self) -> None:
        if self._broken is not None:
            raise OSError(
                f"{self.path}: an earlier sync failed, what is durable is unknown; restart the node"
            ) from (self._broken)
        try:
            self._database.flush_wal(True)
        except Exception as error:
            self._broken = error
            raise OSError(f"{self.path}: sync failed: {error}") from error
        self.counters.syncs += 1

    def close(self) -> None:
        self._database.close()
