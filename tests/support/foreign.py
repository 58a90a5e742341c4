"""Other people's databases in tests: whether this machine has them, and short runs against them."""

from __future__ import annotations

from pathlib import Path

from harness.cli.app import run
from harness.environments.environment import EnvironmentFailed
from harness.systems.foreign import ForeignSystem
from tests.support.requirements import skip_unless_required


def require_program(part: str, system: ForeignSystem, name: str, package: str = "") -> None:
    """Skips (or fails, where the part is required) without the program."""
    try:
        system.program(name, package)
    except EnvironmentFailed as error:
        skip_unless_required(part, str(error))


def short_run(folder: Path, system: str, workload: str, *more: str, seconds: float = 5.0) -> int:
    """The exit code of a short run in `local`."""
    words = [
        "test",
        "--system",
        system,
        "--workload",
        workload,
        "--seed",
        "5",
        "--time-limit",
        f"{seconds:g}",
    ]
    return run([*words, *more, "--runs-dir", str(folder)])
