"""Histories as texts in the formats of other tools, for trying files and not only columns.

EDN as Jepsen writes it, JSON lines as the harness does, one JSON list as elle-cli reads it, and for transactions on
registers the texts of AWDIT (`w 1 2`, sessions between `=====`, transactions between `-----`) and of IsoVista
(`w(key,value,session,transaction)`). The last two know sessions but no times, only what committed, and no absent
registers: there an initial transaction writes 0 to all keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import numpy as np

from checkers.synthetic.histories import MILLISECOND_NS
from checkers.synthetic.stores import Synthetic
from results.history import History
from results.operation import TYPES, Operation, encode_lines
from results.transactions import KINDS, NIL, READ, SCAN

INITIAL: Final = 0


def edn(history: History) -> str:
    """A map an event and line; functions, and the names of micro-operations, are keywords."""
    return "".join(f"{_edn_event(operation)}\n" for operation in history.operations)


def json_lines(history: History) -> str:
    """As `history.jsonl` in a run folder."""
    return encode_lines(list(history.operations)).decode()


def json_list(history: History) -> str:
    """One list of events."""
    return "[" + ",\n".join(json_lines(history).rstrip("\n").split("\n")) + "]\n"


def awdit(synthetic: Synthetic) -> str:
    """The text of AWDIT; the first session is the initial transaction."""
    sessions: dict[int, list[str]] = {}
    for _, process, steps in _committed(synthetic):
        sessions.setdefault(process, []).append(
            "".join(f"{kind} {key} {value}\n" for kind, key, value in steps)
        )
    initial = "".join(f"w {key} {INITIAL}\n" for key in synthetic.transactions.keys)
    return "=====\n".join([initial, *("-----\n".join(session) for session in sessions.values())])


def isovista(synthetic: Synthetic) -> str:
    """The text of IsoVista; session and transaction 0 are the initial ones."""
    lines = [f"w({key},{INITIAL},0,0)\n" for key in synthetic.transactions.keys]
    sessions: dict[int, int] = {}
    for number, process, steps in _committed(synthetic):
        session = sessions.setdefault(process, len(sessions) + 1)
        lines += [f"{kind}({key},{value},{session},{number + 1})\n" for kind, key, value in steps]
    return "".join(lines)


def transaction_lines(synthetic: Synthetic, format_: str) -> Iterator[str]:
    """What `edn` and `json_lines` make of the history of transactions, an event a line, without holding all events
    in memory: a million transactions take some hundred megabytes so, and gigabytes as operations."""
    columns = synthetic.transactions
    edn_ = format_ == "edn"
    spelling: Callable[[Any], str] = _edn if edn_ else lambda one: msgspec.json.encode(one).decode()
    nothing, between = ("nil", " ") if edn_ else ("null", ",")
    spelt = list(map(spelling, columns.keys))
    texts = list(map(spelling, columns.values))
    names = [f":{name} " if edn_ else f'"{name}",' for name in KINDS]
    first, bounds = columns.first.tolist(), columns.element_first.tolist()
    kinds, keys, written = columns.kind.tolist(), columns.key.tolist(), columns.value.tolist()
    seen, processes, outcomes = columns.elements.tolist(), columns.process.tolist(), columns.outcome.tolist()

    def step(m: int, answered: bool) -> str:
        if kinds[m] == SCAN:
            _, bounds_, answer = columns.spelt_one(m)
            return f"[{names[SCAN]}{spelling(bounds_)}{between}{spelling(answer if answered else None)}]"
        if kinds[m] != READ:
            last = nothing if written[m] == NIL else texts[written[m]]
        elif not answered:
            last = nothing
        elif columns.of_registers:
            last = texts[seen[bounds[m]]] if bounds[m] < bounds[m + 1] else nothing
        else:
            last = f"[{between.join([texts[value] for value in seen[bounds[m] : bounds[m + 1]]])}]"
        return f"[{names[kinds[m]]}{spelt[keys[m]]}{between}{last}]"

    completed = np.flatnonzero(synthetic.completed >= 0)
    who = np.concatenate([np.arange(len(columns)), completed])
    order = np.argsort(np.concatenate([columns.start, synthetic.completed[completed]]))
    for index, place in enumerate(order.tolist()):
        t = int(who[place])
        outcome = outcomes[t] if place >= len(columns) else 0
        steps = between.join([step(m, outcome == 1) for m in range(first[t], first[t + 1])])
        time = index * MILLISECOND_NS
        if edn_:
            yield (
                f"{{:index {index}, :time {time}, :type :{TYPES[outcome]}, :process {processes[t]}, :f :txn, "
                f":value [{steps}]}}\n"
            )
        else:
            yield (
                f'{{"index":{index},"time":{time},"process":{processes[t]},"type":"{TYPES[outcome]}","f":"txn",'
                f'"value":[{steps}]}}\n'
            )


OF_HISTORIES: Final[dict[str, Callable[[History], str]]] = {
    "edn": edn,
    "jsonl": json_lines,
    "json": json_list,
}
"""The formats of any history."""
OF_REGISTERS: Final[dict[str, Callable[[Synthetic], str]]] = {"awdit": awdit, "isovista": isovista}
"""The formats of transactions on registers."""


def _edn_event(operation: Operation) -> str:
    value = _edn(operation.value, operation.f == "txn")
    return (
        f"{{:index {operation.index}, :time {operation.time}, :type :{operation.type}, "
        f":process {operation.process}, :f :{operation.f}, :value {value}}}"
    )


def _edn(value: Any, of_transaction: bool = False) -> str:
    match value:
        case None:
            return "nil"
        case True | False:
            return "true" if value else "false"
        case str():
            return msgspec.json.encode(value).decode()
        case list() if of_transaction:
            steps = (f"[:{step[0]} {' '.join(_edn(part) for part in step[1:])}]" for step in value)
            return f"[{' '.join(steps)}]"
        case list():
            return f"[{' '.join(map(_edn, value))}]"
        case dict():
            return f"{{{', '.join(f'{_edn(key)} {_edn(of_key)}' for key, of_key in value.items())}}}"
    return str(value)


def _committed(synthetic: Synthetic) -> Iterator[tuple[int, int, list[tuple[str, Any, Any]]]]:
    """Number, process and micro-operations of transactions that are ok, or crashed and were seen to have happened."""
    columns = synthetic.transactions
    if not columns.of_registers:
        raise ValueError("only transactions on registers can be written so; ask for kind rw-register")
    if (columns.kind == SCAN).any():
        raise ValueError("this format has no scans; ask for edn, json or jsonl")
    bounds = columns.element_first.tolist()
    kinds, numbers = columns.kind.tolist(), columns.key.tolist()
    written, seen = columns.value.tolist(), columns.elements.tolist()
    observed = {
        (numbers[m], seen[bounds[m]])
        for m in range(len(kinds))
        if kinds[m] == READ and bounds[m] < bounds[m + 1]
    }
    first = columns.first.tolist()
    for t, (outcome, process) in enumerate(
        zip(columns.outcome.tolist(), columns.process.tolist(), strict=True)
    ):
        steps: list[tuple[str, Any, Any]] = []
        happened = outcome == 1
        for m in range(first[t], first[t + 1]):
            key = columns.keys[numbers[m]]
            if kinds[m] != READ:
                happened |= outcome != 2 and (numbers[m], written[m]) in observed
                steps.append(("w", key, columns.values[written[m]]))
            elif outcome == 1:
                absent = bounds[m] == bounds[m + 1]
                steps.append(("r", key, INITIAL if absent else columns.values[seen[bounds[m]]]))
        if happened:
            yield t, process, steps
