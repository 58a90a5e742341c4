"""Versions against a model that keeps them in a list: at every timestamp, in both directions, with any limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_db.storage import mvcc as mvcc_module
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.mvcc import Mvcc, Version
from reference_db.storage.rocks_engine import RocksEngine
from reference_db.timestamp import ZERO, Timestamp

user_keys = st.sampled_from([b"", b"a", b"a\x00", b"a\x00\x01", b"ab", b"b", b"\xff", b"\xff\xff"])
values = st.none() | st.binary(max_size=3)
writes = st.lists(st.tuples(user_keys, values), max_size=20)
times = st.integers(0, 25).map(Timestamp)


@pytest.fixture(params=[1, 8], scope="module", autouse=True)
def passed_at_most(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every property holds also when a scan jumps as early as it can."""
    usual, mvcc_module._PASSED_AT_MOST = mvcc_module._PASSED_AT_MOST, request.param
    yield
    mvcc_module._PASSED_AT_MOST = usual


class Model:
    """All versions in the order they were written."""

    def __init__(self) -> None:
        self.versions: list[tuple[bytes, Timestamp, bytes | None]] = []

    def get(self, key: bytes, at: Timestamp) -> Version | None:
        found = [(t, value) for k, t, value in self.versions if k == key and t <= at]
        return Version(*max(found, key=lambda version: version[0])) if found else None

    def scan(
        self, start: bytes, end: bytes | None, at: Timestamp, limit: int, reverse: bool
    ) -> list[tuple[bytes, bytes]]:
        keys = sorted({k for k, _, _ in self.versions if start <= k and (end is None or k < end)})
        pairs: list[tuple[bytes, bytes]] = []
        for key in reversed(keys) if reverse else keys:
            version = self.get(key, at)
            if version is not None and version.value is not None:
                pairs.append((key, version.value))
        return pairs[:limit] if limit else pairs


def written(
    engine: MemoryEngine, script: list[tuple[bytes, bytes | None]], remember: int
) -> tuple[Mvcc, Model]:
    """Each write at a timestamp of its own, 1, 2, 3, ..., each in its own batch."""
    mvcc, model = Mvcc(engine, remember), Model()
    for at, (key, value) in enumerate(script, 1):
        batch = WriteBatch()
        mvcc.put_version(batch, key, Timestamp(at), value)
        engine.write(batch)
        model.versions.append((key, Timestamp(at), value))
    return mvcc, model


@given(writes, user_keys, times, st.integers(1, 4))
def test_a_key_at_a_timestamp(
    script: list[tuple[bytes, bytes | None]], key: bytes, at: Timestamp, remember: int
) -> None:
    mvcc, model = written(MemoryEngine(), script, remember)
    assert mvcc.get(key, at) == model.get(key, at)
    assert mvcc.newest(key) == model.get(key, Timestamp(1000))
    assert mvcc.get(key) == mvcc.newest(key)


@given(writes, user_keys, st.none() | user_keys, times, st.integers(0, 4), st.booleans())
def test_a_scan_at_a_timestamp(
    script: list[tuple[bytes, bytes | None]],
    start: bytes,
    end: bytes | None,
    at: Timestamp,
    limit: int,
    reverse: bool,
) -> None:
    mvcc, model = written(MemoryEngine(), script, 3)
    scanned = mvcc.scan(start, end, at, limit, reverse)
    assert list(scanned.pairs) == model.scan(start, end, at, limit, reverse)


@given(writes, st.integers(1, 3), st.booleans(), times)
def test_a_scan_in_pieces_is_the_whole_scan(
    script: list[tuple[bytes, bytes | None]], limit: int, reverse: bool, at: Timestamp
) -> None:
    mvcc, model = written(MemoryEngine(), script, 3)
    start, end = b"", None
    pieces: list[tuple[bytes, bytes]] = []
    for _ in range(30):
        scanned = mvcc.scan(start, end, at, limit, reverse)
        pieces += scanned.pairs
        if scanned.resume is None:
            break
        start, end = (start, scanned.resume) if reverse else (scanned.resume, end)
    assert pieces == model.scan(b"", None, at, 0, reverse)


@given(writes, user_keys, st.none() | user_keys)
def test_a_scan_tells_the_newest_version_it_passed(
    script: list[tuple[bytes, bytes | None]], start: bytes, end: bytes | None
) -> None:
    mvcc, model = written(MemoryEngine(), script, 3)
    scanned = mvcc.scan(start, end, ZERO)
    inside = [(t, k) for k, t, _ in model.versions if start <= k and (end is None or k < end)]
    assert (scanned.newest, scanned.newest_key) == (max(inside) if inside else (ZERO, b""))
    assert scanned.pairs == ()


@given(writes, user_keys, st.none() | user_keys, times, times)
def test_what_is_newer(
    script: list[tuple[bytes, bytes | None]],
    start: bytes,
    end: bytes | None,
    one: Timestamp,
    other: Timestamp,
) -> None:
    mvcc, model = written(MemoryEngine(), script, 3)
    since, until = min(one, other), max(one, other)
    newer = {
        k for k, t, _ in model.versions if start <= k and (end is None or k < end) and since < t <= until
    }
    found = mvcc.first_newer(start, end, since, until)
    assert (found in newer) if newer else (found is None)
    single = mvcc.first_newer(start, start + b"\x00", since, until)
    assert (single == start) == any(k == start and since < t <= until for k, t, _ in model.versions)


@settings(max_examples=15)
@given(writes, times)
def test_rocksdb_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[bytes, bytes | None]], at: Timestamp
) -> None:
    folder: Path = tmp_path_factory.mktemp("rocks") / "data"
    engine = RocksEngine(folder)
    mvcc, model = written(engine, script, 2)  # type: ignore[arg-type]
    for reverse in (False, True):
        assert list(mvcc.scan(b"", None, at, 0, reverse).pairs) == model.scan(b"", None, at, 0, reverse)
    for key in [b"", b"a", b"a\x00", b"\xff"]:
        assert mvcc.get(key, at) == model.get(key, at)
    engine.close()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_walks_over_few_versions_of_a_key_that_has_many(reverse: bool) -> None:
    """The cost of a scan follows its keys, not their history."""

    class Counting(MemoryEngine):
        walked = 0

        def scan(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
            for pair in super().scan(start, end, reverse):
                Counting.walked += 1
                yield pair

    script: list[tuple[bytes, bytes | None]] = [(b"k%d" % (at % 3), b"%d" % at) for at in range(900)]
    mvcc, model = written(Counting(), script, 1)
    for at in (Timestamp(1000), Timestamp(450)):
        Counting.walked = 0
        assert list(mvcc.scan(b"", None, at, 0, reverse).pairs) == model.scan(b"", None, at, 0, reverse)
        assert mvcc.first_newer(b"", None, at, at) is None
        assert Counting.walked <= 60


def test_an_empty_value_is_no_deletion() -> None:
    mvcc, _ = written(MemoryEngine(), [(b"a", b""), (b"b", None)], 10)
    assert mvcc.newest(b"a") == Version(Timestamp(1), b"")
    assert mvcc.newest(b"b") == Version(Timestamp(2), None)
    assert mvcc.scan(b"", None).pairs == ((b"a", b""),)


def test_a_version_below_the_newest_breaks_an_invariant() -> None:
    mvcc, _ = written(MemoryEngine(), [(b"a", b"1"), (b"a", b"2")], 10)
    with pytest.raises(AssertionError, match="isn't above the newest"):
        mvcc.put_version(WriteBatch(), b"a", Timestamp(2), b"again")


def test_the_memory_is_forgotten_when_data_comes_another_way() -> None:
    engine = MemoryEngine()
    mvcc, _ = written(engine, [(b"a", b"1")], 10)
    other, _ = written(engine, [(b"b", b"x"), (b"a", b"2")], 10)
    assert mvcc.newest(b"a") == Version(Timestamp(1), b"1")
    mvcc.forget()
    assert mvcc.newest(b"a") == other.newest(b"a") == Version(Timestamp(2), b"2")
