"""my-database as a system under test: how a node is started, and what its sessions say of each call.

Replace `launch` by what starts your database, and `MyDatabaseSession` by calls of its client. Then let
`harness verify-system my_database.system:MyDatabase` show whether the session is honest.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.environments.environment import CLIENT_PORT, PEER, Addresses, Launch, NodePlan
from harness.systems.foreign import ForeignSystem, Setting
from workloads.session import COMPARE_AND_SET, KEY_VALUE, Definite, Indefinite


class MyDatabase(ForeignSystem):
    """my-database, three nodes or as many as there are."""

    name = "my-database"
    ports = (PEER, CLIENT_PORT)
    """Nodes listen at one port for each other and at one for clients, so that these can be cut apart."""
    interfaces = frozenset({KEY_VALUE, COMPARE_AND_SET})
    """What sessions offer; `harness list` shows which workloads that is enough for."""
    log_patterns = (r"Traceback", r"panic")
    """Lines of a node's log that mean that it has found something impossible: the verdict is then invalid."""
    known_settings: Mapping[str, Setting] = {
        "acknowledge": Setting("durable", "when the toy replies to a write", ("durable", "early")),
    }
    """Options, `--system-option NAME=VALUE`. Secrets (`password`) are given as env:NAME or file:PATH."""

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """The command that starts a node. `plan` says where it listens, where it reaches the others, and where its data
        go. It is called again before each restart."""
        first = all_nodes[0]
        # The toy has one port for both; a database with two would be told both.
        listen = plan.listen[CLIENT_PORT]
        argv = [sys.executable, str(Path(__file__).with_name("toy.py")), "--listen", _text(listen)]
        argv += ["--data", str(plan.data_dir / "data.jsonl"), "--acknowledge", self.settings["acknowledge"]]
        if plan.name != first:
            argv += ["--first", _text(plan.reach[first][CLIENT_PORT])]
        return Launch(argv)

    async def is_ready(self, address: Addresses) -> bool:
        """Asked again and again after a start, until it is true. An error counts as not yet."""
        session = await self.open_session(address, "")
        try:
            await session.get("ready")
            return True
        finally:
            await session.close()

    async def open_session(self, address: Addresses, node: str) -> MyDatabaseSession:
        """A connection of one client to one node: to this address, and to no other that the client may know."""
        try:
            return MyDatabaseSession(*await asyncio.open_connection(*address[CLIENT_PORT]))
        except OSError as error:
            raise Definite("refused", str(error)) from error


class MyDatabaseSession:
    """One connection. Each call returns (it happened), raises Definite (it certainly did not) or Indefinite."""

    interfaces = MyDatabase.interfaces

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def close(self) -> None:
        """At once, also while a call hangs."""
        self._writer.close()

    async def call(self, **request: Any) -> Any:
        """The heart of the matter: what does each way to end mean?"""
        try:
            self._writer.write(json.dumps(request).encode() + b"\n")
            await self._writer.drain()
            line = await self._reader.readline()
        except OSError as error:
            # The request may have been sent, and carried out.
            raise Indefinite("connection-lost", str(error)) from error
        if not line.endswith(b"\n"):
            raise Indefinite("connection-lost", "the node hung up before it replied")
        reply = json.loads(line)
        if "refused" in reply:
            raise Definite("refused", reply["refused"])
        if "ok" not in reply:
            raise Indefinite("unknown", str(reply))
        return reply["ok"]

    async def get(self, key: str) -> Any:
        return await self.call(do="get", key=key)

    async def put(self, key: str, value: Any) -> None:
        await self.call(do="put", key=key, value=value)

    async def delete(self, key: str) -> None:
        await self.call(do="delete", key=key)

    async def compare_and_set(self, key: str, expected: Any, new: Any) -> bool:
        return bool(await self.call(do="cas", key=key, expected=expected, value=new))


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
