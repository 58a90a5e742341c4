"""Elections when a node dies that led many ranges: as few requests for votes as can be, in time; and worse without."""

import asyncio
import contextlib
import random
from dataclasses import dataclass

import pytest

from reference_db.node import NodeOptions
from reference_db.raft import Config, MemoryLogStore, RaftGroup, Role
from reference_db.raft.core import RaftCore
from reference_db.ranges.descriptor import Descriptor, bootstrap
from reference_db.ranges.elections import UNDER_WAY_TICKS, ElectionBound, election_window, succession
from reference_db.ranges.options import StoreOptions
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

RANGES = 30
LED = RANGES // 3
FOLLOWERS = 2
UPPER_ELECTION_S = 2.0


@dataclass
class Storm:
    """What a death cost."""

    vote_factor: float
    """Requests for votes sent, in proportion to what is needed."""
    pre_vote_factor: float
    recovery_s: float
    """Until every range serves again; infinite if that took more than half a minute."""
    heirs: dict[str, int]
    """How many of the ranges each survivor leads."""


async def kill_a_leader(seed: int, options: NodeOptions) -> Storm:
    """One of three nodes dies, at some moment between two ticks and two heartbeats."""
    world = World(seed=seed, ranges=RANGES, options=options)
    world.start_all()
    await world.wait_until_led()
    await asyncio.sleep(1.0 + seed % 10 * 0.13)
    orphans = [number for number in range(1, RANGES + 1) if world.leader(number) == "n1"]
    assert len(orphans) == LED
    world.crash("n1")
    loop = asyncio.get_running_loop()
    begin = loop.time()
    counters = [node.store.counters for node in world.nodes.values()]
    votes = sum(one.votes for one in counters)
    pre_votes = sum(one.pre_votes for one in counters)
    recovery_s = float("inf")
    with contextlib.suppress(AssertionError):
        await world.wait_for(world.all_led, 30.0)
        recovery_s = loop.time() - begin
    ideal = LED * FOLLOWERS
    heirs = {name: sum(world.leader(number) == name for number in orphans) for name in world.nodes}
    await world.stop()
    return Storm(
        (sum(one.votes for one in counters) - votes) / ideal,
        (sum(one.pre_votes for one in counters) - pre_votes) / ideal,
        recovery_s,
        heirs,
    )


def assert_calm(storm: Storm) -> None:
    assert storm.vote_factor <= 2
    assert storm.pre_vote_factor <= 2
    assert storm.recovery_s <= UPPER_ELECTION_S + 2.0


@pytest.mark.parametrize("seed", range(5))
def test_a_nodes_death_costs_one_election_a_range_and_its_ranges_spread(seed: int) -> None:
    storm = run_virtually(kill_a_leader(seed, NodeOptions()))
    assert_calm(storm)
    assert storm.heirs == {"n2": LED // 2, "n3": LED // 2}


@pytest.mark.slow
def test_a_hundred_deaths_are_no_storm() -> None:
    for seed in range(100):
        assert_calm(run_virtually(kill_a_leader(seed, NodeOptions())))


@pytest.mark.parametrize("seed", [2, 3])
def test_without_control_the_same_death_is_a_storm(seed: int) -> None:
    """Both followers of every range campaign at once, in vain, and do so again, unless luck sets them apart."""
    storm = run_virtually(kill_a_leader(seed, NodeOptions(storm_control="off")))
    assert storm.vote_factor > 5
    assert storm.recovery_s > UPPER_ELECTION_S + 1.0


def test_jitter_alone_and_priority_alone_are_enough_and_jitter_alone_is_slower() -> None:
    jitter = [run_virtually(kill_a_leader(seed, NodeOptions(election_priority="off"))) for seed in range(5)]
    priority = [run_virtually(kill_a_leader(seed, NodeOptions(election_jitter="off"))) for seed in range(5)]
    for storm in (*jitter, *priority):
        assert_calm(storm)
    assert sum(storm.vote_factor for storm in priority) <= sum(storm.vote_factor for storm in jitter)
    assert max(storm.recovery_s for storm in priority) < max(storm.recovery_s for storm in jitter)


def test_leaders_go_back_to_where_they_were_with_one_transfer_each() -> None:
    async def story() -> None:
        world = World(ranges=RANGES)
        world.start_all()
        await world.wait_until_led()
        before = [world.leader(number) for number in range(1, RANGES + 1)]
        world.crash("n1")
        await world.wait_for(world.all_led)
        world.start("n1")
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await world.wait_for(
            lambda: [world.leader(number) for number in range(1, RANGES + 1)] == before, 60.0, "leaders back"
        )
        # They settle for 3 s, and then all go in one look; one a second would take 10 s.
        assert loop.time() - begin < 3.0 + 2.0
        assert world.trace.marks["a leader handed over to the preferred replica"] == LED  # type: ignore[attr-defined]
        assert world.trace.marks["a leadership transfer began"] == LED  # type: ignore[attr-defined]
        await world.stop()

    run_virtually(story())


def test_only_so_many_ranges_are_handed_over_at_once() -> None:
    async def story() -> None:
        world = World(ranges=RANGES, options=NodeOptions(handovers_most=2))
        world.start_all()
        await world.wait_until_led()
        world.crash("n1")
        await world.wait_for(world.all_led)
        world.start("n1")
        most = 0

        def back() -> bool:
            nonlocal most
            under_way = max(node.store.handing_over for node in world.nodes.values())
            most = max(most, under_way)
            return all(world.leader(number) == "n1" for number in range(1, RANGES + 1, 3))

        await world.wait_for(back, 60.0, "leaders back", step_s=0.0005)
        assert most == 2
        await world.stop()

    run_virtually(story())


def test_the_order_of_succession_differs_from_range_to_range() -> None:
    nodes = ("n1", "n2", "n3", "n4", "n5")
    descriptors = bootstrap(300, nodes, 3)
    for one in descriptors:
        assert succession(one)[0] == one.preferred_leader
        assert sorted(succession(one)) == sorted(one.replicas)
    seconds = [succession(one)[1] for one in descriptors if one.preferred_leader == "n1"]
    assert {name: seconds.count(name) for name in ("n2", "n3")} == {"n2": 30, "n3": 30}
    assert succession(Descriptor(7, b"", None, ("n4",))) == ("n4",)


def windows(**options: object) -> list[tuple[int, int]]:
    descriptor = Descriptor(3, b"", None, ("n1", "n2", "n3"))
    given = StoreOptions(election_ticks=10, **options)  # type: ignore[arg-type]
    return [election_window(descriptor, node, given) for node in succession(descriptor)]


def test_replicas_draw_their_timeouts_from_parts_of_the_interval_that_do_not_overlap() -> None:
    assert windows() == [(10, 13), (13, 16), (16, 20)]
    assert windows(election_priority="off") == [(10, 20)] * 3
    assert windows(election_jitter="off") == [(10, 11), (13, 14), (16, 17)]
    assert windows(storm_control="off") == [(10, 11)] * 3
    descriptor = Descriptor(3, b"", None, ("n1", "n2", "n3"))
    assert election_window(descriptor, "n9", StoreOptions()) == (10, 20), "no replica, so it never campaigns"


def member(elapsed: int, role: Role = Role.FOLLOWER) -> RaftCore:
    group = RaftGroup(Config(1, election_window=(10, 11)), MemoryLogStore(), random.Random(1))
    core = group.core
    core.role = role
    core.election_elapsed = elapsed
    return core


def test_a_node_starts_only_so_many_elections_while_others_are_under_way() -> None:
    bound = ElectionBound(StoreOptions(elections_most=3))
    fresh, old = member(0, Role.CANDIDATE), member(UNDER_WAY_TICKS, Role.PRE_CANDIDATE)
    due = [member(9) for _ in range(4)]
    everybody = [fresh, old, *due, member(3)]
    for _ in range(2):
        bound.next_tick()
        # One is under way; another counts no more.
        assert [bound.holds_back(core, everybody) for core in due] == [False, False, True, True]
    bound.next_tick()
    assert not bound.holds_back(member(3), everybody), "its time has not come"
    assert not bound.holds_back(member(9, Role.LEADER), everybody)
    for options in (StoreOptions(elections_most=0), StoreOptions(elections_most=1, storm_control="off")):
        free = ElectionBound(options)
        assert not any(free.holds_back(core, everybody) for core in due)


def test_a_new_clusters_first_elections_are_bounded_too() -> None:
    async def story() -> None:
        world = World(ranges=RANGES, options=NodeOptions(elections_most=2))
        world.start_all()
        most = 0

        def led() -> bool:
            nonlocal most
            for node in world.nodes.values():
                replicas = node.store.replicas.values()
                most = max(
                    most,
                    sum(one.group.role in (Role.PRE_CANDIDATE, Role.CANDIDATE) for one in replicas),
                )
            return world.all_led()

        await world.wait_for(led, what="leaders", step_s=0.0005)
        assert most == 2
        assert [world.leader(number) for number in range(1, RANGES + 1)] == ["n1", "n2", "n3"] * LED
        await world.stop()

    run_virtually(story())
