"""What nodes have counted is recorded at the end; a node that cannot be asked keeps nobody from an end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness import counters
from harness.counters import ask_counters
from harness.systems.in_memory.system import InMemorySystem
from harness.systems.reference_db import ReferenceDatabase
from harness.systems.system import CountingSystem


class Counting:
    async def counters(self, address: Any) -> dict[str, int | float]:
        match address:
            case "deaf":
                raise OSError("nobody listens there")
            case "slow":
                await asyncio.Event().wait()
            case "mad":
                raise ValueError("no number")
        return {"turns": 7}


def test_those_that_answer_are_told_and_the_others_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "ASK_TIMEOUT_S", 0.01)
    addresses: Any = {"n1": "here", "n2": "deaf", "n3": "slow", "n4": "mad"}
    value = asyncio.run(ask_counters(Counting(), addresses))
    assert value == {"nodes": {"n1": {"turns": 7}}, "silent": ["n2", "n3", "n4"]}


def test_the_reference_database_counts_and_a_store_in_memory_does_not() -> None:
    assert issubclass(ReferenceDatabase, CountingSystem)
    assert not issubclass(InMemorySystem, CountingSystem)
