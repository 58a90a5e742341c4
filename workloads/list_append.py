"""Transactions that append unique elements to lists and read whole lists: Elle's workload.

A list that was read tells the order of the writes before it, so the checker knows nearly everything that it needs to
find cycles of dependencies between transactions (Kingsbury and Alvaro, Elle, 2020, section 4). On a key-value
database a list is the value of a key; an append reads it and puts it back one longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from checkers.isolation.list_append import ListAppendChecker
from checkers.online.list_append import OnlineListAppend
from checkers.online.online_checker import OnlineChecker
from results.operation import Operation
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.on_transactions import transact_timed
from workloads.session import TRANSACTIONS, Session, Transaction
from workloads.transactions import (
    ISOLATIONS,
    READ,
    TRANSACTION_OPTIONS,
    final_transactions,
    read_only,
    shape_problems,
    transactions,
)
from workloads.workload import Workload, WorkloadOptions, demanded, read_options

APPEND = "append"


class ListAppend(Workload):
    """Transactions append unique elements to a few hot lists and read lists; the order in which they took effect must
    be one that the demanded isolation allows."""

    name = "list-append"
    needs = frozenset({TRANSACTIONS})
    read_only_functions: frozenset[str] = frozenset()
    required_functions = ("txn",)
    known_options = TRANSACTION_OPTIONS
    isolations = ISOLATIONS

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.isolation = demanded(self.name, "isolation", options.isolation, self.isolations)
        self.checker = ListAppendChecker(self.isolation)
        self.generator = main_phase(transactions(own, APPEND, options), options)
        self.final_generator = final_transactions(own, options)

    def online_checkers(self) -> Sequence[OnlineChecker]:
        return (OnlineListAppend(self.isolation),)

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        if invocation.f != "txn":
            raise ValueError(f"workload list-append has no function {invocation.f!r}: txn")

        async def work(transaction: Transaction) -> list[list[Any]]:
            done = await read_only(transaction, invocation.value, partial(spread_key, "list-append"))
            if done is not None:
                return done
            done = []
            append = getattr(transaction, "append", None)  # See `workloads.session.AppendsToLists`.
            for function, number, element in invocation.value:
                key = spread_key("list-append", number)
                if function == APPEND and append is not None:
                    await append(key, element)
                    done.append([function, number, element])
                    continue
                value = await transaction.get(key)
                if function == APPEND:
                    await transaction.put(key, [*(value or []), element])
                    done.append([function, number, element])
                else:
                    done.append([function, number, value])
            return done

        return await transact_timed(session, work)

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        found = shape_problems(invocation.value, value, (READ, APPEND))
        if not found:
            found = [
                f"list {key} is a list or null, not {read!r:.80}"
                for function, key, read in value
                if function == READ and read is not None and not isinstance(read, list)
            ]
        return found
