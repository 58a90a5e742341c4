"""The command line as people use it: `harness`, a process of its own in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, *words: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
    """`harness WORDS` in that folder; what it prints can be read while it goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def call(folder: Path, *words: str) -> tuple[int, str]:
    """Exit code, and all that it printed."""
    process = start(folder, *words)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output
