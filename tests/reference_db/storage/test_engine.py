"""Conformance of the engines: the same promises, kept by RocksDB, by the one in memory, and by the one on files of a
simulated disk and of a real one; and what a crash loses."""

from __future__ import annotations

import errno
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_db.storage.engine import FEW_KEYS, Engine, MemoryEngine, WriteBatch
from reference_db.storage.file_engine import FileEngine
from reference_db.storage.rocks_engine import RocksEngine
from tests.reference_db.storage.disks import RealDisk, make_disk

Opener = Callable[[], Engine]
"""Opens the same engine each time: what the process of a node does when it starts again."""

CHECKPOINT_BYTES = 600
"""So small that the tests here meet checkpoints."""


def opener(kind: str, folder: Path) -> Opener:
    match kind:
        case "memory":
            memory = MemoryEngine()
            return lambda: memory
        case "rocks":
            return lambda: RocksEngine(folder / "data")
        case "real file":
            return lambda: FileEngine(RealDisk(folder), "data", CHECKPOINT_BYTES)
        case _:
            disk = make_disk()
            return lambda: FileEngine(disk, "data", CHECKPOINT_BYTES)


@pytest.fixture(params=["memory", "rocks", "file", "real file"])
def open_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return opener(request.param, tmp_path)


@pytest.fixture
def engine(open_engine: Opener) -> Iterator[Engine]:
    made = open_engine()
    yield made
    made.close()


def put(engine: Engine, **pairs: str) -> None:
    batch = WriteBatch()
    for key, value in pairs.items():
        batch.put(key.encode(), value.encode())
    engine.write(batch)


def everything(engine: Engine) -> dict[bytes, bytes]:
    return dict(engine.scan(b"", b"\xff" * 8))


def test_a_batch_is_visible_whole_and_at_once(engine: Engine) -> None:
    put(engine, a="old", b="old")
    batch = WriteBatch()
    batch.put(b"a", b"new")
    batch.delete(b"b")
    batch.put(b"c", b"new")
    assert everything(engine) == {b"a": b"old", b"b": b"old"}
    engine.write(batch)
    assert everything(engine) == {b"a": b"new", b"c": b"new"}


def test_later_changes_of_a_batch_win(engine: Engine) -> None:
    batch = WriteBatch()
    batch.put(b"a", b"1")
    batch.put(b"a", b"2")
    batch.put(b"b", b"1")
    batch.delete(b"b")
    batch.put(b"c", b"1")
    batch.delete_range(b"c", b"d")
    batch.put(b"cc", b"2")
    engine.write(batch)
    assert everything(engine) == {b"a": b"2", b"cc": b"2"}


def test_keys_come_in_order_of_their_bytes(engine: Engine) -> None:
    batch = WriteBatch()
    keys = [b"b", b"\x00", b"a\x00", b"a", b"\xff", b"a\xff", b""]
    for key in keys:
        batch.put(key, b"value of " + key)
    engine.write(batch)
    assert [key for key, _ in engine.scan(b"", b"\xff\xff")] == sorted(keys)
    assert [key for key, _ in engine.scan(b"", b"\xff\xff", reverse=True)] == sorted(keys, reverse=True)


def test_spans_are_half_open_in_both_directions(engine: Engine) -> None:
    put(engine, a="1", b="2", c="3", d="4")
    assert [key for key, _ in engine.scan(b"b", b"d")] == [b"b", b"c"]
    assert [key for key, _ in engine.scan(b"b", b"d", reverse=True)] == [b"c", b"b"]
    assert [key for key, _ in engine.scan(b"aa", b"cc", reverse=True)] == [b"c", b"b"]
    assert list(engine.scan(b"x", b"z")) == list(engine.scan(b"x", b"z", reverse=True)) == []


def test_first_finds_the_smallest_key_of_a_span(engine: Engine) -> None:
    put(engine, a="1", c="3")
    assert engine.first(b"", b"z") == (b"a", b"1")
    assert engine.first(b"aa", b"z") == (b"c", b"3")
    assert engine.first(b"b", b"c") is None
    assert engine.first(b"d", b"z") is None


def test_a_missing_key_is_none_and_an_empty_value_is_not(engine: Engine) -> None:
    put(engine, a="")
    assert engine.get(b"a") == b""
    assert engine.get(b"b") is None


def test_delete_range_leaves_its_neighbours(engine: Engine) -> None:
    put(engine, a="1", b="2", bb="3", c="4", d="5")
    batch = WriteBatch()
    batch.delete_range(b"b", b"c")
    engine.write(batch)
    assert [key for key, _ in engine.scan(b"", b"z")] == [b"a", b"c", b"d"]
    assert engine.get(b"bb") is None
    assert engine.first(b"b", b"z") == (b"c", b"4")


def test_an_iteration_isnt_disturbed_by_writes(engine: Engine) -> None:
    put(engine, a="1", b="2", c="3")
    iteration = engine.scan(b"", b"z")
    assert next(iteration) == (b"a", b"1")
    batch = WriteBatch()
    batch.delete(b"b")
    batch.put(b"bb", b"new")
    engine.write(batch)
    assert [key for key, _ in iteration] == [b"b", b"c"]


def test_counters_are_exact(engine: Engine) -> None:
    put(engine, a="1", b="22")
    put(engine, c="333")
    engine.write(WriteBatch())
    engine.sync()
    counters = engine.counters
    assert (counters.batches, counters.changes, counters.bytes, counters.syncs) == (2, 3, 9, 1)


changes = st.lists(
    st.tuples(st.sampled_from("pdr"), st.binary(max_size=2), st.binary(max_size=2)), min_size=1, max_size=6
)


def fill(batch: WriteBatch, model: dict[bytes, bytes], drawn: list[tuple[str, bytes, bytes]]) -> None:
    for kind, one, other in drawn:
        if kind == "p":
            batch.put(one, other)
            model[one] = other
        elif kind == "d":
            batch.delete(one)
            model.pop(one, None)
        else:
            start, end = min(one, other), max(one, other)
            batch.delete_range(start, end)
            for key in [key for key in model if start <= key < end]:
                del model[key]


@given(st.lists(changes, max_size=8), st.binary(max_size=2), st.binary(max_size=2))
def test_the_engine_in_memory_agrees_with_a_plain_dict(
    batches: list[list[tuple[str, bytes, bytes]]], start: bytes, end: bytes
) -> None:
    engine, model = MemoryEngine(), dict[bytes, bytes]()
    for drawn in batches:
        batch = WriteBatch()
        fill(batch, model, drawn)
        engine.write(batch)
    inside = sorted((key, value) for key, value in model.items() if start <= key < end)
    assert list(engine.scan(start, end)) == inside
    assert list(engine.scan(start, end, reverse=True)) == inside[::-1]
    assert engine.first(start, end) == (inside[0] if inside else None)


def test_the_engine_in_memory_keeps_its_order_through_many_changes() -> None:
    """Few and many changes between two questions for the order, among them keys that come and go unseen."""
    engine, model, draw = MemoryEngine(), dict[bytes, bytes](), random.Random(7)
    for size in (1, FEW_KEYS - 1, FEW_KEYS, 3 * FEW_KEYS, 2, 1000):
        batch = WriteBatch()
        kinds = ("p", "p", "p", "d", "d")
        fill(batch, model, [(draw.choice(kinds), b"%03d" % draw.randrange(999), b"v") for _ in range(size)])
        engine.write(batch)
        assert list(engine.scan(b"", b"z")) == sorted(model.items())
        above = (item for item in model.items() if item[0] >= b"5")
        assert engine.first(b"5", b"z") == min(above, default=None)


@settings(max_examples=20)
@given(st.lists(changes, max_size=6))
def test_all_engines_agree_now_and_when_opened_again(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, bytes, bytes]]]
) -> None:
    contents = []
    for kind in ("memory", "rocks", "file", "real file"):
        open_engine = opener(kind, tmp_path_factory.mktemp("engine"))
        engine = open_engine()
        for drawn in batches:
            batch = WriteBatch()
            fill(batch, {}, drawn)
            engine.write(batch)
            engine.sync()
        contents.append(list(engine.scan(b"", b"\xff" * 4)))
        engine.close()
        engine = open_engine()
        contents.append(list(engine.scan(b"", b"\xff" * 4)))
        engine.close()
    assert contents == [contents[0]] * 8


def test_what_was_written_is_there_when_the_engine_is_opened_again(open_engine: Opener) -> None:
    """Synced or not: without a power loss nothing that was written is lost. Checkpoints come in between."""
    written: dict[bytes, bytes] = {}
    for life in range(6):
        engine = open_engine()
        assert everything(engine) == written
        for number in range(20):
            key = f"k{life % 3}{number}"
            put(engine, **{key: f"{life}" * 10})
            written[key.encode()] = b"%d" % life * 10
            if number % 7 == life:
                engine.sync()
        engine.close()


def test_a_crash_loses_exactly_the_unsynced() -> None:
    engine = MemoryEngine()
    put(engine, a="durable", b="durable")
    engine.sync()
    put(engine, a="lost")
    batch = WriteBatch()
    batch.delete_range(b"b", b"c")
    engine.write(batch)
    assert engine.unsynced == 2
    assert engine.crash() == 2
    assert everything(engine) == {b"a": b"durable", b"b": b"durable"}
    assert engine.unsynced == 0


def test_a_sync_covers_only_what_was_written_when_it_began() -> None:
    engine = MemoryEngine()
    put(engine, a="1")
    began = engine.unsynced
    put(engine, b="2")
    engine.sync(began)
    assert engine.crash() == 1
    assert everything(engine) == {b"a": b"1"}


@given(st.integers(0, 2**32), st.integers(0, 5), st.integers(0, 5))
def test_a_crash_with_a_random_stream_keeps_a_prefix(seed: int, synced: int, unsynced: int) -> None:
    engine = MemoryEngine()
    for i in range(synced):
        put(engine, **{f"k{i}": "durable"})
    engine.sync()
    for i in range(synced, synced + unsynced):
        put(engine, **{f"k{i}": "maybe"})
    lost = engine.crash(random.Random(seed))
    left = [int(key[1:]) for key, _ in engine.scan(b"", b"z")]
    assert left == list(range(synced + unsynced - lost))
    assert lost <= unsynced
    put(engine, k9="after")
    assert engine.crash() == 1, "what survived is durable, what comes later isn't"
    assert len(everything(engine)) == len(left)


WRITER = """
import sys
from reference_db.storage.engine import WriteBatch
from reference_db.storage.rocks_engine import RocksEngine
engine = RocksEngine(sys.argv[1])
for i in range(1000):
    batch = WriteBatch()
    batch.put(b"key%05d" % i, b"value" * 20)
    batch.put(b"last", b"%d" % i)
    engine.write(batch)
    if i == 500:
        engine.sync()
print("written", flush=True)
sys.stdin.read()
"""


def test_rocks_keeps_everything_written_by_a_process_that_was_killed(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    child.kill()
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    assert child.stdin is not None
    child.stdin.close()
    engine = RocksEngine(tmp_path / "data")
    assert engine.get(b"last") == b"999"
    assert [key for key, _ in engine.scan(b"key", b"kez")] == [b"key%05d" % i for i in range(1000)]
    engine.close()


def break_rocks(engine: RocksEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    class Broken:
        def flush_wal(self, sync: bool) -> None:
            raise RuntimeError("IO error: No space left on device")

        def close(self) -> None:
            pass

    real = engine._database
    monkeypatch.setattr(engine, "_database", Broken())
    return lambda: monkeypatch.setattr(engine, "_database", real)


def break_file(engine: FileEngine) -> Callable[[], None]:
    disk: Any = engine._disk
    disk.set_fault("eio-sync")
    healed: Callable[[], None] = disk.clear_fault
    return healed


@pytest.mark.parametrize("kind", ["rocks", "file"])
def test_a_failed_sync_is_never_forgiven(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that failed once may have dropped pages; a later success would prove nothing."""
    engine = opener(kind, tmp_path)()
    if isinstance(engine, RocksEngine):
        heal = break_rocks(engine, monkeypatch)
    else:
        assert isinstance(engine, FileEngine)
        heal = break_file(engine)
    with pytest.raises(OSError, match=r"sync failed: IO error: No space left|the disk failed: .*\(sync\)"):
        engine.sync()
    heal()
    with pytest.raises(OSError, match=r"an earlier sync failed|the disk failed earlier") as caught:
        engine.sync()
    assert caught.value.errno in (None, errno.EIO)
    assert engine.counters.syncs == 0
    engine.close()
