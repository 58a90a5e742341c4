"""`harness sweep` as people type it: nonsense, exit codes, the first failure, what is kept, stopping and going on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.cli import sweeping
from harness.cli.app import run
from harness.explore.durations import parse_duration
from harness.explore.sweep_folder import SweepFolder
from harness.explore.trial import TrialResult
from harness.scenario import ScenarioError
from results.run_folder import RunFolderError
from tests.harness.cli.conftest import Call
from tests.harness.explore.fakes import InlineWorkers, result

SWEEP = ("sweep", "--workload", "bank", "--environment", "local")


class Ending(InlineWorkers):
    """Workers that do nothing but what is said, and leave a folder behind as a trial would."""

    def __init__(self, outcomes: Mapping[int, Any], at: Callable[[int], None]) -> None:
        super().__init__(outcomes, 2)
        self.at = at
        self.ended: list[bool] = []

    def submit(self, seed: int) -> Any:
        self.at(seed)
        return super().submit(seed)

    def end(self, *, at_once: bool = False) -> None:
        self.ended.append(at_once)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Ending]]:
    """Puts workers that come to these outcomes in place of processes; answers those that were made."""

    def install(
        outcomes: Mapping[int, Any] | None = None, at: Callable[[int], None] = lambda seed: None
    ) -> list[Ending]:
        made: list[Ending] = []

        @contextmanager
        def make(_run: Any, _plan: Any, _settings: Any) -> Iterator[Ending]:
            made.append(Ending(outcomes or {}, at))
            yield made[-1]

        monkeypatch.setattr(sweeping, "_workers", make)
        return made

    return install


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seeds", "5-1"), "'5-1' ends before it begins; did you mean 1-5?"),
        (("--seeds", "a"), "'a' is neither a seed"),
        (("--seeds", ""), "'' is neither a seed"),
        (("--seeds", "-3"), "'-3' is neither a seed"),
        (("--seeds", "1-10000000000"), "more than 10000000"),
        (("--jobs", "0"), "0 is not in the range"),
        (("--budget", "soon"), "budget 'soon': must be a time such as 90s"),
        (("--budget", "0"), "above 0"),
        (("--nemesis", "kil"), "unknown nemesis 'kil'"),
        (("--nodes", "2", "--replication", "3"), "replication 3"),
        (("--system-option", "colour=red"), "colour"),
        (("--seed", "3"), "--seed"),
        (("--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"), "--jobs is for the cores of this machine"),
        (("--resume", "nowhere"), "leave out environment, workload"),
    ],
)
def test_nonsense_is_wrong_usage_and_nothing_is_made(
    harness: Call, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    code, _, err = harness(*SWEEP, *words)
    assert code == 2
    assert said in err
    assert not (tmp_path / "runs").exists()


def test_a_workload_is_needed_and_a_fault_must_be_there(harness: Call) -> None:
    code, _, err = harness("sweep", "--seeds", "1-3")
    assert (code, "which workload?" in err) == (2, True)
    code, _, err = harness(*SWEEP, "--nemesis", "membership", "--nodes", "3")
    assert (code, "give --nodes 4 or more" in err) == (2, True)
    code, _, err = harness(*SWEEP, "--nemesis", "packet:duplicate")
    assert (code, "packet:duplicate" in err) == (4, True)


@pytest.mark.parametrize(
    ("outcomes", "code", "verdict"),
    [
        ({}, 0, "verdict: valid (5 seeds)"),
        ({2: "unknown"}, 3, "verdict: unknown (1 of 5 seeds)"),
        ({2: "unknown", 3: "failed"}, 4, "verdict: failed (1 of 5 seeds)"),
        ({2: "failed", 3: "invalid", 4: "invalid"}, 1, "verdict: invalid (2 of 5 seeds)"),
    ],
)
def test_the_exit_code_is_that_of_the_worst_seed(
    harness: Call, workers: Any, outcomes: dict[int, str], code: int, verdict: str
) -> None:
    workers(outcomes)
    found, out, _ = harness(*SWEEP, "--seeds", "1-5")
    assert found == code
    assert out.splitlines()[-1] == verdict


def test_the_first_failure_is_told_before_the_other_seeds_run(
    harness: Call, workers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    def at(seed: int) -> None:
        if seed == 9:
            printed.append(capsys.readouterr().out)

    workers({3: result(3, "invalid", anomaly_types=["lost write"])}, at)
    harness(*SWEEP, "--seeds", "1-9")
    assert "first failure:" in printed[0]
    assert "repeat with: ./run test --seed 3" in printed[0]
    assert "lost write" in printed[0]


def test_the_plan_says_what_is_drawn_and_what_is_fixed(harness: Call, workers: Any) -> None:
    workers()
    _, out, _ = harness(*SWEEP, "--seeds", "1-3,8", "--rate", "50")
    assert "plan: seeds 1-3,8 (4) on 2 workers; each draws its own cluster" in out
    assert "fixed: workload bank, environment local, rate 50.0" in out.replace(
        "environment local, workload bank", "workload bank, environment local"
    )


def test_a_dry_run_prints_a_command_a_seed(harness: Call, tmp_path: Path) -> None:
    code, out, _ = harness(*SWEEP, "--seeds", "1-60", "--dry-run")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 51
    assert all(
        line.startswith(f"./run test --seed {seed} --workload bank")
        for seed, line in enumerate(lines[:50], 1)
    )
    assert lines[-1] == "and 10 more seeds"
    assert not (tmp_path / "runs").exists()


def test_without_drawing_the_seeds_differ_in_nothing_else(harness: Call) -> None:
    _, out, _ = harness(*SWEEP, "--seeds", "1-2", "--no-swarm", "--dry-run")
    assert out.splitlines() == [f"./run test --seed {seed} --workload bank" for seed in (1, 2)]


def test_a_scenario_file_fixes_what_it_says(harness: Call, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'seed = 5\nworkload = "set"\nenvironment = "local"\nnodes = 5\nrate = 33.0\n'
    )
    _, out, _ = harness("sweep", "--scenario", "s.toml", "--seeds", "1-9", "--dry-run")
    assert all(
        "--workload set" in line and "--nodes 5" in line and "--rate 33" in line for line in out.splitlines()
    )


def test_stopped_once_it_says_how_to_go_on_and_goes_on(harness: Call, workers: Any, tmp_path: Path) -> None:
    """Ctrl-C at seed 5 of 20; the rest runs later, each seed once; the verdict is about all of them."""

    def at(seed: int) -> None:
        if seed == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # An echo, as `timeout` and some terminals send it.

    workers({3: "unknown"}, at)
    before = signal.getsignal(signal.SIGINT)
    code, out, _ = harness(*SWEEP, "--seeds", "1-20")
    assert code == 3
    assert signal.getsignal(signal.SIGINT) is before
    folder = next((tmp_path / "runs").glob("sweep-*"))
    assert f"go on with: ./run sweep --resume {folder.relative_to(tmp_path)}" in out
    assert "(stopped)" in out

    made = workers({12: "invalid"})
    code, out, _ = harness("sweep", "--resume", "latest")
    assert code == 1
    assert f"done before: {20 - len(made[0].submitted)} seeds" in out
    assert "20 seeds (complete): 18 valid, 1 invalid, 1 unknown" in out
    assert "seed 3: unknown" in out, "what was found before is in the summary"
    assert (folder / "summary.md").read_text().startswith("# Sweep of bank, seeds 1-20")

    made = workers()
    code, out, _ = harness("sweep", "--resume", str(folder))
    assert (code, made[0].submitted) == (1, []), "there is nothing left to do"


def test_stopped_twice_it_waits_for_nothing(harness: Call, workers: Any) -> None:
    def at(seed: int) -> None:
        if seed == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)

    made = workers({}, at)
    code, out, _ = harness(*SWEEP, "--seeds", "1-20")
    assert code == 3
    assert made[0].ended == [True]
    assert "stopped at once before the last seed" in out


def test_on_a_full_disk_what_is_known_is_told_all_the_same(
    harness: Call, workers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = SweepFolder.append

    def until_full(folder: SweepFolder, one: TrialResult) -> None:
        if one.seed > 5:
            raise RunFolderError(f"cannot write {folder.results_path}: No space left on device")
        append(folder, one)

    monkeypatch.setattr(SweepFolder, "append", until_full)
    made = workers({3: "invalid"})
    code, out, err = harness(*SWEEP, "--seeds", "1-20")
    assert code == 4
    assert "No space left on device" in err
    assert "seed 3: invalid" in out, "the summary is shown"
    folder = next((tmp_path / "runs").glob("sweep-*"))
    assert "seed 3" in (folder / "summary.md").read_text(), "there was still room for it"
    assert made[0].ended == [True]


def test_other_code_is_gone_on_with_only_if_asked(harness: Call, workers: Any, tmp_path: Path) -> None:
    workers()
    harness(*SWEEP, "--seeds", "1-4")
    plan = next((tmp_path / "runs").glob("sweep-*/sweep.toml"))
    text = plan.read_text()
    code_line = next(line for line in text.splitlines() if line.startswith("code = "))
    plan.write_text(text.replace(code_line, 'code = "another"'))
    code, _, err = harness("sweep", "--resume", "latest")
    assert code == 2
    assert "was begun with other code (another)" in err
    assert "--any-code" in err
    code, _, err = harness("sweep", "--resume", "latest", "--any-code")
    assert code == 0
    assert "note: the code is not the one" in err


def test_until_failure_goes_on_behind_the_last_seed(harness: Call, workers: Any) -> None:
    made = workers({40: "invalid"})
    code, out, _ = harness(*SWEEP, "--seeds", "1-10", "--until-failure")
    assert code == 1
    assert made[0].submitted[-1] >= 40
    assert "(failure found)" in out


def test_a_spent_budget_is_said_and_can_be_gone_on_with(
    harness: Call, workers: Any, monkeypatch: Any
) -> None:
    workers()
    monkeypatch.setattr(sweeping, "LINE_INTERVAL_S", 0.01)
    code, out, _ = harness(*SWEEP, "--seeds", "1-1000000", "--budget", "0.2s")
    assert code == 0
    assert "(budget spent)" in out
    assert "go on with: ./run sweep --resume" in out
    assert "seeds | " in out, "progress is told in plain lines where there is no terminal"


def test_the_folders_of_the_shortest_failures_are_kept(harness: Call, workers: Any, tmp_path: Path) -> None:
    """Six failures and two unknown seeds, room for three: failures before unknowns, short before long."""
    outcomes: dict[int, Any] = {}
    for seed in range(1, 9):
        folder = tmp_path / "kept" / f"seed-{seed}"
        folder.mkdir(parents=True)
        outcome = "unknown" if seed in (1, 8) else "invalid"
        outcomes[seed] = result(seed, outcome, folder=str(folder), fault_steps=10 - seed)
    workers(outcomes)
    _, out, _ = harness(*SWEEP, "--seeds", "1-20", "--keep", "3")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["seed-5", "seed-6", "seed-7"]
    assert "run folder: not kept" in out
    assert out.index("seed 7: invalid (3 fault steps", out.index("shortest first")) > 0


def test_an_exception_of_the_harness_itself_is_no_verdict(
    harness: Call, workers: Any, monkeypatch: Any
) -> None:
    workers()

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("disk is gone")

    monkeypatch.setattr(sweeping.SweepFolder, "append", broken)
    code, _, err = harness(*SWEEP, "--seeds", "1-3")
    assert code == 4
    assert "disk is gone" in err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), (" 2 d ", 172_800)]
)
def test_budgets_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "10 minutes", "1e9", "0s", "9999d", "٣m"])
def test_budgets_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match="must be a time such as"):
        parse_duration(text)


def test_the_panel_of_a_terminal_draws_without_a_terminal(
    workers: Any, harness: Call, monkeypatch: Any
) -> None:
    """The line at the bottom is rich's; failures scroll above it."""

    class Terminal:
        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None: ...

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    workers({2: "invalid"})
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert run([*SWEEP, "--seeds", "1-5"]) == 1
    assert "first failure:" in terminal.text
    assert "5 seeds" in terminal.text
