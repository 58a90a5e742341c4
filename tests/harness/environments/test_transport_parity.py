"""Parity: the same stories of asyncio streams over real loopback sockets and over the simulated network.

A story is told once and asserts what TCP promises; it is run in both worlds. Where the two could differ and a program
could tell, there should be a story here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from harness.environments.simulation.world import World

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPBACK = "127.0.0.1"
"""In the simulated world: the present host."""


def on_sockets(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 120))


def simulated(story: Coroutine[Any, Any, None]) -> None:
    world = World(seed=1)

    async def on_a_host() -> None:
        life = world.host("a").begin_life()
        await asyncio.get_running_loop().create_task(asyncio.wait_for(story, 20), context=life.context)

    world.run(on_a_host())


@pytest.fixture(params=[on_sockets, simulated])
def tell(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    run: Callable[[Coroutine[Any, Any, None]], None] = request.param
    return run


Tell = Callable[[Coroutine[Any, Any, None]], None]


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """Answers the port."""
    server = await asyncio.start_server(serve, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(LOOPBACK, port)


def test_what_is_sent_comes_back(tell: Tell) -> None:
    async def story() -> None:
        async with serving(echo) as port:
            reader, writer = await connected(port)
            for text in (b"one\n", b"two\n", b"three\n"):
                writer.write(text)
                assert await reader.readline() == text
            writer.writelines([b"a", b"b", b"c\n"])
            assert await reader.readline() == b"abc\n"
            writer.close()
            await writer.wait_closed()

    tell(story())


def test_a_large_transfer_arrives_whole_and_in_order(tell: Tell) -> None:
    sent = b"".join(number.to_bytes(4, "big") for number in range(500_000))

    async def story() -> None:
        async with serving(echo) as port:
            reader, writer = await connected(port)

            async def send() -> None:
                for start in range(0, len(sent), 77_777):
                    writer.write(sent[start : start + 77_777])
                    await writer.drain()
                writer.write_eof()

            sending = asyncio.create_task(send())
            assert await reader.read() == sent
            await sending
            writer.close()

    tell(story())


def test_who_has_ended_its_side_still_hears_the_other(tell: Tell) -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read()
        writer.write(b"you said " + everything)
        writer.close()

    async def story() -> None:
        async with serving(answer_at_the_end) as port:
            reader, writer = await connected(port)
            assert writer.can_write_eof()
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"you said hello"
            with pytest.raises(RuntimeError, match="write_eof"):
                writer.write(b"more")
            writer.close()

    tell(story())


def test_nobody_listens_so_the_connection_is_refused(tell: Tell) -> None:
    async def story() -> None:
        async with serving(echo) as port:
            pass
        with pytest.raises(ConnectionRefusedError):
            await connected(port)

    tell(story())


def test_two_cannot_listen_on_one_port(tell: Tell) -> None:
    async def story() -> None:
        async with serving(echo) as port:
            with pytest.raises(OSError, match=str(port)):
                await asyncio.start_server(echo, LOOPBACK, port)

    tell(story())


def test_closing_delivers_what_was_written_and_ends_the_stream(tell: Tell) -> None:
    async def say_and_close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 200_000)
        writer.close()

    async def story() -> None:
        async with serving(say_and_close) as port:
            reader, writer = await connected(port)
            assert len(await reader.read()) == 200_000
            writer.close()

    tell(story())


def test_an_abort_with_everything_read_is_an_end_of_stream(tell: Tell) -> None:
    async def read_and_abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(5)
        writer.transport.abort()

    async def story() -> None:
        async with serving(read_and_abort) as port:
            reader, writer = await connected(port)
            writer.write(b"hello")
            assert await reader.read() == b""
            writer.close()

    tell(story())


def test_an_abort_with_bytes_unread_is_a_reset(tell: Tell) -> None:
    async def story() -> None:
        came = asyncio.Event()
        go = asyncio.Event()

        async def abort_deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()
            came.set()
            await go.wait()
            writer.transport.abort()

        async with serving(abort_deaf) as port:
            reader, writer = await connected(port)
            await came.wait()
            writer.write(b"never read")
            await asyncio.sleep(0.05)  # Until it has crossed to the other kernel.
            go.set()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    tell(story())


def test_who_writes_to_a_closed_end_is_reset(tell: Tell) -> None:
    async def close_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def story() -> None:
        async with serving(close_at_once) as port:
            reader, writer = await connected(port)
            assert await reader.read() == b""

            async def ask() -> None:
                for _ in range(100):
                    writer.write(b"is anybody there?")
                    await writer.drain()
                    await asyncio.sleep(0.005)

            with pytest.raises(ConnectionError):
                await ask()
            writer.close()

    tell(story())


class Recorder(asyncio.Protocol):
    """Writes down what it is told, and how much it has read."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.size = 0
        self.transport: Any = None
        self.over: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.size += len(data)

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def eof_received(self) -> None:
        self.told.append("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append("lost")
        self.over.set_result(error)


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not fact():  # noqa: ASYNC110 - any fact of either world.
            await asyncio.sleep(0.005)


def test_who_writes_faster_than_the_other_reads_is_told_to_pause(tell: Tell) -> None:
    size = 20_000_000

    async def story() -> None:
        loop = asyncio.get_running_loop()
        ends: list[Recorder] = []

        def reading_nothing() -> Recorder:
            ends.append(Recorder())
            return ends[-1]

        server = await loop.create_server(reading_nothing, LOOPBACK, 0)
        port = server.sockets[0].getsockname()[1]
        transport, writer = await loop.create_connection(Recorder, LOOPBACK, port)
        await until(lambda: bool(ends) and ends[0].transport is not None)
        far = ends[0]
        far.transport.pause_reading()
        assert not far.transport.is_reading()

        transport.write(b"x" * size)
        assert writer.told == ["made", "pause"]
        waiting = transport.get_write_buffer_size()
        assert 0 < waiting < size, "the kernels take a part, and no more"
        assert not far.size

        far.transport.resume_reading()
        await until(lambda: far.size == size)
        await until(lambda: writer.told == ["made", "pause", "resume"])
        assert transport.get_write_buffer_size() == 0

        transport.close()
        assert await far.over is None
        assert await writer.over is None
        assert far.told == ["made", "eof", "lost"]
        assert writer.told == ["made", "pause", "resume", "lost"]
        server.close()

    tell(story())


def test_what_waits_in_the_buffer_is_sent_after_close_and_lost_by_abort(tell: Tell) -> None:
    size = 20_000_000

    async def story() -> None:
        loop = asyncio.get_running_loop()
        for is_aborted in (False, True):
            ends: list[Recorder] = []

            def take(ends: list[Recorder] = ends) -> Recorder:
                ends.append(Recorder())
                return ends[-1]

            server = await loop.create_server(take, LOOPBACK, 0)
            port = server.sockets[0].getsockname()[1]
            transport, _ = await loop.create_connection(Recorder, LOOPBACK, port)
            await until(lambda ends=ends: bool(ends) and ends[0].transport is not None)  # type: ignore[misc]
            ends[0].transport.pause_reading()
            transport.write(b"x" * size)
            if is_aborted:
                transport.abort()
            else:
                transport.close()
            assert transport.is_closing()
            ends[0].transport.resume_reading()
            assert await ends[0].over is None
            assert (ends[0].size < size) == is_aborted
            assert (ends[0].size == size) != is_aborted
            server.close()

    tell(story())


def test_a_closed_server_accepts_nobody_and_keeps_its_connections(tell: Tell) -> None:
    async def story() -> None:
        server = await asyncio.start_server(echo, LOOPBACK, 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await connected(port)
        writer.write(b"before\n")
        assert await reader.readline() == b"before\n"
        assert server.is_serving()
        server.close()
        assert not server.is_serving()
        assert not server.sockets
        with pytest.raises(ConnectionRefusedError):
            await connected(port)
        writer.write(b"after\n")
        assert await reader.readline() == b"after\n"
        writer.close()
        await server.wait_closed()

    tell(story())


def test_serving_forever_ends_when_it_is_cancelled(tell: Tell) -> None:
    async def story() -> None:
        server = await asyncio.start_server(echo, LOOPBACK, 0)
        port = server.sockets[0].getsockname()[1]
        serving_task = asyncio.create_task(server.serve_forever())
        _, writer = await connected(port)
        writer.close()
        serving_task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving_task
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await connected(port)

    tell(story())


def test_a_protocol_that_fails_loses_its_connection_and_the_loop_hears_why(tell: Tell) -> None:
    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ValueError(f"cannot read {data!r}")

    async def story() -> None:
        loop = asyncio.get_running_loop()
        heard: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: heard.append(context))
        failing: list[Failing] = []

        def take() -> Failing:
            failing.append(Failing())
            return failing[-1]

        server = await loop.create_server(take, LOOPBACK, 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await connected(port)
        writer.write(b"this")
        assert await reader.read() == b""
        error = await failing[0].over
        assert isinstance(error, ValueError)
        assert heard[0]["exception"] is error
        assert "data_received" in heard[0]["message"]
        writer.close()
        server.close()

    tell(story())


def test_a_protocol_may_bring_its_own_buffer(tell: Tell) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(1000)
            self.got = b""
            self.over = asyncio.get_running_loop().create_future()

        def get_buffer(self, _size_hint: int) -> memoryview:
            return memoryview(self.buffer)

        def buffer_updated(self, size: int) -> None:
            self.got += self.buffer[:size]

        def connection_lost(self, _error: Exception | None) -> None:
            self.over.set_result(self.got)

    async def story() -> None:
        loop = asyncio.get_running_loop()
        ends: list[Buffered] = []

        def take() -> Buffered:
            ends.append(Buffered())
            return ends[-1]

        server = await loop.create_server(take, LOOPBACK, 0)
        _, writer = await connected(server.sockets[0].getsockname()[1])
        sent = bytes(range(256)) * 40
        writer.write(sent)
        writer.close()
        await until(lambda: bool(ends))
        assert await ends[0].over == sent
        server.close()

    tell(story())


def test_ends_know_their_names_and_each_others(tell: Tell) -> None:
    async def story() -> None:
        seen: list[tuple[Any, Any]] = []

        async def look(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append((writer.get_extra_info("sockname"), writer.get_extra_info("peername")))
            writer.close()

        async with serving(look) as port:
            reader, writer = await connected(port)
            assert await reader.read() == b""
            ours, theirs = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
            assert theirs[1] == port
            assert seen == [(theirs, ours)]
            assert writer.get_extra_info("no such thing", "default") == "default"
            writer.close()

    tell(story())
