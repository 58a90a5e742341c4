"""What the proxy of the environment `local` adds: latency each way, CPU per message, bytes per second.

    python benchmarks/proxy.py [--rate 2000] [--seconds 5]

An echo server and the proxy are processes of their own, as in a run; this process is the client. Small messages are
sent at a fixed rate, first straight to the server, then through the proxy; half the difference of the round trips
is what the proxy adds to each way. Then bulk: as many bytes as pass.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import uvloop

from harness.environments.channel import Channel

ROOT = Path(__file__).resolve().parents[1]
MESSAGE_BYTES = 128


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Client(asyncio.Protocol):
    """Numbered messages, and when each came back."""

    def __init__(self) -> None:
        self.sent: dict[int, int] = {}
        self.round_trips_us: list[float] = []
        self.wanted_bytes = 0
        self.enough = asyncio.Event()
        self.buffer = b""
        self.numbered = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, number: int) -> None:
        self.sent[number] = time.perf_counter_ns()
        self.transport.write(struct.pack("<Q", number) + bytes(MESSAGE_BYTES - 8))

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()
        if not self.numbered:
            self.wanted_bytes -= len(data)
            if self.wanted_bytes <= 0:
                self.enough.set()
            return
        self.buffer += data
        while len(self.buffer) >= MESSAGE_BYTES:
            (number,) = struct.unpack_from("<Q", self.buffer)
            self.buffer = self.buffer[MESSAGE_BYTES:]
            self.round_trips_us.append((now - self.sent.pop(number)) / 1000)


async def serve_echo() -> None:
    """The echo server: prints its port and runs until its standard input closes."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def cpu_s(pid: int) -> float:
    """CPU that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def until(due: float) -> None:
    """Wait for a reading of `perf_counter`; the last two milliseconds by asking, because timers are coarser."""
    while True:
        wait = due - time.perf_counter()
        if wait <= 0:
            return
        await asyncio.sleep(wait if wait > 0.002 else 0)


async def paced(port: int, rate: int, seconds: float) -> list[float]:
    """Round trips in microseconds of messages at a fixed rate; the first half second is a warm-up."""
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    start = time.perf_counter()
    warm = 0
    for number in range(int(rate * (seconds + 0.5))):
        await until(start + number / rate)
        client.send(number)
        if number == rate // 2:
            warm = len(client.round_trips_us)
    await asyncio.sleep(0.2)
    client.transport.abort()
    return sorted(client.round_trips_us[warm:])


async def bulk(port: int, size_bytes: int) -> float:
    """Megabytes a second, there and back again."""
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    client.numbered = False
    client.wanted_bytes = size_bytes
    start = time.perf_counter()
    client.transport.write(bytes(size_bytes))
    await client.enough.wait()
    client.transport.abort()
    return size_bytes / 1e6 / (time.perf_counter() - start)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure(rate: int, seconds: float, rounds: int) -> None:
    """Alternates between the two ways, so that a change of the machine's mood hits both."""
    echo = subprocess.Popen(
        [sys.executable, __file__, "--echo"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert echo.stdout is not None
    direct_port = int(echo.stdout.readline())
    ours, theirs = socket.socketpair()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "harness.environments.local.proxy", str(theirs.fileno())]
    proxy = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
    theirs.close()
    try:
        channel = await Channel.open("proxy", ours)
        port = await channel.request(
            "route", dialer="client", owner="n1", port="client", host="127.0.0.1", to_port=direct_port
        )
        direct: list[float] = []
        proxied: list[float] = []
        added: list[float] = []
        used = 0.0
        for _ in range(rounds):
            one = await paced(direct_port, rate, seconds / rounds)
            before = cpu_s(proxy.pid)
            other = await paced(port, rate, seconds / rounds)
            used += cpu_s(proxy.pid) - before
            added.append((statistics.median(other) - statistics.median(one)) / 2)
            direct += one
            proxied += other
        direct.sort()
        proxied.sort()
        print(f"{rate} messages of {MESSAGE_BYTES} bytes a second, {len(proxied)} measured, {rounds} rounds")
        print(f"{'round trip, us':<24}{'p50':>9}{'p90':>9}{'p99':>9}")
        for name, values in (("direct", direct), ("through the proxy", proxied)):
            row = "".join(f"{quantile(values, share):9.0f}" for share in (0.5, 0.9, 0.99))
            print(f"{name:<24}{row}")
        spread = f"rounds {min(added):.0f} to {max(added):.0f}"
        print(f"added each way, us: {statistics.median(added):.0f} at the median ({spread})")
        messages = 2 * (rate * seconds + rounds * rate * 0.5)
        print(f"CPU of the proxy: {used / messages * 1e6:.1f} us a message and direction")
        print(f"bulk, MB/s: direct {await bulk(direct_port, 100_000_000):.0f},", end=" ")
        before = cpu_s(proxy.pid)
        print(f"through the proxy {await bulk(port, 100_000_000):.0f}", end=" ")
        print(f"({(cpu_s(proxy.pid) - before) / 200 * 1000:.2f} ms of its CPU a MB and direction)")
        channel.close()
    finally:
        assert echo.stdin is not None
        echo.stdin.close()
        await asyncio.to_thread(proxy.wait, 10)
        await asyncio.to_thread(echo.wait, 10)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="What the proxy of the environment local adds.")
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if options.echo:
            runner.run(serve_echo())
        else:
            runner.run(measure(options.rate, options.seconds, options.rounds))


if __name__ == "__main__":
    main()
