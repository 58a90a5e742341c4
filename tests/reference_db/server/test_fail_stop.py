"""Which exceptions end a server process, and which are a line in its log; and answers that fit no frame."""

import asyncio
from functools import partial
from typing import Any

import pytest

from reference_db.api import Ambiguous, ClientGet, ClientReply, ClientRequest
from reference_db.codec import FrameDecoder, encode_frame
from reference_db.server import connections
from reference_db.server.connections import ClientProtocol
from reference_db.server.program import on_exception
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


@pytest.mark.parametrize(
    ("context", "ends"),
    [
        ({"exception": ConnectionResetError(), "transport": 1, "protocol": 1}, False),
        ({"exception": ValueError(), "transport": 1, "protocol": 1}, False),
        ({"exception": ValueError(), "task": 1}, False),
        ({"message": "a destroyed task was pending"}, False),
        ({"exception": AssertionError(), "handle": 1}, True),
        ({"exception": OSError("no space left on the device"), "handle": 1}, True),
        ({"exception": ValueError(), "message": "periodic work failed"}, True),
    ],
)
def test_what_fails_in_the_nodes_own_work_ends_the_process(context: dict[str, Any], ends: bool) -> None:
    failed: list[BaseException] = []
    on_exception({"message": "", **context}, failed.append)
    assert bool(failed) is ends


@pytest.mark.parametrize("work", ["_sweep", "_place_leaders"])
def test_periodic_work_that_fails_is_told_to_the_loop_like_a_failed_callback(work: str) -> None:
    async def story() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

        async def fail() -> None:
            raise OSError("out of the blue")

        world = World(plant=lambda node: setattr(node, work, fail))
        world.start("n1")
        await asyncio.sleep(5)
        assert [type(context["exception"]) for context in told] == [OSError]
        assert "task" not in told[0]
        failed: list[BaseException] = []
        on_exception(told[0], failed.append)
        assert failed
        await world.stop()

    run_virtually(story())


def test_an_answer_that_is_too_long_for_the_client_does_not_say_that_nothing_happened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "encode_frame", partial(encode_frame, max_bytes=200))
    written: list[bytes] = []

    class Answering:
        def handle(self, request: ClientRequest, _connection: object, done: Any) -> None:
            done(ClientReply(request.request_id, [True, b"x" * 1000]))

    class Transport:
        def set_write_buffer_limits(self, high: int) -> None: ...

        def get_extra_info(self, _name: str) -> None: ...

        def is_closing(self) -> bool:
            return False

        def write(self, data: bytes) -> None:
            written.append(data)

    async def story() -> None:
        protocol = ClientProtocol(Answering())  # type: ignore[arg-type]
        protocol.connection_made(Transport())  # type: ignore[arg-type]
        protocol.data_received(encode_frame(ClientRequest(7, ClientGet(b"k"))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run_virtually(story())
    (reply,) = FrameDecoder(ClientReply).feed(b"".join(written))
    assert reply.request_id == 7
    assert isinstance(reply.error, Ambiguous)
