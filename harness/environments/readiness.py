"""Whether a node is ready, asked again and again; and for whoever gives up, why the last answer was no."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from harness.environments.environment import Addresses, EnvironmentFailed, SystemUnderTest

ANSWER_S = 2.0
"""A node that has not answered within this time is not ready."""


class Readiness:
    """Of one node, which is being waited for."""

    def __init__(self, system: SystemUnderTest, timeout_s: float = ANSWER_S) -> None:
        self._system = system
        self._timeout_s = timeout_s
        self._hidden: Callable[[str], str] = getattr(system, "hidden", str)
        """What a client library says may hold a password; who knows one takes it out."""
        self.said = "nobody has asked it"

    async def ask(self, addresses: Addresses) -> bool:
        """Raises EnvironmentFailed where it never will be: what it takes to ask is missing, or refused."""
        timeout = asyncio.timeout(self._timeout_s)
        try:
            async with timeout:
                ready = await self._system.is_ready(addresses)
        except EnvironmentFailed:
            raise
        except Exception as error:  # noqa: BLE001 - whatever keeps a node from answering, it is not ready
            if timeout.expired():
                self.said = f"is_ready had no answer within {self._timeout_s:g} s"
            else:
                self.said = f"is_ready raised {type(error).__name__}: {self._hidden(str(error))}"
            return False
        self.said = f"is_ready answered {ready}"
        return ready
