"""Everybody asks for identifiers, through every node; no two may be the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers.online.online_checker import OnlineChecker
from checkers.online.unique_ids import OnlineUniqueIds
from checkers.unique_ids import UniqueIdsChecker
from results.operation import Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.main_phase import main_phase
from workloads.on_transactions import unique_ids
from workloads.session import UNIQUE_IDS, Session
from workloads.workload import Workload, WorkloadOptions, read_options


class UniqueIdsWorkload(Workload):
    """Processes ask for identifiers; no two may be the same."""

    name = "unique-ids"
    needs = frozenset({UNIQUE_IDS})
    read_only_functions: frozenset[str] = frozenset()
    required_functions = ("generate",)

    def __init__(self, options: WorkloadOptions) -> None:
        self.options = read_options(self.name, self.known_options, options.extra)
        self.checker = UniqueIdsChecker()
        generate = combine.repeat(combine.operation("generate"))
        self.generator = main_phase(generate, options)
        self.final_generator = final_reads(combine.until_ok(generate), options)

    def online_checkers(self) -> Sequence[OnlineChecker]:
        return (OnlineUniqueIds(),)

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        if invocation.f != "generate":
            raise ValueError(f"workload unique-ids has no function {invocation.f!r}: generate")
        return await unique_ids(session).generate_id()

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        return ["an identifier is something, not null"] if value is None else []
