"""A client's session with the database in memory: every interface that there is, over calls of the store.

How a call gets to the store is somebody else's business (`Caller`): directly in a test, over a simulated network in
a run. A session keeps nothing but what is open: a transaction's reads and writes, a watcher's place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol

import msgspec

from workloads.on_transactions import transact
from workloads.session import Definite, Poll, Send, Transaction, WatchBatch, WatchEvent, WriteItem

RETRIES_MOST = 20


class Caller(Protocol):
    """The way to the store, and back."""

    @property
    def interfaces(self) -> frozenset[str]:
        """What it offers."""

    async def call(self, node: str, call: str, arguments: Sequence[Any], *, is_inside: bool = False) -> Any:
        """Does it and answers what it answers; Definite or Indefinite where it does not. `is_inside`: it is a step of a
        transaction before its commit."""

    async def wait_for_changes(self) -> None:
        """A while, in which something may be written."""

    def hung_up(self) -> None:
        """A session was closed."""


class InMemorySession:
    """One client's connection to one node."""

    def __init__(self, caller: Caller, node: str) -> None:
        self._caller = caller
        self._node = node
        self._closed = False
        self._commit_times: list[int | None] = []

    @property
    def interfaces(self) -> frozenset[str]:
        return self._caller.interfaces

    async def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self._caller.hung_up()

    async def _call(self, call: str, *arguments: Any) -> Any:
        return await self._caller.call(self._node, call, arguments)

    async def get(self, key: str) -> Any:
        return await self._call("get", key)

    async def get_as(self, key: str, consistency: str, max_staleness_ms: int) -> Any:
        """What is promised is more than anybody can ask for."""
        return await self.get(key)

    async def get_many_as(self, keys: Sequence[str], consistency: str, max_staleness_ms: int) -> list[Any]:
        """As `get_as`, for several keys at one moment."""
        async with self.transaction() as transaction:
            return [await transaction.get(key) for key in keys]

    async def put(self, key: str, value: Any) -> None:
        await self._call("put", key, value)

    async def delete(self, key: str) -> None:
        await self._call("delete", key)

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        return bool(await self._call("compare_and_set", key, expected, new))

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Any]]:
        return [(key, value) for key, value in await self._call("scan", start, end, limit)]

    def transaction(self) -> AbstractAsyncContextManager[InMemoryTransaction]:
        return InMemoryTransaction(self._caller, self._node, self._commit_times)

    def take_commit_time(self) -> int | None:
        """See `workloads.session.TellsCommitTimes`."""
        heard, self._commit_times[:] = list(self._commit_times), []
        return heard[0] if len(heard) == 1 else None

    async def transact_write(self, items: Sequence[WriteItem], token: str) -> None:
        await self._call("transact_write", [list(msgspec.structs.astuple(one)) for one in items], token)

    async def retried(self, work: Callable[[Transaction], Awaitable[Any]], token: str) -> Any:
        """Only what was refused is tried again: the store knows no tokens of transactions."""
        for _ in range(RETRIES_MOST):
            try:
                return await transact(self, work)
            except Definite as error:
                if error.kind != "conflict":
                    raise
        return await transact(self, work)

    async def add(self, counter: str, amount: int) -> None:
        await self._call("add", counter, amount)

    async def count(self, counter: str) -> int:
        return int(await self._call("count", counter))

    async def enqueue(self, queue: str, element: Any) -> None:
        await self._call("enqueue", queue, element)

    async def dequeue(self, queue: str) -> Any:
        return await self._call("dequeue", queue)

    async def exchange(self, steps: Sequence[Send | Poll]) -> list[Any]:
        return list(await self._call("exchange", msgspec.to_builtins(list(steps))))

    async def end(self, log: str) -> int:
        return int(await self._call("end", log))

    async def acquire(self, lock: str) -> int | None:
        token: int | None = await self._call("acquire", lock)
        return token

    async def release(self, lock: str, token: int) -> bool:
        return bool(await self._call("release", lock, token))

    async def generate_id(self) -> Any:
        return await self._call("generate_id")

    async def put_revised(self, key: str, value: Any) -> int:
        return int(await self._call("put_revised", key, value))

    async def delete_revised(self, key: str) -> int | None:
        revision: int | None = await self._call("delete_revised", key)
        return revision

    async def revision(self) -> int:
        return int(await self._call("last_revision"))

    async def watch(self, start: str, end: str, revision: int) -> AsyncGenerator[WatchBatch, None]:
        """The client asks again and again from where it stopped, as the pages of a change feed are fetched."""
        is_first = True
        while True:
            events, progress, revision = await self._call("watched", start, end, revision, is_first)
            is_first = False
            yield WatchBatch(msgspec.convert(events, list[WatchEvent]), progress)
            await self._caller.wait_for_changes()


class InMemoryTransaction:
    """Reads its snapshot; writes wait here, and the commit hands in both."""

    def __init__(self, caller: Caller, node: str, commit_times: list[int | None]) -> None:
        """What is told about the commit goes to the end of `commit_times`."""
        self._caller = caller
        self._node = node
        self._commit_times = commit_times
        self._snapshot: list[int] = []
        self._read: dict[str, None] = {}
        self._ranges: list[list[str]] = []
        self._written: dict[str, Any] = {}

    async def __aenter__(self) -> InMemoryTransaction:
        self._snapshot = list(await self._inside("begin"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            arguments = [self._snapshot, list(self._read), self._ranges, self._written]
            self._commit_times.append(await self._caller.call(self._node, "commit", arguments))

    async def _inside(self, call: str, *arguments: Any) -> Any:
        return await self._caller.call(self._node, call, arguments, is_inside=True)

    async def get(self, key: str) -> Any:
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str]) -> list[Any]:
        """See `workloads.session.ReadsMany`."""
        unwritten = [key for key in keys if key not in self._written]
        self._read |= dict.fromkeys(unwritten)
        values = await self._inside("read", self._snapshot, unwritten) if unwritten else []
        found = dict(zip(unwritten, values, strict=True))
        return [self._written[key] if key in self._written else found[key] for key in keys]

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Any]]:
        """See `workloads.session.ReadsRanges`."""
        self._ranges.append([start, end])
        found = dict(await self._inside("read_range", self._snapshot, start, end, limit))
        found |= {key: value for key, value in self._written.items() if start <= key < end}
        return [(key, found[key]) for key in sorted(found) if found[key] is not None][:limit]

    async def put(self, key: str, value: Any) -> None:
        self._written[key] = value

    async def delete(self, key: str) -> None:
        self._written[key] = None
