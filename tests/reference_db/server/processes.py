"""Real node processes on loopback, for tests; every one is ended when the test ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from reference_db.client import Client, ClientError

ROOT = Path(__file__).resolve().parents[3]


_FIRST, _ENOUGH = 20_000, 10_000
"""Below the ports that the kernel gives to whoever names none (from 32,768 on): nobody dials out from one of these."""
_places = itertools.count(os.getpid() * 101)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that follow each other, that nobody listens on, and that this process was not given before."""
    while True:
        ports = [_FIRST + next(_places) % _ENOUGH for _ in range(count)]
        if ports[-1] - ports[0] != count - 1:
            continue  # Around the end.
        sockets = [socket.socket() for _ in ports]
        try:
            for one, port in zip(sockets, ports, strict=True):
                one.bind(("127.0.0.1", port))
            return ports
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()


class Processes:
    """A cluster of server processes in a folder."""

    def __init__(self, folder: Path, nodes: int = 3, ranges: int = 4, cores: int = 1, **more: Any) -> None:
        self.folder = folder
        self.names = [f"n{number}" for number in range(1, nodes + 1)]
        # The stores of a node listen on ports that follow each other.
        ports = free_ports(2 * nodes * cores)[::cores]
        self.peers = {name: ("127.0.0.1", ports[at]) for at, name in enumerate(self.names)}
        self.clients = {name: ("127.0.0.1", ports[nodes + at]) for at, name in enumerate(self.names)}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for at, name in enumerate(self.names):
            config = {
                "node": name,
                "data_dir": str(folder / name),
                "peer_listen": self.peers[name],
                "client_listen": self.clients[name],
                "peers": {other: self.peers[other] for other in self.names if other != name},
                "nodes": self.names,
                "ranges": ranges,
                "seed": at,
                **more,
            }
            (folder / f"{name}.json").write_text(json.dumps(config))

    def start(self, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "reference_db.server", "--config", str(self.folder / f"{name}.json")],
                stderr=log,
                cwd=ROOT,
            )
        self.running[name] = process
        return process

    def start_all(self) -> None:
        for name in self.names:
            if name not in self.running:
                self.start(name)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        self.running[name].send_signal(number)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    async def wait_ready(self, timeout_s: float = 90.0) -> None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < deadline:
            try:
                served: set[int] = set()
                wanted: set[int] = set()
                for name in self.running:
                    async with Client(self.clients[name], timeout_s=1.0) as client:
                        for one in (await client.status())["ranges"]:
                            wanted.add(one["id"])
                            if one["serves"]:
                                served.add(one["id"])
                if served == wanted:
                    return
            except ClientError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(
            f"not ready after {timeout_s} s: {[self.log(name)[-500:] for name in self.names]}"
        )

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.running.values():
            process.wait()
