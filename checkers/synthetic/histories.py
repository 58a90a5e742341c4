"""Columns of transactions as the events of a history."""

from __future__ import annotations

from typing import Any

import numpy as np

from checkers.synthetic.stores import Synthetic
from results.history import History
from results.operation import FAIL, INFO, INVOKE, OK, Operation
from results.transactions import KINDS, NIL, READ, SCAN, Transactions

MILLISECOND_NS = 1_000_000


def history_of(synthetic: Synthetic) -> History:
    """The history of `txn` operations, an event a millisecond. Ok completions have the reads filled, others repeat
    what was asked."""
    transactions = synthetic.transactions
    asked, answered = micro_operations(transactions)
    times = transactions.committed_at
    operations: list[Operation | None] = [None] * synthetic.events
    first = transactions.first.tolist()
    columns = (transactions.process, transactions.start, synthetic.completed, transactions.outcome)
    for number, (process, start, completed, outcome) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        mine = slice(first[number], first[number + 1])
        invoked = asked[mine]
        operations[start] = Operation(start, start * MILLISECOND_NS, process, INVOKE, "txn", invoked)
        if completed >= 0:
            value = answered[mine] if outcome == 1 else invoked
            type_ = (INVOKE, OK, FAIL, INFO)[outcome]
            operations[completed] = Operation(
                completed,
                completed * MILLISECOND_NS,
                process,
                type_,
                "txn",
                value,
                committed_at=None if times is None or times[number] < 0 else int(times[number]),
            )
    return History([operation for operation in operations if operation is not None])


def micro_operations(transactions: Transactions) -> tuple[list[list[Any]], list[list[Any]]]:
    """Every micro-operation twice: as it was asked for, and with what is known of its answer."""
    keys, values = transactions.keys, transactions.values
    elements = transactions.elements.tolist()
    bounds = transactions.element_first.tolist()
    asked: list[list[Any]] = []
    answered: list[list[Any]] = []
    columns = (transactions.kind, transactions.key, transactions.value, transactions.known)
    for place, (kind, key, value, known) in enumerate(
        zip(*(np.asarray(column).tolist() for column in columns), strict=True)
    ):
        if kind == SCAN:
            answered.append(transactions.spelt_one(place))
            asked.append([*answered[-1][:2], None])
            continue
        if kind != READ:
            step = [KINDS[kind], keys[key], None if value == NIL else values[value]]
            asked.append(step)
            answered.append(step)
            continue
        step = [KINDS[kind], keys[key], None]
        asked.append(step)
        if not known:
            answered.append(step)
            continue
        seen: Any = [values[number] for number in elements[bounds[place] : bounds[place + 1]]]
        if transactions.of_registers:
            seen = seen[0] if seen else None
        answered.append([KINDS[kind], keys[key], seen])
    return asked, answered
