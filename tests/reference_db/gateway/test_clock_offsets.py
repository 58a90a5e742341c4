"""A node whose clock is too far from the others' measures that, and stops itself within one interval."""

import asyncio
import re

import pytest

from reference_db.api import ClientGet, ClientPut
from reference_db.gateway.clock_offsets import ClockOffsets, Measured, measured
from reference_db.node import NodeOptions
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World

MS = 1_000_000
OPTIONS = NodeOptions(max_offset_ms=500, offset_interval_ms=1000)
ROUND_TRIP_S = 0.1
"""More than one takes in these worlds."""


def test_an_offset_is_known_up_to_half_of_the_round_trip() -> None:
    """Asked at 100 by our clock; the answer 250 comes 20 later: theirs was 250 when ours was 100 to 120."""
    found = measured(sent_wall_ns=100, sent_ns=5000, answered_ns=5020, their_wall_ns=250)
    assert found == Measured(offset_ns=-140, uncertainty_ns=10, at_ns=5020, lead_ns=-4900)
    assert found.least_ns == 130
    assert measured(100, 0, 20, 110).least_ns == 0


@pytest.mark.parametrize(
    ("offsets_ms", "stops"),
    [
        ((700, 700), True),
        ((700, 0), False),
        ((0, 0), False),
        ((400, 400), False),
        ((-700, -600), True),
        ((700,), True),
        ((), False),
        ((700, 700, 0), True),
        ((700, 700, 0, 0), False),
    ],
)
def test_the_one_who_is_far_from_most_stops(offsets_ms: tuple[int, ...], stops: bool) -> None:
    offsets = ClockOffsets("n9", 500, 1000)
    for number, offset in enumerate(offsets_ms):
        offsets.note(f"n{number}", Measured(offset * MS, 1 * MS, 0, 0))
    why = offsets.why_stop(400 * MS, 400 * MS)
    assert (why is not None) is stops
    assert offsets.why_stop(1000 * MS, 1000 * MS) is None, "what an earlier round has measured says nothing"


def test_what_may_be_a_slow_answer_is_no_offset() -> None:
    offsets = ClockOffsets("n9", 500, 1000)
    offsets.note("n1", Measured(700 * MS, 250 * MS, 0, 0))
    assert offsets.why_stop(0, 0) is None


@pytest.mark.parametrize(
    ("before_ms", "moved_ms", "stops"),
    [(900, -900, False), (900, 900, False), (900, 1, True), (0, 900, False)],
)
def test_what_was_measured_before_our_own_clock_was_set_says_nothing(
    before_ms: int, moved_ms: int, stops: bool
) -> None:
    offsets = ClockOffsets("n9", 500, 1000)
    offsets.note("n1", Measured(before_ms * MS, 1 * MS, 0, lead_ns=7 * MS))
    now = 800 * MS
    assert (offsets.why_stop(now, now + (7 + moved_ms) * MS) is not None) is stops


async def ready(options: NodeOptions = OPTIONS) -> World:
    world = World(options=options)
    world.start_all()
    await world.wait_until_led()
    await asyncio.sleep(2)
    return world


def stopped(world: World) -> list[str]:
    return [name for name, node in world.nodes.items() if node.is_stopped]


@pytest.mark.parametrize("offset_ms", [-3_600_000, -600, 600, 3_600_000])
def test_a_node_stops_itself_within_one_interval_and_the_others_go_on(offset_ms: int) -> None:
    async def story() -> None:
        failures: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: failures.append(type(context.get("exception")).__name__)
        )
        world = await ready()
        await world.ask("n1", ClientPut(b"k", b"before"))
        world.clock_offsets_ns["n2"] += offset_ms * MS
        await asyncio.sleep(1.0 + ROUND_TRIP_S)
        assert stopped(world) == ["n2"]
        assert failures == ["ClockOffsetExceeded"], "its owner hears of it, and ends the process"
        ((who, area, text),) = world.alarms
        assert (who, area) == ("n2", "clock")
        told = re.search(r"is ([+-][\d.]+) ms from n1's", text)
        assert told is not None, text
        assert abs(float(told[1]) - offset_ms) < 5, text
        assert "from n3's; the most that is allowed is 500 ms (max_offset_ms)" in text
        world.crash("n2")
        await world.wait_until_led()
        assert await world.ask("n1", ClientGet(b"k")) == b"before"
        await world.ask("n3", ClientPut(b"k", b"after"))
        # Mended and started again it is a member like any other.
        world.clock_offsets_ns["n2"] = 0
        world.start("n2")
        await asyncio.sleep(3)
        assert stopped(world) == []
        await world.stop()

    run_virtually(story())


def test_nobody_stops_below_the_maximum_or_where_nobody_can_be_asked() -> None:
    async def story() -> None:
        world = await ready()
        world.clock_offsets_ns["n2"] += 450 * MS
        await asyncio.sleep(5)
        assert stopped(world) == []
        offset = world.nodes["n1"].status()["clock_offsets_ms"]["n2"]
        assert -451 <= offset <= -449
        world.clock_offsets_ns["n2"] = 0
        world.isolate("n3")
        world.clock_offsets_ns["n3"] += 900 * MS
        await asyncio.sleep(5)
        assert stopped(world) == [], "it hears from nobody, and they do not hear from it"
        world.heal()
        await asyncio.sleep(1.0 + 2 * ROUND_TRIP_S)
        assert stopped(world) == ["n3"]
        await world.stop()

    run_virtually(story())


def test_nobody_stops_for_a_clock_that_was_mended_while_another_answer_was_waited_for() -> None:
    """n3 answers nobody, which a round waits for half an interval. By then n2's clock, wrong when it was asked, is
    right: neither n2 nor n1, which hear from each other only, has a reason to stop."""

    async def story() -> None:
        world = await ready()
        world.isolate("n3")
        for _ in range(20):  # Whenever rounds begin, some of these meet one.
            world.clock_offsets_ns["n2"] += 900 * MS
            await asyncio.sleep(0.3)
            world.clock_offsets_ns["n2"] -= 900 * MS
            await asyncio.sleep(0.7)
            assert stopped(world) == []
        world.clock_offsets_ns["n2"] += 900 * MS
        await asyncio.sleep(2.0)
        assert {"n1", "n2"} & set(stopped(world)), (
            "one that stays wrong is as far away when it is asked again"
        )
        await world.stop()

    run_virtually(story())


def test_without_a_maximum_nobody_measures() -> None:
    async def story() -> None:
        world = await ready(NodeOptions())
        world.clock_offsets_ns["n2"] += 3_600_000 * MS
        await asyncio.sleep(5)
        assert stopped(world) == []
        assert world.nodes["n1"].status()["clock_offsets_ms"] == {}
        await world.stop()

    run_virtually(story())
