"""The client: requests over one connection, and errors that say whether the request certainly did not happen.

Keys are text. Values are whatever msgpack can carry (None, booleans, numbers, text, lists, maps); two values are the
same if their encodings are. Calls may be made concurrently on one connection; a lost connection is made anew by the
next call, and what was under way on it ends as *may have happened*. Nothing is ever sent twice, except by
`Client.transact`, which says when.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from reference_db.api import (
    Ambiguous,
    BadRequest,
    BeginTransaction,
    ClientAdd,
    ClientCompareAndSet,
    ClientDelete,
    ClientForsake,
    ClientGet,
    ClientGetMany,
    ClientGetVersion,
    ClientMerge,
    ClientMove,
    ClientOperation,
    ClientPlacement,
    ClientPut,
    ClientReply,
    ClientRequest,
    ClientScan,
    ClientSplit,
    ClientTransactWrite,
    ClientTransfer,
    CommitTransaction,
    Consistency,
    CutLogs,
    Isolation,
    ItemAction,
    ItemCondition,
    NotLeader,
    Overloaded,
    ReplicaState,
    ReplicaStates,
    RollbackTransaction,
    SessionExpired,
    SessionWrite,
    Status,
    TimedOut,
    TransactionAborted,
    TransactionCancelled,
    TransactionProtocol,
    TransactionRetry,
    TransactItem,
    Unavailable,
)
from reference_db.api import ClientError as Refusal
from reference_db.codec import FrameDecoder, FrameError, encode_frame
from reference_db.gateway.directory import Directory
from reference_db.placement.state import Placement, decode_placement
from reference_db.ranges.descriptor import Descriptor
from reference_db.socks import dial
from reference_db.timestamp import ZERO, Timestamp

Address = tuple[str, int]
T = TypeVar("T")

GRACE_S = 0.5
"""How much longer than the node a client waits before it gives up on an answer."""
SWEEP_S = 0.05
"""How often deadlines are looked at, at most."""

_KINDS: dict[type, str] = {
    Ambiguous: "ambiguous",
    BadRequest: "bad-request",
    NotLeader: "not-leader",
    Overloaded: "overloaded",
    SessionExpired: "session-expired",
    TimedOut: "timeout",
    TransactionAborted: "aborted",
    TransactionCancelled: "cancelled",
    TransactionRetry: "conflict",
    Unavailable: "unavailable",
}
CONSISTENCIES: dict[str, Consistency] = {one.name.lower(): one for one in Consistency}
"""What a read may promise, as callers name it."""
NOTES_MOST = 64
"""So much that needs no answer is kept back for the next call."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder()


class ClientError(Exception):
    """A call that did not return. `definite`: it certainly did not happen and never will. `kind` is a short word with
    hyphens (conflict, timeout, connection-lost, ...), `text` is for people.

    Each is one of four, which say what to do: `ConflictError`, `RetryError`, `AbortedError` or `AmbiguousError`."""

    def __new__(cls, definite: bool, kind: str, *_rest: Any, **_named: Any) -> ClientError:
        """Of the type that its certainty and kind say."""
        if cls is ClientError:
            if not definite:
                cls = AmbiguousError
            elif kind == "conflict":
                cls = ConflictError
            elif kind in _PASSING:
                cls = RetryError
            else:
                cls = AbortedError
        return super().__new__(cls)

    def __init__(
        self,
        definite: bool,
        kind: str,
        text: str,
        priority: Timestamp = ZERO,
        reasons: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{kind}: {text}")
        self.definite = definite
        self.kind = kind
        self.text = text
        self.priority = priority
        """After a conflict: what to begin the next attempt with, so that it grows older."""
        self.reasons = reasons
        """Where a `transact_write` was cancelled: one an item, `none`, `condition-failed` or `validation`."""


class ConflictError(ClientError):
    """Others were in the way, and it certainly did not happen: the same work with fresh reads, and the `priority`, may
    well succeed."""


class RetryError(ClientError):
    """Nobody could do it in time (timeout, overloaded, unavailable, refused, a connection lost before anything was
    sent), and it certainly did not happen: it may be tried again as it is."""


class AbortedError(ClientError):
    """It certainly did not happen, and would not if it were tried again: cancelled, a bad request, a transaction that
    is over."""


class AmbiguousError(ClientError):
    """It may have happened, or may still happen. Only with a token is it safe to try again."""


_PASSING = frozenset({"timeout", "overloaded", "unavailable", "not-leader", "refused", "connection-lost"})
"""Kinds of errors that pass by themselves."""
RETRY_FIRST_S = 0.01
RETRY_MOST_S = 0.5


def encode_value(value: Any) -> bytes:
    """A value as it is stored."""
    return _ENCODER.encode(value)


def decode_value(stored: bytes | None) -> Any:
    """The inverse; None for a key that does not exist."""
    return None if stored is None else _DECODER.decode(stored)


class _Call:
    __slots__ = ("deadline", "future", "is_read")

    def __init__(self, future: asyncio.Future[Any], deadline: float, is_read: bool) -> None:
        self.future = future
        self.deadline = deadline
        self.is_read = is_read

    def fail(self, error: ClientError) -> None:
        """End with this error. Whether anybody looks at it is the caller's business: asyncio need not complain."""
        self.future.set_exception(error)
        self.future.exception()


class _Noted:
    """A request that is answered only if it is refused."""

    __slots__ = ("error", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.error: ClientError | None = None
        """Why it was refused, if it was."""


class _Connection(asyncio.Protocol):
    """One connection to one node."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._decoder = FrameDecoder(ClientReply)
        self._calls: dict[int, _Call] = {}
        self._noted: dict[int, _Noted] = {}
        self._last_id = 0
        self._out: list[bytes] = []
        self._will_flush = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name.
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self._transport = None
        if self._sweeper is not None:
            self._sweeper.cancel()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.future.done():
                text = f"the connection broke while the request was under way ({error or 'closed'})"
                call.fail(ClientError(call.is_read, "connection-lost", text))
        self._noted.clear()

    def data_received(self, data: bytes) -> None:
        try:
            replies = self._decoder.feed(data)
        except FrameError:
            assert self._transport is not None
            self._transport.abort()
            return
        for reply in replies:
            call = self._calls.pop(reply.request_id, None)
            if call is None:
                noted = self._noted.pop(reply.request_id, None)
                if noted is not None and reply.error is not None:
                    noted.error = _as_client_error(reply.error, True)
                continue
            if call.future.done():
                continue
            if reply.error is None:
                call.future.set_result(reply.value)
            else:
                call.fail(_as_client_error(reply.error, call.is_read))

    def call(
        self, operation: ClientOperation, timeout_s: float, is_read: bool, write: SessionWrite | None = None
    ) -> asyncio.Future[Any]:
        """Send one request; requests of one loop turn leave in one write."""
        self._put(operation, timeout_s, quiet=False, write=write)
        self._flush_soon()
        future: asyncio.Future[Any] = self._loop.create_future()
        deadline = self._loop.time() + timeout_s + GRACE_S
        self._calls[self._last_id] = _Call(future, deadline, is_read)
        if self._sweeper is None or deadline < self._sweep_at:
            self._sweep_not_before(deadline)
        return future

    def note(self, operation: ClientOperation, timeout_s: float) -> _Noted:
        """Send, with the next call, what is answered only if it is refused; until `forget`."""
        number = self._put(operation, timeout_s, quiet=True)
        noted = self._noted[number] = _Noted(number)
        if len(self._out) >= NOTES_MOST:
            self._flush_soon()
        return noted

    def forget(self, noted: Sequence[_Noted]) -> None:
        """Nobody asks any more whether these were refused."""
        for one in noted:
            self._noted.pop(one.number, None)

    def _put(
        self,
        operation: ClientOperation,
        timeout_s: float,
        *,
        quiet: bool,
        write: SessionWrite | None = None,
    ) -> int:
        if self._transport is None:
            raise ClientError(True, "refused", "there is no connection")
        number = self._last_id = self._last_id + 1
        try:
            frame = encode_frame(ClientRequest(number, operation, int(timeout_s * 1000), quiet, write))
        except FrameError as error:
            raise ClientError(True, "bad-request", str(error)) from error
        self._out.append(frame)
        return number

    def _sweep_not_before(self, when: float) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep_at = when
        self._sweeper = self._loop.call_at(when, self._sweep)

    def _flush_soon(self) -> None:
        if not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._will_flush = False
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def _sweep(self) -> None:
        self._sweeper = None
        if not self._calls:
            return
        now = self._loop.time()
        for number in [number for number, call in self._calls.items() if call.deadline <= now]:
            call = self._calls.pop(number)
            if not call.future.done():
                call.fail(ClientError(call.is_read, "timeout", "the node did not answer"))
        if self._calls:
            first = min(call.deadline for call in self._calls.values())
            self._sweep_not_before(max(first, now + SWEEP_S))

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


def _as_client_error(error: Refusal, is_read: bool) -> ClientError:
    text = getattr(error, "reason", None) or str(error)
    priority = error.priority if isinstance(error, TransactionRetry) else ZERO
    reasons = error.reasons if isinstance(error, TransactionCancelled) else ()
    return ClientError(error.definite or is_read, _KINDS[type(error)], text, priority, reasons)


class Item:
    """One item of `Client.transact_write`: what to do to a key, and what must hold of it before.

    At most one condition: `exists` true or false; `equals` a value; `version` as `Client.get_version` gave it."""

    def __init__(
        self,
        action: ItemAction,
        key: str,
        value: Any = None,
        *,
        exists: bool | None = None,
        equals: Any = None,
        version: Timestamp | None = None,
    ) -> None:
        given = [exists is not None, equals is not None, version is not None]
        if sum(given) > 1:
            raise ValueError(f"item for {key!r}: exists, equals and version are given; choose one")
        condition = ItemCondition.NONE
        if exists is not None:
            condition = ItemCondition.EXISTS if exists else ItemCondition.NOT_EXISTS
        elif equals is not None:
            condition = ItemCondition.EQUALS
        elif version is not None:
            condition = ItemCondition.VERSION
        self.wire = TransactItem(
            key.encode(),
            action,
            encode_value(value) if action in (ItemAction.PUT, ItemAction.UPDATE) else None,
            condition,
            None if equals is None else encode_value(equals),
            ZERO if version is None else version,
        )

    @classmethod
    def put(cls, key: str, value: Any, **condition: Any) -> Item:
        """The key has this value."""
        return cls(ItemAction.PUT, key, value, **condition)

    @classmethod
    def update(cls, key: str, operand: Any, **condition: Any) -> Item:
        """A number grows by this one, a list by the elements of this one; a missing key by that from 0, or []."""
        return cls(ItemAction.UPDATE, key, operand, **condition)

    @classmethod
    def delete(cls, key: str, **condition: Any) -> Item:
        """The key does not exist any more."""
        return cls(ItemAction.DELETE, key, **condition)

    @classmethod
    def check(cls, key: str, **condition: Any) -> Item:
        """Only the condition."""
        return cls(ItemAction.CHECK, key, **condition)


class TransactWritten(NamedTuple):
    """How a `Client.transact_write` ended well."""

    write_units: int
    """What it cost when it was done: two for each item and begun KiB."""
    replayed: bool
    """An earlier request with the same token had done it; this one did nothing."""


class Client:
    """A client of one node, or of the first of several that can be reached."""

    def __init__(
        self, address: Address | Sequence[Address], timeout_s: float = 4.0, socks: Address | None = None
    ) -> None:
        """`timeout_s` is how long the node may take for a call; the client waits a little longer. `socks` is a SOCKS5
        server on the way."""
        self._addresses = _addresses(address)
        self._socks = socks
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None and not self._connection.is_lost

    async def connect(self) -> None:
        """Connect to the first node that accepts. Raises ClientError `refused`; certainly nothing was sent."""
        async with self._connecting:
            if self.is_connected:
                return
            problems = []
            for host, port in self._addresses:
                try:
                    async with asyncio.timeout(self._timeout_s):
                        _, self._connection = await dial(_Connection, (host, port), self._socks)
                    return
                except (OSError, TimeoutError) as error:
                    problems.append(f"{host}:{port}: {error or 'no answer'}")
            raise ClientError(True, "refused", "; ".join(problems))

    async def close(self) -> None:
        """Close the connection; what is under way ends as connection-lost."""
        self.close_now()

    def close_now(self) -> None:
        """The same, without a coroutine."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def __aenter__(self) -> Client:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close_now()

    async def call(
        self, operation: ClientOperation, is_read: bool = False, write: SessionWrite | None = None
    ) -> Any:
        """One request, whatever it is. Connects first if need be. `write`: which of a session's it is."""
        if not self.is_connected:
            await self.connect()
        assert self._connection is not None
        return await self._connection.call(operation, self._timeout_s, is_read, write)

    # Keys.

    async def get(self, key: str, consistency: str | None = None, max_staleness_ms: int = 0) -> Any:
        """The value, or None if the key does not exist. Every error is definite: a read changes nothing.

        `consistency`: `linearizable`, `lease`, `bounded` (it misses nothing that ended `max_staleness_ms` or more
        before) or `stale`; None, or 0 for the bound: as the node is set to. ValueError for another word."""
        operation = ClientGet(key.encode(), 0, _consistency(consistency), max_staleness_ms)
        return decode_value(await self.call(operation, is_read=True))

    async def get_many(
        self, keys: Sequence[str], consistency: str | None = None, max_staleness_ms: int = 0
    ) -> list[Any]:
        """The values of these keys, in their order, all as of one moment (`stale`: each as of some moment)."""
        operation = _get_many(keys, 0, _consistency(consistency), max_staleness_ms)
        return _values(await self.call(operation, is_read=True))

    async def put(self, key: str, value: Any) -> None:
        """The key has this value from now on."""
        await self.call(ClientPut(key.encode(), encode_value(value)))

    async def delete(self, key: str) -> None:
        """The key does not exist from now on."""
        await self.call(ClientDelete(key.encode()))

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        """Set the key to `new` if its value is `expected`; None stands for a key that does not exist, on both sides."""
        old_bytes = None if expected is None else encode_value(expected)
        new_bytes = None if new is None else encode_value(new)
        applied, _ = await self.call(ClientCompareAndSet(key.encode(), old_bytes, new_bytes))
        return bool(applied)

    async def add(self, key: str, amount: int) -> int:
        """Add to a whole number, which begins at 0; answers what it is then. See also `client_session`."""
        return int(await self.call(ClientAdd(key.encode(), amount)))

    async def cut_logs(self) -> list[tuple[int, int, int]]:
        """The node's replicas forget the entries that they have applied. (range, first index before, after) of each."""
        return [tuple(one) for one in await self.call(CutLogs())]

    async def get_version(self, key: str) -> tuple[Any, Timestamp]:
        """The value (None if the key does not exist) and the version: when it was written, zero for never."""
        value, wall_ns, logical = await self.call(ClientGetVersion(key.encode()), is_read=True)
        return decode_value(value), Timestamp(wall_ns, logical)

    async def transact_write(self, items: Sequence[Item], token: str = "") -> TransactWritten:
        """All items, 1 to 100 for different keys, or none. With a `token`, a request that may have happened can be sent
        again with the same token: it takes effect once. Raises ClientError: `cancelled` with `reasons`, an item each,
        where a condition fails or an update cannot be."""
        request = ClientTransactWrite(tuple([item.wire for item in items]), token.encode())
        return TransactWritten(*await self.call(request))

    async def scan(
        self,
        start: str = "",
        end: str = "",
        limit: int = 0,
        reverse: bool = False,
        consistency: str | None = None,
        max_staleness_ms: int = 0,
    ) -> list[tuple[str, Any]]:
        """Keys of `[start, end)` with their values, all as of one moment (`stale`: each range as of some moment); `end`
        "" is the end, `limit` 0 means all."""
        last = end.encode() if end else None
        chosen = _consistency(consistency)
        operation = ClientScan(start.encode(), last, limit, reverse, 0, chosen, max_staleness_ms)
        return _pairs(await self.call(operation, is_read=True))

    def transaction(
        self,
        priority: Timestamp = ZERO,
        protocol: TransactionProtocol | None = None,
        isolation: Isolation | None = None,
    ) -> Transaction:
        """A transaction: `async with client.transaction() as t:` commits at the end of the block, rolls back where it
        raises. `priority` is that of the `ClientError` of an earlier attempt. `protocol` and `isolation` are the
        node's own choice where None."""
        return Transaction(self, priority, protocol, isolation)

    async def transact(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        token: str = "",
        attempts_most: int = 50,
        protocol: TransactionProtocol | None = None,
        isolation: Isolation | None = None,
    ) -> T | None:
        """Do the work in a transaction and commit, and all of it again where that is certainly safe: after a
        `ConflictError` or `RetryError`; after an `AmbiguousError` only with a `token`, with which a transaction commits
        once. Answers what the work did in the attempt that committed; None if, with a token, an earlier attempt had
        committed unheard. The work must have no other effects than on the transaction. Raises the last ClientError, and
        whatever the work raises."""
        priority, pause = ZERO, RETRY_FIRST_S
        unheard: AmbiguousError | None = None
        for attempt in range(1, attempts_most + 1):
            try:
                transaction = self.transaction(priority, protocol, isolation)
                transaction.token = token.encode()
                async with transaction:
                    done = await work(transaction)
                return None if transaction.was_committed_before else done
            except AmbiguousError as error:
                if not token:
                    raise
                unheard = error
                if attempt == attempts_most:
                    raise
            except (ConflictError, RetryError) as error:
                priority = max(priority, error.priority)
                if attempt == attempts_most:
                    # An attempt that nobody answered may have committed, whatever became of the last one.
                    raise unheard or error from error
            except AbortedError as error:
                raise unheard or error from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_MOST_S)
        raise AssertionError(f"{attempts_most} attempts, of which the last neither returned nor raised")

    async def status(self, ranges: bool = True) -> dict[str, Any]:
        """What the node says about itself: `node`, `clock_ns` (its wall clock), `monotonic`, `ranges` (a list of
        {id, start, end, leader, role, term, commit, applied, ...}; leaders are node names), `counters`. Without
        `ranges` that list is empty: with thousands of them a node that is asked often does little else."""
        status = await self.call(Status(ranges), is_read=True)
        assert isinstance(status, dict), f"a status is a map, got {status!r}"
        return status

    async def forsake(self, step: str, count: int) -> dict[str, int]:
        """Have the next `count` coordinators of the node that reach a step die there (0: none any more), and how many
        have died at each step so far; see `gateway/fault_points.py`. Raises ClientError where that is not allowed."""
        died = await self.call(ClientForsake(step, count), is_read=True)
        assert isinstance(died, dict), f"a node tells how many died at each step, not {died!r}"
        return died

    async def split(self, key: str) -> list[RangeSeen]:
        """Cut the range of a key in two before that key: the ranges that came of it, or the one that begins there
        already. Raises ClientError; an indefinite one means that it may have been done."""
        found = await self.call(ClientSplit(key.encode()), is_read=False)
        return [RangeSeen(*one) for one in found]

    async def merge(self, key: str) -> RangeSeen:
        """Merge the range of a key with its right neighbour; what came of it. Raises ClientError; an indefinite one
        means that it may have been done."""
        (found,) = await self.call(ClientMerge(key.encode()), is_read=False)
        return RangeSeen(*found)

    async def move(self, range_id: int, source: str, target: str) -> RangeSeen:
        """Move a range's replica from one node to another; the range as it is then. Raises ClientError; an indefinite
        one means that it may have been done."""
        return RangeSeen(*await self.call(ClientMove(range_id, source, target), is_read=False))

    async def transfer(self, range_id: int, target: str) -> RangeSeen:
        """Let one of the nodes that hold a range lead it; the range as it is then. Raises ClientError."""
        return RangeSeen(*await self.call(ClientTransfer(range_id, target), is_read=False))

    async def placement(self) -> Placement:
        """Which nodes there are and what each may hold. Raises ClientError, also where placement is off."""
        return await self._place(ClientPlacement("show"))

    async def join(self, node: str, address: Address | None = None, zone: str = "") -> Placement:
        """Name a new node; the state of placement that it must be started with. Raises ClientError."""
        return await self._place(ClientPlacement("join", node, (zone,) if zone else (), address))

    async def decommission(self, node: str) -> Placement:
        """Have everything moved off a node; it is `decommissioned` when it has nothing. Raises ClientError."""
        return await self._place(ClientPlacement("decommission", node))

    async def recommission(self, node: str) -> Placement:
        """Let a node stay that was to go, and has not gone yet. Raises ClientError."""
        return await self._place(ClientPlacement("recommission", node))

    async def prefer_zones(self, zones: Sequence[str]) -> Placement:
        """Have leaders in these zones, where a replica is; none: anywhere. Raises ClientError."""
        return await self._place(ClientPlacement("prefer", zones=tuple(zones)))

    async def _place(self, operation: ClientPlacement) -> Placement:
        return decode_placement(await self.call(operation, is_read=operation.action == "show"))

    async def replica_states(self, *, digests: bool = False) -> list[ReplicaState]:
        """What the node's replicas hold; with digests it reads all its data for it. Raises ClientError."""
        return msgspec.convert(await self.call(ReplicaStates(digests), is_read=True), type=list[ReplicaState])


class RangeSeen(NamedTuple):
    """A range as it came of a change."""

    id: int
    start: bytes
    end: bytes | None
    generation: int
    replicas: Sequence[str] = ()
    """The nodes that hold it, where that was asked for."""

    def __str__(self) -> str:
        end = "end" if self.end is None else repr(self.end)[1:]
        where = f" on {', '.join(self.replicas)}" if self.replicas else ""
        return f"{self.id} [{repr(self.start)[1:]}, {end}) generation {self.generation}{where}"


class Transaction:
    """One interactive transaction. Reads see its own writes; nothing is written anywhere before the commit."""

    def __init__(
        self,
        client: Client,
        priority: Timestamp = ZERO,
        protocol: TransactionProtocol | None = None,
        isolation: Isolation | None = None,
    ) -> None:
        self._client = client
        self._beginning = BeginTransaction(priority, protocol, isolation)
        self._number = 0
        self._connection: _Connection | None = None
        self._noted: list[_Noted] = []
        """That it began, and its writes: whether they were refused is looked at when something else is."""
        self._writes = 0
        """How many were sent."""
        self.token = b""
        """See `Client.transact`."""
        self.was_committed_before = False
        """By an earlier attempt with the same token; this one did nothing."""
        self.committed_at: Timestamp | None = None
        """The timestamp of the versions that it wrote, once it is committed without a token."""

    async def begin(self) -> None:
        """Open it, on a connection that there is; whether the node took it is looked at later. Raises ClientError."""
        if not self._client.is_connected:
            await self._client.connect()
        self._connection = self._open(self._client._connection)
        self._number = self._note(self._beginning)

    async def get(self, key: str) -> Any:
        """The value that this transaction sees."""
        return decode_value(await self._call(ClientGet(key.encode(), self._number), is_read=True))

    async def get_many(self, keys: Sequence[str]) -> list[Any]:
        """The values that this transaction sees, in the order of the keys: one round trip for all of them."""
        return _values(await self._call(_get_many(keys, self._number), is_read=True))

    async def put(self, key: str, value: Any) -> None:
        """Write a key when the transaction commits."""
        self._note(ClientPut(key.encode(), encode_value(value), self._number))
        self._writes += 1

    async def delete(self, key: str) -> None:
        """Delete a key when the transaction commits."""
        self._note(ClientDelete(key.encode(), self._number))
        self._writes += 1

    async def scan(
        self, start: str = "", end: str = "", limit: int = 0, reverse: bool = False
    ) -> list[tuple[str, Any]]:
        """As `Client.scan`, inside the transaction."""
        operation = ClientScan(start.encode(), end.encode() if end else None, limit, reverse, self._number)
        return _pairs(await self._call(operation, is_read=True))

    async def commit(self) -> None:
        """Commit. Raises ClientError, definite unless the outcome is unknown. A transaction that wrote nothing is done
        when it has read, and asks nobody."""
        if self._writes:
            committing = CommitTransaction(self._number, self._writes, self.token, not self.token)
            found = await self._call(committing, is_read=False)
            self.was_committed_before = found is True
            self.committed_at = Timestamp(*found) if isinstance(found, list | tuple) else None
            self._forget()
        else:
            self._open(self._connection)
            self.abandon()

    def abandon(self) -> None:
        """Roll back without waiting for an answer: nothing was written anywhere."""
        if self._connection is not None and not self._connection.is_lost and self._number:
            self._note(RollbackTransaction(self._number))
            self._forget()

    def _note(self, operation: BeginTransaction | ClientPut | ClientDelete | RollbackTransaction) -> int:
        """The node only notes it, so nobody waits for an answer: the commit says how many there were."""
        noted = self._open(self._connection).note(operation, self._client._timeout_s)
        self._noted.append(noted)
        return noted.number

    def _forget(self) -> None:
        assert self._connection is not None
        self._connection.forget(self._noted)
        self._noted.clear()

    async def _call(self, operation: ClientOperation, is_read: bool) -> Any:
        """Every call but the commit is definite when it fails, since only the commit writes."""
        try:
            return await self._open(self._connection).call(operation, self._client._timeout_s, is_read)
        except ClientError as error:
            refused = [noted.error for noted in self._noted if noted.error is not None]
            if error.definite and refused:
                raise refused[0] from error
            raise

    @staticmethod
    def _open(connection: _Connection | None) -> _Connection:
        if connection is None:
            raise ClientError(True, "bad-request", "the transaction has not begun")
        if connection.is_lost:
            raise ClientError(True, "connection-lost", "the transaction's connection is gone, and so is it")
        return connection

    async def __aenter__(self) -> Transaction:
        await self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.commit()
        else:
            self.abandon()


class DirectClient:
    """A client that is connected to every node and sends single-key requests to the leader of the key's range.

    It learns ranges and leaders from `status`, at `connect` and after a refusal. Any node serves any key, so a wrong
    guess costs a hop, never an answer.
    """

    def __init__(self, addresses: Mapping[str, Address], timeout_s: float = 4.0) -> None:
        self._clients = {name: Client(address, timeout_s) for name, address in sorted(addresses.items())}
        self._directory: Directory | None = None

    async def connect(self) -> None:
        """Connect to all nodes and learn who leads what. Raises ClientError."""
        for client in self._clients.values():
            await client.connect()
        await self.refresh()

    async def refresh(self) -> None:
        """Learn ranges and leaders anew."""
        descriptors: dict[int, Descriptor] = {}
        leaders: dict[int, tuple[int, str]] = {}
        for client in self._clients.values():
            for one in (await client.status())["ranges"]:
                end = one["end"]
                descriptors[one["id"]] = Descriptor(
                    one["id"],
                    one["start"].encode(),
                    None if end is None else end.encode(),
                    tuple(one["replicas"]),
                )
                if one["leader"] is not None:
                    claim = (one["term"], one["leader"])
                    leaders[one["id"]] = max(leaders.get(one["id"], claim), claim)
        self._directory = Directory(list(descriptors.values()))
        for range_id, (_, leader) in sorted(leaders.items()):
            self._directory.learn_leader(range_id, leader)

    def node_of(self, key: str) -> Client:
        """The connection to the node that leads the key's range, as far as is known."""
        assert self._directory is not None, "connect first"
        return self._clients[self._directory.candidate(self._directory.find(key.encode()).id)]

    async def get(self, key: str) -> Any:
        """See `Client.get`."""
        return await self.node_of(key).get(key)

    async def put(self, key: str, value: Any) -> None:
        """See `Client.put`."""
        await self.node_of(key).put(key, value)

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        """See `Client.compare_and_set`."""
        return await self.node_of(key).compare_and_set(key, expected, new)

    def close_now(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.close_now()


def _addresses(given: Address | Sequence[Address]) -> list[Address]:
    match given:
        case (str() as host, int() as port):
            return [(host, port)]
        case _:
            return [(str(host), int(port)) for host, port in given]


def _get_many(
    keys: Sequence[str],
    transaction: int = 0,
    consistency: Consistency | None = None,
    max_staleness_ms: int = 0,
) -> ClientGetMany:
    return ClientGetMany(tuple(key.encode() for key in keys), transaction, consistency, max_staleness_ms)


def _consistency(name: str | None) -> Consistency | None:
    if name is None:
        return None
    found = CONSISTENCIES.get(name)
    if found is None:
        raise ValueError(f"a read cannot be {name!r}: it is one of {', '.join(CONSISTENCIES)}")
    return found


def _values(found: list[bytes | None]) -> list[Any]:
    return [decode_value(stored) for stored in found]


def _pairs(found: list[list[Any]]) -> list[tuple[str, Any]]:
    return [(key.decode(errors="backslashreplace"), decode_value(value)) for key, value in found]
