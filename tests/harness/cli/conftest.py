"""What tests of the command line share: the commands, called in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli.app import run

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def harness(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line in an empty folder; answers exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words: Any) -> tuple[int, str, str]:
        code = run([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
