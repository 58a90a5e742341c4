"""`harness init`: what it makes works before anything is changed, under its own name, and its own tests pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.app import run

ROOT = Path(__file__).resolve().parents[2]


def test_every_page_has_the_name_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "sky-lark2"]) == 0
    assert "harness test --system sky_lark2.system:SkyLark2 --workload register" in capsys.readouterr().out
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert made == [
        "sky-lark2/README.md",
        "sky-lark2/gate.toml",
        "sky-lark2/pyproject.toml",
        "sky-lark2/sky_lark2/__init__.py",
        "sky-lark2/sky_lark2/system.py",
        "sky-lark2/sky_lark2/toy.py",
        "sky-lark2/tests/test_sky_lark2.py",
    ]
    for path in made:
        text = Path(path).read_text(encoding="utf-8").lower()
        assert "my-database" not in text
        assert "my_database" not in text
        assert "mydatabase" not in text
    monkeypatch.chdir(tmp_path / "sky-lark2")
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert run(["gate", "gate.toml", "--dry-run"]) == 0, "the plan makes sense"


@pytest.mark.parametrize("name", ["My-Database", "1st", "a--b", "a_b", "-a", "a/b"])
def test_a_name_that_no_package_can_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--", name]) == 2
    assert "is no name for a project" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert run(["init", "my-database", "--folder", str(tmp_path)]) == 2
    assert "nothing is overwritten; choose another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.slow
def test_the_tests_of_a_new_project_pass(tmp_path: Path) -> None:
    """The toy is judged honest, valid while its nodes die, and invalid where it acknowledges too early."""
    folder = tmp_path / "sky"
    assert run(["init", "sky", "--folder", str(folder)]) == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
