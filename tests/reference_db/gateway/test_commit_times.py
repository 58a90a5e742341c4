"""Every protocol tells a client that asks where its transaction has committed: the timestamp of all its versions."""

from __future__ import annotations

import asyncio

import pytest

from reference_db.api import (
    BeginTransaction,
    ClientGet,
    ClientGetVersion,
    ClientPut,
    CommitTransaction,
    TransactionProtocol,
)
from reference_db.node import ClientConnection
from tests.reference_db.virtual_loop import run_virtually
from tests.reference_db.world import World


@pytest.mark.parametrize("keys", [(b"f",), (b"f", b"m")], ids=["one range", "two ranges"])
@pytest.mark.parametrize("protocol", TransactionProtocol)
def test_the_commit_timestamp_is_that_of_the_versions(
    protocol: TransactionProtocol, keys: tuple[bytes, ...]
) -> None:
    async def main() -> None:
        world = World()
        world.start_all()
        await world.wait_until_led()
        await asyncio.sleep(0.3)
        connection = ClientConnection()
        number = await world.ask("n1", BeginTransaction(protocol=protocol), connection)
        await world.ask("n1", ClientGet(keys[0], number), connection)
        for key in keys:
            await world.ask("n1", ClientPut(key, b"1", number), connection)
        told = await world.ask("n1", CommitTransaction(number, is_timed=True), connection)
        await asyncio.sleep(1)
        versions = [(await world.ask("n1", ClientGetVersion(key)))[1:] for key in keys]
        assert versions == [[told.wall_ns, told.logical]] * len(keys)
        number = await world.ask("n1", BeginTransaction(protocol=protocol), connection)
        await world.ask("n1", ClientPut(keys[0], b"2", number), connection)
        assert await world.ask("n1", CommitTransaction(number), connection) is None
        await world.stop()

    run_virtually(main())
