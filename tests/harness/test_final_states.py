"""Nodes are asked again until they have settled, and for digests only then."""

from __future__ import annotations

import asyncio
from typing import Any

from harness.final_states import is_settled, wait_until_settled
from harness.systems.system import FinalState
from tests.reference_db.virtual_loop import run_virtually


def state(node: str, **changes: Any) -> FinalState:
    whole = {"range": "1", "replicas": ("n1", "n2"), "term": 1, "applied": 5, "locks": 0, "records": 0}
    return FinalState(node=node, **(whole | changes))


def test_what_settled_means() -> None:
    assert is_settled([state("n1"), state("n2")])
    assert is_settled([state("n1"), state("n2"), state("n1", range="2", replicas=("n1",), applied=7)])
    assert not is_settled([])
    assert not is_settled([state("n1")])
    assert not is_settled([state("n1"), state("n2", applied=6)])
    assert not is_settled([state("n1"), state("n2", locks=1)])
    assert not is_settled([state("n1"), state("n2", records=1)])


class Nodes:
    """Two nodes that settle after some questions."""

    def __init__(self, settle_after: int, silent_until: int = 0) -> None:
        self._settle_after = settle_after
        self._silent_until = silent_until
        self.asked: list[bool] = []

    async def ask(self, digests: bool) -> tuple[list[FinalState], list[str]]:
        self.asked.append(digests)
        if len(self.asked) <= self._silent_until:
            return [state("n1")], ["n2"]
        locks = 1 if len(self.asked) <= self._settle_after else 0
        digest = "aa" if digests else None
        return [state("n1", digest=digest), state("n2", locks=locks, digest=digest)], []


def ask(nodes: Nodes, timeout_s: float = 60.0) -> dict[str, Any]:
    async def story() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        return await wait_until_settled(nodes.ask, lambda: int(loop.time() * 1e9), timeout_s)

    return run_virtually(story())


def test_settled_nodes_are_asked_for_digests_at_once() -> None:
    nodes = Nodes(0)
    value = ask(nodes)
    assert nodes.asked == [False, True]
    assert (value["settled"], value["after_ns"], value["silent"]) == (True, 0, [])
    assert [one["digest"] for one in value["replicas"]] == ["aa", "aa"]


def test_nodes_that_settle_late_are_waited_for() -> None:
    nodes = Nodes(3, silent_until=2)
    value = ask(nodes)
    assert nodes.asked == [False, False, False, False, True]
    assert value["settled"]
    assert 0.7e9 < value["after_ns"] < 0.8e9


def test_nodes_that_never_settle_are_given_up_and_shown_as_they_are() -> None:
    nodes = Nodes(10_000)
    value = ask(nodes, timeout_s=5)
    assert not value["settled"]
    assert nodes.asked[-1] is True
    assert [one["locks"] for one in value["replicas"]] == [0, 1]
    assert 5e9 <= value["after_ns"] < 6e9
