"""A failing run becomes small: only what its anomaly needs is left, the anomaly stays the same, the budget holds."""

import itertools

import pytest

from harness.explore.reductions import Target
from harness.explore.shrink import Budget, Confirm, NotReproduced, Shrinking, Spent
from harness.scenario import ScenarioError
from results.run_folder import RunFolder
from tests.harness.explore.made_up_runs import SECOND, MadeUpRuns, Watching, case

STALE = Target("linearizability", "stale read")


def needs_partition_write_and_read(of):
    """A partition of the leader's side, and then a write of one client and a read of another, at least a second
    after it began."""
    cut = next((step for step in of.steps if step.fault == "partition"), None)
    if cut is None or cut.duration_ns < SECOND:
        return None
    ops = of.operations if of.operations is not None else case().operations
    late = [(at, one) for at, one in enumerate(ops) if one.at_ns >= cut.at_ns]
    write = next((at for at, one in late if one.f == "write" and one.value[0] == 0), None)
    if write is None:
        return None
    read = next((at for at, one in late if one.f == "read" and one.value[0] == 0 and at > write), None)
    return None if read is None else (write, read)


def shrinking(tmp_path, rule, starts=None, **options):
    runs = MadeUpRuns(tmp_path, rule, options.pop("anomaly", "stale read"))
    settings = {"confirm": Confirm(1, 1), "budget": Budget(), **options}
    return Shrinking(starts or [case()], STALE, runs, Watching(), **settings), runs


def test_only_what_the_anomaly_needs_is_left(tmp_path):
    search, _ = shrinking(tmp_path, needs_partition_write_and_read)
    best = search.run()

    (step,) = best.case.steps
    assert (step.fault, step.shape, step.target) == ("partition", "one", "n2")
    assert step.duration_ns <= 1.5 * SECOND
    assert [one.f for one in best.case.operations] == ["write", "read"]
    assert best.case.clients == 2
    assert best.case.scenario.time_limit < 2.5
    assert best.case.scenario.nemesis == "partition"
    assert (best.case.scenario.nodes, best.case.scenario.ranges) == (2, 1)
    assert best.case.scenario.concurrency == "2"
    assert search.runs < 150


def test_what_it_found_is_a_whole_run_folder_and_the_others_are_gone(tmp_path):
    search, _ = shrinking(tmp_path, needs_partition_write_and_read)
    best = search.run()
    assert [path.name for path in tmp_path.iterdir()] == [RunFolder(tmp_path / best.folder).id]
    assert STALE.find(RunFolder(tmp_path / best.folder).read_verdict()) is not None


def test_the_same_run_gives_the_same_result_whatever_the_number_of_processes(tmp_path):
    """Runs are begun ahead, but the first in order that holds is taken."""
    results = []
    for jobs in (1, 4):
        search, runs = shrinking(tmp_path / str(jobs), needs_partition_write_and_read, jobs=jobs)
        results.append((search.run().case, len(runs.asked)))
    assert results[0][0] == results[1][0]
    assert results[1][1] > results[0][1]  # What was begun ahead and not needed.


def test_every_kept_case_is_no_larger_than_the_one_before(tmp_path):
    search, _ = shrinking(tmp_path, needs_partition_write_and_read)
    search.run()
    sizes = search.listener.sizes
    for before, after in itertools.pairwise(sizes):
        assert after.steps <= before.steps
        assert after.operations <= before.operations
        assert after.time_limit_s <= before.time_limit_s


def test_another_anomaly_is_not_what_was_asked_for(tmp_path):
    """A case that fails in another way does not hold; were it taken, the run would shrink to another problem."""
    search, _ = shrinking(tmp_path, lambda of: (0,), anomaly="lost write")
    with pytest.raises(NotReproduced, match="linearizability: stale read did not show in 1 run "):
        search.run()


def test_a_run_that_needs_nothing_becomes_next_to_nothing(tmp_path):
    search, _ = shrinking(tmp_path, lambda of: ())
    best = search.run()
    assert best.case.steps == ()
    assert best.case.operations == ()
    assert best.case.scenario.nodes == 1
    assert best.case.scenario.nemesis == "none"


def test_a_run_that_needs_everything_stays_as_it_is(tmp_path):
    whole = case()

    def rule(of):
        same = (of.steps, of.operations) == (whole.steps, whole.operations)
        same = same and of.with_scenario(intensity=1.0) == whole
        return (3, 8) if same else None

    search, _ = shrinking(tmp_path, rule)
    assert search.run().case == whole


def test_a_run_that_was_simulated_is_recorded_on_the_way(tmp_path):
    """It starts with the operations that its workload generates; after the first step they are data."""
    start = case()
    generated = type(start)(start.scenario, start.steps, None)
    search, runs = shrinking(tmp_path, needs_partition_write_and_read, [generated, start])
    best = search.run()
    assert runs.asked[0].operations is None
    assert len(best.case.operations) == 2


def test_further_runs_take_other_seeds_and_the_seed_that_showed_it_stays(tmp_path):
    """What is drawn changes when something is taken out; another seed may show the anomaly where the first does not."""
    whole = case()

    def rule(of):
        unlucky = of.scenario.seed == whole.scenario.seed and len(of.operations) < len(whole.operations)
        return None if unlucky else needs_partition_write_and_read(of)

    stuck, _ = shrinking(tmp_path / "one", rule)
    assert len(stuck.run().case.operations) == len(whole.operations)
    lucky, runs = shrinking(tmp_path / "three", rule, confirm=Confirm(1, 3))
    best = lucky.run()
    assert len(best.case.operations) == 2
    assert best.case.scenario.seed != whole.scenario.seed
    assert len({of.scenario.seed for of in runs.asked}) == 3


def test_on_real_nodes_a_case_has_to_show_it_in_enough_of_its_runs(tmp_path):
    """It shows in two runs of three where the partition is there, in one of three where it is not."""
    numbers = {}

    def rule(of):
        number = numbers[of.key()] = numbers.get(of.key(), -1) + 1
        usual = needs_partition_write_and_read(of) is not None
        return (0, 3) if (number % 3 != 0 if usual else number % 3 == 1) else None

    search, runs = shrinking(tmp_path, rule, [case(environment="local")], confirm=Confirm(2, 3), varied=False)
    best = search.run()
    assert needs_partition_write_and_read(best.case) is not None
    assert len(best.case.steps) == 1
    assert {of.scenario.seed for of in runs.asked} == {7}


def test_a_budget_of_runs_ends_the_search_and_keeps_the_best_so_far(tmp_path):
    search, runs = shrinking(tmp_path, needs_partition_write_and_read, budget=Budget(runs=9))
    with pytest.raises(Spent, match="the budget of 9 runs"):
        search.run()
    assert len(runs.asked) == 9
    assert search.best is not None
    assert len(search.best.case.operations) < 60
    assert RunFolder(tmp_path / search.best.folder).read_verdict() is not None


def test_a_budget_of_runs_gives_the_same_result_whatever_the_number_of_processes(tmp_path):
    """What was begun ahead and not needed is no run of the search."""
    for budget in (5, 9, 15, 23, 40):
        results = []
        for jobs in (1, 4):
            search, _ = shrinking(
                tmp_path / f"{budget}-{jobs}",
                needs_partition_write_and_read,
                budget=Budget(runs=budget),
                jobs=jobs,
            )
            with pytest.raises(Spent):
                search.run()
            results.append((search.runs, search.best.case))
        assert results[0] == results[1]
        assert results[0][0] == budget


def test_a_budget_of_time_does_too(tmp_path):
    clock = itertools.count()
    search, runs = shrinking(
        tmp_path, needs_partition_write_and_read, budget=Budget(seconds=20), clock=lambda: next(clock)
    )
    with pytest.raises(Spent, match="the budget of 20 s"):
        search.run()
    assert 0 < len(runs.asked) <= 20


def test_what_did_not_hold_is_not_tried_again(tmp_path):
    search, runs = shrinking(tmp_path, needs_partition_write_and_read)
    search.run()
    failed = [of.key() for of in runs.asked if needs_partition_write_and_read(of) is None]
    assert len(failed) == len(set(failed))


@pytest.mark.parametrize(
    ("text", "budget"),
    [("90s", Budget(90.0)), ("5m", Budget(300.0)), ("1.5h", Budget(5400.0)), ("200runs", Budget(runs=200))],
)
def test_budgets_are_read(text, budget):
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "5", "0s", "-1m", "five", "1.5runs", "5 days"])
def test_budgets_that_make_no_sense_are_refused(text):
    with pytest.raises(ScenarioError, match="must be a time such as 90s"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["", "3", "3/2", "0/3", "a/b"])
def test_confirmations_that_make_no_sense_are_refused(text):
    assert Confirm.parse("2/3") == Confirm(2, 3)
    with pytest.raises(ScenarioError, match="N/M"):
        Confirm.parse(text)
