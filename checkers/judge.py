"""One call from a history to a verdict: finds the checker by the model's name, and says what cannot be judged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from checkers.checker import Limits, check_safely
from checkers.registry import (
    Entry,
    Options,
    QuestionError,
    get_entry,
    guess,
    make_checker,
    names,
)
from checkers.words import count
from results.history import History
from results.operation import INVOKE, OK, Operation
from results.transactions import Transactions
from results.verdict import UNKNOWN, VALID, Verdict

STRONGEST_WITHOUT_REAL_TIME: Final = "strong-session-serializable"
"""What transactions are judged by, if nothing is asked for, in a history that only knows sessions."""


@dataclass(frozen=True)
class Question:
    """What is asked about a history. Without a model, the one that the history must be about."""

    model: str | None = None
    options: Options = field(default_factory=Options)


def choose_model(history: History) -> str:
    """The only model that a history can be about. Raises QuestionError if there are several, or none."""
    candidates = guess(history)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise QuestionError(
            f"the history may be about several models ({', '.join(candidates)}); name one with --model"
        )
    raise QuestionError(
        f"no model is known by the functions of this history; name one with --model (models: {', '.join(names())})"
    )


def judge(history: History, question: Question, limits: Limits) -> Verdict:
    """The verdict on a history. Raises QuestionError for a question that cannot be asked of it.

    A history without operations of clients proves nothing: unknown. So does one without real time where the model
    needs it, and one in which nothing could have gone wrong: no operation that asks anything succeeded.
    """
    if not history.pairs():
        if question.model is not None:
            _require_numbered_clients(history, get_entry(question.model))
            make_checker(question.model, question.options, history)  # What is refused is refused here, too.
        sentence = "the history holds no operation of a client, so nothing was checked"
        return Verdict(UNKNOWN, question.model or "nothing", sentence)
    name = question.model or choose_model(history)
    entry = get_entry(name)
    _require_numbered_clients(history, entry)
    options = question.options
    if entry.is_transactional and options.isolation is None and not history.has_real_time:
        options = replace(options, isolation=STRONGEST_WITHOUT_REAL_TIME)
    checker = make_checker(name, options, history)
    if entry.needs_real_time and not history.has_real_time:
        sentence = (
            f"the file does not say which operations overlapped, so {name} cannot be judged; a history with "
            "invocations and completions, in the order in which they happened, would tell"
        )
        return Verdict(UNKNOWN, checker.name, sentence)
    verdict = check_safely(checker.name, checker, history, limits)
    if verdict.outcome == VALID and not _asks_anything(history, entry):
        assert entry.asking is not None, f"{name} says itself what shows nothing"
        operations = count(len(history.pairs()), "operation")
        sentence = (
            f"{verdict.sentence}; but among {operations} no {' or '.join(sorted(entry.asking))} succeeded, so nothing "
            "could have been seen to be wrong"
        )
        return msgspec.structs.replace(verdict, sentence=sentence)
    return verdict


def _require_numbered_clients(history: History, entry: Entry) -> None:
    """Raises QuestionError if an observer does what clients do: left out, it might hide what is wrong, or be missed
    where others saw what it wrote."""
    for event in history.operations:
        if (
            not isinstance(event.process, int)
            and event.type in (INVOKE, OK)
            and event.f in (entry.functions or ())
        ):
            raise QuestionError(
                f"event {event.index}: {event.process!r} does what clients do ({event.type} {event.f}), but a process "
                "with a name is an observer, such as the nemesis; clients have numbers"
            )


def _asks_anything(history: History, entry: Entry) -> bool:
    """Whether some operation succeeded whose answer, or success, could have been wrong."""
    return entry.asking is None or any(pair.type == OK and pair.f in entry.asking for pair in history.pairs())


@dataclass(frozen=True)
class _OfTransactions:
    """A checker whose transactions are given as columns."""

    name: str
    check_transactions: Callable[[Transactions, Limits], Verdict]
    transactions: Transactions

    def check(self, history: History, limits: Limits) -> Verdict:
        return self.check_transactions(self.transactions, limits)


def judge_transactions(transactions: Transactions, question: Question, limits: Limits) -> Verdict:
    """The verdict on transactions as columns, by a model for which `takes_columns` holds. Raises QuestionError."""
    assert question.model is not None, "columns do not tell of which model they are"
    nothing = History([])
    checker: Any = make_checker(question.model, question.options, nothing)
    columns = _OfTransactions(checker.name, checker.check_transactions, transactions)
    return check_safely(checker.name, columns, nothing, limits)


def check(
    history: History | Path | str | Iterable[Operation | Mapping[str, Any]],
    model: str | None = None,
    isolation: str | None = None,
    *,
    format: str | None = None,
    time_limit_s: float = 60.0,
    memory_limit_mb: int = 2048,
    jobs: int = 1,
    **options: Any,
) -> Verdict:
    """The verdict on a history.

    `history` is a `History`, the path of a file in any of the formats of `results.interchange.formats`, or the events:
    operations, or mappings with at least `process`, `type` and `f` (without `f`: a transaction).
    `model` is a name of `checkers.registry`; None guesses it from the functions, and raises if that is ambiguous.
    `isolation` is for transactions; None is strict serializability. Further options are the fields of
    `checkers.registry.Options`: `initial`, `keyed`, `allow_negative`, `total`, `linearizable`, `bound`,
    `eventual`, `no_snapshot`, `guarantees`.

    The limits are soft here: a checker looks at them as it works, and says unknown. (`harness check` also enforces
    them from outside.) Raises `results.history.HistoryError` if the events are no history, and
    `checkers.registry.QuestionError` for a question that cannot be asked.
    """
    wrong = sorted(set(options) - set(Options.__dataclass_fields__))
    if wrong:
        raise TypeError(
            f"check() has no option {wrong[0]!r}; options are {', '.join(Options.__dataclass_fields__)}"
        )
    question = Question(model, replace(Options(isolation=isolation), **options))
    return judge(_as_history(history, format), question, Limits(time_limit_s, memory_limit_mb, jobs))


def _as_history(
    given: History | Path | str | Iterable[Operation | Mapping[str, Any]], format: str | None
) -> History:
    if isinstance(given, History):
        return given
    if isinstance(given, str | os.PathLike):
        from results.interchange.formats import read_history

        return read_history(Path(given), format).history
    from results.interchange.structured import read_json

    events = list(given)
    if all(isinstance(event, Operation) for event in events):
        return History(events)  # type: ignore[arg-type]
    return read_json(msgspec.json.encode(events)).history
