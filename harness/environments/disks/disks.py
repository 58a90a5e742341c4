"""The disks of a run's nodes: a layer below the data of each, made to fail, healed, and robbed of what was not synced.

The layers (`layer.py`) are made only for a run that asks for disk faults (`expect`): a write through one takes a tenth
of a millisecond more. Each is a process of its own, child of the harness. It unmounts itself when the harness goes; the
ledger knows the mount all the same, for where the layer itself is killed.

The proofs are a write and a sync that another process tries on the mounted folder, where the node's are.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.environments.channel import Channel
from harness.environments.disks import probe as probe_program
from harness.environments.disks.mounts import is_mounted, unmount
from harness.environments.environment import EnvironmentFailed
from harness.environments.healing import Healing
from harness.environments.last_lines import last_lines
from harness.environments.ledger import Ledger
from harness.environments.processes import identify, python_path
from harness.seeds import Seeds
from nemesis.cluster import DiskMode, Evidence, FaultFailed, combine, evidence_of

FAULT = "disk"
"""The fault class that needs layers."""
LAYER = "a layer of FUSE below the data of the node"
MECHANISMS: dict[str, str] = {
    "power_loss": f"SIGKILL, and {LAYER} that undoes what was not synced",
    "disk_error": LAYER,
    "disk_full": LAYER,
    "disk_stall": LAYER,
    "disk_slow": LAYER,
    "flip_bits": LAYER,
    "lose_file": LAYER,
    "truncate": LAYER,
}
"""Capability -> how."""
WIPE = {"wipe": "SIGKILL, and the node's files are removed"}
"""The same of what needs no layer."""
LAYER_MODULE = "harness.environments.disks.layer"
TRASH = "unsynced"
"""Folder beside the data, for what was removed and is not durable."""
PROBE_FILE = ".harness-probe"
TRIES_MOST = 200
"""A disk that fails now and then is tried so often, until it fails."""
MOUNT_TIMEOUT_S = 10.0
PATIENCE_S = 5.0
STALL_PROOF_S = 0.4
"""A sync that has not ended after so long stalls."""
END_TIMEOUT_S = 5.0


@functools.cache
def why_no_layers() -> str | None:
    """Why there can be no layer here, and what would help; None if there can."""
    if not sys.platform.startswith("linux"):
        return f"the layer of FUSE needs Linux, this is {sys.platform}; the simulation has disk faults"
    if os.geteuid() != 0:
        return "mounting a layer of FUSE needs root; the simulation has disk faults without it"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse cannot be opened: modprobe fuse (as root)"
    if importlib.util.find_spec("mfusepy") is None:
        return "the Python package mfusepy is not installed"
    for name in ("libfuse3.so.4", "libfuse3.so.3"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return None
    return "the library libfuse3 is not installed (Debian's package libfuse3-3)"


def lacking(supports: Collection[str], name: str) -> dict[str, str]:
    """Capability -> why a system of this name, which supports this, lacks it here; nothing where it has all."""
    why = f"{name} keeps nothing on a disk" if "memory-only" in supports else why_no_layers()
    return {} if why is None else dict.fromkeys(MECHANISMS, why)


class Place(Protocol):
    """Where the folders are: this host, or others. What it cannot do raises EnvironmentFailed or OSError."""

    async def open(self, name: str, folder: Path, seed: int, on_end: Callable[[], None]) -> Channel:
        """Starts a layer over the folder of a node, with the seed of its chances. It ends when the channel is closed;
        `on_end`: when it has."""

    async def is_mounted(self, name: str, folder: Path) -> bool:
        """What the kernel's table says."""

    async def probe(self, name: str, path: Path, tries: int) -> str:
        """The output of `probe.py`."""

    async def read_byte(self, name: str, path: Path, offset: int) -> str:
        """As two digits."""

    async def size(self, name: str, path: Path) -> int | None:
        """Of a file in bytes; None where there is none."""

    async def wipe(self, name: str, folder: Path) -> tuple[int, int]:
        """Removes what is in a folder; how many files there were, and are left."""

    async def end(self, name: str, folder: Path) -> None:
        """Waits for the end of a layer whose channel is closed, and unmounts it if it has not done so itself."""

    def last_words(self) -> list[str]:
        """What the layers have printed, at its end."""


class ThisHost:
    """Folders of this host; layers are children of the harness."""

    def __init__(self, ledger: Ledger, run_folder: Path) -> None:
        self._ledger = ledger
        self._log = run_folder / "disks.log"
        self._processes: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
        """By node, with the entry in the ledger."""

    async def open(self, name: str, folder: Path, seed: int, on_end: Callable[[], None]) -> Channel:
        why = why_no_layers()
        if why is not None:
            raise EnvironmentFailed(f"disk faults are not available here: {why}")
        entry = self._ledger.intend("process", name=f"disk of {name}")
        ours, theirs = socket.socketpair()
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", LAYER_MODULE, str(theirs.fileno())),
                    *arguments(folder, seed),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": python_path(),
                    **self._ledger.variables(),
                },
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        self._processes[name] = process, entry
        identity = identify(process.pid)
        self._ledger.note(entry, pid=process.pid, started=identity.started if identity is not None else "")
        return await Channel.open(f"disk of {name}", ours, on_end=on_end)

    async def is_mounted(self, name: str, folder: Path) -> bool:
        return is_mounted(folder)

    async def probe(self, name: str, path: Path, tries: int) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", str(Path(probe_program.__file__)), str(path), str(tries)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return output.decode(errors="replace")

    async def read_byte(self, name: str, path: Path, offset: int) -> str:
        def read() -> str:
            with path.open("rb") as file:
                file.seek(offset)
                found: bytes = file.read(1)
                return found.hex()

        return await asyncio.to_thread(read)

    async def size(self, name: str, path: Path) -> int | None:
        try:
            return (await asyncio.to_thread(path.stat)).st_size
        except FileNotFoundError:
            return None

    async def wipe(self, name: str, folder: Path) -> tuple[int, int]:
        def remove() -> tuple[int, int]:
            before = sum(path.is_file() for path in folder.rglob("*"))
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            return before, sum(path.is_file() for path in folder.rglob("*"))

        return await asyncio.to_thread(remove)

    async def end(self, name: str, folder: Path) -> None:
        process, entry = self._processes.pop(name)
        try:
            await asyncio.to_thread(process.wait, END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        await asyncio.to_thread(unmount, folder)
        self._ledger.done(entry)
        trash = folder.with_name(TRASH)
        if trash.is_dir() and not any(trash.iterdir()):
            trash.rmdir()

    def last_words(self) -> list[str]:
        return last_lines(self._log)


def arguments(folder: Path, seed: int) -> list[str]:
    """Of a layer, after its control socket: the folder, that for what is removed, and the seed of its chances."""
    return [str(folder), str(folder.with_name(TRASH)), str(seed)]


@dataclass
class Disk:
    """One node's."""

    folder: Path
    """As its host sees it, mounted over."""
    channel: Channel
    entry: int
    """Of the mount, in the ledger."""
    mode: DiskMode | None = None


class Disks:
    """The disks of a run, and which of them fail now."""

    def __init__(self, ledger: Ledger, place: Place, fail: Callable[[str], None], seeds: Seeds) -> None:
        """`fail` is told why, should a layer end by itself; `seeds` are those of the layers' chances."""
        self._seeds = seeds
        self._ledger = ledger
        self._place = place
        self._fail = fail
        self._disks: dict[str, Disk] = {}
        self._probes: set[asyncio.Task[str]] = set()
        self._is_closing = False

    @property
    def failing(self) -> tuple[str, ...]:
        """Nodes whose disk was made to fail and not healed."""
        return tuple(name for name, disk in self._disks.items() if disk.mode is not None)

    async def lay(self, folders: Mapping[str, Path]) -> None:
        """Mounts a layer over each node's folder. Raises EnvironmentFailed where it cannot."""
        await asyncio.gather(*(self._lay(name, folder) for name, folder in folders.items()))

    async def _lay(self, name: str, folder: Path) -> None:
        mount = self._ledger.intend("mount", path=str(folder))
        seed = self._seeds.number(f"disk of {name}")
        channel = await self._place.open(name, folder, seed, lambda: self._has_ended(name))
        self._disks[name] = Disk(folder, channel, mount)
        deadline = time.monotonic() + MOUNT_TIMEOUT_S
        while not await self._place.is_mounted(name, folder):
            if channel.closed or time.monotonic() > deadline:
                said = "\n".join(f"    {line}" for line in self._place.last_words())
                raise EnvironmentFailed(f"no layer could be mounted over {folder} of {name}\n{said}")
            await asyncio.sleep(0.005)

    def _has_ended(self, name: str) -> None:
        if not self._is_closing:
            said = [f"    {line}" for line in self._place.last_words()]
            self._fail("\n".join([f"the layer below the data of {name} has ended by itself", *said]))

    def _disk(self, node: str) -> Disk:
        if node not in self._disks:
            raise FaultFailed(
                f"there is no layer below the data of {node}: no step of the schedule that the run began with "
                f"is a fault of disks"
            )
        return self._disks[node]

    # The verbs, but for the ends of processes.

    async def fail(self, node: str, mode: DiskMode, share: float, delay_ms: float) -> Evidence:
        """See `Cluster.fail_disk`."""
        disk = self._disk(node)
        before = await self._probe(node, 1, PATIENCE_S)
        disk.mode = mode
        await disk.channel.request("fail", mode=mode, share=share, delay_s=delay_ms / 1000)
        patience_s = STALL_PROOF_S if mode == "stall" else PATIENCE_S + delay_ms / 1000
        tries = TRIES_MOST if mode in ("eio-sync", "eio-write") else 1
        after = await self._probe(node, tries, patience_s)
        shown = {
            "what": f"write and sync on the disk of {node} ({mode})",
            "before": before,
            "after": after,
            "proves": _shows(mode, after, delay_ms),
        }
        return evidence_of([shown])

    async def heal(self, node: str) -> Evidence:
        """See `Cluster.heal_disk`."""
        disk = self._disk(node)
        before = disk.mode or "no fault"
        await disk.channel.request("fail", mode=None, share=1.0, delay_s=0.0)
        disk.mode = None
        after = await self._probe(node, 1, PATIENCE_S)
        proves = after.get("write") == after.get("sync") == "ok" and after.get("read") is True
        what = f"write and sync on the disk of {node}"
        return evidence_of([{"what": what, "before": before, "after": after, "proves": proves}])

    async def let_die(self, node: str) -> None:
        """The node's process was told to end at once, and may be in the middle of a sync that stalls."""
        disk = self._disks.get(node)
        if disk is not None and disk.mode == "stall":
            await disk.channel.request("let_go")

    async def before_end(self) -> None:
        """Everybody is about to be ended: nobody may wait for a disk that stalls."""
        self._is_closing = True
        for disk in self._disks.values():
            if disk.mode is not None and not disk.channel.closed:
                with contextlib.suppress(EnvironmentFailed):
                    await disk.channel.request("fail", mode=None, share=1.0, delay_s=0.0)

    async def crash(self, node: str) -> Evidence:
        """The node's process is gone: what it had not synced is lost now."""
        disk = self._disk(node)
        counts = await disk.channel.request("crash", timeout_s=60.0)
        look = await disk.channel.request("look")
        return evidence_of(
            [
                {
                    "what": f"disk of {node}",
                    "before": f"{counts.pop('unsynced')} unsynced writes and names",
                    "after": counts,
                    "proves": look["clean"] is True,
                }
            ]
        )

    async def flip_bits(self, node: str) -> Evidence:
        """See `Cluster.flip_bits`: what the node will read is read."""
        disk = self._disk(node)
        done = await disk.channel.request("flip_bits")
        if done is None:
            return _nothing_stored(node)

        there = await self._place.read_byte(node, disk.folder / done["path"], done["offset"])
        what = f"{done['path']} on the disk of {node}, at byte {done['offset']}"
        return evidence_of(
            [{"what": what, "before": done["before"], "after": there, "proves": there != done["before"]}]
        )

    async def lose_file(self, node: str) -> Evidence:
        """See `Cluster.lose_file`."""
        disk = self._disk(node)
        done = await disk.channel.request("lose_file")
        if done is None:
            return _nothing_stored(node)
        is_there = await self._place.size(node, disk.folder / done["path"]) is not None
        return evidence_of(
            [
                {
                    "what": f"{done['path']} on the disk of {node}",
                    "before": f"{done['size']} bytes",
                    "after": "there" if is_there else "gone",
                    "proves": not is_there,
                }
            ]
        )

    async def truncate(self, node: str) -> Evidence:
        """See `Cluster.truncate`: what the node will find is measured."""
        disk = self._disk(node)
        done = await disk.channel.request("truncate")
        if done is None:
            return _nothing_stored(node)
        there = await self._place.size(node, disk.folder / done["path"])
        what = f"bytes of {done['path']} on the disk of {node}"
        proves = there == done["size"] < done["before"]
        return evidence_of([{"what": what, "before": done["before"], "after": there, "proves": proves}])

    async def wipe(self, node: str, folder: Path) -> Evidence:
        """See `Cluster.wipe`."""
        before, after = await self._place.wipe(node, folder)
        what = f"files on the disk of {node}"
        return evidence_of([{"what": what, "before": before, "after": after, "proves": before > 0 == after}])

    async def heal_all(self, healing: Healing) -> None:
        """Every disk that fails."""
        for node in self.failing:
            await healing.attempt(f"healed the disk of {node}", functools.partial(self.heal, node))

    # The end

    async def stay(self) -> None:
        """The layers go on when the harness goes."""
        for disk in self._disks.values():
            await disk.channel.request("stay")
        self._is_closing = True

    async def end(self) -> None:
        """Unmounts every layer; the nodes' processes have ended. Idempotent. Raises EnvironmentFailed if one stays."""
        self._is_closing = True
        for disk in self._disks.values():
            disk.channel.close()  # It takes that for the end of the harness.
        for name in list(self._disks):
            await self.end_one(name)
        for task in self._probes:
            task.cancel()

    async def end_one(self, node: str) -> None:
        """The same for one node, if it has a layer."""
        self._is_closing = True
        disk = self._disks.pop(node, None)
        if disk is not None:
            disk.channel.close()
            await self._place.end(node, disk.folder)
            self._ledger.done(disk.entry)

    async def _probe(self, node: str, tries: int, patience_s: float) -> dict[str, Any]:
        """What became of a write and a sync on the mounted folder."""
        path = self._disk(node).folder / PROBE_FILE
        output = asyncio.ensure_future(self._place.probe(node, path, tries))
        done, _ = await asyncio.wait((output,), timeout=patience_s)
        if not done:
            # It cannot be killed while it waits for the disk. It ends with the heal.
            self._probes.add(output)
            output.add_done_callback(self._probes.discard)
            return {"write": "unknown", "sync": f"no end in {patience_s * 1000:.0f} ms"}
        text = output.result().strip()
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            return {"write": "unknown", "sync": text[-200:]}
        return found


class DiskVerbs:
    """What `nemesis.cluster.Cluster` asks about disks, for a cluster that keeps its nodes' data in folders of this
    host."""

    disks: Disks

    def data_folders(self) -> Mapping[str, Path]:
        """Node -> where its data is on this host. Overridden by the cluster."""
        raise NotImplementedError

    async def kill(self, node: str) -> Evidence:
        """See `Cluster.kill`. Overridden by the cluster."""
        raise NotImplementedError

    async def expect(self, faults: Collection[str]) -> None:
        """See `EnvironmentCluster.expect`."""
        if FAULT in faults:
            await self.disks.lay(self.data_folders())

    async def power_loss(self, node: str) -> Evidence:
        """What was not synced is lost. Connections are closed by the kernel, as of a process that was killed."""
        ended = await self.kill(node)
        return combine([ended, await self.disks.crash(node)])

    async def fail_disk(
        self, node: str, mode: DiskMode, share: float = 1.0, delay_ms: float = 0.0
    ) -> Evidence:
        return await self.disks.fail(node, mode, share, delay_ms)

    async def heal_disk(self, node: str) -> Evidence:
        return await self.disks.heal(node)

    async def flip_bits(self, node: str) -> Evidence:
        return await self.disks.flip_bits(node)

    async def lose_file(self, node: str) -> Evidence:
        return await self.disks.lose_file(node)

    async def truncate(self, node: str) -> Evidence:
        return await self.disks.truncate(node)

    async def wipe(self, node: str) -> Evidence:
        return await self.disks.wipe(node, self.data_folders()[node])


def _shows(mode: DiskMode, after: Mapping[str, Any], delay_ms: float) -> bool:
    match mode:
        case "eio-sync":
            return bool(after["sync"] == "EIO")
        case "eio-write":
            return bool(after["write"] == "EIO")
        case "full":
            return bool(after["write"] == "ENOSPC")
        case "stall":
            return str(after["sync"]).startswith("no end")
        case "slow":
            return float(after.get("ms", 0.0)) >= delay_ms > 0


def _nothing_stored(node: str) -> Evidence:
    what = f"disk of {node}: nothing is stored durably yet, so nothing could be damaged"
    return evidence_of([{"what": what, "proves": False}])
