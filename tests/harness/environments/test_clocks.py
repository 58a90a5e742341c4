"""What proves that a clock is set: what the node says, never that its file was written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from harness.environments import clocks as clocks_page
from harness.environments.clock_file import REAL_TIME, ClockSetting, read_clock, write_clock
from harness.environments.clocks import Clocks, Reading, evidence
from harness.environments.environment import Addresses, SystemUnderTest
from harness.environments.ledger import Ledger, read_ledger

MS = 1_000_000


@pytest.mark.parametrize(
    ("setting", "shift_ms", "error_ms", "is_proven"),
    [
        (ClockSetting(60_000 * MS, 0, 0), 60_000.5, 0.3, True),
        (ClockSetting(60_000 * MS, 0, 0), 0.5, 0.3, False),  # A node that reads no clock file.
        (ClockSetting(60_000 * MS, 0, 0), 59_000.0, 0.3, False),  # A second off.
        (ClockSetting(10 * MS, 0, 0), 10.5, 0.3, True),
        (
            ClockSetting(10 * MS, 0, 0),
            9.0,
            40.0,
            False,
        ),  # The answer took too long to tell 10 ms from nothing.
        (ClockSetting(0, 100_000_000, 0), 100.1, 0.3, True),  # A tenth fast, since a second.
        (ClockSetting(0, 100_000_000, 0), 0.0, 0.3, False),
        (REAL_TIME, 0.4, 0.3, True),
        (REAL_TIME, 60_000.0, 0.3, False),
    ],
)
def test_a_clock_is_proven_by_what_the_node_says_the_time_is(setting, shift_ms, error_ms, is_proven):
    reading = Reading(int(shift_ms * MS), int(error_ms * MS), at_monotonic_ns=1_000 * MS)
    assert evidence("n1", setting, None, reading).took_effect is is_proven


def test_a_silent_node_proves_no_clock():
    assert not evidence("n1", REAL_TIME, Reading(0, 0, 0), None).took_effect


class Node:
    """A node that reads its clock file, or does what it is told instead."""

    name = "thing"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clock"
        write_clock(self.path, REAL_TIME)
        self.state: Any = "up"
        self.asked = 0
        self.answer: Callable[[], int | None] | None = None
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        self.clocks = Clocks(
            cast(SystemUnderTest, self),
            Ledger.create(folder / "ledger.jsonl", "local"),
            lambda node: self.state,
            lambda node: {},
            lambda node: self.path,
        )

    async def read_clock(self, address: Addresses) -> int | None:
        self.asked += 1
        if self.before_answer is not None:
            await self.before_answer()
        if self.answer is not None:
            return self.answer()
        return time.time_ns() + read_clock(self.path).shift_ns(time.monotonic_ns())


def test_a_clock_is_set_and_reset_with_proof_and_a_ledger(tmp_path: Path) -> None:
    node = Node(tmp_path)

    async def story() -> None:
        assert (await node.clocks.set("n1", 5_000, 0)).took_effect
        assert (await node.clocks.set("n1", 0, -200_000)).took_effect
        assert node.clocks.changed == ("n1",)
        assert len(read_ledger(tmp_path / "ledger.jsonl").open_entries) == 1
        assert (await node.clocks.reset("n1")).took_effect
        assert node.clocks.changed == ()
        assert read_ledger(tmp_path / "ledger.jsonl").open_entries == []

    asyncio.run(story())


def test_a_node_that_shows_another_time_is_judged_at_its_word(tmp_path: Path) -> None:
    """It is not asked again and again: no later answer could make up for this one."""
    node = Node(tmp_path)
    node.answer = time.time_ns

    async def story() -> None:
        found = await node.clocks.set("n1", 5_000, 0)
        assert not found.took_effect
        assert node.asked == 6, "three readings before, three after"

    asyncio.run(story())


def test_a_reading_that_is_too_coarse_is_taken_again(tmp_path: Path) -> None:
    """30 ms cannot be told from nothing while an answer takes 100 ms; the fourth reading after the act is quick."""
    node = Node(tmp_path)

    async def slow_at_first() -> None:
        if node.asked <= 6:
            await asyncio.sleep(0.1)

    node.before_answer = slow_at_first

    async def story() -> None:
        assert (await node.clocks.set("n1", 30, 0)).took_effect
        assert node.asked >= 9

    asyncio.run(story())


def test_a_silent_node_proves_nothing_but_that_it_will_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks_page, "PROOF_S", 0.15)
    node = Node(tmp_path)
    node.answer = lambda: None

    async def story() -> None:
        found = await node.clocks.set("n1", 5_000, 0)
        assert not found.took_effect
        assert found.probes[0]["after"] == "the node does not tell its time"
        assert (await node.clocks.reset("n1")).took_effect, "its file is right again"
        node.state = "paused"
        asked = node.asked
        assert (await node.clocks.reset("n1")).took_effect
        assert node.asked == asked, "who stands still is not asked"

    asyncio.run(story())
