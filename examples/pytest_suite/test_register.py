"""Scenarios from tests: a verdict is something to assert, and a database that is known to be wrong is a test, too."""

import pytest

from harness.pytest_plugin import Harness


@pytest.mark.parametrize("seed", [1, 2])
def test_registers_stay_linearizable_while_nodes_die(harness: Harness, seed: int) -> None:
    run = harness.test(workload="register", environment="simulation", nemesis="kill", time_limit=5, seed=seed)
    run.assert_valid()


def test_a_store_that_forgets_writes_is_found_out(harness: Harness) -> None:
    run = harness.test(
        workload="set",
        system="in-memory",
        system_options={"misbehave": "lost-writes"},
        environment="simulation",
        nemesis="none",
        time_limit=2,
        seed=3,
    )
    assert run.outcome == "invalid"
    assert run.anomalies[0]["type"] == "lost element"
