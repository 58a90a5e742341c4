"""How many operations of each function ended how; a function that never succeeded proves nothing.

A history in which, say, no read ever came back is easily consistent. So each required function must have succeeded at
least once in the main phase, else the verdict is unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from checkers.checker import Limits
from checkers.words import count, listing
from results.history import History
from results.operation import FAIL, INFO, MAIN_PHASE, OK
from results.verdict import UNKNOWN, VALID, Verdict


@dataclass
class StatsChecker:
    """Counts; never invalid."""

    required_functions: Iterable[str] = ()
    name: str = field(default="stats", kw_only=True)

    def __post_init__(self) -> None:
        self.required_functions = tuple(dict.fromkeys(self.required_functions))

    def check(self, history: History, limits: Limits) -> Verdict:
        counts: dict[str, dict[str, Counter[str]]] = {}
        errors: dict[str, Counter[str]] = {}
        for pair in history.pairs():
            counts.setdefault(pair.phase, {}).setdefault(pair.f, Counter())[pair.type] += 1
            if pair.type != OK:
                error = None if pair.completion is None else pair.completion.error
                errors.setdefault(pair.f, Counter())[error_kind(error)] += 1
        main = counts.get(MAIN_PHASE, {})
        details: dict[str, Any] = {
            "phases": {
                phase: {f: _row(counter) for f, counter in sorted(functions.items())}
                for phase, functions in counts.items()
            },
            "errors": {f: dict(counter.most_common()) for f, counter in sorted(errors.items())},
        }
        never = [f for f in self.required_functions if not main.get(f, Counter())[OK]]
        if never:
            tried = "; ".join(
                f"{f}: {sum(main.get(f, Counter()).values())} tried{_main_error(errors.get(f))}"
                for f in never
            )
            sentence = (
                f"{listing(never)} never succeeded in the main phase ({tried}), so nothing is proved about it"
            )
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        whole = sum((sum(main.values(), Counter()) for main in [main]), Counter[str]())
        sentence = f"{count(whole.total(), 'operation')} in the main phase: " + ", ".join(
            f"{whole[type_]} {type_}" for type_ in (OK, FAIL, INFO)
        )
        return Verdict(VALID, self.name, sentence, details=details)


def error_kind(error: Any) -> str:
    """The kind of an error as an operation carries it: `[kind, text]`, a text, or nothing."""
    if error is None:
        return "no reason given"
    if isinstance(error, list | tuple) and error:
        return str(error[0])
    return str(error)


def _row(counter: Counter[str]) -> dict[str, int]:
    return {"count": counter.total(), OK: counter[OK], FAIL: counter[FAIL], INFO: counter[INFO]}


def _main_error(errors: Counter[str] | None) -> str:
    return f", mostly {errors.most_common(1)[0][0]}" if errors else ""
