"""Scenarios for tests."""

from harness.scenario import Scenario


def scenario_text(**fields):
    """The TOML of a scenario with seed 1, unless the fields say otherwise."""
    return Scenario(**{"seed": 1, **fields}).to_toml()
