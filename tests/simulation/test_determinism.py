"""One seed makes one run: the same history and the same trace, byte for byte, in any process.

Two processes run the same seed with different PYTHONHASHSEED, so that whatever follows the order of a set, the address
of an object, the wall clock or the machine's randomness shows.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def runs(tmp_path: Path, *words: str, seeds: tuple[int, int]) -> tuple[Path, Path]:
    """The folders of two runs of the same command, which may be given two seeds."""
    folders = []
    processes = []
    for hash_seed, seed in zip(("1", "4242"), seeds, strict=True):
        folder = tmp_path / hash_seed
        command = [sys.executable, "-m", "harness", "test", "--environment", "simulation", *words]
        command += ["--seed", str(seed), "--environment-option", "trace=full", "--runs-dir", str(folder)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        processes.append(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        folders.append(folder)
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert process.returncode in (0, 1, 3), said
    first, second = ((folder / "latest").resolve() for folder in folders)
    return first, second


def first_difference(one: Path, other: Path) -> str | None:
    """The first lines that differ, in words; None if the files are the same."""
    if one.read_bytes() == other.read_bytes():
        return None
    lines, others = one.read_text().splitlines(), other.read_text().splitlines()
    for number, (line, against) in enumerate(zip(lines, others, strict=False), 1):
        if line != against:
            return f"{one.name}:{number}\n  {line[:500]}\n  {against[:500]}"
    return f"{one.name} has {len(lines)} lines in one run and {len(others)} in the other"


@pytest.mark.parametrize(
    ("workload", "seed"), [("bank", 11), ("bank", 12), ("register", 21), ("register", 22), ("set", 31)]
)
def test_the_same_seed_is_the_same_run_in_another_process(tmp_path: Path, workload: str, seed: int) -> None:
    first, second = runs(
        tmp_path,
        *("--workload", workload, "--nemesis", "all", "--time-limit", "10", "--rate", "60"),
        seeds=(seed, seed),
    )
    for name in ("history.jsonl", "trace.jsonl", "schedule.jsonl", "verdict.json"):
        assert (first / name).stat().st_size > 0
        assert first_difference(first / name, second / name) is None
    for node in ("n1", "n2", "n3"):
        name = f"nodes/{node}/node.log"
        assert first_difference(first / name, second / name) is None


def test_a_run_with_a_node_that_is_replaced_is_the_same_run_too(tmp_path: Path) -> None:
    """Whom to wait for, and for how long, is asked of nobody's real clock."""
    words = ("--workload", "bank", "--nodes", "4", "--nemesis", "membership:replace,partition")
    first, second = runs(
        tmp_path,
        *(*words, "--system-option", "placement=on", "--time-limit", "10", "--rate", "60"),
        seeds=(41, 41),
    )
    for name in ("history.jsonl", "trace.jsonl", "schedule.jsonl", "verdict.json"):
        assert first_difference(first / name, second / name) is None
    assert "-2 to the other members" in (first / "history.jsonl").read_text(), "a node was replaced"


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    words = ("--workload", "register", "--nemesis", "none", "--time-limit", "2")
    first, second = runs(tmp_path, *words, seeds=(1, 2))
    assert first_difference(first / "history.jsonl", second / "history.jsonl") is not None
