"""From anomalies to a verdict: what the demanded model proscribes, what it allows, and what was not decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from checkers.isolation.cycles import Undecided
from checkers.isolation.lattice import (
    DECIDED,
    IMPLIED_ANOMALIES,
    boundary,
    implied_anomalies,
    is_about_real_time,
    proscribed,
    ruled_out,
)
from checkers.words import count, listing
from results.history import TYPE_CODES
from results.transactions import READ, SCAN, Transactions
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

ALLOWED: Final = 5
"""Anomalies of each type that the model allows and that are told nevertheless."""


@dataclass
class Observations:
    """What was found in a history."""

    counts: dict[str, int] = field(default_factory=dict)
    """How many anomalies there are of each type."""
    told: dict[str, list[Callable[[], Anomaly]]] = field(default_factory=dict)
    """Those that can be told, by type; telling costs time, so it is done only for what is shown."""
    recorded: Transactions | None = None
    """Those that were recorded, where scans were taken out of what is judged: one that found nothing left no trace."""
    undecided: list[Undecided] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    """Why the history cannot be called valid, even if nothing in it is wrong."""
    is_proved: bool = False
    """Whether it was proved that the history is as demanded, by other means than that nothing is wrong with it."""
    is_refuted: bool = False
    """Whether it was proved that it is not, by whatever anomalies were found."""
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, tell: Callable[[], Anomaly]) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
        self.told.setdefault(name, []).append(tell)


def emptiness(transactions: Transactions) -> str | None:
    """Why a history says nothing, if it does: nothing was committed, or nothing read."""
    ok = transactions.outcome == TYPE_CODES["ok"]
    if len(transactions) == 0:
        return "there are no transactions"
    if not ok.any():
        return f"none of {count(len(transactions), 'transaction')} is known to have committed"
    if not (transactions.known & ((transactions.kind == READ) | (transactions.kind == SCAN))).any():
        return (
            "no committed transaction read anything, so nothing was observed; a read of each key would tell"
        )
    return None


def verdict_on(name: str, isolation: str, transactions: Transactions, found: Observations) -> Verdict:
    """The verdict on a history that shows these anomalies, when `isolation` was demanded."""
    seen = set(found.counts)
    known = seen & IMPLIED_ANOMALIES.keys()
    wrong = seen & proscribed(isolation)
    by_sessions = found.is_refuted and not wrong and not transactions.has_real_time
    if found.is_refuted and not wrong:
        wrong = seen
    borders = boundary(known, [isolation] if found.is_refuted else [], timed=transactions.has_real_time)
    left_open = _models_left_open(found.undecided, known)
    details: dict[str, Any] = {
        "isolation": isolation,
        "transactions": len(transactions),
        "committed": int((transactions.outcome == TYPE_CODES["ok"]).sum()),
        "anomaly_types": dict(sorted(found.counts.items())),
        "not": borders.weakest_ruled_out,
        "also-not": borders.also_ruled_out,
        "strongest": borders.strongest_left,
        **found.details,
    }
    if found.undecided:
        details["undecided"] = [
            {"component": one.component, "transactions": one.size, "cycles": one.name}
            for one in found.undecided
        ]
    allowed = sorted(seen - wrong)
    if allowed:
        details["allowed"] = [
            {"type": anomaly.type, "sentence": anomaly.sentence, "evidence": anomaly.evidence}
            for anomaly in _tell(found, allowed, ALLOWED)
        ]
    if wrong:
        anomalies = list(_tell(found, _worst_first(wrong), None))
        types = listing(f"{found.counts[one]} {one}" for one in _worst_first(wrong))
        holds = (
            f"what these do not rule out is {listing(borders.strongest_left, 3)}"
            if borders.strongest_left
            else "no weaker level holds either"
        )
        if by_sessions:
            holds = f"sessions count at every level, as the history records no times; {holds}"
        sentence = f"not {isolation}: {types}; {holds}. {anomalies[0].sentence if anomalies else ''}".strip()
        return Verdict(INVALID, name, sentence, anomalies, details)
    doubts = list(found.doubts)
    if isolation in left_open:
        sizes = listing(f"{one.size} transactions ({one.name or 'any cycle'})" for one in found.undecided)
        doubts.append(
            f"{count(len(found.undecided), 'component')} could not be searched to the end: {sizes}; allow more time"
        )
    recorded = transactions if found.recorded is None else found.recorded
    if (empty := emptiness(recorded)) is not None:
        doubts.insert(0, empty)
    if isolation not in DECIDED and not found.is_proved:
        doubts.append(
            f"nothing speaks against it, but not all that {isolation} proscribes can be seen in such a history "
            f"(levels that can be decided: {', '.join(sorted(DECIDED))})"
        )
    if not transactions.has_real_time and is_about_real_time(isolation):
        doubts.append(
            f"{isolation} is about real time, and the history does not record when transactions ran; "
            "strong-session-serializable is the strongest that can be asked of it"
        )
    if doubts:
        return Verdict(UNKNOWN, name, f"{isolation} could not be decided: {'; '.join(doubts)}", [], details)
    also = (
        f"; allowed at this level: {listing(f'{found.counts[one]} {one}' for one in allowed)}"
        if allowed
        else ""
    )
    return Verdict(
        VALID,
        name,
        f"{isolation}: no anomaly among {count(len(transactions), 'transaction')}{also}",
        [],
        details,
    )


def _models_left_open(undecided: Sequence[Undecided], seen: Iterable[str]) -> frozenset[str]:
    """Models that an anomaly which was not decided might rule out."""
    names: set[str] = set()
    for one in undecided:
        names |= {"G0", "G-single-item"} if one.name is None else {one.name}
    return ruled_out(names - implied_anomalies(seen)) if names else frozenset()


def _worst_first(names: Iterable[str]) -> list[str]:
    """Those first that rule out most models."""
    return sorted(names, key=lambda one: (-len(ruled_out([one] if one in IMPLIED_ANOMALIES else [])), one))


def _tell(found: Observations, names: Sequence[str], most: int | None) -> Iterable[Anomaly]:
    for one in names:
        for tell in found.told.get(one, ())[:most]:
            yield tell()
