"""Every command in the code blocks of README.md and docs/ is one that the command line understands.

Words and flags are parsed, nothing is run; a run in simulation or on local nodes is also planned (`--dry-run`), which
looks up all names. Databases that a reader is to write, and folders of runs that a reader has, are not there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from harness.cli.app import LazyGroup, run
from harness.cli.completion import SHELLS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_THE_READER = ("my_package", "my_database", "my_defect")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where it stands, and its words behind `harness` or `./run`."""
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            first = text[: block.start(1)].count("\n") + 1
            joined = re.sub(r"\\\n", lambda _: " ", block[1])
            for line in joined.splitlines():
                line = re.sub(r'^eval "\$\((.*?)\)"', lambda found: found[1], line)
                if re.match(r"(\./run|harness) [a-z]", line):
                    words = shlex.split(line.partition(" && ")[0], comments=True)[1:]
                    place = f"{page.relative_to(ROOT)}, block of line {first}: {' '.join(words)}"
                    yield place, words


COMMANDS = list(commands())


@pytest.mark.parametrize("words", [pytest.param(words, id=place) for place, words in COMMANDS])
def test_its_words_and_flags_are_understood(words: list[str]) -> None:
    command: click.Command | None = LazyGroup(name="harness")
    context = click.Context(command, info_name="harness")
    name: str | None = None
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)
    assert command is not None
    command.make_context(name, words, parent=context)


PLANNED = [
    pytest.param(words, id=place)
    for place, words in COMMANDS
    if words[0] == "test" and not any(own in " ".join(words) for own in OF_THE_READER)
]


@pytest.mark.parametrize("words", PLANNED)
def test_a_run_can_be_planned(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An environment or a database that this machine lacks is no mistake of the page (exit code 4)."""
    code = run([*words, "--dry-run", "--runs-dir", str(tmp_path)])
    assert code in (0, 4), capsys.readouterr().err


def test_commands_are_found_in_the_pages() -> None:
    assert len(COMMANDS) > 60
    assert any(words[0] == "completion" and words[1] in SHELLS for _, words in COMMANDS)
