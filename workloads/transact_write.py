"""Writes of several keys at once that are sent again with a token, because an answer was lost or for no reason at all.

Each write appends its token to the lists of some keys in different ranges, all or nothing. Some are sent twice by the
same client, which did not wait for the first answer (`patience_ms`); some are sent again by another client, at the same
time or much later. A few require that a list exists, and are cancelled where it does not. The first writes of a group
often require that another list is still empty, one that they do not write: two of them that each ask for the other's
are the smallest write skew. Whoever reads sees by the tokens what took effect, and how often. Keys come in groups, each
left for a fresh one when it was written often enough.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import msgspec

from checkers.online.online_checker import OnlineChecker
from checkers.transact_write import TransactWriteChecker
from results.operation import Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.on_transactions import transact
from workloads.session import (
    TRANSACT_WRITE,
    TRANSACTIONS,
    Definite,
    Indefinite,
    SessionError,
    Transaction,
    WriteItem,
    read_many,
)
from workloads.workload import Option, Workload, WorkloadOptions, read_options

GROUP_SIZE = 4
RECENT = 20
"""How many writes back one is sent again by another client."""
EARLIER = 50
"""Of how many writes of the whole run one is, likewise."""
FIRST_OF_GROUP = 8
"""Writes of a group among which lists are likely to be empty."""


class Writes(Generator, frozen=True):
    """Writes and reads, without end."""

    random: random.Random
    own: dict[str, Any]
    next_token: int = 1
    recent: tuple[dict[str, Any], ...] = ()
    earlier: tuple[dict[str, Any], ...] = ()
    """A sample of all so far: `EARLIER`, each as likely as the next."""

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        stream = self.random
        group, place = divmod(self.next_token, int(self.own["writes_per_group"]))
        if stream.random() < self.own["read_share"]:
            return Invocation("read", keys_of(group), process, context.time), self
        if self.recent and stream.random() < self.own["duplicates"]:
            sent = stream.choice(self.recent if stream.random() < 0.5 else self.earlier)
            again = {**sent, "patience_ms": self._patience_ms()}
            return Invocation("write", again, process, context.time), self
        value: dict[str, Any] = {"token": self.next_token, "must_exist": None, "must_be_empty": None}
        if place < FIRST_OF_GROUP and stream.random() < 0.5:
            key, value["must_be_empty"] = stream.sample(keys_of(group), 2)
            value["keys"] = [key]
        else:
            value["keys"] = stream.sample(keys_of(group), stream.randint(1, GROUP_SIZE))
            if stream.random() < 0.1:
                value["must_exist"] = stream.choice(value["keys"])
        value["patience_ms"] = self._patience_ms()
        earlier = self.earlier
        if len(earlier) < EARLIER:
            earlier = (*earlier, value)
        elif (at := stream.randrange(self.next_token)) < EARLIER:
            earlier = (*earlier[:at], value, *earlier[at + 1 :])
        following = msgspec.structs.replace(
            self, next_token=self.next_token + 1, recent=(*self.recent, value)[-RECENT:], earlier=earlier
        )
        return Invocation("write", value, process, context.time), following

    def _patience_ms(self) -> float | None:
        """How long the first answer is waited for; None: until it comes."""
        if self.random.random() >= self.own["lost_replies"]:
            return None
        return round(self.random.uniform(0.0, 40.0), 1)

    @property
    def listens(self) -> bool:
        return False


class TransactWriteWorkload(Workload):
    """Processes append tokens to several lists at once, and send writes again as if answers had been lost; each token
    must take effect once, on all its lists."""

    name = "transact-write"
    needs = frozenset({TRANSACT_WRITE, TRANSACTIONS})
    read_only_functions = frozenset({"read"})
    required_functions = ("write", "read")
    known_options = {  # noqa: RUF012 - never changed
        "read_share": Option(0.3, 0.05, 0.95, "share of reads among all operations"),
        "duplicates": Option(0.2, 0.0, 0.9, "share of writes that were sent before, by anybody"),
        "lost_replies": Option(0.3, 0.0, 1.0, "share of writes whose first answer is not waited for"),
        "writes_per_group": Option(
            20, 1, 100_000, "writes of a group of keys before a fresh one takes its place"
        ),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.checker = TransactWriteChecker()
        self.generator = main_phase(Writes(options.stream(), own), options)
        writes = options.rate * options.time_limit_s * (1 - own["read_share"])
        groups = min(2 + int(writes / own["writes_per_group"]), 400)
        reads = [
            combine.until_ok(combine.repeat(combine.operation("read", keys_of(group))))
            for group in range(groups)
        ]
        self.final_generator = final_reads(reads, options, 0.01)

    def online_checkers(self) -> Sequence[OnlineChecker]:
        return ()

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        match invocation.f:
            case "read":
                return await self._read(session, invocation.value)
            case "write":
                await self._write(session, invocation.value)
                return invocation.value
        raise ValueError(f"workload transact-write has no function {invocation.f!r}: write, read")

    async def _read(self, session: Any, keys: list[str]) -> dict[str, Any]:
        async def work(transaction: Transaction) -> dict[str, Any]:
            return dict(zip(keys, await read_many(transaction, keys), strict=True))

        return await transact(session, work)

    async def _write(self, session: Any, value: dict[str, Any]) -> None:
        token = f"token-{value['token']}"
        items = [
            WriteItem(key, [value["token"]], must_exist=key == value.get("must_exist"))
            for key in value["keys"]
        ]
        if value.get("must_be_empty") is not None:
            items.append(WriteItem(value["must_be_empty"], [], must_not_exist=True))
        lost: SessionError | None = None
        is_done = False
        if value["patience_ms"] is not None:
            try:
                async with asyncio.timeout(value["patience_ms"] / 1000):
                    await session.transact_write(items, token)
                is_done = True  # It is sent again all the same.
            except TimeoutError:
                lost = Indefinite("reply-lost", "its first answer was not waited for")
            except Definite:
                pass  # It had no effect, so all is as before.
            except Indefinite as error:
                lost = error
        try:
            await session.transact_write(items, token)
        except SessionError as error:
            if is_done:
                return
            if lost is not None and isinstance(error, Definite):
                raise lost from error
            raise

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        if invocation.f == "read" and not isinstance(value, dict):
            return ["a read answers lists by key"]
        return []


def keys_of(group: int) -> list[str]:
    """The keys of a group, which spread over the keyspace."""
    return [spread_key("transact-write", GROUP_SIZE * group + number) for number in range(GROUP_SIZE)]
