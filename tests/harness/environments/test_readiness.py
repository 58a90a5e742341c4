"""Why a node is not ready is told: else an adapter that raises would look like a database that is slow."""

import asyncio
from typing import Any

import pytest

from harness.environments.environment import EnvironmentFailed
from harness.environments.readiness import Readiness


def said_by(answer: Any, hidden: Any = str) -> tuple[bool, str]:
    """What comes of a question that is answered like this, and what is said of it."""

    class System:
        async def is_ready(self, address: Any) -> bool:
            return bool(await answer())

    system: Any = System()
    system.hidden = hidden
    readiness = Readiness(system, timeout_s=0.05)
    ready = asyncio.run(readiness.ask({}))
    return ready, readiness.said


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


async def late() -> bool:
    await asyncio.sleep(30)
    return True


async def broken() -> bool:
    raise KeyError("no such port, password swordfish")


async def gave_up() -> bool:
    raise TimeoutError("the client library gave up")


def test_the_last_answer_is_told() -> None:
    assert said_by(yes) == (True, "is_ready answered True")
    assert said_by(no) == (False, "is_ready answered False")
    assert said_by(late) == (False, "is_ready had no answer within 0.05 s")
    assert said_by(gave_up) == (False, "is_ready raised TimeoutError: the client library gave up")


def test_what_an_adapter_raised_is_told_without_its_secrets() -> None:
    ready, said = said_by(broken, lambda text: text.replace("swordfish", "[hidden]"))
    assert not ready
    assert said == "is_ready raised KeyError: 'no such port, password [hidden]'"


def test_what_will_never_be_ready_ends_the_wait() -> None:
    async def never() -> bool:
        raise EnvironmentFailed("the library acme is not installed")

    with pytest.raises(EnvironmentFailed, match="acme is not installed"):
        said_by(never)
