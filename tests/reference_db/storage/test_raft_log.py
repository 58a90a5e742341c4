"""The Raft log on an engine: it answers as Raft's own store does, and a crash leaves it whole."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_db.raft.log_store import Compacted, MemoryLogStore, SnapshotUnavailable, Unavailable
from reference_db.raft.messages import ENTRY_OVERHEAD_BYTES, ConfState, Entry, EntryKind, HardState, Snapshot
from reference_db.storage import keys
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.raft_log import RaftLog, bootstrap_range
from reference_db.storage.range_snapshot import AppliedState, put_applied_state, take_snapshot

RANGE = 7


def opened(engine: MemoryEngine, cache_bytes: int = 4 << 20) -> RaftLog:
    return RaftLog(engine, RANGE, cache_bytes)


def new_log(cache_bytes: int = 4 << 20) -> tuple[MemoryEngine, RaftLog]:
    engine = MemoryEngine()
    batch = WriteBatch()
    bootstrap_range(batch, RANGE, b"descriptor", [3, 1, 2])
    engine.write(batch)
    engine.sync()
    return engine, opened(engine, cache_bytes)


def whole(engine: MemoryEngine, log: RaftLog) -> Snapshot:
    """A snapshot with all data in it."""
    data = take_snapshot(engine, RANGE, b"", None).encode()
    return msgspec.structs.replace(log.snapshot(), data=data)


def append(engine: MemoryEngine, log: RaftLog, *terms_and_indexes: tuple[int, int]) -> None:
    batch = WriteBatch()
    log.append(batch, [Entry(term, index, b"%d" % index) for term, index in terms_and_indexes])
    engine.write(batch)


def shape(log: RaftLog) -> list[tuple[int, int]]:
    if log.last_index() < log.first_index():
        return []
    return [(e.term, e.index) for e in log.entries(log.first_index(), log.last_index() + 1, 1 << 30)]


def test_a_new_range_is_empty_and_knows_its_members() -> None:
    _, log = new_log()
    assert log.initial_state() == (HardState(), ConfState(voters=(1, 2, 3)))
    assert (log.first_index(), log.last_index(), log.term(0)) == (1, 0, 0)
    with pytest.raises(SnapshotUnavailable):
        log.snapshot()


def test_a_range_that_isnt_there_is_refused() -> None:
    with pytest.raises(ValueError, match="range 7 isn't in this engine"):
        opened(MemoryEngine())


def test_what_was_written_is_there_after_a_restart() -> None:
    engine, log = new_log()
    append(engine, log, (1, 1), (1, 2), (2, 3))
    batch = WriteBatch()
    log.set_hard_state(batch, HardState(2, 3, 1))
    engine.write(batch)
    engine.sync()
    engine.crash()
    again = opened(engine)
    assert shape(again) == [(1, 1), (1, 2), (2, 3)]
    assert again.hard_state == HardState(2, 3, 1)


def test_an_unsynced_append_is_gone_after_a_crash() -> None:
    engine, log = new_log()
    append(engine, log, (1, 1))
    engine.sync()
    append(engine, log, (1, 2))
    assert log.last_index() == 2, "readable before it is durable"
    engine.crash()
    assert shape(opened(engine)) == [(1, 1)]


def test_a_conflict_replaces_the_tail() -> None:
    engine, log = new_log()
    append(engine, log, (1, 1), (1, 2), (1, 3), (1, 4))
    append(engine, log, (2, 2), (2, 3))
    for one in (log, opened(engine)):
        assert shape(one) == [(1, 1), (2, 2), (2, 3)]
        with pytest.raises(Unavailable):
            one.term(4)


def test_compaction_keeps_the_term_before_the_first_entry() -> None:
    engine, log = new_log()
    append(engine, log, (1, 1), (1, 2), (3, 3), (3, 4))
    batch = WriteBatch()
    log.compact(batch, 3)
    engine.write(batch)
    for one in (log, opened(engine)):
        assert (one.first_index(), one.last_index(), one.term(3)) == (4, 4, 3)
        assert shape(one) == [(3, 4)]
        with pytest.raises(Compacted):
            one.term(2)
        with pytest.raises(Compacted):
            one.entries(3, 5, 1000)
    with pytest.raises(Compacted):
        log.compact(WriteBatch(), 3)
    with pytest.raises(Unavailable):
        log.compact(WriteBatch(), 9)


def test_everything_may_be_compacted_and_the_log_goes_on() -> None:
    engine, log = new_log()
    append(engine, log, (1, 1), (2, 2))
    batch = WriteBatch()
    log.compact(batch, 2)
    engine.write(batch)
    append(engine, log, (2, 3))
    for one in (log, opened(engine)):
        assert (one.first_index(), one.last_index(), one.term(2), one.term(3)) == (3, 3, 2, 2)
    assert len(list(engine.scan(*keys.log_span(RANGE)))) == 1


def test_a_gap_breaks_an_invariant() -> None:
    _, log = new_log()
    with pytest.raises(AssertionError, match="gap, last entry 0, append at 2"):
        log.append(WriteBatch(), [Entry(1, 2)])
    log.set_hard_state(WriteBatch(), HardState(5, 1, 0))
    with pytest.raises(AssertionError, match="hard state goes back"):
        log.set_hard_state(WriteBatch(), HardState(4, 1, 0))


def test_old_entries_leave_memory_but_not_the_log() -> None:
    engine, log = new_log(cache_bytes=20 * (ENTRY_OVERHEAD_BYTES + 3))
    for index in range(100, 200):
        append(engine, log, (1, index - 99))
    assert len(log._cached) <= 22
    assert shape(log) == [(1, index) for index in range(1, 101)]
    assert log.term(1) == log.term(100) == 1
    assert [e.index for e in log.entries(70, 95, 1 << 30)] == list(range(70, 95))
    assert [e.index for e in log.entries(70, 95, 3 * (ENTRY_OVERHEAD_BYTES + 3))] == [70, 71, 72]


def test_two_ranges_dont_meet() -> None:
    engine, log = new_log()
    batch = WriteBatch()
    bootstrap_range(batch, RANGE + 1, b"", [1])
    engine.write(batch)
    other = RaftLog(engine, RANGE + 1)
    append(engine, log, (1, 1), (1, 2))
    append(engine, other, (9, 1))
    assert shape(opened(engine)) == [(1, 1), (1, 2)]
    assert shape(RaftLog(engine, RANGE + 1)) == [(9, 1)]


def test_a_snapshot_carries_data_and_applied_index_of_one_batch() -> None:
    engine, log = new_log()
    append(engine, log, (1, 1), (1, 2))
    batch = WriteBatch()
    batch.put(keys.lock_key(b"k"), b"intent")
    put_applied_state(batch, RANGE, AppliedState(2, 1, ConfState((1, 2, 3))))
    engine.write(batch)
    snapshot = log.snapshot()
    assert not snapshot.data, "it is read when it is sent"
    snapshot = whole(engine, log)
    assert (snapshot.index, snapshot.term, snapshot.conf_state) == (2, 1, ConfState((1, 2, 3)))

    target_engine, target = new_log()
    append(target_engine, target, (1, 1))
    batch = WriteBatch()
    content = target.restore(batch, snapshot)
    target_engine.write(batch)
    assert content.descriptor == b"descriptor"
    for one in (target, opened(target_engine)):
        assert (one.first_index(), one.last_index(), one.term(2)) == (3, 2, 1)
        assert one.applied_state() == AppliedState(2, 1, ConfState((1, 2, 3)))
    assert target_engine.get(keys.lock_key(b"k")) == b"intent"
    append(target_engine, target, (1, 3))
    assert shape(opened(target_engine)) == [(1, 3)]


@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([40, 200, 1 << 20]))
def test_it_answers_as_a_store_in_memory_does(seed: int, steps: int, cache_bytes: int) -> None:
    """Random appends (with conflicts), compactions, restores and restarts, against Raft's own memory store."""
    stream = random.Random(seed)
    engine, log = new_log(cache_bytes)
    model = MemoryLogStore()
    term = 1
    for _ in range(steps):
        match stream.choice(["append", "append", "append", "compact", "restore", "restart"]):
            case "append":
                term += stream.randint(0, 1)
                first = stream.randint(max(1, model.first_index() - 1), model.last_index() + 1)
                entries = [
                    Entry(term, first + i, bytes(stream.randint(0, 30)), EntryKind.NORMAL)
                    for i in range(stream.randint(1, 4))
                ]
                batch = WriteBatch()
                log.append(batch, entries)
                engine.write(batch)
                model.append(entries)
            case "compact" if model.last_index() >= model.first_index():
                index = stream.randint(model.first_index(), model.last_index())
                batch = WriteBatch()
                log.compact(batch, index)
                engine.write(batch)
                model.compact(index)
            case "restore":
                source_engine, source = new_log()
                batch = WriteBatch()
                index = model.last_index() + stream.randint(1, 3)
                put_applied_state(batch, RANGE, AppliedState(index, term))
                source_engine.write(batch)
                batch = WriteBatch()
                log.restore(batch, whole(source_engine, source))
                engine.write(batch)
                model.restore(Snapshot(index, term))
            case "restart":
                engine.sync()
                engine.crash()
                log = opened(engine, cache_bytes)
        first, last = model.first_index(), model.last_index()
        assert (log.first_index(), log.last_index()) == (first, last)
        assert [log.term(i) for i in range(first - 1, last + 1)] == [
            model.term(i) for i in range(first - 1, last + 1)
        ]
        if last >= first:
            lo = stream.randint(first, last)
            hi = stream.randint(lo + 1, last + 1)
            size = stream.choice([0, 50, 1 << 20])
            assert list(log.entries(lo, hi, size)) == list(model.entries(lo, hi, size))
