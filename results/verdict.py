"""Valid, invalid or unknown, with evidence; merging (invalid beats unknown beats valid).

A checker that could not finish says unknown and why; unknown is never rounded up to valid. An anomaly names
the events that prove it, so that anybody can look them up in the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

VALID: Final = "valid"
INVALID: Final = "invalid"
UNKNOWN: Final = "unknown"

_WEIGHT: Final = {VALID: 0, UNKNOWN: 1, INVALID: 2}
_EXIT_CODES: Final = {VALID: 0, INVALID: 1, UNKNOWN: 3}


class Anomaly(msgspec.Struct, frozen=True):
    """One thing that is wrong, at its smallest, and in words."""

    type: str
    """The kind, in the field's words: stale read, lost write, wrong total."""
    sentence: str
    operations: list[int]
    """Indexes of the events that prove it."""
    key: Any = None
    evidence: dict[str, Any] = {}
    """Whatever else a reader may want: the values, the times, a minimal history."""


class Verdict(msgspec.Struct, frozen=True):
    """A judgement, and those that it was made of."""

    outcome: str
    checker: str
    sentence: str
    anomalies: list[Anomaly] = []
    details: dict[str, Any] = {}
    parts: list[Verdict] = []

    def __post_init__(self) -> None:
        if self.outcome not in _WEIGHT:
            raise ValueError(f"{self.outcome!r} is no verdict (verdicts: {', '.join(_WEIGHT)})")

    def every_anomaly(self) -> Iterator[tuple[str, Anomaly]]:
        """The anomalies of this verdict and of all its parts, each with the name of its checker."""
        for anomaly in self.anomalies:
            yield self.checker, anomaly
        for part in self.parts:
            yield from part.every_anomaly()


def merge(checker: str, parts: Iterable[Verdict]) -> Verdict:
    """The verdict of several together: the worst of theirs, and the sentence names who decided it.

    The anomalies stay with the parts (see `Verdict.every_anomaly`). Of no parts nothing is known.
    """
    parts = list(parts)
    if not parts:
        return Verdict(UNKNOWN, checker, "nothing was checked")
    outcome = max((part.outcome for part in parts), key=_WEIGHT.__getitem__)
    if outcome == VALID:
        names = ", ".join(part.checker for part in parts)
        sentence = parts[0].sentence if len(parts) == 1 else f"all {len(parts)} parts hold: {names}"
    else:
        sentence = "; ".join(f"{part.checker}: {part.sentence}" for part in parts if part.outcome == outcome)
    return Verdict(outcome, checker, sentence, parts=parts)


def exit_code(verdict: Verdict) -> int:
    """0 for valid, 1 for invalid, 3 for unknown."""
    return _EXIT_CODES[verdict.outcome]


def encode(verdict: Verdict) -> bytes:
    """The verdict as indented JSON. What JSON cannot carry inside details or evidence is written as text."""
    return (
        msgspec.json.format(msgspec.json.encode(_plain(msgspec.to_builtins(verdict, enc_hook=repr)))) + b"\n"
    )


def decode(data: bytes) -> Verdict:
    return msgspec.json.decode(data, type=Verdict)


def _plain(data: Any) -> Any:
    """Makes every mapping's keys text, as JSON wants them, and whole numbers of more than 64 bits too.

    Where two keys would be the same text, as 1 and "1", all keys of the mapping are spelt with their quotes.
    """
    if isinstance(data, int) and not -(1 << 63) <= data < 1 << 64:
        return str(data)
    if isinstance(data, dict):
        texts = [key if isinstance(key, str) else str(key) for key in data]
        if len(set(texts)) < len(texts):
            texts = [repr(key) for key in data]
        return dict(zip(texts, map(_plain, data.values()), strict=True))
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return data
