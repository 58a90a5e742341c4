"""Kernels: one source, two forms; a compiled form is used only if it was made from the source as it is now."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import build_kernels
from results import columns_kernel, kernels
from results.history import TYPE_CODES
from results.operation import Operation

ROOT = Path(__file__).resolve().parents[2]


def asked(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def split(kernel):
    operations = tuple(
        Operation(index, index * 10, process, type_, f)
        for index, (process, type_, f) in enumerate(
            [(0, "invoke", "read"), (1, "invoke", "write"), ("nemesis", "info", "start"), (0, "ok", "read")]
        )
    )
    time, type_ = np.empty(4, np.int64), np.empty(4, np.int8)
    process, function = np.empty(4, np.int32), np.empty(4, np.int32)
    processes, functions = {}, {}
    kernel.split_events(operations, TYPE_CODES, processes, functions, time, type_, process, function)
    columns = [column.tolist() for column in (time, type_, process, function)]
    return columns, processes, functions


def test_both_forms_of_a_kernel_say_the_same():
    interpreted = kernels.load_interpreted(columns_kernel)
    assert not kernels.is_compiled(interpreted)
    assert split(interpreted) == split(columns_kernel)
    assert split(interpreted)[0] == [[0, 10, 20, 30], [0, 0, 3, 1], [0, 1, 2, 0], [0, 1, 2, 0]]


def test_the_environment_can_refuse_compiled_kernels():
    code = "from results import columns_kernel, kernels; print(kernels.is_compiled(columns_kernel))"
    done = asked(code, HARNESS_KERNELS="interpreted")
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


def test_a_wrong_word_in_the_environment_is_told():
    done = asked("from results import columns_kernel", HARNESS_KERNELS="fast")
    assert done.returncode != 0
    assert "HARNESS_KERNELS='fast' must be" in done.stderr


def test_a_kernel_that_was_edited_since_runs_interpreted(tmp_path, monkeypatch):
    """The digest beside the compiled form belongs to another source: the source counts."""
    monkeypatch.setattr(kernels, "all_are_current", lambda: True)
    source = tmp_path / "results" / "sum_kernel.py"
    source.parent.mkdir()
    source.write_text("x = 1\n")
    compiled = build_kernels.compiled_path(source)
    compiled.write_bytes(b"not a library, and never loaded")
    build_kernels.digest_path(source).write_text("digest of what it was before")
    spec = kernels.KernelFinder.find_spec("results.sum_kernel", [str(source.parent)])
    assert spec is not None
    assert spec.origin == str(source)
    build_kernels.digest_path(source).write_text(build_kernels.digest(source))
    spec = kernels.KernelFinder.find_spec("results.sum_kernel", [str(source.parent)])
    assert spec is not None
    assert spec.origin == str(compiled)


def test_one_kernel_that_is_not_compiled_makes_all_run_interpreted(monkeypatch):
    """They hand each other arrays or lists: a compiled one cannot take what an interpreted one wants."""
    monkeypatch.setattr(kernels, "all_are_current", lambda: False)
    spec = kernels.KernelFinder.find_spec("results.columns_kernel", [str(ROOT / "results")])
    assert spec is not None
    assert spec.origin == str(ROOT / "results" / "columns_kernel.py")


@pytest.mark.parametrize("source", build_kernels.sources(), ids=lambda path: path.stem)
def test_where_kernels_can_be_compiled_they_are(source):
    """`./check` compiles them before it tests; a form that lags behind its source would be tested in vain."""
    if not any(build_kernels.compiled_path(one).exists() for one in build_kernels.sources()):
        pytest.skip("no kernel is compiled here: there is no C compiler, or build_kernels.py was not run")
    assert build_kernels.is_current(source), f"{source.name} was edited: python build_kernels.py compiles it"
