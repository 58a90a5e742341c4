"""The frozen description of one run; every command-line flag is a field; loads from and saves to TOML.

Rules that live here:
- A scenario is data only. The names in it (workload, system, environment, nemesis) are resolved by `harness.catalog`.
- A scenario that was saved and loaded again is equal to the first.
- Whatever is wrong with a scenario is said in one go, with the value, the rule and the way out (`ScenarioError`).
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from harness.secret_options import problems_with_secrets

Option = str | int | float | bool
"""A value of a workload or system option as it is written in TOML."""

MAX_SEED = 2**63 - 1


class ScenarioError(ValueError):
    """Wrong usage: a scenario that cannot mean anything. The command line ends with exit code 2."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one run does. Durations are in seconds, rates in operations a second."""

    seed: int
    workload: str
    system: str = "reference-db"
    environment: str = "local"
    nodes: int = 3
    replication: int = 3
    ranges: int = 8
    nemesis: str = "partition,kill,pause"
    intensity: float = 1.0
    """How often faults come: with 2, the gaps between the faults of a kind are half as long as usual."""
    time_limit: float = 60.0
    concurrency: str = "2n"
    rate: float = 200.0
    operation_timeout: float = 5.0
    recovery_timeout: float = 60.0
    """Longest wait, after healing, until every node is ready and the final reads have succeeded."""
    defect: str | None = None
    system_options: dict[str, Option] = {}
    environment_options: dict[str, Option] = {}
    workload_options: dict[str, Option] = {}
    isolation: str | None = None
    """What is demanded of transactions; None: what the workload demands by default."""
    consistency: str | None = None
    """What is demanded of single objects; None: what the workload demands by default."""
    checkers: str | None = None
    """Checkers that judge the history beside the workload's own: plug-ins, separated by commas."""
    least_ok_fraction: float | None = None
    """Less than this share of answered operations in the main phase makes the verdict invalid; None: not judged."""
    longest_outage: float | None = None
    """A longer time without any answer in the main phase makes the verdict invalid; None: not judged."""
    longest_recovery: float | None = None
    """A service that needs longer to be back to normal after a fault was healed is invalid; None: not judged."""
    fail_fast: bool = False
    """Whether the first violation that is seen during the run ends its main phase."""
    check_time_limit: float = 120.0
    check_memory_limit_mb: int = 4096
    schedule_file: str | None = None
    """A saved `schedule.jsonl` to execute instead of drawing one from the seed."""
    operations_file: str | None = None
    """A saved `operations.jsonl`, whose operations are invoked in the main phase instead of those of the workload."""
    invariants: bool = True
    """Whether the nodes are watched from inside, where an environment and a system can: in simulation."""

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ScenarioError("; ".join(problems))

    def _problems(self) -> list[str]:
        problems = []
        if not 0 <= self.seed <= MAX_SEED:
            problems.append(f"seed {self.seed}: must be between 0 and {MAX_SEED}")
        if not 1 <= self.nodes <= 64:
            problems.append(f"nodes {self.nodes}: must be between 1 and 64")
        if not 1 <= self.replication <= self.nodes:
            problems.append(
                f"replication {self.replication}: must be between 1 and the number of nodes ({self.nodes}); "
                f"give --replication {max(1, min(self.replication, self.nodes))} or more nodes"
            )
        if not 1 <= self.ranges <= 10_000:
            problems.append(f"ranges {self.ranges}: must be between 1 and 10000")
        if not 0 < self.time_limit <= 7 * 86_400:
            problems.append(f"time limit {self.time_limit:g} s: must be above 0 and at most a week")
        if not 0 < self.rate <= 1_000_000:
            problems.append(f"rate {self.rate:g}: must be above 0 and at most 1000000 operations a second")
        if not 0.01 <= self.intensity <= 100:
            problems.append(f"intensity {self.intensity:g}: must be between 0.01 and 100 (1 is the usual)")
        if not 0 < self.operation_timeout <= 3600:
            problems.append(
                f"operation timeout {self.operation_timeout:g} s: must be above 0 and at most an hour"
            )
        if not 0 < self.recovery_timeout <= 86_400:
            problems.append(
                f"recovery timeout {self.recovery_timeout:g} s: must be above 0 and at most a day"
            )
        if self.least_ok_fraction is not None and not 0 <= self.least_ok_fraction <= 1:
            problems.append(
                f"least ok fraction {self.least_ok_fraction:g}: must be between 0 and 1 (0.9: nine of ten answered)"
            )
        for what, seconds in (
            ("longest outage", self.longest_outage),
            ("longest recovery", self.longest_recovery),
        ):
            if seconds is not None and not 0 < seconds <= 86_400:
                problems.append(f"{what} {seconds:g} s: must be above 0 and at most a day")
        if not self.check_time_limit > 0:
            problems.append(f"check time limit {self.check_time_limit:g} s: must be above 0")
        if self.check_memory_limit_mb < 16:
            problems.append(f"check memory limit {self.check_memory_limit_mb} MB: must be at least 16")
        for what in ("system", "environment", "workload"):
            problems += problems_with_secrets(f"{what} option", getattr(self, f"{what}_options"))
        try:
            parse_concurrency(self.concurrency, max(1, self.nodes))
        except ScenarioError as error:
            problems.append(str(error))
        return problems

    @property
    def node_names(self) -> list[str]:
        """`n1`, `n2`, ...: one name a node."""
        return node_names(self.nodes)

    @property
    def processes(self) -> int:
        """How many client processes run at once."""
        return parse_concurrency(self.concurrency, self.nodes)

    def command(self, program: str = "harness") -> str:
        """The exact command that repeats this run, quoted for a shell."""
        words = [program, "test", "--seed", str(self.seed), "--workload", self.workload]
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if field.name in ("seed", "workload") or value == field.default:
                continue
            flag = "--" + field.name.replace("_", "-")
            if field.name.endswith("_options"):
                for key, option in sorted(value.items()):
                    words += [flag.removesuffix("s"), f"{key}={_option_text(option)}"]
            elif isinstance(value, bool):
                words.append(flag if value else "--no-" + field.name.replace("_", "-"))
            else:
                words += [flag, _number_text(value) if isinstance(value, float) else str(value)]
        return shlex.join(words)

    def to_toml(self) -> str:
        """The scenario as TOML; `from_toml` gives an equal one back."""
        lines, tables = [], []
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                tables.append((field.name, value))
            elif value is not None:
                lines.append(f"{field.name} = {toml_value(value)}")
        for name, table in tables:
            lines.append(f"\n[{name}]")
            lines += [f"{toml_key(key)} = {toml_value(option)}" for key, option in sorted(table.items())]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> Scenario:
        """Reads what `to_toml` writes, or what a person wrote; raises `ScenarioError`."""
        try:
            return cls.from_dict(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ScenarioError(f"not TOML: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scenario:
        """A scenario from plain values, for example those of a saved `scenario.toml`; raises `ScenarioError`."""
        try:
            return msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise ScenarioError(str(error)) from error

    @classmethod
    def load(cls, path: Path) -> Scenario:
        """Reads the file of a saved scenario, which says everything; the error names the file."""
        fields = fields_in(path)
        try:
            return cls.from_dict(fields)
        except ScenarioError as error:
            raise ScenarioError(f"{path}: {error}") from error


def fields_in(path: Path) -> dict[str, Any]:
    """What a scenario file says, which need not be everything; the error names the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"cannot read the scenario {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: not TOML: {error}") from error


def node_names(count: int) -> list[str]:
    """`n1`, `n2`, ...: one name a node."""
    return [f"n{number}" for number in range(1, count + 1)]


def parse_concurrency(text: str, nodes: int) -> int:
    """`10` is ten processes; `2n` is two for each node. Raises `ScenarioError` for anything else."""
    match = re.fullmatch(r"(\d{1,6})(n?)", text.strip())
    count = int(match[1]) * (nodes if match[2] else 1) if match else 0
    if not 1 <= count <= 100_000:
        raise ScenarioError(
            f"concurrency {text!r}: must be a number of processes such as 10, or a multiple of the nodes "
            f"such as 2n, between 1 and 100000 in all"
        )
    return count


def parse_options(pairs: tuple[str, ...], what: str) -> dict[str, Option]:
    """`("reads=lease", "tick_ms=50")` as a dictionary; values that read as numbers or booleans become such."""
    options: dict[str, Option] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", key):
            raise ScenarioError(f"{what} {pair!r}: must be NAME=VALUE")
        name = key.replace("-", "_")
        if name in options:
            raise ScenarioError(f"{what} {name} is given twice, the second time as {text!r}: give it once")
        options[name] = _parse_option(text)
    return options


def _parse_option(text: str) -> Option:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _number_text(value: float) -> str:
    """As short as can be, and exactly this number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _option_text(value: Option) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def toml_key(key: str) -> str:
    """A key as TOML writes it."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def toml_value(value: Option) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
