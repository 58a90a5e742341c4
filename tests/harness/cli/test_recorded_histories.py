"""`harness check` on the recorded histories of other projects: format, guess or option, verdict and exit code of each.

The expectations are those of the folder's README. Nothing is tuned to the files; where they are absent, the tests skip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import skip_unless_required

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("HARNESS_HISTORIES") or ROOT.parent / "shared" / "histories")
VALID, INVALID = 0, 1

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


def check(kernels: str, options: str, files: list[str]) -> list[int]:
    """The exit codes of the files, by one command."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "harness",
            "check",
            "--json",
            *options.split(),
            *(str(FOLDER / file) for file in files),
        ],
        cwd=ROOT,
        env={**os.environ, "HARNESS_KERNELS": kernels},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return [one["exit_code"] for one in json.loads(done.stdout)["files"]]


@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["", "interpreted"], ids=["kernels", "interpreted"])
@pytest.mark.parametrize("options", dict.fromkeys(options for _, options, _ in CASES) or ["none"])
def test_recorded_histories_have_their_known_verdicts(options: str, kernels: str) -> None:
    """All files of the same question go into one command, which names each of them."""
    if not FOLDER.is_dir() or not CASES:
        skip_unless_required("histories", f"none at {FOLDER}; HARNESS_HISTORIES names their folder")
    expected = {file: code for file, asked, code in CASES if asked == options}
    missing = [file for file in expected if not (FOLDER / file).exists()]
    if missing:
        skip_unless_required(
            "histories", f"no {missing[0]} in {FOLDER}; HARNESS_HISTORIES names their folder"
        )
    found = dict(zip(expected, check(kernels, options, list(expected)), strict=True))
    assert found == expected
