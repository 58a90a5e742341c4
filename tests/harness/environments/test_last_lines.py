"""What is said of a program that ended without a word."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.environments.last_lines import LITTLE_ROOM, nothing_printed


@pytest.mark.parametrize(
    ("free", "end"),
    [(LITTLE_ROOM, "/node.log)"), (8192, "/node.log): the disk below is full, 8 kB are free")],
)
def test_a_full_disk_is_named_where_a_program_could_say_nothing(
    free: int, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = SimpleNamespace(f_bavail=free // 4096, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: volume)
    said = nothing_printed(tmp_path / "node.log")
    assert said.startswith("it has printed nothing (")
    assert said.endswith(end)


def test_a_folder_that_is_gone_is_no_full_disk(tmp_path: Path) -> None:
    assert nothing_printed(tmp_path / "gone" / "node.log").endswith("/gone/node.log)")
