"""A range's snapshot: encode, decode, install elsewhere, and the state is equal, whatever it was."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_db.api import Transaction, TransactionStatus
from reference_db.raft.messages import ConfState
from reference_db.storage import keys
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.range_snapshot import (
    AppliedState,
    decode_range_snapshot,
    install_snapshot,
    put_applied_state,
    read_applied_state,
    take_snapshot,
)
from reference_db.timestamp import ZERO, Timestamp
from reference_db.txn.command import Command, Mutation, PutIntent, PutRecord, PutVersion
from reference_db.txn.locks import Intent
from reference_db.txn.record import TransactionRecord
from reference_db.txn.state import RangeState

user_keys = st.binary(min_size=1, max_size=3)
times = st.integers(1, 2**40).map(Timestamp)
transactions = st.builds(Transaction, st.binary(min_size=16, max_size=16), user_keys, times, times)
intents = st.builds(Intent, transactions, times, st.none() | st.binary(max_size=5), st.integers(0, 5))
records = st.builds(
    TransactionRecord,
    transactions,
    st.sampled_from(list(TransactionStatus)[:3]),
    times,
    times,
    st.lists(user_keys, max_size=3).map(tuple),
)


def filled(
    versions: dict[bytes, list[bytes | None]], locks: dict[bytes, Intent], kept: list[TransactionRecord]
) -> MemoryEngine:
    engine = MemoryEngine()
    state = RangeState(engine, b"", None)
    mutations: tuple[Mutation, ...] = (
        *(
            PutVersion(key, Timestamp(at), value)
            for key, values in versions.items()
            for at, value in enumerate(values, 1)
        ),
        *(PutIntent(key, intent) for key, intent in locks.items()),
        *(PutRecord(record) for record in kept),
    )
    batch = WriteBatch()
    assert state.apply(Command(1, ZERO, mutations), 1, batch)
    batch.put(keys.descriptor_key(1), b"the descriptor")
    engine.write(batch)
    return engine


def content(engine: MemoryEngine, start: bytes, end: bytes | None) -> tuple[object, ...]:
    state = RangeState(engine, start, end)
    pairs = [
        list(engine.scan(*keys.span(kind, start, end))) for kind in (keys.VERSION, keys.LOCK, keys.RECORD)
    ]
    return pairs, list(state.locks.items()), state.records


@given(
    st.dictionaries(
        user_keys, st.lists(st.none() | st.binary(max_size=5), min_size=1, max_size=3), max_size=5
    ),
    st.dictionaries(user_keys, intents, max_size=4),
    st.lists(records, max_size=3, unique_by=lambda record: record.transaction.id),
    user_keys,
    st.none() | user_keys,
)
def test_encode_decode_install_is_equal_and_leaves_the_neighbours(
    versions: dict[bytes, list[bytes | None]],
    locks: dict[bytes, Intent],
    kept: list[TransactionRecord],
    start: bytes,
    end: bytes | None,
) -> None:
    if end is not None and end < start:
        start, end = end, start
    source = filled(versions, locks, kept)
    snapshot = take_snapshot(source, 1, start, end)
    received = decode_range_snapshot(snapshot.encode())
    assert received == snapshot

    old = Intent(Transaction(b"o" * 16, b"old", ZERO, ZERO), ZERO, b"old")
    target = filled({b"\x00old": [b"1"], b"mm": [b"1", None], b"\xff\xffold": [b"2"]}, {b"mm": old}, [])
    before = RangeState(target, b"", None)
    outside = [key for key, _ in before.mvcc.scan(b"", None).pairs if key < start or (end and key >= end)]
    batch = WriteBatch()
    install_snapshot(batch, received)
    target.write(batch)
    assert content(target, start, end) == content(source, start, end)
    assert target.get(keys.descriptor_key(1)) == b"the descriptor"
    after = RangeState(target, b"", None)
    assert [
        key for key, _ in after.mvcc.scan(b"", None).pairs if key < start or (end and key >= end)
    ] == outside


@given(st.binary(max_size=60))
def test_garbage_is_refused_before_anything_is_changed(data: bytes) -> None:
    try:
        decode_range_snapshot(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    pytest.fail(f"{data!r} was taken for a snapshot")


def test_the_applied_state_comes_back() -> None:
    engine = MemoryEngine()
    assert read_applied_state(engine, 1) is None
    batch = WriteBatch()
    applied = AppliedState(9, 3, ConfState((1, 2), (3,), (1,), (), True))
    put_applied_state(batch, 1, applied)
    engine.write(batch)
    assert read_applied_state(engine, 1) == applied
