"""The mutants that are known to survive, each with the reason: read from `survivors/`, held against the pages.

Of a page there are groups of `mutants` with one reason, `why`. It begins with the verdict on it: *the same verdicts*,
where no test could notice, *other words*, where only what is told would change, and *open*, where a test could notice
and none does, or nobody has looked.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("survivors")
REASONS = ("the same verdicts", "other words", "open")
"""How a reason begins."""


@dataclass(frozen=True)
class Group:
    """Mutants of a page that survive for one reason, by the names that `mutants.Place` gives them."""

    why: str
    mutants: tuple[str, ...]


def survivors() -> dict[str, list[Group]]:
    """All groups, by page."""
    found: dict[str, list[Group]] = {}
    for file in sorted(FOLDER.glob("*.toml")):
        for page, groups in tomllib.loads(file.read_text()).items():
            found.setdefault(page, []).extend(
                Group(group["why"], tuple(group["mutants"])) for group in groups
            )
    return found


def excused(page: str) -> frozenset[str]:
    """The names of the mutants of a page that need not be tried."""
    return frozenset(name for group in survivors().get(page, []) for name in group.mutants)


def add(page: str, why: str, mutants: Sequence[str]) -> None:
    """Writes mutants of a page into the list of its folder."""
    assert why.startswith(REASONS), why
    names = "".join(f"    {json.dumps(name, ensure_ascii=False)},\n" for name in mutants)
    file = FOLDER / f"{Path(page).parent.name}.toml"
    with file.open("a") as added:
        added.write(f'\n[["{page}"]]\nwhy = {json.dumps(why, ensure_ascii=False)}\nmutants = [\n{names}]\n')
