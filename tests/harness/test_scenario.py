"""A scenario says what one run does: it survives its file, names its own command, and refuses nonsense at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scenario import Scenario, ScenarioError, parse_concurrency, parse_options

option_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
option_values = st.one_of(
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@given(
    seed=st.integers(0, 2**63 - 1),
    defect=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    options=st.dictionaries(option_names, option_values, max_size=4),
    rate=st.floats(1, 1000),
)
def test_a_saved_scenario_loads_as_the_same_scenario(seed, defect, options, rate):
    scenario = Scenario(seed=seed, workload="bank", defect=defect, system_options=options, rate=rate)
    assert Scenario.from_toml(scenario.to_toml()) == scenario


def test_the_command_repeats_exactly_what_differs_from_the_defaults():
    scenario = Scenario(
        seed=7,
        workload="register",
        nodes=5,
        nemesis="partition@leader",
        defect="leader-local-read",
        system_options={"tick_ms": 50},
        time_limit=20.5,
    )
    assert scenario.command() == (
        "harness test --seed 7 --workload register --nodes 5 --nemesis partition@leader --time-limit 20.5 "
        "--defect leader-local-read --system-option tick_ms=50"
    )


def test_what_is_switched_off_is_in_the_command_and_the_file():
    scenario = Scenario(seed=7, workload="register", invariants=False)
    assert scenario.command() == "harness test --seed 7 --workload register --no-invariants"
    assert Scenario.from_toml(scenario.to_toml()) == scenario
    assert "invariants" not in Scenario(seed=7, workload="register").command()


def test_all_that_is_wrong_is_said_together_with_the_way_out():
    with pytest.raises(ScenarioError) as error:
        Scenario(seed=-1, workload="bank", nodes=3, replication=5, rate=0, concurrency="n2")
    text = str(error.value)
    assert "seed -1" in text
    assert "replication 5: must be between 1 and the number of nodes (3); give --replication 3" in text
    assert "rate 0" in text
    assert "concurrency 'n2'" in text


def test_a_misspelt_field_of_a_scenario_file_is_named():
    with pytest.raises(ScenarioError, match="time_limt"):
        Scenario.from_toml('seed = 1\nworkload = "bank"\ntime_limt = 3\n')


@pytest.mark.parametrize(("text", "nodes", "processes"), [("10", 3, 10), ("2n", 3, 6), ("1n", 5, 5)])
def test_concurrency_counts_processes_or_multiples_of_the_nodes(text, nodes, processes):
    assert parse_concurrency(text, nodes) == processes


@pytest.mark.parametrize("text", ["", "0", "0n", "n", "-1", "2.5n", "9999999"])
def test_concurrency_refuses_what_is_no_count(text):
    with pytest.raises(ScenarioError, match="concurrency"):
        parse_concurrency(text, 3)


def test_options_are_name_value_pairs_with_their_type():
    assert parse_options(("a=1", "b-c=x=y", "d=true", "e=0.5"), "system option") == {
        "a": 1,
        "b_c": "x=y",
        "d": True,
        "e": 0.5,
    }
    with pytest.raises(ScenarioError, match="NAME=VALUE"):
        parse_options(("novalue",), "system option")


def test_an_option_that_is_given_twice_is_refused():
    """Also where the two agree, or are spelt in two ways: one of them would count unsaid."""
    for pairs in (("a-b=1", "a_b=2"), ("a-b=1", "a-b=1")):
        with pytest.raises(ScenarioError, match="system option a_b is given twice"):
            parse_options(pairs, "system option")


def test_the_command_gives_numbers_exactly():
    scenario = Scenario(seed=1, workload="bank", time_limit=12.3456789, rate=0.1 + 0.2)
    words = scenario.command().split()
    assert float(words[words.index("--time-limit") + 1]) == 12.3456789
    assert float(words[words.index("--rate") + 1]) == 0.1 + 0.2
    assert "--time-limit 20" in Scenario(seed=1, workload="bank", time_limit=20.0).command() + " "


def test_a_scenario_file_need_not_say_everything(tmp_path):
    """A seed that it does not name is drawn, and what a flag says overrides it."""
    from harness.cli.test import scenario_of

    file = tmp_path / "few.toml"
    file.write_text('workload = "set"\nnodes = 2\n[workload_options]\nread_interval = 2.0\n')
    scenario = scenario_of(file, {"workload_options": ()}, {"time_limit": 5.0})
    assert (scenario.workload, scenario.nodes, scenario.replication, scenario.time_limit) == (
        "set",
        2,
        2,
        5.0,
    )
    assert scenario.workload_options == {"read_interval": 2.0}
    assert scenario_of(file, {}, {}).seed != scenario_of(file, {}, {}).seed


def test_a_wrong_scenario_file_is_named_once(tmp_path):
    from harness.cli.test import scenario_of

    file = tmp_path / "wrong.toml"
    for text, said in (
        ("workload = 3", "workload"),
        ("workload", "not TOML"),
        ('workload = "set"\nnods = 3', "nods"),
    ):
        file.write_text(text)
        with pytest.raises(ScenarioError) as caught:
            scenario_of(file, {}, {})
        assert said in str(caught.value)
        assert str(caught.value).count(str(file)) == 1
