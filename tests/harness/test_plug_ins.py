"""Systems, workloads, nemeses and checkers of others: found by entry point or `module:name`, or told what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.catalog import make_checkers, make_nemesis, make_parts, nemesis_of
from harness.cli.app import run
from harness.scenario import Scenario, ScenarioError
from nemesis.schedule import Request
from results.run_folder import RunFolder

SEATS = "examples.plug_ins.seats:Seats"
FLAPPING = "examples.plug_ins.flapping:Flapping"
PATIENCE = "examples.plug_ins.patience:Patience"
IN_MEMORY = "harness.systems.in_memory.system:InMemorySystem"
WRONG_USAGE = 2

RUN = ("test", "--seed", "7", "--environment", "simulation", "--time-limit", "5", "--rate", "100")


def scenario(**fields: object) -> Scenario:
    return Scenario.from_dict(
        {"seed": 7, "workload": "register", "environment": "simulation", "nemesis": "none", **fields}
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a distribution that brings one plug-in of each kind, and a broken one."""
    metadata = tmp_path / "theatre-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theatre\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(
        f"[harness.workloads]\nseats = {SEATS}\nbank = {SEATS}\n[harness.nemeses]\nloose-cable = {FLAPPING}\n"
        f"[harness.checkers]\npatience = {PATIENCE}\n[harness.systems]\nmemory-too = {IN_MEMORY}\n"
        "gone = theatre_that_is_not_there:System\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_run_of_plug_ins_alone_is_judged_and_judged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """System, workload, nemesis and a checker by `module:name`; the saved run knows them."""
    runs = str(tmp_path / "runs")
    code = run(
        [*RUN, "--workload", SEATS, "--system", IN_MEMORY, "--nemesis", f"kill,{FLAPPING}@n2", "--checkers",
         PATIENCE, "--runs-dir", runs]
    )  # fmt: skip
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "seats were given, each to one" in shown
    assert "answers, the latest after" in shown
    folder = RunFolder.open(root=runs)
    steps = folder.read_schedule()
    assert {step["fault"] for step in steps} == {"kill", "flapping"}
    assert {step["target"] for step in steps if step["fault"] == "flapping"} == {"n2"}

    assert run(["check", str(folder.path)]) == 0
    assert run(["replay", str(folder.path), "--runs-dir", runs]) == 0


def test_a_plug_in_workload_finds_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Writes that are acknowledged and forgotten: a seat is free again, and given twice. The twin is above."""
    code = run(
        [*RUN, "--workload", SEATS, "--system", "in-memory", "--nemesis", "none", "--system-option",
         "misbehave=lost-writes", "--runs-dir", str(tmp_path)]
    )  # fmt: skip
    assert code == 1
    assert "was given to processes" in capsys.readouterr().out


def test_a_checker_is_a_model_for_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        '{"process":0,"type":"invoke","f":"wait","value":null,"time":0}',
        '{"process":0,"type":"ok","f":"wait","value":1,"time":%d}',
    ]
    for end_ns, expected, words in (
        (999_999_999, 0, "the latest after"),
        (2_000_000_000, 1, "waited 2.000 s for its wait"),
    ):
        path = tmp_path / "history.json"
        path.write_text("[" + ",".join(events) % end_ns + "]")
        assert run(["check", "--model", PATIENCE, str(path)]) == expected
        assert words in capsys.readouterr().out


def test_entry_points_are_names_like_ours_and_ours_win(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = make_parts(scenario(workload="seats", system="memory-too", nemesis="loose-cable@n1,pause"))
    assert type(parts.workload).__name__ == "Seats"
    assert parts.system.name == "in-memory"
    assert set(parts.schedule.faults()) == {"flapping", "pause"}
    assert type(make_parts(scenario(workload="bank", system="in-memory")).workload).__name__ == "Bank"
    assert [checker.name for checker in make_checkers(scenario(checkers=f"patience, {PATIENCE}"))] == [
        "patience",
        "patience",
    ]

    assert run(["list"]) == 0
    shown = capsys.readouterr()
    assert f"plug-in: {SEATS} (theatre 1.2)" in shown.out
    assert "seats        Several processes claim each seat" in shown.out
    assert "memory-too   The system `in-memory`" in shown.out
    assert f"loose-cable  plug-in: {FLAPPING}" in shown.out
    assert f"patience     plug-in: {PATIENCE}" in shown.out
    assert "cannot be used: system 'theatre_that_is_not_there:System'" in shown.err, (
        "one broken plug-in hides none"
    )


def test_a_name_that_two_packages_bring_is_refused(installed: Path) -> None:
    other = installed / "cinema-2.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: cinema\nVersion: 2\n")
    (other / "entry_points.txt").write_text("[harness.workloads]\nseats = cinema.seats:Seats\n")
    with pytest.raises(
        ScenarioError, match=r"cinema 2 and by theatre 1.2; name the one you mean as module:name"
    ):
        make_parts(scenario(workload="seats", system="in-memory"))


def test_all_stands_for_our_own_faults_only_so_that_a_seed_draws_the_same_everywhere(installed: Path) -> None:
    alone = make_parts(scenario(system="in-memory", nemesis="all")).schedule
    assert "flapping" not in alone.faults()
    both = make_parts(scenario(system="in-memory", nemesis="all,loose-cable")).schedule
    assert "flapping" in both.faults()


def test_what_is_left_of_a_schedule_is_asked_for_by_the_name_it_had(installed: Path) -> None:
    """A shrunk or replayed run names its plug-ins as the first run did."""
    assert nemesis_of(["pause", "kill", "kill"], "all") == "kill,pause"
    assert nemesis_of([], "kill") == "none"
    assert nemesis_of(["flapping", "kill"], f"kill,{FLAPPING}@n2") == f"{FLAPPING},kill"
    assert nemesis_of(["flapping"], "pause,loose-cable") == "loose-cable"


def test_a_plug_in_nemesis_takes_a_shape_and_a_target() -> None:
    requests, packages = make_nemesis(f"partition:ring,{FLAPPING}:fast@n3")
    assert requests == [Request("partition", "ring"), Request("flapping", "fast", "n3")]
    assert "flapping" in packages
    with pytest.raises(ScenarioError, match="unknown shape 'fast' of nemesis 'flapping'; it has none"):
        make_parts(scenario(system="in-memory", nemesis=f"{FLAPPING}:fast"))


BROKEN = {
    "raises": "raise RuntimeError('no database today')",
    "needs": "import a_library_that_nobody_has",
    "wrong": (
        "from harness.systems.in_memory.system import InMemorySystem\n"
        "class Half:\n"
        "    name = 'half'\n"
        "    def __init__(self, **told): pass\n"
        "class Narrow(InMemorySystem):\n"
        "    def __init__(self, seed): pass\n"
        "class Kill:\n"
        "    name = 'kill'\n"
        "    shapes = ()\n"
        "    needs = objection = draw = plan = start = hold = stop = None\n"
        "thing = 7\n"
    ),
}


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages that are wrong in their ways, in the present folder."""
    for name, text in BROKEN.items():
        (tmp_path / f"plug_in_{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.mark.parametrize(
    ("flag", "name", "words"),
    [
        ("--system", "nowhere.at_all:Database", "there is no module nowhere; a module is looked for in"),
        ("--system", "plug_in_wrong:Whole", "plug_in_wrong has no Whole; its classes are Half, Narrow, Kill"),
        ("--system", "plug_in_raises:X", "importing plug_in_raises raised RuntimeError: no database today"),
        ("--system", "plug_in_needs:X", "plug_in_needs needs the module a_library_that_nobody_has"),
        (
            "--system",
            "plug_in_wrong:Half",
            "Half is no system: it lacks clock_port, environments, interfaces",
        ),
        ("--system", "plug_in_wrong:Narrow", "cannot be made: got an unexpected keyword argument"),
        ("--system", "plug_in_wrong:thing", "must be a class, and is int 7"),
        ("--system", "etcdd", "unknown system 'etcdd'; the systems are reference-db, in-memory"),
        ("--system", ":x", "must be a name of `harness list`, or module:name of one of your own"),
        (
            "--workload",
            "plug_in_wrong:Half",
            "must be a class that inherits from workloads.workload.Workload",
        ),
        ("--workload", "plug_in_wrong:thing.real", "must be a class that inherits"),
        ("--nemesis", "plug_in_wrong:Half", "Half is no nemesis: it lacks draw, hold, needs"),
        ("--nemesis", "plug_in_wrong:Kill", "its name 'kill' must be of lower-case letters"),
        ("--nemesis", "no_such_page:Kill", "there is no module no_such_page"),
        ("--nemesis", "quake", "unknown nemesis 'quake'; known: partition"),
        ("--checkers", "plug_in_wrong:Half", "Half is no checker: it lacks check"),
        ("--checkers", "patient", "unknown checker 'patient'; the checkers are"),
    ],
)
def test_each_mistake_says_what_it_is_and_what_would_do(
    pages: Path, capsys: pytest.CaptureFixture[str], flag: str, name: str, words: str
) -> None:
    given = {"--workload": "register", "--system": "in-memory", flag: name}
    code = run([*RUN, *(word for pair in given.items() for word in pair), "--dry-run"])
    shown = capsys.readouterr()
    assert code == WRONG_USAGE, shown
    assert words in shown.err
    assert "Traceback" not in shown.err


def test_a_model_that_cannot_be_loaded_is_wrong_usage(
    pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pages / "h.json").write_text("[]")
    for name, words in (("plug_in_wrong:Half", "it lacks check"), ("patienc", "there is no model 'patienc'")):
        assert run(["check", "--model", name, "h.json"]) == WRONG_USAGE
        assert words in capsys.readouterr().err
