"""From what a checker found to its verdict: an anomaly makes it invalid, a doubt unknown, nothing of both valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkers.words import count, listing, shown
from results.history import Pair
from results.operation import FAIL, OK
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

EXAMPLES = 20
"""Of anomalies of one kind, those whose events are listed."""


@dataclass
class Misshapen:
    """Operations whose values have not the shape that the checker knows. They are left out of its judgement, so what
    it finds in the others is still wrong; but it cannot call the history valid. Nor can it say that nobody wrote a
    value, where one of them may have."""

    shape: str
    """What it should look like."""
    examples: list[str] = field(default_factory=list)
    number: int = 0
    may_have_written: bool = False

    def note(self, pair: Pair, *, writes: bool = False) -> None:
        self.number += 1
        self.may_have_written = self.may_have_written or (writes and pair.type != FAIL)
        if len(self.examples) < 3:
            self.examples.append(
                f"event {pair.indices[-1]}, {pair.f}: {shown(pair.completion.value)}"
                if pair.completion is not None and pair.type == OK
                else f"event {pair.index}, {pair.f}: {shown(pair.invocation.value)}"
            )

    def doubts(self) -> list[str]:
        if not self.number:
            return []
        values = count(self.number, "value is", "values are")
        examples = "; ".join(self.examples)
        return [
            f"{values} not {self.shape}, and could not be judged ({examples}); what has that shape would be"
        ]


class Findings:
    """What is wrong, by kind: all of it counted, the first `EXAMPLES` of each kind told. A history in which a million
    things are wrong does not keep a million sentences."""

    def __init__(self) -> None:
        self._told: dict[str, list[tuple[str, Sequence[Pair]]]] = {}
        self._number: dict[str, int] = {}

    def note(self, kind: str, sentence: str, pairs: Sequence[Pair]) -> None:
        """One more of a kind, and the operations that show it."""
        self._number[kind] = self._number.get(kind, 0) + 1
        told = self._told.setdefault(kind, [])
        if len(told) < EXAMPLES:
            told.append((sentence, pairs))

    def __bool__(self) -> bool:
        return bool(self._told)

    def anomalies(self, plurals: Mapping[str, str]) -> list[Anomaly]:
        """One for each kind, in the order of the plurals, which name all kinds."""
        assert self._told.keys() <= plurals.keys(), (
            f"kinds without a plural: {self._told.keys() - plurals.keys()}"
        )
        return [
            anomaly(kind, self._told[kind], self._number[kind], plural=plural)
            for kind, plural in plurals.items()
            if kind in self._told
        ]


def conclude(
    name: str,
    anomalies: Sequence[Anomaly],
    doubts: Sequence[str],
    valid: str,
    details: Mapping[str, Any],
) -> Verdict:
    """The verdict: invalid with the anomalies' sentences; else unknown with the doubts; else valid, as `valid` says."""
    known = dict(details)
    if anomalies:
        sentence = "; ".join(anomaly.sentence for anomaly in anomalies)
        if doubts:
            known["not_judged"] = list(doubts)
        return Verdict(INVALID, name, sentence, list(anomalies), known)
    if doubts:
        return Verdict(UNKNOWN, name, "; ".join(doubts), details=known)
    return Verdict(VALID, name, valid, details=known)


def anomaly(
    kind: str,
    told: Sequence[tuple[str, Sequence[Pair]]],
    number: int | None = None,
    *,
    plural: str | None = None,
    key: Any = None,
    **evidence: Any,
) -> Anomaly:
    """One anomaly of all findings of a kind: the first is told in a sentence, the events of the first `EXAMPLES` are
    listed, and evidence has how many there are. `told` has the sentence and the operations of each, the most
    telling first; `number` is how many there are if not all are told."""
    number = len(told) if number is None else number
    assert told, f"an anomaly of kind {kind} without a finding"
    many = f"{count(number, kind, plural)}: " if number > 1 else f"{kind}: "
    operations = sorted({index for _, pairs in told[:EXAMPLES] for pair in pairs for index in pair.indices})
    examples = [sentence for sentence, _ in told[:EXAMPLES]]
    return Anomaly(
        kind, many + told[0][0], operations, key, {"count": number, "examples": examples, **evidence}
    )


def values_listed(values: Sequence[Any], most: int = 8) -> str:
    """Values in a sentence, each cut to a readable length."""
    return listing((shown(value) for value in values), most)
