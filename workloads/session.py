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

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, Protocol, runtime_checkable

import msgspec

Value = Any
"""A JSON-like scalar or list."""

KEY_VALUE: Final = "key-value"
COMPARE_AND_SET: Final = "compare-and-set"
SCAN: Final = "scan"
TRANSACTIONS: Final = "transactions"
TRANSACTIONAL_SCAN: Final = "transactional-scan"
COUNTER: Final = "counter"
QUEUE: Final = "queue"
LOG: Final = "log"
LOCK: Final = "lock"
UNIQUE_IDS: Final = "unique-ids"
WATCH: Final = "watch"
CHOSEN_READS: Final = "chosen-reads"
TRANSACT_WRITE: Final = "transact-write"
RETRIED_TRANSACTIONS: Final = "retried-transactions"

INTERFACES: Final[dict[str, str]] = {
    KEY_VALUE: "get, put and delete one key",
    COMPARE_AND_SET: "put a value if the present one is as expected, in one step",
    SCAN: "read all keys of an interval at one moment",
    TRANSACTIONS: "get, put and delete several keys, all or nothing",
    TRANSACTIONAL_SCAN: "read all keys of an interval inside a transaction",
    COUNTER: "add to a number and read it",
    QUEUE: "put elements in at one end and take them out at the other",
    LOG: "append to a log and read it from an offset, also several of both at one moment",
    LOCK: "a lock that one holds at a time, with a fencing token for each time it is held",
    UNIQUE_IDS: "make an identifier that was never made before",
    WATCH: "writes that answer a revision, and the stream of all changes from a revision on",
    CHOSEN_READS: "read one key with a consistency that is chosen for this read",
    TRANSACT_WRITE: "write several keys in one request, all or nothing, once for each token",
    RETRIED_TRANSACTIONS: "transactions that the client tries again by itself, once for each token",
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
class ReadsByChoice(Protocol):
    """`chosen-reads`."""

    async def get_as(self, key: str, consistency: str, max_staleness_ms: int) -> Value | None:
        """As `KeyValue.get`, but it promises no more than `consistency`: `linearizable`; `lease` (linearizable as long
        as clocks run about alike); `bounded` (it misses nothing that ended `max_staleness_ms` or more before it began);
        `stale` (its answer was true once)."""

    async def get_many_as(
        self, keys: Sequence[str], consistency: str, max_staleness_ms: int
    ) -> Sequence[Value | None]:
        """The values of these keys, in their order; all as of one moment, unless they are `stale`."""


READ_CONSISTENCIES: Final = ("linearizable", "lease", "bounded", "stale")
"""What `ReadsByChoice` may be asked for, the strongest first."""


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


@runtime_checkable
class AppendsToLists(Protocol):
    """What a transaction may offer besides. Where the isolation is weaker than snapshots, a list that is read and put
    loses elements that an append of the database itself keeps."""

    async def append(self, key: str, element: Value) -> None:
        """The list at this key (none: an empty one) ends with this element."""


@runtime_checkable
class ReadsRanges(Protocol):
    """What a transaction offers besides where the session has `transactional-scan`."""

    async def scan(self, start: str, end: str, limit: int) -> list[tuple[str, Value]]:
        """As `Scan.scan`, and as this transaction sees it, its own writes included. That a key of the interval does not
        exist is something that was read, too."""


async def read_many(transaction: Transaction, keys: Sequence[str]) -> Sequence[Value | None]:
    """The values of several keys, in one go where the transaction can, else one after the other."""
    # Not `isinstance(transaction, ReadsMany)`: that looks at all members of both, each time.
    get_many = getattr(transaction, "get_many", None)
    if get_many is not None:
        values: Sequence[Value | None] = await get_many(keys)
        return values
    return [await transaction.get(key) for key in keys]


@runtime_checkable
class TellsCommitTimes(Protocol):
    """What a session may offer besides `transactions`."""

    def take_commit_time(self) -> int | None:
        """The commit timestamp, by the database itself and in a unit of its own, of the one transaction that this
        session has committed since it was last asked; None if it was not one, or the database gave none. Of two that
        wrote one key, the later has the greater."""


class Committed(msgspec.Struct, frozen=True):
    """What `Workload.invoke` may answer in place of a value: the value, and the commit timestamp to be recorded."""

    value: Any
    committed_at: int | None


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


class WriteItem(msgspec.Struct, frozen=True):
    """One item of `TransactWrite.transact_write`."""

    key: str
    elements: list[Value]
    """What the list of the key gets at its end; a key that does not exist is an empty list. Without any, the key is
    only looked at."""
    must_exist: bool = False
    """Whether all is cancelled where the key does not exist."""
    must_not_exist: bool = False
    """Whether all is cancelled where it does."""


@runtime_checkable
class TransactWrite(Protocol):
    """`transact-write`."""

    async def transact_write(self, items: Sequence[WriteItem], token: str) -> None:
        """All items, or none. It returns where they took effect now or by an earlier call with this token, for the last
        ten minutes at least; a Definite says that this call had no effect, and nothing of others."""


@runtime_checkable
class RetriedTransactions(Protocol):
    """`retried-transactions`."""

    async def retried(self, work: Callable[[Transaction], Awaitable[Any]], token: str) -> Any:
        """As a transaction that does the work and commits, and again with fresh reads for as long as that is certainly
        safe: it had no effect, or there is a token (not ""), with which it takes effect once. Answers what the work did
        in the attempt that committed; None if an earlier one had committed unheard."""


@runtime_checkable
class Counter(Protocol):
    """`counter`: numbers by name, which begin at 0."""

    async def add(self, counter: str, amount: int) -> None:
        """The number is larger by `amount` (smaller, if that is negative) from now on."""

    async def count(self, counter: str) -> int:
        """The number. Has no effect, so it may always end in Definite."""


@runtime_checkable
class Queue(Protocol):
    """`queue`: first in, first out, unless the system promises less (the workload is told by `--workload-option`)."""

    async def enqueue(self, queue: str, element: Value) -> None:
        """The element is the last of the queue."""

    async def dequeue(self, queue: str) -> Value | None:
        """Takes the first element out and answers it; None if there is none. An Indefinite may have taken one out that
        nobody will see."""


class Send(msgspec.Struct, frozen=True, tag="send"):
    """A step of `Log.exchange`: append `value` to `log`. Answered by its offset."""

    log: str
    value: Value


class Poll(msgspec.Struct, frozen=True, tag="poll"):
    """A step of `Log.exchange`: at most `most` entries of `log` from `offset` on. Answered by `(offset, value)` pairs,
    in order of their offsets."""

    log: str
    offset: int
    most: int


@runtime_checkable
class Log(Protocol):
    """`log`: logs by name, whose entries keep their offsets for ever. Offsets rise, and may have gaps."""

    async def exchange(self, steps: Sequence[Send | Poll]) -> list[Any]:
        """Does the steps at one moment, all or nothing, and answers each, in their order. A poll sees nothing that is
        sent by the same exchange. Steps without a `Send` have no effect, so they may always end in Definite."""

    async def end(self, log: str) -> int:
        """The offset from which only entries will be polled that are sent from now on. Has no effect."""


@runtime_checkable
class Lock(Protocol):
    """`lock`: locks by name, each held by one at a time, until it is released."""

    async def acquire(self, lock: str) -> int | None:
        """The fencing token of this time of holding the lock, larger than all before; None: somebody holds it. It does
        not wait. An Indefinite may leave the lock held by nobody who knows of it."""

    async def release(self, lock: str, token: int) -> bool:
        """True: it was held with this token and is free now. False: it was not held with it; nothing was changed."""


@runtime_checkable
class UniqueIds(Protocol):
    """`unique-ids`."""

    async def generate_id(self) -> Value:
        """An identifier that no call has answered before, or ever will."""


class WatchEvent(msgspec.Struct, frozen=True):
    """A change of one key, as a watcher is told of it."""

    revision: int
    type: Literal["put", "delete"]
    key: str
    value: Value | None
    """None for a delete."""
    previous: Value | None
    """The value before; None if there was none."""
    is_create: bool
    """Whether the key did not exist before."""


class WatchBatch(msgspec.Struct, frozen=True):
    """What arrives at a watcher at once."""

    events: list[WatchEvent]
    """In order of their revisions; all events of one revision are in one batch."""
    progress: int | None = None
    """Everything up to this revision was sent, in this batch or before; None: not said."""


@runtime_checkable
class Watch(Protocol):
    """`watch`: every write has a revision, which rises with every write of any key."""

    async def put_revised(self, key: str, value: Value) -> int:
        """As `KeyValue.put`; answers the revision."""

    async def delete_revised(self, key: str) -> int | None:
        """As `KeyValue.delete`; answers the revision, None if there was no such key."""

    async def revision(self) -> int:
        """The revision of the last write, 0 if there was none. Has no effect."""

    def watch(self, start: str, end: str, revision: int) -> AsyncGenerator[WatchBatch, None]:
        """All changes of keys with start <= key < end, from this revision on (included), as they happen, without end.
        Each is sent once, in order. The stream may end in Definite or Indefinite at any time: a watch has no effect."""
