"""What environments and clusters of real nodes have in common: the machine's own loop, clock and signals."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import signal
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from harness.environments.environment import Finding
from harness.seeds import Seeds

T = TypeVar("T")

NOW_AND_THEN_S = 0.25


class RealTime:
    """An environment whose runs take as long as they take. What its programs draw, they draw from the run's seed; when
    they draw is for real time to say."""

    is_virtual = False

    def __init__(self, seed: int = 0) -> None:
        self.seeds = Seeds(seed)
        """Of those who draw: ports, packet engines, the layers below disks."""

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """On uvloop where it is there: its timers and sockets add the least to what is measured."""
        try:
            import uvloop

            factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        except ImportError:
            factory = asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)

    @contextlib.contextmanager
    def now_and_then(self, act: Callable[[], None]) -> Iterator[None]:
        """See the role."""

        async def repeat() -> None:
            while True:
                act()
                await asyncio.sleep(NOW_AND_THEN_S)

        task = asyncio.ensure_future(repeat())
        try:
            yield
        finally:
            task.cancel()

    def on_signal(self, number: signal.Signals, act: Callable[[], None]) -> None:
        """See the role."""
        asyncio.get_running_loop().add_signal_handler(number, act)


class RealTimeCluster:
    """A cluster of processes: nobody looks into them, and clients run beside the harness."""

    def known_as(self, node: str) -> str:
        """By the same name as the harness, where no node is ever replaced."""
        return node

    def clock_ns(self) -> int:
        """The machine's."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """The machine's."""
        return time.time_ns()

    def client_context(self) -> contextvars.Context | None:
        """That of the harness."""
        return None

    async def expect(self, faults: Collection[str]) -> None:
        """Nothing has to be made for any of them."""

    def findings(self) -> Sequence[Finding]:
        """There never is one."""
        return ()

    def marks(self) -> Mapping[str, int]:
        """None is known."""
        return {}

    async def wait_for_finding(self) -> None:
        """For ever."""
        await asyncio.get_running_loop().create_future()
