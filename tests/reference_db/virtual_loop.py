"""An asyncio event loop on virtual time: whatever waits costs nothing, and the same seed makes the same run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector:
    """Stands where a real loop waits for sockets: moves the clock to the next timer at once."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("every task waits and no timer is set: the program under test has hung")
        self._loop.now += timeout
        return []

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """No sockets, no threads; `time()` is virtual seconds since the loop was made."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = _JumpingSelector(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.now

    def _process_events(self, _events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a fresh virtual loop, cancel what is left over, close the loop."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        left_over = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
        for task in left_over:
            task.cancel()
        if left_over:
            loop.run_until_complete(asyncio.gather(*left_over, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
