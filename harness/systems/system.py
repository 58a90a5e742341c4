"""What the harness asks of a database under test, beyond what an environment asks: sessions, options, defects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import msgspec

from harness.environments.environment import Addresses, SystemUnderTest
from workloads.session import Session


@dataclass(frozen=True)
class SystemSettings:
    """What the command line says about a system; each system validates it and raises ValueError with all problems."""

    nodes: tuple[str, ...]
    replication: int
    ranges: int
    seed: int
    """Root of the system's own random streams (election timeouts and the like)."""
    defect: str | None = None
    """Name of a planted defect, or `module:name` of one of your own."""
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)


class DefectSheet(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a planted defect: where it is, and where the harness should look for it."""

    name: str
    """As on the command line."""
    caption: str
    layer: str
    routes: tuple[str, ...]
    """How it should be found: H history checker, I invariant, A audit of the end state, C exact count, L liveness."""
    workload: str
    nemesis: str
    """`--nemesis` of the runs in which its story is likely; empty: none."""
    nodes: int = 3
    """How many nodes it takes at least."""
    system_options: dict[str, Any] = {}
    """What the system must be set to."""
    scenario: dict[str, Any] = {}
    """Other fields of a scenario in which its story is likely: replication, ranges, rate, operation_timeout ..."""
    seeds: tuple[int, ...] = ()
    """Seeds that are known to show it."""
    directed: str | None = None
    """Random search would take too long, or cannot reach it: the name of a story of its own."""
    witnessed: str | None = None
    """Likewise, of a story whose clients keep a history: what histories alone are to find it by."""
    reachable: bool = True
    """Whether a whole database can be led into it; if not, only its story shows it."""


class FinalState(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica holds at the end of a run."""

    node: str
    range: str
    replicas: tuple[str, ...]
    """The nodes that should hold one, as far as this node knows."""
    term: int
    applied: int
    """The index of the last entry whose effects it holds."""
    locks: int
    """Locks (intents) of transactions that nobody has cleared away."""
    records: int
    """Records of transactions that nobody has forgotten."""
    digest: str | None = None
    """Of all that it holds: replicas of a range at the same applied index must have the same. None: not asked for."""


class System(SystemUnderTest, Protocol):
    """A database under test. One object serves one run."""

    @property
    def interfaces(self) -> frozenset[str]:
        """What its sessions offer (`workloads.session.INTERFACES`)."""

    @property
    def environments(self) -> frozenset[str] | None:
        """Where its nodes can run; None: in any environment."""

    @property
    def log_patterns(self) -> tuple[str, ...]:
        """Regular expressions of log lines that mean that the database itself noticed something impossible."""

    def require_defect(self) -> None:
        """Whether the defect that was asked for can be planted, before anything is started. Raises ValueError."""

    async def open_session(self, address: Addresses, node: str) -> Session:
        """A new connection of one client process to one node; raises OSError or SessionError if there is none."""


@runtime_checkable
class IsolatingSystem(Protocol):
    """A system that knows what it promises to transactions as it is set."""

    @property
    def isolation(self) -> str:
        """The strongest level that it promises, one of `workloads.transactions.ISOLATIONS`: what workloads demand where
        nobody says."""


@runtime_checkable
class CountingSystem(Protocol):
    """A system whose nodes count what they do."""

    async def counters(self, address: Addresses) -> dict[str, int | float]:
        """What one node has counted since it started, by name. Raises OSError, TimeoutError or SessionError."""


@runtime_checkable
class AuditedSystem(Protocol):
    """A system whose nodes can be asked what they hold, so that replicas can be compared when all is done."""

    async def final_states(
        self, addresses: Mapping[str, Addresses], *, digests: bool
    ) -> tuple[list[FinalState], list[str]]:
        """The replicas of these nodes, and the nodes that did not answer. With digests a node reads all its data."""
