"""How judging history files looks on the command line: children at work, progress, verdicts with evidence, JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.cli.running import ANOMALIES_SHOWN, COLOURS, print_verdict
from harness.confined import BROKE_DOWN, OUT_OF_MEMORY, OUT_OF_TIME, Confined, Ended, run_confined
from harness.file_check import (
    FAILED,
    MODEL,
    READ,
    REPORT,
    VERDICT,
    WRONG_USAGE,
    Task,
    Told,
    check_file,
    decode,
    printable,
)
from results.verdict import UNKNOWN, Verdict, exit_code

FAILED_EXIT = 4
WRONG_USAGE_EXIT = 2
PROGRESS_AFTER_S = 2.0
"""What takes longer than this is seen to be going on."""
REDRAW_S = 0.2
LINE_S = 10.0
"""Where there is no terminal: seconds between two lines about the same file."""


@dataclass
class Judged:
    """What is known about one file by now."""

    task: Task
    read: Told | None = None
    model: Told | None = None
    verdict: Told | None = None
    report: str | None = None
    problems: list[Told] = field(default_factory=list)
    ended: Ended | None = None

    @property
    def exit_code(self) -> int:
        if self.verdict is not None and self.verdict.verdict is not None:
            code = exit_code(self.verdict.verdict)
            # A report that was asked for and could not be written is an error, but hides no verdict that is worse.
            return FAILED_EXIT if self.problems and code == 0 else code
        return WRONG_USAGE_EXIT if any(told.kind == WRONG_USAGE for told in self.problems) else FAILED_EXIT

    def take(self, told: Told) -> None:
        match told.kind:
            case "read":
                self.read = told
            case "model":
                self.model = told
            case "verdict":
                self.verdict = told
            case "report":
                self.report = told.text
            case _:
                self.problems.append(told)

    def end(self, ended: Ended) -> None:
        """The child is gone; if it left no verdict, this says why."""
        self.ended = ended
        if self.verdict is not None:
            if ended.reason != "done" and self.task.report is not None and self.report is None:
                self.problems.append(Told(FAILED, f"the report was given up: {self._why(ended)}"))
            return
        if ended.reason in (OUT_OF_TIME, OUT_OF_MEMORY):
            verdict = Verdict(UNKNOWN, self.model.model if self.model else "check", self._why(ended))
            self.verdict = Told(VERDICT, verdict=verdict)
        elif ended.reason == BROKE_DOWN or not self.problems:
            text = (
                f"the check ended with exit code {ended.exit_code} before it had a verdict; please report it"
            )
            self.problems.append(Told(FAILED, text))

    def _why(self, ended: Ended) -> str:
        doing = "checking" if self.model else "reading the file"
        limits = self.task.limits
        if ended.reason == OUT_OF_MEMORY:
            return (
                f"the memory allowed ({limits.memory_mb} MB) ran out while {doing}; allow more with "
                "--check-memory-limit, or check fewer operations"
            )
        return (
            f"the time allowed ({limits.time_s:g} s) ran out while {doing}; allow more with --check-time-limit, or "
            "check fewer operations"
        )


def judge_files(tasks: Sequence[Task], jobs: int, *, quiet: bool) -> list[Judged]:
    """Judges the files, `jobs` at a time, and prints each in order as soon as it is its turn, unless `quiet`."""
    judged = [Judged(task) for task in tasks]
    printed = 0
    progress = _Progress(judged)

    def on_message(position: int, message: bytes) -> None:
        judged[position].take(decode(message))

    def on_end(position: int, ended: Ended) -> None:
        nonlocal printed
        judged[position].end(ended)
        progress.clear()
        while printed < len(judged) and judged[printed].ended is not None:
            if not quiet:
                print_judged(judged[printed])
            printed += 1

    works = [Confined(check_file, (task,), task.limits.time_s, task.limits.memory_mb) for task in tasks]
    try:
        run_confined(works, jobs, on_message, on_end, progress.tick)
    finally:
        progress.clear()
    return judged


class _Progress:
    """Says on stderr what is going on: a line that is written over on a terminal, else a line now and then."""

    def __init__(self, judged: Sequence[Judged]) -> None:
        self._judged = judged
        self._is_terminal = sys.stderr.isatty()
        self._drawn = 0
        self._last = 0.0
        self._next_line: dict[int, float] = {}

    def tick(self, running: dict[int, tuple[float, float]]) -> None:
        now = time.monotonic()
        if now - self._last < REDRAW_S:
            return
        self._last = now
        long = {position: seen for position, seen in running.items() if seen[0] >= PROGRESS_AFTER_S}
        if not self._is_terminal:
            for position, (seconds, mb) in long.items():
                if seconds >= self._next_line.get(position, PROGRESS_AFTER_S):
                    self._next_line[position] = seconds + LINE_S
                    click.echo(self._told(position, seconds, mb), err=True)
            return
        self.clear()
        if long:
            text = "; ".join(self._told(position, *seen) for position, seen in long.items())
            text = text[: max(20, _columns() - 1)]
            sys.stderr.write(text)
            sys.stderr.flush()
            self._drawn = len(text)

    def clear(self) -> None:
        """Takes the line away."""
        if self._drawn:
            sys.stderr.write(f"\r{' ' * self._drawn}\r")
            sys.stderr.flush()
            self._drawn = 0

    def _told(self, position: int, seconds: float, mb: float) -> str:
        one = self._judged[position]
        doing = "reading"
        if one.read is not None:
            doing = f"checking {one.read.operations:,} operations"
        if one.verdict is not None:
            doing = "writing the report"
        return f"{_name(one.task.path)}: {doing}, {seconds:.0f} s, {mb:,.0f} MB"


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns


def _name(path: Path) -> str:
    return printable(str(path))


def print_judged(one: Judged) -> None:
    """One file: how it was read, and its verdict with the evidence."""
    click.echo(_name(one.task.path))
    if one.read is not None:
        click.echo(f"  {one.read.format}: {one.read.events} events, {one.read.operations} operations")
        for note in one.read.notes:
            click.echo(f"  note: {note}", err=True)
    if one.model is not None and one.model.model:
        isolation = one.task.question.options.isolation
        guessed = " (guessed from its functions; --model says otherwise)" if one.model.guessed else ""
        click.echo(f"  model: {one.model.model}{f', {isolation}' if isolation else ''}{guessed}")
    if one.verdict is not None and one.verdict.verdict is not None:
        _print_evidence(one.verdict.verdict, one.verdict.evidence)
    for told in one.problems:
        click.echo(f"{told.kind}: {chr(10).join(map(printable, told.text.split(chr(10))))}", err=True)
    if one.report is not None:
        click.echo(f"  report: {one.report}")


def _print_evidence(verdict: Verdict, evidence: list[list[str]]) -> None:
    for part in verdict.parts:
        click.secho(f"  {part.checker}: {part.outcome}: {printable(part.sentence)}", fg=COLOURS[part.outcome])
    anomalies = list(verdict.every_anomaly())
    if not anomalies:
        click.echo(f"  {printable(verdict.sentence)}")
    for number, (_, anomaly) in enumerate(anomalies[:ANOMALIES_SHOWN]):
        kind = "" if anomaly.sentence.startswith(anomaly.type) else f"{anomaly.type}: "
        click.echo(f"  - {kind}{printable(anomaly.sentence)}")
        for line in evidence[number] if number < len(evidence) else ():
            click.echo(f"      {line}")
    if len(anomalies) > ANOMALIES_SHOWN:
        click.echo(f"  - and {len(anomalies) - ANOMALIES_SHOWN} more (all of them: --json, --report)")
    for line in _models(verdict.details):
        click.echo(f"  {line}")
    click.secho(f"verdict: {verdict.outcome}", fg=COLOURS[verdict.outcome], bold=True)


MODEL_DETAILS = (
    ("not", "ruled out, the weakest"),
    ("also-not", "and with them"),
    ("strongest", "the strongest that nothing speaks against"),
)
"""What checkers of isolation say about models in their details, and how it is told."""


def _models(details: dict[str, Any]) -> list[str]:
    lines = []
    for name, words in MODEL_DETAILS:
        value = details.get(name)
        if value:
            listed = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append(f"{words}: {listed}")
    return lines


def as_json(judged: Sequence[Judged], code: int) -> bytes:
    """One document about all files; docs/checking-files.md names the fields."""
    files = []
    for one in judged:
        verdict = one.verdict.verdict if one.verdict is not None else None
        files.append(
            {
                "file": str(one.task.path),
                "exit_code": one.exit_code,
                "outcome": verdict.outcome if verdict is not None else None,
                "sentence": verdict.sentence if verdict is not None else None,
                "model": one.model.model if one.model is not None else one.task.question.model,
                "model_was_guessed": one.model.guessed if one.model is not None else False,
                "isolation": one.task.question.options.isolation,
                "format": one.read.format if one.read is not None else None,
                "events": one.read.events if one.read is not None else None,
                "operations": one.read.operations if one.read is not None else None,
                "notes": one.read.notes if one.read is not None else [],
                "errors": [{"kind": told.kind, "text": told.text} for told in one.problems],
                "seconds": round(one.ended.seconds, 3) if one.ended is not None else None,
                "most_memory_mb": round(one.ended.most_mb, 1) if one.ended is not None else None,
                "report": one.report,
                "verdict": msgspec.to_builtins(verdict) if verdict is not None else None,
                "evidence": one.verdict.evidence if one.verdict is not None else [],
            }
        )
    return msgspec.json.format(msgspec.json.encode({"exit_code": code, "files": files})) + b"\n"


__all__ = ["MODEL", "READ", "REPORT", "Judged", "as_json", "judge_files", "print_judged", "print_verdict"]
