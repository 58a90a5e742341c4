"""Faults as data: what, to whom, when, how long; parsed from the command line, drawn from a random stream, saved.

Nothing in this file knows the time or a cluster. A schedule is a list of steps, each an interval with a fault, a
shape and a *symbolic* target (`leader`, `minority`, `n2`); the target is resolved when the step is due, because
only then is it known who leads. The same seed draws the same schedule; a saved one replays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

import msgspec

NAMES: tuple[str, ...] = (
    "partition",
    "packet",
    "kill",
    "pause",
    "restart",
    "resources",
    "clock",
    "disk",
    "membership",
    "split",
    "merge",
    "move",
    "transfer",
    "coordinator",
    "lagging",
    "dns",
)
"""Every fault class that the command line knows, whether or not it is available somewhere. Plug-ins bring others."""
BY_NAME_ONLY = frozenset({"coordinator"})
"""Not among `all`: what no fault from outside could do so exactly."""

FAULT_NAME = re.compile(r"[a-z][a-z0-9-]*")
"""What a fault class may be called."""


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fault: it starts at `at_ns` after the start of the main phase and is healed `duration_ns` later.

    `parameters` holds what was drawn for this step (offsets, delays, and `draw`, an integer that seeds the choice
    among candidates when the target is resolved), so that a replay of the step chooses the same.
    """

    id: int
    at_ns: int
    fault: str
    shape: str | None = None
    target: str | None = None
    duration_ns: int = 0
    parameters: dict[str, Any] = {}

    @property
    def end_ns(self) -> int:
        """When the heal of this step is due, in nanoseconds after the start of the main phase."""
        return self.at_ns + self.duration_ns

    def describe(self) -> str:
        """`partition:bridge@n2 at 3.0 s for 4.5 s`."""
        name = (
            self.fault + (f":{self.shape}" if self.shape else "") + (f"@{self.target}" if self.target else "")
        )
        return f"{name} at {self.at_ns / 1e9:.1f} s for {self.duration_ns / 1e9:.1f} s"


class Request(msgspec.Struct, frozen=True):
    """One element of `--nemesis`: `name[:shape][@target]`. Shape and target are None where they are to be drawn."""

    name: str
    shape: str | None = None
    target: str | None = None

    def __str__(self) -> str:
        return (
            self.name + (f":{self.shape}" if self.shape else "") + (f"@{self.target}" if self.target else "")
        )


ALL = Request("all")
"""Everything that this environment and system can do."""


class Schedule(msgspec.Struct, frozen=True):
    """Steps in order of their start; ids are unique."""

    steps: tuple[Step, ...] = ()
    requested: tuple[str, ...] = ()
    """What this run must show to have proven anything: fault classes, with the shape where one was asked for
    (`partition:bridge`)."""

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def faults(self) -> tuple[str, ...]:
        """The fault classes that occur, sorted."""
        return tuple(sorted({step.fault for step in self.steps}))

    def to_dicts(self) -> list[dict[str, Any]]:
        """JSON-like form, one dict a step, for `RunFolder.write_schedule`."""
        return [msgspec.to_builtins(step) for step in self.steps]

    @classmethod
    def from_dicts(cls, steps: Iterable[dict[str, Any]], requested: Iterable[str] | None = None) -> Schedule:
        """Inverse of `to_dicts`; validates. What is requested is what occurs, unless it is given."""
        converted = [msgspec.convert(step, Step) for step in steps]
        return cls.of(converted, requested)

    @classmethod
    def of(cls, steps: Iterable[Step], requested: Iterable[str] | None = None) -> Schedule:
        """A schedule of these steps, sorted by start. Raises ValueError on repeated ids or negative times."""
        ordered = tuple(sorted(steps, key=lambda step: (step.at_ns, step.id)))
        problems = []
        seen: set[int] = set()
        for step in ordered:
            if step.id in seen:
                problems.append(f"step id {step.id} occurs twice: ids are unique")
            seen.add(step.id)
            if step.at_ns < 0 or step.duration_ns < 0:
                problems.append(
                    f"step {step.id}: at_ns {step.at_ns} and duration_ns {step.duration_ns} must be >= 0"
                )
            if not FAULT_NAME.fullmatch(step.fault):
                problems.append(
                    f"step {step.id}: {step.fault!r} is no name of a fault: lower-case letters, digits and hyphens"
                )
        if problems:
            raise ValueError("bad schedule: " + "; ".join(problems))
        wanted = tuple(sorted({step.fault for step in ordered} if requested is None else set(requested)))
        return cls(ordered, wanted)

    def save(self, path: Path) -> None:
        """Write as JSON lines, one step a line."""
        path.write_bytes(b"".join(msgspec.json.encode(step) + b"\n" for step in self.steps))

    @classmethod
    def load(cls, path: Path) -> Schedule:
        """Read JSON lines. Raises ValueError with the line number and the problem."""
        steps = []
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                try:
                    steps.append(msgspec.json.decode(line, type=Step))
                except msgspec.MsgspecError as error:
                    raise ValueError(f"{path}, line {number}: not a step of a schedule: {error}") from error
        return cls.of(steps)


def parse_nemesis(text: str, plugged: Collection[str] = ()) -> list[Request]:
    """`"partition:bridge,kill@leader,clock"` -> requests; `"none"` -> []; `"all"` -> [ALL]. `plugged` are names of
    fault classes beside `NAMES`.

    Raises ValueError (exit 2) for an unknown name, an empty element or `none` beside others. Whether a shape or a
    target exists is checked by the package (`package.choose`), which knows them.
    """
    elements = [element.strip() for element in text.split(",")]
    if elements == ["none"]:
        return []
    if elements == [""]:
        raise ValueError(
            "nemesis '' is empty: 'none' is a run without faults, 'all' everything that there is"
        )
    requests: list[Request] = []
    for element in elements:
        head, at, target = element.partition("@")
        name, colon, shape = head.partition(":")
        if not name or (at and not target) or (colon and not shape):
            raise ValueError(
                f"cannot read nemesis {element!r} in {text!r}: the form is name[:shape][@target]"
            )
        if name == "none":
            raise ValueError(f"'none' stands alone in --nemesis, got {text!r}")
        if name == "all":
            if shape or target:
                raise ValueError(f"'all' takes no shape or target, got {element!r}")
            requests.append(ALL)
        elif name in NAMES or name in plugged:
            request = Request(name, shape or None, target or None)
            if request not in requests:
                requests.append(request)
        else:
            raise ValueError(f"unknown nemesis {name!r}; known: {', '.join((*NAMES, *plugged))}, all, none")
    return requests


def requested_classes(requests: Iterable[Request]) -> tuple[str, ...]:
    """What requests oblige a run to show, sorted: `partition:bridge@n2` and `kill@leader` -> kill, partition:bridge.

    `all` obliges to nothing by itself: what it stands for depends on what there is (`package.choose`).
    """
    named = {str(Request(request.name, request.shape)) for request in requests if request != ALL}
    return tuple(sorted(named))


class Drawer(Protocol):
    """What drawing asks of a package (`package.Package` has it)."""

    def draw(
        self, request: Request, random: Random, nodes: Sequence[str], first: bool
    ) -> tuple[str | None, str | None, dict[str, Any]]:
        """Shape, target and parameters of one step."""


FIRST_WINDOW = (0.10, 0.36)
"""Part of the run within which every request starts for the first time."""
CALM_WINDOW = (0.45, 0.55)
"""Part of a run of `CALM_FROM_NS` or more in which nothing is broken: a cluster must be seen to recover."""
CALM_FROM_NS = 20_000_000_000
LAST_END = 0.95
"""Every step is over by then."""
CALM_SHARE = 0.4
"""About this share of the rest of a run is without any fault, however many requests there are."""


def draw(
    requests: Sequence[Request],
    random: Random,
    duration_ns: int,
    nodes: Sequence[str],
    packages: Mapping[str, Drawer],
    intensity: float = 1.0,
) -> Schedule:
    """Draw the steps of a run of `duration_ns`. Requests are concrete (`package.choose` has replaced `all`).

    Every request occurs at least once and starts within the first 36 % of the run. Steps of one request never
    overlap, those of different requests do. A step lasts 2 to 10 s, scaled down for runs under a minute (1.5 s in a
    run of 10 s): log-uniform, because the moments after a fault begins and ends tell most. First steps are shorter
    where many share the window of first starts, so that they do not all pile up. Gaps are such that about
    `CALM_SHARE` of the time is free of faults, however many requests there are; an `intensity` of 2 halves the gaps,
    one of 0.5 doubles them. Each request has a random stream of its own, so adding one to `--nemesis` leaves the
    steps of the others' aims as they were.
    """
    if not requests or duration_ns <= 0:
        return Schedule()
    root = random.getrandbits(64)
    shortest = min(2_000_000_000, int(duration_ns * 0.15))
    longest = max(shortest, min(10_000_000_000, duration_ns // 6))
    share_broken = 1 - CALM_SHARE ** (1 / len(requests))
    typical = int(math.sqrt(shortest * longest))
    last_end = int(duration_ns * LAST_END)
    order = sorted(requests, key=str)
    Random(f"{root}/order").shuffle(order)
    steps: list[Step] = []
    for position, request in enumerate(order):
        stream = Random(f"{root}/{request}")
        low, high = FIRST_WINDOW
        slot = duration_ns * (high - low) / len(order)
        start = int(duration_ns * low + slot * (position + 0.5 * stream.random()))
        first = True
        while True:
            length = int(math.exp(stream.uniform(math.log(shortest), math.log(longest))))
            if first:
                length = max(shortest, min(length, int(1.5 * slot)))
            aim = packages[request.name].draw(request, stream, nodes, first)
            gap = int(typical * (1 - share_broken) / share_broken * stream.uniform(0.5, 1.5) / intensity)
            start, length = _keep_calm(start, length, shortest, duration_ns)
            length = min(length, last_end - start)
            if length < shortest and not first:
                break
            steps.append(Step(0, start, request.name, aim[0], aim[1], length, aim[2]))
            start, first = start + length + gap, False
    steps.sort(key=lambda step: (step.at_ns, step.fault, step.end_ns))
    numbered = [msgspec.structs.replace(step, id=number) for number, step in enumerate(steps, start=1)]
    return Schedule.of(numbered, requested_classes(requests))


def _keep_calm(start: int, length: int, shortest: int, duration_ns: int) -> tuple[int, int]:
    """Shorten a step that runs into the calm window, or move it behind the window."""
    if duration_ns < CALM_FROM_NS:
        return start, length
    calm_start, calm_end = (int(duration_ns * part) for part in CALM_WINDOW)
    if start >= calm_end or start + length <= calm_start:
        return start, length
    if calm_start - start >= shortest:
        return start, calm_start - start
    return calm_end, length
