"""The view of a disk says what a power loss would leave, whatever the syncs claimed."""

from __future__ import annotations

import pytest

from reference_db.invariants.durability import (
    BelievedSync,
    FileDurability,
    MemoryDurability,
    durability_of,
)
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.file_engine import FileEngine
from reference_db.storage.rocks_engine import RocksEngine
from tests.reference_db.storage.disks import make_disk


def batch(number: int, size: int = 10) -> WriteBatch:
    made = WriteBatch()
    made.put(b"key%d" % number, b"x" * size)
    return made


def test_batches_in_memory_are_durable_once_synced() -> None:
    engine = MemoryEngine()
    engine.write(batch(0))
    engine.sync()
    view = durability_of(engine)
    assert isinstance(view, MemoryDurability)
    for number in range(3):
        engine.write(batch(number))
        view.wrote()
    assert view.count() == 0
    engine.sync(2)
    assert view.count() == 2
    engine.sync()
    assert view.count() == 3


def test_batches_in_a_file_are_durable_once_they_would_survive() -> None:
    disk = make_disk()
    engine = FileEngine(disk)
    engine.write(batch(0))
    engine.sync()
    view = durability_of(engine)
    assert isinstance(view, FileDurability)
    counts = []
    for number in range(4):
        engine.write(batch(number))
        view.wrote()
        counts.append(view.count())
        if number % 2:
            engine.sync()
            counts.append(view.count())
    assert counts == [0, 0, 2, 2, 2, 4]


def test_batches_in_a_file_stay_durable_over_checkpoints() -> None:
    """A new log takes the old one's place; what is in its checkpoint counts, and what came later once it is synced."""
    disk = make_disk()
    engine = FileEngine(disk, checkpoint_bytes=500)
    view = FileDurability(engine)
    for number in range(60):
        engine.write(batch(number, size=40))
        view.wrote()
        if number % 3 == 2:
            engine.sync()
            assert view.count() == number + 1
        else:
            assert view.count() == number - number % 3
    assert engine.checkpoints > 1


def test_a_sync_that_failed_makes_nothing_durable_even_if_the_next_one_succeeds() -> None:
    """As on Linux: pages that could not be written are dropped, and a later sync says that all is well."""
    shown = set()
    for seed in range(12):
        disk = make_disk(seed)
        engine = FileEngine(disk)
        view = FileDurability(engine)
        engine.write(batch(1, size=2000))
        view.wrote()
        disk.set_fault("eio-sync")
        with pytest.raises(OSError, match="disk failed"):
            engine.sync()
        disk.clear_fault()
        assert view.count() == 0
        engine._logs[0].file.sync_now()
        shown.add(view.count())
    assert shown == {0, 1}


def test_without_a_view_the_syncer_is_believed() -> None:
    done: list[int] = []
    syncs = []
    view = BelievedSync()
    view.wrote()
    view.sync(syncs.append, lambda: done.append(1))
    view.wrote()
    assert view.count() == 0
    syncs[0]()
    assert (view.count(), done) == (1, [1])


def test_nothing_is_known_of_a_real_disk(tmp_path: object) -> None:
    engine = RocksEngine(f"{tmp_path}/db")
    assert durability_of(engine) is None
    engine.close()
