"""What a run ran on: version and commit of the harness, Python, libraries, kernel, processors.

Kept in `environment.json` of the run folder, so that two runs can be told apart later. Nothing secret and nothing
that identifies a person goes in: no host name, no user, no environment variables.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import harness

LIBRARIES = ("click", "docker", "msgspec", "numpy", "rich", "rocksdict", "uvloop")


def fingerprint() -> dict[str, Any]:
    """JSON-like; a part that cannot be found out is None."""
    return {
        "harness": {"version": harness.__version__, **_commit()},
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "memory_mb": _memory_mb(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> dict[str, Any]:
    """The commit of the checkout that the code runs from, and whether files differ from it."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return {"commit": None, "modified": None}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {
            "commit": commit,
            "modified": bool(_git(root, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "modified": None}


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=5
    )
    return done.stdout.strip()


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError):
        return None
