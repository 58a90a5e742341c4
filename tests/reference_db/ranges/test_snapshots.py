"""Snapshots in pieces: they carry everything, go on after a crash, are put in place whole or not at all, and are
bounded in number, speed and memory."""

import asyncio
import random
from collections.abc import Callable, Iterable

import msgspec
import pytest

from reference_db.api import (
    BeginTransaction,
    ClientAdd,
    ClientForsake,
    ClientGet,
    ClientPut,
    ClientSplit,
    CommitTransaction,
    Consistency,
)
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection, NodeOptions
from reference_db.raft import ConfState, HardState, Snapshot
from reference_db.ranges.snapshots import WINDOW
from reference_db.ranges.store import read_descriptors
from reference_db.storage import keys
from reference_db.storage.engine import MemoryEngine, WriteBatch
from reference_db.storage.raft_log import RaftLog, bootstrap_range
from reference_db.storage.range_snapshot import AppliedState, read_applied_state
from reference_db.storage.snapshot_pieces import (
    Arrival,
    PieceHead,
    SnapshotView,
    arrived,
    checksum_after,
    finish_placing,
    keep_piece,
    read_arriving,
)
from tests.reference_db.test_sessions import Session
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Unanswered, World

SHORT: dict[str, int] = {"log_entries_kept": 10, "log_bytes_most": 1000, "settled_ticks": 1_000_000}
PIECES = NodeOptions(**SHORT, snapshot_chunk_bytes=1000, snapshot_bytes_per_second=20_000)
"""A snapshot of 60 kB travels for three seconds."""


def data_of(world: World, name: str, range_id: int = 1) -> list[tuple[bytes, bytes]]:
    """All that a node's engine holds of a range, but for Raft's own."""
    descriptor = world.nodes[name].store.replicas[range_id].descriptor
    engine = world.engines[name]
    spans = [keys.span(kind, descriptor.start, descriptor.end) for kind in keys.DATA]
    pairs = [pair for span in spans for pair in engine.scan(*span)]
    return [*pairs, (b"descriptor", engine.get(keys.descriptor_key(range_id)) or b"")]


async def behind(seed: int = 0, options: NodeOptions = PIECES, ranges: int = 1, kb: int = 60) -> World:
    """n3 is down while n1 and n2 take many writes and forget their logs."""
    world = World(seed=seed, ranges=ranges, options=options, watcher=Watcher())
    world.start_all()
    await world.wait_until_led()
    await world.ask("n1", ClientPut(b"k", b"old"))
    await asyncio.sleep(0.5)
    world.crash("n3")
    await world.wait_for(lambda: all(world.leader(one) in ("n1", "n2") for one in world.range_ids()))
    for number in range(2 * kb):
        await world.ask("n1", ClientPut(b"%c%d" % (97 + number % 26, number), b"x" * 450))
    return world


async def caught_up(world: World) -> None:
    await world.wait_for(world.is_quiet, timeout_s=60, what="n3 has caught up")
    assert world.violations == []
    await world.stop()


def counters(world: World, *names: str) -> dict[str, int]:
    found = [world.nodes[name].store.snapshots for name in names or sorted(world.nodes)]
    names_of = type(found[0]).__dataclass_fields__
    return {name: sum(getattr(one, name) for one in found) for name in names_of}


def test_a_snapshot_in_many_pieces_carries_everything() -> None:
    """Versions, intents and the record of a transaction that nobody drives, the reply to a write of a session,
    descriptor and membership: n3 holds byte for byte what its leader holds, has the same in memory, remembers the
    session's write when it leads, and answers bounded reads."""

    async def story() -> None:
        options = NodeOptions(
            **SHORT,
            snapshot_chunk_bytes=500,
            fault_points=True,
            one_range_commit=False,
            transaction_expiry_ms=600_000,
        )
        world = await behind(options=options, kb=20)
        session = await Session.open(world, "n1")
        counted = await session.write("n1", ClientAdd(b"counter", 5), sequence=1)
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(), connection)
        for key in (b"under way", b"zz"):
            await world.ask("n1", ClientPut(key, b"2", number), connection)
        await world.ask("n1", ClientForsake("intents-laid", 1))
        with pytest.raises(Unanswered):
            await world.ask("n1", CommitTransaction(number), connection, timeout_s=0.5)
        leader = world.leader(1) or ""
        theirs = world.nodes[leader].store.replicas[1]
        world.start("n3")
        mine = world.nodes["n3"].store.replicas[1]
        await world.wait_for(lambda: mine.applied_index == theirs.applied_index, what="n3 has caught up")
        assert counters(world, "n3")["placed"] == 1
        size = sum(len(key) + len(value) for key, value in data_of(world, leader))
        assert size // 1500 < counters(world, leader)["pieces"] < size // 400
        assert data_of(world, "n3") == data_of(world, leader)
        assert (len(mine.state.locks), len(mine.state.records)) == (2, 1)
        assert len(theirs.state.locks) == 2
        assert sorted(mine.state.records) == sorted(theirs.state.records)
        assert mine.log.applied_state() == theirs.log.applied_state()
        assert mine.descriptor == theirs.descriptor
        await asyncio.sleep(1.0)
        bounded = ClientGet(b"k", consistency=Consistency.BOUNDED, max_staleness_ms=5000)
        assert await world.ask("n3", bounded) == b"old"
        await asyncio.sleep(1.0)
        assert await world.ask("n3", bounded) == b"old"
        assert world.nodes["n3"].store.reads.bounded > 0
        theirs.group.transfer_leadership(3)
        world.nodes[leader].store._touch(theirs)
        await world.wait_for(lambda: world.leader(1) == "n3", what="n3 leads")
        again = await session.write("n3", ClientAdd(b"counter", 5), sequence=1, retry=True)
        assert again == counted, "it is not carried out a second time"
        assert world.violations == []
        await world.stop()

    run_virtually(story())


def test_who_is_restarted_in_the_middle_goes_on_where_it_was() -> None:
    """n3 is killed when it has a third of the pieces, and again later. None of those it had answered is sent again."""

    async def story() -> None:
        world = await behind()
        world.start("n3")
        leader = world.leader(1) or ""
        for least in (20, 40):
            await world.wait_for(lambda least=least: counters(world, leader)["pieces"] >= least)
            world.crash("n3")
            await asyncio.sleep(0.3)
            world.start("n3")
        await world.wait_for(lambda: counters(world, "n3")["placed"] == 1, what="the snapshot is in place")
        found = counters(world, leader)
        assert world.trace.marks["a node started with a part of a snapshot"] == 2  # type: ignore[attr-defined]
        assert found["restarts"] == found["given_up"] == 0
        assert 0 < found["resent"] <= 2 * WINDOW
        assert world.nodes[leader].store.counters.snapshots == 1
        await caught_up(world)

    run_virtually(story())


def test_a_link_that_is_cut_for_a_while_costs_what_was_under_way_on_it() -> None:
    async def story() -> None:
        world = await behind()
        world.start("n3")
        leader = world.leader(1) or ""
        await world.wait_for(lambda: counters(world, leader)["pieces"] >= 20)
        world.cut |= {(leader, "n3")}
        await asyncio.sleep(0.7)
        world.heal()
        await world.wait_for(lambda: counters(world, "n3")["placed"] == 1, what="the snapshot is in place")
        found = counters(world, leader)
        assert found["restarts"] == found["given_up"] == 0
        assert 0 < found["resent"] <= 2 * WINDOW
        await caught_up(world)

    run_virtually(story())


def test_another_sender_begins_anew_and_what_was_there_is_forgotten() -> None:
    async def story() -> None:
        world = await behind()
        world.start("n3")
        leader = world.leader(1) or ""
        other = "n2" if leader == "n1" else "n1"
        await world.wait_for(lambda: counters(world, leader)["pieces"] >= 20)
        world.crash(leader)
        await world.wait_for(lambda: world.leader(1) == other, what="another leader")
        await world.wait_for(lambda: counters(world, "n3")["placed"] == 1, what="the snapshot is in place")
        assert counters(world, other)["pieces"] > 35
        world.start(leader)
        await caught_up(world)
        assert read_arriving(world.engines["n3"]) == {}

    run_virtually(story())


def test_many_snapshots_are_bounded_in_number_speed_and_memory() -> None:
    """Six ranges of 15 kB each for one follower: two at once, 20 kB a second, and never more than two windows of pieces
    in memory."""

    async def story() -> None:
        options = NodeOptions(
            **SHORT,
            snapshot_chunk_bytes=1000,
            snapshot_bytes_per_second=20_000,
            snapshots_most=2,
            quiesce_ticks=1000,
        )
        world = await behind(ranges=1, kb=0, options=options)
        world.start("n3")
        for key in (b"d", b"g", b"j", b"m", b"p"):
            await world.ask("n1", ClientSplit(key))
        await caught_up_quietly(world)
        world.crash("n3")
        await world.wait_for(lambda: all(world.leader(one) in ("n1", "n2") for one in world.range_ids()))
        for number in range(6 * 30):
            key = b"adgjmp"[number % 6 : number % 6 + 1] + b"x%d" % number
            await world.ask("n1", ClientPut(key, b"x" * 450))
        begin = asyncio.get_running_loop().time()
        world.start("n3")
        most = 0
        while counters(world, "n3")["placed"] < 6:
            senders = [world.nodes[name].store.sender for name in ("n1", "n2")]
            assert all(sender.sending <= 2 for sender in senders)
            assert world.nodes["n3"].store.receiver.receiving <= 2
            most = max(most, *(sender.sending for sender in senders))
            await asyncio.sleep(0.02)
        seconds = asyncio.get_running_loop().time() - begin
        assert most == 2
        for name in ("n1", "n2"):
            found = counters(world, name)
            assert found["bytes"] <= 20_000 * (seconds + 0.2) + 2 * WINDOW * 1500
            assert found["peak_bytes"] <= 2 * WINDOW * 1500
        assert counters(world, "n3")["peak_bytes"] <= 2 * WINDOW * 1500
        await caught_up(world)

    run_virtually(story())


async def caught_up_quietly(world: World) -> None:
    await world.wait_for(world.is_quiet, timeout_s=60)


def test_a_snapshot_while_its_range_goes_on_is_of_one_moment() -> None:
    """Writes go on, and the range is split, while its pieces are on their way: n3 gets the range as it was when the
    first piece was read, and the rest from the log or by another snapshot."""

    async def story() -> None:
        world = await behind()
        world.start("n3")
        leader = world.leader(1) or ""
        await world.wait_for(lambda: counters(world, leader)["pieces"] >= 10)
        for number in range(30):
            await world.ask(leader, ClientPut(b"%c%d" % (97 + number % 26, number), b"new"))
        await world.ask(leader, ClientSplit(b"m"))
        await world.wait_for(lambda: len(world.nodes["n3"].store.replicas) >= 2, 60, "n3 has both halves")
        await caught_up_quietly(world)
        for range_id in world.range_ids():
            assert data_of(world, "n3", range_id) == data_of(world, leader, range_id)
        await caught_up(world)

    run_virtually(story())


# Put in place as a whole.

RANGE = 7


class _Keep(random.Random):
    """Draws how many batches a crash leaves."""

    def __init__(self, kept: int) -> None:
        super().__init__(0)
        self.kept = kept

    def randint(self, a: int, b: int) -> int:
        assert a <= self.kept <= b
        return self.kept


def pieces_of(engine: MemoryEngine, most_bytes: int) -> tuple[bytes, list[tuple[PieceHead, bytes]]]:
    view = SnapshotView(engine, RANGE, b"", None)
    found: list[tuple[PieceHead, bytes]] = []
    checksum = checksum_after(0, view.head)
    while not found or not view.is_at_end:
        data = view.next_piece(most_bytes)
        checksum = checksum_after(checksum, data)
        found.append((PieceHead(1, len(found), checksum, view.is_at_end, view.head), data))
    return view.head, found


def replica(values: Iterable[bytes], index: int) -> MemoryEngine:
    engine, batch = MemoryEngine(), WriteBatch()
    bootstrap_range(batch, RANGE, b"descriptor %d" % index, [1, 2, 3])
    for number, value in enumerate(values):
        batch.put(keys.lock_key(b"%d" % number), value)
    batch.put(keys.applied_key(RANGE), _encoded(AppliedState(index, 2, ConfState((1, 2, 3)))))
    engine.write(batch)
    engine.sync()
    return engine


def _encoded(state: object) -> bytes:
    return msgspec.msgpack.encode(state)


def content(engine: MemoryEngine) -> tuple[object, ...]:
    low, high = keys.span(keys.LOCK, b"", None)
    return (
        read_applied_state(engine, RANGE),
        engine.get(keys.descriptor_key(RANGE)),
        tuple(engine.scan(low, high)),
    )


def placed_until(kept: int | None) -> tuple[MemoryEngine, int]:
    """A replica at index 5 is given a snapshot of index 9 in ten pieces; a crash leaves so many of the batches by which
    it is put in place (None: there is none). And how many there are."""
    source = replica([b"new" * 10] * 40, 9)
    target = replica([b"old"] * 60, 5)
    head, pieces = pieces_of(source, 200)
    for piece, data in pieces:
        batch = WriteBatch()
        keep_piece(batch, RANGE, Arrival(1, 1, head), piece, data)
        target.write(batch)
    target.sync()
    log = RaftLog(target, RANGE)
    last = WriteBatch()
    snapshot = Snapshot(9, 2, ConfState((1, 2, 3)), arrived(head, len(pieces)))
    log.restore(last, snapshot)
    log.set_hard_state(last, HardState(2, 0, 9))
    target.write(last)
    count = target.unsynced
    if kept is not None:
        target.crash(_Keep(kept))
    return target, count


def test_a_crash_while_a_snapshot_is_put_in_place_leaves_the_old_state_or_the_new_one() -> None:
    """At each point: after none of the batches, after the first, after each piece, and after the last."""
    whole, count = placed_until(None)
    new = content(whole)
    assert len(new[2]) == 40, "the pairs of the snapshot, and none of those before"  # type: ignore[arg-type]
    assert count > 8
    for kept in range(count + 1):
        engine, _ = placed_until(kept)
        if kept == 0:
            assert finish_placing(engine) == []
            assert content(engine)[0] == AppliedState(5, 2, ConfState((1, 2, 3)))
            assert len(content(engine)[2]) == 60  # type: ignore[arg-type]
            assert read_arriving(engine)[RANGE].is_whole, "it need not be sent again"
            continue
        assert finish_placing(engine) == ([RANGE] if kept < count else [])
        assert content(engine) == new
        log = RaftLog(engine, RANGE)
        assert (log.first_index(), log.last_index(), log.hard_state.commit) == (10, 9, 9)
        assert finish_placing(engine) == [], "it is done once"
        assert read_arriving(engine) == {}


@pytest.mark.parametrize("seed", range(4))
def test_a_node_that_dies_while_a_snapshot_is_put_in_place_is_whole_when_it_is_back(seed: int) -> None:
    """In a cluster: n3 dies in the turn that puts it in place, and its disk keeps a random prefix of the batches."""

    async def story() -> None:
        world = await behind(seed, NodeOptions(**SHORT, snapshot_chunk_bytes=1000), kb=20)
        world.slow_disks["n3"] = (0.05, 0.05)
        world.start("n3")
        store = world.nodes["n3"].store
        await world.wait_for(lambda: store.snapshots.placed == 1, step_s=0.001)
        assert world.engines["n3"].unsynced > 10
        world.crash("n3")
        world.start("n3")
        await caught_up_quietly(world)
        leader = world.leader(1) or ""
        assert data_of(world, "n3") == data_of(world, leader)
        await caught_up(world)

    run_virtually(story())


def test_pieces_that_are_damaged_missing_or_of_another_snapshot_do_not_fit() -> None:
    """What an engine keeps of an arriving snapshot counts up to the first piece that does not fit."""
    head, pieces = pieces_of(replica([b"x" * 30] * 40, 9), 200)

    def kept(change: Callable[[int, bytes], bytes | None]) -> int:
        engine = MemoryEngine()
        for piece, data in pieces:
            batch = WriteBatch()
            changed = change(piece.number, data)
            if changed is not None:
                keep_piece(batch, RANGE, Arrival(1, 1, head), piece, changed)
            engine.write(batch)
        return read_arriving(engine)[RANGE].pieces

    assert kept(lambda _number, data: data) == len(pieces)
    assert kept(lambda number, data: data[:-1] + b"?" if number == 3 else data) == 3
    assert kept(lambda number, data: None if number == 4 else data) == 4
    assert kept(lambda number, data: pieces[1][1] if number == 2 else data) == 2


def test_two_ranges_that_are_split_in_one_turn_are_both_known_after_a_restart() -> None:
    """What a node has replicas of is written once a turn, after all that the turn has brought."""

    async def story() -> None:
        world = World(ranges=2)
        world.start_all()
        await world.wait_until_led()
        follower = next(name for name in world.names if name not in (world.leader(1), world.leader(2)))
        world.slow_disks[follower] = (0.4, 0.4)
        await asyncio.sleep(0.5)
        middle = world.nodes["n1"].store.replicas[2].descriptor.start
        await asyncio.gather(
            world.ask("n1", ClientSplit(b"\x20")), world.ask("n1", ClientSplit(middle + b"\x01"))
        )
        await world.wait_for(lambda: len(world.nodes[follower].store.replicas) == 4)
        store = world.nodes[follower].store
        assert len(read_descriptors(world.engines[follower])) == 4
        assert store.counters.splits == 2
        await world.stop()

    run_virtually(story())
