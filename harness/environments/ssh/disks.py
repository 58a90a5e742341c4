"""Layers of disks on hosts that are reached by SSH; see `harness.environments.disks.disks.Place`."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from harness.environments.channel import Channel
from harness.environments.disks.disks import END_TIMEOUT_S, TRASH, arguments
from harness.environments.environment import EnvironmentFailed
from harness.environments.last_lines import last_lines
from harness.environments.ssh.hosts import Host

StartLayer = Callable[[str, list[str], list[list[str]], Callable[[], None]], Awaitable[Channel]]
"""Takes a node, the arguments of its layer, the commands that clean up after it, and what to call at its end."""


class OtherHosts:
    """Folders of the nodes' hosts."""

    def __init__(
        self, hosts: Mapping[str, Host], start: StartLayer, probe: Callable[[str], str], log: Path
    ) -> None:
        """`probe` names the command that runs `probe.py` on a node's host."""
        self._hosts = hosts
        self._start = start
        self._probe = probe
        self._log = log

    async def open(self, name: str, folder: Path, seed: int, on_end: Callable[[], None]) -> Channel:
        return await self._start(name, arguments(folder, seed), [["umount", "-l", str(folder)]], on_end)

    async def is_mounted(self, name: str, folder: Path) -> bool:
        status, _ = await self._hosts[name].run(f"grep -qF {shlex.quote(f' {folder} ')} /proc/self/mountinfo")
        return status == 0

    async def probe(self, name: str, path: Path, tries: int) -> str:
        _, output = await self._hosts[name].run(f"{self._probe(name)} {shlex.quote(str(path))} {tries}")
        return output

    async def read_byte(self, name: str, path: Path, offset: int) -> str:
        _, output = await self._hosts[name].run(
            f"tail -c +{offset + 1} {shlex.quote(str(path))} | head -c 1 | od -An -tx1"
        )
        return output.strip()

    async def size(self, name: str, path: Path) -> int | None:
        status, output = await self._hosts[name].run(f"stat -c %s {shlex.quote(str(path))} 2>/dev/null")
        return int(output) if status == 0 else None

    async def wipe(self, name: str, folder: Path) -> tuple[int, int]:
        here = shlex.quote(str(folder))
        count = f"find {here} -type f | wc -l"
        _, output = await self._hosts[name].run(
            f"{count}; find {here} -mindepth 1 -delete; sync {here}; {count}"
        )
        before, after = (int(word) for word in output.split())
        return before, after

    async def end(self, name: str, folder: Path) -> None:
        host, unmount = self._hosts[name], f"umount -l {shlex.quote(str(folder))} 2>&1"
        patient_until = time.monotonic() + END_TIMEOUT_S
        said = ""
        while await self.is_mounted(name, folder):
            if time.monotonic() > patient_until + END_TIMEOUT_S:
                raise EnvironmentFailed(f"{host.destination}: {folder} stays mounted; umount says: {said}")
            if time.monotonic() > patient_until:
                _, said = await host.run(unmount)
            await asyncio.sleep(0.05)
        await self._hosts[name].run(f"rmdir {shlex.quote(str(folder.with_name(TRASH)))}")

    def last_words(self) -> list[str]:
        return last_lines(self._log)
