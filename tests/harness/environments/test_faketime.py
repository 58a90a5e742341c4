"""The last choice for a clock fault: libfaketime, tried on each kind of program, and what it then tells a process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.environments.clock_file import REAL_TIME, ClockSetting
from harness.environments.linux import faketime, vdso
from harness.environments.process_clocks import (
    CLOCK_PORT,
    FAKETIME,
    VDSO,
    FakedClocks,
    mechanism_of,
)
from nemesis.cluster import FaultFailed
from tests.harness.environments.echo_system import EchoSystem
from tests.support.requirements import skip_unless_required

SECOND = 1_000_000_000


@pytest.fixture
def library() -> Path:
    found = faketime.library()
    if found is None:
        skip_unless_required("libfaketime", "libfaketime is not installed")
    assert found is not None
    return found


class Teller:
    """A program of C that says what time it is, whenever it is asked."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", "while read line; do date +%s%N; done"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **variables},
            text=True,
        )

    def ahead_ns(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline()) - time.time_ns()

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def told(library: Path, tmp_path: Path) -> Iterator[tuple[FakedClocks, Teller]]:
    clocks = FakedClocks(lambda node: tmp_path / node)
    teller = Teller(clocks.variables("n1", "sh"))
    yield clocks, teller
    teller.end()


def test_a_process_is_told_another_time_while_it_runs_and_real_time_again(
    told: tuple[FakedClocks, Teller],
) -> None:
    clocks, teller = told

    async def story() -> None:
        assert abs(teller.ahead_ns()) < SECOND
        await clocks.tell("n1", ClockSetting(-3600 * SECOND, 0, 0))
        assert abs(teller.ahead_ns() + 3600 * SECOND) < SECOND
        anchor_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - 1000 * SECOND
        await clocks.tell("n1", ClockSetting(0, 500_000_000, anchor_ns))  # It has gained for 1000 s.
        first = teller.ahead_ns()
        assert abs(first - 500 * SECOND) < SECOND
        await asyncio.sleep(0.2)
        assert teller.ahead_ns() >= first + 50_000_000
        await clocks.tell("n1", REAL_TIME)
        clocks.end()
        assert abs(teller.ahead_ns()) < SECOND

    asyncio.run(asyncio.wait_for(story(), 60))


def test_what_it_would_break_or_not_reach_is_found_out(library: Path, tmp_path: Path) -> None:
    """The sleep of CPython 3.11 under the library's usual versions; a program that loads nothing."""
    child = subprocess.run(
        [sys.executable, "-S", "-c", "import time; time.sleep(0.01)"],
        env={**os.environ, **FakedClocks(lambda node: tmp_path / node).variables("n1", "sh")},
        capture_output=True,
        text=True,
    )
    why = faketime.why_not(sys.executable)
    assert (why is not None) == (child.returncode != 0), (why, child.stderr)
    static = tmp_path / "static"
    header = bytearray(64)
    header[:5] = b"\x7fELF\x02"
    static.write_bytes(bytes(header))
    static.chmod(0o755)
    assert "linked statically" in str(faketime.why_not(str(static)))
    with pytest.raises(FaultFailed, match="the clock of n1 cannot be set: static is linked statically"):
        FakedClocks(lambda node: tmp_path / node).variables("n1", str(static))


def test_the_order_of_choice_and_why_the_others_were_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    own: Any = EchoSystem()
    foreign: Any = EchoSystem(clock_port=False)
    assert mechanism_of(own) == (CLOCK_PORT, None)
    monkeypatch.setattr(vdso, "why_not", lambda: None)
    assert mechanism_of(foreign, preloads=True) == (VDSO, None)
    monkeypatch.setattr(vdso, "why_not", lambda: "this is no x86-64")
    monkeypatch.setattr(faketime, "why_not", lambda program: None)
    assert mechanism_of(foreign, preloads=True) == (FAKETIME, None)
    assert mechanism_of(foreign)[1] == f"{foreign.name} reads no clock file, and this is no x86-64"
    monkeypatch.setattr(faketime, "why_not", lambda program: "libfaketime is not installed")
    assert str(mechanism_of(foreign, preloads=True)[1]).endswith("x86-64; libfaketime is not installed")
