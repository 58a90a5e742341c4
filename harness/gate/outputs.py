"""A gate's result for machines that read results: JUnit XML, SARIF, GitHub's annotations, and a summary in Markdown.

Sources: the JUnit schema that Jenkins and GitLab read (`testsuite`, `testcase`, `failure`, `error`, `system-out`);
SARIF 2.1.0 (OASIS, sections 3.14 run, 3.27 result, 3.35 suppression); GitHub's workflow commands (`::error::`).

- JUnit: an invalid run is a `failure`; one that failed in the harness, proved nothing or was left out is an `error`,
  since most readers take `skipped` for a pass. A known failure passes, and its output says so.
- SARIF: a result for each kind of anomaly of each run, `suppressed` where it is known, so that it shows and does not
  alarm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote
from xml.etree import ElementTree

import msgspec

from harness import __version__
from harness.explore.trial import FAILED, TrialResult
from harness.gate.gate import KNOWN, LEFT_OUT, GateResult, GateRun
from results.verdict import INVALID, UNKNOWN, VALID

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
MESSAGE_MOST: Final = 4000
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, escaped or not."""
_LOUD: Final = {INVALID: "error", FAILED: "error", UNKNOWN: "error", LEFT_OUT: "error", KNOWN: "warning"}


def is_bad(run: GateRun, result: GateResult) -> bool:
    """Whether this run keeps the gate shut."""
    if run.outcome == LEFT_OUT:
        return result.stopped or not result.may_leave_out
    return run.outcome not in (VALID, KNOWN)


def describe(run: GateRun) -> str:
    """What is wrong with a run, in one sentence."""
    worst = run.worst
    if worst is None:
        return "was not run: the budget was spent, or the gate was stopped"
    text = worst.sentence
    if len(run.attempts) > 1:
        outcomes = ", ".join(attempt.outcome for attempt in run.attempts)
        text += f" (attempts: {outcomes})"
    for known in run.known:
        text += f"; known until {known.expires}: {known.reason}"
    for known in run.expired:
        text += f"; was known as {known.reason!r} until {known.expires}, which is over"
    text = _xml(text)
    return text if len(text) <= MESSAGE_MOST else text[:MESSAGE_MOST] + " …"


# JUnit


def junit(result: GateResult) -> bytes:
    """The result as JUnit XML: a test case a run, and one a cell for its throughput where a baseline has it."""
    suites = ElementTree.Element("testsuites", name=_xml(f"harness gate: {result.name}"))
    failures = errors = tests = 0
    seconds = 0.0
    for cell in result.cells:
        runs = [run for run in result.runs if run.cell == cell.cell]
        suite = ElementTree.SubElement(suites, "testsuite", name=_xml(cell.cell))
        counts = {"failure": 0, "error": 0}
        spent = sum(attempt.wall_s for run in runs for attempt in run.attempts)
        for run in runs:
            kind = _junit_case(suite, run, result)
            if kind is not None:
                counts[kind] += 1
        cases = len(runs)
        if cell.ratio_to_baseline is not None:
            cases += 1
            case = ElementTree.SubElement(
                suite, "testcase", classname=_xml(cell.cell), name="throughput against the baseline", time="0"
            )
            if cell.regression is not None:
                counts["failure"] += 1
                ElementTree.SubElement(case, "failure", message=_xml(cell.regression), type="regression")
        suite.set("tests", str(cases))
        suite.set("failures", str(counts["failure"]))
        suite.set("errors", str(counts["error"]))
        suite.set("time", f"{spent:.3f}")
        tests, failures, errors = tests + cases, failures + counts["failure"], errors + counts["error"]
        seconds += spent
    suites.set("tests", str(tests))
    suites.set("failures", str(failures))
    suites.set("errors", str(errors))
    suites.set("time", f"{seconds:.3f}")
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _junit_case(suite: ElementTree.Element, run: GateRun, result: GateResult) -> str | None:
    """Adds a run; answers `failure` or `error` if it is one."""
    spent = sum(attempt.wall_s for attempt in run.attempts)
    case = ElementTree.SubElement(
        suite, "testcase", classname=_xml(run.cell), name=f"seed {run.seed}", time=f"{spent:.3f}"
    )
    kind = None
    if is_bad(run, result):
        kind = "failure" if run.outcome == INVALID else "error"
        told = ElementTree.SubElement(case, kind, message=_xml(describe(run)), type=run.outcome)
        told.text = _xml("\n".join(_details(run)))
    elif run.outcome != VALID:
        ElementTree.SubElement(case, "system-out").text = _xml(f"{run.outcome}: {describe(run)}")
    return kind


def _details(run: GateRun) -> Iterator[str]:
    yield f"repeat with: {run.command}"
    worst = run.worst
    if worst is None:
        return
    if worst.anomaly_types:
        yield f"anomalies: {', '.join(worst.anomaly_types)}"
    if worst.folder is not None:
        yield f"run folder: {worst.folder}"
    if worst.problem is not None:
        yield worst.problem


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


# SARIF


def sarif(result: GateResult) -> bytes:
    """The result as a SARIF 2.1.0 log with one run."""
    rules: dict[str, dict[str, Any]] = {}
    results: list[dict[str, Any]] = []

    def add(rule: str, level: str, text: str, where: str, fingerprint: str, **more: Any) -> None:
        rules.setdefault(rule, {"id": rule, "shortDescription": {"text": rule}})
        results.append(
            {
                "ruleId": rule,
                "level": level,
                "message": {"text": text},
                # Whoever shows a result in its file (GitHub does) wants a line; what is meant is the whole page.
                "locations": [
                    {"physicalLocation": {"artifactLocation": {"uri": where}, "region": {"startLine": 1}}}
                ],
                "partialFingerprints": {"harnessRun/v1": fingerprint},
                **more,
            }
        )

    for run in result.runs:
        if run.outcome == VALID or (run.outcome == LEFT_OUT and not is_bad(run, result)):
            continue
        worst = run.worst
        kinds = worst.anomaly_types if worst is not None and worst.anomaly_types else [run.outcome]
        for kind in kinds:
            more: dict[str, Any] = {
                "properties": {
                    "cell": run.cell,
                    "seed": run.seed,
                    "repeat": run.command,
                    "outcome": run.outcome,
                }
            }
            if run.outcome == KNOWN:
                reasons = "; ".join(f"{one.reason} (until {one.expires})" for one in run.known)
                more["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reasons}]
            add(
                kind,
                _LOUD[run.outcome],
                f"{run.cell}, seed {run.seed}: {describe(run)}. Repeat with: {run.command}",
                _location(run, worst),
                f"{run.cell}/{run.seed}/{kind}",
                **more,
            )
    for cell in result.cells:
        if cell.regression is not None:
            text = f"{cell.cell}: {cell.regression}"
            add("regression", "error", text, "gate.json", f"{cell.cell}/throughput")
    log = {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "harness gate",
                        "version": __version__,
                        "semanticVersion": __version__,
                        "rules": [rules[rule] for rule in sorted(rules)],
                    }
                },
                "automationDetails": {"id": f"harness-gate/{result.name}/"},
                "results": results,
            }
        ],
    }
    return msgspec.json.format(msgspec.json.encode(log)) + b"\n"


def _location(run: GateRun, worst: TrialResult | None) -> str:
    """The page to look at, as a relative reference; SARIF wants one for every result."""
    if worst is None or worst.folder is None:
        return "gate.json"
    name = worst.folder.rstrip("/").rsplit("/", 1)[-1]
    return f"{quote(name)}/report.html"


# GitHub


def github_commands(result: GateResult) -> Iterator[str]:
    """A workflow command for each run and cell that is not simply valid."""
    for run in result.runs:
        if run.outcome == KNOWN or is_bad(run, result):
            title = f"{run.cell}, seed {run.seed}: {run.outcome}"
            yield _command(_LOUD[run.outcome], title, f"{describe(run)}\nRepeat with: {run.command}")
    for cell in result.cells:
        if cell.regression is not None:
            yield _command("error", f"{cell.cell}: slower than the baseline", cell.regression)
    for known in result.unused:
        yield _command(
            "notice",
            f"{known.cell}: {known.anomaly} was not seen",
            f"known as: {known.reason}. Is it mended?",
        )


def _command(level: str, title: str, message: str) -> str:
    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    return f"::{level} title={data(title).replace(':', '%3A').replace(',', '%2C')}::{data(message)}"


def summary(result: GateResult) -> str:
    """The result in Markdown: a verdict, a table of cells, and what to look at."""
    words = {
        VALID: "passed",
        INVALID: "failed: a promise was broken",
        UNKNOWN: "not passed: something was not decided",
        FAILED: "not passed: the harness failed",
    }
    lines = [f"# Gate `{_cell_text(result.name)}`: {words[result.outcome]}", ""]
    lines += ["| cell | valid | invalid | known | unknown | failed | left out | answers/s | to baseline |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for cell in result.cells:
        outcomes = [run.outcome for run in result.runs if run.cell == cell.cell]
        counts = [outcomes.count(one) for one in (VALID, INVALID, KNOWN, UNKNOWN, FAILED, LEFT_OUT)]
        rate = "" if cell.throughput is None else f"{cell.throughput:.1f}"
        ratio = "" if cell.ratio_to_baseline is None else f"{cell.ratio_to_baseline:.0%}"
        if cell.regression is not None:
            ratio = f"**{ratio}**"
        shown = " | ".join(str(count) if count else "" for count in counts)
        lines.append(f"| {_cell_text(cell.cell)} | {shown} | {rate} | {ratio} |")
    looked_at = [run for run in result.runs if run.outcome == KNOWN or is_bad(run, result)]
    if looked_at:
        lines += ["", "## Look at", ""]
    for run in looked_at:
        lines.append(
            f"- **{_cell_text(run.cell)}, seed {run.seed}**: {run.outcome}: {_cell_text(describe(run))}"
        )
        lines += ["", "  ```", f"  {run.command}", "  ```", ""]
    lines += [f"- **{_cell_text(cell.cell)}**: {cell.regression}" for cell in result.cells if cell.regression]
    if result.unused:
        lines += ["", "Known failures that were not seen; mended, or never tried here:", ""]
        lines += [
            f"- {_cell_text(one.cell)}: {_cell_text(one.anomaly)} ({_cell_text(one.reason)})"
            for one in result.unused
        ]
    lines += [f"\nNote: {note}" for note in result.notes]
    return "\n".join(lines) + "\n"


def _cell_text(text: str) -> str:
    """Text that cannot break a table or be taken for markup."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", text.replace("\n", " "))
