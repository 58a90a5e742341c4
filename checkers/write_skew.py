"""Write skew: two transactions each check that the other's row is absent, and both insert theirs.

Operations: `insert` `[pair, side, id]` with side 0 or 1, a transaction that reads both sides of a pair and writes its
own only if neither is there; `read` of a pair, answered `[id or nil, id or nil]`. So at most one insert of a pair may
happen. Two on different sides are Adya's G2-item (Adya 1999, section 4.2): each missed what the other wrote, and each
comes before the other. Snapshot isolation allows that, serializability does not. Two on the same side are a lost
update: one overwrote what the other had written, though both found nothing there.

An insert of unknown outcome happened if a read shows its id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from checkers.checker import Limits
from checkers.conclusion import Findings, Misshapen, conclude
from checkers.operations import Operations
from checkers.values import Numbering
from checkers.words import count, interval, shown
from results.history import History, Pair
from results.operation import OK
from results.verdict import UNKNOWN, Verdict

WRITE_SKEW = "write skew (G2-item)"
LOST_UPDATE = "lost update"
NEVER_INSERTED = "id never inserted"
FAILED_INSERT = "id of a failed insert"
TOO_EARLY = "id before its insert"


@dataclass
class WriteSkewChecker:
    """Judges inserts into pairs of which at most one side may be filled."""

    allows_skew: bool = field(default=False, kw_only=True)
    """Snapshot isolation is demanded: write skews are counted, and are no anomalies."""
    name: str = field(default="write-skew", kw_only=True)

    def check(self, history: History, limits: Limits) -> Verdict:
        misshapen = Misshapen("[pair, side, id], or [id, id] of a read")
        inserts, reads = Operations.of(history, "insert"), Operations.of(history, "read")
        pairs, rows = Numbering(), Numbering()
        good = []
        asked = inserts.asked()
        for place, value in enumerate(asked):
            fits = isinstance(value, list | tuple) and len(value) == 3 and value[1] in (0, 1)
            good.append(fits and not isinstance(value[1], bool))
            if not good[-1]:
                misshapen.note(inserts.pair(place), writes=True)
        mask = np.array(good, dtype=bool)
        inserts = inserts.where(mask)
        asked = [value for value, fits in zip(asked, good, strict=True) if fits]
        of_pair = pairs.number([value[0] for value in asked])
        row = rows.number([(value[0], value[1], value[2]) for value in asked])
        happened = inserts.ok.copy()
        by_row: dict[int, list[int]] = {}
        for place, number in enumerate(row.tolist()):
            by_row.setdefault(number, []).append(place)
        witnesses: dict[int, Pair] = {}
        found = Findings()
        shown_reads = reads.where(reads.ok)
        for place, (pair, answer) in enumerate(zip(shown_reads.asked(), shown_reads.answers(), strict=True)):
            if not isinstance(answer, list | tuple) or len(answer) != 2:
                misshapen.note(shown_reads.pair(place))
                continue
            seen = [(pair, side, answer[side]) for side in (0, 1) if answer[side] is not None]
            for number, (_, side, id_) in zip(rows.find(seen).tolist(), seen, strict=True):
                possible = [one for one in by_row.get(number, ()) if not inserts.failed[one]]
                if history.has_real_time:
                    later = [one for one in possible if inserts.start[one] > shown_reads.end[place]]
                    possible = [one for one in possible if one not in later]
                    if later and not possible:
                        if not misshapen.may_have_written:
                            read, insert = shown_reads.pair(place), inserts.pair(later[0])
                            text = (
                                f"process {read.process} read {shown(id_)} on side {side} of pair {shown(pair)} "
                                f"({interval(read)}) before process {insert.process} began to insert it "
                                f"({interval(insert)})"
                            )
                            found.note(TOO_EARLY, text, [read, insert])
                        continue
                if len(possible) == 1 and not happened[possible[0]]:
                    happened[possible[0]] = True
                    witnesses[possible[0]] = shown_reads.pair(place)
                elif not possible and not misshapen.may_have_written:
                    read = shown_reads.pair(place)
                    failed = [inserts.pair(one) for one in by_row.get(number, ())][:1]
                    why = "whose insert had failed" if failed else "which nobody inserted"
                    text = (
                        f"process {read.process} read {shown(id_)} on side {side} of pair {shown(pair)} "
                        f"({interval(read)}), {why}"
                    )
                    found.note(FAILED_INSERT if failed else NEVER_INSERTED, text, [read, *failed])
        places = np.flatnonzero(happened)
        crowded = np.flatnonzero(np.bincount(of_pair[places], minlength=len(pairs)) > 1)
        order = places[np.argsort(of_pair[places], kind="stable")]
        first_of = np.searchsorted(of_pair[order], crowded)
        allowed = 0
        for number, first in zip(crowded.tolist(), first_of.tolist(), strict=True):
            members = [one for one in order[first : first + 8].tolist() if of_pair[one] == number]
            one = members[0]
            other = next((place for place in members if asked[place][1] != asked[one][1]), members[1])
            if self.allows_skew:  # Of three two are on one side, and only one of these is allowed.
                one, other = next(
                    (two for two in combinations(members, 2) if asked[two[0]][1] == asked[two[1]][1]),
                    (one, other),
                )
            kind = WRITE_SKEW if asked[one][1] != asked[other][1] else LOST_UPDATE
            if kind == WRITE_SKEW and self.allows_skew:
                allowed += 1
                continue
            found.note(kind, *_tell(pairs.values[number], inserts, one, other, witnesses))
        anomalies = found.anomalies(
            {
                WRITE_SKEW: "write skews (G2-item)",
                LOST_UPDATE: "lost updates",
                NEVER_INSERTED: "ids never inserted",
                FAILED_INSERT: "ids of failed inserts",
                TOO_EARLY: "ids before their inserts",
            }
        )
        attempts = np.bincount(of_pair, minlength=len(pairs)) if len(of_pair) else np.zeros(0, np.int64)
        contested = int((attempts > 1).sum())
        details: dict[str, Any] = {
            "pairs": len(pairs),
            "contested_pairs": contested,
            "inserts_that_happened": int(happened.sum()),
        }
        if self.allows_skew:
            details["write_skews"] = allowed
        doubts = misshapen.doubts()
        if not contested and not anomalies:
            why = "; ".join(doubts) or f"no pair of {len(pairs)} was inserted into twice"
            sentence = f"{why}: nothing could collide; two inserts into one pair would tell"
            return Verdict(UNKNOWN, self.name, sentence, details=details)
        if not happened.any() and not anomalies:
            doubts.append("no insert is known to have happened")
        valid = f"of {count(contested, 'contested pair')} none was filled by two transactions"
        if allowed:
            valid = (
                f"of {count(contested, 'contested pair')} none lost an update; {allowed} were filled on both sides, "
                "which snapshot isolation allows"
            )
        return conclude(self.name, anomalies, doubts, valid, details)


def _tell(
    pair: Any, inserts: Operations, one: int, other: int, witnesses: dict[int, Pair]
) -> tuple[str, list[Pair]]:
    first, second = inserts.pair(one), inserts.pair(other)
    shown_by = [witnesses[place] for place in (one, other) if place in witnesses]

    def did(insert: Pair) -> str:
        _, side, id_ = insert.invocation.value
        known = "" if insert.type == OK else ", of unknown outcome, but its id was read"
        return (
            f"process {insert.process} inserted {shown(id_)} on side {side} ({interval(insert)}{known}), having found "
            "both sides empty"
        )

    text = f"pair {shown(pair)}: {did(first)}; {did(second)}. Neither saw the other, so each came first"
    return text, [first, second, *shown_by]
