"""The simulated disk: what is read, what a power loss leaves, and what each fault does; on a loop of virtual time."""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from harness.environments.simulation.disk import SECTOR_BYTES, Disk, SimulatedFile
from harness.environments.simulation.host import Host
from harness.environments.simulation.loop import SimulatedLoop
from harness.environments.simulation.world import World, current_host


class TinyWorld:
    """As much of a world as a disk needs."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.loop = SimulatedLoop(self.random("timers"))
        self.trace: Any = []
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def random(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def emit(self, area: str, name: str, /, **fields: Any) -> None:
        self.events.append((area, name, fields))


def make_disk(seed: int = 0) -> Disk:
    return Disk(TinyWorld(seed), "n1")  # type: ignore[arg-type]


def run(disk: Disk, story: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return disk._world.loop.run_until_complete(story())


def written_and_named(disk: Disk, path: str, data: bytes) -> SimulatedFile:
    """A file that is durable with its name."""
    file = disk.open(path, create=True)
    file.append(data)
    file.sync_now()
    disk.sync_directory(path.rpartition("/")[0])
    return file


def must_not_fail(error: OSError) -> None:
    raise AssertionError("a sync failed") from error


def content_after_crash(disk: Disk, path: str, seed: int = 0) -> bytes | None:
    disk.crash(random.Random(seed))
    return disk.open(path).read() if disk.exists(path) else None


# What is read.


def test_what_was_written_is_read_at_once() -> None:
    disk = make_disk()
    disk.make_directory("data/logs")
    file = disk.open("data/logs/a", create=True)
    assert (file.append(b"hello "), file.append(b"world"), file.size) == (0, 6, 11)
    file.write_at(0, b"J")
    file.write_at(13, b"!")
    assert disk.open("/data/logs/a").read() == b"Jello world\0\0!"
    assert file.read(6, 5) == b"world"
    file.truncate(5)
    file.truncate(7)
    assert file.read() == b"Jello\0\0"
    assert disk.list("data") == ["logs"]
    assert disk.list("data/logs") == ["a"]
    assert list(disk.files()) == [("data/logs/a", 7)]


def test_names_are_made_renamed_and_removed() -> None:
    disk = make_disk()
    disk.open("a", create=True).append(b"1")
    disk.open("b", create=True).append(b"2")
    disk.rename("a", "b")
    assert disk.list() == ["b"]
    assert disk.open("b").read() == b"1"
    disk.remove("b")
    assert not disk.exists("b")


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda disk: disk.open("none"), FileNotFoundError),
        (lambda disk: disk.open("none/a", create=True), FileNotFoundError),
        (lambda disk: disk.open("d"), IsADirectoryError),
        (lambda disk: disk.open("f/a", create=True), NotADirectoryError),
        (lambda disk: disk.make_directory("f/a"), NotADirectoryError),
        (lambda disk: disk.list("f"), NotADirectoryError),
        (lambda disk: disk.rename("none", "a"), FileNotFoundError),
        (lambda disk: disk.rename("f", "d/f"), OSError),
        (lambda disk: disk.remove("none"), FileNotFoundError),
        (lambda disk: disk.remove("d"), OSError),
        (lambda disk: disk.open("f").write_at(-1, b""), ValueError),
        (lambda disk: disk.open("f").truncate(-1), ValueError),
        (lambda disk: disk.open("../f"), ValueError),
        (lambda disk: disk.set_fault("fire"), ValueError),
        (lambda disk: disk.set_fault("eio-sync", share=2.0), ValueError),
    ],
)
def test_wrong_calls_raise_as_on_a_real_disk(act: Callable[[Disk], Any], error: type[Exception]) -> None:
    disk = make_disk()
    disk.make_directory("d")
    disk.open("d/x", create=True)
    disk.open("f", create=True)
    with pytest.raises(error):
        act(disk)


def test_streams_are_files_as_open_gives_them() -> None:
    disk = make_disk()
    with disk.open_stream("notes", "w") as text:
        text.write("first\nsecond\n")
    with disk.open_stream("notes", "a") as text:
        text.write("third\n")
    with disk.open_stream("notes") as text:
        assert text.readlines() == ["first\n", "second\n", "third\n"]
    with disk.open_stream("notes", "r+b") as raw:
        raw.seek(-6, 2)
        raw.write(b"THIRD")
        raw.seek(0)
        assert raw.read().endswith(b"second\nTHIRD\n")
    with pytest.raises(FileExistsError):
        disk.open_stream("notes", "x")
    with pytest.raises(ValueError, match="invalid mode"):
        disk.open_stream("notes", "rw")
    run(disk, lambda: disk.sync("notes"))
    disk.sync_directory()
    assert disk.durable("notes") == b"first\nsecond\nTHIRD\n"


# What is durable.


@pytest.mark.parametrize("seed", range(50))
def test_what_was_synced_survives_with_its_name(seed: int) -> None:
    disk = make_disk()
    file = written_and_named(disk, "a", b"x" * 700)
    file.append(b"y" * 700)
    left = content_after_crash(disk, "a", seed)
    assert left is not None
    assert left[:700] == b"x" * 700
    assert set(left[700:]) <= set(b"y\0")


def test_a_sync_of_a_file_says_nothing_about_its_name() -> None:
    """Both ends are met: the name is lost, or survives; but never with less than was synced."""
    seen = set()
    for seed in range(60):
        disk = make_disk()
        file = disk.open("a", create=True)
        file.append(b"synced")
        file.sync_now()
        assert disk.durable("a") is None
        seen.add(content_after_crash(disk, "a", seed))
    assert seen == {None, b"synced"}


def test_a_rename_without_a_sync_of_the_directory_may_be_undone_but_never_half() -> None:
    seen = set()
    for seed in range(60):
        disk = make_disk()
        written_and_named(disk, "a", b"old")
        new = disk.open("a.new", create=True)
        new.append(b"new")
        new.sync_now()
        disk.sync_directory()
        disk.rename("a.new", "a")
        disk.crash(random.Random(seed))
        seen.add(tuple((name, disk.open(name).read()) for name in disk.list()))
    assert seen == {(("a", b"new"),), (("a", b"old"), ("a.new", b"new"))}


def test_a_file_that_was_renamed_unsynced_may_be_empty() -> None:
    """The bug that every program has once: rename without a sync of what is renamed."""
    seen = set()
    for seed in range(60):
        disk = make_disk()
        written_and_named(disk, "a", b"old")
        disk.open("a.new", create=True).append(b"new")
        disk.rename("a.new", "a")
        disk.sync_directory()
        seen.add(content_after_crash(disk, "a", seed))
    assert b"" in seen
    assert b"new" in seen
    assert b"old" not in seen


def test_a_file_that_was_removed_may_come_back() -> None:
    seen = set()
    for seed in range(60):
        disk = make_disk()
        written_and_named(disk, "a", b"1")
        disk.remove("a")
        seen.add(content_after_crash(disk, "a", seed))
    assert seen == {None, b"1"}


def test_unsynced_writes_are_lost_torn_and_reordered_at_sectors() -> None:
    """Over many power losses everything is met that may happen, and nothing else."""
    kinds = set()
    for seed in range(300):
        disk = make_disk()
        file = written_and_named(disk, "a", b"")
        for letter in (b"a", b"b", b"c"):
            file.append(letter * 3 * SECTOR_BYTES)
        report = disk.crash(random.Random(seed))
        left = disk.open("a").read()
        sectors = [left[at : at + SECTOR_BYTES] for at in range(0, len(left), SECTOR_BYTES)]
        for number, sector in enumerate(sectors):
            letter = b"aaabbbccc"[number : number + 1]
            assert sector in (letter * SECTOR_BYTES, bytes(SECTOR_BYTES)), "a sector is whole or not there"
        assert report.unsynced == 3
        kinds |= {
            kind
            for kind, seen in (
                ("all", report.lost == report.torn == 0),
                ("nothing", report.lost == 3),
                ("torn", report.torn > 0),
                ("reordered", report.reordered > 0),
                ("prefix", report.lost in (1, 2) and report.reordered == 0 and report.torn == 0),
                ("size without bytes", len(sectors) == 9 and not any(sectors[-1])),
            )
            if seen
        }
    assert kinds == {"all", "nothing", "torn", "reordered", "prefix", "size without bytes"}


def test_a_sector_holds_one_of_the_states_it_has_had() -> None:
    seen = set()
    for seed in range(200):
        disk = make_disk()
        file = written_and_named(disk, "a", b"0")
        for letter in (b"1", b"2", b"3"):
            file.append(letter)
        seen.add(content_after_crash(disk, "a", seed))
    assert {text.rstrip(b"\0") for text in seen if text is not None} == {b"0", b"01", b"012", b"0123"}


def test_an_overwrite_that_is_torn_leaves_old_sectors() -> None:
    seen = set()
    for seed in range(200):
        disk = make_disk()
        file = written_and_named(disk, "a", b"o" * 2 * SECTOR_BYTES)
        file.write_at(0, b"n" * 2 * SECTOR_BYTES)
        left = content_after_crash(disk, "a", seed)
        assert left is not None
        seen.add((left[0:1] + left[-1:], len(left)))
    assert seen == {(pair, 2 * SECTOR_BYTES) for pair in (b"oo", b"no", b"on", b"nn")}


def test_a_sync_covers_what_was_written_before_it_began() -> None:
    disk = make_disk()
    disk.open("a", create=True)
    disk.sync_directory()

    async def story() -> None:
        file = disk.open("a")
        file.append(b"before")
        under_way = asyncio.ensure_future(file.sync())
        await asyncio.sleep(0)
        file.append(b"after")
        await under_way
        assert disk.durable("a") == b"before"
        assert disk.unsynced() == 1
        await disk.sync("a")
        assert disk.durable("a") == b"beforeafter"

    run(disk, story)
    assert disk.counters.syncs == 3


def test_a_sync_takes_virtual_time_one_after_the_other() -> None:
    disk = make_disk()
    disk.sync_ns = 1_000_000
    ended: list[int] = []

    async def story() -> None:
        file = disk.open("a", create=True)
        for _ in range(20):
            file.append(b"x")
            file.sync_later(lambda: ended.append(disk._world.loop.now_ns), must_not_fail)
        await file.sync()

    run(disk, story)
    assert len(ended) == 20
    assert all(later - earlier >= 500_000 for earlier, later in itertools.pairwise(ended))


def test_a_power_loss_ends_the_syncs_under_way_and_the_handles() -> None:
    disk = make_disk()
    told: list[str] = []

    async def story() -> None:
        file = disk.open("a", create=True)
        file.append(b"x")
        file.sync_later(lambda: told.append("done"), lambda error: told.append("failed"))
        disk.crash(random.Random(1))
        for act in (lambda: file.append(b"y"), file.read, file.sync_now):
            with pytest.raises(OSError, match="the power was lost"):
                act()
        await asyncio.sleep(10)

    run(disk, story)
    assert told == []


def test_one_seed_makes_one_crash() -> None:
    def once(seed: int) -> Any:
        disk = make_disk(seed)
        for name in "abc":
            file = disk.open(name, create=True)
            for _ in range(5):
                file.append(name.encode() * 300)
        report = disk.crash(random.Random(seed))
        return report, [(path, disk.open(path).read()) for path, _ in disk.files()]

    assert [once(seed) for seed in range(20)] == [once(seed) for seed in range(20)]
    assert len({str(once(seed)) for seed in range(20)}) > 10


# Faults.


def outcome_of_sync(disk: Disk, file: SimulatedFile) -> str:
    try:
        run(disk, file.sync)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def test_after_a_failed_sync_a_later_one_may_succeed_without_the_bytes() -> None:
    """Fsyncgate: the bytes can be read until the power is lost, the sync says ok, and they were never there."""
    seen = set()
    for seed in range(40):
        disk = make_disk(seed)
        file = written_and_named(disk, "a", b"")
        file.append(b"lost?")
        disk.set_fault("eio-sync")
        assert outcome_of_sync(disk, file) == "EIO"
        disk.clear_fault()
        assert outcome_of_sync(disk, file) == "ok"
        assert file.read() == b"lost?"
        seen.add(content_after_crash(disk, "a", seed))
    assert seen == {b"", b"lost?"}


def test_a_share_of_the_syncs_fails() -> None:
    disk = make_disk()
    file = disk.open("a", create=True)
    disk.set_fault("eio-sync", share=0.3)
    outcomes = [outcome_of_sync(disk, file) for _ in range(200)]
    assert 30 < outcomes.count("EIO") < 90
    assert disk.counters.failed_syncs == outcomes.count("EIO")
    disk.clear_fault()
    assert outcome_of_sync(disk, file) == "ok"


def test_a_write_that_fails_has_written_nothing() -> None:
    disk = make_disk()
    file = written_and_named(disk, "a", b"1")
    disk.set_fault("eio-write")
    for act in (lambda: file.append(b"2"), lambda: file.write_at(0, b"2"), lambda: file.truncate(0)):
        with pytest.raises(OSError, match="write") as caught:
            act()
        assert caught.value.errno == errno.EIO
    assert file.read() == b"1"
    assert disk.counters.failed_writes == 3
    disk.clear_fault()
    file.append(b"2")
    assert file.read() == b"12"


def test_a_full_disk_refuses_what_needs_room() -> None:
    disk = make_disk()
    file = written_and_named(disk, "a", b"12")
    disk.set_fault("full")
    for act in (
        lambda: file.append(b"3"),
        lambda: file.write_at(1, b"23"),
        lambda: file.truncate(3),
        lambda: disk.open("b", create=True),
        lambda: disk.make_directory("c"),
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == errno.ENOSPC
    file.write_at(0, b"3")
    file.truncate(1)
    file.sync_now()
    disk.rename("a", "b")
    assert disk.open("b").read() == b"3"


def test_a_stalled_disk_ends_all_syncs_when_it_is_healed() -> None:
    disk = make_disk()
    ended: list[int] = []

    async def story() -> None:
        file = written_and_named(disk, "a", b"")
        file.append(b"1")
        file.sync_later(lambda: ended.append(1), must_not_fail)
        disk.set_fault("stall")
        file.append(b"2")
        file.sync_later(lambda: ended.append(2), must_not_fail)
        await asyncio.sleep(60)
        assert (ended, disk.durable("a")) == ([], b"")
        disk.clear_fault()
        await asyncio.sleep(0.001)
        assert (ended, disk.durable("a")) == ([1, 2], b"12")

    run(disk, story)


def test_a_slow_disk_takes_longer() -> None:
    disk = make_disk()

    async def story() -> tuple[int, int]:
        usual = (await disk.probe()).taken_ns
        disk.set_fault("slow", delay_ns=20_000_000)
        return usual, (await disk.probe()).taken_ns

    usual, slow = run(disk, story)
    assert usual < 20_000_000 <= slow


def test_a_probe_says_what_the_disk_does() -> None:
    disk = make_disk()

    async def probe(kind: Any) -> tuple[str, str]:
        disk.set_fault(kind)
        result = await disk.probe()
        disk.clear_fault()
        return result.write, result.sync

    assert run(disk, lambda: probe("eio-sync")) == ("ok", "EIO")
    assert run(disk, lambda: probe("eio-write")) == ("EIO", "not tried")
    assert run(disk, lambda: probe("full")) == ("ENOSPC", "not tried")
    assert run(disk, lambda: probe("stall")) == ("ok", "no end in 50 ms")
    assert run(disk, lambda: probe("slow")) == ("ok", "ok")
    assert list(disk.files()) == []


def test_flipped_bits_are_those_that_are_reported() -> None:
    for seed in range(50):
        disk = make_disk(seed)
        assert disk.flip_bits() is None
        text = bytes(range(200))
        file = written_and_named(disk, "a", text)
        file.append(b"unsynced")
        damage = disk.flip_bits()
        assert damage is not None
        assert damage.path == "a"
        assert damage.before == text[damage.offset : damage.offset + 8] != damage.after
        wrong = [at for at, byte in enumerate(file.read()[:200]) if byte != text[at]]
        assert wrong
        assert damage.offset <= wrong[0] <= wrong[-1] < damage.offset + 8
        assert file.read()[:200] == disk.durable("a")


def test_a_lost_file_is_gone_now_and_after_a_crash() -> None:
    disk = make_disk()
    disk.open("never synced", create=True).append(b"1")
    assert disk.lose_file() is None
    written_and_named(disk, "a", b"1")
    assert disk.lose_file() == "a"
    assert not disk.exists("a")
    assert content_after_crash(disk, "a") is None


def test_a_wiped_disk_is_empty_and_takes_new_files() -> None:
    """A sync of before comes to no end, a file that was open is dead, and its name is free."""
    disk = make_disk()
    file = written_and_named(disk, "a", b"old")
    file.append(b" and more")
    ended: list[object] = []

    async def wipe() -> None:
        file.sync_later(lambda: ended.append("done"), ended.append)
        disk.wipe()
        await asyncio.sleep(10)

    run(disk, wipe)
    assert ended == []
    assert list(disk.files()) == []
    assert disk.unsynced() == 0
    with pytest.raises(OSError, match="open it again"):
        file.append(b"more")
    assert content_after_crash(disk, "a") is None, "gone for good"
    assert disk.open("a", create=True).size == 0
    written_and_named(disk, "a", b"new")
    assert content_after_crash(disk, "a") == b"new"


def test_everything_that_is_done_to_a_disk_is_in_the_trace() -> None:
    disk = make_disk()
    file = written_and_named(disk, "a", b"1")
    disk.set_fault("eio-sync")
    assert outcome_of_sync(disk, file) == "EIO"
    disk.clear_fault()
    disk.flip_bits()
    disk.lose_file()
    disk.crash(random.Random(1))
    disk.wipe()
    events = [name for _, name, _ in disk._world.events]  # type: ignore[attr-defined]
    assert events == ["fault", "sync failed", "healed", "bits flipped", "file lost", "crash", "wiped"]


# On a host of a world.


async def write_and_sync(host: Host) -> None:
    disk = current_host().disk
    assert disk is host.disk
    with disk.open_stream("notes", "wb") as notes:
        notes.write(b"to be kept")
    disk.sync_directory()
    told: list[str] = host.log_lines

    def ended() -> None:
        told.append("synced")

    disk.sync_later("notes", ended, must_not_fail)
    await asyncio.sleep(3600)


def test_the_kernel_ends_the_sync_of_a_process_that_was_killed() -> None:
    """The bytes become durable; nobody of the dead life hears of it."""
    world = World(1)

    async def story() -> None:
        host = world.host("n1")
        host.start(write_and_sync)
        await asyncio.sleep(0.000_001)
        host.kill()
        assert host.disk.durable("notes") == b""
        await asyncio.sleep(1)
        assert host.disk.durable("notes") == b"to be kept"
        assert "synced" not in host.log_lines

    world.run(story())


def test_a_paused_process_hears_of_its_sync_when_it_goes_on() -> None:
    world = World(1)

    async def story() -> None:
        host = world.host("n1")
        host.start(write_and_sync)
        await asyncio.sleep(0.000_001)
        host.pause()
        await asyncio.sleep(1)
        assert host.disk.durable("notes") == b"to be kept"
        assert "synced" not in host.log_lines
        host.resume()
        await asyncio.sleep(0)
        assert "synced" in host.log_lines

    world.run(story())


def test_power_that_fails_during_a_sync_leaves_it_unfinished() -> None:
    seen = set()
    for seed in range(40):
        world = World(seed)

        async def story(world: World = world) -> bytes:
            host = world.host("n1")
            host.start(write_and_sync)
            await asyncio.sleep(0.000_001)
            host.kill(lose_unsynced=True)
            await asyncio.sleep(1)
            assert host.disk.counters.syncs == 1, "that of the directory"
            assert host.disk.unsynced() == 0
            return host.disk.open("notes").read()

        seen.add(world.run(story()))
    assert seen >= {b"", b"to be kept"}


def test_a_disk_outlives_the_processes_and_knows_no_other_host() -> None:
    world = World(1)

    async def count(host: Host) -> int:
        with host.disk.open_stream("lives", "a") as lives:
            lives.write("x")
        return 0

    async def story() -> None:
        for _ in range(3):
            world.host("n1").start(count)
            await asyncio.sleep(1)
        assert world.host("n1").disk.open("lives").read() == b"xxx"
        assert not world.host("n2").disk.exists("lives")

    world.run(story())
