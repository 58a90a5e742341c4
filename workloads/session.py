"""What a workload needs of a database: a session, its interfaces, and errors sorted once.

A system under test implements as many of these interfaces as it can and lists them in `Session.interfaces`; a
workload lists what it needs and is refused where something lacks. Keys are text. Values are JSON-like scalars or
lists; what was put is what is read, type included.

The one rule that everything else rests on is how a call ends:

    it returns      it happened, once, and this is the answer
    Definite        it certainly did not happen, and never will          -> fail
    Indefinite      it may have happened, or may still happen later      -> info
    anything else   nobody thought about this error                      -> info

When in doubt: Indefinite. A `Definite` that was none makes a right database look wrong (or hides a wrong one); an
`Indefinite` too many only makes the checkers slower. A client must not retry on its own a call that may have
happened, unless the database itself makes the call idempotent.

A session runs on the event loop that stamps the history. A client library that blocks belongs in a thread
(`asyncio.to_thread`), and must expect that nobody waits for it any more: an operation that takes too long is
cancelled, and its session closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, runtime_checkable

Value = Any
"""A JSON-like scalar or list."""

KEY_VALUE: Final = "key-value"
COMPARE_AND_SET: Final = "compare-and-set"
SCAN: Final = "scan"
TRANSACTIONS: Final = "transactions"

INTERFACES: Final[dict[str, str]] = {
    KEY_VALUE: "get, put and delete one key",
    COMPARE_AND_SET: "put a value if the present one is as expected, in one step",
    SCAN: "read all keys of an interval at one moment",
    TRANSACTIONS: "get, put and delete several keys, all or nothing",
}
"""Every interface that a session may offer, and what it means."""


class SessionError(Exception):
    """An operation of a session did not return; `kind` sorts the reasons, `text` is for people.

    `kind` is a short word with hyphens (`refused`, `not-leader`, `conflict`, `connection-lost`); it becomes the
    first element of the history's `error`, and reports count by it.
    """

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind
        self.text = text


class Definite(SessionError):
    """The operation certainly did not happen, and never will."""


class Indefinite(SessionError):
    """The operation may have happened, or may happen at any later time."""


class Session(Protocol):
    """One connection of one client process to one node. It is used by one operation at a time."""

    @property
    def interfaces(self) -> frozenset[str]:
        """Which of `INTERFACES` this session offers."""

    async def close(self) -> None:
        """Gives the connection back. Also called while an operation hangs; must not wait for it."""


@runtime_checkable
class KeyValue(Protocol):
    """`key-value`: single keys, each call linearizable if the system claims so."""

    async def get(self, key: str) -> Value | None:
        """The value; None if the key does not exist. Has no effect, so it may always end in Definite."""

    async def put(self, key: str, value: Value) -> None:
        """The key has this value from now on, whether or not it existed."""

    async def delete(self, key: str) -> None:
        """The key does not exist from now on, whether or not it did."""


@runtime_checkable
class CompareAndSet(Protocol):
    """`compare-and-set`."""

    async def compare_and_set(self, key: str, expected: Value | None, new: Value) -> bool:
        """True: the value was `expected` (None: no such key) and now is `new`. False: it was something else, and
        nothing was changed."""


@runtime_checkable
class Scan(Protocol):
    """`scan`."""

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Value]]:
        """The keys with start <= key < end and their values, in order of the keys (of their UTF-8 bytes), the first
        `limit` of them, all as they were at one moment between call and return. A session that has to fetch them
        page by page without such a guarantee does not offer this interface."""


class Transaction(Protocol):
    """An open transaction; see `Transactions`."""

    async def get(self, key: str) -> Value | None:
        """The value that this transaction sees, its own writes included; None if the key does not exist."""

    async def put(self, key: str, value: Value) -> None: ...

    async def delete(self, key: str) -> None: ...


@runtime_checkable
class ReadsMany(Protocol):
    """What a transaction may offer besides, to save round trips."""

    async def get_many(self, keys: Sequence[str]) -> Sequence[Value | None]:
        """The values of several keys, in their order; otherwise like `get`."""


async def read_many(transaction: Transaction, keys: Sequence[str]) -> Sequence[Value | None]:
    """The values of several keys, in one go where the transaction can, else one after the other."""
    if isinstance(transaction, ReadsMany):
        return await transaction.get_many(keys)
    return [await transaction.get(key) for key in keys]


@runtime_checkable
class Transactions(Protocol):
    """`transactions`."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """`async with session.transaction() as transaction:` commits where the block ends normally.

        An exception inside the block rolls back and passes through: whatever raised it, no write of this
        transaction will ever be seen. The exit raises Definite if the commit certainly failed (a conflict), and
        Indefinite if its outcome is unknown. Calls inside the block may raise Definite or Indefinite too; since
        nothing was committed, the caller may treat both as definite.
        """
