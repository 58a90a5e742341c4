"""The transactions of a file as columns, straight from its bytes: a million of them without a million objects.

Only files that keep every rule are read this way. For all others `read_transactions` gives None, and the way over a
history (`results.interchange.formats`) finds out what is different: another order, completions without invocations,
functions that are no transactions, something torn or wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from results.collector import collector_paused
from results.interchange.columns_kernel import TransactionColumns
from results.interchange.events_kernel import Reader
from results.interchange.places import FormatError
from results.interchange.reading import notes_on
from results.transactions import WRITE, Transactions


@dataclass(frozen=True)
class TransactionsReading:
    """The transactions of a file, and what a reader should know about how they were read."""

    transactions: Transactions
    format: str
    events: int
    notes: list[str]


def read_transactions(text: bytes, format: str, *, of_registers: bool) -> TransactionsReading | None:
    """The transactions in a text of the named format; None if this way is not for it.

    `of_registers` says whether reads answer one value (which may be a list), or the list that a key holds.
    """
    columns = TransactionColumns(of_registers)
    timed = False
    has_real_time = True
    with collector_paused():
        match format:
            case "edn" | "json":
                reader = Reader(text, format == "json")
                try:
                    reader.transactions(columns)
                except FormatError:
                    return None
                timed = reader.timed > 0
            case "micro-operations":
                columns.micro_operations(text)
            case "sessions" if of_registers:
                columns.sessions(text)
                has_real_time = False
            case _:
                return None
    if columns.broken or not columns.transactions:
        return None
    transactions = Transactions(**columns.done(), has_real_time=has_real_time)
    if format == "micro-operations" and of_registers and not (transactions.kind == WRITE).any():
        return None  # Without a write the text does not say that its keys are registers.
    notes = notes_on(renamed=columns.renamed, timed=timed, has_real_time=has_real_time)
    return TransactionsReading(transactions, format, columns.events, notes)
