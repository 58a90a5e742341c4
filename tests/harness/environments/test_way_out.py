"""A node's way out: SOCKS5 to made-up addresses, with bytes, ends and resets passed on, and all else refused."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from harness.environments.local.way_out import WayOut, made_up_address
from harness.environments.relay import kept
from reference_db import socks
from tests.harness.environments.echo_system import until

N2 = (made_up_address(1), 2380)


@asynccontextmanager
async def world(there: asyncio.Queue) -> AsyncIterator[tuple[str, int]]:
    """Where the way out listens; whoever comes through it to n2 is put into `there`."""
    owner = await asyncio.start_server(lambda r, w: there.put_nowait((r, w)), "127.0.0.1", 0)
    way_out = WayOut({N2: owner.sockets[0].getsockname(), (N2[0], 1): ("127.0.0.1", 1)})
    server = await asyncio.start_server(way_out.serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    owner.close()


async def dial(address, host: str, port: int, command: int = 1):
    """Greets as Go does, and answers the code of the reply too."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"\x05\x01\x00")
    assert await reader.readexactly(2) == b"\x05\x00"
    writer.write(bytes((5, command, 0, 1)) + socket.inet_aton(host) + port.to_bytes(2, "big"))
    reply = await reader.readexactly(10)
    return reader, writer, reply[1]


def test_bytes_and_ends_are_passed_on_both_ways() -> None:
    async def story() -> None:
        there: asyncio.Queue = asyncio.Queue()
        async with world(there) as address:
            reader, writer, code = await dial(address, *N2)
            assert code == 0
            its_reader, its_writer = await asyncio.wait_for(there.get(), 60)
            writer.write(b"ping" * 100_000)
            assert await its_reader.readexactly(400_000) == b"ping" * 100_000
            writer.write_eof()
            assert await its_reader.read() == b""
            its_writer.write(b"pong after the end")
            its_writer.close()
            assert await reader.read() == b"pong after the end", "half a connection goes on"
            writer.close()

    asyncio.run(asyncio.wait_for(story(), 60))


class Heard(asyncio.Protocol):
    """The end that dialled; keeps what it is told."""

    def __init__(self) -> None:
        self.heard = b""

    def data_received(self, data: bytes) -> None:
        self.heard += data


def test_a_node_of_the_reference_database_finds_its_way_out() -> None:
    """To a place that came later, too; nobody there, or no such place, is a connection that was refused."""

    async def story() -> None:
        owner = await asyncio.start_server(lambda r, w: (w.write(b"hello"), w.close()), "127.0.0.1", 0)
        way_out = WayOut({(N2[0], 1): ("127.0.0.1", 1)})
        server = await asyncio.start_server(kept(way_out.serve), "127.0.0.1", 0)
        here = server.sockets[0].getsockname()
        for place in (N2, (N2[0], 1)):
            with pytest.raises(ConnectionRefusedError, match=str(place[1])):
                await socks.dial(Heard, place, here)
        way_out.add({N2: owner.sockets[0].getsockname()})
        transport, end = await socks.dial(Heard, N2, here)
        await until(lambda: end.heard == b"hello")
        transport.close()
        directly, end = await socks.dial(Heard, owner.sockets[0].getsockname(), None)
        await until(lambda: end.heard == b"hello")
        directly.close()
        server.close()
        owner.close()

    asyncio.run(asyncio.wait_for(story(), 60))


@pytest.mark.parametrize("answer", [b"\x05\xff", b"\x05", b""])
def test_a_server_that_asks_for_a_name_or_ends_leads_nowhere(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3)
        writer.write(answer)
        writer.close()

    async def story() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with pytest.raises(ConnectionError, match="SOCKS5 server"):
            await socks.dial(Heard, N2, server.sockets[0].getsockname())
        server.close()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_reset_behind_is_a_reset_in_front() -> None:
    async def story() -> None:
        there: asyncio.Queue = asyncio.Queue()
        async with world(there) as address:
            reader, writer, _ = await dial(address, *N2)
            _its_reader, its_writer = await asyncio.wait_for(there.get(), 60)
            its_writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            its_writer.transport.abort()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    asyncio.run(asyncio.wait_for(story(), 60))


@pytest.mark.parametrize(
    ("host", "port", "command", "code"),
    [
        (made_up_address(7), 2380, 1, 2),
        (N2[0], 99, 1, 2),
        (N2[0], 1, 1, 5),
        (*N2, 3, 7),
    ],
    ids=["another host", "another port", "nobody listens", "another command"],
)
def test_what_an_address_does_not_stand_for_is_refused(host: str, port: int, command: int, code: int) -> None:
    async def story() -> None:
        async with world(asyncio.Queue()) as address:
            reader, writer, answered = await dial(address, host, port, command)
            assert answered == code
            assert await reader.read() == b""
            writer.close()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_half_a_connection_is_not_collected_as_garbage() -> None:
    """The loop no longer reads from the end that has said its last, and nobody else knew of the other."""

    async def story() -> None:
        there: asyncio.Queue = asyncio.Queue()
        owner = await asyncio.start_server(lambda r, w: there.put_nowait((r, w)), "127.0.0.1", 0)
        way_out = WayOut({N2: owner.sockets[0].getsockname()})
        server = await asyncio.start_server(kept(way_out.serve), "127.0.0.1", 0)
        reader, writer, _ = await dial(server.sockets[0].getsockname(), *N2)
        _its_reader, its_writer = await asyncio.wait_for(there.get(), 60)
        writer.write_eof()
        assert await _its_reader.read() == b""
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0)
        its_writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        for end in (writer, its_writer):
            end.close()
        server.close()
        owner.close()

    asyncio.run(asyncio.wait_for(story(), 60))
