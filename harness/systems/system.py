"""What the harness asks of a database under test, beyond what an environment asks: sessions, options, defects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

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


class System(SystemUnderTest, Protocol):
    """A database under test. One object serves one run."""

    @property
    def interfaces(self) -> frozenset[str]:
        """What its sessions offer (`workloads.session.INTERFACES`)."""

    @property
    def log_patterns(self) -> tuple[str, ...]:
        """Regular expressions of log lines that mean that the database itself noticed something impossible."""

    async def open_session(self, address: Addresses, node: str) -> Session:
        """A new connection of one client process to one node; raises OSError or SessionError if there is none."""
