"""The disk of a simulated host: what was written, what of it is durable, and what a power loss makes of the rest.

A write reaches the page cache and can be read at once; `kill -9` does not hurt it. It is durable once a sync that began
after it has ended, and the same holds for names: a file that was created, renamed or removed is so for good once its
*directory* was synced. A sync of a file says nothing about its name, as in POSIX.

**Power loss** (`crash`) is as unkind as POSIX allows, sector by sector (512 bytes):
- Of each file's unsynced writes nothing, a prefix, any part or all reaches the disk. A sector holds one of the states
  that it has had, so what was synced in it stays; sectors are independent, so a later write may survive an earlier one
  (*reordered*), and one write may survive in part (*torn*). What lies between is zeros, or what was there before.
- Of a directory's unsynced changes any subset survives, but those of one name in their order; a rename is atomic.

**Faults** (`set_fault`, one at a time, over every crash until `clear_fault`):
- `eio-sync`: a share of the syncs fail with EIO. What such a sync should have covered is then, by a coin, still to be
  synced, or dropped: a part of it has reached the disk, the rest can be read until the next power loss, and *a later
  sync succeeds without it*. That is what Linux does with pages that it could not write ("fsyncgate", 2018).
- `eio-write`: a share of the writes fail with EIO, and nothing of them is written.
- `full`: what needs more room (a longer file, a new name) fails with ENOSPC, and nothing of it is written.
- `stall`: no sync comes to an end before `clear_fault`, then all do. `slow`: each takes longer.
- `flip_bits`, `lose_file`, `wipe`: damage to what was durable. Nothing heals it.

Reads and writes go to the page cache and take no virtual time; a sync does, one after the other, drawn from the disk's
own random stream. The kernel goes on with a sync whose process is paused or was killed, but a power loss ends it.
`sync_now` blocks like `os.fsync`: it takes no virtual time, so a disk that is slow or stalls cannot delay it.

A program finds its disk at `current_host().disk`; `open_stream` gives files as the builtin `open` does.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import io
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

import msgspec

from harness.environments.simulation.loop import refuse_the_dead

if TYPE_CHECKING:
    from harness.environments.simulation.world import World

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""
SYNC_NS = 500_000
"""How long a sync takes on average; see `Disk.sync_ns`."""
SLOWEST_FACTOR = 50.0
PICOSECONDS_PER_BYTE = 2_000
"""What a sync takes longer for each byte that it covers: 500 MB/s."""

FaultKind = Literal["eio-sync", "eio-write", "full", "stall", "slow"]
FAULTS: tuple[str, ...] = get_args(FaultKind)

PathLike = str | os.PathLike[str]
Done = Callable[[], object]
Failed = Callable[[OSError], object]


@dataclass(slots=True)
class DiskCounters:
    """Since the disk was made, over all lives of its host."""

    writes: int = 0
    bytes: int = 0
    syncs: int = 0
    """Syncs of files and directories that have ended well."""
    failed_syncs: int = 0
    failed_writes: int = 0
    """Refused with EIO or ENOSPC."""
    crashes: int = 0


class CrashReport(msgspec.Struct, frozen=True):
    """What a power loss did to what was not synced. Counts are of writes, unless they say otherwise."""

    unsynced: int = 0
    """Writes and changes of names that could be lost."""
    lost: int = 0
    torn: int = 0
    """Survived in part."""
    reordered: int = 0
    """Survived, at least in part, although an earlier one of the same file did not, or not whole."""
    names: int = 0
    """Created, renamed or removed names that are as they were before."""
    details: tuple[str, ...] = ()
    """One sentence for each file and directory that had something unsynced."""


class Damage(msgspec.Struct, frozen=True):
    """Bits of a durable file that were flipped."""

    path: str
    offset: int
    before: bytes
    after: bytes


class Fault(msgspec.Struct, frozen=True):
    """What a disk does at present instead of working."""

    kind: FaultKind
    share: float = 1.0
    delay_ns: int = 0


class ProbeResult(msgspec.Struct, frozen=True):
    """What became of a write and a sync that were tried. `ok`, or the error's name, or `no end in 50 ms`."""

    write: str
    sync: str
    taken_ns: int


Change = tuple[int, bytes | None]
"""`(offset, bytes)` is a write, `(size, None)` a truncation."""


class _Content:
    """The bytes of one file, whatever it is called."""

    __slots__ = ("durable", "is_gone", "pending", "taken", "written")

    def __init__(self, durable: bytearray) -> None:
        self.durable = durable
        """What is certain to be there after a power loss."""
        self.written = bytearray(durable)
        """What a read sees."""
        self.pending: list[Change] = []
        """What a sync has to make durable, oldest first."""
        self.taken = 0
        """How many have left `pending` at its front: so a sync can say later what it covers."""
        self.is_gone = False
        """The power was lost, or the disk was wiped: handles of before are dead."""

    def take(self, covered: int) -> list[Change]:
        """Remove and return the pending changes up to this count since the beginning."""
        count = max(covered - self.taken, 0)
        taken, self.pending = self.pending[:count], self.pending[count:]
        self.taken += len(taken)
        return taken


class _Directory:
    """Names, and what they stand for."""

    __slots__ = ("durable", "pending", "taken", "written")

    def __init__(self, durable: dict[str, _Node]) -> None:
        self.durable = durable
        self.written = dict(durable)
        self.pending: list[NameChanges] = []
        self.taken = 0

    def change(self, *changes: tuple[str, _Node | None]) -> None:
        """Several names at once, atomically; None removes one."""
        refuse_the_dead()
        _rename(self.written, changes)
        self.pending.append(changes)

    def take(self, covered: int) -> list[NameChanges]:
        count = max(covered - self.taken, 0)
        taken, self.pending = self.pending[:count], self.pending[count:]
        self.taken += len(taken)
        return taken


_Node = _Content | _Directory
NameChanges = tuple[tuple[str, "_Node | None"], ...]
_Named = list[tuple[str, _Content]]


@dataclass(slots=True, eq=False)
class _Sync:
    """A sync under way."""

    what: _Content | _Directory
    name: str
    covers: int
    done: Done
    failed: Failed
    context: contextvars.Context
    begun_ns: int


class SimulatedFile:
    """An open file. Handles need no closing; after a power loss they are dead."""

    __slots__ = ("_content", "_disk", "path")

    def __init__(self, disk: Disk, path: str, content: _Content) -> None:
        self._disk = disk
        self._content = content
        self.path = path

    @property
    def size(self) -> int:
        """In bytes, as a read sees it."""
        return len(self._content.written)

    def append(self, data: bytes) -> int:
        """Write at the end; returns the offset where it begins. Raises OSError (EIO, ENOSPC): nothing is written."""
        refuse_the_dead()
        content = self._content
        offset = len(content.written)
        disk = self._disk
        if content.is_gone or disk.refuses_writes:
            disk.check_write(content, self.path, grows=bool(data))
        content.written += data
        content.pending.append((offset, data))
        counters = disk.counters
        counters.writes += 1
        counters.bytes += len(data)
        return offset

    def write_at(self, offset: int, data: bytes) -> None:
        """Write there; a gap before it is zeros. Raises OSError (EIO, ENOSPC): nothing is written."""
        if offset < 0:
            raise ValueError(f"{self.path}: offset is {offset}, the first byte of a file is 0")
        refuse_the_dead()
        content, disk = self._content, self._disk
        if content.is_gone or disk.refuses_writes:
            disk.check_write(content, self.path, grows=offset + len(data) > len(content.written))
        change = (offset, bytes(data))
        _apply(content.written, change)
        content.pending.append(change)
        disk.counters.writes += 1
        disk.counters.bytes += len(data)

    def truncate(self, size: int) -> None:
        """Make it so long; what is added is zeros. Raises OSError (EIO, ENOSPC): nothing is changed."""
        if size < 0:
            raise ValueError(f"{self.path}: size is {size}, a file has 0 bytes at least")
        refuse_the_dead()
        content, disk = self._content, self._disk
        if content.is_gone or disk.refuses_writes:
            disk.check_write(content, self.path, grows=size > len(content.written))
        if size == len(content.written):
            return
        _apply(content.written, (size, None))
        content.pending.append((size, None))
        disk.counters.writes += 1

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """At most so many bytes from there (None: all); fewer at the end of the file."""
        if self._content.is_gone:
            self._disk.check_write(self._content, self.path, grows=False)
        end = None if size is None else offset + size
        return bytes(memoryview(self._content.written)[offset:end])

    async def sync(self) -> None:
        """Everything written so far becomes durable; takes virtual time. Raises OSError."""
        await self._disk.sync(self)

    def sync_later(self, done: Done, failed: Failed) -> None:
        """Begin a sync of what is written so far; one of the two is called when it has ended."""
        self._disk.begin_sync(self._content, self.path, done, failed)

    def sync_now(self) -> None:
        """As `os.fsync`: blocks, and takes no virtual time. Raises OSError."""
        self._disk.finish_now(self._content, self.path)

    def is_durable(self, start: int, end: int) -> bool:
        """Whether a power loss would leave these bytes as they are read now."""
        content = self._content
        return (
            not content.is_gone
            and end <= len(content.durable)
            and content.durable[start:end] == content.written[start:end]
        )

    def close(self) -> None:
        """Nothing to let go of, and no sync: as on real disks."""


class Disk:
    """All files of one host. They outlive its processes. Paths are `/`-separated; a leading `/` means nothing."""

    def __init__(self, world: World, host_name: str) -> None:
        self.name = host_name
        self.counters = DiskCounters()
        self.sync_ns = SYNC_NS
        """How long a sync takes on average: at least half of it, in the median 0.7, in one of 2,500 25 times as long
        (a Pareto distribution with exponent 2)."""
        self.fault: Fault | None = None
        self.refuses_writes = False
        """Some writes fail at present: `check_write` says which."""
        self._world = world
        self._random = world.random(f"disk {host_name}")
        self._area = f"disk {host_name}"
        self._root = _Directory({})
        self._busy_until_ns = 0
        self._power = 0
        """How often the power was lost, or everything was: a sync of before never ends."""
        self._held: list[_Sync] = []
        """Syncs that would have ended, had the disk not stalled."""
        self._kernel = contextvars.Context()
        """What the disk does itself is done for no process, so that it goes on when one dies."""

    # Files and names.

    def open(self, path: PathLike, create: bool = False) -> SimulatedFile:
        """The file of this name; with `create` a new, empty one if there is none. Raises OSError (ENOENT, ENOSPC)."""
        directory, name, whole = self._place(path)
        node = directory.written.get(name)
        if isinstance(node, _Directory):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), whole)
        if node is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), whole)
            self._check_name(whole)
            node = _Content(bytearray())
            directory.change((name, node))
        return SimulatedFile(self, whole, node)

    def open_stream(self, path: PathLike, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """As the builtin `open`, for programs that expect file objects. Buffered: `flush` before a sync of the path."""
        return _open_stream(self, path, mode, encoding)

    def make_directory(self, path: PathLike) -> None:
        """Make it and those above it. Their names are durable once those above were synced. Idempotent."""
        here = self._root
        walked = ""
        for part in _parts(path):
            walked = f"{walked}/{part}" if walked else part
            below = here.written.get(part)
            if below is None:
                self._check_name(walked)
                below = _Directory({})
                here.change((part, below))
            elif isinstance(below, _Content):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), walked)
            here = below

    def exists(self, path: PathLike) -> bool:
        """Whether there is a file or directory of this name."""
        return self._find(path) is not None

    def list(self, path: PathLike = "") -> list[str]:
        """The names in a directory, sorted. Raises OSError."""
        return sorted(self._directory(path).written)

    def rename(self, source: PathLike, target: PathLike) -> None:
        """Atomically; what was called `target` is gone. Both must be in one directory. Raises OSError."""
        directory, old, old_path = self._place(source)
        other, new, new_path = self._place(target)
        if other is not directory:
            raise OSError(
                errno.EXDEV, f"rename from {old_path} within its own directory only, on this disk", new_path
            )
        node = directory.written.get(old)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old_path)
        if old != new:
            directory.change((old, None), (new, node))

    def remove(self, path: PathLike) -> None:
        """A file, or an empty directory. Raises OSError."""
        directory, name, whole = self._place(path)
        node = directory.written.get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), whole)
        if isinstance(node, _Directory) and node.written:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), whole)
        directory.change((name, None))

    def files(self) -> Iterator[tuple[str, int]]:
        """Path and size of every file, in order of their paths."""
        for path, content in _walk(self._root.written, ""):
            yield path, len(content.written)

    def durable(self, path: PathLike) -> bytes | None:
        """What a power loss now would certainly leave of a file, None if not even its name. For audits: a program
        cannot know."""
        here: _Node | None = self._root
        for part in _parts(path):
            if not isinstance(here, _Directory):
                return None
            here = here.durable.get(part)
        return bytes(here.durable) if isinstance(here, _Content) else None

    def unsynced(self) -> int:
        """How many writes and changes of names a power loss could undo."""
        return sum(len(node.pending) for node in _everything(self._root))

    def _place(self, path: PathLike) -> tuple[_Directory, str, str]:
        parts = _parts(path)
        if not parts:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "/")
        return self._directory("/".join(parts[:-1])), parts[-1], "/".join(parts)

    def _directory(self, path: PathLike) -> _Directory:
        node = self._find(path)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
        if isinstance(node, _Content):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))
        return node

    def _find(self, path: PathLike) -> _Node | None:
        here: _Node | None = self._root
        for part in _parts(path):
            if not isinstance(here, _Directory):
                return None
            here = here.written.get(part)
        return here

    # Durability.

    async def sync(self, what: SimulatedFile | PathLike) -> None:
        """A file, an open one or by its path, or a directory: what was written before becomes durable. Takes virtual
        time. Raises OSError."""
        ended: asyncio.Future[None] = self._world.loop.create_future()

        def done() -> None:
            if not ended.done():
                ended.set_result(None)

        def failed(error: OSError) -> None:
            if not ended.done():
                ended.set_exception(error)

        self.sync_later(what, done, failed)
        await ended

    def sync_later(self, what: SimulatedFile | PathLike, done: Done, failed: Failed) -> None:
        """As `sync`, with callbacks: one of them is called when it has ended, unless the power is lost before."""
        if isinstance(what, SimulatedFile):
            what.sync_later(done, failed)
            return
        node = self._find(what)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(what))
        self.begin_sync(node, os.fspath(what), done, failed)

    def sync_directory(self, path: PathLike = "") -> None:
        """The names in it become durable, as by `os.fsync` of a directory: blocks, takes no virtual time. Raises
        OSError."""
        self.finish_now(self._directory(path), os.fspath(path))

    def sync_directory_later(self, path: PathLike, done: Done, failed: Failed) -> None:
        """The names in it become durable; takes virtual time."""
        self.begin_sync(self._directory(path), os.fspath(path), done, failed)

    def begin_sync(self, what: _Content | _Directory, name: str, done: Done, failed: Failed) -> None:
        """Start what `_end_sync` ends. For this module; others sync files and paths."""
        refuse_the_dead()
        loop = self._world.loop
        now_ns = loop.now_ns
        sync = _Sync(
            what, name, what.taken + len(what.pending), done, failed, contextvars.copy_context(), now_ns
        )
        taken_ns = min(0.5 / (1.0 - self._random.random()) ** 0.5, SLOWEST_FACTOR) * self.sync_ns
        if isinstance(what, _Content):
            size = sum([len(data) for _, data in what.pending if data is not None])
            taken_ns += size * PICOSECONDS_PER_BYTE // 1000
        fault = self.fault
        if fault is not None and fault.kind == "slow":
            taken_ns += fault.delay_ns
        self._busy_until_ns = max(now_ns, self._busy_until_ns) + int(taken_ns)
        loop.call_at_ns(self._busy_until_ns, self._end_sync, sync, self._power, context=self._kernel)

    def _end_sync(self, sync: _Sync, power: int) -> None:
        if power != self._power:
            return
        if self.fault is not None and self.fault.kind == "stall":
            self._held.append(sync)
            return
        loop = self._world.loop
        try:
            self._make_durable(sync.what, sync.name, sync.covers)
        except OSError as error:
            loop.call_soon(sync.failed, error, context=sync.context)
            return
        loop.call_soon(sync.done, context=sync.context)
        if self._world.trace is not None:
            self._world.emit(self._area, "sync", file=sync.name, taken_ns=loop.now_ns - sync.begun_ns)

    def finish_now(self, what: _Content | _Directory, name: str) -> None:
        """A blocking sync. For this module; others sync files and paths."""
        refuse_the_dead()
        if isinstance(what, _Content) and what.is_gone:
            self.check_write(what, name, grows=False)
        self._make_durable(what, name, what.taken + len(what.pending))

    def _make_durable(self, what: _Content | _Directory, name: str, covered: int) -> None:
        fault = self.fault
        if fault is not None and fault.kind == "eio-sync" and self._random.random() < fault.share:
            self.counters.failed_syncs += 1
            dropped = self._random.random() < 0.5
            if dropped:
                self._drop(what, covered)
            self._world.emit(self._area, "sync failed", file=name, dropped=dropped)
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} (sync)", name)
        if isinstance(what, _Content):
            durable = what.durable
            for change in what.take(covered):
                _apply(durable, change)
        else:
            for changes in what.take(covered):
                _rename(what.durable, changes)
        self.counters.syncs += 1

    def _drop(self, what: _Content | _Directory, covered: int) -> None:
        """A sync failed, and the system forgets that there is something to sync. A part had reached the disk."""
        if isinstance(what, _Content):
            dropped = what.take(covered)
            for change in dropped[: self._random.randint(0, len(dropped))]:
                _apply(what.durable, change)
        else:
            names = what.take(covered)
            for changes in names[: self._random.randint(0, len(names))]:
                _rename(what.durable, changes)

    def crash(self, random: random.Random) -> CrashReport:
        """The power fails: what was not synced is lost, torn or reordered, as this stream draws; syncs under way never
        end; open files are dead. Says what it did."""
        self._forget_syncs()
        self.counters.crashes += 1
        tally = _Tally(unsynced=self.unsynced())
        old = list(_everything(self._root))
        self._root = _crash_directory(self._root, "", random, tally)
        for node in old:
            if isinstance(node, _Content):
                node.is_gone = True
        report = tally.report()
        if self._world.trace is not None:
            self._world.emit(self._area, "crash", **msgspec.to_builtins(report))
        return report

    def _forget_syncs(self) -> None:
        self._power += 1
        self._held.clear()
        self._busy_until_ns = 0

    # Faults.

    def set_fault(self, kind: FaultKind, share: float = 1.0, delay_ns: int = 0) -> None:
        """From now on the disk does this, instead of what it did before: see the module. `share` is that of the
        operations that fail (`eio-...`), `delay_ns` what a sync takes longer (`slow`)."""
        if kind not in FAULTS:
            raise ValueError(f"unknown fault {kind!r} of a disk; known: {', '.join(FAULTS)}")
        if not 0.0 <= share <= 1.0 or delay_ns < 0:
            raise ValueError(f"share {share} must be in [0, 1], delay_ns {delay_ns} at least 0")
        self.clear_fault()
        self.fault = Fault(kind, share, delay_ns)
        self.refuses_writes = kind in ("eio-write", "full")
        self._world.emit(self._area, "fault", kind=kind, share=share, delay_ns=delay_ns)

    def clear_fault(self) -> None:
        """The disk works again; syncs that a stall has held end now, in their order. Idempotent."""
        if self.fault is None:
            return
        self._world.emit(self._area, "healed", kind=self.fault.kind)
        self.fault = None
        self.refuses_writes = False
        held, self._held = self._held, []
        now_ns = self._world.loop.now_ns
        for place, sync in enumerate(held):
            self._world.loop.call_at_ns(
                now_ns + place, self._end_sync, sync, self._power, context=self._kernel
            )

    def flip_bits(self, path: PathLike | None = None) -> Damage | None:
        """Flip one to three bits within eight bytes of a durable file (None: any, larger ones sooner), also in the page
        cache where nothing newer is written. Returns what was done; None if nothing is durable."""
        found = self._damageable(path)
        if not found:
            return None
        whole, content = self._random.choices(found, [len(content.durable) for _, content in found])[0]
        offset = self._random.randrange(len(content.durable))
        end = min(offset + 8, len(content.durable))
        before = bytes(content.durable[offset:end])
        bits = self._random.sample(range(8 * (end - offset)), self._random.randint(1, 3))
        for bit in bits:
            at, mask = offset + bit // 8, 1 << bit % 8
            if at < len(content.written) and content.written[at] == content.durable[at]:
                content.written[at] ^= mask
            content.durable[at] ^= mask
        damage = Damage(whole, offset, before, bytes(content.durable[offset:end]))
        self._world.emit(self._area, "bits flipped", path=whole, offset=offset, bits=len(bits))
        return damage

    def lose_file(self, path: PathLike | None = None) -> str | None:
        """Remove a durable file (None: any), now and for good. Returns its path; None if nothing is durable."""
        found = self._damageable(path)
        if not found:
            return None
        whole, content = self._random.choice(found)
        directory, name, _ = self._place(whole)
        del directory.written[name]
        for durable in [one for one, node in directory.durable.items() if one == name or node is content]:
            del directory.durable[durable]
        directory.pending = [
            tuple((one, node) for one, node in changes if node is not content)
            for changes in directory.pending
        ]
        self._world.emit(self._area, "file lost", path=whole)
        return whole

    def wipe(self) -> None:
        """Everything is gone, now and for good: an empty disk. Syncs under way never end, open files are dead."""
        self._forget_syncs()
        files = 0
        for node in _everything(self._root):
            if isinstance(node, _Content):
                node.is_gone = True
                files += 1
        self._root = _Directory({})
        self._world.emit(self._area, "wiped", files=files)

    def _damageable(self, path: PathLike | None) -> _Named:
        wanted = None if path is None else "/".join(_parts(path))
        return [
            (found, content)
            for found, content in _walk(self._root.written, "")
            if content.durable and self.durable(found) is not None and wanted in (None, found)
        ]

    async def probe(self, patience_ns: int = 50_000_000) -> ProbeResult:
        """Try a write and a sync on this disk, of a file outside of its tree, and say what became of them. Faults
        count for it as for any file."""
        loop = self._world.loop
        file = SimulatedFile(self, "probe", _Content(bytearray()))
        begun_ns = loop.now_ns
        try:
            file.append(b"probe")
        except OSError as error:
            return ProbeResult(errno.errorcode.get(error.errno or 0, str(error)), "not tried", 0)
        ended: asyncio.Future[str] = loop.create_future()

        def end(how: str) -> None:
            if not ended.done():
                ended.set_result(how)

        file.sync_later(
            lambda: end("ok"), lambda error: end(errno.errorcode.get(error.errno or 0, str(error)))
        )
        patience = loop.call_at_ns(begun_ns + patience_ns, end, f"no end in {patience_ns / 1e6:g} ms")
        how = await ended
        patience.cancel()
        return ProbeResult("ok", how, loop.now_ns - begun_ns)

    def check_write(self, content: _Content, path: str, *, grows: bool) -> None:
        """Raises what a write of this file meets. For this module."""
        if content.is_gone:
            raise OSError(errno.EBADF, "the power was lost since this file was opened: open it again", path)
        fault = self.fault
        if fault is None:
            return
        if fault.kind == "full" and grows:
            self.counters.failed_writes += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if fault.kind == "eio-write" and self._random.random() < fault.share:
            self.counters.failed_writes += 1
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} (write)", path)

    def _check_name(self, path: str) -> None:
        """A new name needs room."""
        if self.fault is not None and self.fault.kind == "full":
            self.counters.failed_writes += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


# What a power loss leaves.


@dataclass(slots=True)
class _Tally:
    unsynced: int = 0
    lost: int = 0
    torn: int = 0
    reordered: int = 0
    names: int = 0
    details: list[str] = field(default_factory=list)

    def report(self) -> CrashReport:
        return CrashReport(
            self.unsynced, self.lost, self.torn, self.reordered, self.names, tuple(self.details)
        )


def _crash_directory(directory: _Directory, path: str, random: random.Random, tally: _Tally) -> _Directory:
    """The directory as it is found afterwards."""
    names = directory.durable
    undone = []
    blocked: set[str] = set()
    keeps = random.choice((0.0, 0.5, 0.5, 1.0)) if directory.pending else 0.0
    for changes in directory.pending:
        if random.random() < keeps and not any(name in blocked for name, _ in changes):
            _rename(names, changes)
        else:
            # What comes later for these names was built on this change, so it is lost with it.
            blocked.update(name for name, _ in changes)
            undone += [name for name, _ in changes]
            tally.names += 1
    if undone:
        tally.details.append(f"{path or '/'}: names are as before: {', '.join(undone)}")
    after: dict[str, _Node] = {}
    for name in sorted(names):
        node = names[name]
        whole = f"{path}/{name}" if path else name
        if isinstance(node, _Directory):
            after[name] = _crash_directory(node, whole, random, tally)
        else:
            after[name] = _Content(_crash_content(node, whole, random, tally))
    return _Directory(after)


def _crash_content(content: _Content, path: str, random: random.Random, tally: _Tally) -> bytearray:
    """The bytes that are found afterwards."""
    pending, found = content.pending, content.durable
    if not pending:
        return found
    size_before = len(found)
    match random.choices(("nothing", "prefix", "scattered", "all"), (3, 3, 5, 1))[0]:
        case "nothing":
            shares = [0.0] * len(pending)
        case "prefix":
            shares = _keep_prefix(found, pending, random)
        case "scattered":
            shares = _keep_scattered(found, pending, random)
            if len(found) < len(content.written) and random.random() < 0.25:
                # The new size reached the disk, but not what is there.
                found += bytes(len(content.written) - len(found))
        case _:
            shares = [1.0] * len(pending)
            for change in pending:
                _apply(found, change)
    lost = sum(share == 0.0 for share in shares)
    torn = sum(0.0 < share < 1.0 for share in shares)
    first_missing = next((at for at, share in enumerate(shares) if share < 1.0), len(shares))
    reordered = sum(share > 0.0 for share in shares[first_missing + 1 :])
    tally.lost += lost
    tally.torn += torn
    tally.reordered += reordered
    tally.details.append(
        f"{path}: of {len(pending)} unsynced writes {lost} lost, {torn} torn, {reordered} reordered;"
        f" {size_before} synced bytes are {len(found)} now"
    )
    return found


def _keep_prefix(found: bytearray, pending: list[Change], random: random.Random) -> list[float]:
    """The oldest changes survive, and the first sectors of the one at which it happened."""
    whole = random.randrange(len(pending))
    for change in pending[:whole]:
        _apply(found, change)
    shares = [1.0] * whole + [0.0] * (len(pending) - whole)
    offset, data = pending[whole]
    sectors = _sectors(offset, data)
    kept = random.randrange(len(sectors)) if sectors else 0
    if data is not None and kept:
        _apply(found, (offset, data[: sectors[kept] * SECTOR_BYTES - offset]))
        shares[whole] = kept / len(sectors)
    return shares


def _keep_scattered(found: bytearray, pending: list[Change], random: random.Random) -> list[float]:
    """Each sector is found in one of the states that it has had since the last sync."""
    versions: dict[int, int] = {}
    for offset, data in pending:
        for sector in _sectors(offset, data):
            versions[sector] = versions.get(sector, 0) + 1
    kept = {sector: random.randint(0, count) for sector, count in versions.items()}
    shares = []
    for offset, data in pending:
        if data is None:
            survives = random.random() < 0.5
            if survives:
                _apply(found, (offset, None))
            shares.append(1.0 if survives else 0.0)
            continue
        sectors = _sectors(offset, data)
        survived = 0
        for sector in sectors:
            if kept[sector]:
                kept[sector] -= 1
                survived += 1
                start = max(sector * SECTOR_BYTES, offset)
                _apply(found, (start, data[start - offset : (sector + 1) * SECTOR_BYTES - offset]))
        shares.append(survived / len(sectors) if sectors else 1.0)
    return shares


def _sectors(offset: int, data: bytes | None) -> range:
    """The numbers of the sectors that a write touches; none for a truncation."""
    if not data:
        return range(0)
    return range(offset // SECTOR_BYTES, (offset + len(data) - 1) // SECTOR_BYTES + 1)


def _apply(content: bytearray, change: Change) -> None:
    at, data = change
    size = len(content)
    if data is None:
        if at < size:
            del content[at:]
        else:
            content += bytes(at - size)
        return
    if at > size:
        content += bytes(at - size)
    content[at : at + len(data)] = data


def _rename(names: dict[str, _Node], changes: NameChanges) -> None:
    for name, node in changes:
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _parts(path: PathLike) -> list[str]:
    parts = [part for part in os.fspath(path).split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"path {os.fspath(path)!r}: '..' is not understood on this disk")
    return parts


def _walk(names: dict[str, _Node], above: str) -> Iterator[tuple[str, _Content]]:
    for name in sorted(names):
        node = names[name]
        path = f"{above}/{name}" if above else name
        if isinstance(node, _Directory):
            yield from _walk(node.written, path)
        else:
            yield path, node


def _everything(directory: _Directory) -> Iterator[_Content | _Directory]:
    """Each file and directory once that has a name now or durably."""
    seen: dict[int, _Node] = {}
    waiting: list[_Node] = [directory]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        if isinstance(node, _Directory):
            waiting += [*node.written.values(), *node.durable.values()]
    yield from seen.values()


# Files as the builtin `open` gives them.


class _RawStream(io.RawIOBase):
    """A file with a position; `io` puts the buffers and the text on it."""

    def __init__(self, file: SimulatedFile, mode: str) -> None:
        self.name = file.path
        self.mode = mode
        self._file = file
        self._position = 0
        self._appends = "a" in mode

    def readable(self) -> bool:
        return "r" in self.mode or "+" in self.mode

    def writable(self) -> bool:
        return "r" not in self.mode or "+" in self.mode

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data: Any) -> int:
        raw = bytes(data)
        if self._appends:
            self._position = self._file.append(raw)
        else:
            self._file.write_at(self._position, raw)
        self._position += len(raw)
        return len(raw)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self._position, self._file.size)[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        self._position = base + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        to = self._position if size is None else size
        self._file.truncate(to)
        return to


def _open_stream(disk: Disk, path: PathLike, mode: str, encoding: str | None) -> IO[Any]:
    kinds = [letter for letter in mode if letter in "rwax"]
    if len(kinds) != 1 or set(mode) - set("rwaxbt+") or {"b", "t"} <= set(mode):
        raise ValueError(f"invalid mode {mode!r}: one of r, w, a, x, then b or t, and + for both ways")
    kind = kinds[0]
    if kind == "x" and disk.exists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
    file = disk.open(path, create=kind != "r")
    if kind == "w":
        file.truncate(0)
    raw = _RawStream(file, mode)
    if "a" in mode:
        raw.seek(0, io.SEEK_END)
    buffered: Any
    if raw.readable() and raw.writable():
        buffered = io.BufferedRandom(raw)
    else:
        buffered = io.BufferedReader(raw) if raw.readable() else io.BufferedWriter(raw)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding=encoding or "utf-8")
