"""`harness check` on the recorded histories of other projects: format, guess or option, verdict and exit code of each.

The expectations are those of the folder's README. Nothing is tuned to the files; where they are absent, the tests skip.
Interpreted kernels are asked about the small ones, or about all with HARNESS_FULL_SIZES.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.cli.app import run
from tests.support.requirements import skip_unless_required
from tests.support.sizes import sized

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("HARNESS_HISTORIES") or ROOT.parent / "shared" / "histories")
VALID, INVALID = 0, 1
LARGEST_INTERPRETED = sized(1 << 30, 20_000)
"""Bytes of a file that interpreted kernels are asked about, at most."""
MOST_INTERPRETED = sized(1 << 30, 8)
"""How many files of one question they are asked about."""

ETCD_LINEARIZABLE = {2, 18, 38, 48, 56, 76, 80, 92, 98, 100, 102}


def listed(pattern: str) -> list[str]:
    """The files that match, and are not empty, by their place in the folder."""
    return sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob(pattern) if path.stat().st_size)


def cases() -> list[tuple[str, str, int]]:
    """File, options, exit code."""
    found = []
    for name in listed("porcupine/etcd/etcd_*.log"):
        number = int(Path(name).stem.split("_")[1])
        found.append((name, "--model cas-register", VALID if number in ETCD_LINEARIZABLE else INVALID))
    for name in listed("porcupine/kv/*.txt"):
        found.append((name, "--model kv", VALID if name.endswith("-ok.txt") else INVALID))
    for name in listed("knossos/cas-register/*/*.edn"):
        found.append((name, "--model cas-register", VALID if "/good/" in name else INVALID))
    found += [
        (name, "--model multi-register --initial 0", VALID)
        for name in listed("knossos/multi-register/good/*")
    ]
    for end in ("edn", "json"):
        found += [
            (f"jepsen/bank.{end}", "--model bank", VALID),
            (f"jepsen/counter.{end}", "--model counter", VALID),
        ]
    found += [
        ("jepsen/bank-neg.edn", "--model bank --allow-negative", VALID),
        ("jepsen/bank-negative-balances.json", "--model bank", INVALID),
        ("jepsen/set.edn", "--model set", VALID),
        ("jepsen/set_full.edn", "--model set-full", INVALID),
        ("elle/si-without-g-single.edn", "--model list-append --isolation snapshot-isolation", VALID),
        ("elle/si-without-g-single.edn", "--model list-append --isolation serializable", INVALID),
        ("elle/si-without-g-single.edn", "--model list-append", INVALID),
        ("elle/list-append-gh-30.edn", "--model list-append --isolation snapshot-isolation", VALID),
        ("elle/list-append-gh-30.edn", "--model list-append --isolation serializable", INVALID),
        ("list-append/la-perfect-10000.txt", "--model list-append", VALID),
        ("list-append/la-ssi-10000.txt", "--model list-append", VALID),
        ("list-append/la-prefix-10000.txt", "--model list-append --isolation read-uncommitted", INVALID),
    ]
    levels = ["read-committed", "read-atomic", "causal"]
    for name in listed("awdit/*/*.txt"):
        strongest = Path(name).parent.name
        held = levels.index(strongest) + 1 if strongest in levels else 0
        for place, level in enumerate(levels):
            found.append(
                (name, f"--model rw-register --isolation {level}", VALID if place < held else INVALID)
            )
    found += [
        ("awdit/causal/long-fork.txt", "--model rw-register --isolation snapshot-isolation", INVALID),
        ("isovista/pg_ser_bug.txt", "--model rw-register --isolation serializable", INVALID),
    ]
    found += [(f"elle/rw-register.{end}", "--model rw-register", VALID) for end in ("edn", "json")]
    for end in ("edn", "json"):
        for level, expected in (
            ("read-committed", VALID),
            ("snapshot-isolation", INVALID),
            ("serializable", INVALID),
        ):
            found.append((f"elle/paper-example.{end}", f"--model list-append --isolation {level}", expected))
    return found


CASES = cases()


INTERPRETED = """
import contextlib, io, json, sys
from harness.cli.app import run
for line in sys.stdin:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run(json.loads(line))
    print(json.dumps(printed.getvalue()), flush=True)
"""
"""Kernels are chosen when a process begins, so one of its own is asked with those that are interpreted."""


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Callable[[list[str]], str]]:
    """What a command prints in a process with interpreted kernels, the same for all questions."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERPRETED],
        cwd=ROOT,
        env={**os.environ, "HARNESS_KERNELS": "interpreted"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def ask(words: list[str]) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{json.dumps(words)}\n")
            process.stdin.flush()
            printed: str = json.loads(process.stdout.readline())
            return printed

        yield ask


@pytest.fixture
def compiled(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    def ask(words: list[str]) -> str:
        run(words)
        return capsys.readouterr().out

    return ask


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["compiled", "interpreted"])
@pytest.mark.parametrize("options", dict.fromkeys(options for _, options, _ in CASES) or ["none"])
def test_recorded_histories_have_their_known_verdicts(
    options: str, kernels: str, request: pytest.FixtureRequest
) -> None:
    """All files of the same question go into one command, which names each of them."""
    if not FOLDER.is_dir() or not CASES:
        skip_unless_required("histories", f"none at {FOLDER}; HARNESS_HISTORIES names their folder")
    expected = {file: code for file, asked, code in CASES if asked == options}
    missing = [file for file in expected if not (FOLDER / file).exists()]
    if missing:
        skip_unless_required(
            "histories", f"no {missing[0]} in {FOLDER}; HARNESS_HISTORIES names their folder"
        )
    if kernels == "interpreted":
        small = [file for file in expected if (FOLDER / file).stat().st_size <= LARGEST_INTERPRETED]
        some = small[:: max(1, len(small) // MOST_INTERPRETED)]
        expected = {file: expected[file] for file in some}
        if not expected:
            pytest.skip("all files of this question are large; HARNESS_FULL_SIZES=1 asks about them, too")
    printed = request.getfixturevalue(kernels)(
        ["check", "--json", *options.split(), *(str(FOLDER / file) for file in expected)]
    )
    found = [one["exit_code"] for one in json.loads(printed)["files"]]
    assert dict(zip(expected, found, strict=True)) == expected


def test_every_recorded_file_is_asked_about() -> None:
    """Empty ones, and the folder's own README, say nothing."""
    if not FOLDER.is_dir():
        skip_unless_required("histories", f"none at {FOLDER}; HARNESS_HISTORIES names their folder")
    there = {name for name in listed("**/*") if (FOLDER / name).is_file()}
    assert there - {file for file, _, _ in CASES} - {"README.md"} == set()
