"""Plays a workload against a database in memory through the real interpreter and driver; for tests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from harness.driver import DriveResult, Progress, StopSignal, drive
from harness.interpreter import Interpreter
from harness.systems.in_memory.database import InMemoryDatabase
from nemesis.schedule import Step
from results.history import History, HistoryOrder
from results.operation import Operation
from tests.nemesis import virtual_time
from workloads.session import Session, SessionError
from workloads.workload import Workload, WorkloadOptions

NODES = ("n1", "n2", "n3")


class ListJournal:
    """A journal in memory that checks the rules of histories and remembers what was written together."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.commits: list[int] = []
        """How many events there were at each commit that wrote something."""
        self._admit = HistoryOrder().admit

    def record(self, operation: Operation) -> None:
        self._admit(operation)
        self.operations.append(operation)

    def commit(self) -> None:
        if not self.commits or self.commits[-1] != len(self.operations):
            self.commits.append(len(self.operations))

    @property
    def committed(self) -> int:
        return self.commits[-1] if self.commits else 0


def options(concurrency: int = 6, seed: int = 1, **changes: Any) -> WorkloadOptions:
    """Options of a run that takes a fraction of a second."""
    values: dict[str, Any] = {"rate": 4000.0, "time_limit_s": 0.15, "final_time_limit_s": 2.0}
    return WorkloadOptions(
        random=random.Random(seed), concurrency=concurrency, nodes=NODES, **{**values, **changes}
    )


class Played:
    """What a run has left behind."""

    def __init__(self, journal: Any, results: list[DriveResult], progress: Progress) -> None:
        self.journal = journal
        self.results = results
        self.progress = progress

    @property
    def operations(self) -> list[Operation]:
        return list(self.journal.operations)

    @property
    def history(self) -> History:
        return History(self.operations)

    @property
    def main(self) -> DriveResult:
        return self.results[0]


def play(
    workload: Workload,
    open_session: Callable[[str], Awaitable[Session]],
    *,
    concurrency: int = 6,
    timeout_s: float = 1.0,
    stop: StopSignal | None = None,
    nemesis: Any = None,
    schedule: Sequence[Step] = (),
    final: bool = True,
    journal: Any = None,
    uvloop: bool = False,
    virtual: bool = True,
    **drive_options: Any,
) -> Played:
    """Sets up, main phase, final phase. `virtual`: on a clock that no busy machine makes late."""
    if virtual:
        drive_options["clock"] = lambda: round(asyncio.get_running_loop().time() * 1e9)

    async def run() -> Played:
        kept = journal if journal is not None else ListJournal()
        signal = stop if stop is not None else StopSignal()
        progress = Progress()
        if type(workload).setup is not Workload.setup:
            await _set_up(workload, open_session)
        interpreter = Interpreter(
            workload.generator,
            concurrency,
            NODES,
            random.Random(5),
            schedule=schedule,
            problems=workload.problems,
        )
        results = [
            await drive(
                interpreter,
                workload,
                open_session,
                kept,
                nemesis,
                timeout_s,
                progress,
                signal,
                **drive_options,
            )
        ]
        if final:
            interpreter.begin_phase("final", workload.final_generator)
            results.append(
                await drive(
                    interpreter,
                    workload,
                    open_session,
                    kept,
                    None,
                    timeout_s,
                    progress,
                    signal,
                    **drive_options,
                )
            )
        return Played(kept, results, progress)

    factory: Any = None
    if uvloop:
        import uvloop as uvloop_module

        factory = uvloop_module.new_event_loop
    if virtual:
        return virtual_time.run(run())
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(asyncio.wait_for(run(), 120))


async def _set_up(workload: Workload, open_session: Callable[[str], Awaitable[Session]]) -> None:
    """As a run does it: again until an attempt has certainly succeeded."""
    for _ in range(100):
        try:
            session = await open_session("n1")
            await asyncio.wait_for(workload.setup(session), 1.0)
            await session.close()
            return
        except (SessionError, TimeoutError):
            continue
    raise AssertionError("the workload could not be set up in 100 attempts")


def database(seed: int = 3, **behaviour: Any) -> InMemoryDatabase:
    """A database in memory."""
    return InMemoryDatabase(random.Random(seed), **behaviour)
