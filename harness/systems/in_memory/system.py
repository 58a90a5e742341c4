"""The database in memory as a system that a scenario can name: nodes of a simulated cluster before one shared store.

Each node is a program on a simulated host that takes calls off connections and performs them, one at a time, on the
one store that all nodes share; what a node is killed for, it does not lose. So every fault of network and process is
real to the clients (calls are delayed, refused, lost on the way there or back), and the database is strictly
serializable through all of it: whatever a checker finds in it, is a false alarm or a misbehaviour that was asked for.
It proves that workloads and checkers find what is wrong, and find nothing where nothing is; not how a database does.

It runs in the environment `simulation` only: processes share no memory.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from harness.environments.environment import (
    CLIENT_PORT,
    Addresses,
    Launch,
    NodePlan,
    SimulatedHost,
    SimulatedWorld,
    ToldMessage,
)
from harness.systems.in_memory.misbehaviour import CAN_SHOW, MISBEHAVIOURS, Misbehaviour
from harness.systems.in_memory.session import InMemorySession
from harness.systems.in_memory.store import CALLS, Store
from workloads.session import INTERFACES, Definite, Indefinite, SessionError

ASK_TIMEOUT_S: Final = 0.5
PAUSE_OF_A_WATCH_S: Final = 0.02
STATUS: Final = "status"


class Request(msgspec.Struct):
    """A call, as a line of JSON."""

    id: int
    call: str
    arguments: list[Any]


class Reply(msgspec.Struct, omit_defaults=True):
    """Its answer, as a line of JSON."""

    id: int
    answer: Any = None
    refusal: list[str] | None = None
    """Kind and text: it certainly did not happen."""


def _short(value: Any) -> str:
    return msgspec.json.encode(value)[:200].decode("utf-8", "replace")


class InMemorySystem:
    """The system `in-memory`. Raises ValueError for options that cannot be."""

    name = "in-memory"
    ports = (CLIENT_PORT,)
    supports = frozenset({"memory-only"})
    clock_port = False
    environments = frozenset({"simulation"})
    interfaces = frozenset(INTERFACES)
    log_patterns: tuple[str, ...] = ()
    misbehaviours = MISBEHAVIOURS
    can_show = CAN_SHOW

    def __init__(
        self,
        *,
        replication: int = 3,
        ranges: int = 8,
        seed: int = 0,
        defect: str | None = None,
        options: Mapping[str, Any] | None = None,
        invariants: bool = True,
    ) -> None:
        """Options: `misbehave`, one of `MISBEHAVIOURS`; `share`, how likely it is each time it can show."""
        given = dict(options or {})
        name, share = given.pop("misbehave", None), given.pop("share", 0.05)
        problems = [
            f"unknown option {option}={value!r} (there are: misbehave, share)"
            for option, value in given.items()
        ]
        if defect is not None:
            problems.append(
                f"no defect {defect!r} can be planted; it misbehaves with --system-option misbehave=NAME, one of "
                f"{', '.join(MISBEHAVIOURS)}"
            )
        if isinstance(share, bool) or not isinstance(share, int | float):
            problems.append(f"share={share!r} must be a number above 0 and at most 1")
        else:
            try:
                self.store = Store(Misbehaviour(random.Random(seed), name, share))
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("system options of in-memory: " + "; ".join(problems))

    def require_defect(self) -> None:
        """There are none."""

    # Nodes

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """Never called: such a node would be a process, and the catalog refuses that."""
        raise ValueError(f"{self.name} cannot run as processes: they would share no memory")

    async def run_on(
        self, host: SimulatedHost, plan: NodePlan, all_nodes: tuple[str, ...], stopping: asyncio.Event
    ) -> int:
        """Takes connections until it is asked to stop."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while line := await reader.readline():
                    reply = self._perform(plan.name, msgspec.json.decode(line, type=Request))
                    writer.write(msgspec.json.encode(reply) + b"\n")
                    await writer.drain()
            except ConnectionError:
                pass  # The client will notice as well.
            finally:
                writer.close()

        server = await asyncio.start_server(serve, *plan.listen[CLIENT_PORT], limit=2**26)
        await stopping.wait()
        server.close()
        return 0

    def _perform(self, node: str, request: Request) -> Reply:
        if request.call == STATUS:
            return Reply(request.id, node)
        assert request.call in CALLS, f"a client calls what is there, not {request.call!r}"
        try:
            answer = self.store.perform(node, request.call, request.arguments)
        except Definite as error:
            return Reply(request.id, refusal=[error.kind, error.text])
        if self.store.wrong.shows("false-failures"):
            return Reply(request.id, refusal=["conflict", "it says that it did nothing"])
        return Reply(request.id, answer)

    def watch(self, world: SimulatedWorld | None) -> None:
        """There is nothing in a node to look at."""

    def read_messages(self, port: str, is_dialler: bool, data: bytes) -> list[ToldMessage]:
        """See `MessageReader`."""
        try:
            lines = data.splitlines()
            if is_dialler:
                calls = [msgspec.json.decode(line, type=Request) for line in lines]
                return [ToldMessage("call", f"#{one.id} {one.call} {_short(one.arguments)}") for one in calls]
            replies = [msgspec.json.decode(line, type=Reply) for line in lines]
        except msgspec.MsgspecError as error:
            raise ValueError(f"no whole lines of JSON: {error}") from error
        return [
            ToldMessage("reply", f"#{one.id} {_short(one.answer)}")
            if one.refusal is None
            else ToldMessage("refusal", f"#{one.id} {': '.join(one.refusal)}")
            for one in replies
        ]

    def disk_damaged(self, node: str) -> None:
        """Nothing is kept on a disk."""

    async def is_ready(self, address: Addresses) -> bool:
        """The node answers."""
        connection = None
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                connection = await Connection.open(address)
                return bool(await connection.call("", STATUS, []))
        except (OSError, TimeoutError, SessionError):
            return False
        finally:
            if connection is not None:
                connection.hung_up()

    async def read_clock(self, address: Addresses) -> int | None:
        """It has none."""
        return None

    async def leaders(self, addresses: Mapping[str, Addresses]) -> dict[str, str]:
        """Nobody leads."""
        return {}

    async def open_session(self, address: Addresses, node: str) -> InMemorySession:
        """A connection to this node. Raises Definite where it cannot be made."""
        try:
            return InMemorySession(await Connection.open(address), node)
        except OSError as error:
            raise Definite("refused", f"cannot connect to {node}: {error}") from error


class Connection:
    """A client's way to one node: one call after the other."""

    interfaces = InMemorySystem.interfaces

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._last_id = 0

    @classmethod
    async def open(cls, address: Addresses) -> Connection:
        """Raises OSError."""
        return cls(*await asyncio.open_connection(*address[CLIENT_PORT], limit=2**26))

    async def call(self, node: str, call: str, arguments: Sequence[Any], *, is_inside: bool = False) -> Any:
        """See `session.Caller`. Once it is sent, nobody knows what became of a call without an answer. Answers to calls
        that nobody waits for any more are passed over."""
        self._last_id += 1
        request = Request(self._last_id, call, list(arguments))
        reply: Reply | None = None
        try:
            self._writer.write(msgspec.json.encode(request) + b"\n")
            await self._writer.drain()
            while reply is None or reply.id != request.id:
                line = await self._reader.readline()
                if not line.endswith(b"\n"):
                    raise Indefinite("connection-lost", "the node hung up before it answered")
                reply = msgspec.json.decode(line, type=Reply)
        except OSError as error:
            raise Indefinite("connection-lost", str(error)) from error
        if reply.refusal is not None:
            raise Definite(*reply.refusal)
        return reply.answer

    async def wait_for_changes(self) -> None:
        await asyncio.sleep(PAUSE_OF_A_WATCH_S)

    def hung_up(self) -> None:
        self._writer.close()
