"""Logs as message brokers have them: values are sent to a few logs and polled in the order of their offsets.

Each process is a consumer with a position in every log that it was assigned, which only moves on by what it polled
(Jepsen's Kafka workload; the first operation of each process is an `assign`). Sometimes it is assigned anew, from the
beginning or from what comes next; sometimes it crashes, and its successor begins anew. Transactions send and poll at
one moment, all or nothing. At the end every node's process polls everything from the beginning.

Values are unique. An answer to a poll is `{log: [[offset, value], ...]}`, with the logs in which there was something.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from checkers.log import LogChecker
from results.operation import OK, Operation
from workloads.final_reads import final_reads
from workloads.generator import combinators as combine
from workloads.generator.core import PENDING, Answer, Context, Generator, Invocation
from workloads.keys import spread_key
from workloads.main_phase import main_phase
from workloads.on_transactions import log
from workloads.session import LOG, Indefinite, Poll, Send, Session
from workloads.session import Log as LogSession
from workloads.workload import Option, Workload, WorkloadOptions, read_options

BEGINNING = "beginning"
LATEST = "latest"
ENTRIES_AT_ONCE = 32
"""How many entries of a log a poll takes at most."""
FINAL_POLLS_PER_S = 100.0


class Consumers(Generator, frozen=True):
    """What producers and consumers do, without end."""

    random: random.Random
    logs: tuple[str, ...]
    send_share: float
    transaction_share: float
    crash_share: float
    assign_share: float
    next_value: int = 0
    assigned: frozenset[int] = frozenset()
    """Processes that have begun."""

    def next(self, context: Context) -> Answer:
        process = context.free_process()
        if process is None:
            return PENDING, self
        assert isinstance(process, int), f"consumers are clients, not {process!r}"
        stream = self.random
        if process not in self.assigned:
            living = frozenset(one for one in context.processes if isinstance(one, int))
            following = msgspec.structs.replace(self, assigned=(self.assigned | {process}) & living)
            return self._assign(process, context, BEGINNING), following
        draw = stream.random()
        if draw < self.crash_share:
            return Invocation("crash", None, process, context.time), self
        draw -= self.crash_share
        if draw < self.assign_share:
            return self._assign(process, context, stream.choice((BEGINNING, LATEST))), self
        draw -= self.assign_share
        if draw < self.transaction_share:
            value = self.next_value
            steps: list[list[Any]] = []
            for _ in range(stream.randint(1, 3)):
                if stream.random() < 0.5:
                    steps.append(["send", stream.choice(self.logs), value])
                    value += 1
                else:
                    steps.append(["poll"])
            following = msgspec.structs.replace(self, next_value=value)
            return Invocation("txn", steps, process, context.time), following
        if stream.random() < self.send_share:
            following = msgspec.structs.replace(self, next_value=self.next_value + 1)
            sent = [stream.choice(self.logs), self.next_value]
            return Invocation("send", sent, process, context.time), following
        return Invocation("poll", None, process, context.time), self

    def _assign(self, process: int, context: Context, where: str) -> Invocation:
        count = self.random.randint(1, len(self.logs))
        logs = self.random.sample(self.logs, count)
        return Invocation("assign", {"keys": sorted(logs), "from": where}, process, context.time)

    @property
    def listens(self) -> bool:
        return False


class LogWorkload(Workload):
    """Processes send unique values to a few logs and poll them; every value keeps its one offset, and whoever reads
    past it sees it, in order."""

    name = "log"
    needs = frozenset({LOG})
    read_only_functions = frozenset({"poll", "assign"})
    required_functions = ("send", "poll")
    known_options = {  # noqa: RUF012 - never changed
        "logs": Option(3, 1, 100, "how many logs there are"),
        "send_share": Option(0.5, 0.05, 0.95, "share of sends among plain sends and polls"),
        "transaction_share": Option(0.2, 0.0, 0.9, "share of transactions among all operations"),
        "crash_share": Option(0.01, 0.0, 0.2, "share of crashes of consumers"),
        "assign_share": Option(0.02, 0.0, 0.5, "share of new assignments"),
    }

    def __init__(self, options: WorkloadOptions) -> None:
        own = read_options(self.name, self.known_options, options.extra)
        self.options = own
        self.checker = LogChecker()
        self.logs = tuple(f"l{number}" for number in range(int(own["logs"])))
        self._names = {key: spread_key("log", number) for number, key in enumerate(self.logs)}
        self._positions: dict[int | str, dict[str, int]] = {}
        """Where each process is in each log that it was assigned; like the position in a broker's client, it belongs
        to the process's connection, and ends with it."""
        consumers = Consumers(
            options.stream(),
            self.logs,
            float(own["send_share"]),
            float(own["transaction_share"]),
            float(own["crash_share"]),
            float(own["assign_share"]),
        )
        self.generator = main_phase(consumers, options)
        everything = combine.operation("assign", {"keys": list(self.logs), "from": BEGINNING})
        self.final_generator = final_reads(
            [
                combine.until_ok(combine.repeat(everything)),
                combine.until(polled_nothing, combine.repeat(combine.operation("poll"))),
            ],
            options,
            1 / FINAL_POLLS_PER_S,
        )

    async def invoke(self, session: Session, invocation: Operation) -> Any:
        value, process = invocation.value, invocation.process
        entries = log(session)
        match invocation.f:
            case "send":
                key, sent = value
                (offset,) = await entries.exchange([Send(self._names[key], sent)])
                return [key, [offset, sent]]
            case "poll":
                ((_, found),) = await self._exchange(entries, process, [["poll"]])
                return found
            case "txn":
                return await self._exchange(entries, process, value)
            case "assign":
                from_beginning = value["from"] == BEGINNING
                positions = {
                    key: 0 if from_beginning else await entries.end(self._names[key]) for key in value["keys"]
                }
                self._positions[process] = positions
                return value
            case "crash":
                self._positions.pop(process, None)
                raise Indefinite("crash", "this consumer was asked to end")
        raise ValueError(f"workload log has no function {invocation.f!r}: send, poll, txn, assign, crash")

    async def _exchange(
        self, entries: LogSession, process: int | str, steps: list[list[Any]]
    ) -> list[list[Any]]:
        """Steps as a history has them. The positions move only when all of it has happened; so a later poll of the same
        exchange asks from the same place as the first one, and what that has answered is left out."""
        positions = dict(self._positions.get(process, {}))
        polled: dict[str, set[int]] = {key: set() for key in positions}
        asked: list[Send | Poll] = []
        for step in steps:
            if step[0] == "send":
                asked.append(Send(self._names[step[1]], step[2]))
            else:
                asked += [Poll(self._names[key], positions[key], ENTRIES_AT_ONCE) for key in positions]
        answers = iter(await entries.exchange(asked))
        done: list[list[Any]] = []
        for step in steps:
            if step[0] == "send":
                done.append(["send", step[1], [next(answers), step[2]]])
                continue
            found: dict[str, list[list[Any]]] = {}
            for key, before in polled.items():
                fresh = [[offset, value] for offset, value in next(answers) if offset not in before]
                if fresh:
                    found[key] = fresh
                    before |= {offset for offset, _ in fresh}
            done.append(["poll", found])
        self._positions[process] = {
            key: max([position - 1, *polled[key]]) + 1 for key, position in positions.items()
        }
        return done

    def problems(self, invocation: Operation, value: Any) -> list[str]:
        match invocation.f:
            case "send":
                key, sent = invocation.value
                right = isinstance(value, list) and len(value) == 2 and value[0] == key
                if not right or not isinstance(value[1], list) or value[1][1:] != [sent]:
                    return [f"a send of {sent!r} to {key} answers [{key!r}, [offset, {sent!r}]]"]
            case "poll":
                if not isinstance(value, dict):
                    return ["a poll answers a mapping of logs to entries"]
            case "txn":
                if not isinstance(value, list) or len(value) != len(invocation.value):
                    return [f"a transaction of {len(invocation.value)} steps answers as many"]
        return []


def polled_nothing(event: Operation) -> bool:
    """Whether this completion says that its consumer has everything."""
    return event.type == OK and event.f == "poll" and not event.value
