"""A saved run is repeated or refused: exactly, by its record, somewhere else; and what differs is said."""

import json

import msgspec
import pytest

import harness
from harness.explore.replay import compare_histories, plan_replay
from harness.explore.saved_run import code_difference, load_run
from harness.fingerprint import fingerprint
from harness.scenario import ScenarioError
from nemesis.cluster import FaultUnavailable
from nemesis.schedule import Schedule, Step
from results.operation import Operation, encode_lines
from results.run_folder import RunFolder
from tests.harness.explore.made_up_runs import SECOND, STEPS, case, stream, write_run
from workloads.generator.recorded import encode_operations


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "20260101T000000Z-register"
    path.mkdir()
    made = RunFolder(path)
    write_run(made, case(), True, (6, 9))
    return made


def other_scenario(folder, **changes):
    folder.write_scenario(case(**changes).scenario.to_toml())


# Reading


def test_a_run_is_read_whole(folder):
    saved = load_run(folder)
    assert saved.scenario == case().scenario
    assert saved.steps == STEPS
    assert saved.operations is None
    assert saved.recorded() == stream()
    assert saved.verdict.outcome == "invalid"


def test_the_stream_that_a_run_was_made_of_comes_before_its_history(folder):
    folder.write_operations(encode_operations(stream(3)))
    assert load_run(folder).recorded() == stream(3)


def damage(folder, name, text):
    (folder.path / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("scenario.toml", "seed = ", r"scenario.toml: not TOML"),
        ("scenario.toml", 'seed = 1\nworkload = "bank"\ncolour = "red"\n', r"scenario.toml: .*colour"),
        ("schedule.jsonl", '{"id":1,"at_ns":5}\n', r"schedule.jsonl: not a schedule: .*fault"),
        ("schedule.jsonl", '{"id":1,', r"schedule.jsonl: not a schedule"),
        ("schedule.jsonl", '{"id":1,"at_ns":5,"fault":"Magic!"}\n', r"'Magic!' is no name of a fault"),
        ("operations.jsonl", "{}\n", r"operations.jsonl: line 1 is not an operation to invoke"),
        ("verdict.json", "{", r"verdict.json: not a verdict.*harness check"),
    ],
)
def test_a_damaged_folder_is_refused_and_the_file_named(folder, name, text, said):
    damage(folder, name, text)
    with pytest.raises(ScenarioError, match=f"{folder.id} cannot be repeated: .*{said}"):
        load_run(folder)


def test_all_that_is_damaged_is_told_at_once(folder):
    damage(folder, "scenario.toml", "?")
    damage(folder, "schedule.jsonl", "?")
    with pytest.raises(ScenarioError, match=r"scenario\.toml.*; .*schedule\.jsonl"):
        load_run(folder)


def test_a_run_of_another_version_that_cannot_be_read_says_so(folder):
    folder.write_environment({"harness": {"version": "99.1"}})
    load_run(folder)
    damage(folder, "scenario.toml", 'seed = 1\nworkload = "bank"\nwarp = 9\n')
    with pytest.raises(ScenarioError, match=rf"written by version 99.1 .* this is {harness.__version__}"):
        load_run(folder)


def test_a_run_without_a_schedule_or_in_progress_is_refused(folder):
    folder.claim()
    with pytest.raises(ScenarioError, match="is in progress"):
        load_run(folder)
    folder.release()
    folder.schedule_path.unlink()
    with pytest.raises(ScenarioError, match=r"has no schedule\.jsonl"):
        load_run(folder)


def test_a_history_that_cannot_tell_what_clients_did_is_refused_when_it_is_needed(folder):
    folder.history_path.write_bytes(b"?\n?\n")
    saved = load_run(folder)
    with pytest.raises(ScenarioError, match=r"what the clients of .* did cannot be read"):
        saved.recorded()


# Planning


def test_a_simulated_run_is_repeated_by_its_seed(folder, tmp_path):
    plan = plan_replay(load_run(folder))
    assert plan.exact
    assert plan.operations is None
    assert plan.scenario == case().scenario
    assert plan.scenario_in(RunFolder(tmp_path / "new")) == case().scenario


def test_a_simulated_run_that_was_made_of_files_names_those_of_its_own_folder(folder, tmp_path):
    """The files that the first run named may be gone; what they held is in its folder."""
    other_scenario(folder, schedule_file="gone/schedule.jsonl", operations_file="gone/operations.jsonl")
    folder.write_operations(encode_operations(stream(5)))
    plan = plan_replay(load_run(folder))
    new = plan.scenario_in(RunFolder(tmp_path / "new"))
    assert plan.exact
    assert plan.operations == stream(5)
    assert new.schedule_file == str(tmp_path / "new" / "schedule.jsonl")
    assert new.operations_file == str(tmp_path / "new" / "operations.jsonl")


def test_elsewhere_a_run_is_repeated_by_its_record(folder, tmp_path):
    other_scenario(folder, environment_options={"latency_ms": 2.0})
    plan = plan_replay(load_run(folder), "local")
    assert not plan.exact
    assert plan.steps == STEPS
    assert plan.operations == stream()
    new = plan.scenario_in(RunFolder(tmp_path / "new"))
    assert new.environment == "local"
    assert new.environment_options == {}  # Those of a simulated network mean nothing there.
    assert new.nemesis == "clock,kill,partition,pause"
    assert new.operations_file == str(tmp_path / "new" / "operations.jsonl")


def test_a_real_run_keeps_its_options_where_it_stays(folder):
    other_scenario(folder, environment="local", environment_options={"base_port": 12000})
    plan = plan_replay(load_run(folder))
    assert not plan.exact
    assert plan.scenario.environment_options == {"base_port": 12000}
    assert plan_replay(load_run(folder), "simulation").scenario.environment == "simulation"


def test_a_fault_that_is_not_to_be_had_there_is_never_left_out_in_silence(folder):
    twice = Step(9, 25 * SECOND, "packet", "duplicate", "one", SECOND)
    folder.write_schedule(Schedule.of((*STEPS, twice)).to_dicts())
    saved = load_run(folder)
    with pytest.raises(
        FaultUnavailable, match=r"1 of 5 fault steps .*local: step 9 \(packet:duplicate@one"
    ) as no:
        plan_replay(saved, "local")
    assert "--skip-unavailable" in str(no.value)
    plan = plan_replay(saved, "local", skip_unavailable=True)
    assert plan.steps == STEPS
    assert len(plan.skipped) == 1
    assert "packet" not in plan.scenario.nemesis


def test_an_unknown_environment_is_wrong_usage(folder):
    with pytest.raises(ScenarioError, match="unknown environment 'moon'"):
        plan_replay(load_run(folder), "moon")


# Comparing


def history(*values):
    return encode_lines(
        [Operation(at, at * 10, 0, "invoke", "read", value) for at, value in enumerate(values)]
    )


def test_the_same_history_is_the_same_byte_for_byte():
    assert compare_histories(history(1, 2), history(1, 2)).describe() == (
        "the same history, byte for byte (2 events)"
    )


def test_the_first_difference_is_told_in_words():
    text = compare_histories(history(1, 2, 3), history(1, 5, 3)).describe()
    assert "differ from event 1 on (3 events then, 3 now)" in text
    assert "then process 0 invoke read 2 at" in text
    assert "now process 0 invoke read 5 at" in text


def test_a_record_that_was_cut_short_is_a_beginning():
    assert "the same 2 events, and 1 more" in compare_histories(history(1, 2), history(1, 2, 3)).describe()
    assert "the old history has 1 more" in compare_histories(history(1, 2, 3), history(1, 2)).describe()


def test_a_damaged_line_is_no_reason_to_fall():
    assert "a damaged line of 3 bytes" in compare_histories(b"{?}\n", history(1)).describe()


def code(**changes):
    return {"harness": {"version": "1", "commit": "a" * 40, "modified": False, "code": "c0", **changes}}


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (code(), code(), None),
        (code(), code(version="2"), "version 1, this is 2"),
        (code(), code(commit="b" * 40), "commit aaaaaaaaaaaa, this is bbbbbbbbbbbb"),
        (code(), code(code="c1"), "files differ"),
        (code(modified=True), code(modified=True), None),
        (code(code=None, modified=True), code(), "files differ from the commit"),
        (code(code=None), code(code=None), None),
        ({}, code(), "does not say"),
        ({"harness": 5}, code(), "does not say"),
    ],
)
def test_other_code_is_said(before, now, said):
    found = code_difference(before, now)
    assert found is None if said is None else said in found


def test_this_code_is_the_same_as_itself():
    now = json.loads(json.dumps(fingerprint()))
    assert code_difference(now, msgspec.to_builtins(fingerprint())) is None
