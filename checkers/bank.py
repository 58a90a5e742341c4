"""Money is neither made nor lost: every read of all accounts sees the same total, and no forbidden debt.

Operations: `transfer` with `{"from": a, "to": b, "amount": n}`; `read`, answered `{account: balance}`. Under snapshot
isolation or better every read sees some state between transfers, and each of those has the same total. So reads are
judged each on its own, and it does not matter which transfers happened: failed and unknown ones move money between
accounts or do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.checker import Limits
from checkers.words import count, interval, listing
from results.history import History, Pair
from results.operation import OK
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

WRONG_TOTAL = "wrong total"
NEGATIVE_BALANCE = "negative balance"
MISSING_ACCOUNT = "missing account"
UNEXPECTED_ACCOUNT = "unexpected account"
NO_BALANCE = "account without a balance"


@dataclass(frozen=True)
class _Problem:
    pair: Pair
    badness: float
    """How bad it is, to find the worst: the distance from the right total, the debt, the number of accounts."""
    text: str
    """What this read saw."""


@dataclass
class _Kind:
    """All problems of one kind, of which the first, the worst and the last are kept."""

    number: int = 0
    first: _Problem | None = None
    worst: _Problem | None = None
    last: _Problem | None = None

    def add(self, problem: _Problem) -> None:
        self.number += 1
        self.first = self.first or problem
        self.last = problem
        if self.worst is None or problem.badness > self.worst.badness:
            self.worst = problem


@dataclass
class BankChecker:
    """Judges reads of all `accounts`, which together hold `total` at all times.

    Accounts are compared by their text, since JSON knows no other keys.
    """

    accounts: Iterable[Any]
    total: int | float
    allow_negative: bool = False
    name: str = field(default="bank", kw_only=True)

    def __post_init__(self) -> None:
        self._names = {str(account) for account in self.accounts}
        if not self._names:
            raise ValueError("a bank without accounts cannot be checked: name at least one account")

    def check(self, history: History, limits: Limits) -> Verdict:
        reads = [pair for pair in history.pairs() if pair.f == "read" and pair.type == OK]
        if not reads:
            tried = sum(pair.f == "read" for pair in history.pairs())
            return Verdict(
                UNKNOWN, self.name, f"none of {count(tried, 'read')} succeeded: no balance was ever seen"
            )
        kinds: dict[str, _Kind] = {}
        for pair in reads:
            for kind, problem in self._problems(pair):
                kinds.setdefault(kind, _Kind()).add(problem)
        details = {
            "reads": len(reads),
            "accounts": len(self._names),
            "total": self.total,
            "problems": {kind: found.number for kind, found in kinds.items()},
        }
        if not kinds:
            sentence = (
                f"all {count(len(reads), 'read')} saw {self.total} in {count(len(self._names), 'account')}"
            )
            return Verdict(VALID, self.name, sentence, details=details)
        anomalies = [self._anomaly(kind, found, len(reads)) for kind, found in kinds.items()]
        return Verdict(INVALID, self.name, "; ".join(a.sentence for a in anomalies), anomalies, details)

    def _problems(self, pair: Pair) -> Iterable[tuple[str, _Problem]]:
        """What is wrong with one read, by kind. A total is only added up where every account has a balance."""
        assert pair.completion is not None, f"the ok read of event {pair.index} has no completion"
        answer = pair.completion.value
        if not isinstance(answer, Mapping):
            text = f"saw {answer!r:.80} instead of balances"
            yield MISSING_ACCOUNT, _Problem(pair, len(self._names), text)
            return
        balances = {str(account): balance for account, balance in answer.items()}
        whole = True
        if missing := sorted(self._names - balances.keys()):
            whole = False
            yield MISSING_ACCOUNT, _Problem(pair, len(missing), f"did not see {_accounts(missing)}")
        if unexpected := sorted(balances.keys() - self._names):
            whole = False
            yield (
                UNEXPECTED_ACCOUNT,
                _Problem(pair, len(unexpected), f"saw {_accounts(unexpected)}, never opened"),
            )
        nothing = sorted(account for account, balance in balances.items() if not _is_number(balance))
        if nothing:
            whole = False
            shown = listing(f"{account}: {balances[account]!r:.40}" for account in nothing)
            yield NO_BALANCE, _Problem(pair, len(nothing), f"saw no number in {_accounts(nothing)} ({shown})")
        debts = {
            account: balance for account, balance in balances.items() if _is_number(balance) and balance < 0
        }
        if debts and not self.allow_negative:
            shown = listing(f"{account}: {debts[account]}" for account in sorted(debts))
            yield NEGATIVE_BALANCE, _Problem(pair, -sum(debts.values()), f"saw debts ({shown})")
        if whole:
            found = sum(balances.values())
            if found != self.total:
                text = f"saw {found} instead of {self.total}"
                yield WRONG_TOTAL, _Problem(pair, abs(found - self.total), text)

    def _anomaly(self, kind: str, found: _Kind, reads: int) -> Anomaly:
        assert found.first is not None, f"a kind of problem, {kind}, without a problem"
        sentence = f"{kind} in {found.number} of {count(reads, 'read')}: {_told(found.first)}"
        if (
            found.worst is not None
            and found.worst is not found.first
            and found.worst.text != found.first.text
        ):
            sentence += f"; the worst: {_told(found.worst)}"
        examples = {"first": found.first, "worst": found.worst, "last": found.last}
        shown = {name: problem for name, problem in examples.items() if problem is not None}
        return Anomaly(
            type=kind,
            sentence=sentence,
            operations=sorted({index for problem in shown.values() for index in problem.pair.indices}),
            evidence={
                "count": found.number,
                **{
                    name: {"index": problem.pair.index, "saw": problem.pair.value, "what": problem.text}
                    for name, problem in shown.items()
                },
            },
        )


def _told(problem: _Problem) -> str:
    pair = problem.pair
    return f"the read by process {pair.process} ({interval(pair)}) {problem.text}"


def _accounts(names: list[str]) -> str:
    return f"{'account' if len(names) == 1 else 'accounts'} {listing(names)}"


def _is_number(balance: Any) -> bool:
    return isinstance(balance, int | float) and not isinstance(balance, bool) and balance == balance
