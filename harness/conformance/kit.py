"""The cases of the kit: each call is made while something is lost, and what the session says is held against what was.

A session may say of a call: it returned (and with what), Definite, or anything else, which means that nobody knows. The
truth is asked through a session of its own, straight at the node. Three things are dishonest:

    it says                     and the truth is
    it happened                 it has not
    Definite, or "no" as an     it has
      answer (a compare-and-set
      that found another value)

Saying that nobody knows is always honest. It is what a lost reply leaves; a client that asks once more on its own, and
takes the answer for that of the first request, is caught by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

from harness.conformance.calls import CALLS, Call
from harness.conformance.tap import Loss, Tap
from harness.environments.environment import CLIENT_PORT, Address, EnvironmentCluster
from harness.environments.processes import processes_with_token
from harness.systems.system import System
from workloads.keys import spread_key
from workloads.session import INTERFACES, KEY_VALUE, TRANSACTIONS, Definite, SessionError

Outcome = Literal["pass", "FAIL", "not tried"]

VALUES: Final = (0, 1, -(2**40), "1", "", "ü\n'\"\\", [1, "2", []], ["append", None])
"""What is put comes back, type included."""
MOST_TURNS: Final = 12
SETTLE_S: Final = 0.6
"""How long what was called definite may still turn out to have happened."""
CLOSE_S: Final = 1.0
OPEN_S: Final = 10.0


@dataclass(frozen=True)
class Case:
    """What was tried, how it went, and what to mend if it went wrong."""

    name: str
    outcome: Outcome
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Said:
    """How a call ended, as its session says."""

    how: Literal["returned", "definite", "unknown"]
    text: str
    answer: Any = None
    took_s: float = 0.0


Tell = Callable[[Case], None]


class Kit:
    """Examines one system on a cluster that is up. A call is given up after `patience_s`, as a run gives up."""

    def __init__(
        self, system: System, cluster: EnvironmentCluster, tell: Tell, patience_s: float = 1.5
    ) -> None:
        self.system = system
        self.cluster = cluster
        self.node = cluster.nodes[0]
        self.patience_s = patience_s
        self.cases: list[Case] = []
        self._tell = tell
        self._area = f"conformance-{secrets.token_hex(4)}"
        """Of no key that anybody has used."""
        self._keys = count()

    def _case(self, name: str, outcome: Outcome, text: str, mend: str = "") -> None:
        case = Case(name, outcome, text, mend)
        self.cases.append(case)
        self._tell(case)

    async def examine(self) -> None:
        """Every case, in order. What a case itself stumbles over is its failure."""
        for examine in (
            self.interfaces, self.values, self.calls, self.losses, self.rollback, self.refused, self.closing,
            self.restarts,
        ):  # fmt: skip
            case: Callable[[], Awaitable[None]] = examine
            try:
                await case()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the others are examined.
                name = examine.__name__
                text = f"it raised {type(error).__name__}: {error}"
                self._case(name, "FAIL", text, "a call that nothing stands in the way of must return")

    # Ways to sessions.

    def _port(self) -> str:
        return CLIENT_PORT if CLIENT_PORT in self.system.ports else self.system.ports[0]

    @contextlib.asynccontextmanager
    async def straight(self) -> AsyncIterator[Any]:
        """A session at the node, through nothing."""
        async with asyncio.timeout(OPEN_S):
            session = await self.system.open_session(self.cluster.direct_address(self.node), self.node)
        try:
            yield session
        finally:
            await session.close()

    @contextlib.asynccontextmanager
    async def tapped(self) -> AsyncIterator[tuple[Tap, Any]]:
        """A session through a tap."""
        direct = self.cluster.direct_address(self.node)
        tap = Tap(direct[self._port()])
        address = await tap.open()
        session = None
        try:
            async with asyncio.timeout(OPEN_S):
                session = await self.system.open_session({**direct, self._port(): address}, self.node)
            yield tap, session
        finally:
            if session is not None:
                await self._closed(session)
            tap.close()

    async def _closed(self, session: Any) -> bool:
        """Closes a session, and answers whether it came back in time."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await session.close()
        except TimeoutError:
            return False
        return True

    def _key(self) -> str:
        return spread_key(self._area, next(self._keys))

    def _offered(self) -> list[Call]:
        return [call for call in CALLS if call.interface in self.system.interfaces]

    async def _said(self, act: Awaitable[Any]) -> Said:
        """Lets a call go on for as long as a run would."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.patience_s):
                answer = await act
        except Definite as error:
            return Said("definite", f"Definite({error})", None, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - whatever it is, it means that nobody knows.
            return Said("unknown", f"{type(error).__name__}: {error}", None, time.monotonic() - began)
        return Said("returned", f"it returned {answer!r}", answer, time.monotonic() - began)

    async def _truth(self, call: Call, key: str, wait: bool) -> bool:
        """Whether the call has happened; `wait`: give it time to."""
        deadline = time.monotonic() + (SETTLE_S if wait else 0.0)
        while True:
            async with self.straight() as session:
                if await call.seen(session, key):
                    return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.1)

    # Cases.

    async def interfaces(self) -> None:
        """What is offered is known, and sessions have it."""
        unknown = sorted(self.system.interfaces - set(INTERFACES))
        async with self.straight() as session:
            differ = sorted(set(session.interfaces) ^ self.system.interfaces)
        problems = [f"{name!r} is no interface" for name in unknown]
        problems += [f"{name!r} is offered by the system or its sessions only" for name in differ]
        self._case(
            "interfaces",
            "FAIL" if problems else "pass",
            "; ".join(problems) or ", ".join(sorted(self.system.interfaces)),
            f"interfaces are names of workloads.session.INTERFACES: {', '.join(INTERFACES)}",
        )

    async def values(self) -> None:
        """What is put comes back; a key that was never put is None."""
        if KEY_VALUE not in self.system.interfaces:
            return
        wrong = []
        async with self.straight() as session:
            missing = await session.get(self._key())
            if missing is not None:
                wrong.append(f"a key that was never put is {missing!r}, not None")
            for value in VALUES:
                key = self._key()
                await session.put(key, value)
                found = await session.get(key)
                if repr(found) != repr(value):
                    wrong.append(f"put {value!r}, got {found!r}")
        self._case(
            "values come back as they were put",
            "FAIL" if wrong else "pass",
            "; ".join(wrong) or f"{len(VALUES)} kinds of values",
            "keep values as JSON, whatever their type",
        )

    async def calls(self) -> None:
        """Nothing is lost: each call happens, and says so."""
        for call in self._offered():
            key = self._key()
            async with self.tapped() as (tap, session):
                await call.prepare(session, key)
                tap.arm(None)
                said = await self._said(call.act(session, key))
            seen = await self._truth(call, key, wait=False)
            name = f"{call.name}: nothing is lost"
            if tap.turns == 0:
                text = "no byte went to the address that the session was given"
                self._case(name, "FAIL", text, "dial only the address that open_session is given")
            elif said.how != "returned":
                self._case(name, "FAIL", said.text, "a call that nothing stands in the way of must return")
            elif call.claims(said.answer) != seen:
                self._dishonest(name, said, seen)
            else:
                self._case(name, "pass", f"{said.text}, in {tap.turns} turns")

    async def losses(self, only: str = "") -> None:
        """Each request and each reply of each call (or of one, by name) is lost, loudly and silently."""
        for call in self._offered():
            if only and call.name != only:
                continue
            for how in ("reset", "silence"):
                for what in ("reply", "request"):
                    await self._lose_each(call, what, how)

    async def _lose_each(
        self, call: Call, what: Literal["request", "reply"], how: Literal["reset", "silence"]
    ) -> None:
        """Turn by turn, until the call ends before anything is lost."""
        words = {"reset": "the connection is reset", "silence": "all falls silent"}[how]
        name = f"{call.name}: {what} lost, {words}"
        tried: list[str] = []
        for turn in range(1, MOST_TURNS + 1):
            key, loss = self._key(), Loss(what, turn, how)
            async with self.straight() as session:
                await call.prepare(session, key)
            async with self.tapped() as (tap, session):
                tap.arm(loss)
                said = await self._said(call.act(session, key))
                lost = tap.lost
                tap.arm(loss)
            if not lost:
                break
            seen = await self._truth(call, key, wait=said.how == "definite")
            claims = said.how == "returned" and call.claims(said.answer)
            denies = said.how == "definite" or (said.how == "returned" and not call.claims(said.answer))
            if (claims and not seen) or (denies and seen):
                self._dishonest(f"{name} ({what} {turn})", said, seen)
                return
            tried.append(f"{what} {turn}: {'it happened' if seen else 'it did not happen'}, {said.text}")
        if not tried:
            self._case(name, "not tried", "the call ended without one", "")
        else:
            self._case(name, "pass", "; ".join(tried))

    def _dishonest(self, name: str, said: Said, seen: bool) -> None:
        if seen and said.how == "definite":
            mend = "raise Indefinite here: once a request may be under way, only a refusal by the database is definite"
        elif seen:
            mend = (
                "that answer belongs to a second attempt: do not repeat a request on your own, and switch off the "
                "retries of the client library"
            )
        else:
            mend = "return only what the database has acknowledged; raise Indefinite where its reply did not come"
        truth = "it has happened" if seen else "it has not happened"
        self._case(name, "FAIL", f"{said.text}, but {truth}", mend)

    async def rollback(self) -> None:
        """An exception inside a transaction passes through, and nothing was written."""
        if TRANSACTIONS not in self.system.interfaces:
            return
        key, seen, passed = self._key(), None, False
        async with self.straight() as session:
            try:
                async with session.transaction() as transaction:
                    await transaction.put(key, "never")
                    raise _Given("the client changed its mind")
            except _Given:
                passed = True
            async with session.transaction() as transaction:
                seen = await transaction.get(key)
        problem = (
            "the exception did not pass through"
            if not passed
            else "" if seen is None else f"the write is there: {seen!r}"
        )  # fmt: skip
        self._case(
            "transaction: an exception inside rolls back",
            "FAIL" if problem else "pass",
            problem or "it passed through, and nothing was written",
            "leave the block by rolling back, and let the exception pass",
        )

    async def refused(self) -> None:
        """Nobody listens: there is no session, or a call that certainly did nothing."""
        direct = self.cluster.direct_address(self.node)
        tap = Tap(direct[self._port()])
        address = await tap.open()
        tap.close()
        await asyncio.sleep(0)
        name = "connection refused"
        session = None
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.patience_s):
                session = await self.system.open_session({**direct, self._port(): address}, self.node)
        except TimeoutError:
            text = f"open_session was still trying after {self.patience_s:g} s"
            self._case(name, "FAIL", text, "raise where the connection is refused; the run tries again")
            return
        except (OSError, SessionError) as error:
            took_s = time.monotonic() - began
            self._case(name, "pass", f"no session: {type(error).__name__}: {error} (after {took_s:.2f} s)")
            return
        calls = self._offered()
        if not calls:
            self._case(name, "not tried", "sessions offer no call that could be refused")
            return
        said = await self._said(calls[0].act(session, self._key()))
        await self._closed(session)
        self._case(
            name,
            "pass" if said.how == "definite" else "FAIL",
            f"a session was opened, and its first {calls[0].name} said: {said.text}",
            "raise from open_session, or Definite from the call: a refused connection has certainly done nothing",
        )

    async def closing(self) -> None:
        """A session is closed while its call hangs: at once, and its connection is gone."""
        calls = self._offered()
        if not calls:
            return
        call, key = calls[0], self._key()
        direct = self.cluster.direct_address(self.node)
        tap = Tap(direct[self._port()])
        address = await tap.open()
        try:
            session = await self.system.open_session({**direct, self._port(): address}, self.node)
            tap.arm(Loss("request", 1, "silence"))
            hanging = asyncio.ensure_future(call.act(session, key))
            await asyncio.wait({hanging}, timeout=0.2)
            hanging.cancel()
            came_back = await self._closed(session)
            await asyncio.wait({hanging}, timeout=CLOSE_S)
            await tap.wait_until_empty(CLOSE_S)
            problems = []
            if not came_back:
                problems.append(f"close had not come back after {CLOSE_S:g} s")
            if not hanging.done():
                problems.append(
                    f"the call went on {CLOSE_S:g} s after it was cancelled and its session closed"
                )
            if tap.connections:
                problems.append(f"{tap.connections} of its connections stayed open")
            self._case(
                "a session is closed while its call hangs",
                "FAIL" if problems else "pass",
                "; ".join(problems) or "closed at once, with its connection",
                "close the socket, without waiting for what is under way; let a cancellation end a call",
            )
        finally:
            tap.close()

    async def restarts(self) -> None:
        """The node is killed and started again: a new session works, and what was acknowledged is there."""
        calls = [call for call in self._offered() if call.interface == KEY_VALUE] or self._offered()
        if not calls:
            return
        call, before, after = calls[0], self._key(), self._key()
        async with self.straight() as session:
            await call.prepare(session, before)
            await call.act(session, before)
            await self.cluster.kill(self.node)
            said = await self._said(call.act(session, self._key()))
        if said.how == "returned" and call.claims(said.answer):
            self._case(
                "node is down", "FAIL", said.text, "no other node may be asked: a session is for one node"
            )
        else:
            self._case("node is down", "pass", said.text)
        await self.cluster.start(self.node)
        async with self.straight() as session:
            await call.prepare(session, after)
            said = await self._said(call.act(session, after))
        self._case(
            "node is back: a new session works",
            "pass" if said.how == "returned" else "FAIL",
            said.text,
            "is_ready must be true only once the node serves requests",
        )
        if "memory-only" not in self.system.supports:
            kept = await self._truth(call, before, wait=False)
            self._case(
                "node is back: what was acknowledged is there",
                "pass" if kept else "FAIL",
                "it is" if kept else f"a {call.name} that returned is gone",
                'keep data where NodePlan.data_dir says, or say "memory-only" in supports',
            )


class _Given(Exception):
    """Raised inside a transaction on purpose."""


async def orphans(cluster: EnvironmentCluster, token: str) -> Case:
    """Ends every node, and looks which processes of the run go on that are not the environment's own. (Destroying the
    cluster would end those too.)"""
    for node in cluster.nodes:
        await cluster.kill(node)
    left = [one.pid for one in processes_with_token(token) if not _is_of_the_environment(one.pid)]
    return Case(
        "a node that is killed leaves no process",
        "FAIL" if left else "pass",
        f"these go on: {', '.join(map(_command_of, left))}" if left else "none",
        "a node's processes must stay in the session in which it was started, or end with it",
    )


def left_behind(listening: Sequence[Address], temporary: Path) -> list[Case]:
    """When the cluster is destroyed: nobody at its ports, no file outside of its folder.

    `temporary` is the folder that nodes and sessions had for temporary files.
    """
    cases = []
    open_ports = [f"{host}:{port}" for host, port in listening if _listens(host, port)]
    cases.append(
        Case(
            "nobody listens any more",
            "FAIL" if open_ports else "pass",
            f"somebody listens at {', '.join(open_ports)}" if open_ports else "all ports are free",
            "whoever listens there was started by a node and does not end with it",
        )
    )
    files = sorted(str(path.relative_to(temporary)) for path in temporary.rglob("*") if not path.is_dir())
    cases.append(
        Case(
            "no file is left",
            "FAIL" if files else "pass",
            f"in the folder for temporary files: {', '.join(files[:5])}" if files else "none",
            "write below NodePlan.data_dir, or remove what is temporary",
        )
    )
    return cases


def _command_of(pid: int) -> str:
    """Number and command line of a process, shortened."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"{pid} ({words.strip()[:80]})"
    return str(pid)


def _is_of_the_environment(pid: int) -> bool:
    return " -m harness.environments." in _command_of(pid)


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0
