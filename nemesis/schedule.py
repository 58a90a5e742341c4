"""Faults as data: what, to whom, when, how long; parsed from the command line, drawn from a random stream, saved.

Nothing in this file knows the time or a cluster. A schedule is a list of steps, each an interval with a fault, a
shape and a *symbolic* target (`leader`, `minority`, `n2`); the target is resolved when the step is due, because
only then is it known who leads. The same seed draws the same schedule; a saved one replays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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
)
"""Every fault class that the command line knows, whether or not it is available somewhere."""


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
    """Steps in order of their start; ids are unique. `requested` are the fault classes that this run must show."""

    steps: tuple[Step, ...] = ()
    requested: tuple[str, ...] = ()

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
            if step.fault not in NAMES:
                problems.append(f"step {step.id}: unknown fault {step.fault!r}; known: {', '.join(NAMES)}")
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


def parse_nemesis(text: str) -> list[Request]:
    """`"partition:bridge,kill@leader,clock"` -> requests; `"none"` -> []; `"all"` -> [ALL].

    Raises ValueError (exit 2) for an unknown name, an empty element or `none` beside others. Whether a shape or a
    target exists is checked by the package (`package.choose`), which knows them.
    """
    elements = [element.strip() for element in text.split(",")]
    if elements in (["none"], [""]):
        return []
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
        elif name in NAMES:
            request = Request(name, shape or None, target or None)
            if request not in requests:
                requests.append(request)
        else:
            raise ValueError(f"unknown nemesis {name!r}; known: {', '.join(NAMES)}, all, none")
    return requests
