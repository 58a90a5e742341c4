"""Snapshots that leave an old log behind, or an old memory; and the same stories with the clean database."""

import asyncio
import contextlib
from collections.abc import Callable

from reference_db.api import ClientGet, ClientPut
from reference_db.defects import snap_keeps_suffix, snap_not_atomic, snap_not_loaded, snap_piece_skipped
from reference_db.invariants import Watcher
from reference_db.node import Node, NodeOptions
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

SHORT_LOG = NodeOptions(log_entries_kept=10, log_bytes_most=1000)


async def write_many(world: World, name: str, count: int, value: bytes = b"x") -> None:
    for number in range(count):
        await world.ask(name, ClientPut(b"k%d" % number, value))


async def lead_after_a_snapshot(world: World) -> bytes | None:
    """1. All know the old value. 2. n3 is cut off while it is replaced, and the log is compacted. 3. n3 is given a
    snapshot, and then the leadership. Returns what it reads."""
    world.start_all()
    await world.wait_until_led()
    await world.ask("n1", ClientPut(b"0", b"old"))
    await asyncio.sleep(0.5)
    world.isolate("n3")
    await world.ask("n1", ClientPut(b"0", b"new"))
    await write_many(world, "n1", 60)
    world.heal()
    await world.wait_for(world.is_quiet, what="n3 to catch up")
    assert world.trace.marks["a replica was restored from a snapshot"]  # type: ignore[attr-defined]
    leader = world.leader(1)
    assert leader is not None
    world.nodes[leader].store.replicas[1].group.transfer_leadership(3)
    world.nodes[leader].store._touch(world.nodes[leader].store.replicas[1])
    await world.wait_for(lambda: world.leader(1) == "n3", what="n3 to lead")
    value: bytes | None = await world.ask("n3", ClientGet(b"0"))
    await world.stop()
    return value


def test_a_memory_that_is_not_loaded_anew_serves_the_past() -> None:
    async def story() -> bytes | None:
        return await lead_after_a_snapshot(World(ranges=1, options=SHORT_LOG, plant=snap_not_loaded.plant))

    assert run_virtually(story()) == b"old"


def test_a_memory_that_is_loaded_anew_serves_the_present() -> None:
    async def story() -> bytes | None:
        return await lead_after_a_snapshot(World(ranges=1, options=SHORT_LOG))

    assert run_virtually(story()) == b"new"


async def restart_after_a_snapshot(world: World) -> list[int]:
    """1. n1 leads, is cut off, and takes many entries alone. 2. The others go on for long enough to compact their logs.
    3. n1 is given a snapshot, which ends before its own entries do, and is restarted. Returns the terms in its log."""
    world.start_all()
    await world.wait_until_led()
    assert world.leader(1) == "n1"
    world.isolate("n1")

    async def try_to_write(number: int) -> None:
        with contextlib.suppress(Refused, Unanswered):
            await world.ask("n1", ClientPut(b"lost%d" % number, b"x"), timeout_s=0.5)

    await asyncio.gather(*(try_to_write(number) for number in range(300)))
    await world.wait_for(lambda: world.leader(1) not in (None, "n1"), what="another leader")
    await write_many(world, "n2", 60)
    world.heal()
    await world.wait_for(world.is_quiet, what="n1 to catch up")
    assert world.trace.marks["a replica was restored from a snapshot"]  # type: ignore[attr-defined]
    world.engines["n1"].sync()
    world.crash("n1")
    log = world.start("n1").store.replicas[1].group.core.log
    terms = [log.term(index) for index in range(log.first_index - 1, log.last_index + 1)]
    await world.stop()
    return terms


def test_a_log_behind_a_snapshot_comes_back_with_the_restart() -> None:
    async def story() -> list[int]:
        return await restart_after_a_snapshot(
            World(ranges=1, options=SHORT_LOG, plant=snap_keeps_suffix.plant)
        )

    terms = run_virtually(story())
    assert terms != sorted(terms)


def test_a_snapshot_replaces_the_whole_log() -> None:
    async def story() -> list[int]:
        return await restart_after_a_snapshot(World(ranges=1, options=SHORT_LOG))

    terms = run_virtually(story())
    assert terms == sorted(terms)


SMALL_PIECES = NodeOptions(
    log_entries_kept=10, log_bytes_most=1000, snapshot_chunk_bytes=100, snapshot_bytes_per_second=2500
)
"""One or two pieces a tick, so that a frame has one and not a whole window."""


async def come_back_by_pieces(seed: int, plant: Callable[[Node], None] | None, *, drop: float) -> World:
    """n3 is down while many keys are written, and is given a snapshot of many pieces, over links that drop frames."""
    world = World(seed=seed, ranges=1, options=SMALL_PIECES, plant=plant, watcher=Watcher())
    world.start_all()
    await world.wait_until_led()
    world.crash("n3")
    await world.wait_for(lambda: world.leader(1) in ("n1", "n2"))
    await write_many(world, "n1", 60, b"x" * 20)
    world.slow_disks["n3"] = (0.05, 0.05)
    world.start("n3")
    world.drop = drop
    await world.wait_for(lambda: world.nodes["n3"].store.snapshots.placed == 1, 60.0, step_s=0.001)
    return world


async def lose_a_piece(plant: Callable[[Node], None] | None) -> tuple[list[str], int]:
    """What the invariants say, and how many keys n3 holds."""
    world = await come_back_by_pieces(4, plant, drop=0.3)
    world.heal()
    await asyncio.sleep(2.0)
    world.look("n3")
    state = world.nodes["n3"].store.replicas[1].state
    held = sum(state.mvcc.newest(b"k%d" % number) is not None for number in range(60))
    await world.stop()
    return [one.name for one in world.violations], held


def test_a_piece_that_is_not_missed_is_missing_in_the_state() -> None:
    names, held = run_virtually(lose_a_piece(snap_piece_skipped.plant))
    assert names
    assert held < 60


def test_a_piece_that_is_lost_is_sent_again() -> None:
    assert run_virtually(lose_a_piece(None)) == ([], 60)


async def die_while_it_is_put_in_place(seed: int, plant: Callable[[Node], None] | None) -> list[str]:
    """n3 dies in the turn that puts its snapshot in place; its disk keeps a random prefix of the batches. What the
    invariants say when it is back."""
    world = await come_back_by_pieces(seed, plant, drop=0.0)
    world.crash("n3")
    world.start("n3")
    await asyncio.sleep(3.0)
    await world.stop()
    return [one.name for one in world.violations]


def test_half_a_snapshot_under_the_old_index_is_found_when_the_node_is_back() -> None:
    assert any(run_virtually(die_while_it_is_put_in_place(seed, snap_not_atomic.plant)) for seed in range(4))


def test_half_a_snapshot_is_finished_before_anybody_looks() -> None:
    for seed in range(4):
        assert run_virtually(die_while_it_is_put_in_place(seed, None)) == []
