"""Every way to make a failing run smaller: of a case and of what its run showed, smaller cases, the most wanted first.

Pure: nothing here runs anything. A *case* is a run as data (scenario, steps of the schedule, operations); a reduction
is a search (`delta.py`) over cases, which whoever drives it tries.

Times are reduced as they are read by people: to a tenth of a second, since a shorter duration than needed to the
nanosecond explains nothing more.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from harness.catalog import nemesis_of
from harness.explore.delta import Search, ddmin, first_of, mapped, smallest
from harness.scenario import Scenario, node_names
from nemesis.schedule import Step
from nemesis.targets import ROLES, TARGETS
from results.history import History
from results.operation import INVOKE, MAIN_PHASE
from results.verdict import INVALID, Anomaly, Verdict
from workloads.generator.recorded import RecordedOperation, main_phase_start, record_operations

SECOND: Final = 1_000_000_000
TENTH: Final = SECOND // 10
LEADER: Final = "leader"
ANY_TYPE: Final = "any"
"""Type of a target whose checker named no anomaly."""


# What must stay


class Target(msgspec.Struct, frozen=True):
    """The anomaly that has to stay: the same checker, and the same type."""

    checker: str
    type: str

    def __str__(self) -> str:
        return self.checker if self.type == ANY_TYPE else f"{self.checker}: {self.type}"

    def find(self, verdict: Verdict) -> Anomaly | None:
        """The first anomaly of this kind in a verdict."""
        return next((anomaly for target, anomaly in anomalies(verdict) if target == self), None)


def anomalies(verdict: Verdict) -> list[tuple[Target, Anomaly]]:
    """What is wrong by a verdict, in its order; a checker that only says *invalid* counts as one anomaly."""
    found = [
        (Target(verdict.checker, anomaly.type), anomaly)
        for anomaly in verdict.anomalies
        if verdict.outcome == INVALID
    ]
    for part in verdict.parts:
        found += anomalies(part)
    if not found and verdict.outcome == INVALID:
        found = [(Target(verdict.checker, ANY_TYPE), Anomaly(ANY_TYPE, verdict.sentence, []))]
    return found


# What is made smaller


class Case(msgspec.Struct, frozen=True):
    """A run as data."""

    scenario: Scenario
    steps: tuple[Step, ...]
    operations: tuple[RecordedOperation, ...] | None
    """None: those that the workload generates."""

    @property
    def clients(self) -> int:
        """How many clients have something to do."""
        if self.operations is None:
            return self.scenario.processes
        return len({one.thread for one in self.operations})

    def key(self) -> bytes:
        """The same for the same case."""
        return msgspec.json.encode(self)

    def size(self) -> Size:
        """How large it is, for people."""
        return Size(
            steps=len(self.steps),
            operations=None if self.operations is None else len(self.operations),
            clients=self.clients,
            nodes=self.scenario.nodes,
            ranges=self.scenario.ranges,
            time_limit_s=self.scenario.time_limit,
            broken_s=round(sum(step.duration_ns for step in self.steps) / SECOND, 3),
        )

    def with_scenario(self, **changes: Any) -> Case:
        return msgspec.structs.replace(self, scenario=msgspec.structs.replace(self.scenario, **changes))

    def with_steps(self, steps: Iterable[Step]) -> Case:
        """With these steps; what is asked to take effect follows from them."""
        kept = tuple(sorted(steps, key=lambda step: (step.at_ns, step.id)))
        faults = nemesis_of((step.fault for step in kept), self.scenario.nemesis)
        return msgspec.structs.replace(self, steps=kept).with_scenario(nemesis=faults)

    def with_step(self, position: int, step: Step) -> Case:
        return self.with_steps((*self.steps[:position], step, *self.steps[position + 1 :]))

    def with_operations(self, operations: Iterable[RecordedOperation]) -> Case:
        return msgspec.structs.replace(self, operations=tuple(operations))

    def begun_at(self, start_ns: int) -> Case:
        """Without what is over by `start_ns` of the main phase, and with that as its start."""
        steps = [
            msgspec.structs.replace(
                step,
                at_ns=max(0, step.at_ns - start_ns),
                duration_ns=step.end_ns - max(start_ns, step.at_ns),
            )
            for step in self.steps
            if step.end_ns > start_ns
        ]
        left = round(self.scenario.time_limit * SECOND) - start_ns
        later = self.with_steps(steps).with_scenario(time_limit=_limit_s(left))
        return later.with_operations(
            msgspec.structs.replace(one, at_ns=one.at_ns - start_ns)
            for one in self.operations or ()
            if one.at_ns >= start_ns
        )

    def cut(self, limit_ns: int) -> Case:
        """Over after `limit_ns` of the main phase: what would begin later is left out."""
        limit = min(max(limit_ns, TENTH), round(self.scenario.time_limit * SECOND))
        steps = [
            msgspec.structs.replace(step, duration_ns=min(step.duration_ns, limit - step.at_ns))
            for step in self.steps
            if step.at_ns < limit
        ]
        shorter = self if len(steps) == len(self.steps) else self.with_steps(steps)
        shorter = msgspec.structs.replace(shorter, steps=tuple(steps)).with_scenario(
            time_limit=limit / SECOND
        )
        if self.operations is None:
            return shorter
        return shorter.with_operations(one for one in self.operations if one.at_ns < limit)


def _limit_s(limit_ns: int) -> float:
    """A time limit that people can read: full milliseconds, a tenth of a second at least."""
    return max(100, -(-limit_ns // 1_000_000)) / 1000


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How large a case is."""

    steps: int
    operations: int | None
    clients: int
    nodes: int
    ranges: int
    time_limit_s: float
    broken_s: float
    """How long its steps last, all together."""


class Seen(msgspec.Struct, frozen=True):
    """What the run of a case showed about the anomaly."""

    anomaly: Anomaly
    recorded: tuple[RecordedOperation, ...]
    """What the clients invoked in the main phase."""
    proving: frozenset[tuple[int, int]]
    """The operations that prove the anomaly: (thread, how many it had invoked before)."""
    end_ns: int | None
    """When the last of them that belongs to the main phase was over, from its start; None if none does: what only the
    last reads show may have happened at any time."""
    hit: dict[int, tuple[str, ...]]
    """Step -> the nodes that it hit."""


def see(history: History, verdict: Verdict, target: Target, threads: int) -> Seen | None:
    """What a run of `threads` client threads showed about the target; None if it did not happen."""
    anomaly = target.find(verdict)
    if anomaly is None:
        return None
    start = main_phase_start(history)
    phases = [time for name, time in history.phases() if name != MAIN_PHASE]
    main_end = min(phases, default=history.duration_ns)
    nth: dict[int, tuple[int, int]] = {}
    counts: dict[int, int] = {}
    for event in history.operations:
        if event.type == INVOKE and isinstance(event.process, int) and event.phase in (None, MAIN_PHASE):
            thread = event.process % threads
            nth[event.index] = (thread, counts.get(thread, 0))
            counts[thread] = counts.get(thread, 0) + 1
    proving, times = set(), []
    for index in anomaly.operations:
        if not 0 <= index < len(history):
            continue
        partner = history.partner_index(index)
        proving |= {nth[one] for one in (index, partner) if one is not None and one in nth}
        time = history.operations[index].time
        if time <= main_end:
            times.append(time)
    return Seen(
        anomaly=anomaly,
        recorded=record_operations(history, threads),
        proving=frozenset(proving),
        end_ns=max(0, max(times) - start) if times else None,
        hit={
            interval.step: interval.targets for interval in history.fault_intervals() if interval.took_effect
        },
    )


# The reductions


Reduction = Callable[[Case, Seen], Search[Case]]


def recorded_operations(case: Case, seen: Seen) -> Search[Case]:
    """What clients did becomes data, and of that, if possible at once, only what proves the anomaly."""
    stream = seen.recorded if case.operations is None else case.operations
    unchanged = case.with_operations(stream)
    whole = _given_up_sooner(unchanged, seen)
    ends = _ends(seen)
    proposals = []
    proving = _proving(stream, seen)
    about = _about_key(stream, seen.anomaly.key)
    for some in (proving, about):
        if some and len(some) < len(stream):
            proposals += [whole.with_operations(some).cut(end) for end in ends] or [
                whole.with_operations(some)
            ]
    proposals += [whole.cut(end) for end in ends[-1:] if end < case.scenario.time_limit * SECOND]
    if case.operations is None:
        proposals += [whole] if whole == unchanged else [whole, unchanged]
    return (yield from first_of(case, proposals))


def _proving(stream: Sequence[RecordedOperation], seen: Seen) -> tuple[RecordedOperation, ...]:
    """The operations of the stream that prove the anomaly."""
    counts: dict[int, int] = {}
    kept = []
    # A thread invokes its operations in order of their times, so its nth is the same in stream and history.
    for one in sorted(stream, key=lambda one: one.at_ns):
        count = counts[one.thread] = counts.get(one.thread, -1) + 1
        if (one.thread, count) in seen.proving:
            kept.append(one)
    return tuple(kept)


def _about_key(stream: Sequence[RecordedOperation], key: Any) -> tuple[RecordedOperation, ...]:
    """The operations on one key, for workloads whose values name it first."""
    if key is None:
        return ()
    return tuple(
        one
        for one in stream
        if isinstance(one.value, list | tuple) and len(one.value) > 1 and one.value[0] == key
    )


def _ends(seen: Seen) -> list[int]:
    """When the main phase may be over: soon after the anomaly was there, in full tenths of a second."""
    if seen.end_ns is None:
        return []
    end = -(-seen.end_ns // TENTH) * TENTH
    return [end + TENTH, end + SECOND]


LAST_STEPS_TRIED = 3
LEADS = (SECOND // 2, 2 * SECOND)
"""So long before a step a run may begin that is only about what followed it."""


def around_it(case: Case, seen: Seen) -> Search[Case]:
    """Only the time around the anomaly: from just before one of the last steps that began before it."""
    if case.operations is None:
        return case
    end = round(case.scenario.time_limit * SECOND) if seen.end_ns is None else seen.end_ns
    begun = sorted((step.at_ns for step in case.steps if step.at_ns < end), reverse=True)[:LAST_STEPS_TRIED]
    proposals = []
    for start in [at - lead for at in begun for lead in LEADS if at - lead >= TENTH]:
        later = case.begun_at(start)
        assert later.operations is not None, "a stream stays a stream"
        about = _about_key(later.operations, seen.anomaly.key)
        if about and len(about) < len(later.operations):
            proposals.append(later.with_operations(about))
        proposals.append(later)
    return (yield from first_of(case, proposals))


def shorter_run(case: Case, seen: Seen) -> Search[Case]:
    """Over as soon as the anomaly is there, or as early as can be."""
    limit = round(case.scenario.time_limit * SECOND)
    ends = _ends(seen)
    case = yield from first_of(case, [case.cut(end) for end in ends if end < limit])
    if ends and case.scenario.time_limit * SECOND <= ends[0]:
        return case  # What proves it is not over any earlier.
    tenths = -(-round(case.scenario.time_limit * SECOND) // TENTH)
    whole = case

    def lasting(tenths_kept: int) -> Case:
        return whole if tenths_kept == tenths else whole.cut(tenths_kept * TENTH)

    return (yield from mapped(smallest(tenths, 1, max(1, tenths // 10)), lasting))


def fewer_steps(case: Case, seen: Seen) -> Search[Case]:
    """Only the steps that are needed."""
    return (yield from mapped(ddmin(case.steps), case.with_steps))


def narrower_steps(case: Case, seen: Seen) -> Search[Case]:
    """Each step at fewer nodes, by name, in the simplest shape. Who leads stays symbolic: that is what is meant."""
    for position, step in enumerate(case.steps):
        proposals = simpler_aims(step, seen.hit.get(step.id, ()))
        case = yield from first_of(case, [case.with_step(position, one) for one in proposals])
    return case


def simpler_aims(step: Step, hit: Sequence[str]) -> list[Step]:
    """The step at one of the nodes that it hit, then at two of them; before that, in a simpler shape."""
    target = step.target
    if target == LEADER and step.shape in (None, LEADER):
        return []
    if target is not None and target not in (*TARGETS, *ROLES) and "+" not in target:
        names: list[str] = []
    else:
        names = [name for name in hit if name != target]
        names += [f"{a}+{b}" for at, a in enumerate(hit) for b in hit[at + 1 :] if len(hit) > 2]
    if target == LEADER:
        names = [LEADER]
    shapes = [step.shape]
    if step.fault == "partition" and step.shape in ("halves", "majority", "ring", "bridge", "one-way"):
        shapes = [LEADER if target == LEADER else "one", step.shape]
        names = names or ([target] if target is not None else [])
    aims = [(shape, name) for shape in shapes for name in names]
    return [
        msgspec.structs.replace(step, shape=shape, target=name)
        for shape, name in aims
        if (shape, name) != (step.shape, target)
    ]


def briefer_steps(case: Case, seen: Seen) -> Search[Case]:
    """Each step as short as can be, which also takes apart those that overlap without need."""
    for position in range(len(case.steps)):
        whole, step = case, case.steps[position]
        tenths = -(-step.duration_ns // TENTH)

        def lasting(
            kept: int, whole: Case = whole, step: Step = step, position: int = position, all_: int = tenths
        ) -> Case:
            if kept == all_:
                return whole
            return whole.with_step(position, msgspec.structs.replace(step, duration_ns=kept * TENTH))

        case = yield from mapped(smallest(tenths, 1, max(1, tenths // 8)), lasting)
    return case


LONG_GAP = SECOND // 2
GAPS_TRIED = 8


def closer_together(case: Case, seen: Seen) -> Search[Case]:
    """Without the times in which nothing begins or ends: everything earlier, all gaps at once, then one by one."""
    if case.operations is None:
        return case
    proposals = [closed for gap in (TENTH, 3 * TENTH, SECOND) if (closed := close_gaps(case, gap)) != case]
    case = yield from first_of(case, proposals)
    longest = sorted(_gaps(case), key=lambda gap: (gap[0] - gap[1], gap[0]))[:GAPS_TRIED]
    for start, _ in sorted(longest, reverse=True):  # The last one first: then the others stay where they are.
        end = next((right for left, right in _gaps(case) if left == start), start)
        if end - start <= LONG_GAP:
            continue
        whole, tenths = case, -(-(end - start) // TENTH)

        def with_gap(
            kept: int, whole: Case = whole, start: int = start, end: int = end, all_: int = tenths
        ) -> Case:
            return whole if kept == all_ else _close(whole, start, end, kept * TENTH)

        case = yield from mapped(smallest(tenths, 1, max(2, tenths // 6)), with_gap)
    return case


def close_gaps(case: Case, gap_ns: int) -> Case:
    """No gap is longer than this."""
    for start, end in reversed(_gaps(case)):
        if end - start > gap_ns:
            case = _close(case, start, end, gap_ns)
    return case


def _gaps(case: Case) -> list[tuple[int, int]]:
    """The times between two moments at which something is planned, in order."""
    moments = {0, round(case.scenario.time_limit * SECOND)}
    moments |= {step.at_ns for step in case.steps} | {step.end_ns for step in case.steps}
    moments |= {one.at_ns for one in case.operations or ()}
    ordered = sorted(moments)
    return list(itertools.pairwise(ordered))


def _close(case: Case, start: int, end: int, gap_ns: int) -> Case:
    """Everything from `end` on is earlier, so that the gap from `start` is that long."""
    saved = end - start - gap_ns
    if saved <= 0:
        return case

    def moved(time: int) -> int:
        return time - saved if time >= end else min(time, start + gap_ns)

    steps = tuple(
        msgspec.structs.replace(
            step, at_ns=moved(step.at_ns), duration_ns=moved(step.end_ns) - moved(step.at_ns)
        )
        for step in case.steps
    )
    operations = tuple(msgspec.structs.replace(one, at_ns=moved(one.at_ns)) for one in case.operations or ())
    limit = moved(round(case.scenario.time_limit * SECOND))
    moved_case = msgspec.structs.replace(case, steps=steps, operations=operations)
    return moved_case.with_scenario(time_limit=_limit_s(limit))


def fewer_clients(case: Case, seen: Seen) -> Search[Case]:
    """Only the clients that are needed, and no others waiting."""
    if case.operations is None:
        return case
    stream = case.operations

    def of_threads(threads: tuple[int, ...]) -> Case:
        return case.with_operations(one for one in stream if one.thread in threads)

    fewer = yield from mapped(ddmin(sorted({one.thread for one in stream})), of_threads)
    nodes = fewer.scenario.nodes
    denser = [on_lowest_threads(fewer, nodes, at_their_nodes=one) for one in (False, True)]
    return (
        yield from first_of(
            fewer, [one for one in denser if one.scenario.processes < fewer.scenario.processes]
        )
    )


def on_lowest_threads(case: Case, nodes: int, *, at_their_nodes: bool) -> Case:
    """The clients on the lowest threads of a cluster of `nodes`, if wanted each at its node (or, where that is gone, at
    another one); then a thread may be left idle."""
    assert case.operations is not None, "the clients of a workload's own operations cannot be moved"
    place: dict[int, int] = {}
    for thread in sorted({one.thread for one in case.operations}):
        first, apart = ((thread % case.scenario.nodes) % nodes, nodes) if at_their_nodes else (0, 1)
        place[thread] = next(one for one in itertools.count(first, apart) if one not in place.values())
    moved = case.with_operations(
        msgspec.structs.replace(one, thread=place[one.thread]) for one in case.operations
    )
    return moved.with_scenario(concurrency=str(max(place.values(), default=0) + 1))


def fewer_operations(case: Case, seen: Seen) -> Search[Case]:
    """Only the operations that are needed."""
    if case.operations is None:
        return case
    return (yield from mapped(ddmin(case.operations), case.with_operations))


def fewer_nodes(case: Case, seen: Seen) -> Search[Case]:
    """The smallest cluster in which it happens."""
    if case.operations is None:
        return case
    proposals = []
    for nodes in range(1, case.scenario.nodes):
        names = set(node_names(nodes))
        named = {name for step in case.steps for name in (step.target or "").split("+")} - {
            "",
            *TARGETS,
            *ROLES,
        }
        if named <= names:
            replication = min(case.scenario.replication, nodes)
            for kept in (False, True):
                smaller = on_lowest_threads(case, nodes, at_their_nodes=kept)
                proposals.append(smaller.with_scenario(nodes=nodes, replication=replication))
    return (yield from first_of(case, proposals))


def fewer_ranges(case: Case, seen: Seen) -> Search[Case]:
    """As few ranges as can be."""

    def of_ranges(ranges: int) -> Case:
        return case if ranges == case.scenario.ranges else case.with_scenario(ranges=ranges)

    most_wrong = max(1, case.scenario.ranges // 3)
    return (yield from mapped(smallest(case.scenario.ranges, 1, most_wrong), of_ranges))


def plainer_scenario(case: Case, seen: Seen) -> Search[Case]:
    """Settings that no longer decide anything say what is there: the rate of the stream, the usual intensity."""
    if case.operations is None:
        return case
    rate = max(1.0, round(len(case.operations) / case.scenario.time_limit))
    plain = case.with_steps(case.steps).with_scenario(intensity=1.0, rate=min(case.scenario.rate, rate))
    proposals = [_given_up_sooner(plain, seen)]
    if proposals[0] != plain:
        proposals.append(plain)
    return (yield from first_of(case, [one for one in proposals if one != case]))


SHORT_RECOVERY_S = 10.0


def _given_up_sooner(case: Case, seen: Seen) -> Case:
    """Where the main phase proves the anomaly, a cluster that does not recover need not be waited for: of a database
    with a defect those runs cost the most. Else the wait may be what shows it."""
    if seen.end_ns is None or case.scenario.recovery_timeout <= SHORT_RECOVERY_S:
        return case
    return case.with_scenario(recovery_timeout=SHORT_RECOVERY_S)


REDUCTIONS: tuple[tuple[str, Reduction], ...] = (
    ("what proves it", recorded_operations),
    ("plainer settings", plainer_scenario),
    ("around it", around_it),
    ("fewer steps", fewer_steps),
    ("a shorter run", shorter_run),
    ("fewer operations", fewer_operations),
    ("fewer clients", fewer_clients),
    ("fewer ranges", fewer_ranges),
    ("narrower steps", narrower_steps),
    ("briefer steps", briefer_steps),
    ("closer together", closer_together),
    ("fewer nodes", fewer_nodes),
)
"""In the order in which they are tried, again and again until none helps any more: first what makes every later try
cheaper, since a simulated run costs what its time and its operations cost."""
