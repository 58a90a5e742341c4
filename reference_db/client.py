"""The client: requests over one connection, and errors that say whether the request certainly did not happen.

Keys are text. Values are whatever msgpack can carry (None, booleans, numbers, text, lists, maps); two values are the
same if their encodings are. Calls may be made concurrently on one connection; a lost connection is made anew by the
next call, and what was under way on it ends as *may have happened*. Nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, cast

import msgspec

from reference_db.api import (
    Ambiguous,
    BadRequest,
    BeginTransaction,
    ClientCompareAndSet,
    ClientDelete,
    ClientGet,
    ClientGetMany,
    ClientMerge,
    ClientOperation,
    ClientPut,
    ClientReply,
    ClientRequest,
    ClientScan,
    ClientSplit,
    CommitTransaction,
    Consistency,
    NotLeader,
    Overloaded,
    ReplicaState,
    ReplicaStates,
    RollbackTransaction,
    Status,
    TimedOut,
    TransactionAborted,
    TransactionRetry,
    Unavailable,
)
from reference_db.api import ClientError as Refusal
from reference_db.codec import FrameDecoder, FrameError, encode_frame
from reference_db.gateway.directory import Directory
from reference_db.ranges.descriptor import Descriptor
from reference_db.timestamp import ZERO, Timestamp

Address = tuple[str, int]

GRACE_S = 0.5
"""How much longer than the node a client waits before it gives up on an answer."""
SWEEP_S = 0.05
"""How often deadlines are looked at, at most."""

_KINDS: dict[type, str] = {
    Ambiguous: "ambiguous",
    BadRequest: "bad-request",
    NotLeader: "not-leader",
    Overloaded: "overloaded",
    TimedOut: "timeout",
    TransactionAborted: "aborted",
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
    hyphens (conflict, timeout, connection-lost, ...), `text` is for people."""

    def __init__(self, definite: bool, kind: str, text: str, priority: Timestamp = ZERO) -> None:
        super().__init__(f"{kind}: {text}")
        self.definite = definite
        self.kind = kind
        self.text = text
        self.priority = priority
        """After a conflict: what to begin the next attempt with, so that it grows older."""


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

    def call(self, operation: ClientOperation, timeout_s: float, is_read: bool) -> asyncio.Future[Any]:
        """Send one request; requests of one loop turn leave in one write."""
        self._put(operation, timeout_s, quiet=False)
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

    def _put(self, operation: ClientOperation, timeout_s: float, *, quiet: bool) -> int:
        if self._transport is None:
            raise ClientError(True, "refused", "there is no connection")
        number = self._last_id = self._last_id + 1
        try:
            frame = encode_frame(ClientRequest(number, operation, int(timeout_s * 1000), quiet))
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
    return ClientError(error.definite or is_read, _KINDS[type(error)], text, priority)


class Client:
    """A client of one node, or of the first of several that can be reached."""

    def __init__(self, address: Address | Sequence[Address], timeout_s: float = 4.0) -> None:
        """`timeout_s` is how long the node may take for a call; the client waits a little longer."""
        self._addresses = _addresses(address)
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
            loop = asyncio.get_running_loop()
            for host, port in self._addresses:
                try:
                    async with asyncio.timeout(self._timeout_s):
                        _, self._connection = await loop.create_connection(_Connection, host, port)
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

    async def call(self, operation: ClientOperation, is_read: bool = False) -> Any:
        """One request, whatever it is. Connects first if need be."""
        if not self.is_connected:
            await self.connect()
        assert self._connection is not None
        return await self._connection.call(operation, self._timeout_s, is_read)

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

    def transaction(self, priority: Timestamp = ZERO) -> Transaction:
        """A transaction: `async with client.transaction() as t:` commits at the end of the block, rolls back where it
        raises. `priority` is that of the `ClientError` of an earlier attempt."""
        return Transaction(self, priority)

    async def status(self) -> dict[str, Any]:
        """What the node says about itself: `node`, `clock_ns` (its wall clock), `monotonic`, `ranges` (a list of
        {id, start, end, leader, role, term, commit, applied, ...}; leaders are node names), `counters`."""
        status = await self.call(Status(), is_read=True)
        assert isinstance(status, dict), f"a status is a map, got {status!r}"
        return status

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

    async def replica_states(self, *, digests: bool = False) -> list[ReplicaState]:
        """What the node's replicas hold; with digests it reads all its data for it. Raises ClientError."""
        return msgspec.convert(await self.call(ReplicaStates(digests), is_read=True), type=list[ReplicaState])


class RangeSeen(NamedTuple):
    """A range as it came of a change."""

    id: int
    start: bytes
    end: bytes | None
    generation: int

    def __str__(self) -> str:
        end = "end" if self.end is None else repr(self.end)[1:]
        return f"{self.id} [{repr(self.start)[1:]}, {end}) generation {self.generation}"


class Transaction:
    """One interactive transaction. Reads see its own writes; nothing is written anywhere before the commit."""

    def __init__(self, client: Client, priority: Timestamp = ZERO) -> None:
        self._client = client
        self._priority = priority
        self._number = 0
        self._connection: _Connection | None = None
        self._noted: list[_Noted] = []
        """That it began, and its writes: whether they were refused is looked at when something else is."""
        self._writes = 0
        """How many were sent."""

    async def begin(self) -> None:
        """Open it, on a connection that there is; whether the node took it is looked at later. Raises ClientError."""
        if not self._client.is_connected:
            await self._client.connect()
        self._connection = self._open(self._client._connection)
        self._number = self._note(BeginTransaction(self._priority))

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
            await self._call(CommitTransaction(self._number, self._writes), is_read=False)
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
