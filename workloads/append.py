"""A map of texts with get, put and append, each key linearizable: the key-value store of Porcupine's examples.

Texts are unique, and an append leaves what was there, so one get tells of many writes and of their order. On a
key-value database an append is a transaction that gets the text and puts it back longer. A key is left for a fresh
one before its history grows too long to be searched.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from checkers.linearizability.checker import LinearizabilityChecker
from checkers.linearizability.models import AppendMap
from results.operation import INFO, Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.on_transactions import transact
from workloads.rotating_keys import RotatingKeys
from workloads.session import KEY_VALUE, TRANSACTIONS, Transaction
from workloads.workload import Option, Workload, WorkloadOptions, read_options

MOST_FINAL_KEYS = 400
FINAL_READS_PER_S = 200.0


class Texts(Generator, frozen=True):
    """Gets, puts and appends on a few hot keys, without end."""

    random: random.Random
    keys: RotatingKeys
    next_text: int
    get_share: float
    put_share: float
    """Among the operations that are no gets."""

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        stream, keys = self.random, self.keys
        position = keys.choose(stream)
        key = keys.keys[position]
        if stream.random() < self.get_share:
            return Invocation("get", [key, None], process, context.time), self
        f = "put" if stream.random() < self.put_share else "append"
        following = msgspec.structs.replace(self, keys=keys.changed(position), next_text=self.next_text + 1)
        return Invocation(f, [key, f"{self.next_text} "], process, context.time), following

    def update(self, context: Context, event: Operation) -> Generator:
        if event.type != INFO or not isinstance(event.process, int):
            return self
        return msgspec.structs.replace(self, keys=self.keys.crashed(event.value[0]))


class Append(Workload):
    """Processes get, put and append to the texts of a few hot keys; every key must be linearizable on its own."""

    name = "append"
    needs = frozenset({KEY_VALUE, TRANSACTIONS})
    read_only_functions = frozenset({"get"})
    required_functions = ("get", "put", "append")
    known_options = {  # noqa: RUF012 - never changed
        "keys": Option(3, 1, 1000, "how many keys are hot at a time"),
        "changes_per_key": Option(
            100, 1, 100_000, "puts and appends of a key before a fresh one takes its place"
        ),
        "crashes_per_key": Option(
            4, 1, 100_000, "unknown outcomes on a key before a fresh one takes its place"
        ),
        "get_share": Option(0.4, 0.0, 0.95, "share of gets among all operations"),
        "put_share": Option(0.1, 0.0, 1.0, "share of puts among the others"),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.checker = LinearizabilityChecker(AppendMap(), split_by_key=True, name="linearizability")
        keys = RotatingKeys.of(int(own["keys"]), int(own["changes_per_key"]), int(own["crashes_per_key"]))
        texts = Texts(options.stream(), keys, 1, float(own["get_share"]), float(own["put_share"]))
        self.generator = main_phase(texts, options)
        changes = options.rate * options.time_limit_s * (1 - own["get_share"])
        count = min(4 * int(own["keys"]) + int(changes / own["changes_per_key"]), MOST_FINAL_KEYS)
        gets = [
            combine.until_ok(combine.repeat(combine.operation("get", [key, None]))) for key in range(count)
        ]
        self.final_generator = final_reads(gets, options, 1 / FINAL_READS_PER_S)

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        number, text = invocation.value
        key = spread_key("append", number)
        match invocation.f:
            case "get":
                return [number, await session.get(key)]
            case "put":
                await session.put(key, text)
                return invocation.value
            case "append":

                async def work(transaction: Transaction) -> None:
                    await transaction.put(key, (await transaction.get(key) or "") + text)

                await transact(session, work)
                return invocation.value
        raise ValueError(f"workload append has no function {invocation.f!r}: get, put, append")

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) != 2 or value[0] != invocation.value[0]:
            return [
                f"a {invocation.f} answers [key, text] with the key that was asked, {invocation.value[0]!r}"
            ]
        if value[1] is not None and not isinstance(value[1], str):
            return [f"a {invocation.f} answers a text or null, not {value[1]!r:.80}"]
        return []
