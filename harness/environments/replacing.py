"""Nodes that are replaced: the old one is gone for good, a new one joins in its place under another name.

The place stays: the harness goes on to call it by the name of the node that was there first, and clients go on to find
it at the same address. What the system knows are identities, one after the other in the same place. The port at which
the others reach a node differs from one to the next, so that what was meant for the old one never reaches the new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Protocol

from harness.environments.environment import (
    GONE,
    MEMBER,
    PEER,
    Addresses,
    EnvironmentFailed,
    Launch,
    NodePlan,
    ReplaceableSystem,
    SystemUnderTest,
    reshaped,
)
from nemesis.cluster import Evidence, FaultFailed, NodeState, Reshaping, combine, evidence_of
from workloads.session import SessionError

MECHANISM = "SIGKILL, an empty disk, and a new member that joins through the others"
PORTS_BETWEEN = 100
"""So far apart are the ports of one identity and the next."""
PATIENCE_S = 45.0
AGAIN_S = 0.2


def next_plan(plan: NodePlan) -> NodePlan:
    """Of the node that replaces this one."""
    number = int(plan.known_as.removeprefix(f"{plan.name}-")) if plan.identity else 1

    def moved(addresses: Addresses) -> Addresses:
        return {
            port: (host, at + PORTS_BETWEEN if port == PEER else at) for port, (host, at) in addresses.items()
        }

    return replace(
        plan,
        replaces=plan.known_as,
        identity=f"{plan.name}-{number + 1}",
        listen=moved(plan.listen),
        advertise=moved(plan.advertise),
    )


def launch_of(system: SystemUnderTest, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
    """How to start whoever is in this place now."""
    if plan.replaces is None:
        return system.launch(plan, all_nodes)
    assert isinstance(system, ReplaceableSystem), f"{system.name} takes no new members"
    return system.launch_replacement(plan, all_nodes)


Ask = Callable[[Coroutine[Any, Any, str]], Awaitable[str]]
"""Has a question asked, and answers with what comes of it."""


class Places(Protocol):
    """What is asked of a cluster whose nodes are to be replaced."""

    @property
    def nodes(self) -> tuple[str, ...]: ...

    def state(self, node: str) -> NodeState: ...

    def direct_address(self, node: str) -> Addresses: ...

    def plan(self, node: str) -> NodePlan: ...

    def put_plan(self, node: str, plan: NodePlan) -> None:
        """From now on this is the plan of the node in this place."""

    async def kill(self, node: str) -> Evidence: ...

    async def wipe(self, node: str) -> Evidence: ...

    async def start(self, node: str) -> Evidence: ...


class Replacements:
    """Who is in which place, and how a node is replaced."""

    def __init__(self, places: Places, system: SystemUnderTest, ask: Ask | None = None) -> None:
        """`ask` has the nodes asked from where the harness is; None: it is where this is called."""
        self._places = places
        self._system = system
        self._ask: Ask = ask or _ask_from_here
        self._undismissed: dict[str, str] = {}
        """Place -> identity that is gone, and of which the others may not know that."""

    def place_of(self, identity: str) -> str:
        """Where a node is that the system has this name for; other names, and old ones, stay as they are."""
        places = self._places
        return next((node for node in places.nodes if places.plan(node).known_as == identity), identity)

    def addresses(self) -> dict[str, Addresses]:
        """Of the nodes that are up, by the names that the system has for them."""
        places = self._places
        up = [node for node in places.nodes if places.state(node) == "up"]
        return {places.plan(node).known_as: places.direct_address(node) for node in up}

    async def leaders(self) -> dict[str, str]:
        """See `Cluster.leaders`."""
        up = self.addresses()
        led = await self._system.leaders(up) if up else {}
        return {range_id: self.place_of(leader) for range_id, leader in led.items()}

    async def reshape(self, kind: Reshaping, node: str, draw: int) -> Evidence:
        """See `Cluster.reshape`."""
        return await reshaped(self._system, self.addresses(), kind, self._places.plan(node).known_as, draw)

    async def replace(self, node: str) -> Evidence:
        """See `Cluster.replace`."""
        places = self._places
        gone = places.plan(node).known_as
        ended = await places.kill(node)
        wiped = await places.wipe(node)
        places.put_plan(node, next_plan(places.plan(node)))
        self._undismissed[node] = gone
        started = await places.start(node)
        told = [
            await self._told(node, gone, "a member", GONE),
            await self._told(node, places.plan(node).known_as, "unknown", MEMBER),
        ]
        return combine([ended, wiped, started, evidence_of(told)])

    async def _told(self, node: str, member: str, before: str, wanted: str) -> dict[str, Any]:
        state = await self._until(wanted, lambda: self._asked().member_state(self._others(node), member))
        what = f"{member} to the other members"
        return {"what": what, "before": before, "after": state, "proves": state == wanted}

    async def before_start(self, node: str) -> None:
        """A node is about to be started: who was in its place before must be gone to the others too, or one of the two
        would be asked for what the other one has promised. Raises EnvironmentFailed."""
        gone = self._undismissed.get(node)
        if gone is None:
            return
        state = await self._until(GONE, lambda: self._asked().dismiss(self._others(node), gone))
        if state != GONE:
            raise EnvironmentFailed(
                f"{gone} is gone for good, but to the other members it is {state} after {PATIENCE_S:g} s"
            )
        del self._undismissed[node]

    def _asked(self) -> ReplaceableSystem:
        if not isinstance(self._system, ReplaceableSystem):
            raise FaultFailed(f"{self._system.name} takes no new members")
        return self._system

    def _others(self, node: str) -> Mapping[str, Addresses]:
        own = self._places.plan(node).known_as
        return {name: one for name, one in self.addresses().items() if name != own}

    async def _until(self, wanted: str, question: Callable[[], Coroutine[Any, Any, str]]) -> str:
        """What was answered last, asked until that is what is wanted."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        state = "unknown"
        while True:
            try:
                state = await self._ask(question())
            except (OSError, TimeoutError, SessionError) as error:
                state = f"unknown ({type(error).__name__}: {error})"
            if state == wanted or loop.time() > deadline:
                return state
            await asyncio.sleep(AGAIN_S)


async def _ask_from_here(question: Coroutine[Any, Any, str]) -> str:
    return await question
