"""The page that shows a failing run before and after it was made small: one self-contained file, no scripts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nemesis.schedule import Step
from results.history import FaultInterval, History, Pair
from results.operation import MAIN_PHASE
from results.report.escape import html_text, relative_link, shortened, value_text
from results.report.plain_page import plain_page

if TYPE_CHECKING:
    from harness.explore.reductions import Size
    from harness.explore.saved_run import SavedRun
    from harness.explore.shrink import Best
    from harness.explore.shrunk import ShrinkRecord, Side
    from results.run_folder import RunFolder

ROWS_MOST = 200

STYLE = """
pre { background: var(--soft); padding: .6rem .8rem; overflow-x: auto; white-space: pre-wrap; word-break: break-word; }
blockquote { white-space: pre-line; margin: .5rem 0; padding: .4rem .9rem; border-left: 4px solid var(--red); }
tr.proves td { background: color-mix(in srgb, var(--red) 12%, transparent); }
""".strip()


def render_shrink_page(record: ShrinkRecord, saved: SavedRun, folder: RunFolder, best: Best) -> str:
    """The page as a text. Whatever clients, nodes or people wrote in it is shown as text."""
    title = f"{record.checker}: {record.type}"
    history = folder.read_history()
    parts = [
        f"<h1>A small run that shows <em>{html_text(title)}</em></h1>",
        f"<p>Made of <code>{html_text(record.before.run)}</code> by trying {record.runs} smaller runs in "
        f"{record.seconds:g} s. Each that was kept shows the same anomaly of the same checker, in "
        f"{html_text(record.confirm.replace('/', ' of at most '))} runs. It ended because "
        f"{html_text(record.ended)}.</p>",
        _sizes(record.before.size, record.after.size),
        _what_is_counted(history),
        "<h2>What went wrong</h2>",
        f"<p>Before:</p><blockquote>{html_text(record.before.sentence or 'not judged')}</blockquote>",
        f"<p>After:</p><blockquote>{html_text(record.after.sentence)}</blockquote>",
        "<h2>Faults</h2>",
        _steps(best.case.steps, history.fault_intervals()),
        _details(f"The {len(saved.steps)} steps before", _steps(saved.steps, None)),
        "<h2>What clients did</h2>",
        _operations(history, best),
        "<h2>Repeat it</h2>",
        _commands("The small run", record.after, folder, "report.html"),
        _commands("The run before", record.before, folder, None),
        "<h2>How it became small</h2>",
        _gains(record),
    ]
    return plain_page(f"shrunk: {title}", parts, style=STYLE)


def _sizes(before: Size, after: Size) -> str:
    def number(value: float | None) -> str:
        return "of its workload" if value is None else f"{value:g}"

    rows = [
        ("fault steps", before.steps, after.steps),
        ("seconds of faults, as planned", before.broken_s, after.broken_s),
        ("clients with something to do", before.clients, after.clients),
        ("operations", before.operations, after.operations),
        ("nodes", before.nodes, after.nodes),
        ("ranges", before.ranges, after.ranges),
        ("length of the main phase, seconds", before.time_limit_s, after.time_limit_s),
    ]
    cells = []
    for name, old, new in rows:
        better = (
            ' class="number better"'
            if old is not None and new is not None and new < old
            else ' class="number"'
        )
        cells.append(
            f'<tr><td>{name}</td><td class="number">{number(old)}</td><td{better}>{number(new)}</td></tr>'
        )
    head = '<tr><th></th><th class="number">before</th><th class="number">after</th></tr>'
    return f"<table>{head}{''.join(cells)}</table>"


def _what_is_counted(history: History) -> str:
    """Why there may be more in the history than the table says."""
    last = sum(1 for pair in history.pairs() if pair.phase != MAIN_PHASE)
    if not last:
        return ""
    return (
        '<p class="soft">Counted are the operations of the main phase and the clients that invoke them. After healing, '
        f"all clients read everything once more, as in any run: {last} last reads, which are the workload's own.</p>"
    )


def _steps(steps: Iterable[Step], intervals: list[FaultInterval] | None) -> str:
    """The planned steps; of those that were carried out, whom they hit, and when, by the clock of the history."""
    found = {interval.step: interval for interval in intervals or ()}
    rows = []
    for step in steps:
        interval = found.get(step.id)
        cells = [f"<td><code>{html_text(shortened(step.describe()))}</code></td>"]
        if intervals is not None:
            hit = ", ".join(interval.targets) if interval is not None and interval.took_effect else ""
            cells += [f"<td>{html_text(shortened(hit))}</td>"]
            times = (None, None) if interval is None else (interval.start_ns, interval.end_ns)
            cells += [
                f'<td class="number">{"" if time is None else f"{time / 1e9:.3f}"}</td>' for time in times
            ]
        rows.append(f'<tr><td class="number">{step.id}</td>{"".join(cells)}</tr>')
    if not rows:
        return "<p>None: it happens without any fault.</p>"
    if intervals is None:
        return f'<table><tr><th class="number">step</th><th>fault</th></tr>{"".join(rows)}</table>'
    head = (
        '<tr><th class="number">step</th><th>fault, as planned</th><th>hit</th>'
        '<th class="number">begins, s</th><th class="number">healed, s</th></tr>'
    )
    note = '<p class="soft">A fault is healed when it is due, but not before its effect was measured.</p>'
    return f"<table>{head}{''.join(rows)}</table>{note}"


def _operations(history: History, best: Best) -> str:
    """The operations of the main phase, those that prove the anomaly marked; then the last reads that do."""
    proving = set(best.seen.anomaly.operations)
    main = [pair for pair in history.pairs() if pair.phase == MAIN_PHASE]
    others = [pair for pair in history.pairs() if pair.phase != MAIN_PHASE and proving & set(pair.indices)]
    if len(main) > ROWS_MOST:
        shown = [pair for pair in main if proving & set(pair.indices)][:ROWS_MOST]
        note = f"<p>{len(main)} operations; here are the {len(shown)} that prove it.</p>"
    else:
        shown, note = main, "<p>Marked: what proves it.</p>" if proving else ""
    if not shown and not others:
        return "<p>Nothing that matters: it happens without any operation of the main phase.</p>"
    rows = "".join(_operation(pair, proving) for pair in [*shown, *others[:ROWS_MOST]])
    head = (
        '<tr><th class="number">event</th><th class="number">begins, s</th><th class="number">ends, s</th>'
        "<th>client</th><th>node</th><th>asked</th><th>outcome</th></tr>"
    )
    return f'{note}<div class="scroll"><table>{head}{rows}</table></div>'


def _operation(pair: Pair, proving: set[int]) -> str:
    end = "" if pair.end is None else f"{pair.end / 1e9:.6f}"
    asked = f"{pair.f} {value_text(pair.invocation.value, 120)}"
    outcome = pair.type
    completion = pair.completion
    if completion is not None and completion.type == "ok" and completion.value is not None:
        outcome += f" {value_text(completion.value, 200)}"
    elif completion is not None and completion.error is not None:
        outcome += f" {value_text(completion.error, 200)}"
    mark = ' class="proves"' if proving & set(pair.indices) else ""
    phase = "" if pair.phase == MAIN_PHASE else f" ({pair.phase})"
    cells = (
        f'<td class="number">{pair.index}</td><td class="number">{pair.start / 1e9:.6f}</td>'
        f'<td class="number">{end}</td><td>{html_text(str(pair.process) + phase)}</td>'
        f"<td>{html_text(pair.invocation.node or '')}</td><td><code>{html_text(asked)}</code></td>"
        f"<td><code>{html_text(outcome)}</code></td>"
    )
    return f"<tr{mark}>{cells}</tr>"


def _commands(caption: str, side: Side, folder: RunFolder, report: str | None) -> str:
    link = (
        f' (<a href="{relative_link(report)}">its report</a>)'
        if report and (folder.path / report).exists()
        else ""
    )
    lines = "\n".join(html_text(command) for command in side.commands)
    return f"<p>{caption}, <code>{html_text(side.run)}</code>{link}:</p><pre>{lines}</pre>"


def _gains(record: ShrinkRecord) -> str:
    rows = "".join(
        f'<tr><td class="number">{gain.runs}</td><td>{html_text(gain.reduction)}</td>'
        f'<td class="number">{gain.size.steps}</td>'
        f'<td class="number">{"" if gain.size.operations is None else gain.size.operations}</td>'
        f'<td class="number">{gain.size.clients}</td><td class="number">{gain.size.time_limit_s:g}</td></tr>'
        for gain in record.gains
    )
    head = (
        '<tr><th class="number">run</th><th>by</th><th class="number">steps</th><th class="number">operations</th>'
        '<th class="number">clients</th><th class="number">seconds</th></tr>'
    )
    return _details(
        f"{len(record.gains)} runs that showed it, one after the other", f"<table>{head}{rows}</table>"
    )


def _details(caption: str, inner: str) -> str:
    return f"<details><summary>{html_text(caption)}</summary>{inner}</details>"
