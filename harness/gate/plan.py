"""What a gate runs, as a TOML file: a matrix of scenarios, seeds, known failures, and what a baseline may lose.

    seeds = "1-3"                            # of every cell
    budget = "10m"                           # nothing more is begun after this time
    retries = 1                              # a run that is not valid is repeated so often
    baseline = "gate-baseline.json"          # beside this file
    least_throughput_ratio = 0.8             # of the baseline's

    [scenario]                               # what all cells share: fields of a scenario
    environment = "simulation"
    time_limit = 20

    [matrix]                                 # a cell for each combination
    workload = ["bank", "register"]
    nemesis = ["none", "partition,kill"]

    [[include]]                              # one more cell
    workload = "set"
    seeds = "7"

    [[exclude]]                              # cells of the matrix that are left out
    workload = "bank"
    nemesis = "none"

    [[known]]                                # a failure that is known, and until when it is only a warning
    cell = "bank/*"
    anomaly = "leftover-record"
    reason = "being worked on, see the tracker"
    expires = 2027-01-31

    [control]                                # measures this machine: see `gate.py`
    workload = "register"
    nemesis = "none"

Everything that is wrong with a plan is said in one go (`ScenarioError`). A cell's name is what distinguishes it: the
values of the matrix's fields, joined by `/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from datetime import date
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from harness.explore.durations import parse_duration
from harness.explore.seed_ranges import count_seeds, iterate, parse_seeds
from harness.scenario import Scenario, ScenarioError

RUNS_MOST = 100_000
RETRIES_MOST = 20
CONTROL = "control"
"""The name of the cell that measures the machine."""


class Known(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A failure that somebody knows of."""

    cell: str
    """A pattern for names of cells: `bank/*`."""
    anomaly: str
    """A pattern for kinds of anomalies, as the verdict names them."""
    reason: str
    expires: date
    """From this day on it is a failure like any other."""

    def covers(self, cell: str, anomaly: str) -> bool:
        """Whether it speaks of this kind of anomaly in this cell."""
        return fnmatchcase(cell, self.cell) and fnmatchcase(anomaly, self.anomaly)


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One combination of the matrix, and its runs."""

    name: str
    scenarios: tuple[Scenario, ...]
    """One a seed."""


class GatePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, read and checked."""

    name: str
    cells: tuple[Cell, ...]
    control: Cell | None = None
    budget_s: float | None = None
    may_leave_out: bool = False
    """Whether runs that the budget did not reach are no reason to stop the gate."""
    retries: int = 0
    baseline: Path | None = None
    least_throughput_ratio: float = 0.8
    known: tuple[Known, ...] = ()

    @property
    def all_cells(self) -> tuple[Cell, ...]:
        """The cells, and the control if there is one."""
        return self.cells if self.control is None else (*self.cells, self.control)

    @property
    def runs(self) -> int:
        """How many runs there are, retries and the control's aside."""
        return sum(len(cell.scenarios) for cell in self.cells)


class _File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The file as it is written."""

    name: str | None = None
    seeds: str = "1"
    budget: str | None = None
    may_leave_out: bool = False
    retries: int = 0
    baseline: str | None = None
    least_throughput_ratio: float = 0.8
    scenario: dict[str, Any] = {}
    matrix: dict[str, list[Any]] = {}
    include: list[dict[str, Any]] = []
    exclude: list[dict[str, Any]] = []
    known: list[Known] = []
    control: dict[str, Any] | None = None


def load_plan(path: Path) -> GatePlan:
    """The plan in a file. Raises ScenarioError, which names the file and everything that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"cannot read the plan {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path} is no text: {error}") from error
    try:
        return read_plan(text, name=path.stem, folder=path.parent)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from error


def read_plan(text: str, *, name: str = "gate", folder: Path = Path()) -> GatePlan:
    """The plan in a text; `folder` is where its baseline lies. Raises ScenarioError."""
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ScenarioError(str(error)) from error
    problems: list[str] = []
    if not 0 <= file.retries <= RETRIES_MOST:
        problems.append(f"retries {file.retries}: must be between 0 and {RETRIES_MOST}")
    if not 0 < file.least_throughput_ratio <= 1:
        problems.append(
            f"least_throughput_ratio {file.least_throughput_ratio:g}: must be above 0 and at most 1 "
            "(0.8: a fifth less than in the baseline is allowed)"
        )
    problems += [
        f"[[known]] {known.cell}: a reason must be given" for known in file.known if not known.reason.strip()
    ]
    cells = list(_cells(file, problems))
    if not cells and not problems:
        problems.append(
            "no cell is left: [matrix] and [[include]] say what to run, [[exclude]] takes from the matrix"
        )
    runs = sum(len(cell.scenarios) for cell in cells)
    if runs > RUNS_MOST:
        problems.append(f"{runs} runs are more than {RUNS_MOST}; ask for fewer seeds")
    names = [cell.name for cell in cells]
    problems += [
        f"two cells are called {one!r}; leave one out, or merge their seeds"
        for one in _twice([*names, CONTROL])
    ]
    control = None if file.control is None else _cell(CONTROL, file, file.control, problems)
    budget = None
    if file.budget is not None:
        try:
            budget = parse_duration(file.budget)
        except ScenarioError as error:
            problems.append(str(error))
    if problems:
        raise ScenarioError("; ".join(dict.fromkeys(problems)))
    return GatePlan(
        name=file.name or name,
        cells=tuple(cells),
        control=control,
        budget_s=budget,
        may_leave_out=file.may_leave_out,
        retries=file.retries,
        baseline=None if file.baseline is None else folder / file.baseline,
        least_throughput_ratio=file.least_throughput_ratio,
        known=tuple(file.known),
    )


def _cells(file: _File, problems: list[str]) -> Iterator[Cell]:
    fields = list(file.matrix)
    for field in fields:
        if not file.matrix[field]:
            problems.append(f"[matrix] {field}: the list is empty, so there is nothing to run")
    if fields:
        for values in product(*(file.matrix[field] for field in fields)):
            chosen = dict(zip(fields, values, strict=True))
            if any(_fits(exclude, {**file.scenario, **chosen}) for exclude in file.exclude):
                continue
            cell = _cell("/".join(map(_shown, values)), file, chosen, problems)
            if cell is not None:
                yield cell
    elif file.exclude:
        problems.append("[[exclude]] takes cells from [matrix], and there is no [matrix]")
    for include in file.include:
        distinct = {field: value for field, value in include.items() if field != "seeds"}
        cell = _cell("/".join(map(_shown, distinct.values())), file, include, problems)
        if cell is not None:
            yield cell


def _cell(name: str, file: _File, chosen: dict[str, Any], problems: list[str]) -> Cell | None:
    """A cell with its scenarios; None, and the problems, if it makes none."""
    values = {**file.scenario, **chosen}
    text = str(values.pop("seeds", file.seeds))
    for field in ("system_options", "workload_options", "environment_options"):
        # A cell adds options to those that all share.
        if field in file.scenario and field in chosen and isinstance(chosen[field], dict):
            values[field] = {**file.scenario[field], **chosen[field]}
    if "seed" in values:
        problems.append(f"cell {name!r}: seeds are given by `seeds`, not by `seed`")
        return None
    try:
        ranges = parse_seeds(text)
        if count_seeds(ranges) > RUNS_MOST:
            raise ScenarioError(f"{count_seeds(ranges)} seeds are more than {RUNS_MOST}")
        scenarios = [Scenario.from_dict({**values, "seed": seed}) for seed in iterate(ranges)]
    except ScenarioError as error:
        problems.append(f"cell {name!r}: {error}")
        return None
    return Cell(name=name, scenarios=tuple(scenarios))


def _fits(exclude: dict[str, Any], values: dict[str, Any]) -> bool:
    return all(values.get(field) == value for field, value in exclude.items())


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={one}" for key, one in value.items())
    return str(value)


def _twice(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
