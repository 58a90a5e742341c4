"""The calls with an effect that a session may offer, and how to see through another session whether one has happened.

Every call is made on a fresh key, so that what is seen is its own effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from workloads.session import (
    COMPARE_AND_SET,
    COUNTER,
    KEY_VALUE,
    LOCK,
    LOG,
    QUEUE,
    TRANSACTIONS,
    Poll,
    Send,
)

VALUE: Final = "conformance"


async def nothing(session: Any, key: str) -> None:
    """Needs no preparation."""


@dataclass(frozen=True)
class Call:
    """One call. All three take a session and a key."""

    name: str
    interface: str
    act: Callable[[Any, str], Awaitable[Any]]
    seen: Callable[[Any, str], Awaitable[bool]]
    """Whether it has happened."""
    prepare: Callable[[Any, str], Awaitable[None]] = nothing
    claims: Callable[[Any], bool] = lambda answer: True
    """Whether an answer says that it has happened."""


async def _put(session: Any, key: str) -> None:
    await session.put(key, VALUE)


async def _is_there(session: Any, key: str) -> bool:
    return bool(await session.get(key) == VALUE)


async def _delete(session: Any, key: str) -> None:
    await session.delete(key)


async def _is_gone(session: Any, key: str) -> bool:
    return await session.get(key) is None


async def _create(session: Any, key: str) -> Any:
    return await session.compare_and_set(key, None, VALUE)


async def _replace(session: Any, key: str) -> Any:
    return await session.compare_and_set(key, "before", VALUE)


async def _put_before(session: Any, key: str) -> None:
    await session.put(key, "before")


async def _transact(session: Any, key: str) -> None:
    async with session.transaction() as transaction:
        await transaction.get(key)
        await transaction.put(key, VALUE)
        await transaction.put(key + "/2", VALUE)


async def _both_are_there(session: Any, key: str) -> bool:
    async with session.transaction() as transaction:
        found = [bool(await transaction.get(one) == VALUE) for one in (key, key + "/2")]
    assert found[0] == found[1], f"a transaction wrote two keys, and of {key} only one is there: {found}"
    return found[0]


async def _add(session: Any, key: str) -> None:
    await session.add(key, 1)


async def _is_one(session: Any, key: str) -> bool:
    return bool(await session.count(key) == 1)


async def _enqueue(session: Any, key: str) -> None:
    await session.enqueue(key, VALUE)


async def _is_dequeued(session: Any, key: str) -> bool:
    return bool(await session.dequeue(key) == VALUE)


async def _send(session: Any, key: str) -> Any:
    return await session.exchange([Send(key, VALUE)])


async def _is_polled(session: Any, key: str) -> bool:
    (entries,) = await session.exchange([Poll(key, 0, 10)])
    return any(value == VALUE for _, value in entries)


async def _acquire(session: Any, key: str) -> Any:
    return await session.acquire(key)


async def _is_held(session: Any, key: str) -> bool:
    token = await session.acquire(key)
    if token is not None:
        await session.release(key, token)
    return token is None


def _is_true(answer: Any) -> bool:
    return answer is True


CALLS: Final = (
    Call("put", KEY_VALUE, _put, _is_there),
    Call("delete", KEY_VALUE, _delete, _is_gone, prepare=_put),
    Call("compare-and-set of nothing", COMPARE_AND_SET, _create, _is_there, claims=_is_true),
    Call("compare-and-set", COMPARE_AND_SET, _replace, _is_there, prepare=_put_before, claims=_is_true),
    Call("transaction", TRANSACTIONS, _transact, _both_are_there),
    Call("add", COUNTER, _add, _is_one),
    Call("enqueue", QUEUE, _enqueue, _is_dequeued),
    Call("send", LOG, _send, _is_polled),
    Call("acquire", LOCK, _acquire, _is_held, claims=lambda answer: answer is not None),
)
