"""Sentences on a terminal are folded under themselves; in a log a line stays a line."""

import io
import os
import sys

import pytest

from harness.cli import lines
from harness.cli.lines import folded

TEXT = "availability: 78.7% of 2207 operations were answered; the longest time without an answer was 4.142 s"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_has_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert folded(TEXT, "  ") == "  " + TEXT


@pytest.mark.parametrize(("columns", "count"), [(20, 3), (60, 2), (200, 1)])
def test_a_terminal_has_lines_that_fit(monkeypatch: pytest.MonkeyPatch, columns: int, count: int) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(lines.shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    told = folded(TEXT, "  ").splitlines()
    assert len(told) == count
    assert max(map(len, told)) <= max(columns, lines.NARROWEST)
    assert all(line.startswith("      ") for line in told[1:])
    assert " ".join(line.strip() for line in told) == TEXT
