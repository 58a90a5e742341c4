"""Protocol primary-lock takes its commit timestamp before the locks are laid, and not after.

1. T takes its commit timestamp, 5. 2. A reader begins at 7 and finds no lock. 3. T lays its locks and commits at 5:
below what the reader has read. What a snapshot shows changes afterwards, and one that is read over two ranges shows one
half of a transfer. The order is what Percolator's correctness hangs on (Peng and Dabek 2010, 2.2).
"""

from __future__ import annotations

from reference_db.api import TransactionProtocol
from reference_db.gateway.open_transaction import OpenTransaction
from reference_db.gateway.oracle import Oracle
from reference_db.node import Node
from reference_db.timestamp import Timestamp

LAYER = "transaction"
ROUTES = ("H",)
WORKLOAD = "bank"
NEMESIS = ""
SCENARIO = {"concurrency": "20", "workload_options": {"accounts": 6}}
SYSTEM_OPTIONS = {"protocol": "primary-lock"}
SEEDS = (2,)


class EarlyOracle:
    """The node's oracle, as its transactions see it: a commit's timestamp was taken when the commit began."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.early: dict[float, list[Timestamp]] = {}
        """By the deadline of a commit, which comes with its question."""

    async def take(self, deadline: float) -> Timestamp:
        """As the oracle's."""
        early = self.early.get(deadline)
        return early.pop() if early else await self._oracle.take(deadline)


def plant(node: Node) -> None:
    """Override where this node's commits take their timestamps from."""
    driver = node.coordinator.protocols[TransactionProtocol.PRIMARY_LOCK]
    oracle = EarlyOracle(node.coordinator.oracle)
    driver._oracle = oracle  # type: ignore[attr-defined]
    commit = driver.commit

    async def commit_early(open_one: OpenTransaction, deadline: float) -> None:
        await driver._observe_once(open_one, deadline)
        oracle.early.setdefault(deadline, []).append(await node.coordinator.oracle.take(deadline))
        try:
            await commit(open_one, deadline)
        finally:
            oracle.early.pop(deadline, None)

    driver.commit = commit_early  # type: ignore[method-assign]
