"""What each kind of anomaly between transactions means, in a sentence for people who do not know its name.

The names are those of the literature (Adya, Berenson, Bailis, Elle; `checkers/isolation/lattice.py`). Kinds that no
name of the literature tells, such as a stale read, are explained by the sentence of the anomaly itself.
"""

from __future__ import annotations

MEANINGS = {
    "G0": "A cycle of writes: each transaction overwrote another one, in a circle, so none can have come first.",
    "G1": "A transaction saw what no committed state of the database ever held.",
    "G1a": "Aborted read: a transaction saw what another one had written that was rolled back.",
    "G1b": "Intermediate read: a transaction saw what another one had written and itself replaced before it committed.",
    "G1c": "Circular flow of information: each transaction saw or overwrote what another one wrote, in a circle.",
    "G2": "A cycle in which a transaction did not see what another one wrote, though it has to come after it.",
    "G2-item": "A cycle in which several transactions did not see what the next one wrote: they have no order.",
    "G-single": "Read skew: a transaction saw one effect of another one and missed another effect of it.",
    "G-single-item": (
        "Read skew: a transaction did not see what another one wrote, though something else that it saw or did has to "
        "come after it."
    ),
    "G-nonadjacent": (
        "A cycle in which transactions missed each other's writes, but never two in a row: no snapshots explain it."
    ),
    "G-nonadjacent-item": (
        "A cycle in which transactions missed each other's writes, but never two in a row: no snapshots explain it."
    ),
    "G-cursor": "Between reading an object and writing it, a transaction let another one write it.",
    "G-monotonic": "A transaction saw the database go back in time from one of its reads to the next.",
    "G-MSR": "The reads of a transaction do not come from one growing snapshot.",
    "G-SI": "Two transactions were under way at once, and one of them depends on the other.",
    "G-SIb": "A transaction missed a write of one on which it depends: its snapshot is not of one moment.",
    "G-update": "The transactions that write have no order in which each sees what came before it.",
    "cyclic-versions": "The versions of an object have no order: by what was read, each came before the others.",
    "dirty-update": "A committed value is built on one that was rolled back.",
    "duplicate-elements": "One element stands in a list twice, though it was appended once.",
    "fractured-read": "A transaction saw a part of what another one wrote, and not the rest of it.",
    "causality-violation": "A transaction saw an effect without its cause.",
    "future-read": "A transaction saw what it only wrote later itself.",
    "garbage-read": "A value was read that nobody wrote.",
    "incompatible-order": "Two reads of one list contradict each other: neither is a beginning of the other.",
    "internal": "A transaction did not see what it had itself read or written before.",
    "lost-update": "Two transactions read the same version of an object and both replaced it: one change is lost.",
    "predicate-read-miss": "A read of all rows that match missed one that was there.",
    "write-skew": (
        "Two transactions each read what the other one wrote, without seeing it: one after the other, one would have."
    ),
}
VARIANTS = {
    "-process": " Some of the order is that of one client's own transactions, one after the other.",
    "-realtime": " Some of the order is that of real time: one transaction had ended before another one began.",
}


def meaning_of(kind: str) -> str:
    """What an anomaly of this kind is; empty if its name needs no explanation, or is not known."""
    for ending, more in VARIANTS.items():
        if kind.endswith(ending) and kind.removesuffix(ending) in MEANINGS:
            return MEANINGS[kind.removesuffix(ending)] + more
    return MEANINGS.get(kind, "")
