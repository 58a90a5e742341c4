"""All runs of a results folder, a line each: what was run, of which code, and what came of it.

A run lies in the folder itself, or one level below, in the folder of a sweep, a gate or a score of defects. What a
folder holds is read with patience: a run without a verdict, or with a damaged file, is a line all the same. Files are
read again only when they have changed, so an index of thousands is made quickly the second time.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from results.report.escape import beginning, shortened
from results.run_folder import RunFolder, RunFolderError

SORTS: Final = ("time", "workload", "system", "environment", "verdict", "answers", "commit")
MARKS_OF_A_RUN: Final = ("scenario.toml", "history.jsonl", "running.json")
NAME_LIMIT: Final = 200
SENTENCE_LIMIT: Final = 2000
"""Characters of a name and of a sentence that an index of thousands of runs keeps."""
LONGEST_NAME: Final = 255
"""Bytes of a file's name, on all the usual file systems."""
WORST_FIRST: Final = ("invalid", "failed", "unknown", "not judged", "running", "valid")


@dataclass(frozen=True)
class RunLine:
    """One run."""

    id: str
    """Its path from the results folder, `/` between the parts."""
    time: str
    """UTC, as the folder's name (or that of the folder around it) has it; empty if it has none."""
    workload: str = ""
    system: str = ""
    environment: str = ""
    nemesis: str = ""
    seed: int | None = None
    verdict: str = "not judged"
    sentence: str = ""
    answers_per_s: float | None = None
    commit: str = ""
    is_live: bool = False

    @property
    def words(self) -> str:
        """All that a search looks at, in small letters."""
        parts = (
            self.id,
            self.workload,
            self.system,
            self.environment,
            self.nemesis,
            self.verdict,
            self.sentence,
        )
        return " ".join((*parts, self.commit, f"seed {self.seed}")).casefold()


@dataclass(frozen=True)
class Filter:
    """What somebody wants to see. Empty fields say nothing."""

    search: str = ""
    """All of these words must be there."""
    workload: str = ""
    system: str = ""
    verdict: str = ""
    commit: str = ""
    """Its beginning."""
    sort: str = "time"
    reverse: bool = False

    def choose(self, lines: Iterable[RunLine]) -> list[RunLine]:
        """The lines that fit, in order; times and figures go down, names go up, verdicts the worst first."""
        words = self.search.casefold().split()
        chosen = [
            line
            for line in lines
            if (not self.workload or line.workload == self.workload)
            and (not self.system or line.system == self.system)
            and (not self.verdict or line.verdict == self.verdict)
            and line.commit.startswith(self.commit)
            and all(word in line.words for word in words)
        ]
        chosen.sort(key=lambda line: (line.time, line.id), reverse=True)
        if self.sort == "verdict":
            chosen.sort(
                key=lambda line: WORST_FIRST.index(line.verdict) if line.verdict in WORST_FIRST else 0
            )
        elif self.sort == "answers":
            chosen.sort(key=lambda line: -(line.answers_per_s or 0.0))
        elif self.sort in ("workload", "system", "environment", "commit"):
            chosen.sort(key=lambda line: str(getattr(line, self.sort)))
        if self.reverse:
            chosen.reverse()
        return chosen


class _Verdict(msgspec.Struct):
    """As much of a verdict as a line shows."""

    outcome: str
    sentence: str = ""
    parts: list[_Part] = []


class _Part(msgspec.Struct):
    checker: str = ""
    details: msgspec.Raw = msgspec.Raw(b"{}")


class _Measures(msgspec.Struct):
    answers_per_s: float | None = None


@dataclass
class RunsIndex:
    """The index of a results folder."""

    root: Path
    _known: dict[Path, tuple[tuple[int, ...], RunLine]] = field(default_factory=dict)

    def lines(self) -> list[RunLine]:
        """Every run, the newest first."""
        found: dict[Path, tuple[tuple[int, ...], RunLine]] = {}
        for path in self._folders():
            state = _state(path)
            before = self._known.get(path)
            if before is not None and before[0] == state and not before[1].is_live:
                found[path] = before
            else:
                found[path] = (state, self._read(path))
        self._known = found
        return sorted(
            (line for _, line in found.values()), key=lambda line: (line.time, line.id), reverse=True
        )

    def folder(self, run_id: str) -> RunFolder | None:
        """The run with this id; None if there is none, or the id leads elsewhere."""
        parts = run_id.split("/")
        if not 1 <= len(parts) <= 2 or not all(map(is_plain_name, parts)):
            return None
        path = self.root.joinpath(*parts)
        if any(place.is_symlink() for place in (path, path.parent) if place != self.root) or not _is_run(
            path
        ):
            return None
        return RunFolder(path)

    def _folders(self) -> Iterator[Path]:
        for path in _subfolders(self.root):
            if _is_run(path):
                yield path
            else:
                yield from (inner for inner in _subfolders(path) if _is_run(inner))

    def _read(self, path: Path) -> RunLine:
        folder = RunFolder(path)
        scenario = _patiently(folder.read_scenario)
        environment = _patiently(folder.read_environment)
        verdict, sentence, answers = _verdict(folder)
        is_live = folder.running() is not None
        harness = environment.get("harness")
        seed = scenario.get("seed")
        return RunLine(
            id="/".join(path.relative_to(self.root).parts),
            time=next((time for part in path.relative_to(self.root).parts if (time := _time_in(part))), ""),
            workload=_name(scenario.get("workload", "")),
            system=_name(scenario.get("system", "")),
            environment=_name(scenario.get("environment", "")),
            nemesis=_name(scenario.get("nemesis", "")),
            seed=seed if isinstance(seed, int) else None,
            verdict="running" if is_live and verdict is None else verdict or "not judged",
            sentence=beginning(sentence, SENTENCE_LIMIT),
            answers_per_s=answers,
            commit=_name(harness.get("commit") or harness.get("code") or "")
            if isinstance(harness, dict)
            else "",
            is_live=is_live,
        )


def is_plain_name(part: str) -> bool:
    """Whether a part of an address can name a file that is shown: no way out, nothing hidden, not too long."""
    return (
        part != ""
        and not part.startswith(".")
        and not any(sign in part for sign in ("/", "\\", "\x00"))
        and len(part.encode("utf-8", "surrogateescape")) <= LONGEST_NAME
    )


def _name(value: Any) -> str:
    return shortened(str(value), NAME_LIMIT)


def _subfolders(path: Path) -> list[Path]:
    try:
        inner = list(path.iterdir())
    except OSError:
        return []
    return sorted(
        one for one in inner if one.is_dir() and not one.is_symlink() and not one.name.startswith(".")
    )


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in MARKS_OF_A_RUN)


def _state(path: Path) -> tuple[int, ...]:
    """Changes when what a line shows may have changed."""
    state = []
    for name in ("verdict.json", "scenario.toml", "running.json", "environment.json"):
        try:
            found = (path / name).stat()
            state += [found.st_mtime_ns, found.st_size]
        except OSError:
            state.append(-1)
    return tuple(state)


def _patiently(read: Any) -> dict[str, Any]:
    with contextlib.suppress(
        RunFolderError, msgspec.MsgspecError, tomllib.TOMLDecodeError, ValueError, OSError
    ):
        found = read()
        if isinstance(found, dict):
            return found
    return {}


def _verdict(folder: RunFolder) -> tuple[str | None, str, float | None]:
    """Outcome, sentence and answers a second."""
    try:
        found = msgspec.json.decode(folder.verdict_path.read_bytes(), type=_Verdict)
        details = next((part.details for part in found.parts if part.checker == "availability"), None)
        measures = _Measures() if details is None else msgspec.json.decode(details, type=_Measures)
    except (OSError, msgspec.MsgspecError):
        return None, "", None
    return found.outcome, found.sentence, measures.answers_per_s


def _time_in(name: str) -> str:
    """`20260101T120000Z` at the beginning or behind a word, as `2026-01-01 12:00:00`; empty if there is none."""
    for part in name.split("-"):
        if len(part) == 16 and part[8] == "T" and part[15] == "Z" and (part[:8] + part[9:15]).isdigit():
            return f"{part[:4]}-{part[4:6]}-{part[6:8]} {part[9:11]}:{part[11:13]}:{part[13:15]}"
    return ""


def values_of(lines: Sequence[RunLine], name: str) -> list[str]:
    """The different values of a field, for a list to choose from."""
    return sorted({str(getattr(line, name)) for line in lines if getattr(line, name)})
