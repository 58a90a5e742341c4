"""All items or none in one request, as DynamoDB's TransactWriteItems: conditions, updates, tokens against duplicates.

The node that a client asks runs it as a transaction of its own: it reads what items ask about, looks at the conditions,
writes, and commits; told to retry it begins anew, which is safe, since what is told so has not committed.

A token is a key of the system's (`b"\\x00token/" + token`) that the same transaction writes: a digest of the items, and
what was answered. Whoever comes with the token again reads it inside of a transaction, so of two at the same time one
meets the other's intent, or finds at its commit that what it has read was changed. A request that was cancelled leaves
no token. Tokens are forgotten by the leader of their range (`TokenKeeper`), which has seen one stand for as long as it
must be remembered, by its own monotonic clock: a clock that jumps forgets nothing, and a new leader counts anew. They
are remembered for at least that long; nothing is promised of how much longer.

Write units are counted as DynamoDB does: two for an item and each begun KiB of its key and value, since it is written
twice, provisionally and for good; checks count like writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from reference_db.api import (
    MAX_WRITE_BYTES,
    SYSTEM_END,
    TOKEN_BYTES_MOST,
    TRANSACT_ITEMS_MOST,
    BadRequest,
    ClientTransactWrite,
    CompareAndSet,
    Isolation,
    ItemAction,
    ItemCondition,
    Key,
    TimedOut,
    TransactionCancelled,
    TransactionRetry,
    TransactItem,
    Value,
    ValueResult,
)
from reference_db.gateway.coordinator import Coordinator
from reference_db.gateway.open_transaction import Failed, OpenTransaction
from reference_db.gateway.router import ATTEMPT_S, Router
from reference_db.timestamp import ZERO
from reference_db.trace import Trace
from reference_db.txn.state import RangeState

TOKENS = b"\x00token/"
TOKENS_END = b"\x00token0"
"""The character after a slash: all tokens lie before it."""
UNIT_BYTES = 1024
UNITS_AN_ITEM = 2
ATTEMPTS_MOST = 50
TOKEN_LOOK_S = 15.0
"""How often a leader looks whether tokens may be forgotten, at most."""
FORGOTTEN_AT_ONCE = 100

INTERACTIVE = b"interactive"
"""In place of a digest: what an interactive transaction does may differ from attempt to attempt."""

NONE, CONDITION_FAILED, VALIDATION = "none", "condition-failed", "validation"

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder()


class TokenRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The value of a token's key."""

    digest: bytes
    """Of the items that it came with."""
    write_units: int
    transaction_id: bytes
    """So that no two are the same: the keeper removes just the one that it has seen for so long."""


_TOKEN_DECODER = msgspec.msgpack.Decoder(TokenRecord)


def why_refused(request: ClientTransactWrite) -> str | None:
    """The rule that a request breaks; None if it may be tried."""
    if not 1 <= len(request.items) <= TRANSACT_ITEMS_MOST:
        return f"transact_write takes 1 to {TRANSACT_ITEMS_MOST} items, got {len(request.items)}"
    if len(request.token) > TOKEN_BYTES_MOST:
        return f"a token has {TOKEN_BYTES_MOST} bytes at the most, got {len(request.token)}"
    seen: dict[Key, int] = {}
    size = 0
    for place, item in enumerate(request.items):
        if item.key < SYSTEM_END:
            return f"key {item.key!r} is the system's: keys of clients begin at {SYSTEM_END!r}"
        if item.key in seen:
            return f"items {seen[item.key]} and {place} are for the same key {item.key!r}; name each key once"
        seen[item.key] = place
        if item.action in (ItemAction.PUT, ItemAction.UPDATE) and item.value is None:
            return f"item {place}: {item.action.name} of {item.key!r} needs a value; DELETE removes a key"
        if item.action is ItemAction.CHECK and item.condition is ItemCondition.NONE:
            return f"item {place}: a CHECK of {item.key!r} needs a condition"
        size += len(item.key) + len(item.value or b"") + len(item.expected or b"")
    if size > MAX_WRITE_BYTES:
        return (
            f"keys and values of {size} bytes, the limit of a request is {MAX_WRITE_BYTES}; send smaller ones"
        )
    return None


def write_units(items: Iterable[TransactItem]) -> int:
    """What a request costs."""
    return sum(
        UNITS_AN_ITEM * max(1, -(-(len(item.key) + len(item.value or b"")) // UNIT_BYTES)) for item in items
    )


def holds(item: TransactItem, found: ValueResult) -> bool:
    """Whether an item's condition is true of what its key is."""
    match item.condition:
        case ItemCondition.NONE:
            return True
        case ItemCondition.EXISTS:
            return found.value is not None
        case ItemCondition.NOT_EXISTS:
            return found.value is None
        case ItemCondition.EQUALS:
            return found.value == item.expected
        case ItemCondition.VERSION:
            return found.timestamp == item.version


def updated(current: Value | None, operand: Value) -> Value | None:
    """What an update makes of a value; None if it cannot."""
    try:
        added = _DECODER.decode(operand)
        before = None if current is None else _DECODER.decode(current)
    except msgspec.DecodeError:
        return None
    if isinstance(added, list):
        if before is None:
            before = []
        return _ENCODER.encode(before + added) if isinstance(before, list) else None
    if not _is_number(added):
        return None
    if before is None:
        before = 0
    if not _is_number(before):
        return None
    try:
        return _ENCODER.encode(before + added)
    except OverflowError:  # Beyond 64 bits.
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class TransactWriter:
    """The requests of one node's clients."""

    def __init__(self, coordinator: Coordinator, router: Router, trace: Trace | None = None) -> None:
        self._coordinator = coordinator
        self._router = router
        self._trace = trace

    async def write(self, request: ClientTransactWrite, deadline: float) -> tuple[int, bool]:
        """Write units, and whether an earlier request with the same token had done it already. Raises Failed."""
        refusal = why_refused(request)
        if refusal is not None:
            raise Failed(BadRequest(refusal))
        priority = ZERO
        for _ in range(ATTEMPTS_MOST):
            open_one = self._coordinator.begin(priority, isolation=Isolation.SERIALIZABLE)
            priority = open_one.priority
            try:
                return await self._attempt(request, open_one, deadline)
            except Failed as failed:
                if not isinstance(failed.error, TransactionRetry) or self._router.now() >= deadline:
                    raise
        raise Failed(TimedOut(f"its keys were changed {ATTEMPTS_MOST} times in the midst of it"))

    async def commit_once(self, open_one: OpenTransaction, token: bytes, deadline: float) -> bool | None:
        """Commit an interactive transaction, unless one with its token has committed before: then True. Raises
        Failed."""
        if len(token) > TOKEN_BYTES_MOST:
            open_one.over = True
            raise Failed(BadRequest(f"a token has {TOKEN_BYTES_MOST} bytes at the most, got {len(token)}"))
        key = TOKENS + token
        found = await self._coordinator.get_versions(open_one, [key], deadline)
        if found[key].value is not None:
            self._coordinator.rollback(open_one)
            if self._trace is not None:
                self._trace.mark("a token was met again")
            return True
        open_one.writes[key] = _ENCODER.encode(TokenRecord(INTERACTIVE, 0, open_one.id))
        await self._coordinator.commit(open_one, deadline)
        return None

    async def version(self, key: Key, deadline: float) -> list[Any]:
        """What `ClientGetVersion` is answered with. Raises Failed."""

        async def read(open_one: OpenTransaction) -> ValueResult:
            return (await self._coordinator.get_versions(open_one, [key], deadline))[key]

        found: ValueResult = await self._coordinator.run_read_only(read, deadline)
        return [found.value, found.timestamp.wall_ns, found.timestamp.logical]

    async def _attempt(
        self, request: ClientTransactWrite, open_one: OpenTransaction, deadline: float
    ) -> tuple[int, bool]:
        asked = [item.key for item in request.items if _looks(item)]
        token_key = TOKENS + request.token if request.token else None
        found: Mapping[Key, ValueResult] = {}
        if asked or token_key is not None:
            wanted = asked if token_key is None else [token_key, *asked]
            found = await self._coordinator.get_versions(open_one, wanted, deadline)
        if token_key is not None:
            earlier = found[token_key].value
            if earlier is not None:
                self._coordinator.rollback(open_one)
                return self._replay(request, _TOKEN_DECODER.decode(earlier))
        reasons = []
        for item in request.items:
            current = found.get(item.key, _UNKNOWN)
            if not holds(item, current):
                reasons.append(CONDITION_FAILED)
                continue
            match item.action:
                case ItemAction.PUT:
                    self._coordinator.put(open_one, item.key, item.value)
                case ItemAction.DELETE:
                    self._coordinator.put(open_one, item.key, None)
                case ItemAction.UPDATE:
                    assert item.value is not None, f"an update without a value passed the validation: {item}"
                    value = updated(current.value, item.value)
                    if value is None:
                        reasons.append(VALIDATION)
                        continue
                    self._coordinator.put(open_one, item.key, value)
            reasons.append(NONE)
        if any(why != NONE for why in reasons):
            self._coordinator.rollback(open_one)
            raise Failed(TransactionCancelled(tuple(reasons)))
        units = write_units(request.items)
        if token_key is not None:
            record = TokenRecord(digest_of(request), units, open_one.id)
            # Past `put`, which keeps clients away from the system's keys.
            open_one.writes[token_key] = _ENCODER.encode(record)
            open_one.puts += 1
        await self._coordinator.commit(open_one, deadline)
        return units, False

    def _replay(self, request: ClientTransactWrite, record: TokenRecord) -> tuple[int, bool]:
        if record.digest != digest_of(request):
            raise Failed(
                BadRequest(
                    f"token {request.token!r} came with other items before; take a new token for a new request"
                )
            )
        if self._trace is not None:
            self._trace.mark("a token was met again")
        return record.write_units, True


class TokenKeeper:
    """Forgets the tokens of the ranges that one node leads."""

    def __init__(
        self, router: Router, monotonic_ns: Callable[[], int], token_ms: int, trace: Trace | None = None
    ) -> None:
        self._router = router
        self._monotonic_ns = monotonic_ns
        self._token_ns = token_ms * 1_000_000
        self._trace = trace
        self._seen: dict[tuple[int, int, bytes], tuple[bytes, int]] = {}
        """By range, term and key: the value, and when this leader first saw it; monotonic ns."""

    @property
    def look_s(self) -> float:
        """How often to look."""
        return min(TOKEN_LOOK_S, self._token_ns / 4e9)

    async def look(self, led: Iterable[tuple[int, RangeState, int]]) -> None:
        """One look at (range id, state, term) of the ranges that this node leads."""
        now = self._monotonic_ns()
        seen: dict[tuple[int, int, bytes], tuple[bytes, int]] = {}
        old: list[tuple[bytes, bytes]] = []
        for range_id, state, term in led:
            if (state.end is not None and state.end <= TOKENS) or state.start >= TOKENS_END:
                continue
            start, end = max(state.start, TOKENS), TOKENS_END
            if state.end is not None:
                end = min(end, state.end)
            for key, value in state.mvcc.scan(start, end).pairs:
                place = (range_id, term, key)
                standing = self._seen.get(place)
                if standing is None or standing[0] != value:
                    standing = (value, now)
                seen[place] = standing
                if now - standing[1] > self._token_ns:
                    old.append((key, value))
        self._seen = seen
        for key, value in old[:FORGOTTEN_AT_ONCE]:
            if self._trace is not None:
                self._trace.mark("a token was forgotten")
            deadline = self._router.now() + ATTEMPT_S
            await self._router.send((CompareAndSet(key, value, None),), deadline, repeatable=False)


def digest_of(request: ClientTransactWrite) -> bytes:
    """What the items of two requests with one token must have in common."""
    return hashlib.sha256(_ENCODER.encode(request.items)).digest()[:16]


def _looks(item: TransactItem) -> bool:
    return item.condition is not ItemCondition.NONE or item.action is ItemAction.UPDATE


_UNKNOWN = ValueResult(None)
