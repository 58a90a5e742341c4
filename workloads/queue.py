"""Unique elements go into one queue and come out of it: none may be lost, come out twice, or overtake another.

At the end every node's process puts one more element in and dequeues until the queue is empty: an answer that there is
nothing left is what proves that an element which never came out is lost. (There is no operation that drains the queue
at once: if it crashed, any number of elements might be gone with it.)
"""

from __future__ import annotations

from typing import Any

from checkers.queue import QueueChecker
from results.operation import FAIL, Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation, generator
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.on_transactions import queue
from workloads.session import QUEUE, Definite, Session
from workloads.workload import Option, Workload, WorkloadOptions, read_options

NAME = spread_key("queue", 0)
EMPTY = "empty"
"""Kind of the failure of a dequeue that found nothing."""
FINAL_DEQUEUES_PER_S = 200.0
FIRST_FINAL_ELEMENT = 1_000_000_000


class Enqueues(Generator, frozen=True):
    """Enqueues of 0, 1, 2 ..., without end."""

    element: int = 0

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        return Invocation("enqueue", self.element, process, context.time), Enqueues(self.element + 1)

    @property
    def listens(self) -> bool:
        return False


class QueueWorkload(Workload):
    """Processes put unique elements into one queue and take them out; each must come out once, in the order in which
    they went in."""

    name = "queue"
    needs = frozenset({QUEUE})
    read_only_functions: frozenset[str] = frozenset()
    required_functions = ("enqueue", "dequeue")
    known_options = {  # noqa: RUF012 - never changed
        "enqueue_share": Option(0.5, 0.05, 0.95, "share of enqueues among all operations"),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.checker = QueueChecker()
        share = float(own["enqueue_share"])
        dequeues = combine.repeat(combine.operation("dequeue"))
        mixed = combine.mix(Enqueues(), dequeues, random=options.stream(), weights=(share, 1 - share))
        self.generator = main_phase(mixed, options)
        self.final_generator = final_reads(
            [combine.until_ok(generator(final_enqueue)), combine.until(found_nothing, dequeues)],
            options,
            1 / FINAL_DEQUEUES_PER_S,
        )

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        elements = queue(session)
        match invocation.f:
            case "enqueue":
                await elements.enqueue(NAME, invocation.value)
                return invocation.value
            case "dequeue":
                element = await elements.dequeue(NAME)
                if element is None:
                    raise Definite(EMPTY, "there is nothing in the queue")
                return element
        raise ValueError(f"workload queue has no function {invocation.f!r}: enqueue, dequeue")


def final_enqueue(context: Context) -> Invocation:
    """Of an element that nobody else enqueues: the time is in it, and the process."""
    process = context.free_process()
    assert isinstance(process, int), f"final operations are clients', not of {process!r}"
    return Invocation("enqueue", FIRST_FINAL_ELEMENT + context.time * 1000 + process % 1000)


def found_nothing(event: Operation) -> bool:
    """Whether this completion says that the queue was empty."""
    return event.type == FAIL and isinstance(event.error, list | tuple) and event.error[0] == EMPTY
