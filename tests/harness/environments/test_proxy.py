"""The proxy, with sockets of our own at both ends: what arrives, what does not, and who is told.

Here the proxy runs in the test's own loop; `test_local_cluster.py` has it as a process.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from harness.environments.channel import Channel
from harness.environments.environment import EnvironmentFailed
from harness.environments.local.proxy import HELD_LIMIT_BYTES, serve

SILENCE_S = 0.05
"""On loopback within one process, what has not come after this does not come."""

FORTH, BACK = ("n1", "n2"), ("n2", "n1")


class Stream:
    """One end: what it has received, and how it ended ("open", "ended", "reset")."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.received = b""
        self.status = "open"
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while data := await self.reader.read(1 << 16):
                self.received += data
            self.status = "ended"
        except ConnectionResetError:
            self.status = "reset"

    async def gets(self, data: bytes) -> None:
        await until(lambda: self.received == data, f"{data[:40]!r}, got {self.received[:40]!r}")

    async def becomes(self, status: str) -> None:
        await until(lambda: self.status == status, f"{status}, is {self.status}")

    def send(self, data: bytes) -> None:
        self.writer.write(data)


async def until(condition: Callable[[], bool], what: str = "") -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        await asyncio.sleep(0.001)


class World:
    """n1 dials n2 through a route of the proxy."""

    def __init__(self, channel: Channel, port: int, accepted: asyncio.Queue[Stream]) -> None:
        self.channel, self.port, self.accepted = channel, port, accepted
        self.streams: list[Stream] = []

    async def dial(self) -> Stream:
        stream = Stream(*await asyncio.open_connection("127.0.0.1", self.port))
        self.streams.append(stream)
        return stream

    async def connect(self) -> tuple[Stream, Stream]:
        near = await self.dial()
        far = await asyncio.wait_for(self.accepted.get(), 60)
        self.streams.append(far)
        return near, far

    async def ask(self, verb: str, *links: tuple[str, str], **arguments: Any) -> Any:
        return await self.channel.request(verb, links=list(links), **arguments)

    async def counters(self, link: tuple[str, str]) -> dict[str, Any]:
        rows = await self.channel.request("counters")
        return next(row for row in rows if (row["source"], row["target"]) == link)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    accepted: asyncio.Queue[Stream] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(Stream(reader, writer))

    owner = await asyncio.start_server(accept, "127.0.0.1", 0)
    ours, theirs = socket.socketpair()
    proxy = asyncio.create_task(serve(theirs))
    channel = await Channel.open("proxy", ours)
    to_port = owner.sockets[0].getsockname()[1]
    port = await channel.request(
        "route", dialer="n1", owner="n2", port="peer", host="127.0.0.1", to_port=to_port
    )
    made = World(channel, port, accepted)
    try:
        yield made
    finally:
        channel.close()
        await asyncio.wait_for(proxy, 60)
        owner.close()
        for stream in made.streams:
            stream.task.cancel()
            stream.writer.transport.abort()
        await asyncio.sleep(0)


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def story(tell: Callable[[World], Awaitable[None]]) -> Callable[[str], None]:
    """A test that gets a world, once on each kind of event loop: they differ in how they pause and reset."""

    @pytest.mark.parametrize("loop", sorted(LOOPS))
    def test(loop: str) -> None:
        async def inside() -> None:
            async with world() as made:
                await asyncio.wait_for(tell(made), 60)

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(inside())

    test.__name__, test.__doc__ = tell.__name__, tell.__doc__
    return test


@story
async def test_bytes_pass_both_ways_and_are_counted(w: World) -> None:
    near, far = await w.connect()
    near.send(b"hello")
    await far.gets(b"hello")
    far.send(b"welcome")
    await near.gets(b"welcome")
    assert (await w.counters(FORTH))["forwarded"] == 5
    assert (await w.counters(BACK))["forwarded"] == 7


@story
async def test_a_megabyte_passes_whole_though_its_reader_is_slow(w: World) -> None:
    near, far = await w.connect()
    far.task.cancel()
    near.send(bytes(range(256)) * 20_000)
    await asyncio.sleep(SILENCE_S)
    received = b""
    while len(received) < 256 * 20_000:
        received += await far.reader.read(1 << 16)
    assert received == bytes(range(256)) * 20_000


@story
async def test_an_end_of_stream_passes_and_the_other_direction_stays_open(w: World) -> None:
    near, far = await w.connect()
    near.send(b"last words")
    near.writer.write_eof()
    await far.gets(b"last words")
    await far.becomes("ended")
    far.send(b"reply")
    await near.gets(b"reply")
    far.writer.close()
    await near.becomes("ended")
    await until(lambda: near.status == "ended")
    assert (await w.counters(FORTH))["open"] == 0


@story
async def test_a_reset_passes(w: World) -> None:
    near, far = await w.connect()
    near.send(b"x")
    await far.gets(b"x")
    near.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    near.writer.transport.abort()
    await far.becomes("reset")


@story
async def test_nobody_listening_means_reset(w: World) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = await w.channel.request(
            "route", dialer="n1", owner="n3", port="peer", host="127.0.0.1", to_port=reserved.getsockname()[1]
        )
        w.port = port
        near = await w.dial()
        await near.becomes("reset")
    assert (await w.counters(("n1", "n3")))["refused"] == 1


@story
async def test_a_cut_takes_one_direction_alone(w: World) -> None:
    near, far = await w.connect()
    await w.ask("cut", FORTH)
    near.send(b"lost")
    far.send(b"heard")
    await near.gets(b"heard")
    await asyncio.sleep(SILENCE_S)
    assert far.received == b""
    assert (far.status, near.status) == ("open", "open")
    counters = await w.counters(FORTH)
    assert (counters["held"], counters["forwarded"], counters["cut"]) == (4, 0, True)


@story
async def test_the_other_direction_of_a_connection_is_cut_alone_as_well(w: World) -> None:
    near, far = await w.connect()
    await w.ask("cut", BACK)
    near.send(b"heard")
    far.send(b"lost")
    await far.gets(b"heard")
    await asyncio.sleep(SILENCE_S)
    assert near.received == b""


@story
async def test_after_the_mend_a_connection_that_lost_bytes_is_reset_at_both_ends(w: World) -> None:
    near, far = await w.connect()
    await w.ask("cut", FORTH)
    near.send(b"lost")
    await asyncio.sleep(SILENCE_S)
    await w.ask("mend", FORTH)
    await near.becomes("reset")
    await far.becomes("reset")
    assert far.received == b"", "held bytes are lost, not late"
    assert (await w.counters(FORTH))["dropped"] == 4
    near, far = await w.connect()
    near.send(b"again")
    await far.gets(b"again")


@story
async def test_a_connection_that_was_silent_during_the_cut_goes_on(w: World) -> None:
    near, far = await w.connect()
    await w.ask("cut", FORTH, BACK)
    await w.ask("mend", FORTH, BACK)
    near.send(b"still here")
    await far.gets(b"still here")
    far.send(b"so am I")
    await near.gets(b"so am I")


@story
async def test_the_end_of_a_sender_is_lost_with_its_packets(w: World) -> None:
    """n1 closes while n1 -> n2 is cut: n2 goes on believing, until the mend."""
    near, far = await w.connect()
    await w.ask("cut", FORTH)
    near.writer.transport.abort()
    await asyncio.sleep(SILENCE_S)
    assert far.status == "open"
    await w.ask("mend", FORTH)
    await far.becomes("reset")


@story
async def test_a_connection_opened_during_a_cut_of_either_direction_leads_nowhere(w: World) -> None:
    for cut in (FORTH, BACK):
        await w.ask("cut", cut)
        near = await w.dial()
        near.send(b"anybody?")
        await asyncio.sleep(SILENCE_S)
        assert near.status == "open", "no error tells the dialer"
        assert w.accepted.empty(), "the owner hears nothing"
        assert (await w.counters(cut))["refused"] == 1
        await w.ask("mend", cut)
        await near.becomes("reset")
        near, far = await w.connect()
        near.send(b"at last")
        await far.gets(b"at last")


@story
async def test_bytes_for_an_end_that_is_gone_are_dropped(w: World) -> None:
    """n2 dies while n2 -> n1 is cut: n1 is not told, and what it goes on sending arrives nowhere."""
    near, far = await w.connect()
    await w.ask("cut", BACK)
    far.writer.transport.abort()
    await asyncio.sleep(SILENCE_S)
    for _ in range(10):
        near.send(b"anybody?")
        await asyncio.sleep(0.001)
    for _ in range(500):
        counted = await w.counters(FORTH)
        if counted["dropped"] + counted["forwarded"] == 80:
            break
        await asyncio.sleep(0.002)
    assert counted["dropped"] >= 40, "all but what was under way when its kernel first said so"
    assert near.status == "open"
    await w.ask("mend", BACK)
    await near.becomes("reset")


@story
async def test_dialers_that_give_up_during_a_cut_leave_nothing_behind(w: World) -> None:
    await w.ask("cut", FORTH)
    for _ in range(20):
        near = await w.dial()
        near.writer.close()
    for _ in range(100):
        if (await w.counters(FORTH))["open"] == 0:
            break
        await asyncio.sleep(0.01)
    assert (await w.counters(FORTH))["open"] == 0


@story
async def test_a_sender_on_a_cut_link_feels_backpressure_at_last(w: World) -> None:
    near, _ = await w.connect()
    await w.ask("cut", FORTH)
    near.writer.transport.set_write_buffer_limits(high=0)
    near.send(bytes(32 << 20))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(near.writer.drain(), 0.3)
    held = (await w.counters(FORTH))["held"]
    assert HELD_LIMIT_BYTES <= held <= 2 * HELD_LIMIT_BYTES


async def shortest_trip_s(sender: Stream, receiver: Stream) -> float:
    """Of ten, since the machine may be busy."""
    trips = []
    for _ in range(10):
        receiver.received = b""
        started = time.monotonic()
        sender.send(b"quick")
        await receiver.gets(b"quick")
        trips.append(time.monotonic() - started)
    return min(trips)


@story
async def test_a_slow_link_is_slow_in_its_direction_and_keeps_the_order(w: World) -> None:
    near, far = await w.connect()
    await w.ask("slow", FORTH, delay_ms=300, jitter_ms=100)
    started = time.monotonic()
    text = b"".join(b"%03d" % number for number in range(50))
    for start in range(0, len(text), 3):
        near.send(text[start : start + 3])
        await asyncio.sleep(0.001)
    await far.gets(text)
    assert time.monotonic() - started >= 0.2
    assert await shortest_trip_s(far, near) < 0.15
    await w.ask("slow", FORTH, delay_ms=0, jitter_ms=0)
    assert await shortest_trip_s(near, far) < 0.15


@story
async def test_what_is_under_way_when_a_link_is_cut_does_not_arrive(w: World) -> None:
    near, far = await w.connect()
    await w.ask("slow", FORTH, delay_ms=500, jitter_ms=0)
    near.send(b"under way")
    await asyncio.sleep(0.02)
    await w.ask("cut", FORTH)
    await asyncio.sleep(0.6)
    assert far.received == b""
    assert (await w.counters(FORTH))["held"] == 9
    await w.ask("mend", FORTH)
    await far.becomes("reset")


@story
async def test_a_throttled_link_carries_so_many_bytes_a_second_in_total(w: World) -> None:
    """Two connections share the link: 4,000 bytes each at 20,000 a second take 0.4 s together."""
    (one, far_one), (two, far_two) = await w.connect(), await w.connect()
    await w.ask("throttle", FORTH, bytes_per_s=20_000)
    started = time.monotonic()
    one.send(bytes(4000))
    two.send(bytes(4000))
    await until(lambda: len(far_one.received) > 0)
    assert len(far_one.received) < 4000, "it trickles"
    await until(lambda: len(far_one.received) + len(far_two.received) == 8000)
    assert time.monotonic() - started >= 0.35
    await w.ask("throttle", FORTH, bytes_per_s=None)
    one.send(bytes(100_000))
    await until(lambda: len(far_one.received) == 104_000)


@story
async def test_reset_ends_connections_of_both_openers_at_both_ends(w: World) -> None:
    near, far = await w.connect()
    silent = await w.connect()
    await w.ask("reset", BACK)
    for stream in (near, far, *silent):
        await stream.becomes("reset")
    near, far = await w.connect()
    near.send(b"again")
    await far.gets(b"again")


@story
async def test_half_open_tells_the_source_only(w: World) -> None:
    near, far = await w.connect()
    await w.ask("half_open", FORTH)
    await near.becomes("reset")
    far.send(b"into the void")
    await asyncio.sleep(SILENCE_S)
    assert far.status == "open"
    new_near, new_far = await w.connect()
    new_near.send(b"a new one works")
    await new_far.gets(b"a new one works")
    await w.ask("mend", FORTH)
    await far.becomes("reset")
    assert new_near.status == new_far.status == "open"


@story
async def test_half_open_the_other_way_round(w: World) -> None:
    near, far = await w.connect()
    await w.ask("half_open", BACK)
    await far.becomes("reset")
    await asyncio.sleep(SILENCE_S)
    assert near.status == "open"


@story
async def test_verbs_are_idempotent_and_unknown_ones_are_errors(w: World) -> None:
    for _ in range(2):
        await w.ask("cut", FORTH, BACK)
    for _ in range(2):
        await w.ask("mend", FORTH, BACK)
    near, far = await w.connect()
    near.send(b"x")
    await far.gets(b"x")
    with pytest.raises(EnvironmentFailed, match="unknown verb 'explode'"):
        await w.ask("explode")


@story
async def test_who_asks_an_ended_proxy_is_told_so(w: World) -> None:
    pending = asyncio.create_task(w.channel.request("ping"))
    w.channel.close()
    with pytest.raises(EnvironmentFailed, match="the proxy has ended"):
        await pending
    with pytest.raises(EnvironmentFailed, match="the proxy has ended: it cannot cut"):
        await w.ask("cut", FORTH)
