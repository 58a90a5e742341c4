"""What a run ran on: version and commit of the harness, Python, libraries, kernel, processors.

Kept in `environment.json` of the run folder, so that two runs can be told apart later. Nothing secret and nothing
that identifies a person goes in: no host name, no user, no environment variables.

What cannot change while a process runs is looked up once: a sweep writes a fingerprint for each of its seeds.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import harness

PACKAGES = ("checkers", "harness", "nemesis", "reference_db", "results", "workloads")

LIBRARIES = ("click", "docker", "msgspec", "numpy", "rich", "rocksdict", "uvloop")


def fingerprint() -> dict[str, Any]:
    """JSON-like; a part that cannot be found out is None."""
    return {
        "harness": {"version": harness.__version__, **_commit(), "code": code_digest()},
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "memory_mb": _memory_mb(),
    }


@functools.cache
def code_digest() -> str:
    """Digest of every page of our packages: where it is the same, the same seed is the same simulated run.

    It tells apart what a commit does not: files that were changed and not committed.
    """
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.blake2b(digest_size=8)
    for package in PACKAGES:
        for folder, inner, names in os.walk(root / package):
            inner[:] = sorted(name for name in inner if name not in ("node_modules", "__pycache__"))
            for name in sorted(names):
                if name.endswith(".py"):
                    path = Path(folder, name)
                    digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
                    digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


@functools.cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
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
