"""What a run made in a Docker engine goes, also where the engine first says no. A made-up engine tells the stories."""

import asyncio

import pytest
from docker.errors import APIError, NotFound

from harness.environments.docker import engine, image
from harness.environments.environment import EnvironmentFailed


class SlowEngine:
    """One container in one network, whose place in that network is freed only after `refusals` attempts."""

    def __init__(self, refusals, endpoints=("c1",)):
        self._refusals = refusals
        self._endpoints = endpoints
        self._containers = [{"Id": "c1", "Names": ["/mrh-1-n1"]}]
        self._networks = [{"Id": "w1", "Name": "mrh-1-control"}]

    def containers(self, all, filters):
        return list(self._containers)

    def networks(self, filters):
        return list(self._networks)

    def remove_container(self, identity, force, v):
        if not self._containers:
            raise NotFound("no such container")
        self._containers.clear()

    def inspect_network(self, identity):
        return {"Name": "mrh-1-control", "Containers": {name: {} for name in self._endpoints}}

    def remove_network(self, identity):
        if self._refusals:
            self._refusals -= 1
            raise APIError("conflict", explanation="network mrh-1-control has active endpoints")
        self._networks.clear()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Time passes by being slept through only."""
    now = [0.0]
    monkeypatch.setattr(engine.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(engine.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


def test_a_network_is_asked_to_go_until_the_engine_has_freed_its_endpoints():
    assert engine.remove_run(SlowEngine(refusals=3), "1") == ["container mrh-1-n1", "network mrh-1-control"]


def test_a_network_that_stays_is_named_with_the_engines_own_words():
    with pytest.raises(
        EnvironmentFailed, match=r"could not remove mrh-1-control of run 1 .*has active endpoints"
    ):
        engine.remove_run(SlowEngine(refusals=10**6), "1")


def test_a_network_that_stays_though_nobody_is_in_it_is_the_engines_mistake():
    """Seen with Docker 20.10.24 on a busy machine: it refused for ever to remove a network that was empty."""
    with pytest.raises(
        engine.EngineMiscounts, match="keeps mrh-1-control, in which there is nobody any more"
    ):
        engine.remove_run(SlowEngine(refusals=10**6, endpoints=()), "1")
    assert engine.remove_run(SlowEngine(refusals=3, endpoints=()), "1")


def test_nothing_to_remove_is_nothing_removed():
    slow = SlowEngine(refusals=0)
    engine.remove_run(slow, "1")
    assert engine.remove_run(slow, "1") == []


class AskedEngine:
    """Runs the Python of an image, and is slow to let the container go."""

    def __init__(self):
        self.api = self
        self.labels = None

    async def call(self, doing, function, *arguments):
        return function(*arguments)

    def create_container(self, image, command, network_disabled, labels):
        self.labels = labels
        return {"Id": "c1"}

    def start(self, identity):
        pass

    def wait(self, identity, timeout):
        pass

    def logs(self, identity, stdout, stderr):
        return b'[3, 11, "CPython", "x86_64", "glibc"]\n'

    def remove_container(self, identity, force, v):
        raise APIError("conflict", explanation="removal of container c1 is already in progress")


def test_a_container_that_told_of_an_image_goes_with_the_run_if_it_does_not_go_now():
    asked = AskedEngine()
    target = asyncio.run(image._python_of(asked, "base", {engine.RUN_LABEL: "1"}))
    assert (target.major, target.minor) == (3, 11)
    assert asked.labels == {engine.RUN_LABEL: "1"}
