"""Where the order of versions is not known: which algorithm decides a level then.

The weak levels (read committed, read atomic, causal) have optimal algorithms that need no order of versions; snapshot
isolation, serializability and their kin are decided by polygraphs, with a SAT solver as the last resort; so are all
histories with scans.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from checkers.checker import Limits
from checkers.isolation import polygraph, weak_levels
from checkers.isolation.polygraph_checker import check_polygraph
from checkers.isolation.weak_levels import check_weak
from results.transactions import Transactions
from results.verdict import Verdict


def is_weak(isolation: str) -> bool:
    """Whether the level is one of those for which no order of versions is ever needed."""
    return isolation in weak_levels.LEVELS


def decide(
    transactions: Transactions, isolation: str, limits: Limits, passed_over: np.ndarray | None = None
) -> Verdict | None:
    """The verdict at a level on transactions of registers; None for a level that no algorithm here is about.

    `passed_over` are reads from which nothing shall follow.
    """
    if passed_over is not None and passed_over.any():
        transactions = replace(transactions, known=transactions.known & ~passed_over)
    if isolation in weak_levels.LEVELS:
        return check_weak(transactions, isolation, limits)
    if isolation in polygraph.LEVELS:
        return check_polygraph(transactions, isolation, limits)
    return None
