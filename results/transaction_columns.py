"""Makes the columns of transactions: from a history, or transaction by transaction for readers of files.

Values are numbered exactly: two get one number only if they are equal as JSON values. So `1`, `"1"`, `true` and `[1]`
are four values, while `1` and `1.0`, which JSON does not distinguish, are one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.history import TYPE_CODES, History, HistoryError
from results.operation import FAIL, INFO, INVOKE, OK, Operation
from results.transaction_kernel import lay_out, measure
from results.transactions import APPEND, FOREVER, READ, SCAN, WRITE, Transactions

TRANSACTION: Final = "txn"
"""The function whose operations are transactions."""

CODES: Final = {"r": READ, "read": READ, "append": APPEND, "w": WRITE, "write": WRITE, "scan": SCAN}
"""The names of micro-operations that are understood."""


def canonical(value: Any) -> Any:
    """Something hashable that is equal for equal JSON values only."""
    kind = type(value)
    if kind is int or kind is str:
        return value
    if kind is float:
        if value.is_integer():
            return int(value)
        return ("float", "nan") if math.isnan(value) else ("float", value)
    if isinstance(value, list | tuple):
        return ("list", *map(canonical, value))
    if isinstance(value, dict):
        return ("dict", frozenset((canonical(key), canonical(of_key)) for key, of_key in value.items()))
    return (kind.__name__, value if isinstance(value, bool) or value is None else repr(value))


class TransactionsBuilder:
    """Collects transactions in the order of their invocations.

    `of_registers` says whether reads answer one value, which may be a list; without it, a history with writes is
    taken to be of registers, one with appends or neither to be of lists.
    """

    def __init__(self, *, of_registers: bool | None = None, has_real_time: bool = True) -> None:
        self._of_registers = of_registers
        self._has_real_time = has_real_time
        self._process: list[int] = []
        self._start: list[int] = []
        self._end: list[int] = []
        self._outcome: list[int] = []
        self._values: list[Any] = []
        self._committed_at: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._start)

    def invoke(self, process: int, index: int, micro_operations: Sequence[Any]) -> int:
        """Takes a transaction that was invoked by event `index`, and gives it its number."""
        self._process.append(process)
        self._start.append(index)
        self._end.append(FOREVER)
        self._outcome.append(TYPE_CODES[INFO])
        self._values.append(micro_operations)
        return len(self._start) - 1

    def complete(
        self,
        transaction: int,
        index: int,
        outcome: str,
        micro_operations: Sequence[Any] | None = None,
        committed_at: int | None = None,
    ) -> None:
        """Takes how a transaction ended, by event `index`: `ok` with its reads filled, `fail`, or `info`; and when
        the database committed it, if that is a number of 62 bits.

        Raises HistoryError for an answer about something else than was asked: nobody knows what became of that.
        """
        self._outcome[transaction] = TYPE_CODES[outcome]
        if outcome in (OK, FAIL):
            self._end[transaction] = index
        if outcome == OK and micro_operations is not None:
            if not _is_about(self._values[transaction], micro_operations):
                raise HistoryError(
                    f"event {index} holds no transaction: {micro_operations!r:.80} does not answer "
                    f"{self._values[transaction]!r:.80}, which event {self._start[transaction]} asked; an answer has "
                    "the same micro-operations, with what was read"
                )
            self._values[transaction] = micro_operations
        if committed_at is not None and 0 <= committed_at < 1 << 62:
            self._committed_at[transaction] = committed_at

    def done(self) -> Transactions:
        """The columns. Raises HistoryError, with the event, for what is no transaction."""
        count = len(self._start)
        ok = TYPE_CODES[OK]
        known = [outcome == ok for outcome in self._outcome]
        try:
            micro_operations, elements_count = measure(
                self._values, known, CODES, self._of_registers is False
            )
        except ValueError as error:
            transaction, reason = error.args
            raise HistoryError(f"event {self._start[transaction]} holds no transaction: {reason}") from error
        of_registers = self._of_registers
        if of_registers is None:
            of_registers = any(CODES[step[0]] == WRITE for value in self._values for step in value)
        if of_registers:
            elements_count += micro_operations  # A value that is a list, even an empty one, is one element.
        first = np.empty(count + 1, np.int64)
        kind = np.empty(micro_operations, np.int8)
        key = np.empty(micro_operations, np.int32)
        value = np.empty(micro_operations, np.int32)
        is_known = np.empty(micro_operations, np.int8)
        element_first = np.empty(micro_operations + 1, np.int64)
        elements = np.empty(elements_count, np.int32)
        keys: list[Any] = []
        values: list[Any] = []
        ranges: list[tuple[Any, Any]] = []
        lay_out(
            self._values,
            known,
            CODES,
            of_registers,
            canonical,
            {},
            keys,
            {},
            values,
            {},
            ranges,
            first,
            kind,
            key,
            value,
            is_known,
            element_first,
            elements,
        )
        committed_at = None
        if self._committed_at:
            committed_at = np.full(count, -1, np.int64)
            committed_at[list(self._committed_at)] = list(self._committed_at.values())
        return Transactions(
            process=_processes(self._process),
            start=np.array(self._start, np.int64),
            end=np.array(self._end, np.int64),
            outcome=np.array(self._outcome, np.int8),
            first=first,
            kind=kind,
            key=key,
            value=value,
            known=is_known.astype(np.bool_),
            element_first=element_first,
            elements=elements[: int(element_first[-1])],
            keys=keys,
            values=values,
            committed_at=committed_at,
            of_registers=of_registers,
            ranges=ranges,
            has_real_time=self._has_real_time,
        )


def _is_about(asked: Any, answered: Any) -> bool:
    """Whether an answer has the micro-operations that were asked for, but for what was read. Others than are understood
    are refused with the rest, later."""
    if not isinstance(asked, list | tuple) or not isinstance(answered, list | tuple):
        return True
    if len(asked) != len(answered):
        return False
    for one, other in zip(asked, answered, strict=True):
        try:
            (f, key, value), (of_f, of_key, of_value) = one, other
            kind = CODES[f]
            if kind != CODES[of_f]:
                return False
        except (TypeError, ValueError, KeyError):
            continue
        if key is not of_key and canonical(key) != canonical(of_key):
            return False
        if kind not in (READ, SCAN) and value is not of_value and canonical(value) != canonical(of_value):
            return False
    return True


def _processes(numbers: list[int]) -> NDArray[Any]:
    """The column of processes: Python's own numbers where one needs more than 32 bits, as some tools' threads do."""
    try:
        return np.array(numbers, np.int32)
    except OverflowError:
        return np.array(numbers, object)


def transactions_of(
    history: History, *, functions: Collection[str] = (TRANSACTION,), of_registers: bool | None = None
) -> Transactions:
    """The transactions of a history: the operations of client processes whose function is one of `functions`.

    Operations `read` and `write` with a value `[key, x]` may be asked for too; each is a transaction of one
    micro-operation. Raises HistoryError for values that are no transactions.
    """
    builder = TransactionsBuilder(of_registers=of_registers, has_real_time=history.has_real_time)
    open_: dict[int | str, int] = {}
    for operation in history.operations:
        if operation.f not in functions or not isinstance(operation.process, int):
            continue
        if operation.type == INVOKE:
            open_[operation.process] = builder.invoke(
                operation.process, operation.index, _micro_operations(operation)
            )
        else:
            answer = None if operation.value is None else _micro_operations(operation)
            transaction = open_.pop(operation.process)
            builder.complete(transaction, operation.index, operation.type, answer, operation.committed_at)
    return builder.done()


def _micro_operations(operation: Operation) -> Any:
    if operation.f == TRANSACTION:
        return operation.value
    if not isinstance(operation.value, list | tuple) or len(operation.value) != 2:
        raise HistoryError(
            f"event {operation.index} holds no transaction: the value of {operation.f!r} must be "
            f"[key, value], not {operation.value!r:.80}"
        )
    return [[operation.f, *operation.value]]
