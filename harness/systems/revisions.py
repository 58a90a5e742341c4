"""What follows from revisions: sessions of databases whose writes have revisions and may be conditional on them.

A session that inherits from `RevisedSession` brings the four calls that reach the database; gets, puts, locks with
fencing tokens and transactions are made of them here.

Transactions are optimistic. Reads are remembered with their revisions, writes are kept until the commit, and the commit
makes them if every key that was read still has the revision it had: so what commits is as if it had happened at the
moment of its commit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from workloads.session import Definite


class RevisedSession(ABC):
    """See the page; `workloads.session` says what each call promises. Offers only what its `interfaces` name."""

    @abstractmethod
    async def find(self, key: str, at: int = 0) -> tuple[Any, int, int]:
        """The value and the revision of a key (None and 0 if there is none) as of the revision `at` of the whole
        (0: now), and the revision of the whole that the answer shows."""

    @abstractmethod
    async def put_revised(self, key: str, value: Any) -> int:
        """The revision of the write."""

    @abstractmethod
    async def delete_revised(self, key: str) -> int | None:
        """The revision of the write; None if there was no such key."""

    @abstractmethod
    async def write_if_unchanged(self, read: Mapping[str, int], written: Mapping[str, Any]) -> int | None:
        """If these keys have these revisions still (0: there is none), all these writes (None: a deletion) at once, and
        their revision; else None."""

    async def get(self, key: str) -> Any:
        return (await self.find(key))[0]

    async def put(self, key: str, value: Any) -> None:
        await self.put_revised(key, value)

    async def delete(self, key: str) -> None:
        await self.delete_revised(key)

    async def revision(self) -> int:
        return (await self.find("revision"))[2]

    async def acquire(self, lock: str) -> int | None:
        """The fencing token is the revision at which the lock's key was created."""
        return await self.write_if_unchanged({lock: 0}, {lock: "held"})

    async def release(self, lock: str, token: int) -> bool:
        return await self.write_if_unchanged({lock: token}, {lock: None}) is not None

    def transaction(self) -> OptimisticTransaction:
        return OptimisticTransaction(self)


class OptimisticTransaction:
    """One transaction; see `workloads.session.Transaction`. All its reads are as of one moment."""

    def __init__(self, session: RevisedSession) -> None:
        self._session = session
        self._at = 0
        self._read: dict[str, tuple[Any, int]] = {}
        self._written: dict[str, Any] = {}

    async def __aenter__(self) -> OptimisticTransaction:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None or not (self._read or self._written):
            return
        read = {key: revision for key, (_, revision) in self._read.items()}
        if await self._session.write_if_unchanged(read, self._written) is None:
            raise Definite("conflict", "a key that was read has changed since")

    async def get(self, key: str) -> Any:
        """Its own write, or the value as of the first read."""
        if key in self._written:
            return self._written[key]
        if key not in self._read:
            value, revision, at = await self._session.find(key, self._at)
            self._read[key] = (value, revision)
            self._at = self._at or at
        return self._read[key][0]

    async def put(self, key: str, value: Any) -> None:
        """Seen by others from the commit on."""
        self._written[key] = value

    async def delete(self, key: str) -> None:
        """Seen by others from the commit on."""
        self._written[key] = None
