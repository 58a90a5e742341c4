"""What a run ran on can be told apart later; looking it up is cheap the second time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.fingerprint import PACKAGES, code_digest, fingerprint

ROOT = Path(harness.__file__).resolve().parents[1]


def test_the_fingerprint_names_code_and_place() -> None:
    found = fingerprint()
    assert found["harness"]["version"] == harness.__version__
    assert found["harness"]["code"] == code_digest()
    assert set(found) >= {"python", "kernel", "processors", "libraries"}


def test_a_sweep_can_afford_one_for_each_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long, reading our pages and asking git, is done once in a process."""
    first = fingerprint()

    def must_not(*_arguments: object, **_options: object) -> None:
        raise AssertionError("looked up again")

    monkeypatch.setattr(Path, "read_bytes", must_not)
    monkeypatch.setattr(subprocess, "run", must_not)
    assert fingerprint() == first


def test_the_digest_is_the_same_elsewhere_and_another_after_a_change(tmp_path: Path) -> None:
    """A copy without its repository has the same digest until one page differs."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            tmp_path / package,
            ignore=lambda folder, names: [name for name in names if name in ("node_modules", "__pycache__")],
        )

    def digest() -> str:
        words = [sys.executable, "-c", "from harness.fingerprint import code_digest; print(code_digest())"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    first = digest()
    assert len(first) == 16
    page = tmp_path / "checkers" / "bank.py"
    text = page.read_text()
    page.write_text(text + "# changed\n")
    assert digest() != first
    page.write_text(text)
    assert digest() == first
    (tmp_path / "checkers" / "note.txt").write_text("no code")
    assert digest() == first
