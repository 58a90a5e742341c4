"""Where the recorded histories of other projects are, and what to do where they are not."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.requirements import skip_unless_required

FOLDER = Path(os.environ.get("HARNESS_HISTORIES") or Path(__file__).parents[4] / "shared" / "histories")


def recorded(path: str) -> Path:
    """The folder or file at `path` among the recorded histories; without it, the test skips and says so, or fails
    where HARNESS_REQUIRE names `histories`."""
    found = FOLDER / path
    if not found.exists():
        skip_unless_required("histories", f"none at {found}; HARNESS_HISTORIES names their folder")
    return found
