"""Transactions that read and write registers with unique values.

A write replaces what was there, so reads tell less than lists do: who wrote what was read, but not in which order
values followed each other. It is what plain key-value databases offer, and writes need no read before them, so that
blind writes are tried as well.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from checkers.isolation.rw_register import RwRegisterChecker
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

WRITE = "w"


class RwRegister(Workload):
    """Transactions read and write a few hot registers, every value once; the order in which they took effect must be
    one that the demanded isolation allows."""

    name = "rw-register"
    needs = frozenset({TRANSACTIONS})
    read_only_functions: frozenset[str] = frozenset()
    required_functions = ("txn",)
    known_options = TRANSACTION_OPTIONS
    isolations = ISOLATIONS

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        isolation = demanded(self.name, "isolation", options.isolation, self.isolations)
        self.checker = RwRegisterChecker(isolation, initial=None)
        self.generator = main_phase(transactions(own, WRITE, options), options)
        self.final_generator = final_transactions(own, options)

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        if invocation.f != "txn":
            raise ValueError(f"workload rw-register has no function {invocation.f!r}: txn")

        async def work(transaction: Transaction) -> list[list[Any]]:
            done = await read_only(transaction, invocation.value, partial(spread_key, "rw-register"))
            if done is not None:
                return done
            done = []
            for function, number, value in invocation.value:
                key = spread_key("rw-register", number)
                if function == WRITE:
                    await transaction.put(key, value)
                    done.append([function, number, value])
                else:
                    done.append([function, number, await transaction.get(key)])
            return done

        return await transact_timed(session, work)

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        return shape_problems(invocation.value, value, (READ, WRITE))
