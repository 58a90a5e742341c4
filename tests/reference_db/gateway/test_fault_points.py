"""Coordinators die at every step between the first intent and the last resolve; somebody finishes what they left."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientForsake,
    ClientGet,
    ClientGetMany,
    ClientPut,
    CommitTransaction,
)
from reference_db.gateway.fault_points import STEPS, FaultPoints
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection, NodeOptions
from reference_db.trace import RecordingTrace
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

DEATHS = "a coordinator died"
COMMITTED_STEPS = {"committed-in-parallel", "decided", "committed-at-once"}
ONE_RANGE, TWO_RANGES, THREE_RANGES = (b"f", b"g"), (b"f", b"m"), (b"f", b"m", b"t")
BEHIND_THE_ANSWER = {"acknowledged", "first-resolutions-sent", "resolutions-sent", "resolved"}


def needs(step: str) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """Options under which a commit of these keys reaches a step."""
    if "at-once" in step:
        return {}, ONE_RANGE
    keys = THREE_RANGES if step == "first-resolutions-sent" else TWO_RANGES
    return {"parallel_commit": step in ("committed-in-parallel", "acknowledged")}, keys


async def commit_and_die(world: World, step: str, keys: tuple[bytes, ...]) -> None:
    """A transaction through n1, whose coordinator dies at the step: nobody answers."""
    connection = ClientConnection()
    number = await world.ask("n1", BeginTransaction(), connection)
    await world.ask("n1", ClientGet(b"a", number), connection)
    if step == "reads-moved":
        # Somebody reads later what it will write, so that it cannot be where it was to be.
        await world.ask("n2", ClientGetMany(keys))
    for key in keys:
        await world.ask("n1", ClientPut(key, b"new", number), connection)
    assert (await world.ask("n1", ClientForsake(step, 1)))[step] == 0
    try:
        await world.ask("n1", CommitTransaction(number), connection, timeout_s=1.0)
    except Unanswered:
        assert step not in BEHIND_THE_ANSWER
    else:
        assert step in BEHIND_THE_ANSWER, "it dies behind the answer there"
    await asyncio.sleep(0.5)
    assert (await world.ask("n1", ClientForsake(step, 0)))[step] == 1


@pytest.mark.parametrize("step", STEPS)
def test_what_a_coordinator_left_at_a_step_is_all_or_nothing_and_cleared_away(step: str) -> None:
    """In five interleavings; a reader that meets it, or nobody but the sweeper."""

    async def story(seed: int) -> None:
        options, keys = needs(step)
        watcher, trace = Watcher(), RecordingTrace()
        world = World(seed, options=NodeOptions(fault_points=True, **options), watcher=watcher, trace=trace)
        world.start_all()
        await world.wait_until_led()
        await commit_and_die(world, step, keys)
        if seed % 2:
            await asyncio.sleep(20)
        found = None
        while found is None:
            try:
                found = await world.ask("n3", ClientGetMany(keys), timeout_s=20)
            except (Refused, Unanswered):
                continue
        assert found in ([None] * len(keys), [b"new"] * len(keys))
        if step in COMMITTED_STEPS | BEHIND_THE_ANSWER:
            assert found[0] == b"new"
        if step == "first-intents-sent":
            assert found[0] is None
        await world.wait_for(world.is_quiet, 60, "no lock and no record is left")
        marks = Counter({name: count for name, count in trace.marks.items() if name.startswith(DEATHS)})
        assert marks.total() == 1, marks
        assert not world.violations, world.violations
        await world.stop()

    for seed in range(5):
        run_virtually(story(seed))


@pytest.mark.parametrize(
    "step",
    [
        "first-intents-sent",
        "intents-sent",
        "intents-laid",
        "committed-in-parallel",
        "acknowledged",
        "first-resolutions-sent",
        "resolutions-sent",
        "resolved",
    ],
)
def test_what_is_left_of_an_async_commit_is_all_or_nothing_and_cleared_away(step: str) -> None:
    """Whoever meets a lock looks for all the others before he gives the transaction up."""

    async def story(seed: int) -> None:
        options = NodeOptions(fault_points=True, protocol="primary-lock", async_commit=True)
        trace = RecordingTrace()
        world = World(seed, options=options, watcher=Watcher(), trace=trace)
        world.start_all()
        await world.wait_until_led()
        _, keys = needs(step)
        await commit_and_die(world, step, keys)
        if seed % 2:
            await asyncio.sleep(20)
        found = None
        while found is None:
            try:
                found = await world.ask("n3", ClientGetMany(keys), timeout_s=20)
            except (Refused, Unanswered):
                continue
        if step == "first-intents-sent":
            # The primary stands alone.
            assert found == [None, None]
        else:
            # All locks stand in the end, whether or not anybody heard of it: nobody was in their way.
            assert found == [b"new"] * len(keys)
        await world.wait_for(world.is_quiet, 60, "no lock and no record is left")
        if step == "acknowledged" or step not in BEHIND_THE_ANSWER:
            outcome = "aborted" if step == "first-intents-sent" else "committed"
            assert trace.marks[f"a staging transaction was recovered as {outcome}"] >= 1
        assert not world.violations, world.violations
        assert world.watcher is not None
        assert world.watcher.provenance.audit_outcomes() == []
        await world.stop()

    for seed in range(3):
        run_virtually(story(seed))


def test_nobody_dies_where_the_options_do_not_allow_it() -> None:
    async def story() -> None:
        world = World()
        world.start_all()
        await world.wait_until_led()
        with pytest.raises(Refused, match="fault_points is off"):
            await world.ask("n1", ClientForsake("decided", 1))
        await world.stop()

    run_virtually(story())


def test_a_step_that_is_none_is_told() -> None:
    points = FaultPoints()
    with pytest.raises(ValueError, match="no step 'lunch': the steps are first-intents-sent, "):
        points.arm("lunch", 1)
    points.arm("decided", 2)
    assert [points.kills("decided") for _ in range(3)] == [True, True, False]
    assert (points.passed["decided"], points.died["decided"]) == (3, 2)
