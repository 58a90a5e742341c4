"""The verdict in plain sentences: what was promised, what was observed, what an unknown means, how to repeat it."""

from __future__ import annotations

import re
import shlex
from typing import Any

from results.report.record import RunRecord
from results.verdict import INVALID, UNKNOWN, VALID, Verdict

HEADINGS = {
    VALID: "Every promise that was checked was kept",
    INVALID: "The database broke a promise",
    UNKNOWN: "This run proves nothing, neither way",
}

PROMISES = [
    (
        r"linearizab|register|wgl",
        "Linearizability: every operation takes effect at one instant between its invocation and its completion, "
        "so a read returns the value of the latest write before it.",
    ),
    (
        r"bank",
        "Serializable transactions: every read of all accounts sees the same total, no account is missing, and "
        "none is overdrawn.",
    ),
    (
        r"set",
        "No acknowledged element is lost: once an add is acknowledged, every later read has the element, and no "
        "element appears that nobody added.",
    ),
    (r"stats|statistic", "Each function of the workload succeeded at least once in the main phase."),
    (r"availab", "How much of what clients asked was answered; this is measured, and promises nothing."),
    (r"^log", "No node's log has a line that tells of a broken invariant, a panic or a crash."),
    (r"crash", "No node ended that nobody had asked to end."),
    (r"recover", "Once every fault is healed the whole cluster serves again."),
    (
        r"fault|took.effect|nemesis",
        "Each class of fault that was asked for took effect at least once, by measured evidence.",
    ),
]
"""What a checker's name promises, for checkers whose details do not say it."""


def promise(verdict: Verdict) -> str:
    """What the checker holds the database to; empty if nobody said."""
    said = verdict.details.get("promise")
    if isinstance(said, str) and said:
        return said
    for pattern, sentence in PROMISES:
        if re.search(pattern, verdict.checker, re.IGNORECASE):
            return sentence
    return ""


def heading(record: RunRecord) -> tuple[str, str, str]:
    """How the page begins: the class of its colours, the word for the verdict, and a sentence."""
    if record.verdict is not None:
        outcome = record.verdict.outcome
        return outcome, outcome, HEADINGS[outcome]
    if record.is_live:
        return UNKNOWN, "running", "This run is still going on; there is no verdict yet"
    return UNKNOWN, "no verdict", "This run was interrupted before it was judged"


def meaning(record: RunRecord, faults_that_took_effect: int) -> str:
    """What a reader may conclude, and what not."""
    verdict = record.verdict
    if verdict is None:
        return (
            "The history up to the interruption is shown below and can be judged. "
            "An operation without a completion counts as info: it may have happened."
        )
    if verdict.outcome == VALID:
        faults = "no fault" if not faults_that_took_effect else count_of(faults_that_took_effect, "fault")
        return (
            f"No checker found a violation in this history, in which {faults} took effect. "
            "It does not prove that no other history of this database breaks a promise."
        )
    if verdict.outcome == UNKNOWN:
        return (
            "No violation was found, but a checker could not finish, or the run lacked something that a valid "
            "verdict needs. An unknown verdict is never counted as valid; the reasons are in the table of checkers."
        )
    return (
        "The evidence below is the smallest that the checker found. Every operation in it is on record in "
        "history.jsonl, so it can be checked by hand."
    )


def repeat_command(record: RunRecord) -> str | None:
    """The command that repeats the run; None if its scenario is lost.

    The scenario's own command where the harness saved one, else every field of the scenario as a flag.
    """
    said = record.environment.get("command")
    if isinstance(said, str) and said:
        return said
    if "workload" not in record.scenario:
        return None
    words = ["harness", "test"]
    for name, value in record.scenario.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, dict):
            for key, option in sorted(value.items()):
                words += [flag.removesuffix("s"), f"{key}={_option(option)}"]
        elif isinstance(value, bool):
            words += [flag] if value else []
        elif isinstance(value, list):
            words += [flag, ",".join(map(_option, value))]
        else:
            words += [flag, f"{value:g}" if isinstance(value, float) and value == int(value) else str(value)]
    return shlex.join(words)


def _option(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def count_of(number: int, thing: str) -> str:
    """`1 operation`, `2,301 operations`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def milliseconds(value: float) -> str:
    """`0.12 ms`, `14 ms`, `5.02 s`."""
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def size(size_bytes: int) -> str:
    """`812 bytes`, `4.2 MB`."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    for unit in ("kB", "MB"):
        size_bytes_f = size_bytes / 1000 if unit == "kB" else size_bytes / 1e6
        if size_bytes_f < 1000:
            return f"{size_bytes_f:.1f} {unit}"
    return f"{size_bytes / 1e9:.1f} GB"
