"""An event loop whose clock jumps to the next timer: what takes minutes is over at once, and in the same order.

Good for code that only waits for timers and for itself; nothing outside the loop may ever wake it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    """Instead of waiting, tells the loop that the time has passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left to happen: the code under test waits for ever"
            self.now += max(timeout, 0)
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def run(story: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(story)


async def until(condition: Callable[[], bool], timeout_s: float = 600.0) -> None:
    """Wait (in virtual time) until a condition holds."""
    for _ in range(int(timeout_s / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"did not hold within {timeout_s} virtual seconds")
