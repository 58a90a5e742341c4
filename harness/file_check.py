"""Judges one history file, in a process of its own: reads it, checks it, writes the report, and tells as it goes.

What it tells are `Told` messages: what was read, notes, the verdict with its evidence as lines of the history, and what
went wrong. The parent prints them, or puts them into JSON (`harness/cli/checking.py`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from checkers.checker import Limits
from checkers.judge import (
    STRONGEST_WITHOUT_REAL_TIME,
    Question,
    choose_model,
    judge,
    judge_transactions,
)
from checkers.registry import REGISTRY, QuestionError
from harness.confined import held_mb
from results import verdict as verdicts
from results.history import History, HistoryError
from results.interchange.formats import detect, read_text
from results.interchange.source import read_bytes
from results.interchange.straight import read_transactions
from results.operation import INVOKE, TYPES, Operation
from results.transactions import Transactions
from results.verdict import UNKNOWN, Verdict

READ: Final = "read"
MODEL: Final = "model"
VERDICT: Final = "verdict"
REPORT: Final = "report"
WRONG_USAGE: Final = "wrong usage"
FAILED: Final = "failed"

EXPLAINED: Final = 5
"""Anomalies whose events are shown."""
LINES: Final = 12
"""Events of an anomaly that are shown."""
CUT: Final = 200
"""Characters of a value that are shown."""
LEAST_MB: Final = 16
FOR_THE_CHECKER: Final = 0.9
"""The share of the memory left after reading that the checker may count on."""


class Told(msgspec.Struct, frozen=True):
    """One message."""

    kind: str
    text: str = ""
    format: str = ""
    events: int = 0
    operations: int = 0
    notes: list[str] = []
    model: str = ""
    guessed: bool = False
    verdict: Verdict | None = None
    evidence: list[list[str]] = []
    """For each of the first anomalies its events, as lines."""


@dataclass(frozen=True)
class Task:
    """A file, and what is asked about it."""

    path: Path
    question: Question
    format: str | None
    limits: Limits
    report: Path | None
    command: str
    """The command that repeats this, for the report."""


def encode(told: Told) -> bytes:
    """The message; what JSON cannot carry in a verdict is made plain."""
    if told.verdict is not None:
        plain = verdicts.decode(verdicts.encode(told.verdict))
        told = msgspec.structs.replace(told, verdict=plain)
    return msgspec.json.encode(told)


def decode(message: bytes) -> Told:
    return msgspec.json.decode(message, type=Told)


def check_file(send: Callable[[bytes], None], task: Task) -> None:
    """Judges the file; everything that may go wrong is told, nothing is raised."""
    try:
        _check(lambda told: send(encode(told)), task)
    except QuestionError as error:
        send(encode(Told(WRONG_USAGE, str(error))))
    except HistoryError as error:
        send(encode(Told(FAILED, str(error))))
    except MemoryError:
        sentence = (
            f"the memory allowed ({task.limits.memory_mb} MB) ran out; allow more with --check-memory-limit"
        )
        send(encode(Told(VERDICT, verdict=Verdict(UNKNOWN, task.question.model or "check", sentence))))
    except RecursionError:
        send(encode(Told(FAILED, f"{task.path}: values are nested too deeply to be looked at")))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent tells it, and goes on with other files.
        text = f"{task.path}: an unexpected {type(error).__name__} in the harness ({error}); please report it"
        send(encode(Told(FAILED, text)))


def _check(tell: Callable[[Told], None], task: Task) -> None:
    started = time.monotonic()
    text = read_bytes(task.path)
    if task.report is None and _check_columns(tell, task, text, started):
        return
    reading = read_text(text, task.format, where=str(task.path))
    del text
    history = reading.history
    notes = [*reading.notes, *([history.torn] if history.torn else [])]
    operations = len(history.pairs())
    tell(Told(READ, format=reading.format, events=len(history), operations=operations, notes=notes))
    question = task.question
    if question.model is None and operations:
        question = replace(question, model=choose_model(history))
    tell(Told(MODEL, model=question.model or "", guessed=question.model != task.question.model))
    limits = _left(task.limits, started)
    if limits is None:
        tell(Told(VERDICT, verdict=_read_too_long(task, question.model)))
        return
    verdict = judge(history, question, limits)
    tell(Told(VERDICT, verdict=verdict, evidence=evidence_lines(history, verdict)))
    if task.report is not None:
        _write_report(tell, task, history, verdict, notes)


def _left(limits: Limits, started: float) -> Limits | None:
    """What the checker may cost, once the file is read; None if no time is left."""
    left_s = limits.time_s - (time.monotonic() - started)
    if left_s <= 0:
        return None
    left_mb = int((limits.memory_mb - held_mb(os.getpid())) * FOR_THE_CHECKER)
    return replace(limits, time_s=left_s, memory_mb=max(LEAST_MB, left_mb))


def _read_too_long(task: Task, model: str | None) -> Verdict:
    sentence = (
        f"reading alone took the time allowed ({task.limits.time_s:g} s); allow more with --check-time-limit"
    )
    return Verdict(UNKNOWN, model or "check", sentence)


def _check_columns(tell: Callable[[Told], None], task: Task, text: bytes, started: float) -> bool:
    """Judges transactions straight from the bytes, if that way is for them; False, and nothing is told, if not.

    It needs an eighth of the memory of a history.
    """
    format_ = task.format or detect(text)
    model = task.question.model or _model_by_words(text)
    if format_ is None or model not in REGISTRY:  # Plug-ins take no columns.
        return False
    reads_registers = REGISTRY[model].reads_registers
    if reads_registers is None:
        return False
    reading = read_transactions(text, format_, of_registers=reads_registers)
    if reading is None:
        return False
    transactions = reading.transactions
    tell(Told(READ, format=format_, events=reading.events, operations=len(transactions), notes=reading.notes))
    tell(Told(MODEL, model=model, guessed=task.question.model is None))
    limits = _left(task.limits, started)
    if limits is None:
        tell(Told(VERDICT, verdict=_read_too_long(task, model)))
        return True
    options = task.question.options
    if options.isolation is None and not transactions.has_real_time:
        options = replace(options, isolation=STRONGEST_WITHOUT_REAL_TIME)
    verdict = judge_transactions(transactions, Question(model, options), limits)
    tell(Told(VERDICT, verdict=verdict, evidence=transaction_lines(transactions, verdict)))
    return True


def _model_by_words(text: bytes) -> str:
    """The model that the first micro-operations of a file belong to; empty if there are none."""
    beginning = text[:65536]
    if re.search(rb'\[\s*(?::append\b|"append")', beginning):
        return "list-append"
    if re.match(rb"\s*(?:invoke|ok|fail|info)[ \t]+\d", beginning):
        return "list-append" if re.search(rb"\sa\s", beginning) else "rw-register"
    if re.match(rb"\s*[rw][ \t]", beginning):
        return "rw-register"
    return "rw-register" if re.search(rb'\[\s*(?::w\s|"w")', beginning) else ""


def _write_report(
    tell: Callable[[Told], None], task: Task, history: History, verdict: Verdict, notes: list[str]
) -> None:
    from results.report.writer import write_file_report

    assert task.report is not None, "a report was asked for"
    try:
        write_file_report(task.report, history, verdict, task.path, task.command, notes)
    except OSError as error:
        tell(Told(FAILED, f"cannot write the report {task.report}: {error.strerror}"))
    else:
        tell(Told(REPORT, str(task.report)))


def evidence_lines(history: History, verdict: Verdict) -> list[list[str]]:
    """The events of the first anomalies, each as a line."""
    lines = []
    for number, (_, anomaly) in enumerate(verdict.every_anomaly()):
        if number == EXPLAINED:
            break
        events = [index for index in anomaly.operations if 0 <= index < len(history)]
        shown = [event_line(history.operations[index]) for index in events[:LINES]]
        if len(events) > LINES:
            shown.append(f"... and {len(events) - LINES} more events")
        lines.append(shown)
    return lines


def transaction_lines(transactions: Transactions, verdict: Verdict) -> list[list[str]]:
    """The same of transactions as columns."""
    lines = []
    for number, (_, anomaly) in enumerate(verdict.every_anomaly()):
        if number == EXPLAINED:
            break
        shown = [event_line(event) for event in _events_of(transactions, anomaly.operations[:LINES])]
        if len(anomaly.operations) > LINES:
            shown.append(f"... and {len(anomaly.operations) - LINES} more events")
        lines.append(shown)
    return lines


def _events_of(transactions: Transactions, indexes: list[int]) -> Iterator[Operation]:
    """The events at these indexes, as far as they are of transactions."""
    import numpy as np

    completed = np.flatnonzero(np.isin(transactions.end, indexes))
    by_end = dict(zip(transactions.end[completed].tolist(), completed.tolist(), strict=True))
    for index in indexes:
        t = int(np.searchsorted(transactions.start, index))
        is_invocation = t < len(transactions) and int(transactions.start[t]) == index
        if not is_invocation and index not in by_end:
            continue
        t = t if is_invocation else by_end[index]
        value = transactions.spelt(t)
        if is_invocation:
            value = [[name, key, None if name == "r" else given] for name, key, given in value]
        type_ = INVOKE if is_invocation else TYPES[int(transactions.outcome[t])]
        yield Operation(index, 0, int(transactions.process[t]), type_, "txn", value)


def event_line(event: Operation) -> str:
    """An event for people: its index, process, type, function and value; harmless on a terminal."""
    text = f"{event.index:>7}  process {event.process!s:<4} {event.type:<6} {event.f} {_short(event.value)}"
    if event.error is not None:
        text += f"  ({_short(event.error)})"
    return printable(text.rstrip())


def _short(value: Any) -> str:
    if value is None:
        return ""
    try:
        text = msgspec.json.encode(value, enc_hook=repr).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        text = repr(value)
    return text if len(text) <= CUT else f"{text[: CUT - 3]}..."


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor, or cannot be written at all."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
