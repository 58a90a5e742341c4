"""Types built on transactions answer what a type of the system's own answers, and are refused with the commit."""

import asyncio
import random
from typing import Any

import pytest

from harness.systems.in_memory.database import InMemoryDatabase
from workloads import on_transactions
from workloads.session import (
    COUNTER,
    INTERFACES,
    LOCK,
    LOG,
    QUEUE,
    TRANSACTIONS,
    UNIQUE_IDS,
    Definite,
    Poll,
    Send,
)


async def story(session: Any) -> list[Any]:
    """A bit of everything."""
    counter, queue = on_transactions.counter(session), on_transactions.queue(session)
    log, lock = on_transactions.log(session), on_transactions.lock(session)
    answers: list[Any] = [await counter.count("c")]
    await counter.add("c", 5)
    await counter.add("c", -2)
    answers += [await counter.count("c"), await counter.count("d")]
    answers.append(await queue.dequeue("q"))
    for element in (3, 1, 2):
        await queue.enqueue("q", element)
    answers += [await queue.dequeue("q") for _ in range(4)]
    answers.append(await log.exchange([Send("l", 5), Poll("l", 0, 9), Send("m", 6), Send("l", 7)]))
    answers += [await log.exchange([Poll("l", 1, 1)]), await log.end("l"), await log.end("x")]
    answers += [await lock.acquire("k"), await lock.acquire("k"), await lock.release("k", 9)]
    answers += [await lock.release("k", 1), await lock.release("k", 1), await lock.acquire("k")]
    ids = on_transactions.unique_ids(session)
    answers.append([await ids.generate_id() for _ in range(3)])
    return answers


def test_built_types_answer_what_native_ones_answer() -> None:
    async def run(interfaces: frozenset[str]) -> list[Any]:
        database = InMemoryDatabase(random.Random(1), interfaces=interfaces)
        return await story(await database.open_session("n1"))

    native, built = asyncio.run(run(frozenset(INTERFACES))), asyncio.run(run(frozenset({TRANSACTIONS})))
    assert built == native
    assert native[:8] == [0, 3, 0, None, 3, 1, 2, None]


@pytest.mark.parametrize("built", [on_transactions.counter, on_transactions.unique_ids, on_transactions.lock])
def test_a_native_type_is_used_where_there_is_one(built: Any) -> None:
    async def run() -> None:
        native = await InMemoryDatabase(random.Random(1)).open_session("n1")
        assert built(native) is native
        database = InMemoryDatabase(random.Random(1), interfaces=frozenset({TRANSACTIONS}))
        assert isinstance(built(await database.open_session("n1")), on_transactions.OnTransactions)

    asyncio.run(run())


def test_what_is_built_needs_transactions() -> None:
    built = {COUNTER, QUEUE, LOG, LOCK, UNIQUE_IDS}
    assert on_transactions.with_built_types(frozenset({TRANSACTIONS})) == built | {TRANSACTIONS}
    assert on_transactions.with_built_types(frozenset({"key-value"})) == {"key-value"}


def test_a_conflict_is_a_refusal_and_changes_nothing() -> None:
    """Two add at the same time: one commits, the other is refused; nothing is counted twice."""

    async def run() -> None:
        database = InMemoryDatabase(random.Random(3), interfaces=frozenset({TRANSACTIONS}))
        sessions = [await database.open_session("n1") for _ in range(5)]
        counters = [on_transactions.counter(session) for session in sessions]
        ends = await asyncio.gather(*(one.add("c", 1) for one in counters), return_exceptions=True)
        refused = [end for end in ends if end is not None]
        assert refused
        assert all(isinstance(end, Definite) and end.kind == "conflict" for end in refused)
        assert await counters[0].count("c") == len(ends) - len(refused)

    asyncio.run(run())
