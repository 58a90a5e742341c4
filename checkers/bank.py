"""Money is neither made nor lost: every read of all accounts sees the same total, and no forbidden debt.

Operations: `transfer` with `{"from": a, "to": b, "amount": n}`; `read`, answered `{account: balance}`. Under snapshot
isolation or better every read sees some state between transfers, and each of those has the same total. So reads are
judged each on its own, and it does not matter which transfers happened: failed and unknown ones move money between
accounts or do nothing.

With `snapshot=False` a read looks at one account after the other, and may find a transfer half done. Then only the
totals of quiet reads are judged, during which no transfer was under way. A transfer of unknown outcome is under way for
ever: its amount may be missing, or there twice, so what remains to be judged is whether such amounts explain the
difference. Debts are judged in every read, since each account has its balance at some moment. Where no total is given,
it is that of the first read that neither kind of transfer may have touched.

Where the balances at the opening are known, the last reads are compared with the transfers (`bank_books`): a transfer
that was acknowledged and never happened leaves every total as it was.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkers.bank_books import missing_money
from checkers.checker import Limits
from checkers.conclusion import conclude
from checkers.operations import Operations
from checkers.values import key_text, meant_keys, whole_number
from checkers.words import count, interval, listing, none_of
from results.history import History, Pair
from results.verdict import UNKNOWN, Anomaly, Verdict

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
    difference: float = 0
    """Of a wrong total, how much too much it is."""


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


_MOST_BITS: Final = 1 << 16
"""The widest range of differences that is looked at one by one."""


@dataclass
class BankChecker:
    """Judges reads of all `accounts`, which together hold `total` at all times.

    Without `accounts` they are those that most reads show; without a `total` it is that of the first read of all of
    them that is certain to show it. A text stands for the given account that JSON writes so, since it knows no other
    keys.
    """

    accounts: Iterable[Any] | None = None
    total: float | None = None
    allow_negative: bool = False
    snapshot: bool = True
    opening: Mapping[str, int] | None = None
    """What each account held before the first transfer, where that is known and reads are of the present."""
    name: str = field(default="bank", kw_only=True)

    def __post_init__(self) -> None:
        self._given = None if self.accounts is None else set(self.accounts)
        if self._given is not None and not self._given:
            raise ValueError("a bank without accounts cannot be checked: name at least one account")

    def check(self, history: History, limits: Limits) -> Verdict:
        tried = Operations.of(history, "read")
        reads = tried.where(tried.ok)
        answers = reads.answers()
        names = _usual_accounts(answers) if self._given is None else self._given
        if not len(reads) or not names:
            sentence = f"{none_of(len(tried), 'read', 'showed a balance')}; one that shows all would tell"
            return Verdict(UNKNOWN, self.name, sentence)
        judged = np.ones(len(reads), dtype=bool)
        explained: list[_Differences | None] = [_NO_DIFFERENCE] * len(reads)
        if not self.snapshot:
            judged, explained = _quiet(history, reads)
        total = self.total
        if total is None:
            total = _first_total(
                [
                    answer
                    for answer, quiet, excuse in zip(answers, judged.tolist(), explained, strict=True)
                    if quiet and excuse is not None and not excuse.most
                ],
                names,
            )
        kinds: dict[str, _Kind] = {}
        for place in self._suspicious(answers, names, total):
            excuse = explained[place]
            for kind, problem in self._problems(reads.pair(place), names, total):
                if kind == WRONG_TOTAL and not (
                    judged[place] and not (excuse and excuse.explain(problem.difference))
                ):
                    continue
                kinds.setdefault(kind, _Kind()).add(problem)
        details = {
            "reads": len(reads),
            "accounts": len(names),
            "total": total,
            "problems": {kind: found.number for kind, found in kinds.items()},
        }
        doubts = []
        if total is None:
            when = "" if self.snapshot else ", with no transfer under way or of unknown outcome"
            doubts.append(f"no read showed a balance of every account{when}, so their total is not known")
        if not self.snapshot:
            details["quiet_reads"] = int(judged.sum())
            if not judged.any():
                doubts.append(
                    "a transfer was under way during every read, so no total could be judged; a read after all of them "
                    "would tell"
                )
        sentence = f"all {count(len(reads), 'read')} saw {total} in {count(len(names), 'account')}"
        if not self.snapshot:
            sentence = (
                f"{count(int(judged.sum()), 'quiet read')} saw {total} in {count(len(names), 'account')}"
            )
        anomalies = [self._anomaly(kind, found, len(reads), total) for kind, found in kinds.items()]
        if self.opening is not None and self.snapshot:
            missing = missing_money(history, reads, self.opening)
            anomalies += [missing] if missing is not None else []
        return conclude(self.name, anomalies, doubts, sentence, details)

    def _suspicious(self, answers: Sequence[Any], names: set[Any], total: float | None) -> Sequence[int]:
        """The reads in which something may be wrong: all others have the right accounts, whole numbers, no forbidden
        debt and the right total. Most histories show nothing but these, and they are added up all at once."""
        whole: dict[tuple[Any, ...], bool] = {}
        found: list[int] = []
        plain: list[int] = []
        balances: list[Any] = []
        for place, answer in enumerate(answers):
            if type(answer) is dict:
                keys = tuple(answer)
                is_whole = whole.get(keys)
                if is_whole is None:
                    is_whole = whole[keys] = (
                        len(keys) == len(names) and _by_account(answer, names).keys() == names
                    )
                if is_whole:
                    plain.append(place)
                    balances.extend(answer.values())
                    continue
            found.append(place)
        if not _are_small(balances):
            return range(len(answers))
        table = np.array(balances, dtype=np.int64).reshape(len(plain), len(names))
        wrong = table.sum(axis=1) != total if total is not None else np.zeros(len(plain), dtype=bool)
        if not self.allow_negative:
            wrong |= (table < 0).any(axis=1)
        return sorted([*found, *(plain[place] for place in np.flatnonzero(wrong).tolist())])

    def _problems(self, pair: Pair, names: set[Any], total: float | None) -> Iterable[tuple[str, _Problem]]:
        """What is wrong with one read, by kind. A total is only added up where every account has a balance."""
        assert pair.completion is not None, f"the ok read of event {pair.index} has no completion"
        answer = pair.completion.value
        if not isinstance(answer, Mapping):
            text = f"saw {answer!r:.80} instead of balances"
            yield MISSING_ACCOUNT, _Problem(pair, len(names), text)
            return
        balances = _by_account(answer, names)
        whole = True
        if missing := sorted(names - balances.keys(), key=key_text):
            whole = False
            yield MISSING_ACCOUNT, _Problem(pair, len(missing), f"did not see {_accounts(missing)}")
        if unexpected := sorted(balances.keys() - names, key=key_text):
            whole = False
            yield (
                UNEXPECTED_ACCOUNT,
                _Problem(pair, len(unexpected), f"saw {_accounts(unexpected)}, never opened"),
            )
        nothing = [account for account in sorted(balances, key=key_text) if not _is_number(balances[account])]
        if nothing:
            whole = False
            shown = listing(f"{account}: {balances[account]!r:.40}" for account in nothing)
            yield NO_BALANCE, _Problem(pair, len(nothing), f"saw no number in {_accounts(nothing)} ({shown})")
        debts = {
            account: balance for account, balance in balances.items() if _is_number(balance) and balance < 0
        }
        if debts and not self.allow_negative:
            shown = listing(f"{account}: {debts[account]}" for account in sorted(debts, key=key_text))
            yield NEGATIVE_BALANCE, _Problem(pair, -sum(debts.values()), f"saw debts ({shown})")
        if whole and total is not None:
            found = _sum(balances.values())
            if found != total:
                text, difference = f"saw {found} instead of {total}", _sum([found, -total])
                yield WRONG_TOTAL, _Problem(pair, abs(difference), text, difference)

    def _anomaly(self, kind: str, found: _Kind, reads: int, total: float | None) -> Anomaly:
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
                "total": total,
                **{
                    name: {"index": problem.pair.index, "saw": problem.pair.value, "what": problem.text}
                    for name, problem in shown.items()
                },
            },
        )


def _usual_accounts(answers: Sequence[Any]) -> set[Any]:
    """The accounts that most reads show; of several equally usual sets the one seen first."""
    seen = Counter(tuple(answer) for answer in answers if isinstance(answer, Mapping))
    usual: tuple[Any, ...] = max(seen, key=seen.__getitem__, default=())
    return set(usual)


def _by_account(answer: Mapping[Any, Any], names: set[Any]) -> dict[Any, Any]:
    """The balances of an answer, by accounts."""
    if answer.keys() <= names:
        return dict(answer)
    meant = meant_keys(names, answer)
    return {meant.get(key, key): balance for key, balance in answer.items()}


def _first_total(answers: Sequence[Any], names: set[Any]) -> float | None:
    for answer in answers:
        if isinstance(answer, Mapping) and _by_account(answer, names).keys() == names:
            numbers = list(answer.values())
            if len(numbers) == len(names) and all(_is_number(number) for number in numbers):
                return _sum(numbers)
    return None


def _sum(numbers: Iterable[float]) -> float:
    """What numbers add up to as they are written: 0.1 and 0.2 to 0.3, which binary fractions do not."""
    numbers = list(numbers)
    if all(isinstance(number, int) or math.isinf(number) for number in numbers):
        return sum(numbers)
    exact = sum(Fraction(repr(number)) for number in numbers if not math.isinf(number))
    rest = sum(number for number in numbers if math.isinf(number))
    return rest or (int(exact) if exact.denominator == 1 else float(exact))


def _are_small(balances: Sequence[Any]) -> bool:
    """Whether all are whole numbers that can be added up in 64 bits."""
    if not set(map(type, balances)) <= {int}:
        return False
    return max(balances, default=0) < 1 << 40 and min(balances, default=0) > -(1 << 40)


@dataclass(frozen=True)
class _Differences:
    """By how much a total may be wrong while transfers are under way: each amount may be missing, or there twice."""

    most: int
    sums: int | None
    """The possible differences, a bit each, from `-most` on; None where they are too many, and all are taken for
    possible."""

    def explain(self, difference: float) -> bool:
        number = whole_number(difference)
        if number is None or abs(number) > self.most:
            return False
        return self.sums is None or bool(self.sums >> (number + self.most) & 1)

    def with_amount(self, amount: int) -> _Differences:
        most = self.most + amount
        if self.sums is None or most > _MOST_BITS:
            return _Differences(most, None)
        return _Differences(most, self.sums | self.sums << amount | self.sums << 2 * amount)


_NO_DIFFERENCE: Final = _Differences(0, 1)


def _quiet(history: History, reads: Operations) -> tuple[NDArray[np.bool_], list[_Differences | None]]:
    """Which reads no acknowledged transfer overlaps, and what transfers of unknown outcome may have done to each."""
    transfers = Operations.of(history, "transfer")
    done = transfers.where(transfers.ok)
    # Transfers that had begun by the end of a read, less those that had ended before it: the ones under way.
    begun = np.searchsorted(done.start, reads.end)
    over = np.searchsorted(np.sort(done.end), reads.start)
    judged = np.asarray(begun == over)
    crashed = transfers.where(transfers.unknown)
    known: list[_Differences | None] = [_NO_DIFFERENCE]
    for asked in crashed.asked():
        amount = whole_number(asked.get("amount")) if isinstance(asked, Mapping) else None
        before = known[-1]
        known.append(None if amount is None or before is None else before.with_amount(abs(amount)))
    under_way = np.searchsorted(crashed.start, reads.end).tolist()
    # A transfer of an unknown amount may have done anything.
    judged &= np.array([known[number] is not None for number in under_way], dtype=bool)
    return judged, [known[number] for number in under_way]


def _told(problem: _Problem) -> str:
    pair = problem.pair
    return f"the read by process {pair.process} ({interval(pair)}) {problem.text}"


def _accounts(names: list[Any]) -> str:
    return f"{'account' if len(names) == 1 else 'accounts'} {listing(names)}"


def _is_number(balance: Any) -> bool:
    return isinstance(balance, int | float) and not isinstance(balance, bool) and balance == balance
