"""A pytest plug-in: scenario files are tests, and the fixture `harness` runs scenarios from tests.

    # bank.scenario.toml: `pytest` collects it, runs it, and fails unless the verdict is valid.
    workload = "bank"
    nemesis = "partition,kill"
    time_limit = 20.0

    def test_bank(harness):                      # or from a test of one's own
        harness.test(workload="bank", nemesis="partition,kill", time_limit=20).assert_valid()

Every run is a process of its own, `python -m harness test --json`, so that nothing of it stays in the test process. A
verdict of *unknown* fails a test as *invalid* does: nothing that proved nothing passes. What could not be run at all
(wrong usage, a failed environment) raises `HarnessFailed`. The seed, the run folder and the report are in the failure
text and, as properties, in JUnit XML.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SUFFIX = ".scenario.toml"
ANOMALIES_SHOWN = 5
LINES_SHOWN = 12
OPTION_FIELDS = ("system_options", "workload_options", "environment_options")


class HarnessFailed(Exception):
    """Nothing was judged: the scenario is wrong, or the environment failed. The text is what the harness said."""


class NotValid(AssertionError):
    """The verdict is not valid."""


@dataclass(frozen=True)
class Run:
    """One judged run."""

    outcome: str
    """valid, invalid or unknown."""
    sentence: str
    anomalies: list[dict[str, Any]]
    """Each with its `checker`, `type`, `key` and `sentence`."""
    seed: int
    folder: Path
    report: Path

    @property
    def is_valid(self) -> bool:
        return self.outcome == "valid"

    def assert_valid(self) -> Run:
        """The run itself, for more assertions; raises NotValid with the evidence if the verdict is not valid."""
        if not self.is_valid:
            raise NotValid(self.describe())
        return self

    def describe(self) -> str:
        """The verdict with its first anomalies, and where to read on."""
        lines = [f"verdict: {self.outcome}: {self.sentence}"]
        lines += [f"  {one['checker']}: {one['sentence']}" for one in self.anomalies[:ANOMALIES_SHOWN]]
        if len(self.anomalies) > ANOMALIES_SHOWN:
            lines.append(f"  and {len(self.anomalies) - ANOMALIES_SHOWN} more")
        lines += [f"seed: {self.seed}", f"run folder: {self.folder}", f"report: {self.report}"]
        lines.append(f"repeat with: harness replay {self.folder}")
        return "\n".join(lines)


@dataclass
class Harness:
    """Runs scenarios; what the fixture gives."""

    runs_dir: Path
    runs: list[Run] = field(default_factory=list)
    """Those of this test, in order."""

    def test(self, **fields: Any) -> Run:
        """Runs one scenario and gives its verdict. The fields are those of a scenario file.

        `scenario` may name a file, whose fields the others override. Raises HarnessFailed if nothing was judged.
        """
        return self._take(["test", *flags(fields), "--runs-dir", str(self.runs_dir)])

    def _take(self, words: list[str]) -> Run:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words, "--json"], text=True, capture_output=True, check=False
        )
        if not done.stdout.strip():
            said = "\n".join(done.stderr.strip().splitlines()[-LINES_SHOWN:])
            raise HarnessFailed(f"harness {' '.join(words)} ended with exit code {done.returncode}:\n{said}")
        answer = json.loads(done.stdout)
        if "outcome" not in answer:
            said = "\n".join(done.stderr.strip().splitlines()[-LINES_SHOWN:])
            raise HarnessFailed(f"harness {' '.join(words)} judged nothing:\n{said}")
        run = Run(
            outcome=answer["outcome"],
            sentence=answer["sentence"],
            anomalies=answer["anomalies"],
            seed=answer["seed"],
            folder=Path(answer["run"]),
            report=Path(answer["report"]),
        )
        self.runs.append(run)
        return run

    def properties(self) -> Iterable[tuple[str, str]]:
        """What is worth keeping of the runs beside the tests' outcome."""
        for run in self.runs:
            yield "harness.verdict", run.outcome
            yield "harness.seed", str(run.seed)
            yield "harness.run", str(run.folder)


def flags(fields: Mapping[str, Any]) -> list[str]:
    """Fields of a scenario as flags of `harness test`."""
    words: list[str] = []
    for name, value in fields.items():
        flag = "--" + name.replace("_", "-")
        if value is None:
            continue
        if name in OPTION_FIELDS:
            for option, setting in value.items():
                words += [flag.removesuffix("s"), f"{option}={setting}"]
        elif isinstance(value, bool):
            words.append(flag if value else "--no-" + flag[2:])
        else:
            words += [flag, str(value)]
    return words


# What pytest calls


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of this plug-in."""
    group = parser.getgroup("harness", "correctness and fault injection (multiraft-harness)")
    group.addoption(
        "--harness-runs-dir", default="runs", metavar="DIR", help="where run folders are kept [runs]"
    )
    group.addoption(
        "--harness-seed",
        type=int,
        default=None,
        metavar="N",
        help="the seed of scenario files that name none",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A file `*.scenario.toml` is a test."""
    if file_path.name.endswith(SUFFIX):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


class ScenarioFile(pytest.File):
    """A scenario file."""

    def collect(self) -> Iterable[pytest.Item]:
        yield ScenarioItem.from_parent(self, name=self.path.name.removesuffix(SUFFIX))


class ScenarioItem(pytest.Item):
    """The run of a scenario file; passes if its verdict is valid."""

    def runtest(self) -> None:
        harness = Harness(_runs_dir(self.config))
        fields: dict[str, Any] = {"scenario": self.path}
        if "seed" not in _fields_of(self.path):
            fields["seed"] = self.config.getoption("--harness-seed")
        try:
            harness.test(**fields).assert_valid()
        finally:
            self.user_properties.extend(harness.properties())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        if isinstance(excinfo.value, NotValid | HarnessFailed):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo, style))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"scenario {self.name}"


def _fields_of(path: Path) -> dict[str, Any]:
    """What a scenario file says; a file that is no TOML is for the harness to refuse."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return {}


def _runs_dir(config: pytest.Config) -> Path:
    return Path(str(config.getoption("--harness-runs-dir")))


@pytest.fixture
def harness(request: pytest.FixtureRequest) -> Iterable[Harness]:
    """Runs scenarios: `harness.test(workload="bank", …).assert_valid()`."""
    made = Harness(_runs_dir(request.config))
    yield made
    request.node.user_properties.extend(made.properties())
