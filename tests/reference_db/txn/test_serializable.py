"""Whatever leaders, clocks and coordinators do: what committed is one serial history that respects real time.

The test has an order to check against, because commit timestamps are known: replayed in that order, every read must be
what the replay holds. That is stronger than asking whether some order exists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from reference_db.api import IntentState, QueryIntent, RangeReply, RangeRequest
from reference_db.storage import keys as layout
from reference_db.storage.engine import Engine, MemoryEngine
from reference_db.storage.mvcc import Mvcc, decode_version
from reference_db.storage.rocks_engine import RocksEngine
from reference_db.timestamp import Timestamp
from reference_db.txn import evaluate
from reference_db.txn.reads import TimestampCache
from reference_db.txn.record import TransactionMarkers

from . import world
from .world import KEYS, Coordinator, Done, World, range_of


def run_world(
    seed: int,
    clients: int = 6,
    rounds: int = 12,
    chaos: float = 0.005,
    deaths: float = 0.0,
    make_engine: Callable[[], Engine] = MemoryEngine,
    ways: tuple[str, ...] = ("record",),
) -> World:
    """Clients run transactions and plain requests one after another; then the storm ends and everything is cleaned."""
    world = World(seed, chaos, deaths, make_engine=make_engine, ways=ways)
    for number in range(clients):
        coordinator = Coordinator(world, f"c{number}")
        world.start(coordinator.work(rounds), coordinator.clock, may_die=True)
    sweeper = Coordinator(world, "sweeper")
    world.start(sweeper.sweep(4 * rounds), sweeper.clock)
    world.run(200_000)
    world.chaos = world.deaths = 0.0
    found: dict[bytes, bytes | None] = {}
    cleaner = Coordinator(world, "cleaner")
    world.start(cleaner.clean_everything(found), cleaner.clock)
    world.run(50_000)
    assert sorted(found) == list(KEYS)
    return world


def all_versions(world: World) -> list[tuple[Timestamp, bytes, bytes | None]]:
    versions = []
    for one in world.ranges:
        for encoded, raw in one.engine.scan(*layout.span(layout.VERSION, b"", None)):
            key, timestamp = layout.split_version_key(encoded)
            versions.append((timestamp, key, decode_version(timestamp, raw).value))
    return sorted(versions, key=lambda version: (version[0], version[1]))


def problems(world: World) -> list[str]:
    """Everything that contradicts one serial history in the order of timestamps."""
    wrong: list[str] = []
    versions = all_versions(world)
    written_at: dict[tuple[bytes, bytes], list[Timestamp]] = {}
    for timestamp, key, value in versions:
        assert value is not None
        written_at.setdefault((key, value), []).append(timestamp)
    for done in world.done:
        places = [written_at.pop((key, value), []) for key, value in done.writes.items()]
        if any(len(place) > 1 for place in places):
            wrong.append(f"{done.name} wrote a version twice: {places}")
        if len({tuple(place) for place in places}) > 1:
            wrong.append(f"{done.name} is torn: {places}")
        if done.committed is False and any(places):
            wrong.append(f"{done.name} failed, and yet it wrote {places}")
        if done.committed and places and not all(places):
            wrong.append(f"{done.name} committed, and its writes are lost")
        if done.committed and places and places[0] and done.timestamp != places[0][0]:
            wrong.append(f"{done.name} committed at {done.timestamp}, its versions are at {places[0]}")
    if written_at:
        wrong.append(f"versions that nobody wrote: {written_at}")

    def value_at(key: bytes, timestamp: Timestamp, own: Done) -> bytes | None:
        value = None
        for at, other, new in versions:
            if other == key and (at < timestamp or (at == timestamp and new not in own.writes.values())):
                value = new
        return value

    ended = [done for done in world.done if done.committed]
    for done in ended:
        assert done.timestamp is not None
        for key, value in done.reads.items():
            truth = value_at(key, done.timestamp, done)
            if truth != value:
                wrong.append(f"{done.name} read {key!r} = {value!r} at {done.timestamp}; it was {truth!r}")
    for earlier in ended:
        for later in ended:
            assert earlier.ended is not None
            assert earlier.timestamp is not None
            assert later.timestamp is not None
            if earlier.ended < later.began:
                touched = set(earlier.writes) & (set(later.reads) | set(later.writes))
                if touched and not earlier.timestamp <= later.timestamp:
                    wrong.append(f"{later.name} began after {earlier.name} had ended, but comes before it")
    return wrong


@pytest.mark.parametrize("seed", range(12))
def test_leaders_change_and_replies_are_lost(seed: int) -> None:
    ran = run_world(seed)
    assert problems(ran) == []
    assert sum(1 for done in ran.done if done.committed and done.writes) >= 10, "little commits in this world"


@pytest.mark.parametrize("seed", range(100, 108))
def test_coordinators_die(seed: int) -> None:
    assert problems(run_world(seed, deaths=0.005)) == []


@pytest.mark.parametrize("seed", range(200, 204))
def test_calm_water(seed: int) -> None:
    """Without faults nothing is unknown, and nothing is left behind."""
    ran = run_world(seed, chaos=0.0)
    assert problems(ran) == []
    assert all(done.committed is not None for done in ran.done)
    for one in ran.ranges:
        assert len(one.state.locks) == 0
        assert one.state.records == {}
        assert len(one.latches) == 0


ALL_WAYS = ("record", "staged", "staged", "at-once")


@pytest.mark.parametrize("seed", range(400, 416))
def test_transactions_commit_in_all_ways(seed: int) -> None:
    ran = run_world(seed, deaths=0.003 * (seed % 2), ways=ALL_WAYS)
    assert problems(ran) == []


def test_each_way_is_gone() -> None:
    counts: Counter[str] = Counter()
    for seed in range(400, 408):
        counts.update(run_world(seed, deaths=0.01, ways=ALL_WAYS).committed_by)
    assert min(counts[way] for way in ("staged", "at-once", "recovery")) > 5, counts


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000, 2200))
def test_many_worlds_in_all_ways(seed: int) -> None:
    assert problems(run_world(seed, rounds=20, chaos=0.01, deaths=0.003, ways=ALL_WAYS)) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_many_worlds(seed: int) -> None:
    assert problems(run_world(seed, rounds=20, chaos=0.01, deaths=0.003)) == []


def test_deposed_leaders_do_answer() -> None:
    assert sum(run_world(seed).said_by_deposed for seed in range(5)) > 0


def test_a_seed_is_one_world_on_the_simulated_disk_and_on_the_real_one(tmp_path: Path) -> None:
    """The same seed twice, and once more on RocksDB: the same history, the same versions at the same timestamps."""
    for seed in range(300, 303):
        folders = iter(range(9))

        def on_disk(seed: int = seed, folders: Iterator[int] = folders) -> Engine:
            return RocksEngine(tmp_path / f"{seed}-{next(folders)}")

        one, two, real = run_world(seed), run_world(seed), run_world(seed, make_engine=on_disk)
        assert one.done == two.done == real.done
        assert all_versions(one) == all_versions(two) == all_versions(real)
        for leader in real.ranges:
            leader.engine.close()


def is_caught(worlds: int = 40, ways: tuple[str, ...] = ("record",)) -> bool:
    """Is anything found in one of these worlds? An assertion of the database counts."""
    for seed in range(worlds):
        try:
            if problems(run_world(seed, deaths=0.002, ways=ways)):
                return True
        except AssertionError:
            return True
    return False


def test_the_test_notices_writes_below_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimestampCache, "last_read", lambda self, key, transaction_id=None: Timestamp(0))
    assert is_caught()


def test_the_test_notices_reads_that_pass_intents(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = evaluate.evaluate_read

    def blind(request, state, leadership, timestamp):  # type: ignore[no-untyped-def]
        locks, state.locks = state.locks, type(state.locks)()
        try:
            return honest(request, state, leadership, timestamp)
        finally:
            state.locks = locks

    monkeypatch.setattr(world, "evaluate_read", blind)
    assert is_caught()


def test_the_test_notices_forgotten_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that creates records which somebody was told never to exist."""
    monkeypatch.setattr(TransactionMarkers, "why_refused", lambda self, transaction: None)
    assert is_caught()


def test_the_test_notices_refreshes_that_look_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mvcc, "first_newer", lambda self, start, end, since, until: None)
    assert is_caught()


def test_the_test_notices_unconfirmed_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deposed leader that tells what its old state says: an intent it hasn't heard of is taken for resolved."""
    honest = evaluate.evaluate_write

    def hasty(*arguments):  # type: ignore[no-untyped-def]
        return msgspec.structs.replace(honest(*arguments), confirm=False)

    monkeypatch.setattr(world, "evaluate_write", hasty)
    assert is_caught()


def test_the_test_notices_recoveries_that_keep_nothing_from_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    """An intent that was not there, and comes afterwards where it was to, commits what was recovered as aborted."""
    honest = world.begin_read

    def unnoted(request, leadership, now):  # type: ignore[no-untyped-def]
        if isinstance(request.operations[0], QueryIntent):
            return request.timestamp
        return honest(request, leadership, now)

    monkeypatch.setattr(world, "begin_read", unnoted)
    assert is_caught(80, ("staged",))


def test_the_test_notices_recoveries_that_only_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed by its intents alone is aborted by who meets one of them."""
    monkeypatch.setattr(evaluate, "_evaluate_queries", never_found)
    assert is_caught(ways=("staged",))


def never_found(request: RangeRequest, state: object, timestamp: Timestamp) -> evaluate.Evaluation:
    results = tuple(IntentState(False) for _ in request.operations)
    return evaluate.Evaluation(RangeReply(request.request_id, results, timestamp))


def test_the_test_notices_commits_at_once_that_happen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that forgets what it has committed at once, and is asked again."""
    monkeypatch.setattr(TransactionMarkers, "commit", lambda self, transaction_id, at, now: None)
    assert is_caught(ways=("at-once",))


def test_keys_lie_in_both_ranges() -> None:
    assert {range_of(key) for key in KEYS} == {0, 1}
