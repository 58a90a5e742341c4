"""Stories of the simulated world's kernel: virtual time, lives, clocks, one seed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import random
import time
from typing import Any

import pytest

from harness.environments.simulation.environment import SimulationEnvironment
from harness.environments.simulation.host import EPOCH_NS, Host
from harness.environments.simulation.loop import SimulationHung
from harness.environments.simulation.world import World, current_host


def run_story(seed: int, story: Any) -> World:
    world = World(seed)
    world.run(story(world))
    return world


def test_an_hour_passes_in_no_time() -> None:
    async def story() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert World(1).run(story()) == 3600.0
    assert time.monotonic() - began < 600


def test_call_soon_is_first_in_first_out_and_precedes_timers() -> None:
    seen: list[str] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0, seen.append, "timer")
        for name in "abc":
            loop.call_soon(seen.append, name)
        await asyncio.sleep(0.001)

    World(1).run(story())
    assert seen == ["a", "b", "c", "timer"]


def test_timers_of_one_instant_run_in_an_order_that_the_seed_draws() -> None:
    def order(seed: int) -> str:
        seen: list[str] = []

        async def story() -> None:
            for name in "abcdef":
                asyncio.get_running_loop().call_at(1.0, seen.append, name)
            await asyncio.sleep(2)

        World(seed).run(story())
        return "".join(seen)

    assert order(1) == order(1)
    assert len({order(seed) for seed in range(20)}) > 10
    assert all(sorted(order(seed)) == list("abcdef") for seed in range(20))


def test_who_sleeps_until_a_deadline_finds_that_it_has_come() -> None:
    """The rest of a deadline is often a part of a nanosecond, as floats have it."""

    async def story() -> int:
        loop = asyncio.get_running_loop()
        naps = 0
        for number in range(1, 200):
            deadline = loop.time() + number / 7e5
            while (left := deadline - loop.time()) > 0:
                naps += 1
                await asyncio.sleep(left)
        return naps

    assert World(1).run(story()) < 600


def test_a_killed_process_has_no_last_word() -> None:
    said: list[str] = []

    async def program(host: Host) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            try:
                while True:
                    await asyncio.sleep(1)
                    said.append(f"life {host.lives}")
            finally:
                said.append("finally")

    async def story(world: World) -> None:
        host = world.host("a")
        host.start(program)
        await asyncio.sleep(2.5)
        host.kill()
        assert host.state == "down"
        await asyncio.sleep(10)
        host.start(program)
        await asyncio.sleep(1.5)
        assert said == ["life 1", "life 1", "life 2"]

    run_story(1, story)


def test_a_program_may_have_its_memory_freed_once_another_life_has_taken_its_place() -> None:
    """Its tasks stay as they are until the world ends, and would keep all that they refer to."""
    said: list[str] = []

    async def program(host: Host) -> None:
        memory = {"lots": "of it"}
        life = host.lives

        def forget() -> None:
            memory.clear()
            said.append(f"life {life} is forgotten")

        host.forget_by(forget)
        try:
            await asyncio.sleep(100)
        finally:
            said.append(f"life {life} has {memory}")

    async def story(world: World) -> None:
        host = world.host("a")
        host.start(program)
        await asyncio.sleep(1)
        host.kill()
        await asyncio.sleep(1)
        assert said == [], "whoever looks at what has died may still do so"
        for expected in (["life 1 is forgotten"], ["life 1 is forgotten", "life 2 is forgotten"]):
            host.start(program)
            await asyncio.sleep(1)
            assert said == expected
            host.kill()

    run_story(1, story)
    assert sorted(said[2:]) == ["life 1 has {}", "life 2 has {}", "life 3 has {'lots': 'of it'}"]


def test_tasks_and_timers_of_a_process_die_with_it_and_others_live_on() -> None:
    ticks: list[str] = []

    async def tick(name: str) -> None:
        while True:
            await asyncio.sleep(1)
            ticks.append(name)

    async def program(host: Host) -> None:
        own = asyncio.create_task(tick(host.name))
        asyncio.get_running_loop().call_later(3, ticks.append, f"timer of {host.name}")
        await own

    async def story(world: World) -> None:
        for name in ("a", "b"):
            world.host(name).start(program)
        await asyncio.sleep(1.5)
        world.host("a").kill()
        await asyncio.sleep(2)

    run_story(1, story)
    assert ticks.count("a") == 1
    assert ticks.count("b") == 3
    assert "timer of a" not in ticks
    assert "timer of b" in ticks


def test_a_paused_process_runs_late_and_in_order() -> None:
    ran: list[tuple[float, int]] = []

    async def program(_host: Host) -> None:
        loop = asyncio.get_running_loop()

        def run(number: int) -> None:
            ran.append((loop.time(), number))

        for number in range(5):
            loop.call_at(float(number), run, number)
        await asyncio.sleep(60)

    async def story(world: World) -> None:
        host = world.host("a")
        host.start(program)
        await asyncio.sleep(0.5)
        host.pause()
        assert host.state == "paused"
        await asyncio.sleep(3)
        host.resume()
        await asyncio.sleep(5)

    run_story(1, story)
    assert ran == [(0.0, 0), (3.5, 1), (3.5, 2), (3.5, 3), (4.0, 4)]


def test_a_process_that_is_killed_while_paused_stays_dead() -> None:
    ran: list[float] = []

    async def program(_host: Host) -> None:
        while True:
            await asyncio.sleep(1)
            ran.append(asyncio.get_running_loop().time())

    async def story(world: World) -> None:
        host = world.host("a")
        host.start(program)
        await asyncio.sleep(1.5)
        host.pause()
        await asyncio.sleep(2)
        host.kill()
        await asyncio.sleep(5)

    run_story(1, story)
    assert ran == [1.0]


@pytest.mark.parametrize("how", ["return", "exit", "sys.exit", "raise"])
def test_how_a_process_ends_by_itself_is_told(how: str) -> None:
    ends: list[str] = []

    async def program(host: Host) -> int:
        await asyncio.sleep(1)
        if how == "exit":
            host.exit(3)
            await asyncio.sleep(1)
            ends.append("went on")
        elif how == "sys.exit":
            raise SystemExit(3)
        elif how == "raise":
            raise ValueError("cannot go on")
        return 3

    async def story(world: World) -> None:
        host = world.host("a")
        host.on_exit = lambda host, status: ends.append(f"{host.name}: {status}")
        host.start(program)
        await asyncio.sleep(5)
        assert host.state == "down"

    world = run_story(1, story)
    assert ends == ["a: exception ValueError: cannot go on" if how == "raise" else "a: exit code 3"]
    if how == "raise":
        assert any("Traceback" in line for line in world.host("a").log_lines)


def test_each_host_has_a_clock_of_its_own() -> None:
    seen: dict[str, list[float]] = {"a": [], "b": []}

    async def program(host: Host) -> None:
        while True:
            await asyncio.sleep(10)
            seen[host.name].append(time.time() - EPOCH_NS / 1e9)

    async def story(world: World) -> None:
        for name in ("a", "b"):
            world.host(name).start(program)
        world.host("b").clock.set(-2_000_000_000, rate_ppm=100_000)
        await asyncio.sleep(20.5)
        world.host("b").clock.reset()
        await asyncio.sleep(10)

    run_story(1, story)
    assert seen["a"] == pytest.approx([10, 20, 30])
    assert seen["b"] == pytest.approx([10 - 2 + 1, 20 - 2 + 2, 30])


def test_the_logging_of_a_program_goes_to_the_log_of_its_host() -> None:
    async def program(host: Host) -> None:
        logging.getLogger("db").warning("I am %s", host.name)
        await asyncio.sleep(100)

    async def story(world: World) -> None:
        for name in ("a", "b"):
            world.host(name).start(program)
        await asyncio.sleep(1)

    world = run_story(1, story)
    assert world.host("a").log_lines == ["2026-01-01T00:00:00.000 WARNING db: I am a"]
    assert world.host("b").log_lines == ["2026-01-01T00:00:00.000 WARNING db: I am b"]


def test_an_exception_that_nobody_catches_is_in_the_log_of_its_host_and_ends_nothing_else() -> None:
    async def broken() -> None:
        raise RuntimeError("lost")

    async def program(_host: Host) -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(100)

    async def story(world: World) -> None:
        world.host("a").start(program)
        await asyncio.sleep(1)
        assert world.host("a").state == "up"

    world = run_story(1, story)
    assert "ZeroDivisionError" in world.host("a").log_lines[0]


def test_each_process_has_an_exception_handler_of_its_own() -> None:
    heard: list[str] = []

    async def program(host: Host) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _loop, context: heard.append(f"{host.name}: {context['exception']}")
        )
        await asyncio.sleep(1)
        loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    async def story(world: World) -> None:
        for name in ("a", "b"):
            world.host(name).start(program)
        await asyncio.sleep(5)

    run_story(1, story)
    assert sorted(heard) == ["a: integer division or modulo by zero", "b: integer division or modulo by zero"]


def test_what_an_exception_handler_does_it_does_on_its_host() -> None:
    """What it logs is in the host's log, also when it ends the life: the last words of a node tell why it ended."""

    async def program(host: Host) -> None:
        def give_up(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
            logging.getLogger("db").critical("stopping at once: %s", context["exception"])
            host.exit(70)

        asyncio.get_running_loop().set_exception_handler(give_up)
        asyncio.get_running_loop().call_later(1, lambda: 1 // 0)
        await asyncio.sleep(100)

    async def story(world: World) -> None:
        world.host("a").start(program)
        await asyncio.sleep(5)
        assert world.host("a").state == "down"

    world = run_story(1, story)
    assert (
        "CRITICAL db: stopping at once: integer division or modulo by zero" in world.host("a").log_lines[-1]
    )


def test_an_exception_of_the_harness_itself_is_raised() -> None:
    async def story() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(ZeroDivisionError):
        World(1).run(story())


def test_waiting_for_what_never_comes_is_an_error_that_says_who_waits() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimulationHung, match=r"nothing can ever happen again.*harness.*forever"):
        World(1).run(forever())


def test_a_program_that_spins_without_time_passing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.environments.simulation.loop.SAME_INSTANT_MOST", 10_000)

    async def spin() -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < 1:  # noqa: ASYNC110 - spinning is the point.
            await asyncio.sleep(0)

    with pytest.raises(SimulationHung, match="time no longer passes"):
        World(1).run(spin())


def test_the_same_seed_takes_the_same_way_and_another_seed_another() -> None:
    def way(seed: int) -> tuple[int, int, list[float]]:
        drawn: list[float] = []

        async def program(_host: Host) -> None:
            while True:
                drawn.append(random.random())
                await asyncio.sleep(random.expovariate(10))

        async def story(world: World) -> None:
            for name in ("a", "b", "c"):
                world.host(name).start(program)
            await asyncio.sleep(5)

        world = run_story(seed, story)
        return world.loop.digest, world.loop.events, drawn

    assert way(7) == way(7)
    assert way(7) != way(8)


def test_the_randomness_of_a_life_differs_from_that_of_the_next() -> None:
    drawn: list[float] = []

    async def program(_host: Host) -> None:
        drawn.append(random.random())

    async def story(world: World) -> None:
        for _ in range(3):
            world.host("a").start(program)
            await asyncio.sleep(1)

    run_story(1, story)
    assert len(set(drawn)) == 3


def test_code_of_the_harness_counts_as_a_client_and_outside_there_is_no_host() -> None:
    async def story() -> str:
        return current_host().name

    assert World(1).run(story()) == "client"

    async def outside() -> None:
        current_host()

    with pytest.raises(RuntimeError, match="ordinary loop"):
        asyncio.run(outside())


def test_steps_are_watched_after_every_callback_of_their_host_alone() -> None:
    steps: list[int] = []

    async def program(_host: Host) -> None:
        for _ in range(3):
            await asyncio.sleep(1)

    async def story(world: World) -> None:
        for name in ("a", "b"):
            world.host(name).start(program)
        world.host("a").after_step = lambda: steps.append(world.loop.events)
        await asyncio.sleep(10)

    run_story(1, story)
    # Its first step, three wake-ups of two callbacks each (timer and task), and after the last it has ended.
    assert len(steps) == 6
    assert steps == sorted(set(steps))


# As a process of its own


def test_a_process_sees_its_own_tasks_by_its_own_names() -> None:
    seen: list[Any] = []

    async def idle(_host: Host) -> None:
        await asyncio.sleep(100)

    async def program(_host: Host) -> None:
        own = asyncio.create_task(asyncio.sleep(100))
        names = sorted(task.get_name() for task in asyncio.all_tasks())
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.wait([own])
        seen.append((names, own.cancelled()))

    async def story(world: World) -> None:
        world.host("b").start(idle)
        for _ in range(2):
            world.host("a").start(program)
            await asyncio.sleep(10)
        assert world.host("b").state == "up"
        assert len(asyncio.all_tasks()) == 1, "the harness has one, too"

    for _ in range(2):
        run_story(1, story)
    assert seen == [(["Task-1", "Task-2"], True)] * 4


def test_sets_of_tasks_are_walked_in_the_order_they_were_made() -> None:
    """By their addresses, as asyncio has it, two runs of one seed would differ."""
    orders: list[list[int]] = []

    async def program(_host: Host) -> None:
        async def answer(number: int, at_begin: list[int], at_end: list[int]) -> int:
            at_begin.append(number)
            try:
                await asyncio.sleep(1)
            finally:
                at_end.append(number)
            return number

        begun: list[int] = []
        ended: list[int] = []
        done, _ = await asyncio.wait([asyncio.create_task(answer(at, [], [])) for at in range(30)])
        orders.append([task.result() for task in done])
        for one in asyncio.as_completed([answer(at, begun, []) for at in range(30)]):
            await one
        orders.append(begun)
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for at in range(30):
                    group.create_task(answer(at, [], ended))
                await asyncio.sleep(0)
                raise ValueError
        orders.append(ended)

    async def story(world: World) -> None:
        world.host("a").start(program)
        await asyncio.sleep(10)

    run_story(1, story)
    assert orders == [list(range(30))] * 3


def test_an_abandoned_asynchronous_generator_is_closed_in_its_own_life() -> None:
    said: list[tuple[str, float]] = []

    async def numbers() -> Any:
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(1)
            said.append((current_host().name, asyncio.get_running_loop().time()))

    async def program(_host: Host) -> None:
        async for _ in numbers():
            break
        await asyncio.sleep(10)

    async def story(world: World) -> None:
        world.host("a").start(program)
        await asyncio.sleep(5)

    run_story(1, story)
    assert said == [("a", 1.0)]


def test_nothing_comes_after_a_process_has_ended_itself() -> None:
    said: list[str] = []

    async def by_the_host(host: Host) -> None:
        host.exit(3)
        said.append("after exit")

    async def by_the_system(_host: Host) -> None:
        await asyncio.sleep(0)
        os._exit(4)
        said.append("after os._exit")

    async def in_a_protocol(host: Host) -> None:
        class Ends(asyncio.Protocol):
            def data_received(self, _data: bytes) -> None:
                os._exit(5)
                said.append("after os._exit in a protocol")

        await asyncio.get_running_loop().create_server(Ends, "a", 80)
        _, writer = await asyncio.open_connection("a", 80)
        writer.write(b"end")
        await asyncio.sleep(100)

    async def story(world: World) -> None:
        host = world.host("a")
        host.on_exit = lambda _host, status: said.append(status)
        for program in (by_the_host, by_the_system, in_a_protocol):
            host.start(program)
            await asyncio.sleep(1)
        host.start(by_the_host)
        host.exit(6)
        said.append("from outside it is an act as any other")
        assert host.log_lines == []

    run_story(1, story)
    assert said == [
        "exit code 3",
        "exit code 4",
        "exit code 5",
        "exit code 6",
        "from outside it is an act as any other",
    ]


def test_a_process_that_ended_itself_leaves_no_trace_while_it_unwinds() -> None:
    """Python can only leave a function by way of its `finally` blocks."""
    ends: list[str] = []

    async def program(host: Host) -> None:
        file = host.disk.open("file", create=True)
        host.disk.sync_directory()
        file.append(b"alive")
        if host.lives == 2:
            await asyncio.sleep(100)
        try:
            try:
                try:
                    os._exit(3)
                finally:
                    logging.getLogger("program").error("dead")
                    asyncio.get_running_loop().call_soon(file.append, b"dead")
                    file.append(b"dead")
            finally:
                host.disk.open("another", create=True)
        finally:
            host.exit(4)

    def start_again(host: Host, status: str) -> None:
        ends.append(status)
        host.start(program)

    async def story(world: World) -> None:
        host = world.host("a")
        host.on_exit = start_again
        host.start(program)
        await asyncio.sleep(5)
        assert ends == ["exit code 3"]
        assert (host.state, host.lives) == ("up", 2), "the life after it lives on"
        assert list(host.disk.files()) == [("file", len(b"alive" * 2))]
        assert host.log_lines == []

    run_story(1, story)


def test_a_process_whose_main_task_is_cancelled_has_ended() -> None:
    ends: list[str] = []

    async def program(_host: Host) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    async def story(world: World) -> None:
        world.host("a").on_exit = lambda _host, status: ends.append(status)
        world.host("a").start(program)
        await asyncio.sleep(2)
        assert world.host("a").state == "down"

    run_story(1, story)
    assert len(ends) == 1
    assert ends[0].startswith("exception CancelledError")


def test_whoever_is_told_of_an_end_may_act_later() -> None:
    async def program(_host: Host) -> None:
        await asyncio.sleep(1)

    async def story(world: World) -> None:
        def start_again(host: Host, _status: str) -> None:
            asyncio.get_running_loop().call_later(1, host.start, program)

        host = world.host("a")
        host.on_exit = start_again
        host.start(program)
        await asyncio.sleep(5.5)
        assert host.lives == 3

    run_story(1, story)


def test_what_a_dead_process_leaves_behind_is_not_taken_apart_while_the_world_runs() -> None:
    """A timer of the dead that comes due is let go of, and with it what only it knew."""
    said: list[str] = []

    class Speaks:
        def __del__(self) -> None:
            said.append("last words")

        def hear(self) -> None:
            said.append("heard")

    async def program(_host: Host) -> None:
        asyncio.get_running_loop().call_later(1, Speaks().hear)
        await asyncio.sleep(100)

    async def story(world: World) -> None:
        world.host("a").start(program)
        await asyncio.sleep(0.5)
        world.host("a").kill()
        await asyncio.sleep(5)
        assert said == []

    run_story(1, story)


# When the harness itself is in trouble


def test_a_trace_that_cannot_be_written_is_the_harnesss_trouble_and_not_the_programs() -> None:
    """Else a full real disk would look like an error of the database."""
    wrong: list[str] = []

    def full(line: bytes) -> None:
        if b"sync" in line:
            raise OSError(errno.ENOSPC, "no space")

    async def program(host: Host) -> None:
        try:
            file = host.disk.open("file", create=True)
            file.append(b"x")
            await file.sync()
            logging.getLogger("program").info("synced")
        except OSError as error:
            wrong.append(str(error))

    world = World(1, trace=full)

    async def story() -> None:
        world.host("a").start(program)
        await asyncio.sleep(10)

    with pytest.raises(OSError, match="trace of the world cannot be written: no space"):
        world.run(story())
    assert wrong == []


def test_a_world_ends_in_order_whatever_goes_wrong_meanwhile() -> None:
    said: list[str] = []

    def break_something() -> None:
        raise KeyError("the harness broke at its end")

    async def stubborn() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            asyncio.get_running_loop().call_soon(break_something)
            await asyncio.sleep(1)
            said.append("cleaned up")

    async def program(_host: Host) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            said.append("dissolved")

    async def story(world: World, error: Exception | None) -> None:
        world.host("a").start(program)
        tasks.append(asyncio.ensure_future(stubborn()))
        await asyncio.sleep(1)
        if error is not None:
            raise error

    for error, expected in ((ValueError("the story"), ValueError), (None, KeyError)):
        tasks: list[asyncio.Future[None]] = []
        said.clear()
        world = World(1)
        with pytest.raises(expected):
            world.run(story(world, error))
        assert tasks[0].done()
        assert said[-1] == "dissolved"
        assert world.loop.is_closed()


def test_a_harness_that_waits_for_nothing_is_told_so_although_garbage_is_collected() -> None:
    async def story() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimulationHung, match=r"harness: <coroutine object .*story"):
        SimulationEnvironment().run(story())
