"""Where the recorded histories of other projects are, and what to do where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("HARNESS_HISTORIES") or Path(__file__).parents[4] / "shared" / "histories")


def recorded(path: str) -> Path:
    """The folder or file at `path` among the recorded histories; without it, the test skips and says so, or fails
    where HARNESS_REQUIRE names `histories`."""
    found = FOLDER / path
    if not found.exists():
        reason = f"no recorded histories at {found}; HARNESS_HISTORIES names their folder"
        if "histories" in os.environ.get("HARNESS_REQUIRE", "").replace(",", " ").split():
            pytest.fail(reason)
        pytest.skip(reason)
    return found
