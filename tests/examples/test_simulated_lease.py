"""The example does what its page says: sound on real sockets, broken by some seed, repeatable, and repaired."""

from __future__ import annotations

import asyncio

import pytest

from examples.simulated_lease import find
from examples.simulated_lease.leases import run_here


def test_on_real_sockets_nothing_is_lost() -> None:
    store, tallies = asyncio.run(run_here(0.3))
    assert store.number == sum(tally.confirmed for tally in tallies) > 0


def test_without_faults_nothing_is_lost_in_a_simulated_world_either() -> None:
    outcome = find.run(1, fencing=False, faults=False)
    assert outcome.is_valid
    assert outcome.number == outcome.confirmed > 0
    assert outcome.unknown == 0
    assert outcome.first_lost() is None


def test_some_seed_finds_the_bug_and_finds_it_again() -> None:
    broken = next(outcome for seed in range(1, 30) if not (outcome := find.run(seed, fencing=False)).is_valid)
    assert broken.number < broken.confirmed
    assert broken.first_lost() is not None
    assert find.run(broken.seed, fencing=False) == broken
    assert find.run(broken.seed, fencing=True).is_valid, "the innocent twin"


def test_the_command_tells_the_story_of_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert find.main(["--seeds", "1-30"]) == 1
    shown = capsys.readouterr().out
    assert "increments were confirmed and the store says" in shown
    assert "once more with seed" in shown
    assert "the same, event for event" in shown

    assert find.main(["--seeds", "1-3", "--fencing"]) == 0
    assert "no increment was lost" in capsys.readouterr().out


@pytest.mark.parametrize("seeds", ["nonsense", "9-3", "1-x"])
def test_seeds_of_nonsense_are_refused(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        find.main(["--seeds", seeds])
    assert f"--seeds {seeds}" in capsys.readouterr().err
