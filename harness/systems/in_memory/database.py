"""The database in memory without a network: sessions call the store in this process, after turns of the event loop.

For tests of workloads, checkers and the driver. A delay is a number of turns of the loop, drawn from a stream that is
passed in, so a run takes no longer than its work. What can go wrong without the database being wrong is `Trouble`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.systems.in_memory.misbehaviour import Misbehaviour
from harness.systems.in_memory.session import InMemorySession
from harness.systems.in_memory.store import Store
from workloads.session import INTERFACES, Definite, Indefinite


@dataclass(frozen=True)
class Trouble:
    """What may go wrong without the database being wrong; each a probability for each operation."""

    lost_reply: float = 0.0
    """It happens, but the client learns nothing: Indefinite."""
    lost_request: float = 0.0
    """It does not happen, and the client learns nothing: Indefinite."""
    refused: float = 0.0
    """It does not happen, and the client is told: Definite."""
    silence: float = 0.0
    """It happens, and there is never an answer."""
    no_session: float = 0.0
    """A session cannot be opened: Definite."""


class InMemoryDatabase:
    """The store, the way to it, and trouble on the way. One for each run."""

    def __init__(
        self,
        stream: random.Random,
        *,
        trouble: Trouble | None = None,
        misbehaviour: str | None = None,
        share: float = 0.05,
        longest_delay: int = 3,
        interfaces: frozenset[str] = frozenset(INTERFACES),
    ) -> None:
        """`share` is the probability with which the misbehaviour shows where it can; `longest_delay` is in turns of the
        loop, before and after the effect; `interfaces` are those that its sessions say they offer."""
        self.store = Store(Misbehaviour(stream, misbehaviour, share))
        self.trouble = trouble or Trouble()
        self.interfaces = interfaces
        self.opened = 0
        """Sessions opened so far."""
        self.open_now = 0
        self._random = stream
        self._longest_delay = longest_delay

    async def open_session(self, node: str) -> InMemorySession:
        """A new session; Definite where `no_session` strikes."""
        await self.wait()
        if self.happens(self.trouble.no_session):
            raise Definite("refused", f"{node} takes no connections")
        self.opened += 1
        self.open_now += 1
        return InMemorySession(self, node)

    def happens(self, probability: float) -> bool:
        """Whether something of this probability happens now."""
        return probability > 0 and self._random.random() < probability

    async def call(self, node: str, call: str, arguments: Sequence[Any], *, is_inside: bool = False) -> Any:
        """See `session.Caller`. No trouble comes in the middle of a transaction."""
        if is_inside:
            await self.wait()
            return self.store.perform(node, call, arguments)
        await self.before()
        answer = self.store.perform(node, call, arguments)
        await self.after()
        return answer

    async def wait_for_changes(self) -> None:
        await asyncio.sleep(0.002)

    def hung_up(self) -> None:
        self.open_now -= 1

    async def wait(self) -> None:
        """A few turns of the loop."""
        for _ in range(self._random.randint(0, self._longest_delay)):
            await asyncio.sleep(0)

    async def before(self) -> None:
        """The way to the database."""
        await self.wait()
        if self.happens(self.trouble.refused):
            raise Definite("refused", "the database is busy")
        if self.happens(self.trouble.lost_request):
            raise Indefinite("connection-lost", "no reply")

    async def after(self) -> None:
        """The way back."""
        if self.happens(self.trouble.silence):
            await asyncio.get_running_loop().create_future()
        await self.wait()
        if self.happens(self.trouble.lost_reply):
            raise Indefinite("connection-lost", "no reply")
        if self.store.wrong.shows("false-failures"):
            raise Definite("conflict", "it says that it did nothing")
