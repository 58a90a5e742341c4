"""The parts of the page that need no scripts: the verdict, its evidence, tables, commands and logs, as HTML.

Every text that comes from a run goes through `html_text`; nothing else is put between tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from results.history import FaultInterval
from results.operation import HARNESS, Operation
from results.report import drawings, words
from results.report.anomaly_words import meaning_of
from results.report.escape import beginning, html_text, relative_link, shortened, value_text
from results.report.faults import (
    evidence_text,
    fault_label,
    fault_name,
    fault_plans,
    natural_key,
    plan_text,
    target_text,
)
from results.report.measures import (
    NO_LAG,
    OperationTable,
    faults_during,
    measure_availability,
    measure_fault,
    measure_functions,
)
from results.report.page_data import anomaly_rows
from results.report.record import LogFile, RunRecord
from results.verdict import INVALID, UNKNOWN, VALID, Anomaly, Verdict

MOST_ANOMALIES = 40
"""Anomalies told in full; the others are in verdict.json, and marked on the time line."""
MOST_LEAD = 450
"""Characters of a sentence that are read at once."""
MOST_ROWS = 16
"""Operations of one anomaly listed in the page."""
MOST_COLUMNS = 9
MOST_VALID_PARTS = 12
MOST_MARKS = 200
MOST_COUNTERS = 200
AFTER_FAULT_NS = 3_000_000_000
"""An anomaly this soon after a fault is told together with it."""
FAR_APART_NS = 3_000_000_000
"""Of operations that take longer than this together, a list of all faults meanwhile would say little."""
OUTCOME_WORDS = ("ok", "fail", "info", "info, never completed")


def verdict_section(record: RunRecord, table: OperationTable, faults: list[FaultInterval]) -> str:
    """What stands above the time line: the verdict in words, and its evidence, so that both are seen at once.

    The evidence is the first anomaly, or where there is none, who says what.
    """
    outcome, word, sentence = words.heading(record)
    verdict = record.verdict
    meaning = words.meaning(record, sum(fault.took_effect for fault in faults))
    said = f'<p class="lead">{html_text(beginning(verdict.sentence, MOST_LEAD))}</p>' if verdict else ""
    head = (
        f'<header class="verdict {outcome}" id="verdict"><p class="about">{_about(record)}</p>'
        f'<h1><span class="word {outcome}">{html_text(word)}</span> {html_text(sentence)}</h1>'
        f"{_early_ends(record)}{said}<p>{html_text(meaning)}</p>{_facts(table, faults)}{_contents(record)}</header>"
    )
    return "\n".join(
        part
        for part in (
            head,
            _problems(record),
            _anomalies(record, table, faults, first=True) if _found(record) else _checkers(verdict),
        )
        if part
    )


def tables_section(record: RunRecord, table: OperationTable, faults: list[FaultInterval]) -> str:
    """What follows the time line: the rest of the evidence, commands, numbers, faults, scenario, logs, files."""
    return "\n".join(
        part
        for part in (
            _anomalies(record, table, faults, first=False),
            _checkers(record.verdict) if _found(record) else "",
            _commands(record),
            _functions(table),
            _availability(record, table),
            _faults(record, table, faults),
            _counters(record),
            _harness(record, table),
            '<div class="columns">',
            _mapping("Scenario", record.scenario, "scenario.toml"),
            _mapping("Environment", _fingerprint(record), "environment.json"),
            "</div>",
            _logs(record.logs),
            _files(record),
        )
        if part
    )


# The verdict


def _about(record: RunRecord) -> str:
    scenario = record.scenario
    parts = [f"run {record.id}" if record.file is None else f"history {record.file}"]
    if "workload" in scenario:
        parts.append(f"workload {scenario['workload']}")
    if "system" in scenario:
        defect = f" with defect {scenario['defect']}" if scenario.get("defect") else ""
        parts.append(f"on {scenario['system']}{defect}")
    if "environment" in scenario:
        parts.append(f"in {scenario['environment']}")
    if "seed" in scenario:
        parts.append(f"seed {scenario['seed']}")
    return html_text(", ".join(shortened(str(part), 120) for part in parts))


def _facts(table: OperationTable, faults: list[FaultInterval]) -> str:
    measures = measure_functions(table)
    whole = measures[-1]
    facts = [
        f"<b>{len(table):,}</b> operations in <b>{table.span_ns / 1e9:.1f} s</b>",
        f"<b>{whole.ok:,}</b> ok, <b>{whole.fail:,}</b> fail, <b>{whole.info:,}</b> info",
    ]
    if whole.quantiles_ms:
        median, _, p99, _ = whole.quantiles_ms
        facts.append(
            f"latency <b>{words.milliseconds(median)}</b> median, <b>{words.milliseconds(p99)}</b> p99"
        )
    done = sum(fault.took_effect for fault in faults)
    facts.append(f"<b>{done}</b> of <b>{len(faults)}</b> fault steps took effect" if faults else "no faults")
    return f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul>'


def _problems(record: RunRecord) -> str:
    """What is wrong with the record itself."""
    return "".join(_notice(text) for text in record.problems)


def _notice(text: str) -> str:
    return f'<p class="notice">{html_text(shortened(text, 800))}</p>'


def _early_ends(record: RunRecord) -> str:
    """Phases that did not come to their own end, and what the verdict is about then."""
    told = words.early_ends(record)
    if told and record.verdict is not None:
        told[-1] += "; the verdict is about what was done until then"
    return "".join(_notice(f"{text}.") for text in told)


def _contents(record: RunRecord) -> str:
    """Where on the page the rest is."""
    more = len(_found(record)) - 1
    places = [
        ("explore", "time line"),
        *(
            [("anomalies", words.count_of(more, "more anomaly").replace("anomalys", "anomalies"))]
            if more > 0
            else []
        ),
        *([("checkers", "who says what")] if record.verdict is not None else []),
        ("commands", "commands to repeat and to judge again"),
        ("faults", "faults"),
        ("logs", "logs"),
    ]
    links = "".join(f'<li><a href="#{place}">{html_text(name)}</a></li>' for place, name in places)
    return f'<nav aria-label="On this page"><ul class="facts">{links}</ul></nav>'


def _found(record: RunRecord) -> list[tuple[str, Anomaly]]:
    """Every anomaly with its checker; of a run that was not judged none."""
    return [] if record.verdict is None else list(record.verdict.every_anomaly())


def _anomalies(record: RunRecord, table: OperationTable, faults: list[FaultInterval], *, first: bool) -> str:
    """The first anomaly, or all the others; an empty text if there are none."""
    found = _found(record)
    shown = range(min(1, len(found))) if first else range(1, min(len(found), MOST_ANOMALIES))
    if not shown:
        return ""
    cards = [_anomaly(position, *found[position], record, table, faults) for position in shown]
    if first:
        title = (
            "What was observed"
            if len(found) == 1
            else f"What was observed: the first of {len(found):,} anomalies"
        )
        return f'<section id="first-anomaly"><h2>{title}</h2>{"".join(cards)}</section>'
    more = (
        f"<p>{words.count_of(len(found) - MOST_ANOMALIES, 'more anomaly').replace('anomalys', 'anomalies')} "
        f'in <a href="{relative_link("verdict.json")}">verdict.json</a>; the time line marks them all.</p>'
        if len(found) > MOST_ANOMALIES
        else ""
    )
    return f'<section id="anomalies"><h2>Further anomalies</h2>{"".join(cards)}{more}</section>'


def _anomaly(
    position: int,
    checker: str,
    anomaly: Anomaly,
    record: RunRecord,
    table: OperationTable,
    faults: list[FaultInterval],
) -> str:
    rows = anomaly_rows(table, record.history, anomaly.operations)
    button = (
        f'<button class="needs-script" data-anomaly="{position}">Show on the time line</button>'
        if rows
        else ""
    )
    told = meaning_of(anomaly.type)
    meaning = f'<p class="meaning"><b>{html_text(anomaly.type)}:</b> {html_text(told)}</p>' if told else ""
    evidence = "".join(
        f"<dt>{html_text(shortened(str(name), 60))}</dt><dd>{_evidence(value)}</dd>"
        for name, value in anomaly.evidence.items()
        if name not in drawings.DRAWN
    )
    return (
        f'<article class="card anomaly"><h3>{_title(anomaly)} '
        f'<span class="quiet">found by {html_text(checker)}</span> {button}</h3>'
        f"{meaning}{_lead(anomaly.sentence)}"
        f"{_when(rows, table, faults)}{drawings.draw(anomaly, rows, table)}"
        f"{_anomaly_operations(rows, table)}"
        f"{f'<details><summary>Further evidence</summary><dl>{evidence}</dl></details>' if evidence else ''}"
        "</article>"
    )


def _title(anomaly: Anomaly) -> str:
    """`stale read on key 0`; `lost element 8`."""
    title = html_text(shortened(anomaly.type, 100))
    if anomaly.key is None:
        return title
    on = "" if anomaly.type.endswith("element") else " on key"
    return f"{title}{on} <code>{html_text(value_text(anomaly.key, 80))}</code>"


def _lead(sentence: str) -> str:
    """A sentence; of a very long one the beginning, and the whole for who asks."""
    short = beginning(sentence, MOST_LEAD)
    lead = f'<p class="lead">{html_text(short)}</p>'
    if short == sentence:
        return lead
    return f"{lead}<details><summary>In full</summary><p>{html_text(shortened(sentence, 6000))}</p></details>"


def _evidence(value: Any) -> str:
    """A value that a checker chose to show: a list of alike things as a table, everything else as text."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        columns = list(dict.fromkeys(str(name) for item in value[:MOST_ROWS] for name in item))
        if len(columns) <= MOST_COLUMNS:
            lines = [
                [
                    _cell(value_text(item.get(name), 160) if item.get(name) is not None else "")
                    for name in columns
                ]
                for item in value[:MOST_ROWS]
            ]
            return f"{_table(columns, lines)}{_and_more(len(value) - MOST_ROWS)}"
    if isinstance(value, dict) and value and all(_is_plain(item) for item in value.values()):
        return html_text(shortened(", ".join(_named(str(name), item) for name, item in value.items()), 1200))
    return html_text(value_text(value, 1200))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= MOST_ROWS and all(isinstance(item, str) for item in value)
    return value is None or isinstance(value, str | int | float)


def _named(name: str, value: Any) -> str:
    """`after: 2.57 ms` for `after_ns: 2565888`; lists without brackets; what is not there as none."""
    if name.endswith("_ns") and isinstance(value, int | float):
        return f"{name[:-3].replace('_', ' ')}: {_duration(value)}"
    if value is None or value == []:
        return f"{name}: none"
    if isinstance(value, bool):
        return f"{name}: {'yes' if value else 'no'}"
    return f"{name}: {'; '.join(value) if isinstance(value, list) else value_text(value, 300)}"


def _and_more(count: int) -> str:
    return f'<p class="quiet">and {count:,} more</p>' if count > 0 else ""


def _when(rows: list[int], table: OperationTable, faults: list[FaultInterval]) -> str:
    """Between which times, and during which faults; of operations far apart, of the first and of the last."""
    if not rows:
        return ""
    spans = sorted((int(table.start_ns[row]), int(table.end_ns[row])) for row in rows)
    start, end = spans[0][0], max(end for _, end in spans)
    if end - start > FAR_APART_NS and len(faults_during(faults, start, end)) > 1:
        first, last = _moment(*spans[0], faults), _moment(*spans[-1], faults)
        text = f"The first of these operations ran {first}; the last {last}."
    else:
        text = (
            f"Between {start / 1e9:.3f} s and {end / 1e9:.3f} s of the run{_meanwhile(start, end, faults)}."
        )
    return f"<p>{html_text(text)}</p>"


def _moment(start: int, end: int, faults: list[FaultInterval]) -> str:
    return f"from {start / 1e9:.3f} s to {end / 1e9:.3f} s{_meanwhile(start, end, faults)}"


def _meanwhile(start: int, end: int, faults: list[FaultInterval]) -> str:
    """Which faults were active between two times, or had just ended."""
    if during := faults_during(faults, start, end):
        return f", during {'; '.join(fault_label(fault) for fault in during)}"
    before = [
        fault
        for fault in faults
        if fault.effective_ns is not None
        and fault.end_ns is not None
        and start - AFTER_FAULT_NS <= fault.end_ns < start
    ]
    if before:
        ago = (start - max(fault.end_ns or 0 for fault in before)) / 1e9
        return f", {ago:.2f} s after the end of {'; '.join(fault_label(fault) for fault in before)}"
    return ", while no fault was active" if faults else ""


def _anomaly_operations(rows: list[int], table: OperationTable) -> str:
    if not rows:
        return ""
    lines = []
    for row in sorted(rows, key=lambda row: int(table.start_ns[row]))[:MOST_ROWS]:
        pair = table.pairs[row]
        completion = pair.completion
        asked = value_text(pair.invocation.value, 160)
        answered = value_text(completion.value, 160) if completion and completion.value is not None else asked
        operation = f"{pair.f} {asked}" if answered == asked else f"{pair.f} {asked} → {answered}"
        error = (
            ""
            if completion is None or completion.error is None
            else f": {shortened(words.error_text(completion.error), 160)}"
        )
        node = table.nodes[int(table.process[row])]
        lines.append(
            [
                _number(f"{int(table.start_ns[row]) / 1e9:.6f}"),
                _number(f"{int(table.end_ns[row]) / 1e9:.6f}" if completion else "never"),
                _cell(f"{pair.process}{f' on {node}' if node else ''}"),
                f"<td><code>{html_text(operation)}</code></td>",
                _cell(OUTCOME_WORDS[int(table.outcome[row])] + error),
                _number(str(pair.index)),
            ]
        )
    columns = ["start, s", "end, s", "process", "operation", "outcome", "event"]
    return _table(columns, lines, numbers={0, 1, 5}) + _and_more(len(rows) - MOST_ROWS)


def _checkers(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    lines: list[list[str]] = []
    for part in _worst_first(verdict.parts) or [verdict]:  # What merges them all is told at the top.
        _checker_lines(part, 0, lines)
    return (
        '<section id="checkers"><h2>What was promised, and who says what</h2>'
        f"{_table(['checker', 'verdict', 'what it says', 'what was promised'], lines)}</section>"
    )


def _checker_lines(verdict: Verdict, depth: int, lines: list[list[str]]) -> None:
    promised = words.promise(verdict) if depth == 0 else ""
    trace = verdict.details.get("traceback")
    details = (
        f"<details><summary>Traceback</summary><pre>{html_text(shortened(str(trace), 6000))}</pre></details>"
        if trace
        else ""
    )
    lines.append(
        [
            f'<td class="name{" inset" if depth else ""}">{html_text(shortened(verdict.checker, 80))}</td>',
            f'<td><span class="word {verdict.outcome}">{_sign(verdict.outcome)} {verdict.outcome}</span></td>',
            f"<td>{html_text(shortened(verdict.sentence, 800))}{details}{_details(verdict)}</td>",
            f'<td class="quiet">{html_text(shortened(promised, 400))}</td>',
        ]
    )
    parts = _worst_first(verdict.parts)
    valid = [part for part in parts if part.outcome == VALID]
    hidden = valid[MOST_VALID_PARTS:] if len(valid) > 2 * MOST_VALID_PARTS else []
    for part in parts[: len(parts) - len(hidden)]:
        _checker_lines(part, depth + 1, lines)
    if hidden:
        rest = f"and {words.count_of(len(hidden), 'more part')} that hold, in verdict.json"
        lines.append([f'<td class="name inset quiet" colspan="4">{html_text(rest)}</td>'])


def _worst_first(parts: Iterable[Verdict]) -> list[Verdict]:
    return sorted(parts, key=lambda part: (INVALID, UNKNOWN, VALID).index(part.outcome))


def _sign(outcome: str) -> str:
    return {VALID: "✓", INVALID: "✗", UNKNOWN: "?"}[outcome]


def _details(verdict: Verdict) -> str:
    kept = {
        name: value
        for name, value in verdict.details.items()
        if name not in ("promise", "traceback") and value != {}
    }
    if not kept:
        return ""
    entries = "".join(
        f"<dt>{html_text(shortened(name, 60))}</dt><dd>{_evidence(value)}</dd>"
        for name, value in kept.items()
    )
    return f"<details><summary>Details</summary><dl>{entries}</dl></details>"


def _commands(record: RunRecord) -> str:
    repeat = words.repeat_command(record)
    blocks = []
    if repeat is not None:
        seed = record.scenario.get("seed")
        note = f" (seed {html_text(seed)})" if seed is not None else ""
        blocks.append(_command("repeat", f"Repeat this run{note}", repeat))
    if record.file is None and "workload" in record.scenario:
        same = words.folder_command(record, "replay")
        blocks.append(_command("replay", "Repeat it with the very faults and operations on record", same))
        if record.verdict is not None and record.verdict.outcome == INVALID:
            title = "Make it smaller, as long as the same anomaly stays"
            blocks.append(_command("shrink", title, words.folder_command(record, "shrink")))
    blocks.append(_command("check", "Judge its history again", words.check_command(record)))
    return f'<section id="commands"><h2>Commands</h2>{"".join(blocks)}</section>'


def _command(name: str, title: str, command: str) -> str:
    return (
        f'<p>{title}:</p><div class="command"><pre id="command-{name}">{html_text(command)}</pre>'
        f'<button class="needs-script" data-copy="command-{name}">Copy</button></div>'
    )


# Numbers


def _functions(table: OperationTable) -> str:
    if not len(table):
        return '<section id="functions"><h2>Operations</h2><p>No client operation is on record.</p></section>'
    lines = []
    for measure in measure_functions(table):
        quantiles = [words.milliseconds(value) for value in measure.quantiles_ms or ()] or ["–"] * 4
        counts = [f"{count:,}" for count in (measure.total, measure.ok, measure.fail, measure.info)]
        lines.append([_cell(measure.function), *(_number(text) for text in counts + quantiles)])
    columns = ["function", "operations", "ok", "fail", "info", "median", "p95", "p99", "longest"]
    return (
        '<section id="functions"><h2>Operations, and latency of those with ok</h2>'
        f"{_table(columns, lines, numbers=set(range(1, 9)))}"
        '<p class="quiet">fail: it certainly did not happen; info: it may have happened, then or later.</p></section>'
    )


def _availability(record: RunRecord, table: OperationTable) -> str:
    if not len(table):
        return ""
    late = words.lateness(record.history)
    whole = measure_availability(table, 0, table.main_end_ns)
    main = ~table.is_final
    share = float((table.outcome[main] == 0).mean()) if main.any() else 0.0
    return (
        '<section id="availability"><h2>Availability in the main phase</h2>'
        f"<p>{share:.1%} of the operations ended with ok, {whole.rate:,.0f} a second over {whole.seconds:.1f} s; the "
        f"longest time without an ok was {whole.longest_gap_s:.2f} s.</p>{_notice(late) if late else ''}</section>"
    )


def _faults(record: RunRecord, table: OperationTable, faults: list[FaultInterval]) -> str:
    if not faults:
        return '<section id="faults"><h2>Faults</h2><p>No fault was injected in this run.</p></section>'
    plans = fault_plans(record.history)
    lines = [_fault_line(table, fault, plans.get(fault.step, {})) for fault in faults]
    columns = [
        *("step", "fault", "targets", "start, s", "effective, s", "healed, s"),
        *("took effect", "ok a second", "longest without ok", "evidence"),
    ]
    return (
        '<section id="faults"><h2>Faults, and what clients got while they lasted</h2>'
        f"{_table(columns, lines, numbers={0, 3, 4, 5, 7, 8})}</section>"
    )


def _fault_line(table: OperationTable, fault: FaultInterval, plan: dict[str, Any]) -> list[str]:
    got = measure_fault(table, fault)
    if fault.skipped is not None:
        effect = f"skipped: {fault.skipped}"
    else:
        effect = "yes" if fault.took_effect else "no"
    told = [("plan", plan_text(plan)), ("measured", shortened(evidence_text(fault.evidence), 3000))]
    entries = "".join(f"<dt>{name}</dt><dd>{html_text(text)}</dd>" for name, text in told if text)
    evidence = f"<details><summary>show</summary><dl>{entries}</dl></details>" if entries else ""
    targets = ", ".join(target_text(target) for target in fault.targets)
    return [
        _number(str(fault.step)),
        f'<td class="name">{html_text(shortened(fault_name(fault), 80))}</td>',
        _cell(shortened(targets, 300)),
        _number(_second(fault.start_ns)),
        _number(_second(fault.effective_ns)),
        _number(_second(fault.end_ns)),
        _cell(shortened(effect, 200)),
        _number(f"{got.rate:,.0f}" if got else "–"),
        _number(f"{got.longest_gap_s:.2f} s" if got else "–"),
        f"<td>{evidence}</td>",
    ]


def _second(time_ns: int | None) -> str:
    return "–" if time_ns is None else f"{time_ns / 1e9:.3f}"


def _counters(record: RunRecord) -> str:
    """What each node had counted at the end of the run, a line a counter that is not zero everywhere."""
    asked = [event.value for event in record.history.observed(HARNESS) if event.f == "counters"]
    told = asked[-1].get("nodes") if asked and isinstance(asked[-1], dict) else None
    if not isinstance(told, dict):
        return ""
    nodes = {str(node): of for node, of in told.items() if isinstance(of, dict)}
    order = sorted(nodes, key=natural_key)
    names = list(dict.fromkeys(name for node in order for name in nodes[node]))
    shown = [name for name in names if any(nodes[node].get(name) for node in order)][:MOST_COUNTERS]
    silent = asked[-1].get("silent") or []
    note = f" {', '.join(map(str, silent))} did not answer." if silent else ""
    intro = f"Since each node started for the last time; what is zero on every node is left out.{note}"
    if not shown:
        return ""
    lines = [
        [
            _cell(shortened(str(name).replace("_", " "), 80)),
            *(_number(_counted(nodes[node].get(name))) for node in order),
        ]
        for name in shown
    ]
    table = _table(
        ["counter", *(shortened(node, 60) for node in order)], lines, numbers=range(1, len(order) + 1)
    )
    return (
        f'<section id="counters"><h2>What the nodes counted</h2><p class="quiet">{html_text(intro)}</p>'
        f"<details><summary>{words.count_of(len(shown), 'counter')}</summary>{table}</details></section>"
    )


def _counted(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else "–"


def _harness(record: RunRecord, table: OperationTable) -> str:
    """What the harness itself was like: loop lag as it measured it, lateness, healing and recovery."""
    shown_elsewhere = ("phase", "clocks", "counters")
    marks = [event for event in record.history.observed(HARNESS) if event.f not in shown_elsewhere]
    drives = words.drives(record.history)
    entries = [
        (f"{event.f}, at {event.time / 1e9:.2f} s", _event(event))
        for event in marks
        if event.f != "drive" or not isinstance(event.value, dict)
    ]
    entries += [
        (name.replace("_", " "), _evidence(value))
        for name, value in record.environment.items()
        if "lag" in name
    ]
    late = table.lag_ns[table.lag_ns != NO_LAG]
    if late.size:
        import numpy as np

        p50, p99 = (float(value) for value in np.percentile(late, [50, 99], method="inverted_cdf"))
        text = f"median {_duration(p50)}, p99 {_duration(p99)}, longest {_duration(float(late.max()))}"
        entries.append(("start of operations after the intended time", html_text(text)))
    if not entries and not drives:
        return ""
    listed = "".join(f"<dt>{html_text(name)}</dt><dd>{body}</dd>" for name, body in entries[:MOST_MARKS])
    return (
        f'<section id="harness"><h2>The harness itself</h2>{_drives(drives)}<dl>{listed}</dl>'
        '<p class="quiet">Loop lag is how long something that was ready waited for its turn. It widens the intervals '
        "of operations, and a wide interval can hide what the database did.</p></section>"
    )


def _event(event: Operation) -> str:
    sentences = words.harness_event(event.f, event.value)
    return _evidence(event.value) if sentences is None else html_text(shortened(sentences, 2000))


def _drives(drives: list[dict[str, Any]]) -> str:
    """One line a phase, of what the driver recorded at its end."""
    if not drives:
        return ""
    lines = []
    for drive in drives:
        lag = drive.get("loop_lag")
        lag = lag if isinstance(lag, dict) else {}
        ended = drive.get("stopped") or "in order"
        stalls = drive.get("stalls") or []
        traces = (
            f"<details><summary>{words.count_of(len(stalls), 'stall')}</summary>"
            f"<pre>{html_text(shortened(chr(10).join(map(str, stalls)), 6000))}</pre></details>"
            if stalls
            else ""
        )
        lines.append(
            [
                _cell(shortened(str(drive.get("phase", "")), 60)),
                *(_number(_duration(lag.get(name))) for name in ("median_ns", "p99_ns", "max_ns")),
                *(_number(_count(drive.get(name))) for name in ("late", "no_client", "invalid_completions")),
                f"<td>{html_text(shortened(str(ended), 300))}{traces}</td>",
            ]
        )
    columns = [
        *(
            "phase",
            "loop lag, median",
            "p99",
            "longest",
            "started late",
            "without a session",
            "senseless answers",
        ),
        "ended",
    ]
    return _table(columns, lines, numbers=range(1, 7))


def _duration(value_ns: Any) -> str:
    return words.milliseconds(value_ns / 1e6) if isinstance(value_ns, int | float) else "–"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


# Scenario, environment, logs


def _fingerprint(record: RunRecord) -> dict[str, Any]:
    """The environment without what the page tells elsewhere."""
    return {
        name: value for name, value in record.environment.items() if name != "command" and "lag" not in name
    }


def _mapping(title: str, values: dict[str, Any], source: str) -> str:
    link = f'<a class="quiet" href="{relative_link(source)}">{html_text(source)}</a>'
    if not values:
        return f"<section><h2>{title}</h2><p>{html_text(source)} is missing or cannot be read.</p></section>"
    entries = "".join(
        f"<dt>{html_text(shortened(name.replace('_', ' '), 60))}</dt><dd>{_evidence(value)}</dd>"
        for name, value in values.items()
        if value not in (None, {}, [])
    )
    return f"<section><h2>{title}</h2><dl>{entries}</dl><p>{link}</p></section>"


def _logs(logs: list[LogFile]) -> str:
    if not logs:
        return '<section id="logs"><h2>Logs of the nodes</h2><p>No node left a log.</p></section>'
    blocks = []
    for log in sorted(logs, key=lambda log: (natural_key(log.node), log.parts)):
        link = f'<a href="{relative_link(*log.parts)}">{html_text("/".join(log.parts))}</a>'
        cut = "" if log.is_whole else f", the last {words.size(len(log.tail.encode()))} shown"
        body = f'<pre class="log">{html_text(log.tail)}</pre>' if log.tail else "<p>It is empty.</p>"
        blocks.append(
            f"<details><summary><b>{html_text(log.node)}</b> {html_text('/'.join(log.parts[2:]))} "
            f'<span class="quiet">{words.size(log.size_bytes)}{cut}</span></summary><p>{link}</p>{body}</details>'
        )
    search = (
        '<p class="needs-script"><input type="search" id="log-search" placeholder="Lines with these words" '
        'aria-label="Show only lines with these words"> <span id="log-found" class="quiet" aria-live="polite">'
        "</span></p>"
    )
    return f'<section id="logs"><h2>Logs of the nodes</h2>{search}{"".join(blocks)}</section>'


def _files(record: RunRecord) -> str:
    if not record.files:
        return ""
    lines = "".join(
        f'<li><a href="{relative_link(name)}">{html_text(name)}</a> <span class="quiet">{words.size(size)}</span></li>'
        for name, size in record.files
        if name != "report.html"
    )
    return f'<section id="files"><h2>Files of this run</h2><ul class="facts">{lines}</ul></section>'


# Tables


def _table(columns: Sequence[str], lines: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()) -> str:
    right = set(numbers)
    head = "".join(
        f'<th scope="col"{" class=number" if position in right else ""}>{html_text(name)}</th>'
        for position, name in enumerate(columns)
    )
    body = "".join(f"<tr>{''.join(line)}</tr>" for line in lines)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _cell(text: str) -> str:
    return f"<td>{html_text(text)}</td>"


def _number(text: str) -> str:
    return f'<td class="number">{html_text(text)}</td>'
