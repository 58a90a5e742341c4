"""Links to peers over real sockets: frames arrive, broken connections are told and made anew, silence is noticed."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from reference_db.server import links as links_module
from reference_db.server.links import PeerLinks


class Listener:
    """A peer that keeps what it hears."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.connections: list[asyncio.StreamWriter] = []
        self.server: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections.append(writer)
            while data := await reader.read(65536):
                self.heard += data
            writer.close()

        self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[:2]

    def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        for connection in self.connections:
            connection.transport.abort()


async def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s"
        await asyncio.sleep(0.005)


async def with_link(story: Callable[[PeerLinks, Listener, list[str]], Awaitable[None]]) -> None:
    listener = Listener()
    lost: list[str] = []
    links = PeerLinks(b"hello;", {"n2": await listener.start()}, lost.append)
    assert not links.send("n2", b"too early;")
    links.start()
    await until(lambda: links.is_up("n2"))
    try:
        await story(links, listener, lost)
    finally:
        await links.stop()
        listener.stop()


def test_frames_arrive_in_order_after_the_hello() -> None:
    async def story(links: PeerLinks, listener: Listener, _lost: list[str]) -> None:
        assert links.send("n2", b"one;")
        assert links.send("n2", b"two;")
        await until(lambda: listener.heard == b"hello;one;two;")

    asyncio.run(with_link(story))


def test_a_broken_connection_is_told_and_made_anew() -> None:
    async def story(links: PeerLinks, listener: Listener, lost: list[str]) -> None:
        await until(lambda: bool(listener.connections))
        listener.connections[0].transport.abort()
        await until(lambda: lost == ["n2"])
        await until(lambda: links.is_up("n2"))
        await until(lambda: listener.heard == b"hello;hello;")

    asyncio.run(with_link(story))


def test_a_silent_peer_is_dialled_again_and_one_that_speaks_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(links: PeerLinks, listener: Listener, lost: list[str]) -> None:
        links.heard("n2")
        links.watch()
        assert links.is_up("n2")
        monkeypatch.setattr(links_module, "SILENCE_S", -1.0)
        links.watch()
        await until(lambda: lost == ["n2"])
        monkeypatch.setattr(links_module, "SILENCE_S", 1000.0)
        await until(lambda: links.is_up("n2"))

    asyncio.run(with_link(story))


def test_a_clogged_peer_costs_frames_and_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(links: PeerLinks, listener: Listener, _lost: list[str]) -> None:
        await until(lambda: bool(listener.connections))
        listener.connections[0].transport.pause_reading()
        monkeypatch.setattr(links_module, "BUFFER_LIMIT_BYTES", 1 << 16)
        frame = bytes(1 << 16)
        for _ in range(1000):
            if not links.send("n2", frame):
                break
        else:
            raise AssertionError("64 MB were taken for a peer that does not read")
        assert links.dropped == 1

    asyncio.run(with_link(story))
