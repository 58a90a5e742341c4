"""The layer: a file system (FUSE) over the data of one node, which knows what was not synced, and fails on demand.

Run as `python -m harness.environments.disks.layer CONTROL_FD FOLDER TRASH`. It is mounted over the very folder whose
files it shows, so a node and whoever reads its data use the same path with and without it, and when it is gone, the
folder is an ordinary one that holds what the disk held.

It speaks JSON lines with the harness over an inherited socket. When that closes, it unmounts itself and ends: so a
harness that is killed leaves no mount. Faults are those of the simulated disk (`simulation/disk.py`):
- `eio-sync`: a share of the syncs fails. `eio-write`: a share of the writes fails, and nothing of them is written.
- `full`: what needs more room (a longer file, a new name) fails with ENOSPC.
- `stall`: no sync comes to an end before the heal, then all do. A process that is killed in the middle of one cannot
  end either: `let_go` lets go whoever waits now, with EIO, which the dead do not see.
- `slow`: each sync takes longer.

It imports of ours nothing but `unsynced.py`. Sources: the operations are those of libfuse 3 by way of mfusepy.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import mfusepy  # type: ignore[import-untyped]

from harness.environments.disks.unsynced import Unsynced

_STATUS = (
    "st_atime_ns",
    "st_ctime_ns",
    "st_gid",
    "st_mode",
    "st_mtime_ns",
    "st_nlink",
    "st_size",
    "st_uid",
    "st_ino",
    "st_blocks",
)
_VOLUME = (
    "f_bavail",
    "f_bfree",
    "f_blocks",
    "f_bsize",
    "f_favail",
    "f_ffree",
    "f_files",
    "f_flag",
    "f_frsize",
    "f_namemax",
)
LONGEST_STALL_S = 3600.0


class Layer(mfusepy.Operations):  # type: ignore[misc]
    """The operations of the file system. Each is called in some thread of libfuse."""

    use_ns = True

    def __init__(self, root: int, trash: int, seed: int) -> None:
        """Descriptors of the two folders, opened before the first is covered by the mount."""
        self._root = root
        self.unsynced = Unsynced(root, trash)
        self._chances = random.Random(seed)
        self._changed = threading.Condition()
        self._mode: str | None = None
        self._share = 1.0
        self._delay_s = 0.0
        self._releases = 0
        self.counts = dict.fromkeys(
            ("writes", "syncs", "failed_writes", "failed_syncs", "stalled", "slowed"), 0
        )

    # Faults

    def fail(self, mode: str | None, share: float, delay_s: float) -> None:
        """From now on; None: it works."""
        with self._changed:
            self._mode, self._share, self._delay_s = mode, share, delay_s
            self._changed.notify_all()

    def let_go(self) -> None:
        """Whoever waits in a sync that stalls is let go, with EIO."""
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    def crash(self) -> dict[str, Any]:
        return self.unsynced.crash(self._chances)

    def flip_bits(self) -> dict[str, Any] | None:
        """One bit of a file that is durable; None if there is none."""
        path = self._some_durable_file()
        if path is None:
            return None
        with self._opened(path, os.O_RDWR) as descriptor:
            offset = self._chances.randrange(os.fstat(descriptor).st_size)
            before = os.pread(descriptor, 1, offset)
            os.pwrite(descriptor, bytes([before[0] ^ 1 << self._chances.randrange(8)]), offset)
            os.fsync(descriptor)
            return {"path": path, "offset": offset, "before": before.hex()}

    def lose_file(self) -> dict[str, Any] | None:
        """A file that is durable is gone; None if there is none."""
        path = self._some_durable_file()
        if path is None:
            return None
        size = os.stat(path, dir_fd=self._root).st_size
        os.unlink(path, dir_fd=self._root)
        return {"path": path, "size": size}

    def cut_off(self) -> dict[str, Any] | None:
        """The end of a file that is durable is cut off, from a byte of it on; None if there is none."""
        path = self._some_durable_file()
        if path is None:
            return None
        with self._opened(path, os.O_RDWR) as descriptor:
            before = os.fstat(descriptor).st_size
            size = self._chances.randrange(before)
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
            return {"path": path, "before": before, "size": size}

    def _some_durable_file(self) -> str | None:
        waiting = self.unsynced.inodes
        found = []
        for folder, _, names, folder_descriptor in os.fwalk(".", dir_fd=self._root):
            for name in sorted(names):
                status = os.stat(name, dir_fd=folder_descriptor, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_size and status.st_ino not in waiting:
                    found.append(os.path.normpath(f"{folder}/{name}"))
        return self._chances.choice(sorted(found)) if found else None

    def _needs_room(self) -> None:
        if self._mode == "full":
            self.counts["failed_writes"] += 1
            raise OSError(errno.ENOSPC, "the disk is full")

    def _happens(self, mode: str) -> bool:
        return self._mode == mode and self._chances.random() < self._share

    # Names

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.stat(_below(path), dir_fd=self._root, follow_symlinks=False)
        return {name.removesuffix("_ns"): getattr(status, name) for name in _STATUS}

    def readdir(self, path: str, fh: int) -> list[str]:
        with self._opened(_below(path), os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            return [".", "..", *os.listdir(descriptor)]

    def statfs(self, path: str) -> dict[str, int]:
        volume = os.fstatvfs(self._root)
        found = {name: getattr(volume, name) for name in _VOLUME}
        if self._mode == "full":
            found |= {"f_bavail": 0, "f_bfree": 0}
        return found

    def readlink(self, path: str) -> str:
        return os.readlink(_below(path), dir_fd=self._root)

    def mkdir(self, path: str, mode: int) -> int:
        self._needs_room()
        self.unsynced.make_folder(_below(path), mode)
        self._give_to_caller(_below(path))
        return 0

    def rmdir(self, path: str) -> int:
        with self._opened(_below(path), os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            if os.listdir(descriptor):
                raise OSError(errno.ENOTEMPTY, path)
        self.unsynced.remove(_below(path))
        return 0

    def unlink(self, path: str) -> int:
        self.unsynced.remove(_below(path))
        return 0

    def rename(self, old: str, new: str) -> int:
        self._needs_room()
        self.unsynced.rename(_below(old), _below(new))
        return 0

    def symlink(self, target: str, source: str) -> int:
        self._needs_room()
        os.symlink(source, _below(target), dir_fd=self._root)
        self._give_to_caller(_below(target))
        self.unsynced.created(_below(target))
        return 0

    def link(self, target: str, source: str) -> int:
        self._needs_room()
        os.link(_below(source), _below(target), src_dir_fd=self._root, dst_dir_fd=self._root)
        self.unsynced.created(_below(target))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(_below(path), mode, dir_fd=self._root)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        os.chown(_below(path), uid, gid, dir_fd=self._root, follow_symlinks=False)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        os.utime(_below(path), ns=times or (time.time_ns(), time.time_ns()), dir_fd=self._root)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._sync(None)
        return 0

    # Bytes

    def create(self, path: str, mode: int, flags: int = 0) -> int:
        self._needs_room()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(_below(path), flags, mode, dir_fd=self._root)
        self._give_to_caller(_below(path))
        self.unsynced.created(_below(path))
        return descriptor

    def open(self, path: str, flags: int) -> int:
        how = os.O_RDONLY if flags & os.O_ACCMODE == os.O_RDONLY else os.O_RDWR
        descriptor = os.open(_below(path), how | os.O_CLOEXEC, dir_fd=self._root)
        if flags & os.O_TRUNC:
            self.unsynced.truncate(descriptor, 0)
        return descriptor

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self.counts["writes"] += 1
        if self._happens("eio-write"):
            self.counts["failed_writes"] += 1
            raise OSError(errno.EIO, "the disk refuses to write")
        if self._mode == "full" and offset + len(data) > os.fstat(fh).st_size:
            self._needs_room()
        return self.unsynced.write(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        with self._opened(_below(path), os.O_RDWR) as descriptor:
            if length > os.fstat(descriptor).st_size:
                self._needs_room()
            self.unsynced.truncate(descriptor, length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._sync(fh)
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def flush(self, path: str, fh: int) -> int:
        return 0

    def _sync(self, descriptor: int | None) -> None:
        """A sync of a file, or (None) of a folder."""
        self.counts["syncs"] += 1
        self._wait_while_it_stalls()
        if self._mode == "slow":
            self.counts["slowed"] += 1
            time.sleep(self._delay_s)
        if self._happens("eio-sync"):
            self.counts["failed_syncs"] += 1
            if descriptor is not None:
                self.unsynced.fail_sync(descriptor, self._chances)
            raise OSError(errno.EIO, "the disk refuses to sync")
        if descriptor is None:
            self.unsynced.sync_names()
        else:
            self.unsynced.sync(descriptor)

    def _wait_while_it_stalls(self) -> None:
        with self._changed:
            if self._mode != "stall":
                return
            self.counts["stalled"] += 1
            before = self._releases
            self._changed.wait_for(lambda: self._mode != "stall" or self._releases > before, LONGEST_STALL_S)
            if self._releases > before:
                raise OSError(errno.EIO, "nobody waits any more")

    def _give_to_caller(self, path: str) -> None:
        """What somebody makes is his own: a database that is not root refuses files of others."""
        user, group, _ = mfusepy.fuse_get_context()
        if user != os.geteuid():
            os.chown(path, user, group, dir_fd=self._root, follow_symlinks=False)

    @contextlib.contextmanager
    def _opened(self, path: str, flags: int) -> Iterator[int]:
        descriptor = os.open(path, flags | os.O_CLOEXEC, dir_fd=self._root)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _below(path: str) -> str:
    return path.lstrip("/") or "."


class Control:
    """Serves the harness in a thread of its own, until it goes."""

    def __init__(self, layer: Layer, control: socket.socket) -> None:
        self._layer = layer
        self._control = control
        self.has_ended = False

    def serve(self) -> None:
        attached = True
        with contextlib.suppress(OSError), self._control.makefile("rwb") as stream:
            for line in stream:
                request = json.loads(line)
                answer: dict[str, Any] = {"id": request["id"]}
                attached = attached and request["verb"] != "stay"
                try:
                    answer |= {"ok": True, "result": self._do(request)}
                except (OSError, ValueError, KeyError, TypeError) as error:
                    answer |= {"ok": False, "error": f"{type(error).__name__}: {error}"}
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()
        if attached:
            self.has_ended = True
            self._layer.fail(None, 1.0, 0.0)
            self._layer.let_go()
            os.kill(os.getpid(), signal.SIGTERM)  # libfuse unmounts, then ends.

    def _do(self, request: dict[str, Any]) -> Any:
        layer = self._layer
        match request["verb"]:
            case "fail":
                return layer.fail(request["mode"], request["share"], request["delay_s"])
            case "let_go":
                return layer.let_go()
            case "crash":
                return layer.crash()
            case "flip_bits":
                return layer.flip_bits()
            case "lose_file":
                return layer.lose_file()
            case "truncate":
                return layer.cut_off()
            case "look":
                return {"mode": layer._mode, "clean": layer.unsynced.is_clean, **layer.counts}
            case "stay":
                return None
            case verb:
                known = "fail, let_go, crash, flip_bits, lose_file, truncate, look, stay"
                raise ValueError(f"unknown verb {verb!r}; known: {known}")


def main() -> None:
    """Entry point of the process: the control socket's number, the folder, the folder for what is removed, the seed."""
    control = socket.socket(fileno=int(sys.argv[1]))
    folder, trash, seed = sys.argv[2], sys.argv[3], int(sys.argv[4])
    os.makedirs(trash, exist_ok=True)
    os.umask(0)
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    layer = Layer(root, os.open(trash, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), seed)
    control_thread = Control(layer, control)
    threading.Thread(target=control_thread.serve, name="control", daemon=True).start()
    try:
        mfusepy.FUSE(
            layer,
            folder,
            foreground=True,
            allow_other=True,
            fsname=FILE_SYSTEM,
            hard_remove=True,
            attr_timeout=0,
            entry_timeout=0,
            negative_timeout=0,
        )
    except RuntimeError:
        # That is how libfuse tells that it was ended by a signal.
        if not control_thread.has_ended:
            raise


FILE_SYSTEM = "multiraft-harness"
"""What the table of mounts calls it."""


if __name__ == "__main__":
    main()
