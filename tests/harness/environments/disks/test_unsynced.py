"""What was not synced can be lost, and what was synced never is: the journal against a plain model, on real files."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.environments.disks import unsynced
from harness.environments.disks.unsynced import Unsynced


class Folder:
    """A folder with its journal, used as a node would use it."""

    def __init__(self, path: Path) -> None:
        (path / "data").mkdir(parents=True)
        (path / "trash").mkdir()
        self.path = path / "data"
        self.root = os.open(self.path, os.O_RDONLY)
        self.trash = os.open(path / "trash", os.O_RDONLY)
        self.journal = Unsynced(self.root, self.trash)
        self.open: dict[str, int] = {}

    def create(self, name: str) -> int:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self.root)
        self.journal.created(name)
        self.open[name] = descriptor
        return descriptor

    def crash(self, seed: int) -> dict[str, int]:
        return self.journal.crash(random.Random(seed))

    def close(self) -> None:
        for descriptor in [*self.open.values(), self.root, self.trash]:
            os.close(descriptor)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.close()


def test_what_was_synced_stays_and_the_rest_may_go(folder: Folder) -> None:
    """1. A record is written and synced, another is only written. 2. Power fails. Over many seeds the second is gone,
    whole, or torn at a sector; the first is always there."""
    tails = set()
    descriptor = folder.create("log")
    folder.journal.write(descriptor, b"a" * 100, 0)
    folder.journal.sync(descriptor)
    for seed in range(40):
        folder.journal.write(descriptor, b"b" * 2000, 100)
        folder.crash(seed)
        content = (folder.path / "log").read_bytes()
        assert content[:100] == b"a" * 100
        assert set(content[100:]) <= {ord("b")}
        tails.add(len(content) - 100)
        os.ftruncate(descriptor, 100)
    assert {0, 2000} < tails
    assert all((100 + tail) % unsynced.SECTOR_BYTES == 0 for tail in tails - {0, 2000})


def test_a_sync_makes_the_names_durable_that_came_before_it(folder: Folder) -> None:
    """A synced file replaces the old one by a rename. After a crash it is the one or the other; once the folder was
    synced too, it is the new one, whatever is drawn."""
    seen = set()
    for seed in range(20):
        for name, content in (("CURRENT", b"old"), ("next", b"new")):
            descriptor = folder.create(name)
            folder.journal.write(descriptor, content, 0)
            folder.journal.sync(descriptor)
        folder.journal.rename("next", "CURRENT")
        if seed >= 10:
            folder.journal.sync_names()
            assert folder.journal.is_clean
            assert os.listdir(folder.trash) == []
        folder.crash(seed)
        found = (folder.path / "CURRENT").read_bytes()
        seen.add((found, seed >= 10))
        for name in os.listdir(folder.path):
            folder.journal.remove(name)
        folder.journal.sync_names()
    assert seen == {(b"old", False), (b"new", False), (b"new", True)}


def test_what_a_failed_sync_dropped_is_lost_though_a_later_sync_succeeds(folder: Folder) -> None:
    """ "fsyncgate": 1. A sync of A fails. 2. B is written behind it, and its sync succeeds. 3. Power fails: B is there,
    and where A was there may be zeros."""
    descriptor = folder.create("log")
    folder.journal.sync(descriptor)
    chances = random.Random(0)
    holes = 0
    for seed in range(40):
        folder.journal.write(descriptor, b"A" * 50, 0)
        folder.journal.fail_sync(descriptor, chances)
        folder.journal.write(descriptor, b"B" * 50, 50)
        folder.journal.sync(descriptor)
        folder.crash(seed)
        content = (folder.path / "log").read_bytes()
        assert content[50:] == b"B" * 50
        assert content[:50] in (b"A" * 50, bytes(50))
        holes += content[:50] == bytes(50)
        os.ftruncate(descriptor, 0)
    assert 0 < holes < 40


def test_what_waits_long_is_written_back(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsynced, "MOST_WAITING_BYTES", 1000)
    descriptor = folder.create("trace")
    for place in range(50):
        folder.journal.write(descriptor, b"x" * 100, place * 100)
    folder.journal.sync_names()
    for seed in range(5):
        folder.crash(seed)
    assert (folder.path / "trace").stat().st_size >= 4000


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 1500), st.integers(1, 1500)),
        st.tuples(st.just("truncate"), st.integers(0, 2000), st.just(0)),
        st.tuples(st.just("sync"), st.just(0), st.just(0)),
        st.tuples(st.just("failed sync"), st.just(0), st.just(0)),
        st.tuples(st.just("crash"), st.integers(0, 1000), st.just(0)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS)
def test_never_a_byte_that_was_synced_is_lost(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int]]
) -> None:
    """For each byte, the model keeps the values that a crash may leave: what was durable, and each later one."""
    folder = Folder(tmp_path_factory.mktemp("disk"))
    descriptor = folder.create("file")
    folder.journal.sync(descriptor)
    may: list[set[int]] = []
    """By place the values that a crash may leave there; 256: the file may end before it."""
    has_dropped = False
    for number, (act, first, size) in enumerate(rows):
        now = (folder.path / "file").read_bytes()
        match act:
            case "write":
                data = bytes([number % 250 + 1]) * size
                folder.journal.write(descriptor, data, first)
                may += [{256} for _ in range(first + size - len(may))]
                for place in range(min(first, len(now)), first):
                    may[place].add(0)
                for place in range(first, first + size):
                    may[place].add(data[0])
            case "truncate":
                folder.journal.truncate(descriptor, first)
                may += [{256} for _ in range(first - len(may))]
                for place in range(len(may)):
                    if place >= first:
                        may[place].add(256)
                    elif place >= len(now):
                        may[place].add(0)
            case "sync":
                folder.journal.sync(descriptor)
                if not has_dropped:  # Else what was dropped may still be lost: no value is certain.
                    may = [{value} for value in now]
            case "failed sync":
                folder.journal.fail_sync(descriptor, random.Random(number))
                has_dropped = True
            case "crash":
                folder.crash(first)
                now = (folder.path / "file").read_bytes()
                for place, values in enumerate(may):
                    value = now[place] if place < len(now) else 256
                    # Where the file may have ended, a later write that survives leaves a hole.
                    assert value in values or (value == 0 and 256 in values), (place, value, values)
                assert len(now) <= len(may)
                may = [{value} for value in now]
                has_dropped = False
    folder.close()
