"""Lengths of time as people write them: `90s`, `10m`, `1.5h`."""

from __future__ import annotations

import re

from harness.scenario import ScenarioError


def parse_duration(text: str) -> float:
    """`90`, `90s`, `10m`, `1.5h` in seconds. Raises ScenarioError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|)", text.strip(), re.ASCII)
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]] if match else 0.0
    if not 0 < seconds <= 366 * 86_400:
        raise ScenarioError(
            f"budget {text!r}: must be a time such as 90s, 10m or 2h, above 0 and at most a year"
        )
    return seconds
