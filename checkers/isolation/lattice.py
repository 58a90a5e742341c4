"""Consistency models and anomalies as data: which implies which, and which model proscribes which anomaly.

A model *implies* another if every history that satisfies the first satisfies the second. A model *proscribes* an
anomaly if no history that shows the anomaly satisfies the model. Only what a model adds to those that it implies is
written down; the functions below add the rest. An anomaly *implies* another if whoever sees the first has seen the
second.

Names of cycles say which dependencies they are made of: `ww` (the second overwrote the first), `wr` (the second read
what the first wrote), `rw` (the first did not see what the second wrote):

    G0              only ww                     G-single        exactly one rw
    G1c             ww and wr                   G-nonadjacent   several rw, no two of them in a row
                                                G2              two rw in a row

`-item` says that all rw are about single keys, none about a predicate; `-process` that an edge of the cycle is the
order of a session; `-realtime` that one is the order in real time.

Sources:
    Adya        Adya, Weak Consistency (1999); Adya, Liskov, O'Neil, Generalized Isolation Level Definitions (2000)
    Bailis      Bailis et al., Highly Available Transactions (2013); Scalable Atomic Visibility with RAMP (2014)
    Berenson    Berenson et al., A Critique of ANSI SQL Isolation Levels (1995)
    Bernstein   Bernstein, Hadzilacos, Goodman, Concurrency Control and Recovery in Database Systems (1987)
    Biswas      Biswas, Enea, On the Complexity of Checking Transactional Consistency (2019)
    Cerone      Cerone, Bernardi, Gotsman, A Framework for Transactional Consistency Models with Atomic Visibility
                (2015); Cerone, Gotsman, Analysing Snapshot Isolation (2016); Cerone, Gotsman, Yang, Transaction
                Chopping for Parallel Snapshot Isolation (2015)
    Crooks      Crooks et al., Seeing is Believing: A Client-Centric Specification of Database Isolation (2017)
    Daudjee     Daudjee, Salem, Lazy Database Replication with Ordering Guarantees (2004), ... with Snapshot
                Isolation (2006)
    Elle        Kingsbury, Alvaro, Elle: Inferring Isolation Anomalies from Experimental Observations (2020), and its
                page of consistency models; the map at jepsen.io/consistency
    Liu         Liu et al., ROLA: A New Distributed Transaction Protocol and Its Formal Analysis (2018)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final


@dataclass(frozen=True)
class Model:
    """A consistency model: what it implies, what it proscribes beyond that, and who says so."""

    implies: tuple[str, ...]
    proscribes: tuple[str, ...]
    source: str


MODELS: Final[Mapping[str, Model]] = {
    "read-uncommitted": Model((), ("G0", "duplicate-elements"), "Adya PL-1"),
    "read-committed": Model(("read-uncommitted",), ("G1",), "Adya PL-2"),
    "monotonic-view": Model(("read-committed",), ("G-monotonic",), "Adya PL-2L"),
    "monotonic-snapshot-read": Model(("read-committed",), ("G-MSR",), "Adya PL-MSR"),
    "monotonic-atomic-view": Model(("read-committed",), (), "Bailis"),
    "cursor-stability": Model(("read-committed",), ("G-cursor", "lost-update"), "Adya PL-CS; Berenson"),
    "consistent-view": Model(("cursor-stability", "monotonic-view"), ("G-single",), "Adya PL-2+"),
    "forward-consistent-view": Model(("consistent-view",), ("G-SIb",), "Adya PL-FCV"),
    "update-serializable": Model(("forward-consistent-view",), ("G-update",), "Adya PL-3U"),
    "repeatable-read": Model(
        ("cursor-stability", "monotonic-atomic-view"), ("G2-item", "internal"), "Adya PL-2.99"
    ),
    "read-atomic": Model(
        ("monotonic-atomic-view",), ("internal", "fractured-read"), "Bailis; Cerone; Crooks"
    ),
    "rola": Model(("read-atomic",), ("lost-update",), "Liu: read atomic without lost updates"),
    "causal-cerone": Model(("read-atomic",), (), "Cerone: causal, without sessions"),
    "causal": Model(
        ("causal-cerone", "writes-follow-reads", "PRAM", "strong-session-read-committed"),
        ("causality-violation",),
        "Biswas; Cerone with sessions",
    ),
    "parallel-snapshot-isolation": Model(("causal-cerone", "rola", "consistent-view"), (), "Cerone"),
    "prefix": Model(("causal-cerone",), (), "Cerone"),
    "snapshot-isolation": Model(
        ("forward-consistent-view", "monotonic-snapshot-read", "parallel-snapshot-isolation", "prefix"),
        ("G-SI", "G-nonadjacent"),
        "Adya PL-SI; Berenson; Cerone",
    ),
    "view-serializable": Model((), (), "Bernstein"),
    "serializable": Model(
        ("repeatable-read", "update-serializable", "snapshot-isolation", "view-serializable"),
        ("G2", "predicate-read-miss"),
        "Adya PL-3: conflict serializable; Bernstein",
    ),
    "strong-session-read-uncommitted": Model(("read-uncommitted",), ("G0-process",), "Elle"),
    "strong-session-read-committed": Model(
        ("read-committed", "strong-session-read-uncommitted"), ("G1-process",), "Elle"
    ),
    "strong-session-snapshot-isolation": Model(
        ("snapshot-isolation", "causal"), ("G-nonadjacent-process",), "Daudjee; Cerone"
    ),
    "strong-session-serializable": Model(
        ("serializable", "strong-session-snapshot-isolation", "sequential"), ("G2-process",), "Daudjee"
    ),
    "strong-read-uncommitted": Model(("strong-session-read-uncommitted",), ("G0-realtime",), "Elle"),
    "strong-read-committed": Model(
        ("strong-session-read-committed", "strong-read-uncommitted"), ("G1-realtime",), "Elle"
    ),
    "strong-snapshot-isolation": Model(
        ("strong-session-snapshot-isolation", "strong-read-committed"), ("G-nonadjacent-realtime",), "Daudjee"
    ),
    "strict-serializable": Model(
        ("strong-session-serializable", "strong-snapshot-isolation", "linearizable"),
        ("G2-realtime",),
        "Adya PL-SS; Bernstein",
    ),
    "linearizable": Model(("sequential",), (), "Bailis; of single objects"),
    "sequential": Model(("writes-follow-reads", "PRAM"), (), "Bailis; of single objects"),
    "PRAM": Model(("monotonic-reads", "monotonic-writes", "read-your-writes"), (), "Bailis"),
    "writes-follow-reads": Model((), (), "Bailis"),
    "monotonic-reads": Model((), (), "Bailis"),
    "monotonic-writes": Model((), (), "Bailis"),
    "read-your-writes": Model((), (), "Bailis"),
}
"""Every model by its name, with the models that it implies directly."""

DECIDED: Final = frozenset(
    {
        "read-uncommitted",
        "read-committed",
        "read-atomic",
        "causal",
        "consistent-view",
        "parallel-snapshot-isolation",
        "repeatable-read",
        "snapshot-isolation",
        "serializable",
        "strong-session-read-uncommitted",
        "strong-session-read-committed",
        "strong-session-snapshot-isolation",
        "strong-session-serializable",
        "strong-read-uncommitted",
        "strong-read-committed",
        "strong-snapshot-isolation",
        "strict-serializable",
    }
)
"""Models that hold for a history of items whose versions are known if none of the anomalies here can be found in it.
Of the others, anomalies can only say that they do not hold."""

ALIASES: Final[Mapping[str, str]] = {
    "PL-1": "read-uncommitted",
    "PL-2": "read-committed",
    "PL-CS": "cursor-stability",
    "PL-2L": "monotonic-view",
    "PL-MSR": "monotonic-snapshot-read",
    "PL-2+": "consistent-view",
    "PL-FCV": "forward-consistent-view",
    "PL-3U": "update-serializable",
    "PL-2.99": "repeatable-read",
    "PL-SI": "snapshot-isolation",
    "PL-3": "serializable",
    "PL-SS": "strict-serializable",
    "ROLA": "rola",
    "conflict-serializable": "serializable",
    "strong-serializable": "strict-serializable",
    "transactional-causal": "causal",
    "prefix-consistency": "prefix",
    "pram": "PRAM",
    "strong-session-PL-1": "strong-session-read-uncommitted",
    "strong-session-PL-2": "strong-session-read-committed",
    "strong-PL-1": "strong-read-uncommitted",
    "strong-PL-2": "strong-read-committed",
}
"""Other names for the same models."""

CYCLES: Final = ("G0", "G1c", "G-single-item", "G-nonadjacent-item", "G2-item")
"""The kinds of cycles that dependencies between items make, from the worst on."""
VARIANTS: Final = ("", "-process", "-realtime")
"""What is added to the name of a cycle that needs the order of a session, or that in real time."""


def _cycles() -> dict[str, tuple[str, ...]]:
    """What cycles imply. Each is, trivially, one that may use the order of sessions, and that of real time too."""
    weaker = {
        "G0": ("G1c",),
        "G1c": ("G1",),
        "G1": (),
        "G-single-item": ("G-single", "G-nonadjacent-item"),
        "G-single": ("G-nonadjacent",),
        "G-nonadjacent-item": ("G-nonadjacent", "G2-item"),
        "G-nonadjacent": ("G2",),
        "G2-item": ("G2",),
        "G2": (),
    }
    following = {"": "-process", "-process": "-realtime"}
    return {
        name + variant: tuple(
            [f"{other}{variant}" for other in others]
            + ([name + following[variant]] if variant in following else [])
        )
        for name, others in weaker.items()
        for variant in VARIANTS
    }


IMPLIED_ANOMALIES: Final[Mapping[str, tuple[str, ...]]] = {
    **_cycles(),
    "G1a": ("G1",),
    "G1b": ("G1",),
    # A transaction that reads what it writes only later depends on itself: a cycle of one.
    "future-read": ("G1c",),
    # No order of versions explains two reads, so one of them read what was not, or was no longer, there (Elle).
    "incompatible-order": ("G1a",),
    # A value that nobody wrote was read.
    "garbage-read": ("G1a",),
    # A committed version contains what an aborted transaction wrote (Elle).
    "dirty-update": ("G1a",),
    # Each read a version and wrote the next one, round and round. It needs reads, so it is no G0.
    "cyclic-versions": ("G1c",),
    # Two read the same version and both overwrote it: whichever came second did not see the first (Berenson P4).
    "lost-update": ("G-single-item",),
    # Two that each did not see what the other wrote, to different keys (Berenson A5B).
    "write-skew": ("G2-item",),
    # One that saw a part of what another wrote, and not the rest of it (Bailis).
    "fractured-read": ("G-single-item",),
    # One that did not see something though it saw, or did itself, what came after that (Biswas).
    "causality-violation": (),
    "internal": (),
    "duplicate-elements": (),
    "predicate-read-miss": (),
    "G-cursor": (),
    "G-monotonic": (),
    "G-MSR": (),
    "G-SI": (),
    "G-SIb": (),
    "G-update": (),
}
"""Every anomaly, with those that whoever sees it has seen too, directly."""


def canonical(name: str) -> str:
    """The name of a model as `MODELS` has it. Raises ValueError for one that is not known."""
    found = ALIASES.get(name, name)
    if found not in MODELS:
        raise ValueError(f"{name!r} is no consistency model (they are {', '.join(sorted(MODELS))})")
    return found


def _closure(names: Iterable[str], following: Mapping[str, Collection[str]]) -> frozenset[str]:
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(following.get(name, ()))
    return frozenset(reached)


def _turned(following: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    turned: dict[str, list[str]] = {}
    for name, others in following.items():
        for other in others:
            turned.setdefault(other, []).append(name)
    return turned


_IMPLIED_MODELS: Final = {name: model.implies for name, model in MODELS.items()}
_STRONGER_MODELS: Final = _turned(_IMPLIED_MODELS)
_IMPLYING_ANOMALIES: Final = _turned(IMPLIED_ANOMALIES)


def implied_models(names: Iterable[str]) -> frozenset[str]:
    """These models and all that hold where they hold."""
    return _closure(map(canonical, names), _IMPLIED_MODELS)


def stronger_models(names: Iterable[str]) -> frozenset[str]:
    """These models and all that cannot hold where one of them does not."""
    return _closure(map(canonical, names), _STRONGER_MODELS)


def implied_anomalies(names: Iterable[str]) -> frozenset[str]:
    """These anomalies and all that whoever sees one of them has seen too."""
    names = list(names)
    unknown = [name for name in names if name not in IMPLIED_ANOMALIES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no anomaly (they are {', '.join(sorted(IMPLIED_ANOMALIES))})")
    return _closure(names, IMPLIED_ANOMALIES)


@cache
def proscribed(model: str) -> frozenset[str]:
    """All anomalies that no history shows which satisfies the model."""
    direct = [anomaly for name in implied_models([model]) for anomaly in MODELS[name].proscribes]
    return _closure(direct, _IMPLYING_ANOMALIES)


def ruled_out(anomalies: Iterable[str]) -> frozenset[str]:
    """All models that do not hold for a history that shows these anomalies."""
    seen = implied_anomalies(anomalies)
    return stronger_models(name for name, model in MODELS.items() if seen.intersection(model.proscribes))


def weakest(models: Collection[str]) -> list[str]:
    """Those that imply no other of them, in order of name."""
    return sorted(name for name in models if not (implied_models([name]) - {name}).intersection(models))


def strongest(models: Collection[str]) -> list[str]:
    """Those that no other of them implies, in order of name."""
    return sorted(name for name in models if not (stronger_models([name]) - {name}).intersection(models))


@dataclass(frozen=True)
class Boundary:
    """Where anomalies leave the models: which cannot hold, and which still can."""

    weakest_ruled_out: list[str]
    """The weakest models that are ruled out; every stronger one is with them."""
    also_ruled_out: list[str]
    """The rest of those that are ruled out."""
    strongest_left: list[str]
    """The strongest models that nothing speaks against, of those in `DECIDED`."""


def boundary(anomalies: Iterable[str], models: Iterable[str] = (), *, timed: bool = True) -> Boundary:
    """Where these anomalies leave the models, and `models`, which are known not to hold whatever the reason. What is
    about real time is no model that is left where times are not known."""
    out = ruled_out(anomalies) | stronger_models(models)
    lowest = weakest(out)
    left = DECIDED - out
    if not timed:
        left = frozenset(name for name in left if not is_about_real_time(name))
    return Boundary(lowest, sorted(out.difference(lowest)), strongest(left))


def is_about_real_time(model: str) -> bool:
    """Whether real time could rule the model out."""
    return any(anomaly.endswith("-realtime") for anomaly in proscribed(model))
