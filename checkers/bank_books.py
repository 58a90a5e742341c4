"""The books of a bank: what accounts must hold in the end, by the transfers that were acknowledged.

Totals say nothing of a transfer that was acknowledged and never happened, nor of one that happened twice: money stays
what it was. With the balances at the opening known, each account has bounds at every read: the acknowledged transfers
that ended before it have moved their amounts, refused ones nothing, and those under way or of unknown outcome may have.

Only reads after the last acknowledged transfer are judged, and only if all of them are wrong: a database that promises
no real-time order may answer one with an older state, but if nobody ever sees a transfer any more, it is lost. Where
even the first read does not fit, the accounts were older than the history, and nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checkers.operations import Operations
from checkers.values import whole_number
from checkers.words import count, interval, listing
from results.history import History
from results.verdict import Anomaly

WRONG_BOOKS = "transfers do not add up"
SHOWN_MOST = 20
"""Transfers of an account that are named, the last of them."""


@dataclass(frozen=True)
class _Transfers:
    """Those that may have moved money, as columns; accounts by their number."""

    operations: Operations
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    amount: NDArray[np.int64]


def missing_money(history: History, reads: Operations, opening: Mapping[str, int]) -> Anomaly | None:
    """What is wrong with the accounts in all of the last reads, of which the latest is told; None if nothing is, or if
    nothing can be known. `reads`: the successful ones, of all accounts at once."""
    names = list(opening)
    transfers = _transfers(history, names)
    if transfers is None or not len(reads):
        return None
    done = transfers.operations.ok
    last = int(transfers.operations.end[done].max()) if done.any() else -1
    late = np.flatnonzero(reads.start > last)
    if not done.any() or not len(late):
        return None
    answers = reads.answers()

    def wrong(place: int) -> dict[str, tuple[int, int, int]] | None:
        return _wrong(
            answers[place], opening, names, transfers, int(reads.start[place]), int(reads.end[place])
        )

    if wrong(int(np.argmin(reads.end))) != {}:
        return None
    found: dict[str, tuple[int, int, int]] = {}
    for place in late.tolist():
        found = wrong(place) or {}
        if not found:
            return None
    pair = reads.pair(int(late[-1]))
    acknowledged, told = count(int(done.sum()), "acknowledged transfer"), []
    for account, (balance, least, most) in found.items():
        bounds = f"{least}" if least == most else f"between {least} and {most}"
        told.append(f"{account} holds {balance} instead of {bounds}")
    touching = _touching(transfers, [names.index(account) for account in found])
    return Anomaly(
        type=WRONG_BOOKS,
        sentence=(
            f"{WRONG_BOOKS}, in {count(len(late), 'read')} after the last of {acknowledged}: process "
            f"{pair.process} ({interval(pair)}) saw that {listing(told, 4)}"
        ),
        operations=sorted({*pair.indices, *touching}),
        evidence={
            "read": {"index": pair.index, "saw": pair.value},
            "opening": dict(opening),
            "accounts": {
                account: {"balance": balance, "least": least, "most": most}
                for account, (balance, least, most) in found.items()
            },
        },
    )


def _transfers(history: History, names: list[str]) -> _Transfers | None:
    """Those that did not fail; None if one of them cannot be understood."""
    tried = Operations.of(history, "transfer")
    tried = tried.where(~tried.failed)
    numbers = {name: number for number, name in enumerate(names)}
    rows: list[tuple[int, int, int]] = []
    for asked in tried.asked():
        if not isinstance(asked, Mapping):
            return None
        source, target = (numbers.get(str(asked.get(end))) for end in ("from", "to"))
        amount = whole_number(asked.get("amount"))
        if source is None or target is None or amount is None or not 0 <= amount < 1 << 40:
            return None
        rows.append((source, target, amount))
    table = np.array(rows, dtype=np.int64).reshape(len(rows), 3)
    return _Transfers(tried, table[:, 0], table[:, 1], table[:, 2])


def _wrong(
    answer: Any,
    opening: Mapping[str, int],
    names: list[str],
    transfers: _Transfers,
    start: int,
    end: int,
) -> dict[str, tuple[int, int, int]] | None:
    """Of the accounts out of their bounds in a read: what each holds, and its least and most. None for an answer that
    does not show whole numbers in all of them, of which others speak."""
    if not isinstance(answer, Mapping):
        return None
    shown = {str(account): whole_number(balance) for account, balance in answer.items()}
    certain = transfers.operations.ok & (transfers.operations.end < start)
    possible = ~certain & (transfers.operations.start < end)

    def moved(ends: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        sums = np.zeros(len(names), dtype=np.int64)
        np.add.at(sums, ends[chosen], transfers.amount[chosen])
        return sums

    sure = moved(transfers.target, certain) - moved(transfers.source, certain)
    least = sure - moved(transfers.source, possible)
    most = sure + moved(transfers.target, possible)
    found: dict[str, tuple[int, int, int]] = {}
    for number, name in enumerate(names):
        balance = shown.get(name)
        if balance is None:
            return None
        low, high = opening[name] + int(least[number]), opening[name] + int(most[number])
        if not low <= balance <= high:
            found[name] = (balance, low, high)
    return found


def _touching(transfers: _Transfers, accounts: list[int]) -> list[int]:
    """Events of the last acknowledged transfers to or from these accounts."""
    near = np.isin(transfers.source, accounts) | np.isin(transfers.target, accounts)
    chosen = np.flatnonzero(near & transfers.operations.ok)[-SHOWN_MOST:]
    return [index for place in chosen.tolist() for index in transfers.operations.pair(place).indices]
