"""What shapes a link is proven by datagrams, also on a link that loses and corrupts some of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from harness.environments.ledger import Ledger
from harness.environments.linux.links import Links
from harness.environments.linux.namespace import ProbeEnd
from harness.environments.linux.packets import Condition
from harness.environments.linux.shaping import Shaping, passing_share
from nemesis.cluster import Evidence, Link

LINK = ("n1", "n2")


class Target(ProbeEnd):
    """Its address leads nowhere: what is sent to it arrives by `datagram_received`."""


class Source(ProbeEnd):
    """Loses the first datagrams, then delivers at once."""

    def __init__(self, target: Target, lost: int) -> None:
        super().__init__(("127.0.0.1", 1))
        self.sent = 0
        self._target, self._lost = target, lost

    def send(self, token: bytes, target: tuple[str, int]) -> None:
        self.sent += 1
        if self.sent > self._lost:
            self._target.datagram_received(token, None)


class OneLink:
    """The link n1 -> n2, whose ends can be looked at."""

    enters = True

    def __init__(self, ends: tuple[ProbeEnd, ProbeEnd]) -> None:
        self._ends = ends

    def node_of(self, link: Link) -> str:
        return link[1]

    async def queue(self, numbers: Mapping[Link, int | None]) -> None:
        """Nothing leads anywhere here."""

    def why_silent(self, link: Link) -> str | None:
        return None

    async def probe_ends(self, link: Link) -> tuple[ProbeEnd, ProbeEnd]:
        return self._ends


def restored(lost: int, condition: dict[str, float], tmp_path: Path) -> tuple[Evidence, int]:
    """The link loses its first datagrams, and then a loss (or nothing) that it had is kept while its delay ends."""
    target = Target(("127.0.0.1", 2))
    source = Source(target, lost)

    async def story() -> Evidence:
        async def engine(verb: str, **_: Any) -> Any:
            return [{"node": "n2", "queue": 1, "seen": source.sent}] if verb == "counters" else None

        ledger = Ledger.create(tmp_path / "ledger.jsonl", "netns")
        shaping = Shaping(cast(Links, OneLink((source, target))), engine, ledger)
        if condition:
            shaping._conditions[LINK] = Condition(**condition)
        try:
            return await shaping.slow([LINK], 0.0)
        finally:
            ledger.close()

    return asyncio.run(story()), source.sent


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.environments.linux.shaping.PATIENCE_S", 0.01)


def test_a_lossy_link_may_lose_the_first_datagrams_that_time_it(tmp_path: Path) -> None:
    evidence, sent = restored(5, {"lose": 0.1, "corrupt": 0.05}, tmp_path)
    assert evidence.took_effect, evidence
    assert sent == 6  # Two a time: one in 0.855 arrives.


def test_a_link_that_loses_nothing_is_timed_once(tmp_path: Path) -> None:
    evidence, sent = restored(1, {}, tmp_path)
    assert not evidence.took_effect
    assert evidence.probes[0]["after"] == "did not arrive"
    assert sent == 1


def test_a_link_that_lets_nothing_pass_ends_the_timing(tmp_path: Path) -> None:
    evidence, sent = restored(10**9, {"lose": 0.5}, tmp_path)
    assert not evidence.took_effect
    assert sent == 2 * 25


def test_losses_and_corruption_are_independent() -> None:
    assert passing_share(Condition()) == 1
    assert passing_share(Condition(lose=0.5, corrupt=0.5)) == 0.25
