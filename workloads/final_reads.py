"""The last reads of a run: once through every node, after everything has healed, until each has an answer."""

from __future__ import annotations

from workloads.generator import combinators as combine
from workloads.generator.core import Generator, Source
from workloads.workload import WorkloadOptions

INTERVAL_S = 0.1


def final_reads(reads: Source, options: WorkloadOptions, interval_s: float = INTERVAL_S) -> Generator:
    """`reads` by one thread for each node (as far as there are threads), `interval_s` apart, all together within the
    time of the final phase. Draws one stream from the options."""
    through_nodes = combine.on_threads(
        range(min(options.concurrency, len(options.nodes))), combine.each_thread(reads)
    )
    paced = combine.stagger(interval_s, through_nodes, random=options.stream(), catch_up=False)
    return combine.validate(combine.clients(combine.time_limit(options.final_time_limit_s, paced)))
