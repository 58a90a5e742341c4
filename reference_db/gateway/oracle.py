"""Timestamps of the oracle, for all transactions of a node: those who ask while a request is under way share the next.

A timestamp is taken after it was asked for, never before, or it would say nothing about what was acknowledged until
then. So nothing is taken in advance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from reference_db.api import RangeReply, TakeTimestamps, TimedOut, TimestampsTaken, Unavailable
from reference_db.gateway.open_transaction import Failed
from reference_db.gateway.router import Router
from reference_db.timestamp import Timestamp

TOGETHER_MOST = 10_000
"""Timestamps that one request takes."""


class Oracle:
    """The oracle, as one node asks it."""

    def __init__(self, router: Router, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._router = router
        self._spawn = spawn
        self._waiting: list[tuple[float, asyncio.Future[Timestamp | None]]] = []
        self._is_asking = False
        self.taken = 0
        """How many timestamps were asked for."""
        self.requests = 0
        """How many requests that took."""

    async def take(self, deadline: float) -> Timestamp:
        """A timestamp above all that were issued before this call. Raises Failed, definite: nothing has happened."""
        self.taken += 1
        answer: asyncio.Future[Timestamp | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((deadline, answer))
        if not self._is_asking:
            self._is_asking = True
            self._spawn(self._ask())
        taken = await answer
        if taken is None:
            raise Failed(Unavailable("the timestamp oracle does not answer"))
        return taken

    async def _ask(self) -> None:
        try:
            while self._waiting:
                asking, self._waiting = self._waiting[:TOGETHER_MOST], self._waiting[TOGETHER_MOST:]
                self.requests += 1
                deadline = min(deadline for deadline, _ in asking)
                reply = await self._router.send((TakeTimestamps(len(asking)),), deadline, repeatable=True)
                self._tell(asking, reply)
        finally:
            self._is_asking = False

    def _tell(self, asking: list[tuple[float, asyncio.Future[Timestamp | None]]], reply: RangeReply) -> None:
        if reply.error is not None:
            now = self._router.now()
            for deadline, answer in asking:
                if answer.done():
                    continue
                if now < deadline and not isinstance(reply.error, TimedOut):
                    answer.set_result(None)
                elif now < deadline:
                    # Only the most impatient one's time is up.
                    self._waiting.append((deadline, answer))
                else:
                    answer.set_result(None)
            return
        taken = reply.results[0]
        assert isinstance(taken, TimestampsTaken), f"the oracle answered {taken!r}"
        assert taken.count == len(asking), f"{len(asking)} timestamps were asked for, {taken} came"
        for number, (_, answer) in enumerate(asking):
            if not answer.done():
                answer.set_result(Timestamp(taken.first.wall_ns, taken.first.logical + number))
