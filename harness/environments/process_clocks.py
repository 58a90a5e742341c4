"""How the clocks of a database's nodes are set on this host is chosen here, in this order:

1. the database's clock port, a file that its nodes read;
2. the vDSO of their processes, patched from outside (`linux/vdso.py`);
3. libfaketime, loaded into their processes (`linux/faketime.py`), and only for programs that it does not break.

The second and third are tried and not assumed. A node that is started again is told what it was told before; where the
vDSO is patched, from the moment at which its own program runs: whoever waits for it to get ready calls `follow` of its
clocks meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness.environments.clock_file import ClockSetting
from harness.environments.environment import SystemUnderTest
from harness.environments.linux import faketime, vdso
from nemesis.cluster import FaultFailed, NodeState

CLOCK_PORT: Final = "the clock port of the system (a file that the node reads)"
VDSO: Final = "the vDSO of the node's processes, patched from outside"
FAKETIME: Final = "libfaketime, loaded into the node's processes"
STEP_S: Final = 0.01
"""A clock that runs at a rate of its own is set so often by libfaketime, and as often it is wrong by what it gained."""
COARSE_NS: Final = 20_000_000
"""So far a machine that is busy may let such a step be late."""


def mechanism_of(system: SystemUnderTest, preloads: bool = False) -> tuple[str, str | None]:
    """How the clocks of this system's nodes are set on this host, and why they cannot be; one of the two counts.
    `preloads`: libraries of this host can be loaded into the nodes' processes."""
    if system.clock_port:
        return CLOCK_PORT, None
    why = why_no_process_clocks(f"{system.name} reads no clock file")
    if why is None or not preloads:
        return VDSO, why
    why_no_library = faketime.why_not("sh")
    return FAKETIME, None if why_no_library is None else f"{why}; {why_no_library}"


def why_no_process_clocks(why_needed: str) -> str | None:
    """Why the processes of a node cannot be told the time on this host; None if they can."""
    why = vdso.why_not()
    return None if why is None else f"{why_needed}, and {why}"


class ProcessClocks:
    """The clocks of the processes of this host that belong to nodes. `pid` is a node's first process."""

    def __init__(self, pid: Callable[[str], int | None], state: Callable[[str], NodeState]) -> None:
        self._pid = pid
        self._state = state

    async def tell(self, node: str, setting: ClockSetting) -> None:
        """All processes of the node, if it has any. Raises FaultFailed."""
        pid = self._pid(node)
        if pid is None:
            return
        try:
            vdso.set_clock(pid, setting, lambda: self._state(node) != "paused")
        except vdso.ClockUntouchable as error:
            if self._pid(node) == pid:
                raise FaultFailed(f"the clock of {node} cannot be set: {error}") from error

    async def shown(self, node: str, setting: ClockSetting) -> int | None:
        """Nanoseconds since 1970, as that process of the node is told which is farthest from the setting; None where
        there is none."""
        pid = self._pid(node)
        if pid is None:
            return None
        wanted_ns = time.time_ns() + setting.shift_ns(time.clock_gettime_ns(time.CLOCK_MONOTONIC))
        return max(vdso.shown_by(pid).values(), key=lambda shown_ns: abs(shown_ns - wanted_ns))


class FakedClocks:
    """The same by libfaketime. `file` is where that of a node's processes is."""

    def __init__(self, file: Callable[[str], Path]) -> None:
        self._file = file
        self._tickers: dict[str, asyncio.Task[None]] = {}

    def variables(self, node: str, program: str) -> dict[str, str]:
        """Environment variables of a new process of the node. Raises FaultFailed for a program that libfaketime would
        not deceive, or would break."""
        why = faketime.why_not(program)
        if why is not None:
            raise FaultFailed(f"the clock of {node} cannot be set: {why}")
        file = self._file(node)
        if not file.exists():
            faketime.write(file, 0)
        return faketime.variables(file)

    async def tell(self, node: str, setting: ClockSetting) -> None:
        """All processes of the node, now and later."""
        ticker = self._tickers.pop(node, None)
        if ticker is not None:
            ticker.cancel()
        self._write(node, setting)
        if setting.rate_ppb:
            self._tickers[node] = asyncio.ensure_future(self._tick(node, setting))

    async def _tick(self, node: str, setting: ClockSetting) -> None:
        while True:
            await asyncio.sleep(STEP_S)
            self._write(node, setting)

    def _write(self, node: str, setting: ClockSetting) -> None:
        faketime.write(self._file(node), setting.shift_ns(time.clock_gettime_ns(time.CLOCK_MONOTONIC)))

    def end(self) -> None:
        """No clock runs at a rate of its own any more."""
        for ticker in self._tickers.values():
            ticker.cancel()
        self._tickers.clear()
