"""The packet engine as a child of the harness, where no supervisor keeps it.

It ends when the harness does: its control socket closes. Should it end before, everything passes, and the run fails.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.environments.channel import Channel
from harness.environments.environment import EnvironmentFailed
from harness.environments.last_lines import last_lines
from harness.environments.ledger import Ledger
from harness.environments.processes import identify, python_path

NAME = "packet engine"
"""Its name in messages, ledgers, and among the children of a supervisor."""
END_TIMEOUT_S = 5.0


def arguments(descriptor: int, seed: int) -> list[str]:
    """The command that runs it, on the control socket with this number, with the seed of its chances."""
    return [sys.executable, "-m", "harness.environments.linux.packets", str(descriptor), str(seed)]


class PacketProcess:
    """Starts, asks and ends it."""

    def __init__(self, ledger: Ledger, folder: Path, fail: Callable[[str], None], seed: int) -> None:
        """`fail` is told why, should it end by itself; `seed` is that of its chances."""
        self._seed = seed
        self._ledger = ledger
        self._log = folder / "packets.log"
        self._fail = fail
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._entry: int | None = None
        self._is_closing = False

    async def start(self) -> None:
        """Returns when it answers. Raises EnvironmentFailed if it does not."""
        ours, theirs = socket.socketpair()
        self._entry = self._ledger.intend("process", name=NAME)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments(theirs.fileno(), self._seed),
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
        identity = identify(self._process.pid)
        self._ledger.note(
            self._entry, pid=self._process.pid, started=identity.started if identity is not None else ""
        )
        self._channel = await Channel.open(NAME, ours, on_end=self._has_ended)
        await self.ask("ping")

    def _has_ended(self) -> None:
        if not self._is_closing:
            pid = None if self._process is None else self._process.pid
            said = [f"    {line}" for line in last_lines(self._log)]
            self._fail("\n".join([f"the {NAME} (process {pid}) has ended by itself", *said]))

    async def ask(self, verb: str, **arguments: Any) -> Any:
        """See `shaping.AskEngine`."""
        if self._channel is None:
            raise EnvironmentFailed(f"the {NAME} was never started: it cannot {verb}")
        return await self._channel.request(verb, **arguments)

    async def stay(self) -> None:
        """It goes on when the harness goes."""
        await self.ask("stay")
        self._is_closing = True

    async def end(self) -> None:
        """Its socket is closed, and it is waited for. Idempotent."""
        self._is_closing = True
        if self._channel is not None:
            self._channel.close()
        process = self._process
        if process is not None:
            try:
                await asyncio.to_thread(process.wait, END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
            self._process = None
        if self._entry is not None:
            self._ledger.done(self._entry)
            self._entry = None
        if self._log.exists() and self._log.stat().st_size == 0:
            self._log.unlink()
