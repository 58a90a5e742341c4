"""That an environment itself has failed in the middle of a run: why, told to whoever waits for it.

A node that ends is not meant: that is a crash, for the verdict to judge. An environment fails when something of its
own ends without which faults can be neither injected nor undone; whatever is measured from then on says nothing about
the database.
"""

from __future__ import annotations

import asyncio


class Failure:
    """The first reason that was given; those after it are its consequences."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._known = asyncio.Event()

    def note(self, reason: str) -> None:
        """It has failed. Only the first reason counts."""
        if self.reason is None:
            self.reason = reason
            self._known.set()

    async def wait(self) -> str:
        """Blocks until it has failed, normally for ever; answers why."""
        await self._known.wait()
        assert self.reason is not None, "a failure is known by its reason"
        return self.reason
