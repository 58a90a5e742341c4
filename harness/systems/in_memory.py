"""A database in memory, for tests of the harness itself: right by default, wrong in chosen ways, unreliable on request.

Its sessions offer every interface, and each operation takes effect at one moment. There is no network and no node;
what a node is matters only to `stale-reads`. A delay is a number of turns of the event loop, drawn from a stream that
is passed in, so a run takes no longer than its work. It is no system that a scenario can name: it proves that the
harness finds what is wrong, and finds nothing where nothing is.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from workloads.session import (
    COMPARE_AND_SET,
    KEY_VALUE,
    SCAN,
    TRANSACTIONS,
    Definite,
    Indefinite,
    Session,
)

DEFECTS: Final[dict[str, str]] = {
    "stale-reads": "a get may answer the value before the present one",
    "lost-writes": "a put or transaction may be acknowledged and forgotten",
    "torn-transactions": "the writes of a transaction appear one after the other",
    "lost-updates": "a transaction commits even if what it read has changed",
    "false-failures": "an operation that took effect may be reported as certainly not done",
}
"""Every way in which it can be wrong on purpose."""


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
    """The store and its misbehaviour. One for each run."""

    interfaces = frozenset({KEY_VALUE, COMPARE_AND_SET, SCAN, TRANSACTIONS})

    def __init__(
        self,
        stream: random.Random,
        *,
        trouble: Trouble | None = None,
        defect: str | None = None,
        defect_share: float = 0.05,
        longest_delay: int = 3,
    ) -> None:
        """`defect_share` is the probability with which the defect shows where it can; `longest_delay` is in turns of
        the loop, before and after the effect."""
        if defect is not None and defect not in DEFECTS:
            raise ValueError(f"unknown defect {defect!r}; there are: {', '.join(DEFECTS)}")
        self.values: dict[str, Any] = {}
        self.versions: dict[str, int] = {}
        """How often each key was written; kept when it is deleted."""
        self.previous: dict[str, Any] = {}
        self.trouble = trouble or Trouble()
        self.opened = 0
        """Sessions opened so far."""
        self.open_now = 0
        self._random = stream
        self._defect = defect
        self._defect_share = defect_share
        self._longest_delay = longest_delay

    async def open_session(self, node: str) -> Session:
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

    def shows(self, defect: str) -> bool:
        """Whether this defect is there and shows now."""
        return self._defect == defect and self.happens(self._defect_share)

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
        if self.shows("false-failures"):
            raise Definite("conflict", "it says that it did nothing")

    def write(self, key: str, value: Any) -> None:
        """The key has this value now; None deletes it."""
        self.previous[key] = self.values.get(key)
        self.versions[key] = self.versions.get(key, 0) + 1
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value


class InMemorySession:
    """One client's connection."""

    def __init__(self, database: InMemoryDatabase, node: str) -> None:
        self._database = database
        self._node = node
        self._closed = False

    @property
    def interfaces(self) -> frozenset[str]:
        return self._database.interfaces

    async def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self._database.open_now -= 1

    async def get(self, key: str) -> Any:
        database = self._database
        await database.before()
        values = database.previous if database.shows("stale-reads") else database.values
        value = values.get(key)
        await database.after()
        return value

    async def put(self, key: str, value: Any) -> None:
        database = self._database
        await database.before()
        if not database.shows("lost-writes"):
            database.write(key, value)
        await database.after()

    async def delete(self, key: str) -> None:
        await self.put(key, None)

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        database = self._database
        await database.before()
        equal: bool = database.values.get(key) == expected
        if equal and not database.shows("lost-writes"):
            database.write(key, new)
        await database.after()
        return equal

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Any]]:
        database = self._database
        await database.before()
        found = [(key, database.values[key]) for key in sorted(database.values) if start <= key < end][:limit]
        await database.after()
        return found

    def transaction(self) -> AbstractAsyncContextManager[InMemoryTransaction]:
        return InMemoryTransaction(self._database)


class InMemoryTransaction:
    """Optimistic: reads remember versions, writes wait in a buffer, the commit checks the former and applies the
    latter in one step."""

    def __init__(self, database: InMemoryDatabase) -> None:
        self._database = database
        self._read: dict[str, int] = {}
        self._written: dict[str, Any] = {}

    async def __aenter__(self) -> InMemoryTransaction:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return
        database = self._database
        await database.before()
        changed = [key for key, version in self._read.items() if database.versions.get(key, 0) != version]
        if changed and not database.shows("lost-updates"):
            raise Definite("conflict", f"{changed[0]} has changed since it was read")
        if not database.shows("lost-writes"):
            torn = database.shows("torn-transactions")
            for key, value in self._written.items():
                database.write(key, value)
                if torn:
                    await asyncio.sleep(0.002)
        await database.after()

    async def get(self, key: str) -> Any:
        await self._database.wait()
        if key in self._written:
            return self._written[key]
        self._read.setdefault(key, self._database.versions.get(key, 0))
        return self._database.values.get(key)

    async def put(self, key: str, value: Any) -> None:
        self._written[key] = value

    async def delete(self, key: str) -> None:
        self._written[key] = None
