"""Whole runs in memory: the real engine, workloads and checkers find what is wrong, and nothing where nothing is."""

import pytest

from checkers.checker import Limits
from harness.catalog import WORKLOADS, _load
from harness.systems.in_memory.database import Trouble
from results.verdict import INVALID, VALID
from tests.harness.engine import Played, database, options, play
from workloads.workload import Workload

SCANS = ("set", "causal-reverse")
"""Workloads that read everything now and then, and would in so short a run not read at all."""

TROUBLES = {
    "none": Trouble(),
    "all": Trouble(lost_reply=0.03, lost_request=0.03, refused=0.05, silence=0.003, no_session=0.05),
}


def make(name: str, seed: int = 1, **extra: float) -> Workload:
    if name in SCANS:
        extra.setdefault("read_interval", 0.01)
    if name == "watch":
        extra.setdefault("watch_s", 0.01)
    kind: type[Workload] = _load(WORKLOADS[name])
    return kind(options(seed=seed, extra=extra))


def judge(workload: Workload, played: Played) -> str:
    verdict = workload.checker.check(played.history, Limits(time_s=30))
    return verdict.outcome


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize(
    ("name", "uvloop"), [*((name, False) for name in WORKLOADS), ("register", True), ("bank", True)]
)
def test_a_right_database_is_valid_whatever_happens_to_its_clients(
    name: str, trouble: str, uvloop: bool
) -> None:
    workload = make(name)
    store = database(trouble=TROUBLES[trouble])

    played = play(workload, store.open_session, timeout_s=1.0, uvloop=uvloop, virtual=not uvloop)

    assert judge(workload, played) == VALID
    succeeded = {operation.f for operation in played.operations if operation.type == "ok"}
    assert succeeded >= set(workload.required_functions)
    assert all(result.is_whole for result in played.results), played.results
    if trouble == "none":
        assert store.open_now == 0, "all sessions were closed"


@pytest.mark.parametrize(
    ("name", "defect", "share"),
    [
        ("register", "stale-reads", 0.2),
        ("register", "lost-writes", 0.1),
        ("register", "false-failures", 0.1),
        ("bank", "lost-updates", 1.0),
        ("bank", "torn-transactions", 0.5),
        ("set", "lost-writes", 0.1),
        ("set", "false-failures", 0.1),
    ],
)
def test_a_wrong_database_is_invalid(name: str, defect: str, share: float) -> None:
    workload = make(name)

    played = play(workload, database(misbehaviour=defect, share=share).open_session)

    assert judge(workload, played) == INVALID


@pytest.mark.parametrize("seed", range(3))
def test_registers_with_values_that_repeat_are_judged_by_the_search(seed: int) -> None:
    workload = make("register", seed, values=5, changes_per_key=100)
    right, wrong = database(seed), database(seed, misbehaviour="stale-reads", share=0.5)

    assert judge(workload, play(workload, right.open_session)) == VALID
    wrongly = play(make("register", seed, values=5), wrong.open_session)
    assert judge(workload, wrongly) == INVALID
