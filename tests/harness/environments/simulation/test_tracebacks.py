"""Tracebacks in the logs of hosts: no machine's paths, and no trace of those who only watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from harness.environments.simulation.host import Host
from harness.environments.simulation.tracebacks import traceback_text
from harness.environments.simulation.world import World


def fails() -> None:
    raise OSError(5, "Input/output error")


def seen(work: Callable[[], None]) -> None:
    work()


def unseen(work: Callable[[], None]) -> None:
    __tracebackhide__ = True
    work()


def answers(work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        raise RuntimeError("the disk failed") from error


def text_of(work: Callable[[], None]) -> str:
    with pytest.raises((OSError, RuntimeError)) as caught:
        work()
    return traceback_text(caught.value)


def test_files_are_named_from_their_root_and_lines_are_shown() -> None:
    text = text_of(lambda: seen(fails))
    assert 'File "tests/harness/environments/simulation/test_tracebacks.py", line' in text
    assert 'raise OSError(5, "Input/output error")' in text
    assert text.endswith("OSError: [Errno 5] Input/output error")
    assert 'File "/' not in text


def test_files_of_the_standard_library_are_named_from_its_root() -> None:
    async def late() -> None:
        await asyncio.wait_for(asyncio.sleep(1), 0)

    def run() -> None:
        try:
            asyncio.run(late())
        except TimeoutError as error:
            raise RuntimeError from error

    text = text_of(run)
    assert 'File "asyncio/' in text
    assert 'File "/' not in text


def test_a_frame_that_hides_itself_is_not_there_and_the_chain_stays_whole() -> None:
    text = text_of(lambda: answers(lambda: unseen(fails)))
    assert "in fails" in text
    assert "in answers" in text
    assert "direct cause" in text
    assert "unseen" not in text.replace("lambda: unseen(fails)", "")
    assert "in seen" in text_of(lambda: answers(lambda: seen(fails)))


def test_the_log_of_a_host_tells_nothing_of_who_stands_between() -> None:
    async def program(_host: Host) -> None:
        try:
            unseen(fails)
        except OSError as error:
            logging.getLogger("db").critical("stopping at once: %s", error, exc_info=error)
        asyncio.get_running_loop().call_soon(unseen, fails)
        await asyncio.sleep(1)

    async def story(world: World) -> None:
        world.host("a").start(program)
        await asyncio.sleep(2)

    world = World(1)
    world.run(story(world))
    logged, uncaught = world.host("a").log_lines
    for text in (logged, uncaught):
        assert "in fails" in text
        assert "in unseen" not in text
        assert 'File "/' not in text
