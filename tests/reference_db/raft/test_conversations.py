"""Our own conversation files answer as written. HARNESS_REWRITE=1 puts the real answers into them: read the
difference before committing it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from . import datadriven
from .conversation import Conversation

FILES = sorted((Path(__file__).parent / "conversations").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_conversation(path: Path) -> None:
    if os.environ.get("HARNESS_REWRITE"):
        datadriven.rewrite(path, Conversation().handle)
    wrong = datadriven.run(path, Conversation().handle, str.__eq__)
    assert not wrong, wrong[0]


def test_there_are_conversations() -> None:
    assert len(FILES) >= 12
