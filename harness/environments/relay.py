"""A node that is only a way to another place: it takes connections and passes them on, bytes, ends and resets.

Run as `python relay.py --listen HOST:PORT --to HOST:PORT`; the file alone is enough, wherever there is a Python.

With it a database that runs elsewhere, and whose life is none of ours, has nodes that can be killed, paused and cut
off: what breaks is the clients' way to it. It is also what the other nodes of a database are that has one server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

Address = tuple[str, int]
End = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CHUNK = 1 << 16


async def serve(listen: Address, to: Address) -> None:
    """Until the process ends. A connection that cannot be passed on is reset."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(*to)
        except OSError:
            reset(writer)
            return
        await joined((reader, writer), there)

    server = await asyncio.start_server(kept(pass_on), *listen, backlog=256)
    print(f"{listen[0]}:{listen[1]} leads to {to[0]}:{to[1]}", flush=True)
    await server.serve_forever()


def kept(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
    """For `asyncio.start_server`: `serve` in a task that is held until it ends. A server itself holds none, and a
    connection whose two ends only wait for each other would be collected as garbage."""
    tasks: set[asyncio.Task[None]] = set()

    def serve_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return serve_it


async def joined(one: End, other: End) -> None:
    """Passes on what each end says to the other: bytes, the end, a reset. Until both are closed."""
    try:
        await asyncio.gather(_passed_on(one[0], other[1]), _passed_on(other[0], one[1]))
    except OSError:
        reset(one[1])
        reset(other[1])
    finally:
        one[1].close()
        other[1].close()


async def _passed_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """All bytes, then the end. Raises OSError where the connection is reset."""
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


def reset(end: asyncio.StreamWriter) -> None:
    """Close with RST, unless it is closed already."""
    # The kernel may have closed it (OSError), or the loop its descriptor (ValueError); then abort() only tidies up.
    with contextlib.suppress(OSError, ValueError):
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    end.transport.abort()


def parse_address(text: str, usual_port: int | None = None) -> Address:
    """`host:port`, `[::1]:port`, or `host` where there is a usual port. Raises ValueError."""
    host, _, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
    host = host.strip("[]")
    if not host or not (port.isdigit() or (not port and usual_port)):
        raise ValueError(f"{text!r} is no address: HOST:PORT")
    return host, int(port) if port else int(usual_port or 0)


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description="Passes connections on.")
    parser.add_argument("--listen", required=True, type=parse_address, metavar="HOST:PORT")
    parser.add_argument("--to", required=True, type=parse_address, metavar="HOST:PORT")
    given = parser.parse_args()
    asyncio.run(serve(given.listen, given.to))


if __name__ == "__main__":
    main()
