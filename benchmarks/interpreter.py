"""How many no-op operations a second the interpreter and its driver can do, alone, on one core.

The generator stack is `validate(clients(time_limit(stagger(mix(read, write)))))` at a rate far above what is possible,
so that every invocation is late and nothing ever waits. The history is validated and written to a journal on disk.
The client does nothing: its `invoke` returns at once, without a turn of the loop.

    python -m benchmarks.interpreter [--seconds 3] [--processes 10,100,1000] [--loop uvloop|asyncio] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.driver import DriveResult, Progress, StopSignal, drive
from harness.interpreter import Interpreter
from results.operation import Operation
from results.run_folder import Journal
from workloads.generator import combinators as combine
from workloads.generator.core import Context, Generator, Invocation
from workloads.workload import Workload


class NoOperation(Workload):
    """Clients that do nothing."""

    name = "no-op"
    needs = frozenset()
    read_only_functions = frozenset({"read"})
    required_functions = ()

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        return invocation.value


class NoSession:
    interfaces: frozenset[str] = frozenset()

    async def close(self) -> None:
        return None


async def open_session(node: str) -> Any:
    return NoSession()


def stack(seconds: float, rate: float, seed: int) -> Generator:
    """The generator that the figures are about."""
    streams = random.Random(seed)
    values = random.Random(seed + 1)

    def read(context: Context) -> Invocation:
        return Invocation("read")

    def write(context: Context) -> Invocation:
        return Invocation("write", int(values.random() * 1000))

    mixed = combine.mix(read, write, random=streams)
    staggered = combine.stagger(1 / rate, mixed, random=streams)
    return combine.validate(combine.clients(combine.time_limit(seconds, staggered)))


async def measure(processes: int, seconds: float, folder: Path) -> tuple[float, float, DriveResult]:
    """Operations a second of wall time and of CPU time, and the driver's own result."""
    interpreter = Interpreter(
        stack(seconds, 1e6, 7),
        processes,
        ["n1", "n2", "n3"],
        random.Random(11),
        problems=NoOperation().problems,
    )
    journal = Journal(folder / f"history-{processes}-{time.monotonic_ns()}.jsonl")
    began, cpu = time.perf_counter(), time.process_time()
    result = await drive(
        interpreter, NoOperation(), open_session, journal, None, 5.0, Progress(seconds), StopSignal()
    )
    cpu = time.process_time() - cpu
    wall = time.perf_counter() - began
    journal.close()
    assert journal.committed == interpreter.next_index, (journal.committed, interpreter.next_index)
    journal.path.unlink()
    return result.ok / wall, result.ok / cpu, result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--processes", default="10,100,1000")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead of a table")
    arguments = parser.parse_args()
    factory: Any = None
    if arguments.loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    if not arguments.profile:
        print(f"no-op operations a second, {arguments.loop}, {arguments.seconds:g} s each")
        print(
            f"{'processes':>9}  {'ops/s':>8}  {'ops/CPU s':>9}  {'us/op':>6}  {'lag p50':>8}  {'lag p99':>8}"
        )
    for processes in map(int, arguments.processes.split(",")):
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=factory) as runner:
            if arguments.profile:
                profile = cProfile.Profile()
                profile.enable()
                runner.run(measure(processes, arguments.seconds, Path(folder)))
                profile.disable()
                pstats.Stats(profile).sort_stats("tottime").print_stats(30)
                continue
            rate, cpu_rate, result = runner.run(measure(processes, arguments.seconds, Path(folder)))
        lag = result.loop_lag
        print(
            f"{processes:>9}  {rate:>8,.0f}  {cpu_rate:>9,.0f}  {1e6 / cpu_rate:>6.1f}  "
            f"{lag.median_ns / 1e6:>5.2f} ms  {lag.p99_ns / 1e6:>5.2f} ms"
        )


if __name__ == "__main__":
    main()
