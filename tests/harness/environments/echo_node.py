"""A small node for tests of environments: pings its peers, counts what it hears, tells its clock. No database.

Peer port: lines of text, answered by nothing. Client port: any line is answered by one JSON line of status, but for
`crash`, upon which the program ends. The same program runs as a process and on a simulated host.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.environments.clock_file import read_clock


def print_at_once(line: str) -> None:
    print(line, flush=True)


async def main(config: dict, say: Callable[[str], None] = print_at_once) -> None:
    if config.get("fail"):
        say(f"this node was told to fail: {config['fail']}")
        sys.exit(3)
    heard: dict[str, int] = {}
    echoed: dict[str, int] = {}
    broken: dict[str, int] = {}

    async def peer(reader, writer):
        try:
            while line := await reader.readline():
                name = line.decode().split()[0]
                heard[name] = heard.get(name, 0) + 1
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def clock_ns() -> int:
        if config["clock_file"] is None:
            return time.time_ns()
        setting = read_clock(Path(config["clock_file"]))
        return time.time_ns() + setting.shift_ns(time.clock_gettime_ns(time.CLOCK_MONOTONIC))

    async def client(reader, writer):
        try:
            while line := await reader.readline():
                if line == b"crash\n":
                    sys.exit(3)
                status = {"node": config["node"], "clock_ns": clock_ns(), "heard": heard}
                status |= {"echoed": echoed, "broken": broken}
                writer.write(json.dumps(status).encode() + b"\n")
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def listen_for_echoes(name, reader):
        while await reader.readline():
            echoed[name] = echoed.get(name, 0) + 1
        raise ConnectionResetError(name)

    async def ping(name, address):
        while True:
            writer = None
            try:
                reader, writer = await asyncio.open_connection(*address)
                async with asyncio.TaskGroup() as group:
                    group.create_task(listen_for_echoes(name, reader))
                    while True:
                        writer.write(f"{config['node']} ping\n".encode())
                        await writer.drain()
                        await asyncio.sleep(0.01)
            except (OSError, ExceptionGroup):
                broken[name] = broken.get(name, 0) + 1
                await asyncio.sleep(0.02)
            finally:
                if writer is not None:
                    writer.close()

    await asyncio.start_server(peer, *config["peer_listen"])
    await asyncio.start_server(client, *config["client_listen"])
    say(f"{config['node']} listens")
    async with asyncio.TaskGroup() as group:
        for name, address in config["peers"].items():
            group.create_task(ping(name, address))
        group.create_task(asyncio.sleep(1e9))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
