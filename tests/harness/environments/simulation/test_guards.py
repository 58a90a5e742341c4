"""What a program on a simulated host sees of time and chance, and what it is refused."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import functools
import importlib
import io
import multiprocessing
import os
import queue
import random
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from time import monotonic as imported_by_name
from typing import Any

import numpy
import pytest

from harness.environments.simulation.host import Host
from harness.environments.simulation.loop import RefusedInSimulation
from harness.environments.simulation.world import World


class KnowsTheTime:
    """The usual ways to remember a function of the real world before any simulated one began."""

    of_the_class = imported_by_name
    partial = functools.partial(imported_by_name)

    @staticmethod
    def by_default(clock: Callable[[], float] = imported_by_name) -> float:
        return clock()

    @staticmethod
    def by_name_of_argument(*, clock: Callable[[], float] = imported_by_name) -> float:
        return clock()


def on_a_host(work: Callable[[], Any], seed: int = 1, delay_s: float = 0) -> Any:
    """What `work` answers on a simulated host, five virtual seconds after the world began (or later)."""
    answers: list[Any] = []

    async def program(_host: Host) -> None:
        await asyncio.sleep(5)
        try:
            answers.append(work())
        except Exception as error:  # noqa: BLE001 - handed to the test.
            answers.append(error)

    async def story(world: World) -> None:
        await asyncio.sleep(delay_s)
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
        (lambda: concurrent.futures.ThreadPoolExecutor().submit(print), "use asyncio tasks"),
        (
            lambda: multiprocessing.get_context("fork").Process(target=print).start(),
            "start another simulated",
        ),
        (
            lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
            "start another simulated",
        ),
        (lambda: os.posix_spawn("/bin/true", ["true"], {}), "start another simulated host"),
        (lambda: threading.Event().wait(0.01), "use asyncio tasks, Event or Queue"),
        (lambda: queue.Queue[int]().get(timeout=0.01), "use asyncio tasks, Event or Queue"),
        (lambda: socket.getaddrinfo("localhost", 1), "use asyncio.open_connection"),
        (lambda: io.FileIO("/etc/hostname"), r"current_host\(\)\.disk"),
        (lambda: io.open_code("/etc/hostname"), r"current_host\(\)\.disk"),  # noqa: SIM115
        (lambda: Path("/etc/hostname").exists(), r"current_host\(\)\.disk"),
        (lambda: os.symlink("/etc/hostname", "/tmp/never"), r"current_host\(\)\.disk"),
        (lambda: os.chmod("/tmp/never", 0o600), r"current_host\(\)\.disk"),
        (lambda: os.chdir("/"), r"current_host\(\)\.disk"),
        (tempfile.mkdtemp, r"current_host\(\)\.disk"),
        (lambda: sqlite3.connect(":memory:"), r"current_host\(\)\.disk"),
        (lambda: input(), "when it is started"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), r"Host\.kill"),
        (lambda: signal.alarm(1), r"use loop\.call_later"),
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
    assert on_a_host(lambda: time.clock_gettime(time.CLOCK_MONOTONIC)) == 5
    assert on_a_host(lambda: time.clock_gettime_ns(time.CLOCK_REALTIME)) == int(start + 5) * 10**9
    assert on_a_host(lambda: time.thread_time()) == 5
    shown: Callable[[], str]
    for shown in (time.ctime, time.asctime, lambda: time.strftime("%Y"), lambda: str(datetime.date.today())):
        assert "2026" in on_a_host(shown)
        assert shown() == shown(), "and nothing is asked of a host outside of one"


@pytest.mark.parametrize(
    "ask",
    [
        KnowsTheTime.of_the_class,
        KnowsTheTime.partial,
        KnowsTheTime.by_default,
        KnowsTheTime.by_name_of_argument,
    ],
)
def test_time_is_the_hosts_for_those_who_took_the_clock_before(ask: Callable[[], float]) -> None:
    names = ("of_the_class", "partial", "by_default", "by_name_of_argument")
    assert on_a_host(lambda: [getattr(KnowsTheTime, name)() for name in names]) == [5, 5, 5, 5]
    assert ask() == pytest.approx(time.monotonic(), abs=5), "and the real one afterwards"
    assert KnowsTheTime.of_the_class is imported_by_name


def test_a_module_that_was_loaded_in_one_world_knows_the_time_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loaded_in_a_world.py").write_text(
        "from time import monotonic\nfrom datetime import datetime\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def work() -> tuple[float, int]:
        module = importlib.import_module("loaded_in_a_world")
        return module.monotonic(), module.datetime.now().second

    try:
        assert on_a_host(work) == (5, 5)
        assert on_a_host(work, delay_s=20) == (25, 25)
    finally:
        del sys.modules["loaded_in_a_world"]


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
        lambda: os.getrandom(16),
        lambda: numpy.random.rand(),
        lambda: numpy.random.randint(10**9),
        lambda: numpy.random.default_rng().random(),
        lambda: numpy.random.RandomState().rand(),
    ],
)
def test_chance_comes_from_the_seed(draw: Callable[[], Any]) -> None:
    assert on_a_host(draw, seed=1) == on_a_host(draw, seed=1)
    assert on_a_host(draw, seed=1) != on_a_host(draw, seed=2)


def test_who_and_where_a_program_is_follows_from_the_world() -> None:
    def work() -> tuple[Any, ...]:
        return socket.gethostname(), os.getpid(), os.getppid(), os.getcwd(), uuid.getnode() & 0xFFFFFFFF

    assert on_a_host(work) == ("a", 1001, 1, "/", 0x0A000001)
    assert on_a_host(lambda: signal.signal(signal.SIGTERM, print)) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is not print


def test_what_a_host_prints_is_in_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    async def program(_host: Host) -> None:
        print("one", 2, sep="-")
        print("to a file of its own", file=kept)

    async def story(world: World) -> None:
        world.host("a").start(program)
        await asyncio.sleep(1)
        print("the harness")

    kept = io.StringIO()
    world = World(1)
    world.run(story(world))
    assert world.host("a").log_lines == ["2026-01-01T00:00:00.000 one-2"]
    assert kept.getvalue() == "to a file of its own\n"
    assert capsys.readouterr().out == "the harness\n"


def test_a_traceback_may_show_the_lines_of_its_source() -> None:
    def work() -> str:
        try:
            raise ValueError("wrong")
        except ValueError:
            return traceback.format_exc()

    assert 'raise ValueError("wrong")' in on_a_host(work)


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
