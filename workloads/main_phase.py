"""The main phase of a workload: its operations at the rate that was asked for, for as long as was asked for."""

from __future__ import annotations

from workloads.generator import combinators as combine
from workloads.generator.core import Generator, Source
from workloads.workload import WorkloadOptions


def main_phase(source: Source, options: WorkloadOptions) -> Generator:
    """What clients do, paced and limited in time, every answer checked. Draws one stream from the options."""
    paced = combine.stagger(1 / options.rate, source, random=options.stream())
    return combine.validate(combine.clients(combine.time_limit(options.time_limit_s, paced)))
