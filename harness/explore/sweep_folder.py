"""What a sweep leaves behind, so that it can be read and gone on with: `sweep.toml`, `results.jsonl`, `summary.md`.

    runs/sweep-20260101T120000Z-bank/
        sweep.toml       what was asked, and of which code
        results.jsonl    one line a seed, written as soon as the seed is done
        summary.md       the last summary, in words
        seed-17/         the run folder of a seed that is not valid

The lines of `results.jsonl` outlive a `kill -9` of the sweep; a last line that was cut off is dropped when the sweep
goes on, and its seed is run again.
"""

from __future__ import annotations

import fcntl
import os
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from harness.explore.seed_ranges import parse_seeds
from harness.explore.trial import TrialResult
from harness.scenario import Scenario, ScenarioError, toml_key, toml_value
from results.run_folder import RunFolder, RunFolderError, new_folder

LATEST = "latest"


class SweepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of a sweep; all that decides what its seeds do."""

    seeds: str
    """As on the command line: `1-2000`."""
    given: dict[str, Any]
    """Fields of the scenario that are the same for every seed."""
    draw: bool = True
    """Whether each seed draws what is not given; else it is as `harness test` has it."""
    until_failure: bool = False
    """Go on behind the last seed, and end at the first failure."""
    code: str
    """Digest of the code that was asked."""

    def __post_init__(self) -> None:
        parse_seeds(self.seeds)

    def to_toml(self) -> str:
        """As `from_toml` reads it."""
        plain = {name: value for name, value in self.given.items() if not isinstance(value, dict)}
        tables = {name: value for name, value in self.given.items() if isinstance(value, dict)}
        lines = [
            f"{name} = {toml_value(getattr(self, name))}"
            for name in ("seeds", "draw", "until_failure", "code")
        ]
        lines += ["", "[given]"]
        lines += [f"{name} = {toml_value(value)}" for name, value in plain.items() if value is not None]
        for name, table in tables.items():
            lines += ["", f"[given.{name}]"]
            lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in sorted(table.items())]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> SweepPlan:
        """Raises ScenarioError for what is no plan."""
        try:
            return msgspec.convert(tomllib.loads(text), cls)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise ScenarioError(str(error)) from error


class SweepFolder:
    """A sweep on disk, and the only writer of it: made by `create`, gone on with by `open`."""

    def __init__(self, path: Path, plan: SweepPlan) -> None:
        self.path = path
        self.plan = plan
        self._file: int | None = None

    @classmethod
    def create(cls, runs_dir: Path, plan: SweepPlan, *, now: datetime | None = None) -> SweepFolder:
        """Makes `runs_dir/sweep-<UTC time>-<workload>`. Raises RunFolderError where it cannot be made."""
        path = new_folder(runs_dir, f"sweep-{{time}}-{plan.given['workload']}", now)
        folder = cls(path, plan)
        (path / "sweep.toml").write_text(plan.to_toml(), encoding="utf-8")
        folder._claim()
        return folder

    @classmethod
    def open(cls, path: Path | str, runs_dir: Path) -> SweepFolder:
        """The sweep in a folder (`latest`: the newest one), to go on with.

        Raises ScenarioError if there is none, or if another process works on it.
        """
        given = Path(path)
        if str(path) == LATEST and not given.exists():
            sweeps = sorted(runs_dir.glob("sweep-*/sweep.toml"))
            if not sweeps:
                raise ScenarioError(f"there is no sweep in {runs_dir}; `harness sweep` makes one")
            given = sweeps[-1].parent
        try:
            plan = SweepPlan.from_toml((given / "sweep.toml").read_text(encoding="utf-8"))
        except OSError as error:
            raise ScenarioError(
                f"{given} is not the folder of a sweep: cannot read its sweep.toml ({error.strerror})"
            ) from error
        except UnicodeDecodeError as error:
            raise ScenarioError(f"{given / 'sweep.toml'} is no text: {error}; begin a new sweep") from error
        except ScenarioError as error:
            raise ScenarioError(f"{given / 'sweep.toml'}: {error}") from error
        folder = cls(given, plan)
        folder._claim()
        return folder

    @property
    def results_path(self) -> Path:
        return self.path / "results.jsonl"

    def _claim(self) -> None:
        self._file = os.open(self.results_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise ScenarioError(f"the sweep {self.path} is in progress in another process") from None

    def results(self) -> Iterator[TrialResult]:
        """What is known so far, a seed at most once. Drops a last line that was cut off.

        Raises RunFolderError for a line in the middle that is no result.
        """
        assert self._file is not None, f"the sweep folder {self.path} is closed"
        data = self.results_path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.ftruncate(self._file, len(whole))
        seen: set[int] = set()
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                result = msgspec.json.decode(line, type=TrialResult)
            except msgspec.MsgspecError as error:
                raise RunFolderError(
                    f"{self.results_path}, line {number}: not the result of a seed: {error}; remove the line, and "
                    "its seed is run again"
                ) from error
            if result.seed not in seen:
                seen.add(result.seed)
                yield result

    def append(self, result: TrialResult) -> None:
        """Writes a result at once; it is safe from a kill of this process when this returns.

        Raises RunFolderError where the disk takes no more.
        """
        assert self._file is not None, f"the sweep folder {self.path} is closed"
        line = msgspec.json.encode(result) + b"\n"
        try:
            written = os.write(self._file, line)
            while written < len(line):  # A nearly full disk takes a part; the next write says why.
                line = line[written:]
                written = os.write(self._file, line)
        except OSError as error:
            raise RunFolderError(f"cannot write {self.results_path}: {error.strerror}") from error

    def write_summary(self, text: str) -> None:
        """Puts the summary in place of the last one. Raises RunFolderError where the disk takes no more."""
        temporary = self.path / ".summary.md"
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path / "summary.md")
        except OSError as error:
            raise RunFolderError(f"cannot write {self.path / 'summary.md'}: {error.strerror}") from error

    def run_folder(self, seed: int) -> RunFolder:
        """Where the run of a seed is, or would be."""
        return RunFolder(self.path / run_name(seed))

    def close(self) -> None:
        """Lets go of the folder. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> SweepFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_name(seed: int) -> str:
    """The name of a seed's run folder in the folder of its sweep."""
    return f"seed-{seed}"


def scenario_of(plan: SweepPlan, seed: int) -> Scenario:
    """What a seed of this plan runs."""
    from harness.explore.swarm import draw_scenario

    if plan.draw:
        return draw_scenario(seed, plan.given)
    return Scenario.from_dict({**plan.given, "seed": seed})
