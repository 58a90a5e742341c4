"""The verdict in plain sentences: what was promised, what was observed, what an unknown means, how to repeat it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from results.history import History
from results.operation import HARNESS, MAIN_PHASE
from results.report.escape import shortened, value_text
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
    (
        r"complete",
        "The run went all the way: every phase came to its own end, every answer made sense, and final reads "
        "succeeded through every node.",
    ),
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
        if outcome == VALID and early_ends(record):
            return outcome, f"{outcome}, cut short", f"{HEADINGS[outcome]}, until the run was cut short"
        if outcome == UNKNOWN and record.file is not None:
            return outcome, outcome, "This history proves nothing, neither way"
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
    if verdict.outcome == VALID and record.file is not None:
        return (
            "No checker found a violation in this history. It does not prove that no other history of this database "
            "breaks a promise."
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
        f"{record.file or 'history.jsonl'}, so it can be checked by hand."
    )


def drives(history: History) -> list[dict[str, Any]]:
    """What the harness recorded of each phase at the end of the run."""
    events = history.observed(HARNESS)
    return [event.value for event in events if event.f == "drive" and isinstance(event.value, dict)]


def early_ends(record: RunRecord) -> list[str]:
    """A sentence for each phase that ended before its own end: after how long, of how long, and why."""
    told = []
    for drive in drives(record.history):
        reason = drive.get("stopped")
        if not reason:
            continue
        sentence = f"The {drive.get('phase', '')} phase ended"
        start, end = drive.get("start_ns"), drive.get("end_ns")
        if isinstance(start, int) and isinstance(end, int):
            sentence += f" after {(end - start) / 1e9:.1f} s"
            limit = record.scenario.get("time_limit")
            if drive.get("phase") == MAIN_PHASE and isinstance(limit, int | float):
                sentence += f" of {limit:g} s"
        else:
            sentence += " early"
        told.append(f"{sentence}: {reason}{_stopped_by(record.history)}")
    return told


def _stopped_by(history: History) -> str:
    for event in history.observed(HARNESS):
        if event.f == "stopped" and isinstance(event.value, dict) and event.value.get("by"):
            by = str(event.value["by"])
            return " by Ctrl-C (SIGINT)" if by == "SIGINT" else f" by {by}"
    return ""


LATE_SHARE = 1 / 20
"""More late operations than this share of all are told: the rate that was asked for was then not reached."""


def lateness(history: History) -> str:
    """That operations of the main phase began late, where many did; else an empty text."""
    for drive in drives(history):
        late, latest, invoked = (drive.get(name) for name in ("late", "latest_ns", "invoked"))
        if drive.get("phase") != MAIN_PHASE or not isinstance(late, int) or not isinstance(invoked, int):
            continue
        if late > invoked * LATE_SHARE:
            by = f", the latest by {milliseconds(latest / 1e6)}" if isinstance(latest, int) else ""
            return (
                "The processes could not keep up with the rate asked for: "
                f"{late:,} of {invoked:,} operations began late{by}; raise --concurrency."
            )
    return ""


def error_text(error: Any) -> str:
    """`ambiguous: the leader changed` for `["ambiguous", "the leader changed"]`; a text as it is; else as JSON."""
    if isinstance(error, list) and error and all(isinstance(part, str) for part in error):
        return ": ".join(error)
    return error if isinstance(error, str) else value_text(error, len(str(error)) * 2)


def harness_event(f: str, value: Any) -> str | None:
    """What the harness recorded about healing, recovery or its own end as sentences; None for anything else."""
    if not isinstance(value, Mapping):
        return None
    match f:
        case "heal":
            return _healing(value)
        case "recovery":
            after = value.get("after_ns")
            took = (
                f" {milliseconds(after / 1e6)} after healing began" if isinstance(after, int | float) else ""
            )
            if value.get("recovered"):
                return f"The whole cluster served again{took}."
            return f"The cluster was not whole again{took}: {value.get('problem') or 'no reason recorded'}."
        case "stopped":
            return f"Somebody asked the run to end: {value.get('by') or 'it is not recorded who'}."
    return None


def _healing(value: Mapping[str, Any]) -> str:
    healed, failed, problems = (_listed(value.get(name)) for name in ("healed", "failed", "problems"))
    told = [f"Undone at the end of the main phase: {healed}." if healed else "No fault was left to undo."]
    if failed:
        told.append(f"Could not be undone: {failed}.")
    if problems:
        told.append(f"Problems while faults came and went: {problems}.")
    return " ".join(told)


def _listed(value: Any) -> str:
    parts = value if isinstance(value, list) else [value] if value else []
    return "; ".join(shortened(part if isinstance(part, str) else value_text(part), 300) for part in parts)


def program(record: RunRecord) -> str:
    """The word with which this harness was started, `./run` or `harness`, for every command of the page."""
    said = record.environment.get("command")
    first = said.split(" ", 1)[0] if isinstance(said, str) else ""
    return first if re.fullmatch(r"[\w./-]*(run|harness)", first) else "harness"


def check_command(record: RunRecord) -> str:
    """The command that judges the run again, from the folder in which the folder of the runs is."""
    return record.command or folder_command(record, "check")


def folder_command(record: RunRecord, verb: str) -> str:
    """The command that does something with the run's folder: `check`, `replay`, `shrink`."""
    return f"{program(record)} {verb} {shlex.quote(record.place)}"


def repeat_command(record: RunRecord) -> str | None:
    """The command that repeats the run; None if its scenario is lost.

    The scenario's own command where the harness saved one, else every field of the scenario as a flag.
    """
    said = record.environment.get("command")
    if isinstance(said, str) and said:
        return said
    if "workload" not in record.scenario:
        return None
    words = [program(record), "test"]
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
