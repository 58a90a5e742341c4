"""A workload: several clients claim each seat of a theatre, and no seat is given to two.

    harness test --workload examples.plug_ins.seats:Seats --system in-memory --environment simulation

A claim is a compare-and-set of a key that does not exist. So what is tried is whether two of them can both succeed.
"""

from __future__ import annotations

from typing import Any

from checkers.checker import Limits
from results.history import History
from results.operation import OK, Operation
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.session import COMPARE_AND_SET, KEY_VALUE, Definite
from workloads.workload import Option, Workload, WorkloadOptions, read_options


class Claims(Generator, frozen=True):
    """Claims of seat 0, 0, 0, 1, 1, 1, 2 ... without end, each by whoever is free."""

    claimants: int
    number: int = 0

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        claim = Invocation("claim", self.number // self.claimants, process, context.time)
        return claim, Claims(self.claimants, self.number + 1)


class Seats(Workload):
    """Several processes claim each seat; it may be given to one of them only."""

    name = "seats"
    needs = frozenset({KEY_VALUE, COMPARE_AND_SET})
    read_only_functions = frozenset({"look"})
    required_functions = ("claim",)
    known_options = {"claimants": Option(3, 2, 100, "how many claim each seat")}  # noqa: RUF012 - never changed

    def __init__(self, options: WorkloadOptions) -> None:
        self.options = read_options(self.name, self.known_options, options.extra)
        self.checker = SeatsChecker()
        self.generator = main_phase(Claims(self.options["claimants"]), options)
        look = combine.repeat(combine.operation("look", 0))
        self.final_generator = final_reads(combine.until_ok(look), options)

    async def invoke(self, session: Any, invocation: Operation) -> Any:
        seat = invocation.value
        match invocation.f:
            case "claim":
                if await session.compare_and_set(spread_key("seat", seat), None, invocation.process):
                    return seat
                raise Definite("taken", f"somebody has seat {seat}")
            case "look":
                return await session.get(spread_key("seat", seat))
        raise ValueError(f"workload seats has no function {invocation.f!r}: claim, look")


class SeatsChecker:
    """Judges claims: a seat that two claims got is sold twice. Claims of unknown outcome prove nothing."""

    name = "seats"

    def check(self, history: History, limits: Limits) -> Verdict:
        given: dict[int, list[Any]] = {}
        for pair in history.pairs():
            if pair.f == "claim" and pair.type == OK:
                given.setdefault(pair.value, []).append(pair)
        if not given:
            return Verdict(UNKNOWN, self.name, "no claim succeeded")
        twice = {seat: pairs for seat, pairs in given.items() if len(pairs) > 1}
        if not twice:
            return Verdict(VALID, self.name, f"{len(given)} seats were given, each to one")
        anomalies = [
            Anomaly(
                "seat given twice",
                f"seat {seat} was given to processes {', '.join(str(pair.process) for pair in pairs)}",
                [pair.completion.index for pair in pairs],
                key=seat,
            )
            for seat, pairs in sorted(twice.items())
        ]
        return Verdict(INVALID, self.name, anomalies[0].sentence, anomalies)
