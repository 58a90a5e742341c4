"""A `transact_write` writes its token, and does not look whether an earlier request had written it.

A client that lost an answer and asks again writes twice: what tokens are there to prevent. The class of every
idempotency key that is stored, and checked nowhere.
"""

from __future__ import annotations

from typing import Any

from reference_db.api import Key, ValueResult
from reference_db.gateway.open_transaction import OpenTransaction
from reference_db.gateway.transact_write import TOKENS
from reference_db.node import Node

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "transact-write"
NEMESIS = "none"
SEEDS = (1,)


def plant(node: Node) -> None:
    """Override what this node's requests find of tokens."""
    writer = node.transact_writer
    coordinator = writer._coordinator

    class Forgetful:
        """The node's coordinator, as its requests with tokens see it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(coordinator, name)

        async def get_versions(
            self, open_one: OpenTransaction, keys: list[Key], deadline: float
        ) -> dict[Key, ValueResult]:
            """As the coordinator's, but no token is ever there."""
            asked = [key for key in keys if not key.startswith(TOKENS)]
            found = await coordinator.get_versions(open_one, asked, deadline) if asked else {}
            return {key: found.get(key, ValueResult(None)) for key in keys}

    writer._coordinator = Forgetful()  # type: ignore[assignment]
