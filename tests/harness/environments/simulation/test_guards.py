"""What a program on a simulated host sees of time and chance, and what it is refused."""

from __future__ import annotations

import asyncio
import datetime
import os
import random
import secrets
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from time import monotonic as imported_by_name
from typing import Any

import pytest

from harness.environments.simulation.host import Host
from harness.environments.simulation.loop import RefusedInSimulation
from harness.environments.simulation.world import World


def on_a_host(work: Callable[[], Any], seed: int = 1) -> Any:
    """What `work` answers on a simulated host, five virtual seconds after the world began."""
    answers: list[Any] = []

    async def program(_host: Host) -> None:
        await asyncio.sleep(5)
        try:
            answers.append(work())
        except Exception as error:  # noqa: BLE001 - handed to the test.
            answers.append(error)

    async def story(world: World) -> None:
        world.host("a").start(program)
        await asyncio.sleep(10)

    world = World(seed)
    world.run(story(world))
    return answers[0]


@pytest.mark.parametrize(
    ("work", "instead"),
    [
        (lambda: threading.Thread(target=print).start(), "use asyncio tasks"),
        (lambda: subprocess.run(["true"], check=False), "start another simulated host"),
        (lambda: os.system("true"), "start another simulated host"),
        (socket.socket, "use asyncio.open_connection"),
        (lambda: socket.create_connection(("127.0.0.1", 1)), "use asyncio.open_connection"),
        (lambda: open("/etc/hostname"), r"current_host\(\)\.disk"),  # noqa: SIM115
        (lambda: Path("/etc/hostname").read_text(), r"current_host\(\)\.disk"),
        (lambda: os.listdir("/"), r"current_host\(\)\.disk"),
        (lambda: time.sleep(0.01), r"await asyncio\.sleep"),
        (lambda: asyncio.get_running_loop().run_in_executor(None, print), "call it on the loop"),
        (lambda: asyncio.get_running_loop().add_reader(0, print), "use asyncio.open_connection"),
    ],
)
def test_the_real_world_is_refused_with_the_way_out(work: Callable[[], Any], instead: str) -> None:
    error = on_a_host(work)
    assert isinstance(error, RefusedInSimulation), error
    with pytest.raises(RefusedInSimulation, match=instead):
        raise error


@pytest.mark.parametrize("name", ["subprocess_exec", "create_datagram_endpoint", "create_unix_server"])
def test_what_asyncio_offers_of_the_real_world_is_refused_too(name: str) -> None:
    async def program(_host: Host) -> None:
        await getattr(asyncio.get_running_loop(), name)(asyncio.Protocol)

    async def story(world: World) -> None:
        world.host("a").start(program)
        await asyncio.sleep(1)

    world = World(1)
    world.run(story(world))
    assert "RefusedInSimulation" in world.host("a").log_lines[0]


def test_time_is_the_hosts() -> None:
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()
    assert on_a_host(lambda: time.time()) == pytest.approx(start + 5)
    assert on_a_host(lambda: time.time_ns()) == int(start + 5) * 10**9
    assert on_a_host(lambda: time.monotonic()) == 5
    assert on_a_host(lambda: imported_by_name()) == 5
    assert on_a_host(lambda: time.perf_counter_ns()) == 5 * 10**9
    assert on_a_host(lambda: datetime.datetime.now(datetime.UTC)).isoformat() == "2026-01-01T00:00:05+00:00"
    assert on_a_host(lambda: time.gmtime().tm_year) == 2026


def test_datetimes_stay_datetimes() -> None:
    def work() -> bool:
        made = datetime.datetime(2026, 5, 1, 12)
        return (
            isinstance(made, datetime.datetime)
            and isinstance(datetime.datetime.now(), datetime.datetime)
            and made + datetime.timedelta(1) == datetime.datetime(2026, 5, 2, 12)
        )

    assert on_a_host(work) is True


@pytest.mark.parametrize(
    "draw",
    [
        lambda: random.random(),
        lambda: random.randint(0, 10**12),
        lambda: random.sample(range(10**9), 3),
        lambda: random.Random().random(),
        lambda: random.SystemRandom().getrandbits(64),
        lambda: uuid.uuid4(),
        lambda: uuid.uuid1(),
        lambda: os.urandom(16),
        lambda: secrets.token_hex(8),
        lambda: secrets.randbelow(10**12),
    ],
)
def test_chance_comes_from_the_seed(draw: Callable[[], Any]) -> None:
    assert on_a_host(draw, seed=1) == on_a_host(draw, seed=1)
    assert on_a_host(draw, seed=1) != on_a_host(draw, seed=2)


def test_a_seeded_stream_is_what_it_is_anywhere() -> None:
    assert on_a_host(lambda: random.Random(5).random()) == random.Random(5).random()


def test_the_harness_and_the_time_after_the_world_see_the_real_world(tmp_path: Path) -> None:
    async def story() -> float:
        (tmp_path / "file").write_text("real")
        return time.time()

    before = time.time()
    assert World(1).run(story()) >= before
    assert (tmp_path / "file").read_text() == "real"
    assert time.time() >= before
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert isinstance(datetime.datetime.now(), datetime.datetime)


def test_the_real_functions_are_back_even_if_the_world_failed() -> None:
    originals = (time.time, os.urandom, random.random, datetime.datetime, threading.Thread.start)

    async def story() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        World(1).run(story())
    assert (time.time, os.urandom, random.random, datetime.datetime, threading.Thread.start) == originals


def test_one_world_at_a_time() -> None:
    async def inner() -> None:
        pass

    async def story() -> None:
        coroutine = inner()
        try:
            World(2).run(coroutine)
        finally:
            coroutine.close()

    with pytest.raises(RuntimeError, match="one at a time"):
        World(1).run(story())
