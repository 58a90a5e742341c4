"""A wheel built from the checkout holds everything that a run needs, and works far from the checkout."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("multiraft_harness-*.whl")
    return built


def test_the_wheel_holds_our_packages_and_their_files_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"harness", "workloads", "nemesis", "checkers", "results", "reference_db"}
    assert "results/report/template.html" in names
    assert "harness/environments/docker/Dockerfile" in names
    assert not [
        name for name in names if "front_end" in name or "node_modules" in name or "__pycache__" in name
    ]


def test_the_installed_wheel_runs_outside_the_checkout(wheel, tmp_path):
    """Dependencies come from this environment; our packages only from the wheel."""
    target = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(target), sysconfig.get_path("purelib")]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    # -S skips the .pth file that puts the checkout on the path.
    program = [sys.executable, "-S", "-m", "harness"]
    where = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            "import harness, reference_db; print(harness.__file__, reference_db.__file__)",
        ],
        cwd=outside,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert where.count(str(target)) == 2, where
    listed = subprocess.run(
        [*program, "list"], cwd=outside, env=environment, capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    assert "bank" in listed.stdout
    tried = subprocess.run(
        [
            *program,
            "test",
            "--workload",
            "set",
            "--nemesis",
            "none",
            "--time-limit",
            "3",
            "--seed",
            "5",
            "--rate",
            "50",
        ],
        cwd=outside,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert (outside / "runs" / "latest" / "report.html").exists()
