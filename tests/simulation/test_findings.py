"""What is found inside simulated nodes enters the history at its moment, ends the run, and makes it invalid."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import make_parts
from harness.driver import StopSignal
from harness.run import execute, judge
from harness.scenario import Scenario
from results.operation import HARNESS, INVOKE, LOG
from results.run_folder import RunFolder


@contextlib.contextmanager
def show_nothing(_progress: Any) -> Iterator[None]:
    yield


@pytest.mark.slow
def test_a_finding_ends_the_generating_at_once_and_the_run_is_invalid(tmp_path: Path) -> None:
    scenario = Scenario(
        seed=1, workload="register", environment="simulation", nemesis="none", time_limit=30.0, rate=50.0
    )
    parts = make_parts(scenario)
    watch = parts.system.watch  # type: ignore[attr-defined]

    def finding(world: Any) -> None:
        watch(world)
        if world is not None:
            asyncio.get_running_loop().call_later(
                5.0, world.found, "invariant", "log matching", "n1 and n2 differ", "n1", 4
            )

    parts.system.watch = finding  # type: ignore[attr-defined]
    folder = RunFolder.create(tmp_path, "register")
    stop = StopSignal()
    parts.environment.run(execute(parts, folder, lambda _line: None, show_nothing, stop))

    history = folder.read_history()
    (found,) = (event for event in history.operations if event.process == LOG and event.f == "finding")
    assert found.value["name"] == "log matching"
    assert found.value["time_ns"] == 5_000_000_000
    assert 4_000_000_000 < found.time < 5_000_000_000, "the history begins when the cluster is ready"
    (stopped,) = (event for event in history.operations if event.f == "stopped")
    assert (stopped.process, stopped.value) == (HARNESS, {"by": "finding"})
    ended = next(event.time for event in history.operations if event.value == "heal" or event.f == "heal")
    invoked = [e for e in history.operations if isinstance(e.process, int) and e.type == INVOKE]
    assert not [event for event in invoked if found.time + 20_000_000 < event.time < ended]
    assert judge(parts, history).outcome == "invalid"
