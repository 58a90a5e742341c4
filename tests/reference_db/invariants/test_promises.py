"""Promises to readers that are broken: each is seen by the watcher where the clean twin shows nothing."""

import asyncio
from collections.abc import Callable

import pytest

from reference_db.api import ClientGet, ClientPut, Consistency, Transaction
from reference_db.defects import lease_wallclock
from reference_db.invariants import Watcher
from reference_db.invariants.promises import Closed
from reference_db.node import Node, NodeOptions
from reference_db.timestamp import Timestamp
from reference_db.txn.command import Command, PutIntent, PutVersion, RemoveIntent
from reference_db.txn.locks import Intent
from tests.reference_db.chosen import at_once
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

LEASE = Consistency.LEASE


@pytest.mark.parametrize("plant", [lease_wallclock.plant, None])
def test_a_lease_by_the_wall_clock_outlasts_the_promise_on_which_it_rests(
    plant: Callable[[Node], None] | None,
) -> None:
    """The leader is cut off just after it has checked its quorum, and its wall clock is set back by a minute."""

    async def story() -> tuple[int, list[str]]:
        options = NodeOptions(settled_ticks=1_000_000)
        world = World(seed=3, ranges=2, options=options, plant=plant, watcher=Watcher())
        world.start_all()
        await world.wait_until_led()
        leader = world.leader(1) or ""
        await world.ask(leader, ClientPut(b"1k", b"old"))
        await world.ask(leader, ClientGet(b"1k", 0, LEASE))
        await asyncio.sleep(0.5)
        core = world.nodes[leader].store.replicas[1].group.core
        await world.wait_for(lambda: core.election_elapsed == 0, step_s=0.0005)
        others = [name for name in world.names if name != leader]
        world.nodes[others[0]].store.replicas[1].group.set_randomized_timeout(10)
        world.isolate(leader)
        world.clock_offsets_ns[leader] -= 60_000_000_000
        late = 0
        for _ in range(400):
            await asyncio.sleep(0.005)
            reply = await at_once(world, leader, b"1k", LEASE)
            leads = any(world.nodes[name].store.replicas[1].group.is_leader for name in others)
            late += leads and reply is not None and reply.error is None
        await world.stop()
        return late, [one.name for one in world.violations]

    late, violations = run_virtually(story())
    assert (late > 0, violations) == ((True, ["one lease"]) if plant else (False, []))


def command(*mutations: PutVersion | PutIntent | RemoveIntent) -> Command:
    return Command(1, Timestamp(100, 0), mutations)


def test_what_is_written_below_a_closing_behind_it_is_seen() -> None:
    closed = Closed()
    closed.heard(Timestamp(10, 0), 5)
    low = command(PutVersion(b"k", Timestamp(10, 0), b"v"))
    assert closed.broken_by(5, low) is None, "it stands where readers have applied it"
    assert "entry 6 writes a version of b'k' at 10.0; 10.0 was closed at index 5" in (
        closed.broken_by(6, low) or ""
    )
    assert closed.broken_by(6, command(PutVersion(b"k", Timestamp(10, 1), b"v"))) is None
    intent = Intent(Transaction(b"t" * 16, b"k", Timestamp(9, 0), Timestamp(9, 0)), Timestamp(9, 0), b"v", 1)
    assert "an intent" in (closed.broken_by(6, command(PutIntent(b"k", intent))) or "")
    made_final = command(PutVersion(b"k", Timestamp(9, 0), b"v"), RemoveIntent(b"k"))
    assert closed.broken_by(6, made_final) is None, "readers have met its intent"


def test_a_closing_that_says_less_changes_nothing() -> None:
    closed = Closed()
    for timestamp, index in ((10, 5), (8, 7), (10, 6), (20, 9), (15, 9)):
        closed.heard(Timestamp(timestamp, 0), index)
    at_12 = command(PutVersion(b"k", Timestamp(12, 0), b"v"))
    assert closed.broken_by(9, at_12) is None
    assert "20.0 was closed at index 9" in (closed.broken_by(10, at_12) or "")
    closed.heard(Timestamp(30, 0), 6)
    assert "30.0 was closed at index 6" in (closed.broken_by(10, at_12) or "")


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_a_write_below_what_some_replica_may_read_by_is_seen_when_it_is_applied(ahead_s: int) -> None:
    """A closing is heard of whose timestamp is an hour ahead (behind) of all clocks, and then somebody writes."""

    async def story() -> list[str]:
        world = World(seed=1, ranges=1, watcher=Watcher())
        world.start_all()
        await world.wait_until_led()
        assert world.watcher is not None
        node = world.nodes["n1"]
        at = Timestamp(node.clock.now().wall_ns + ahead_s * 1_000_000_000, 0)
        assert node.store.closed.on_heard is not None
        node.store.closed.on_heard(1, at, node.store.replicas[1].applied_index)
        await world.ask("n1", ClientPut(b"k", b"v"))
        await world.stop()
        return [one.name for one in world.violations]

    assert run_virtually(story())[:1] == (["closed for ever"] if ahead_s > 0 else [])
