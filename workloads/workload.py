"""What clients do and what must hold, in one bundle: generators, how to perform an operation, and the checker.

A workload is made by its factory from `WorkloadOptions` and is immutable. `invoke` is the only place where an
operation meets a session; it runs on whatever loop it is given, so the same file serves real clusters and simulated
ones. How an operation ended is decided by what `invoke` does (see `session.py`): it returns the completion's value
(ok), or raises Definite (fail) or Indefinite or anything else (info).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from checkers.checker import Checker
from checkers.online.online_checker import OnlineChecker
from results.operation import Operation
from workloads.generator.core import Generator
from workloads.on_transactions import BUILT_ON_TRANSACTIONS, with_built_types
from workloads.session import INTERFACES, TRANSACTIONS, Session


class WorkloadUnavailable(Exception):
    """The system lacks an interface that the workload needs. Text: which, and what would have it."""


class OptionError(ValueError):
    """Options of a workload that cannot mean anything; all problems in one text."""


@dataclass(frozen=True)
class Option:
    """An option of a workload: its default (which also says its type), its bounds, and what it means."""

    default: int | float | bool | str
    least: float
    most: float
    caption: str
    choices: tuple[str, ...] = ()
    """The words that it may be, if it is a word; then there are no bounds."""


def read_options(
    workload: str, known: Mapping[str, Option], given: Mapping[str, str | int | float | bool]
) -> dict[str, Any]:
    """The value of every known option, given or default. Raises OptionError with all that is wrong."""
    problems = []
    values: dict[str, Any] = {name: option.default for name, option in known.items()}
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            problems.append(f"unknown option {name!r} (there are: {', '.join(known) or 'none'})")
        elif option.choices:
            if value in option.choices:
                values[name] = value
            else:
                problems.append(
                    f"{name}={value!r} must be one of {', '.join(option.choices)}: {option.caption}"
                )
        elif isinstance(option.default, bool) != isinstance(value, bool) or not isinstance(
            value, int | float
        ):
            problems.append(f"{name}={value!r} must be {_KINDS[type(option.default)]}: {option.caption}")
        elif isinstance(option.default, int) and not isinstance(value, int):
            problems.append(f"{name}={value!r} must be a whole number: {option.caption}")
        elif not option.least <= value <= option.most:
            problems.append(
                f"{name}={value!r} must be between {option.least:g} and {option.most:g}: {option.caption}"
            )
        else:
            values[name] = type(option.default)(value)
    if problems:
        raise OptionError(f"options of workload {workload}: {'; '.join(problems)}")
    return values


def demanded(workload: str, kind: str, given: str | None, levels: Sequence[str]) -> str:
    """The level of isolation or consistency (`kind`) that the checker demands: the given one, or the first of those
    that the workload can demand. Raises OptionError for one that it cannot."""
    if given is None:
        return levels[0]
    if given not in levels:
        raise OptionError(
            f"--{kind} {given!r}: workload {workload} can demand {', '.join(levels)} (by default {levels[0]})"
        )
    return given


_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class WorkloadOptions:
    """What every workload is told. Each workload documents which `extra` it takes."""

    random: Random
    """The stream from which all its choices are drawn; the workload owns it from now on."""
    concurrency: int
    """Client threads."""
    nodes: tuple[str, ...]
    rate: float = 200.0
    """Operations a second, of all processes together, that are started however long they take (open loop)."""
    time_limit_s: float = 60.0
    """How long the main phase generates."""
    final_time_limit_s: float = 60.0
    """How long the final phase may go on trying."""
    extra: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """Options of the workload itself (`--workload-option`), by name with underscores."""
    isolation: str | None = None
    """What is demanded of transactions (`--isolation`); None: what the workload demands by default."""
    consistency: str | None = None
    """What is demanded of single objects (`--consistency`); None: what the workload demands by default."""

    def __post_init__(self) -> None:
        problems = []
        if self.concurrency < 1:
            problems.append(f"concurrency {self.concurrency} must be at least 1")
        if not self.nodes:
            problems.append("there must be at least one node")
        if self.rate <= 0:
            problems.append(f"rate {self.rate} must be above 0")
        if self.time_limit_s <= 0 or self.final_time_limit_s < 0:
            problems.append(
                f"time limits {self.time_limit_s} s and {self.final_time_limit_s} s must be above 0"
            )
        if problems:
            raise OptionError("; ".join(problems))

    def stream(self) -> Random:
        """A stream of its own for a part of the workload; the parts ask in a fixed order."""
        return Random(self.random.getrandbits(128))


class Workload(ABC):
    """One kind of work, ready to run."""

    name: str
    needs: frozenset[str]
    """Interfaces (`session.INTERFACES`) that a session must offer."""
    read_only_functions: frozenset[str]
    """Functions without effect: one that times out is recorded as fail, since it certainly changed nothing."""
    required_functions: tuple[str, ...]
    """Functions of which at least one must succeed in the main phase, else the run proves nothing."""
    known_options: Mapping[str, Option] = {}
    """The options that it takes in `WorkloadOptions.extra`."""
    isolations: Sequence[str] = ()
    """The levels of isolation that its checker can demand, the default first; none: there is nothing to choose."""
    consistencies: Sequence[str] = ()
    """The same for consistency of single objects."""
    options: Mapping[str, Any]
    """What it was made with, JSON-like, defaults included."""
    generator: Generator
    """The main phase: rate and time limit included."""
    final_generator: Generator
    """The final phase, after healing; limited in time, exhausted at once where there is nothing to do."""
    checker: Checker

    def online_checkers(self) -> Sequence[OnlineChecker]:
        """Fresh ones, that watch one run of this workload while it goes on; none by default."""
        return ()

    async def setup(self, session: Session) -> None:  # noqa: B027 - most need no preparation.
        """Prepares the database. Idempotent: it is called again when an attempt fails, also when it succeeded and
        only its reply was lost. Raises when it has not (certainly) succeeded."""

    @abstractmethod
    async def invoke(self, session: Session, invocation: Operation) -> Any:
        """Performs one operation and returns the completion's value."""

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        """What is wrong with the shape of an ok completion's value; checked at the edge for every completion."""
        return []

    def describe(self) -> str:
        """One or two sentences: what clients do, and what must hold."""
        first_paragraph = (self.__doc__ or self.name).strip().split("\n\n")[0]
        return " ".join(first_paragraph.split())

    def refusal(self, offered: frozenset[str], system: str) -> str | None:
        """Why this workload cannot run against a system that offers these interfaces; None if it can."""
        lacking = sorted(self.needs - with_built_types(offered))
        if not lacking:
            return None
        wanted = "; ".join(
            f"{name} ({INTERFACES.get(name, 'unknown')})"
            + (f", nor {TRANSACTIONS}, on which it can be built" if name in BUILT_ON_TRANSACTIONS else "")
            for name in lacking
        )
        return (
            f"workload {self.name} cannot run on {system}: the system does not offer {wanted}. "
            f"It offers: {', '.join(sorted(offered)) or 'nothing'}"
        )

    def built(self, offered: frozenset[str]) -> frozenset[str]:
        """The interfaces that the system lacks and that are built on its transactions instead."""
        return (self.needs & with_built_types(offered)) - offered

    def require(self, offered: frozenset[str], system: str) -> None:
        """Raises WorkloadUnavailable, with the reason, where an interface is lacking."""
        reason = self.refusal(offered, system)
        if reason is not None:
            raise WorkloadUnavailable(reason)
