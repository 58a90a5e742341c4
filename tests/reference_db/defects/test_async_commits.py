"""An acknowledged transaction whose locks are its commit: who waits for it finds it, or, with the defect, loses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from reference_db.api import BeginTransaction, ClientGetMany, ClientPut, CommitTransaction
from reference_db.defects import async_rollback_unchecked
from reference_db.invariants import Watcher
from reference_db.node import ClientConnection, Node, NodeOptions
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import Refused, Unanswered, World

KEYS = (b"f", b"m")


async def acknowledge_and_fall_silent(plant: Callable[[Node], None] | None) -> tuple[Any, list[str]]:
    """1. A transaction over two ranges is acknowledged. 2. Its coordinator does nothing more. 3. Somebody reads. What
    he finds, and what the audit says."""
    options = NodeOptions(protocol="primary-lock", async_commit=True)
    world = World(options=options, watcher=Watcher(), plant=plant)
    world.start_all()
    await world.wait_until_led()

    async def nothing(*_arguments: Any) -> None:
        await asyncio.sleep(0)

    world.nodes["n1"].coordinator.primary_lock._make_explicit = nothing  # type: ignore[method-assign]
    connection = ClientConnection()
    number = await world.ask("n1", BeginTransaction(), connection)
    for key in KEYS:
        await world.ask("n1", ClientPut(key, b"new", number), connection)
    await world.ask("n1", CommitTransaction(number), connection)
    found = None
    while found is None:
        try:
            found = await world.ask("n3", ClientGetMany(KEYS), timeout_s=20)
        except (Refused, Unanswered):
            continue
    await world.wait_for(world.is_quiet, 60, "no lock and no record is left")
    assert world.watcher is not None
    said = world.watcher.provenance.audit_outcomes()
    await world.stop()
    return found, said


def test_who_does_not_look_for_the_locks_loses_what_was_acknowledged() -> None:
    found, said = run_virtually(acknowledge_and_fall_silent(async_rollback_unchecked.plant))
    assert found == [None, None]
    assert "was acknowledged, and has no version of" in said[0]


def test_who_looks_for_them_finds_it() -> None:
    assert run_virtually(acknowledge_and_fall_silent(None)) == ([b"new", b"new"], [])
