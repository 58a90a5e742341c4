"""How a search looks: one line that is written over on a terminal, a line for each smaller run elsewhere."""

import io
import os
from types import SimpleNamespace

import pytest

from harness.cli.shrinking import Display, _why_not, choose_target, size_words, starting_cases
from harness.explore.reductions import Target
from harness.explore.saved_run import load_run
from harness.scenario import ScenarioError
from results.run_folder import RunFolder
from results.verdict import INVALID, VALID, Anomaly, Verdict
from tests.harness.explore.made_up_runs import case, write_run
from workloads.generator.recorded import encode_operations


class Terminal(io.StringIO):
    def isatty(self):
        return True


def stand(of, elapsed_s, runs=3):
    best = SimpleNamespace(case=of)
    return SimpleNamespace(elapsed_s=elapsed_s, runs=runs, best=best, reduction="fewer steps")


def test_without_a_terminal_there_is_a_line_for_each_smaller_run_and_every_few_seconds():
    stream = io.StringIO()
    display = Display(stream, case().size())
    display.trying(stand(case(), 0.5))
    display.trying(stand(case(), 1.0))
    display.smaller(stand(case().with_steps(case().steps[:1]), 2.0, 7))
    display.trying(stand(case(), 3.0))
    display.trying(stand(case(), 7.5))
    display.end()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["2", "s", "7", "runs", "steps", "4", "->", "1", "(fewer", "steps)"]


def test_on_a_terminal_there_is_one_line_and_it_does_not_wrap(monkeypatch):
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 20)))
    stream = Terminal()
    display = Display(stream, case().size())
    display.smaller(stand(case().with_steps(()).with_operations(()), 2.0))
    display.smaller(stand(case(), 3.0))
    display.end()
    assert stream.getvalue().count("\n") == 1
    assert all(len(line) < 40 for line in stream.getvalue().strip().split("\r"))


def test_why_a_run_may_not_show_it_again_is_said_whole():
    assert _why_not(None, True) == ""
    assert "it may have been mended" in _why_not("it ran on commit 1", True)
    both = _why_not("it ran on commit 1", False)
    assert "it may have been mended" in both
    assert "--confirm 1/9" in both


def test_what_became_smaller_is_said_and_nothing_else():
    assert size_words(case().size(), case().size()) == "as large as before"
    small = case(ranges=1).with_operations(())
    assert size_words(case().size(), small.size()) == "operations 60 -> 0, clients 6 -> 0, ranges 8 -> 1"


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path)
    write_run(made, case(), True, (6, 9))
    return made


def test_the_anomaly_may_be_named_by_type_by_checker_or_by_both(folder):
    saved = load_run(folder)
    stale = Target("linearizability", "stale read")
    for name in (
        None,
        "stale read",
        "linearizability",
        "linearizability:stale read",
        "linearizability: stale read",
    ):
        assert choose_target(saved, name) == stale
    with pytest.raises(ScenarioError, match="it has linearizability: stale read"):
        choose_target(saved, "stats")


def test_a_checker_made_of_others_stands_for_the_first_of_them_that_is_wrong(folder):
    """Black-box hunts name the part of the verdict; what is wrong may be a part of that."""
    stale = Verdict(INVALID, "staleness", "read too stale", [Anomaly("read too stale", "70 was old", [1])])
    fine = Verdict(VALID, "linearizability", "one order fits")
    both = Verdict(INVALID, "registers", "staleness: read too stale", parts=[fine, stale])
    folder.write_verdict(Verdict(INVALID, "run", "registers: read too stale", parts=[both]))
    assert choose_target(load_run(folder), "registers") == Target("staleness", "read too stale")
    with pytest.raises(ScenarioError, match="it has staleness: read too stale"):
        choose_target(load_run(folder), "linearizability")


def test_a_simulated_run_starts_from_its_seed_a_real_one_from_its_record(folder):
    saved = load_run(folder)
    assert [one.operations is None for one in starting_cases(saved)] == [True, False]
    folder.write_operations(encode_operations(case().operations))
    assert [one.operations is None for one in starting_cases(load_run(folder))] == [False]
    folder.write_scenario(case(environment="local").scenario.to_toml())
    (recorded,) = starting_cases(load_run(folder))
    assert recorded.operations == case().operations
