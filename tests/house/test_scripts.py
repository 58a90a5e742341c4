"""`./run` on machines that lack something says what is missing and the way out, and ends with exit code 4."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path):
    """A checkout without .venv."""
    for name in ("run", ".environment.sh", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def fake_python(folder: Path, script: str) -> Path:
    path = folder / "fake-python"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def run(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "run", "list"],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_python_without_venv_gets_a_clear_message(checkout):
    python = fake_python(checkout, 'case "$*" in *venv*) exit 1;; *) exit 0;; esac\n')
    done = run(checkout, HARNESS_PYTHON=str(python))
    assert done.returncode == 4
    assert "cannot make virtual environments" in done.stderr
    assert "apt-get install python3-venv" in done.stderr


def test_no_recent_python_at_all_gets_a_clear_message(checkout, tmp_path):
    """Every candidate claims to be too old: the folder shadows those of the machine."""
    shadow = tmp_path / "bin"
    shadow.mkdir()
    for name in ("python3.11", "python3.12", "python3.13", "python3", "python"):
        fake_python(shadow, "exit 1\n").rename(shadow / name)
    done = run(checkout, PATH=f"{shadow}:/usr/bin:/bin")
    assert done.returncode == 4
    assert "no Python 3.11 or later was found" in done.stderr
    assert "HARNESS_PYTHON=" in done.stderr


def test_an_unreachable_package_index_shows_what_pip_said(checkout):
    """pip fails inside the new virtual environment: its output is shown, and the exit code says 'environment'."""
    script = f"""
case "$*" in
  *"-m venv"*) mkdir -p {checkout}/.venv/bin && cp "$0" {checkout}/.venv/bin/python;;
  *"pip install"*) echo "no route to the index"; exit 1;;
  *"pip --version"*) [ -d {checkout}/.venv ] || exit 1;;
esac
exit 0
"""
    done = run(checkout, HARNESS_PYTHON=str(fake_python(checkout, script)))
    assert done.returncode == 4
    assert "no route to the index" in done.stderr
    assert "could not be installed" in done.stderr


def test_two_commands_in_the_first_minute_compile_the_kernels_once(tmp_path):
    for folder in ("results", "checkers", "harness", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "build_kernels.py").write_text("")
    (tmp_path / "requirements.txt").write_text("")
    ended = tmp_path / "ended"
    build = f"echo built >>{tmp_path}/built; until [ -e {ended} ]; do sleep 0.05; done\n"
    fake_python(tmp_path / ".venv/bin", build).rename(tmp_path / ".venv/bin/python")
    twice = f'compile_kernels "{tmp_path}" requirements.txt; ' * 2
    script = f". {ROOT}/.environment.sh; {twice} touch {ended}; wait"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr.count("Compiling kernels in the background") == 1, done.stderr
    assert (tmp_path / "built").read_text() == "built\n"
