"""Makes a project from the template: the pages of `project/`, with the database's name in the place of my-database.

The template is a working project, so that what it makes is what was tested. Nothing is overwritten.
"""

from __future__ import annotations

import re
from pathlib import Path

TEMPLATE = Path(__file__).with_name("project")
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def make_project(name: str, folder: Path) -> list[Path]:
    """Writes the project into a folder that is empty or not there yet; the paths of its files, sorted.

    Raises ValueError for a name that cannot be that of a Python package, or a folder that has something in it.
    """
    if NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name!r} is no name for a project: lower-case letters, digits and single hyphens, such as my-database"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"{folder} is there already, and nothing is overwritten; choose another folder (--folder)"
        )
    words = {
        "my-database": name,
        "my_database": name.replace("-", "_"),
        "MyDatabase": "".join(part.capitalize() for part in name.split("-")),
    }
    made = []
    for source in sorted(TEMPLATE.rglob("*")):
        if source.is_dir() or "__pycache__" in source.parts:
            continue
        target = folder / replaced(str(source.relative_to(TEMPLATE)), words)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(replaced(source.read_text(encoding="utf-8"), words), encoding="utf-8")
        made.append(target)
    return sorted(made)


def replaced(text: str, words: dict[str, str]) -> str:
    """The text with each of these words replaced."""
    for old, new in words.items():
        text = text.replace(old, new)
    return text
