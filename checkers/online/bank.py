"""Bank, while the run goes on: each read is judged by itself, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from checkers.bank import MISSING_ACCOUNT, NEGATIVE_BALANCE, NO_BALANCE, UNEXPECTED_ACCOUNT, WRONG_TOTAL
from results.operation import OK, Operation
from results.verdict import Anomaly

_WHOLE = {int}


class OnlineBank:
    """What `BankChecker` says of a read of all accounts, as soon as it is there."""

    name = "bank"

    def __init__(self, accounts: Iterable[Any], total: int) -> None:
        self._accounts = frozenset(map(str, accounts))
        self._total = total

    def observe(self, event: Operation) -> Anomaly | None:
        if event.type != OK or event.f != "read" or not isinstance(event.value, dict):
            return None
        balances = event.value
        numbers = balances.values()
        if balances.keys() == self._accounts and set(map(type, numbers)) == _WHOLE:
            if sum(numbers) != self._total:
                return _anomaly(event, WRONG_TOTAL, f"saw {sum(numbers)} instead of {self._total}")
            if min(numbers) < 0:
                return _anomaly(event, NEGATIVE_BALANCE, f"saw debts: {_some(balances, lambda one: one < 0)}")
            return None
        if missing := self._accounts - set(balances):
            return _anomaly(event, MISSING_ACCOUNT, f"did not see {', '.join(sorted(missing)[:5])}")
        if unexpected := set(balances) - self._accounts:
            return _anomaly(event, UNEXPECTED_ACCOUNT, f"saw {', '.join(sorted(map(str, unexpected))[:5])}")
        if any(isinstance(balance, bool) or not isinstance(balance, int | float) for balance in numbers):
            return _anomaly(event, NO_BALANCE, f"saw {balances!r:.200}")
        return None


def _some(balances: dict[str, Any], is_wrong: Any) -> str:
    return ", ".join(f"{account}: {balance}" for account, balance in balances.items() if is_wrong(balance))


def _anomaly(event: Operation, kind: str, what: str) -> Anomaly:
    sentence = f"{kind}: the read by process {event.process} that ended with event {event.index} {what}"
    return Anomaly(kind, sentence, [event.index])
