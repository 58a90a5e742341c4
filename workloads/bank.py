"""Transfers between accounts in different ranges, and reads of all accounts: the total never changes.

Each transfer is a transaction that reads two accounts and writes them; it is refused (fail) where the source has too
little. Each read is a transaction over all accounts. The accounts divide the keyspace evenly, so that with as many
ranges as accounts every transfer crosses ranges. Balances are small against the amounts, so that accounts run empty
now and then, and a transfer that overlooks it makes a debt. With `reads=bounded` each read is a snapshot that may be
`bound_ms` old, of whatever replicas: it shows the same total, only earlier.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from checkers.bank import BankChecker
from checkers.online.bank import OnlineBank
from checkers.online.online_checker import OnlineChecker
from results.operation import Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import Context, Generator, Invocation, generator
from workloads.keys import evenly_spread_key
from workloads.main_phase import main_phase
from workloads.session import CHOSEN_READS, TRANSACTIONS, Definite, Indefinite, Session, read_many
from workloads.workload import Option, Workload, WorkloadOptions, read_options


class Bank(Workload):
    """Processes transfer money between accounts in different ranges and read all accounts at once; every read must
    see the same total, all accounts, and no debt."""

    name = "bank"
    needs = frozenset({TRANSACTIONS})
    read_only_functions = frozenset({"read"})
    required_functions = ("transfer", "read")
    known_options = {  # noqa: RUF012 - never changed
        "accounts": Option(8, 2, 1000, "how many accounts there are"),
        "total": Option(100, 1, 1_000_000_000, "the money in all accounts together"),
        "max_transfer": Option(5, 1, 1_000_000_000, "the largest amount of a transfer"),
        "read_share": Option(0.5, 0.05, 0.95, "share of reads among all operations"),
        "reads": Option(
            "transactions",
            0,
            0,
            "how all is read: transactions, or bounded snapshots",
            ("transactions", "bounded"),
        ),
        "bound_ms": Option(1000, 1, 600_000, "milliseconds that a bounded snapshot may lag behind"),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.total = int(own["total"])
        self.bound_ms = int(own["bound_ms"])
        self.reads_bounded = own["reads"] == "bounded"
        if self.reads_bounded:
            self.needs = self.needs | {CHOSEN_READS}
        count = int(own["accounts"])
        self.keys = {f"a{number}": evenly_spread_key("bank", number, count) for number in range(count)}
        """The key of each account."""
        share, rest = divmod(self.total, count)
        self.opening = {account: share + (number < rest) for number, account in enumerate(self.keys)}
        """What each account holds when it is opened."""
        self.checker = BankChecker(
            list(self.keys), self.total, opening=None if self.reads_bounded else self.opening
        )
        read_share = float(own["read_share"])
        mixed = combine.mix(
            combine.repeat(combine.operation("read")),
            transfers(list(self.keys), int(own["max_transfer"]), options.stream()),
            random=options.stream(),
            weights=(read_share, 1 - read_share),
        )
        self.generator = main_phase(mixed, options)
        self.final_generator = final_reads(
            combine.until_ok(combine.repeat(combine.operation("read"))), options
        )

    def online_checkers(self) -> Sequence[OnlineChecker]:
        return (OnlineBank(self.keys, self.total),)

    async def setup(self, session: Session) -> None:
        """Opens the accounts in one transaction, unless they are there. So it may be repeated: an attempt that did
        succeed is recognised, and one that is still under way conflicts with the next and never overwrites it."""
        async with _transaction(session) as transaction:
            present = {account: await transaction.get(key) for account, key in self.keys.items()}
            missing = [account for account, balance in present.items() if balance is None]
            if not missing:
                held = sum(present.values())
                if held != self.total:
                    raise Definite(
                        "set-up",
                        f"the accounts of a fresh database hold {held} instead of {self.total}: {present}",
                    )
                return
            if len(missing) < len(present):
                raise Definite("set-up", f"of the accounts of a fresh database only some exist: {present}")
            for account, key in self.keys.items():
                await transaction.put(key, self.opening[account])

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        match invocation.f:
            case "read":
                return await self._read(session)
            case "transfer":
                value = invocation.value
                await self._transfer(session, value["from"], value["to"], value["amount"])
                return value
        raise ValueError(f"workload bank has no function {invocation.f!r}: read, transfer")

    async def _read(self, session: Any) -> dict[str, Any]:
        if self.reads_bounded:
            found = await session.get_many_as(list(self.keys.values()), "bounded", self.bound_ms)
            if all(balance is None for balance in found):
                raise Definite("no-accounts", "the snapshot is older than the accounts")
            pairs = zip(self.keys, found, strict=True)
            return {account: balance for account, balance in pairs if balance is not None}
        async with _transaction(session) as transaction:
            try:
                found = await read_many(transaction, list(self.keys.values()))
            except Indefinite as error:
                raise _not_committed(error) from error
        pairs = zip(self.keys, found, strict=True)
        return {account: balance for account, balance in pairs if balance is not None}

    async def _transfer(self, session: Session, source: str, target: str, amount: int) -> None:
        async with _transaction(session) as transaction:
            try:
                balances = await read_many(transaction, [self.keys[source], self.keys[target]])
                held, other = (
                    self._checked(account, balance)
                    for account, balance in zip((source, target), balances, strict=True)
                )
                if held < amount:
                    raise Definite("insufficient-funds", f"{source} holds {held}, less than {amount}")
                await transaction.put(self.keys[source], held - amount)
                await transaction.put(self.keys[target], other + amount)
            except Indefinite as error:
                raise _not_committed(error) from error

    @staticmethod
    def _checked(account: str, balance: Any) -> int:
        if balance is None:
            raise Definite("no-account", f"{account} does not exist")
        return int(balance)

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        """Only shapes that no checker can judge; what balances say is the checker's business."""
        if not isinstance(value, dict):
            return [f"a {invocation.f} answers a mapping"]
        return []


def transfers(accounts: list[str], max_amount: int, stream: random.Random) -> Generator:
    """Transfers of 1 .. max_amount between two different accounts, without end."""

    def transfer(context: Context) -> Invocation:
        source, target = stream.sample(accounts, 2)
        return Invocation("transfer", {"from": source, "to": target, "amount": stream.randint(1, max_amount)})

    return generator(transfer)


def _transaction(session: Session) -> Any:
    """A transaction of a session that offers them, which was checked before the run began."""
    return session.transaction()  # type: ignore[attr-defined]


def _not_committed(error: Indefinite) -> Definite:
    """Inside its block a transaction has not been committed, and leaving it by an exception never commits it."""
    return Definite(error.kind, error.text)
