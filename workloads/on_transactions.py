"""Counters, queues, logs, locks and identifiers built on transactions, for systems that have no such type.

So these workloads run on every transactional system. What they then try is its transactions, in shapes that a bank
does not have: one hot key that everybody reads and writes (counter, lock, identifiers), and a pointer that moves over
many keys (queue, log). A type that a system has itself is used as it is: `counter(session)` and its siblings decide.

Each call is one transaction. It is refused (Definite) or unknown (Indefinite) as its commit was; whatever ends a
transaction before its commit is definite, since nothing was written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from workloads.keys import spread_key
from workloads.session import (
    COUNTER,
    LOCK,
    LOG,
    QUEUE,
    TRANSACTIONS,
    UNIQUE_IDS,
    Committed,
    Counter,
    Definite,
    Indefinite,
    Lock,
    Log,
    Poll,
    Queue,
    Send,
    Session,
    Transaction,
    Transactions,
    UniqueIds,
    Value,
    read_many,
)

BUILT_ON_TRANSACTIONS: Final = frozenset({COUNTER, QUEUE, LOG, LOCK, UNIQUE_IDS})
"""Interfaces that any system with transactions has by this page."""

T = TypeVar("T")


def with_built_types(offered: frozenset[str]) -> frozenset[str]:
    """The interfaces that workloads can use where these are offered."""
    return offered | BUILT_ON_TRANSACTIONS if TRANSACTIONS in offered else offered


def counter(session: Any) -> Counter:
    """The session's own counters, or ours."""
    own: Counter = session
    return own if COUNTER in session.interfaces else OnTransactions(session)


def queue(session: Any) -> Queue:
    """The session's own queues, or ours."""
    own: Queue = session
    return own if QUEUE in session.interfaces else OnTransactions(session)


def log(session: Any) -> Log:
    """The session's own logs, or ours."""
    own: Log = session
    return own if LOG in session.interfaces else OnTransactions(session)


def lock(session: Any) -> Lock:
    """The session's own locks, or ours."""
    own: Lock = session
    return own if LOCK in session.interfaces else OnTransactions(session)


def unique_ids(session: Any) -> UniqueIds:
    """The session's own identifiers, or ours."""
    own: UniqueIds = session
    return own if UNIQUE_IDS in session.interfaces else OnTransactions(session)


async def transact(session: Session, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Does the work in a transaction and commits. What goes wrong before the commit is Definite."""
    assert isinstance(session, Transactions), f"{session!r} offers transactions, else the run was refused"
    async with session.transaction() as transaction:
        try:
            return await work(transaction)
        except Indefinite as error:
            raise Definite(error.kind, error.text) from error


async def transact_timed(session: Session, work: Callable[[Transaction], Awaitable[T]]) -> T | Committed:
    """As `transact`; with the commit timestamp of the database where the session tells it."""
    take = getattr(session, "take_commit_time", None)
    if take is None:
        return await transact(session, work)
    take()
    value = await transact(session, work)
    committed_at = take()
    return value if committed_at is None else Committed(value, committed_at)


class OnTransactions:
    """All of these types over one session. Keeps nothing between calls."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # Counter: the number is the value of a key.

    async def add(self, counter: str, amount: int) -> None:
        """See `workloads.session.Counter`."""

        async def work(transaction: Transaction) -> None:
            await transaction.put(counter, (await transaction.get(counter) or 0) + amount)

        await transact(self._session, work)

    async def count(self, counter: str) -> int:
        """See `workloads.session.Counter`."""

        async def work(transaction: Transaction) -> int:
            return int(await transaction.get(counter) or 0)

        return await transact(self._session, work)

    # Queue: a key for each element, by its place; the value of the queue's own key is [first place, end].

    async def enqueue(self, queue: str, element: Value) -> None:
        """See `workloads.session.Queue`."""

        async def work(transaction: Transaction) -> None:
            first, end = await transaction.get(queue) or (0, 0)
            await transaction.put(spread_key(queue, end), element)
            await transaction.put(queue, [first, end + 1])

        await transact(self._session, work)

    async def dequeue(self, queue: str) -> Value | None:
        """See `workloads.session.Queue`."""

        async def work(transaction: Transaction) -> Value | None:
            first, end = await transaction.get(queue) or (0, 0)
            if first == end:
                return None
            key = spread_key(queue, first)
            element = await transaction.get(key)
            if element is None:
                raise Definite(
                    "no-element", f"{queue} has elements {first} to {end - 1}, but {key} is not there"
                )
            await transaction.delete(key)
            await transaction.put(queue, [first + 1, end])
            return element

        return await transact(self._session, work)

    # Log: a key for each entry, by its offset; the value of the log's own key is the next offset.

    async def exchange(self, steps: Sequence[Send | Poll]) -> list[Any]:
        """See `workloads.session.Log`."""

        async def work(transaction: Transaction) -> list[Any]:
            answers: list[Any] = []
            names = list(dict.fromkeys(step.log for step in steps))
            found = await read_many(transaction, names)
            ends = {name: int(end or 0) for name, end in zip(names, found, strict=True)}
            following = dict(ends)
            for step in steps:
                if isinstance(step, Send):
                    offset = following[step.log]
                    following[step.log] = offset + 1
                    await transaction.put(spread_key(step.log, offset), step.value)
                    await transaction.put(step.log, offset + 1)
                    answers.append(offset)
                    continue
                offsets = range(step.offset, min(ends[step.log], step.offset + step.most))
                values = await read_many(transaction, [spread_key(step.log, offset) for offset in offsets])
                answers.append([pair for pair in zip(offsets, values, strict=True) if pair[1] is not None])
            return answers

        return await transact(self._session, work)

    async def end(self, log: str) -> int:
        """See `workloads.session.Log`."""

        async def work(transaction: Transaction) -> int:
            return int(await transaction.get(log) or 0)

        return await transact(self._session, work)

    # Lock: the value is [token of the holder or None, last token].

    async def acquire(self, lock: str) -> int | None:
        """See `workloads.session.Lock`."""

        async def work(transaction: Transaction) -> int | None:
            holder, last = await transaction.get(lock) or (None, 0)
            if holder is not None:
                return None
            await transaction.put(lock, [last + 1, last + 1])
            return int(last) + 1

        return await transact(self._session, work)

    async def release(self, lock: str, token: int) -> bool:
        """See `workloads.session.Lock`."""

        async def work(transaction: Transaction) -> bool:
            holder, last = await transaction.get(lock) or (None, 0)
            if holder != token:
                return False
            await transaction.put(lock, [None, last])
            return True

        return await transact(self._session, work)

    # Identifiers: a number that rises.

    async def generate_id(self) -> Value:
        """See `workloads.session.UniqueIds`."""
        key = spread_key("unique-ids", 0)

        async def work(transaction: Transaction) -> int:
            following = (await transaction.get(key) or 0) + 1
            await transaction.put(key, following)
            return int(following)

        return await transact(self._session, work)
