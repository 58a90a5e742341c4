"""An engine that ends takes its containers along, or leaves them running: in both cases the run is over at once."""

import asyncio

import pytest
import requests
import urllib3
from docker.errors import APIError

from harness.environments.docker import engine
from harness.environments.docker.engine import Engine, EngineSilent, translated


class Pulse:
    """Answers as it is told, one after the other; `None` is an answer, all else is raised."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.api = self

    def ping(self):
        answer = self._answers.pop(0)
        if answer is not None:
            raise answer

    def close(self):
        pass

    @property
    def has_more(self):
        return bool(self._answers)


def watched(pulse):
    """What is said of the engine until nobody asks it any more."""
    said = []

    async def story():
        connection = Engine(pulse, {})
        try:
            await asyncio.wait_for(connection.watch(said.append), 10)
        finally:
            connection.close()

    asyncio.run(story())
    return said


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(engine, "PULSE_S", 0.0)


def test_an_engine_that_no_longer_answers_is_told_once():
    gone = requests.exceptions.ConnectionError(ConnectionRefusedError(111, "Connection refused"))
    pulse = Pulse(None, None, gone)
    (said,) = watched(pulse)
    assert "no longer answers (asking whether it is there: Connection refused)" in said
    assert not pulse.has_more


def test_an_engine_that_ends_in_the_middle_of_an_answer_is_silent():
    def build():
        raise urllib3.exceptions.ProtocolError("Connection broken: IncompleteRead(0 bytes read)")

    with pytest.raises(EngineSilent, match=r"no longer answers \(building the image: Connection broken"):
        translated("building the image", build)


def test_an_engine_that_refuses_to_answer_is_there():
    gone = requests.exceptions.ReadTimeout("it hangs")
    pulse = Pulse(APIError("busy", explanation="too many requests"), None, gone)
    (said,) = watched(pulse)
    assert "it hangs" in said
    assert not pulse.has_more
