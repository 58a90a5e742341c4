"""A hunt counts seeds in their order, believes only what its mode allows, and blames nobody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.explore import defects
from harness.explore.defects import (
    BLACK_BOX,
    DIRECTED,
    WHITE_BOX,
    CleanResult,
    Hunt,
    Hunting,
    HuntResult,
    Score,
    Shrunk,
    chosen_names,
    clean_run,
    clean_scenarios,
    detectors,
    directed_hunt,
    hunting_run,
    is_expected,
    make_hunts,
    needed_checkers,
)
from harness.explore.score_page import render_score, totals
from harness.explore.scorekeeping import Scorekeeper
from harness.explore.trial import TrialResult
from harness.scenario import ScenarioError
from harness.systems.system import DefectSheet
from tests.harness.explore.fakes import result


def sheet(name: str = "late-prewrite", **more: Any) -> DefectSheet:
    fields: dict[str, Any] = {
        "caption": "It is wrong.",
        "layer": "transaction",
        "routes": ("H", "A"),
        "workload": "bank",
        "nemesis": "kill",
    }
    return DefectSheet(name=name, **(fields | more))


def hunt(
    mode: str = WHITE_BOX, seeds: Sequence[int] = (1, 2, 3), cpu_limit_s: float = 100.0, **more: Any
) -> Hunt:
    return Hunt(sheet=sheet(**more), mode=mode, seeds=tuple(seeds), cpu_limit_s=cpu_limit_s)


def blamed(seed: int, *checkers: str, **more: Any) -> TrialResult:
    """An invalid run."""
    said: dict[str, Any] = {"invalid_checkers": list(checkers), "events": 10, "operations": 5}
    return result(seed, "invalid", **(said | more))


# What is run


def test_odd_seeds_draw_and_even_ones_keep_to_a_plain_case() -> None:
    drawn, plain = hunt().scenario(1), hunt().scenario(2)
    assert (plain.ranges, plain.rate, plain.concurrency, plain.nodes) == (3, 100.0, "10", 3)
    assert (drawn.ranges, drawn.rate, drawn.concurrency) != (3, 100.0, "10")
    for scenario in (drawn, plain):
        assert (scenario.defect, scenario.workload, scenario.nemesis) == ("late-prewrite", "bank", "kill")
        assert (scenario.environment, scenario.time_limit) == ("simulation", 20.0)


def test_the_sheet_wins_over_the_plain_case_and_the_user_over_the_sheet() -> None:
    task = hunt(scenario={"rate": 50.0, "ranges": 5}, system_options={"log_entries_kept": 10}, nodes=5)
    scenario = msgspec.structs.replace(task, given={"rate": 30.0, "nemesis": "pause"}).scenario(2)
    assert (scenario.rate, scenario.ranges, scenario.nodes, scenario.nemesis) == (30.0, 5, 5, "pause")
    assert scenario.system_options["log_entries_kept"] == 10


def test_black_box_has_histories_only() -> None:
    assert not hunt(BLACK_BOX).scenario(1).invariants
    assert hunt(WHITE_BOX).scenario(1).invariants


def test_a_hunt_repeats_by_the_command_of_its_scenario() -> None:
    command = hunt().scenario(2).command("./run")
    assert "--defect late-prewrite" in command
    assert "--seed 2" in command


def test_a_mix_that_was_named_is_taken_whole_and_all_is_drawn_from() -> None:
    whole = hunt(nemesis="kill,pause,partition")
    assert {whole.scenario(seed).nemesis for seed in range(1, 9)} == {"kill,pause,partition"}
    some = hunt(nemesis="all")
    assert len({some.scenario(seed).nemesis for seed in range(1, 9)}) > 1


def test_a_defect_that_names_no_workload_is_hunted_with_several() -> None:
    own = hunt(name="mine:plant", workload="", nemesis="all")
    tried = [own.scenario(seed).workload for seed in range(4)]
    assert tried == ["register", "register", "bank", "bank"]
    assert own.run_name(3) == "mine-plant-white-box-3", "a colon is no part of a file's name everywhere"


def test_the_clean_scenarios_are_those_of_the_hunts_each_once_and_with_invariants() -> None:
    hunts = [hunt(BLACK_BOX), hunt(WHITE_BOX)]
    results = [
        HuntResult(defect="late-prewrite", mode=one.mode, found=False, seeds_tried=[1, 2]) for one in hunts
    ]
    clean = clean_scenarios(hunts, results)
    assert len(clean) == 2
    assert all(one.defect is None and one.invariants for one in clean)
    assert clean[1] == msgspec.structs.replace(hunts[1].scenario(2), defect=None)


# Who is hunted


def test_by_histories_alone_only_what_they_can_show_is_hunted_for() -> None:
    inside = sheet("inside", routes=("I",))
    unreachable = sheet("unreachable", reachable=False, directed="story")
    assert is_expected(sheet(), BLACK_BOX)
    assert not is_expected(inside, BLACK_BOX)
    assert not is_expected(unreachable, BLACK_BOX)
    hunts = make_hunts([sheet(), inside, unreachable], (BLACK_BOX, WHITE_BOX), [1], 9.0)
    assert [(one.sheet.name, one.mode) for one in hunts] == [
        ("late-prewrite", BLACK_BOX),
        ("late-prewrite", WHITE_BOX),
        ("inside", WHITE_BOX),
        ("unreachable", WHITE_BOX),
    ]


def test_known_seeds_come_first_unless_it_is_to_be_found_afresh() -> None:
    known = [sheet(seeds=(7, 2))]
    assert make_hunts(known, (WHITE_BOX,), [1, 2, 3], 9.0)[0].seeds == (7, 2, 1, 3)
    assert make_hunts(known, (WHITE_BOX,), [1, 2, 3], 9.0, fresh=True)[0].seeds == (1, 2, 3)


def test_names_are_known_or_modules_of_ones_own() -> None:
    assert chosen_names(["b", "a"], []) == ["a", "b"]
    assert chosen_names(["b", "a"], ["mine:plant", "b"]) == ["b", "mine:plant"]
    with pytest.raises(
        ScenarioError, match=r"unknown defects 'c', 'd'; the defects are a, b; .* module:name"
    ):
        chosen_names(["a", "b"], ["d", "c"])


# What counts as found


@pytest.mark.parametrize(
    ("checker", "route", "counts_in_black_box"),
    [
        ("bank", "H", True),
        ("linearizability", "H", True),
        ("recovery", "L", True),
        ("findings", "I", False),
        ("convergence", "A", False),
        ("crashes", "D", False),
        ("log patterns", "D", False),
    ],
)
def test_each_detector_has_a_route_and_a_mode(checker: str, route: str, counts_in_black_box: bool) -> None:
    assert detectors(blamed(1, checker), WHITE_BOX) == [(checker, route)]
    assert detectors(blamed(1, checker), BLACK_BOX) == ([(checker, route)] if counts_in_black_box else [])


def take_all(hunting: Hunting, *results: TrialResult) -> None:
    for one in results:
        position, _ = hunting.hand_out()
        hunting.take(position, one)


def test_the_first_seed_that_shows_it_ends_a_hunt() -> None:
    hunting = Hunting(hunt())
    take_all(
        hunting, result(1, events=100, operations=7), blamed(2, "bank", "findings", sentence="money is gone")
    )
    found = hunting.result
    assert found is not None
    assert found.found
    assert (found.by, found.route, found.all_by) == ("bank", "H", ["bank", "findings"])
    assert (found.seed, found.seeds_tried, found.steps, found.operations) == (2, [1, 2], 110, 12)
    assert (found.cpu_s, found.sentence, found.workload, found.nemesis) == (
        2.0,
        "money is gone",
        "bank",
        "kill",
    )
    assert not hunting.wants_run


def test_seeds_count_in_their_order_whoever_was_quicker(tmp_path: Path) -> None:
    """1. Three seeds are out. 2. The last one is back first, and shows it; so does the second. 3. The first is valid:
    the second has found it, and what the third left is removed."""
    hunting = Hunting(hunt())
    for _ in range(3):
        hunting.hand_out()
    left = tmp_path / "three"
    left.mkdir()
    hunting.take(2, blamed(3, "bank", folder=str(left)))
    hunting.take(1, blamed(2, "bank"))
    assert not hunting.is_over
    hunting.take(0, result(1))
    assert hunting.result is not None
    assert (hunting.result.seed, hunting.result.seeds_tried) == (2, [1, 2])
    assert not left.exists()


def test_what_a_mode_may_not_see_is_not_found_in_it() -> None:
    hunting = Hunting(hunt(BLACK_BOX))
    take_all(hunting, blamed(1, "findings"), blamed(2, "convergence"), result(3))
    assert hunting.result is not None
    assert not hunting.result.found
    assert hunting.result.sentence == "not found in 3 runs; the last one: seed 3 is valid"


def test_unknown_runs_and_a_harness_that_fails_find_nothing_and_are_counted() -> None:
    hunting = Hunting(hunt())
    failed = result(2, "failed", problem="Traceback\nZeroDivisionError: by zero\n")
    take_all(hunting, result(1, "unknown"), failed, result(3))
    assert hunting.result is not None
    assert (hunting.result.found, hunting.result.unknown, hunting.result.failed) == (False, 1, 1)
    assert "ZeroDivisionError: by zero" in hunting.result.sentence


def test_a_hunt_is_given_up_when_its_processor_time_is_used_up() -> None:
    hunting = Hunting(hunt(seeds=range(100), cpu_limit_s=2.5))
    take_all(hunting, result(0), result(1))
    assert not hunting.is_over
    take_all(hunting, result(2))
    assert hunting.result is not None
    assert (hunting.result.found, hunting.result.cpu_s) == (False, 3.0)


# Directed stories


@pytest.mark.parametrize(
    ("with_defect", "without", "found", "sentence"),
    [
        (["two leaders"], [], True, "two leaders"),
        ([], [], False, "showed nothing"),
        (["two leaders"], ["two leaders"], False, "blames the clean code"),
    ],
)
def test_a_story_must_show_the_defect_and_nothing_without_it(
    with_defect: list[str], without: list[str], found: bool, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        defects, "directed_story", lambda _sheet, planted: with_defect if planted else without
    )
    told = directed_hunt(hunt(reachable=False, directed="story"))
    assert (told.found, told.by) == (found, DIRECTED if found else None)
    assert sentence in told.sentence
    assert told.failed == (1 if without else 0)


# Keeping the score


class Pool(Executor):
    """Runs everything at once, as a test says: what a defect and a seed come to, what a clean seed comes to."""

    def __init__(
        self,
        outcomes: dict[tuple[str, int], TrialResult] | None = None,
        clean: dict[int, TrialResult] | None = None,
    ) -> None:
        self.outcomes = outcomes or {}
        self.clean = clean or {}
        self.asked: list[str] = []
        self.limits_s: set[float] = set()
        """How long the runs of hunts may take, of processor time."""
        self.interrupt_at: int | None = None

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **_: Any) -> Future[Any]:
        if self.interrupt_at is not None and len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        future: Future[Any] = Future()
        if function is directed_hunt:
            (task,) = arguments
            self.asked.append(f"story of {task.sheet.name}")
            future.set_result(HuntResult(defect=task.sheet.name, mode=task.mode, found=True, by=DIRECTED))
        elif function is hunting_run:
            request, _, name, limit_s = arguments
            self.limits_s.add(limit_s)
            self.asked.append(name)
            seed = request.scenario.seed
            future.set_result(self.outcomes.get((request.scenario.defect, seed), result(seed)))
        else:
            assert function is clean_run
            scenario, _, name = arguments
            assert scenario.defect is None
            self.asked.append(name)
            future.set_result(self.clean.get(scenario.seed, result(scenario.seed)))
        return future


class Ear:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.refreshed = 0

    def ended(self, result: HuntResult) -> None:
        self.heard.append(f"{result.defect} {result.mode} {result.found}")

    def was_clean(self, result: TrialResult) -> None:
        self.heard.append(f"clean {result.seed} {result.outcome}")

    def refresh(self, keeper: Scorekeeper) -> None:
        self.refreshed += 1


def keeper_of(*hunts: Hunt, jobs: int = 1, clean: bool = True) -> Scorekeeper:
    return Scorekeeper(hunts, Path("runs"), jobs=jobs, clean=clean)


def test_the_cheapest_hunt_goes_on_first_and_the_clean_database_comes_last() -> None:
    keeper, ear = keeper_of(hunt(seeds=[1, 2]), hunt(name="blind-retry", seeds=[1])), Ear()
    keeper.run(Pool({("late-prewrite", 2): blamed(2, "bank")}), ear)
    assert ear.heard == [
        "blind-retry white-box False",
        "late-prewrite white-box True",
        "clean 1 valid",
        "clean 2 valid",
    ]
    score = keeper.score()
    assert [one.defect for one in score.missed] == ["blind-retry"]
    assert (score.clean.runs, score.clean.planned, score.exit_code()) == (2, 2, 1)


def test_all_found_and_nobody_else_blamed_is_0() -> None:
    keeper = keeper_of(hunt(seeds=[1]), hunt(name="told", reachable=False, directed="story"))
    pool = Pool({("late-prewrite", 1): blamed(1, "bank")})
    keeper.run(pool, Ear())
    assert keeper.score().exit_code() == 0
    assert pool.asked == ["late-prewrite-white-box-1", "story of told", "clean-1"]


def test_a_hunt_in_which_the_harness_failed_in_every_run_is_4_and_not_missed() -> None:
    """As when `plant` of a defect of one's own raises: nothing was tried."""
    keeper = keeper_of(hunt(seeds=[1, 2]), clean=False)
    failed = {
        ("late-prewrite", seed): TrialResult(
            seed=seed, outcome="failed", exit_code=4, sentence="  n1 cannot start", command=""
        )
        for seed in (1, 2)
    }
    keeper.run(Pool(failed), Ear())
    score = keeper.score()
    assert (score.missed, score.exit_code()) == ([], 4)
    assert score.hunts[0].sentence == "nothing was tried in 2 runs; the last one: n1 cannot start"
    page = render_score(score, {"late-prewrite": sheet()})
    assert "0 of 1 found; the harness failed: late-prewrite" in page
    assert "**the harness failed**" in page
    assert "missed" not in page


def test_a_false_alarm_is_1_and_is_shown_with_its_command() -> None:
    keeper = keeper_of(hunt(seeds=[1]))
    keeper.run(
        Pool({("late-prewrite", 1): blamed(1, "bank")}, {1: blamed(1, "bank", sentence="too much")}), Ear()
    )
    score = keeper.score()
    assert score.exit_code() == 1
    page = render_score(score, {"late-prewrite": sheet()})
    assert "## False alarms on the clean database\n\n- too much\n  `./run test --seed 1`" in page


def test_without_clean_runs_nobody_is_blamed() -> None:
    keeper = keeper_of(hunt(seeds=[1]), clean=False)
    keeper.run(Pool({("late-prewrite", 1): blamed(1, "bank")}), Ear())
    assert keeper.score().clean == CleanResult()
    assert "- clean database: not run" in totals(keeper.score())


def test_idle_workers_take_later_seeds_of_hunts_that_go_on() -> None:
    hunts = (hunt(seeds=range(1, 5)), hunt(name="blind-retry", seeds=range(1, 5)))
    keeper, pool = keeper_of(*hunts, jobs=4, clean=False), Pool({("blind-retry", 1): blamed(1, "bank")})
    keeper.run(pool, Ear())
    assert pool.asked[:4] == [
        "late-prewrite-white-box-1",
        "blind-retry-white-box-1",
        "late-prewrite-white-box-2",
        "blind-retry-white-box-2",
    ]
    assert pool.asked[4:] == ["late-prewrite-white-box-3", "late-prewrite-white-box-4"]


def test_who_stops_in_the_middle_has_a_score_of_what_was_done() -> None:
    keeper, pool = keeper_of(hunt(seeds=[1]), hunt(name="blind-retry", seeds=[1, 2, 3])), Pool()
    pool.outcomes = {("late-prewrite", 1): blamed(1, "bank")}
    pool.interrupt_at = 2
    with pytest.raises(KeyboardInterrupt):
        keeper.run(pool, Ear())
    score = keeper.score("it was stopped")
    assert [one.defect for one in score.hunts] == ["late-prewrite"]
    assert (score.planned, score.exit_code()) == (2, 3)
    page = render_score(score, {"late-prewrite": sheet(), "blind-retry": sheet("blind-retry")})
    assert "**Not whole: it was stopped; 1 of 2 hunts came to an end.**" in page


def test_a_score_travels_as_json() -> None:
    keeper = keeper_of(hunt(seeds=[1]))
    keeper.run(Pool({("late-prewrite", 1): blamed(1, "bank")}, {1: blamed(1, "stats")}), Ear())
    score = keeper.score()
    assert msgspec.json.decode(msgspec.json.encode(score), type=Score) == score


# The page


def found(name: str, *checkers: str, mode: str = WHITE_BOX, **more: Any) -> HuntResult:
    return HuntResult(
        defect=name, mode=mode, found=True, by=checkers[0], route="H", all_by=list(checkers), seed=3, **more
    )


def test_a_detector_that_is_never_alone_is_a_candidate() -> None:
    results = [found("a", "bank"), found("a", "bank", "findings"), found("b", "convergence", "findings")]
    assert needed_checkers(results) == {"bank": ["a"], "convergence": [], "findings": []}


def test_the_page_has_a_line_a_hunt_the_matrix_and_what_was_left_out() -> None:
    sheets = {"a": sheet("a"), "b": sheet("b", routes=("I",))}
    missed = HuntResult(defect="b", mode=WHITE_BOX, found=False, seeds_tried=[1, 2], cpu_s=120.0)
    one = found(
        "a", "bank", "findings", seeds_tried=[3], steps=12345, cpu_s=1.5, workload="bank", nemesis="kill"
    )
    page = render_score(Score(planned=2, hunts=[one, missed], command="./run defects", code="c0de"), sheets)
    assert "- white-box: 1 of 2 found (median 1.5 s CPU, 12,345 steps); missed: b" in page
    assert (
        "| a | transaction | HA | white-box | bank (H); also findings | bank | kill | 3 | 1 | 12,345 | 1.5 |"
        in page
    )
    assert "| b | transaction | I | white-box | **missed** |  |  |  | 2 |  | 120.0 |" in page
    assert "| a | white-box | 1 | + |" in page
    assert "- b (black-box): no history shows it" in page
    assert "`./run defects`" in page


def test_the_page_tells_of_shrinking_when_it_was_done() -> None:
    small = Shrunk(seen_again=True, fault_steps=(9, 1), operations=(400, 12), runs=30)
    gone = Shrunk(seen_again=False, ended="it did not show")
    score = Score(hunts=[found("a", "bank", shrunk=small), found("b", "bank", shrunk=gone)])
    page = render_score(score, {"a": sheet("a"), "b": sheet("b")})
    assert (
        "- shrinking: the anomaly stayed in 1 of 2 runs; median fault steps 9 -> 1, operations 400 -> 12"
        in page
    )
    assert "| 9 -> 1 fault steps, 400 -> 12 operations |" in page
    assert "| not seen again |" in page
