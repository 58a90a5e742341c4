"""Applying: the same commands give the same state on every replica, in memory as in the engine, after any crash."""

from __future__ import annotations

import itertools
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_db.api import Transaction, TransactionStatus
from reference_db.raft.messages import ConfState
from reference_db.storage import keys
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.range_snapshot import AppliedState, put_applied_state, read_applied_state
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.command import (
    Command,
    Mutation,
    PutIntent,
    PutRecord,
    PutVersion,
    RaiseThreshold,
    RememberReply,
    RemoveIntent,
    RemoveRecord,
    decode_command,
)
from reference_db.txn.locks import Intent
from reference_db.txn.record import TransactionRecord
from reference_db.txn.sessions import SessionReply
from reference_db.txn.state import RangeState


def random_commands(stream: random.Random, count: int) -> list[Command]:
    """Commands as evaluation makes them: a key's versions rise."""
    commands = []
    for at in range(1, count + 1):
        key = stream.choice([b"a", b"b", b"c\x00"])
        owner = Transaction(bytes([stream.randint(0, 3)]) * 16, stream.choice([b"a", b"b"]), ZERO, ZERO)
        mutation: Mutation
        match stream.randrange(5):
            case 0:
                mutation = PutVersion(key, Timestamp(at), stream.choice([None, b"", b"v%d" % at]))
            case 1:
                mutation = PutIntent(key, Intent(owner, Timestamp(at), b"i%d" % at, at))
            case 2:
                mutation = RemoveIntent(key)
            case 3:
                status = TransactionStatus(stream.randrange(3))
                # A transaction has one anchor for all its life.
                owner = Transaction(owner.id, b"a", ZERO, ZERO)
                mutation = PutRecord(TransactionRecord(owner, status, Timestamp(at), ZERO, (key,)))
            case _:
                mutation = RemoveRecord(b"a", owner.id)
        commands.append(Command(stream.choice([1, 1, 1, 2]), Timestamp(at), (mutation,)))
    return commands


def contents(engine: MemoryEngine) -> list[tuple[bytes, bytes]]:
    return list(engine.scan(b"", b"\xff"))


def in_memory(state: RangeState) -> tuple[object, ...]:
    return list(state.locks.items()), dict(sorted(state.records.items()))


@given(st.integers(0, 2**32), st.integers(0, 30))
def test_memory_mirrors_the_engine_and_replicas_agree(seed: int, count: int) -> None:
    commands = random_commands(random.Random(seed), count)
    one, two = MemoryEngine(), MemoryEngine()
    states = [RangeState(one, b"", None), RangeState(two, b"", None, remember=1)]
    together = WriteBatch()
    for command in commands:
        batch = WriteBatch()
        assert states[0].apply(command, 1, batch) == (command.term == 1)
        one.write(batch)
        states[1].apply(decode_command(command.encode()), 1, together)
    two.write(together)
    assert contents(one) == contents(two), "a batch a command, or one batch for all: the same"
    for state in states:
        assert in_memory(state) == in_memory(RangeState(one, b"", None))
    for key in (b"a", b"b", b"c\x00"):
        assert states[0].mvcc.newest(key) == states[1].mvcc.newest(key)


def session_id(who: int) -> bytes:
    return bytes([1 + who]) * keys.SESSION_ID_BYTES


def bookkeeping(stream: random.Random, some_keys: list[bytes], count: int, since: int = 0) -> list[Command]:
    """Thresholds that rise, and replies to sessions, of which the oldest are forgotten."""
    commands = []
    known: list[tuple[bytes, bytes]] = []
    rising = itertools.count(since, stream.randrange(1, 50))
    for _ in range(count):
        at = Timestamp(next(rising))
        mutation: Mutation
        if stream.random() < 0.4:
            mutation = RaiseThreshold(at)
        else:
            key, session = stream.choice(some_keys), session_id(stream.randrange(3))
            forgotten = (known.pop(0),) if known and stream.random() < 0.5 else ()
            known.append((key, session))
            mutation = RememberReply(key, session, SessionReply(1, at, None), forgotten)
        commands.append(Command(1, at, (mutation,)))
    return commands


@given(st.integers(0, 2**32))
def test_a_merge_and_what_follows_it_in_the_same_batch_leave_the_same_bytes(seed: int) -> None:
    """One replica has an entry a batch; another, which was behind, all in one: the neighbour is absorbed, the wide
    range goes on, and is cut again. What was absorbed has to count at once, and not when the batch is written."""
    stream = random.Random(seed)
    engines = MemoryEngine(), MemoryEngine()
    before = [
        (start, end, bookkeeping(stream, some, stream.randrange(6)))
        for start, end, some in ((b"", b"m", [b"a", b"k"]), (b"m", None, [b"m", b"x"]))
    ]
    after = bookkeeping(stream, [b"a", b"k", b"m", b"x"], stream.randrange(4), since=500)
    forgotten = tuple((key, session_id(who)) for key in (b"a", b"m", b"x") for who in range(3))
    last = RememberReply(b"k", session_id(0), SessionReply(9, Timestamp(1000), None), forgotten)
    after.append(Command(1, Timestamp(1000), (last,)))
    cut = stream.choice([b"c", b"m", b"p"])
    states = []
    for engine, is_behind in zip(engines, (False, True), strict=True):
        for start, end, commands in before:
            batch = WriteBatch()
            state = RangeState(engine, start, end)
            for command in commands:
                state.apply(command, 1, batch)
            engine.write(batch)
        state = RangeState(engine, b"", b"m")
        batch = WriteBatch()
        state.widen(b"m", None)
        for command in (*after, None):
            if command is None:
                state.narrow(cut, batch)
            else:
                state.apply(command, 1, batch)
            if not is_behind:
                engine.write(batch)
                batch = WriteBatch()
        engine.write(batch)
        states.append(state)
    assert contents(engines[0]) == contents(engines[1])
    for engine, state in zip(engines, states, strict=True):
        loaded = RangeState(engine, b"", cut)
        assert state.threshold == loaded.threshold
        assert replies(state) == replies(loaded)


def replies(state: RangeState) -> object:
    if state.sessions is None:
        return ZERO, ()
    return state.sessions.horizon, state.sessions.oldest(1000)


@given(st.integers(0, 2**32), st.integers(1, 25))
def test_after_a_crash_the_data_is_that_of_the_applied_index(seed: int, count: int) -> None:
    """1. Commands are applied with their index in the same batch; syncs come now and then. 2. The node crashes and
    keeps a random prefix of what wasn't synced. 3. What is there is exactly the state at the index that is there."""
    stream = random.Random(seed)
    commands = random_commands(stream, count)
    engine = MemoryEngine()
    state = RangeState(engine, b"", None)
    index = 0
    while index < count:
        batch = WriteBatch()
        for _ in range(min(stream.randint(1, 3), count - index)):
            state.apply(commands[index], 1, batch)
            index += 1
        put_applied_state(batch, 1, AppliedState(index, 1, ConfState((1,))))
        engine.write(batch)
        if stream.random() < 0.3:
            engine.sync()
    engine.crash(stream)
    applied = read_applied_state(engine, 1) or AppliedState()
    expected = MemoryEngine()
    replayed = RangeState(expected, b"", None)
    batch = WriteBatch()
    for command in commands[: applied.index]:
        replayed.apply(command, 1, batch)
    expected.write(batch)
    ours = [pair for pair in contents(engine) if pair[0] != keys.applied_key(1)]
    assert ours == contents(expected)
    restarted = RangeState(engine, b"", None)
    assert in_memory(restarted) == in_memory(replayed)
    batch = WriteBatch()
    for command in commands[applied.index :]:
        restarted.apply(command, 1, batch)
    engine.write(batch)
    assert in_memory(restarted) == in_memory(state)


def test_a_range_loads_only_its_own() -> None:
    engine = MemoryEngine()
    whole = RangeState(engine, b"", None)
    owners = [Transaction(bytes([n]) * 16, key, ZERO, ZERO) for n, key in enumerate((b"a", b"m", b"z"))]
    batch = WriteBatch()
    for owner in owners:
        mutations = (
            PutIntent(owner.anchor, Intent(owner, ZERO, b"v")),
            PutRecord(TransactionRecord(owner, TransactionStatus.PENDING)),
        )
        whole.apply(Command(1, ZERO, mutations), 1, batch)
    engine.write(batch)
    part = RangeState(engine, b"b", b"z")
    assert [key for key, _ in part.locks.items()] == [b"m"]
    assert list(part.records) == [owners[1].id]
    assert part.contains(b"b")
    assert not part.contains(b"z")
    assert part.contains_span(b"b", b"z")
    assert not part.contains_span(b"b", None)
    assert not part.contains_span(b"a", b"c")


@given(st.binary(max_size=80))
def test_garbage_is_no_command(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_command(data)
