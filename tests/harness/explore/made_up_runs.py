"""Runs that never happened: a rule says when a case shows an anomaly, and a run folder tells of it; for shrinking."""

import itertools
from concurrent.futures import Future

import msgspec

from harness.explore.reductions import Case
from harness.explore.trial import TrialResult
from harness.scenario import Scenario
from nemesis.schedule import Schedule, Step
from results.history import HistoryBuilder
from results.operation import HARNESS, INFO, NEMESIS
from results.run_folder import RunFolder
from results.verdict import INVALID, VALID, Anomaly, Verdict, merge
from workloads.generator.recorded import RecordedOperation, operations_from_dicts

SECOND = 1_000_000_000
START = 5_000_000
"""When the main phase begins to ask, in a made-up history."""


def stream(count=60, threads=6, seconds=30):
    """Operations spread over a run: writes of thread 0, reads of the others."""
    return tuple(
        RecordedOperation(
            number % threads,
            number * seconds * SECOND // count,
            "write" if number % threads == 0 else "read",
            [number % 3, number if number % threads == 0 else None],
        )
        for number in range(count)
    )


STEPS = (
    Step(1, 2 * SECOND, "kill", None, "minority", 5 * SECOND, {"draw": 1}),
    Step(2, 4 * SECOND, "partition", "halves", "one", 8 * SECOND, {"draw": 2}),
    Step(3, 9 * SECOND, "pause", None, "leader", 3 * SECOND, {"draw": 3}),
    Step(4, 20 * SECOND, "clock", "bump", "all", 4 * SECOND, {"draw": 4}),
)


def case(**scenario):
    values = {"seed": 7, "workload": "register", "environment": "simulation", "time_limit": 30.0, **scenario}
    return Case(Scenario(**values), STEPS, stream())


def write_run(folder, of, shows, proving=(), anomaly="stale read"):
    """A run folder as a run of this case leaves it; `proving` are positions of operations in its stream."""
    folder.write_scenario(of.scenario.to_toml())
    folder.write_schedule(Schedule.of(of.steps).to_dicts())
    folder.write_environment({"command": of.scenario.command("./run"), "harness": {"version": "0"}})
    book = HistoryBuilder()
    book.event(HARNESS, INFO, "phase", "main", time=0)
    evidence = []
    events = [(one.at_ns, 1, position, one) for position, one in enumerate(of.operations or stream())]
    events += [(step.at_ns, 0, step.id, step) for step in of.steps]
    for at, _, position, one in sorted(events, key=lambda event: event[:3]):
        time = START + at
        if isinstance(one, Step):
            value = {"step": one.id, "fault": one.fault, "targets": ["n2"]}
            book.event(NEMESIS, "invoke", "start", value, time=time)
            book.event(NEMESIS, INFO, "start", {**value, "took_effect": True}, time=time)
            continue
        invocation = book.invoke(one.thread, one.f, one.value, time=time, node="n1")
        completion = book.ok(one.thread, one.value, time=time + 1000)
        if position in proving:
            evidence += [invocation.index, completion.index]
    end = round(of.scenario.time_limit * SECOND) + START
    book.event(HARNESS, INFO, "phase", "heal", time=end)
    book.event(HARNESS, INFO, "drive", {"phase": "main", "start_ns": START}, time=end)
    with folder.journal() as journal:
        for event in book.done().operations:
            journal.record(event)
    found = [Anomaly(anomaly, "process 1 read <what> was over", evidence, key=0)] if shows else []
    part = Verdict(INVALID if shows else VALID, "linearizability", "a sentence", found)
    folder.write_verdict(merge("run", [part, Verdict(VALID, "stats", "enough")]))


class MadeUpRuns:
    """Runs cases by a rule: `rule(case)` answers the positions of the operations that prove it, or None."""

    def __init__(self, root, rule, anomaly="stale read"):
        self.root = root
        self.rule = rule
        self.anomaly = anomaly
        self.asked = []
        self.numbers = itertools.count()

    def __call__(self, request, name):
        of = Case(
            request.scenario,
            Schedule.from_dicts(request.schedule).steps,
            None if request.operations is None else operations_from_dicts(request.operations),
        )
        self.asked.append(of)
        proving = self.rule(of)
        result = TrialResult(
            seed=of.scenario.seed,
            outcome=VALID if proving is None else INVALID,
            exit_code=0 if proving is None else 1,
            sentence="",
            command="",
        )
        if proving is not None:
            path = self.root / name
            path.mkdir(parents=True)
            write_run(RunFolder(path), of, True, proving, self.anomaly)
            result = msgspec.structs.replace(result, folder=str(path))
        future = Future()
        future.set_result(result)
        return future


class Watching:
    """Remembers how the search went."""

    def __init__(self):
        self.tries = 0
        self.sizes = []

    def trying(self, shrinking):
        self.tries += 1

    def smaller(self, shrinking):
        self.sizes.append(shrinking.best.case.size())
