"""An engine on plain files: a write-ahead file of checksummed batches, recovered and checked when it is opened.

The whole map is in memory; the file `log` is what survives. It begins with a *checkpoint*, all pairs at once, and goes
on with one record a batch. When it has grown too long, a sync writes a new file from a checkpoint, syncs it, renames
it over the old one, and syncs the directory; batches that come meanwhile go to both files, so a crash finds either.

A record is `magic, length, sequence, synced end, checksum of the record before, own checksum` and the batch. The
*synced end* is how far the file was known to be durable when the record was written. It tells the two kinds of damage
apart that look the same at first:

- **A torn tail.** After a power loss unsynced records may be missing, torn, or there although an earlier one is not.
  Everything from the first bad record on is cut: nobody was told that it is durable.
- **Corruption.** A bad record that lies before the synced end which a later, whole record names had been durable. The
  engine refuses to open (`DamagedFile`): going on without a promise that was made is worse than not going on.

So that there is such a later record, a sync that leaves nothing unsynced behind it appends an empty one, a *note*. A
note is durable only with the next sync: if a power loss takes it, and the last synced batch is damaged before the
engine is opened again, that cannot be told from a torn tail.

What was found when opening is written to a new file, as a checkpoint, before it is believed. An error of the disk
breaks the engine for good, since after a failed sync nobody knows what is durable; whoever opens it again finds out.

`Disk` and `File` are what it needs of a disk; the simulated one offers it, the database itself runs on RocksDB.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import Protocol
from zlib import crc32

import msgspec

from .engine import EngineCounters, MemoryReader, WriteBatch

Done = Callable[[], object]
Failed = Callable[[OSError], object]

CHECKPOINT_BYTES = 1 << 20
"""A log gets a checkpoint when this much, and twice the last checkpoint, has been written after that."""


class File(Protocol):
    """An open file. Whatever cannot be done raises OSError, and then nothing of it has happened."""

    @property
    def size(self) -> int: ...

    def append(self, data: bytes) -> int:
        """Write at the end; returns where. Can be read at once, is durable after a sync that began later."""

    def read(self) -> bytes:
        """All of it."""

    def truncate(self, size: int) -> None: ...

    def sync_now(self) -> None:
        """Make all that was written durable; blocks."""

    def sync_later(self, done: Done, failed: Failed) -> None:
        """The same for what was written before this call; returns at once and calls one of the two in the end."""

    def close(self) -> None: ...


class Disk(Protocol):
    """Named files in directories. Names, too, are durable only once their directory was synced."""

    def open(self, path: str, create: bool = False) -> File: ...

    def make_directory(self, path: str) -> None:
        """With those above it. Idempotent."""

    def exists(self, path: str) -> bool: ...

    def rename(self, source: str, target: str) -> None:
        """Atomically, over what is there."""

    def remove(self, path: str) -> None: ...

    def sync_directory(self, path: str) -> None:
        """Make the names in it durable; blocks. `""` is the root."""

    def sync_directory_later(self, path: str, done: Done, failed: Failed) -> None: ...


class DamagedFile(Exception):
    """What was durable is not there any more. The text says which file, where, and how it is known."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset}: {reason}; this node has lost what it had promised to keep:"
            " restore its disk, or let it join again with an empty one under another name"
        )
        self.path = path
        self.offset = offset


class FileEngine(MemoryReader):
    """An `Engine` in a directory of a disk, made if it isn't there. Raises OSError and `DamagedFile`."""

    __slots__ = (
        "_broken",
        "_checkpoint_bytes",
        "_closed",
        "_disk",
        "_folder",
        "_logs",
        "_sequence",
        "_syncing",
        "checkpoints",
        "counters",
        "cut_bytes",
    )

    def __init__(self, disk: Disk, folder: str = "data", checkpoint_bytes: int = CHECKPOINT_BYTES) -> None:
        self.counters = EngineCounters()
        self.checkpoints = 0
        """Made since it was opened."""
        self.cut_bytes = 0
        """Length of the torn tail that was found and cut."""
        self._disk = disk
        self._folder = folder
        self._checkpoint_bytes = checkpoint_bytes
        self._broken: OSError | None = None
        self._closed = False
        self._syncing = False
        self._sequence = 0
        """Number of the last batch, from 1."""
        disk.make_directory(folder)
        log_path, new_path, mark_path = self._path("log"), self._path("log.new"), self._path("made")
        if disk.exists(new_path):
            disk.remove(new_path)
        if disk.exists(log_path):
            super().__init__(self._recover(log_path))
        elif disk.exists(mark_path):
            raise DamagedFile(log_path, 0, f"the file is gone, and {mark_path} says that there was one")
        else:
            super().__init__({})
        # What was found is written anew before it is believed. After a sync that failed, the disk may show what it will
        # never write: a later sync of the same file succeeds without it.
        log = self._write_checkpoint(new_path)
        log.file.sync_now()
        log.synced_end = log.end
        self._logs = [log]
        disk.rename(new_path, log_path)
        self._sync_names()
        if not disk.exists(mark_path):
            # Made only when the log is certain to be there, so that the mark without the log means that it was lost.
            disk.open(mark_path, create=True)
            disk.sync_directory(folder)

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _sync_names(self) -> None:
        """The names in the folder, and its own, down from the root."""
        parts = [part for part in self._folder.split("/") if part]
        for count in range(len(parts) + 1):
            self._disk.sync_directory("/".join(parts[:count]))

    def _recover(self, path: str) -> dict[bytes, bytes]:
        """What the log says, without its torn tail."""
        file = self._disk.open(path)
        try:
            found = recover(path, file.read())
            self.cut_bytes = file.size - found.end
        finally:
            file.close()
        self._sequence = found.sequence
        return found.values

    # Writing.

    def write(self, batch: WriteBatch) -> None:
        """As the role says; an error of the disk is raised as OSError, and from then on always."""
        changes = batch.changes
        if not changes:
            return
        if self._broken is not None:
            raise self._refusal()
        self._sequence += 1
        payload = _encode(changes)
        try:
            for log in self._logs:
                log.append(self._sequence, payload)
        except OSError as error:
            raise self._break(error) from error
        self._change(batch)
        counters = self.counters
        counters.batches += 1
        counters.changes += len(changes)
        counters.bytes += batch.size_bytes

    # Syncing.

    def sync(self) -> None:
        """As the role says; on a simulated disk it takes no virtual time. Not while a `sync_later` is under way."""
        log, covered = self._begin_sync()
        try:
            log.file.sync_now()
            if log is not self._logs[0]:
                self._disk.rename(self._path("log.new"), self._path("log"))
                self._disk.sync_directory(self._folder)
        except OSError as error:
            raise self._break(error) from error
        self._end_sync(log, covered)

    def sync_later(self, done: Done, failed: Failed) -> None:
        """Make what was written before this call durable, then call `done`; or `failed`, with an OSError. One at a
        time. Raises OSError if it cannot begin; after `close` nobody is called."""
        log, covered = self._begin_sync()

        def fail(error: OSError) -> None:
            if not self._closed:
                failed(self._break(error))

        def synced() -> None:
            if self._closed:
                return
            if log is self._logs[0]:
                finish()
                return
            try:
                self._disk.rename(self._path("log.new"), self._path("log"))
                self._disk.sync_directory_later(self._folder, finish, fail)
            except OSError as error:
                fail(error)

        def finish() -> None:
            if not self._closed:
                self._end_sync(log, covered)
                done()

        try:
            log.file.sync_later(synced, fail)
        except OSError as error:
            raise self._break(error) from error

    def _begin_sync(self) -> tuple[_Log, int]:
        """The log to sync and how much of it that will cover: the present one, or a new one from a checkpoint."""
        if self._broken is not None:
            raise self._refusal()
        assert not self._syncing, f"{self._path('log')}: a sync begins while another one is under way"
        self._syncing = True
        log = self._logs[0]
        if log.end - log.checkpoint_end >= max(self._checkpoint_bytes, 2 * log.checkpoint_end):
            try:
                log = self._write_checkpoint(self._path("log.new"))
            except OSError as error:
                raise self._break(error) from error
            self._logs.append(log)
        return log, log.end

    def _end_sync(self, log: _Log, covered: int) -> None:
        if log is not self._logs[0]:
            self._logs.pop(0).file.close()
            self.checkpoints += 1
        log.synced_end = covered
        if log.end == covered:
            try:
                log.append(self._sequence, b"")
            except OSError as error:
                # Nothing is lost yet, but the next batch would meet the same.
                self._break(error)
        self._syncing = False
        self.counters.syncs += 1

    def _write_checkpoint(self, path: str) -> _Log:
        """A new file that begins with all that is there now."""
        if self._disk.exists(path):
            self._disk.remove(path)
        log = _Log(self._disk.open(path, create=True), path, 0, 0, 0)
        log.append(self._sequence, _encode(self._values))
        log.checkpoint_end = log.end
        return log

    def _break(self, error: OSError) -> OSError:
        """From now on nothing is written or synced."""
        self._syncing = False
        if self._broken is None:
            self._broken = error
        return OSError(error.errno or errno.EIO, f"the disk failed: {error.strerror}", self._path("log"))

    def _refusal(self) -> OSError:
        assert self._broken is not None
        return OSError(
            errno.EIO,
            f"the disk failed earlier ({self._broken.strerror}), what is durable is unknown; restart the node",
            self._path("log"),
        )

    def forget(self) -> None:
        """Let go of what is in memory. Nobody may use the engine any more; its files stay on the disk as they are."""
        self._values, self._order, self._moved, self._logs = {}, [], {}, []

    def close(self) -> None:
        """Let go of the files; syncs nothing. Idempotent."""
        self._closed = True
        for log in self._logs:
            log.file.close()


class FileSync:
    """The `SyncExecutor` of a node whose engine is a `FileEngine`: its disk calls back when a sync has ended, so it
    needs no thread. An error of the disk is handed to `on_failure`: the node must stop then (fail-stop)."""

    def __init__(self, engine: FileEngine, on_failure: Callable[[BaseException], object]) -> None:
        self._engine = engine
        self._on_failure = on_failure
        self._stopped = False

    def sync(self, done: Callable[[], None]) -> None:
        """Everything written before this call becomes durable; then `done()` is called on the loop."""

        def finish() -> None:
            if not self._stopped:
                done()

        try:
            self._engine.sync_later(finish, self._fail)
        except OSError as error:
            self._fail(error)

    def stop(self) -> None:
        """From now on nobody is called."""
        self._stopped = True

    def _fail(self, error: OSError) -> None:
        if not self._stopped:
            self._on_failure(error)


# The file.


class _Log:
    """One write-ahead file, at its end."""

    __slots__ = ("checkpoint_end", "checksum", "end", "file", "path", "synced_end")

    def __init__(self, file: File, path: str, end: int, checksum: int, checkpoint_end: int) -> None:
        self.file = file
        self.path = path
        self.end = end
        self.checksum = checksum
        """Of the last record; the next one repeats it, so that no record of another history fits behind this one."""
        self.checkpoint_end = checkpoint_end
        self.synced_end = 0
        """So much is durable for certain."""

    def append(self, sequence: int, payload: bytes) -> None:
        end = self.end
        head = _pack_head(MAGIC, len(payload), sequence, self.synced_end, self.checksum)
        checksum = crc32(payload, crc32(head, end & 0xFFFFFFFF))
        record = head + _pack_checksum(checksum) + payload
        offset = self.file.append(record)
        assert offset == end, f"{self.path}: a record for byte {end} was written at {offset}"
        self.checksum = checksum
        self.end = end + len(record)


class Recovered(msgspec.Struct, frozen=True):
    """What a log holds: the map after its last whole batch, and where that one ends."""

    values: dict[bytes, bytes]
    sequence: int
    end: int
    checksum: int
    checkpoint_end: int


def recover(path: str, raw: bytes) -> Recovered:
    """Read the bytes of a log: the longest prefix of whole records. Raises `DamagedFile` if what follows was synced."""
    first = _read_record(raw, 0)
    if first is None or first.previous != 0 or first.payload_size == 0:
        # The name of the file was given to it after its checkpoint was synced.
        raise DamagedFile(path, 0, "the checkpoint at its beginning, which was synced, is not whole")
    values = _CHECKPOINT_DECODER.decode(first.payload(raw))
    reader = MemoryReader(values)
    sequence, checksum, end = first.sequence, first.checksum, first.end
    while True:
        record = _read_record(raw, end)
        if record is None or record.previous != checksum:
            break
        if record.payload_size:
            assert record.sequence == sequence + 1, (
                f"{path}: batch {record.sequence} at byte {end} follows batch {sequence}"
            )
            batch = WriteBatch()
            batch.changes = _BATCH_DECODER.decode(record.payload(raw))
            reader._change(batch)
        sequence, checksum, end = record.sequence, record.checksum, record.end
    _refuse_if_synced(path, raw, end)
    return Recovered(values, sequence, end, checksum, first.end)


def _refuse_if_synced(path: str, raw: bytes, end: int) -> None:
    """Look behind the first bad record for a whole one that knows better."""
    at = raw.find(MAGIC, end + 1)
    while at >= 0:
        record = _read_record(raw, at)
        if record is not None and record.synced_end > end:
            raise DamagedFile(
                path,
                end,
                f"the record there is not whole, but the one at {at} (batch {record.sequence}) knows that"
                f" everything up to {record.synced_end} was synced",
            )
        at = raw.find(MAGIC, at + 1)


class _Record(msgspec.Struct, frozen=True, gc=False):
    start: int
    payload_size: int
    sequence: int
    synced_end: int
    previous: int
    checksum: int

    @property
    def end(self) -> int:
        return self.start + HEAD_BYTES + self.payload_size

    def payload(self, raw: bytes) -> bytes:
        return raw[self.start + HEAD_BYTES : self.end]


def _read_record(raw: bytes, at: int) -> _Record | None:
    """The record that begins there; None if there is none, or not a whole one."""
    if at + HEAD_BYTES > len(raw):
        return None
    magic, size, sequence, synced_end, previous = _HEAD.unpack_from(raw, at)
    if magic != MAGIC or at + HEAD_BYTES + size > len(raw):
        return None
    (checksum,) = _CHECKSUM.unpack_from(raw, at + _HEAD.size)
    view = memoryview(raw)
    begun = crc32(view[at : at + _HEAD.size], at & 0xFFFFFFFF)
    if crc32(view[at + HEAD_BYTES : at + HEAD_BYTES + size], begun) != checksum:
        return None
    return _Record(at, size, sequence, synced_end, previous, checksum)


MAGIC = b"\xf1Log"
_HEAD = struct.Struct("<4sIQQI")
"""Magic, length of the batch, its sequence number, synced end, checksum of the record before. The record's own checksum
follows: CRC-32 of this head and the batch, begun with the record's offset."""
_CHECKSUM = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CHECKSUM.size
_pack_head = _HEAD.pack
_pack_checksum = _CHECKSUM.pack
_encode = msgspec.msgpack.Encoder().encode
_BATCH_DECODER = msgspec.msgpack.Decoder(list[tuple[int, bytes, bytes]])
_CHECKPOINT_DECODER = msgspec.msgpack.Decoder(dict[bytes, bytes])
