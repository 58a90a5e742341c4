"""Every way to build a generator from others: choose, restrict, count, pace, order, observe.

Each function takes anything that `core.generator` accepts. Durations are in seconds. Random streams are passed in. The
classes behind the functions are values; they live beside their functions, and callers need only the functions:
`from workloads.generator import combinators as combine`.

Edge cases that many combinators share, so that they are said once:

- `Pending` passes through, with the earliest time at which asking again is worth it.
- An invocation is *late* if it should have started before now. Where several generators have something to do, the one
  that should have started first goes first.
- The number of threads is known only from the context, so an arrangement of threads that does not fit is an error of
  the first `next`, a ValueError.
"""

from workloads.generator.combinators.changing import f_map, filtered, ignore_updates, mapped, on_update
from workloads.generator.combinators.choosing import any_of, mix, shortest_any
from workloads.generator.combinators.counting import (
    concurrency_limit,
    cycle,
    limit,
    once,
    process_limit,
    repeat,
)
from workloads.generator.combinators.guarding import friendly_exceptions, trace, validate
from workloads.generator.combinators.independent_keys import concurrent_keys, sequential_keys
from workloads.generator.combinators.ordering import (
    concat,
    flip_flop,
    phases,
    synchronize,
    then,
    until,
    until_ok,
)
from workloads.generator.combinators.pacing import cache, cycle_times, delay, log, sleep, stagger, time_limit
from workloads.generator.combinators.threads import (
    clients,
    each_process,
    each_thread,
    nemesis,
    on_threads,
    reserve,
)
from workloads.generator.core import GeneratorError, operation

__all__ = [
    "GeneratorError",
    "any_of",
    "cache",
    "clients",
    "concat",
    "concurrency_limit",
    "concurrent_keys",
    "cycle",
    "cycle_times",
    "delay",
    "each_process",
    "each_thread",
    "f_map",
    "filtered",
    "flip_flop",
    "friendly_exceptions",
    "ignore_updates",
    "limit",
    "log",
    "mapped",
    "mix",
    "nemesis",
    "on_threads",
    "on_update",
    "once",
    "operation",
    "phases",
    "process_limit",
    "repeat",
    "reserve",
    "sequential_keys",
    "shortest_any",
    "sleep",
    "stagger",
    "synchronize",
    "then",
    "time_limit",
    "trace",
    "until",
    "until_ok",
    "validate",
]
