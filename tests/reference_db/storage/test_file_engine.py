"""The engine on files, and power that fails: at any moment, again and again, with and without damage by the disk.

A story writes numbered batches, one key each, so what an engine holds tells which prefix of them survived. The rules:
every acknowledged batch is there, what is there is a prefix, and corruption is said only where something synced was
damaged. The same stories must convict engines that acknowledge too early or believe too much (the planted ones).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from harness.environments.simulation.disk import Disk, SimulatedFile
from reference_db.storage import file_engine
from reference_db.storage.engine import WriteBatch
from reference_db.storage.file_engine import DamagedFile, Done, Failed, FileEngine, FileSync
from tests.reference_db.storage.disks import loop_of, make_disk

CHECKPOINT_BYTES = 3000
EngineClass = Callable[..., FileEngine]


class PowerLoss(BaseException):
    """The power fails here."""


class Fuse:
    """Blows at the n-th operation on the disk from now on."""

    def __init__(self) -> None:
        self.left = -1

    def burn(self) -> None:
        if self.left == 0:
            raise PowerLoss
        self.left -= 1


class FusedFile:
    """A file behind the fuse."""

    def __init__(self, file: SimulatedFile, fuse: Fuse) -> None:
        self._file = file
        self._fuse = fuse

    @property
    def size(self) -> int:
        return self._file.size

    def append(self, data: bytes) -> int:
        self._fuse.burn()
        return self._file.append(data)

    def read(self) -> bytes:
        return self._file.read()

    def truncate(self, size: int) -> None:
        self._fuse.burn()
        self._file.truncate(size)

    def sync_now(self) -> None:
        self._fuse.burn()
        self._file.sync_now()

    def sync_later(self, done: Done, failed: Failed) -> None:
        self._fuse.burn()
        self._file.sync_later(done, failed)

    def close(self) -> None:
        self._file.close()


class FusedDisk:
    """A disk whose power fails between any two operations, also where nothing else can run."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.fuse = Fuse()

    def open(self, path: str, create: bool = False) -> FusedFile:
        self.fuse.burn()
        return FusedFile(self.disk.open(path, create), self.fuse)

    def make_directory(self, path: str) -> None:
        self.fuse.burn()
        self.disk.make_directory(path)

    def exists(self, path: str) -> bool:
        return self.disk.exists(path)

    def rename(self, source: str, target: str) -> None:
        self.fuse.burn()
        self.disk.rename(source, target)

    def remove(self, path: str) -> None:
        self.fuse.burn()
        self.disk.remove(path)

    def sync_directory(self, path: str) -> None:
        self.fuse.burn()
        self.disk.sync_directory(path)

    def sync_directory_later(self, path: str, done: Done, failed: Failed) -> None:
        self.fuse.burn()
        self.disk.sync_directory_later(path, done, failed)


def write_number(engine: FileEngine, number: int, size: int = 20) -> None:
    """Batch `number`: a key of its own, one that all write, and one that comes and goes."""
    batch = WriteBatch()
    batch.put(b"n%06d" % number, b"%d " % number * size)
    batch.put(b"last", b"%d" % number)
    if number % 2:
        batch.put(b"odd", b"")
    else:
        batch.delete_range(b"odd", b"ode")
    engine.write(batch)


def prefix_held(engine: FileEngine) -> int:
    """How many batches it holds, if it is a prefix of them; asserts that it is."""
    numbers = [int(key[1:]) for key, _ in engine.scan(b"n", b"o")]
    assert numbers == list(range(1, len(numbers) + 1)), f"not a prefix: {numbers}"
    last = engine.get(b"last")
    assert (int(last) if last is not None else 0) == len(numbers)
    assert (engine.get(b"odd") is not None) == bool(len(numbers) % 2)
    return len(numbers)


class Story:
    """Lives of an engine on one disk, and what it has promised."""

    def __init__(self, seed: int, engine_class: EngineClass = FileEngine) -> None:
        self.random = random.Random(seed)
        self.disk = make_disk(seed)
        self.fused = FusedDisk(self.disk)
        self.engine_class = engine_class
        self.written = 0
        self.acknowledged = 0
        self.least = 0
        """So many batches must be there when it is opened next: after a kill more than were acknowledged."""
        self.checkpoints = 0
        self.lost_batches = 0
        self.cut_bytes = 0

    def life(self, power_loss: bool) -> None:
        """Open, check, write and sync for a while, and end in the middle of something."""
        self.fused.fuse.left = self.random.choice(
            (-1, self.random.randint(0, 12), self.random.randint(0, 120))
        )
        if not power_loss:
            self.fused.fuse.left = -1
        engine = None
        try:
            engine = self.engine_class(self.fused, "data", CHECKPOINT_BYTES)
            held = prefix_held(engine)
            assert self.least <= held <= self.written, (
                f"{held} batches are there, of {self.written} written; at least {self.least} must be"
            )
            self.lost_batches += self.written - held
            self.cut_bytes += engine.cut_bytes
            # What was found when opening is synced; so from now on it is promised.
            self.written = self.acknowledged = held
            self._work(engine)
        except PowerLoss:
            assert power_loss
        if engine is not None:
            self.checkpoints += engine.checkpoints
            engine.close()
        if power_loss:
            self.disk.crash(self.random)
            self.least = self.acknowledged
        else:
            self.least = self.written

    def _work(self, engine: FileEngine) -> None:
        loop = loop_of(self.disk)
        syncer = FileSync(engine, self._must_not_fail)
        blown: list[PowerLoss] = []
        under_way = False

        def synced(covered: int) -> None:
            nonlocal under_way
            under_way = False
            self.acknowledged = max(self.acknowledged, covered)

        def turn() -> None:
            nonlocal under_way
            try:
                for _ in range(self.random.randint(0, 3)):
                    # It counts as written from here: the fuse may blow when a part of it is on the disk.
                    self.written += 1
                    write_number(engine, self.written, self.random.choice((1, 20, 200)))
                if not under_way and self.random.random() < 0.6:
                    under_way = True
                    covered = self.written
                    syncer.sync(lambda: synced(covered))
            except PowerLoss as loss:
                blown.append(loss)

        def handle(_loop: Any, context: dict[str, Any]) -> None:
            if not isinstance(context.get("exception"), PowerLoss):
                raise AssertionError(context)

        loop.set_exception_handler(handle)
        at_ns = loop.now_ns
        for _ in range(self.random.randint(1, 30)):
            at_ns += self.random.randint(1, 1_500_000)
            loop.call_at_ns(at_ns, turn)
        end_ns = at_ns + self.random.randint(0, 2_000_000)
        loop.call_at_ns(end_ns, loop.stop)
        try:
            loop.run_forever()
        finally:
            syncer.stop()
        if blown:
            raise blown[0]

    def _must_not_fail(self, error: BaseException) -> None:
        raise AssertionError("the disk works") from error


@pytest.mark.parametrize("seed", range(300))
def test_a_power_loss_at_any_moment_loses_no_synced_batch_and_leaves_a_prefix(seed: int) -> None:
    story = Story(seed)
    for _ in range(6):
        story.life(power_loss=True)


@pytest.mark.parametrize("seed", range(60))
def test_a_kill_loses_nothing_that_was_written(seed: int) -> None:
    """Kills and power losses in turn; what a kill leaves is promised by whoever opens it again."""
    story = Story(seed)
    for _ in range(6):
        story.life(power_loss=story.random.random() < 0.4)


def test_the_stories_meet_what_they_are_about() -> None:
    """Else they would prove less than they say."""
    stories = [Story(seed) for seed in range(60)]
    for story in stories:
        for _ in range(6):
            story.life(power_loss=True)
    assert sum(story.acknowledged for story in stories) > 500
    assert sum(story.checkpoints for story in stories) > 50
    assert sum(story.lost_batches for story in stories) > 100
    assert sum(story.cut_bytes > 0 for story in stories) > 20


# Engines that must not get away with it.


class AcknowledgesBeforeSync(FileEngine):
    """Says that it is durable when it is written."""

    def sync_later(self, done: Done, failed: Failed) -> None:
        done()


class SyncsNoDirectory(FileEngine):
    """Renames its checkpoint and does not wait for the name."""

    def __init__(self, disk: Any, folder: str, checkpoint_bytes: int) -> None:
        super().__init__(disk, folder, checkpoint_bytes)

        class Lying:
            def __getattr__(self, name: str) -> Any:
                return getattr(disk, name)

            def sync_directory_later(self, path: str, done: Done, failed: Failed) -> None:
                done()

        self._disk = Lying()


class BelievesWhatItFinds(FileEngine):
    """Opens without a sync of what it found, so it promises what a power loss may still take."""

    def __init__(self, disk: Any, folder: str, checkpoint_bytes: int) -> None:
        class Unsynced:
            def __init__(self, file: Any) -> None:
                self._file = file

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

            def sync_now(self) -> None:
                pass

        class Lazy:
            def __getattr__(self, name: str) -> Any:
                return getattr(disk, name)

            def open(self, path: str, create: bool = False) -> Any:
                file = disk.open(path, create)
                return Unsynced(file) if path.endswith("/log.new") else file

        super().__init__(Lazy(), folder, checkpoint_bytes)


def convicted(engine_class: EngineClass, seeds: range, power: Callable[[Story], bool]) -> int:
    """In how many stories it was caught."""
    caught = 0
    for seed in seeds:
        story = Story(seed, engine_class)
        try:
            for _ in range(6):
                story.life(power_loss=power(story))
        except (AssertionError, DamagedFile):
            caught += 1
    return caught


def always(story: Story) -> bool:
    return True


def sometimes(story: Story) -> bool:
    return story.random.random() < 0.5


@pytest.mark.parametrize(
    ("engine_class", "power", "least"),
    [
        (AcknowledgesBeforeSync, always, 50),
        (SyncsNoDirectory, always, 30),
        (BelievesWhatItFinds, sometimes, 3),
    ],
)
def test_planted_engines_are_caught(engine_class: EngineClass, power: Any, least: int) -> None:
    assert convicted(engine_class, range(100), power) >= least
    assert convicted(FileEngine, range(100), power) == 0, "the innocent twin"


# Damage.


def story_with_kill(seed: int) -> Story:
    """An engine that has synced, and whose process was killed."""
    story = Story(seed)
    for _ in range(3):
        story.life(power_loss=False)
    return story


@pytest.mark.parametrize("seed", range(200))
def test_flipped_bits_are_found_or_hit_what_nobody_was_promised(seed: int) -> None:
    story = Story(seed)
    acknowledged = 0
    for _ in range(3):
        story.life(power_loss=False)
    engine = FileEngine(story.disk, "data", CHECKPOINT_BYTES)
    write_number(engine, story.written + 1)
    engine.sync()
    acknowledged = story.written + 1
    engine.close()
    damage = story.disk.flip_bits()
    assert damage is not None
    try:
        opened = FileEngine(story.disk, "data", CHECKPOINT_BYTES)
    except DamagedFile as error:
        found = error
    else:
        assert prefix_held(opened) >= acknowledged
        return
    assert found.path == "data/log"
    assert found.offset <= damage.offset + 8
    assert re.search(r"data/log is damaged at byte \d+: ", str(found))


def test_most_flips_are_in_what_matters() -> None:
    """The test above is not one of flips that nobody notices."""
    refused = 0
    for seed in range(50):
        story = story_with_kill(seed)
        story.disk.flip_bits()
        try:
            FileEngine(story.disk, "data", CHECKPOINT_BYTES)
        except DamagedFile:
            refused += 1
    assert refused >= 40


@pytest.mark.parametrize("seed", range(100))
def test_no_corruption_is_said_where_nothing_synced_was_damaged(seed: int) -> None:
    """Unsynced sectors that survive in any order look much like damage. `Story` lets `DamagedFile` through as an
    error; here with nothing but large unsynced tails."""
    disk = make_disk(seed)
    engine = FileEngine(disk, "data")
    for number in range(1, 4):
        write_number(engine, number)
    engine.sync()
    for number in range(4, 30):
        write_number(engine, number, 300)
    disk.crash(random.Random(seed))
    opened = FileEngine(disk, "data")
    assert 3 <= prefix_held(opened) <= 29


def test_a_cut_tail_never_comes_back() -> None:
    """1. Batches 2 and 3 are unsynced; the power fails, 2 is torn and 3 survives whole. 2. The engine opens, cuts both
    and writes another 2, of the same length. 3. The power fails again. Batch 3 must not follow the new 2."""
    for seed in range(200):
        disk = make_disk(seed)
        engine = FileEngine(disk, "data")
        write_number(engine, 1)
        engine.sync()
        for number in (2, 3):
            write_number(engine, number, 300)
        disk.crash(random.Random(seed))
        engine = FileEngine(disk, "data")
        held = prefix_held(engine)
        write_number(engine, held + 1, 300)
        engine.sync()
        disk.crash(random.Random(seed + 1))
        assert prefix_held(FileEngine(disk, "data")) == held + 1


def test_a_lost_log_is_refused_and_a_lost_mark_is_not() -> None:
    disk = make_disk()
    engine = FileEngine(disk, "data")
    write_number(engine, 1)
    engine.sync()
    disk.remove("data/made")
    assert prefix_held(FileEngine(disk, "data")) == 1
    assert disk.lose_file("data/log") == "data/log"
    with pytest.raises(DamagedFile, match="data/log is damaged at byte 0: the file is gone"):
        FileEngine(disk, "data")


def test_a_log_without_its_beginning_is_refused() -> None:
    disk = make_disk()
    engine = FileEngine(disk, "data")
    write_number(engine, 1)
    disk.open("data/log").write_at(0, b"\0")
    with pytest.raises(DamagedFile, match="the checkpoint at its beginning"):
        FileEngine(disk, "data")


def test_a_value_that_looks_like_a_record_does_not_confuse() -> None:
    """A copy of the log's own bytes is stored as a value, and then the tail is torn behind it."""
    disk = make_disk()
    engine = FileEngine(disk, "data")
    write_number(engine, 1)
    engine.sync()
    batch = WriteBatch()
    batch.put(b"copy", disk.open("data/log").read() * 3)
    engine.write(batch)
    engine.close()
    log = disk.open("data/log")
    log.truncate(log.size - 1)
    opened = FileEngine(disk, "data")
    assert prefix_held(opened) == 1
    assert opened.get(b"copy") is None
    assert opened.cut_bytes > 0


# Disks that fail.


@pytest.mark.parametrize("kind", ["eio-write", "full"])
def test_a_write_that_fails_breaks_the_engine_and_changes_nothing(kind: Any) -> None:
    disk = make_disk()
    engine = FileEngine(disk, "data")
    write_number(engine, 1)
    engine.sync()
    disk.set_fault(kind)
    with pytest.raises(OSError, match="data/log"):
        write_number(engine, 2)
    disk.clear_fault()
    assert prefix_held(engine) == 1
    with pytest.raises(OSError, match="the disk failed earlier"):
        write_number(engine, 2)
    with pytest.raises(OSError, match="the disk failed earlier"):
        engine.sync()
    assert prefix_held(FileEngine(disk, "data")) == 1


def test_a_failed_sync_is_told_once_and_the_bytes_are_found_out_by_opening_again() -> None:
    """After fsyncgate a process that goes on would promise what is not there; one that opens again does not."""
    for seed in range(50):
        disk = make_disk(seed)
        loop = loop_of(disk)
        engine = FileEngine(disk, "data")
        errors: list[BaseException] = []
        syncer = FileSync(engine, errors.append)
        write_number(engine, 1)
        disk.set_fault("eio-sync")
        syncer.sync(lambda: pytest.fail("this sync failed"))
        loop.call_at_ns(10**9, loop.stop)
        loop.run_forever()
        assert len(errors) == 1
        assert isinstance(errors[0], OSError)
        syncer.sync(lambda: pytest.fail("nothing is synced any more"))
        assert len(errors) == 2
        disk.clear_fault()
        disk.crash(random.Random(seed))
        assert prefix_held(FileEngine(disk, "data")) <= 1


def test_bytes_that_a_failed_sync_has_dropped_are_not_believed_when_they_can_still_be_read() -> None:
    """1. A sync fails; the disk shows the batch and will never write it. 2. The process dies, the engine is opened
    again, finds the batch, and syncs another one behind it. 3. The power fails. Both were promised."""
    for seed in range(60):
        disk = make_disk(seed)
        engine = FileEngine(disk, "data")
        write_number(engine, 1)
        disk.set_fault("eio-sync")
        with pytest.raises(OSError, match="disk failed"):
            engine.sync()
        disk.clear_fault()
        engine = FileEngine(disk, "data")
        found = prefix_held(engine)
        write_number(engine, found + 1)
        engine.sync()
        disk.crash(random.Random(seed))
        assert prefix_held(FileEngine(disk, "data")) == found + 1


def test_a_disk_that_fails_while_opening_stops_it() -> None:
    disk = make_disk()
    FileEngine(disk, "data").close()
    disk.set_fault("eio-sync")
    with pytest.raises(OSError, match="sync"):
        FileEngine(disk, "data")


# Syncs and checkpoints.


def test_a_sync_takes_virtual_time_and_covers_what_was_written_before_it() -> None:
    disk = make_disk()
    loop = loop_of(disk)
    engine = FileEngine(disk, "data")
    syncer = FileSync(engine, lambda error: pytest.fail(str(error)))
    write_number(engine, 1)
    begun_ns = loop.now_ns
    syncer.sync(loop.stop)
    write_number(engine, 2)
    loop.run_forever()
    assert loop.now_ns > begun_ns
    found = file_engine.recover("data/log", disk.durable("data/log") or b"")
    assert found.sequence == 1
    assert engine.counters.syncs == 1


def test_nobody_is_called_after_stop() -> None:
    disk = make_disk()
    loop = loop_of(disk)
    engine = FileEngine(disk, "data")
    syncer = FileSync(engine, lambda error: pytest.fail(str(error)))
    write_number(engine, 1)
    syncer.sync(lambda: pytest.fail("stopped"))
    syncer.stop()
    engine.close()
    loop.call_at_ns(10**9, loop.stop)
    loop.run_forever()


def test_a_checkpoint_shortens_the_log_and_batches_during_it_go_to_both_files() -> None:
    disk = make_disk()
    loop = loop_of(disk)
    engine = FileEngine(disk, "data", checkpoint_bytes=500)
    for _ in range(50):
        batch = WriteBatch()
        batch.put(b"same", b"x" * 100)
        engine.write(batch)
    before = disk.open("data/log").size
    engine.sync_later(loop.stop, lambda error: pytest.fail(str(error)))
    batch = WriteBatch()
    batch.put(b"meanwhile", b"1")
    engine.write(batch)
    assert FileEngine(disk_of_copies(disk), "data").get(b"meanwhile") == b"1"
    loop.run_forever()
    assert engine.checkpoints == 1
    assert disk.open("data/log").size < before / 10
    assert disk.list("data") == ["log", "made"]
    opened = FileEngine(disk, "data")
    assert (opened.get(b"same"), opened.get(b"meanwhile")) == (b"x" * 100, b"1")


def disk_of_copies(disk: Disk) -> Disk:
    """A second disk with the same files, as a killed process would have left them."""
    copy = make_disk()
    copy.make_directory("data")
    for path, _ in disk.files():
        copy.open(path, create=True).append(disk.open(path).read())
    return copy


def test_two_syncs_at_once_are_a_mistake() -> None:
    engine = FileEngine(make_disk(), "data")
    write_number(engine, 1)
    engine.sync_later(lambda: None, lambda error: None)
    with pytest.raises(AssertionError, match="while another one is under way"):
        engine.sync()


def test_folders_may_be_deep() -> None:
    disk = make_disk()
    engine = FileEngine(disk, "var/lib/n1")
    write_number(engine, 1)
    engine.sync()
    disk.crash(random.Random(1))
    assert prefix_held(FileEngine(disk, "/var/lib/n1")) == 1
