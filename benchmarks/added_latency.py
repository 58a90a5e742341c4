"""The interval that the harness itself adds to an operation, against an echo server on loopback.

Each operation sends a few bytes to an echo server (a process of its own) and waits for them. Two clocks are read at
the socket: when the bytes are handed to it, and when the answer comes out. That is the bare round trip. What the
history says about the same operation is longer; the difference is what the harness added: the journal's write, waking
the worker, the coroutine, and noticing the end. The journal is on disk, the history is validated.

    python -m benchmarks.added_latency [--rates 500,1000,2000] [--seconds 5] [--processes 10] [--loop uvloop,asyncio]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.driver import DriveResult, Progress, StopSignal, drive
from harness.interpreter import Interpreter
from results.history import History
from results.operation import Operation
from results.run_folder import Journal
from workloads.generator import combinators as combine
from workloads.workload import Workload

MESSAGE = b"0123456789abcdef"


class Echo(asyncio.Protocol):
    """The server: what comes in goes out."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


async def serve() -> None:
    """Echoes until standard input ends; prints the port first."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


class EchoSession(asyncio.Protocol):
    """One connection; one question at a time."""

    interfaces: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.transport: Any = None
        self.answer: asyncio.Future[None] | None = None
        self.answered_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answered_ns = time.monotonic_ns()
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.set_result(None)

    async def ask(self) -> int:
        """The bare round trip, in nanoseconds."""
        answer = self.answer = asyncio.get_running_loop().create_future()
        asked_ns = time.monotonic_ns()
        self.transport.write(MESSAGE)
        await answer
        return self.answered_ns - asked_ns

    async def close(self) -> None:
        self.transport.abort()


class EchoWorkload(Workload):
    """Clients that ask an echo server; the value of a completion is the bare round trip."""

    name = "echo"
    needs = frozenset()
    read_only_functions = frozenset()
    required_functions = ()

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        return await session.ask()


async def measure(
    port: int, rate: float, seconds: float, processes: int, path: Path
) -> tuple[DriveResult, History]:
    """Drives echoes at this rate for so long; the driver's result and the history."""
    loop = asyncio.get_running_loop()

    async def open_session(node: str) -> Any:
        _, session = await loop.create_connection(EchoSession, "127.0.0.1", port)
        return session

    asks = combine.repeat(combine.operation("ask"))
    paced = combine.stagger(1 / rate, asks, random=random.Random(1))
    plan = combine.validate(combine.clients(combine.time_limit(seconds, paced)))
    interpreter = Interpreter(
        plan, processes, ["n1", "n2", "n3"], random.Random(2), problems=EchoWorkload().problems
    )
    with Journal(path) as journal:
        result = await drive(
            interpreter, EchoWorkload(), open_session, journal, None, 5.0, Progress(seconds), StopSignal()
        )
    return result, History.load(path)


def quantiles(values: list[float]) -> tuple[float, float]:
    """Median and p99."""
    cuts = statistics.quantiles(values, n=100)
    return cuts[49], cuts[98]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", default="500,1000,2000")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--loop", default="uvloop,asyncio")
    parser.add_argument(
        "--serve", action="store_true", help="be the echo server (used by the program itself)"
    )
    arguments = parser.parse_args()
    factories: dict[str, Any] = {"asyncio": None}
    if "uvloop" in arguments.loop or arguments.serve:
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    if arguments.serve:
        with asyncio.Runner(loop_factory=factories["uvloop"]) as runner:
            runner.run(serve())
        return
    print(f"added interval in microseconds, {arguments.processes} processes, {arguments.seconds:g} s each")
    print(
        f"{'loop':>8} {'ops/s':>6} {'ops':>6} | {'bare p50':>8} {'p99':>6} | {'op p50':>8} {'p99':>6} | "
        f"{'added p50':>9} {'p99':>6} | {'lag p50':>7} {'p99':>6} {'max':>7} | {'late p50':>8}"
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.added_latency", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None, "asked for a pipe"
    port = int(server.stdout.readline())
    try:
        for loop in arguments.loop.split(","):
            for rate in map(float, arguments.rates.split(",")):
                with (
                    tempfile.TemporaryDirectory() as folder,
                    asyncio.Runner(loop_factory=factories[loop]) as runner,
                ):
                    result, history = runner.run(
                        measure(
                            port, rate, arguments.seconds, arguments.processes, Path(folder) / "history.jsonl"
                        )
                    )
                print(row(loop, rate, result, history))
    finally:
        server.communicate("")


def row(loop: str, rate: float, result: DriveResult, history: History) -> str:
    bare, whole, added, late = [], [], [], []
    for pair in history.pairs():
        assert pair.end is not None, "an echo that never came back"
        bare.append(pair.value / 1000)
        whole.append((pair.end - pair.start) / 1000)
        added.append((pair.end - pair.start - pair.value) / 1000)
        intended = pair.invocation.intended
        late.append(0.0 if intended is None else (pair.start - intended) / 1000)
    cells = [quantiles(values) for values in (bare, whole, added)]
    lag = result.loop_lag
    return (
        f"{loop:>8} {rate:>6,.0f} {result.ok:>6} | {cells[0][0]:>8.0f} {cells[0][1]:>6.0f} | "
        f"{cells[1][0]:>8.0f} {cells[1][1]:>6.0f} | {cells[2][0]:>9.0f} {cells[2][1]:>6.0f} | "
        f"{lag.median_ns / 1000:>7.0f} {lag.p99_ns / 1000:>6.0f} {lag.max_ns / 1000:>7.0f} | "
        f"{statistics.median(late):>8.0f}"
    )


if __name__ == "__main__":
    main()
