"""The pages around the runs: the index with its filters, a run in progress, and trends over commits. No scripts.

Everything that a run wrote is shown as text (`escape`). Filters and sorting are links and a form, so that a page has an
address that can be kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final
from urllib.parse import quote, urlencode

from results.report.escape import beginning, html_text
from results.report.plain_page import plain_page
from results.report.runs_index import SORTS, Filter, RunLine, values_of

PAGE_ROWS: Final = 200
LIVE_REFRESH_S: Final = 2
STYLE: Final = """
body { max-width: 82rem; } td.sentence { overflow-wrap: anywhere; } td.when { min-width: 6.5rem; }
.invalid, .failed { color: var(--red); font-weight: 600; } .valid { color: var(--green); font-weight: 600; }
.unknown, .running, .not-judged { color: var(--amber); font-weight: 600; }
form { display: flex; flex-wrap: wrap; gap: .6rem; align-items: end; margin: 1rem 0; }
label { display: flex; flex-direction: column; font-size: .85rem; } input, select, button { font: inherit; }
nav a { margin-right: 1rem; }
""".strip()
NAVIGATION: Final = '<nav><a href="/">all runs</a><a href="/trends">trends</a></nav>'


def page(title: str, body: Iterable[str], *, refresh_s: int | None = None) -> str:
    """A whole page; `body` is HTML."""
    again = "" if refresh_s is None else f'<meta http-equiv="refresh" content="{refresh_s}">'
    return plain_page(title, [NAVIGATION, *body], style=STYLE, head=again)


def run_link(run_id: str) -> str:
    """The address of a run's page."""
    return "/run/" + quote(run_id, safe="/") + "/"


def index_page(lines: Sequence[RunLine], wanted: Filter, start: int = 0) -> str:
    """The runs that fit, `PAGE_ROWS` at a time from `start` on."""
    chosen = wanted.choose(lines)
    shown = chosen[start : start + PAGE_ROWS]
    body = [
        f"<h1>{len(chosen):,} of {len(lines):,} runs</h1>",
        _form(lines, wanted),
        '<form action="/compare" method="get">',
        _runs_table(shown, wanted),
        "<p><button>compare A with B</button></p></form>",
        _pages(len(chosen), start, wanted),
    ]
    return page("runs", body, refresh_s=10 if any(line.is_live for line in shown) else None)


def _form(lines: Sequence[RunLine], wanted: Filter) -> str:
    fields = [
        f'<label>search<input name="search" value="{html_text(wanted.search)}" size="24"></label>',
        *(
            _choice(name, values_of(lines, name), getattr(wanted, name))
            for name in ("workload", "system", "verdict")
        ),
        f'<label>commit<input name="commit" value="{html_text(wanted.commit)}" size="10"></label>',
        _choice("sort", SORTS, wanted.sort, any_of=False),
        "<button>show</button>",
        '<a href="/">everything</a>',
    ]
    return f'<form action="/" method="get">{"".join(fields)}</form>'


def _choice(name: str, values: Iterable[str], chosen: str, *, any_of: bool = True) -> str:
    options = ['<option value="">any</option>'] if any_of else []
    for value in values:
        mark = " selected" if value == chosen else ""
        options.append(f'<option value="{html_text(value)}"{mark}>{html_text(value)}</option>')
    return f'<label>{html_text(name)}<select name="{html_text(name)}">{"".join(options)}</select></label>'


def _runs_table(lines: Sequence[RunLine], wanted: Filter) -> str:
    heads = ["A", "B"]
    for name, label in (
        ("time", "time (UTC)"),
        ("workload", "workload"),
        ("system", "system"),
        ("environment", "environment"),
        ("", "faults"),
        ("", "seed"),
        ("verdict", "verdict"),
        ("answers", "answers/s"),
        ("commit", "commit"),
    ):
        heads.append(f'<a href="{_address(wanted, sort=name)}">{label}</a>' if name else label)
    rows = []
    for line in lines:
        mark = line.verdict.replace(" ", "-")
        told = f'<div class="soft">{html_text(beginning(line.sentence, 240))}</div>' if line.sentence else ""
        rows.append(
            f'<td><input type="radio" name="a" value="{html_text(line.id)}" aria-label="A"></td>'
            f'<td><input type="radio" name="b" value="{html_text(line.id)}" aria-label="B"></td>'
            f'<td class="when"><a href="{run_link(line.id)}">{html_text(line.time or line.id)}</a></td>'
            f"<td>{html_text(line.workload)}</td><td>{html_text(line.system)}</td>"
            f"<td>{html_text(line.environment)}</td><td>{html_text(line.nemesis)}</td>"
            f'<td class="number">{"" if line.seed is None else line.seed}</td>'
            f'<td class="sentence"><span class="{html_text(mark)}">{html_text(line.verdict)}</span>{told}</td>'
            f'<td class="number">{"" if line.answers_per_s is None else f"{line.answers_per_s:,.1f}"}</td>'
            f"<td><code>{html_text(line.commit[:10])}</code></td>"
        )
    if not rows:
        return "<p>No run fits.</p>"
    head = "".join(f"<th>{one}</th>" for one in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _address(wanted: Filter, **other: str | int) -> str:
    """The index with this filter but for some fields; the same sort again turns it round."""
    values = asdict(wanted)
    turned = other.get("sort") == wanted.sort and not wanted.reverse
    values |= {"reverse": "1" if turned else ""} | other
    return html_text("/?" + urlencode({name: value for name, value in values.items() if value}))


def _pages(count: int, start: int, wanted: Filter) -> str:
    links = []
    if start > 0:
        links.append(f'<a href="{_address(wanted, start=max(0, start - PAGE_ROWS))}">newer</a>')
    if start + PAGE_ROWS < count:
        links.append(f'<a href="{_address(wanted, start=start + PAGE_ROWS)}">older</a>')
    return f"<p>{' '.join(links)}</p>" if links else ""


# A run in progress.


@dataclass(frozen=True)
class Live:
    """What is known of a run that goes on."""

    id: str
    began: str
    phase: str
    seconds: float
    counts: Mapping[str, int]
    """Events by type: invoke, ok, fail, info."""
    faults: Sequence[str]
    """What is broken now."""


def live_page(live: Live) -> str:
    """A page that looks again every `LIVE_REFRESH_S` seconds, until there is a verdict."""
    under_way = live.counts.get("invoke", 0) - sum(live.counts.get(one, 0) for one in ("ok", "fail", "info"))
    rows = [
        ("began", live.began),
        ("phase", live.phase),
        ("for", f"{live.seconds:.1f} s"),
        *((name, f"{live.counts.get(name, 0):,}") for name in ("ok", "fail", "info")),
        ("under way", f"{under_way:,}"),
        ("broken now", ", ".join(live.faults) or "nothing"),
    ]
    body = [
        f'<h1>{html_text(live.id)} <span class="running">goes on</span></h1>',
        "<table>"
        + "".join(f"<tr><th>{html_text(a)}</th><td>{html_text(b)}</td></tr>" for a, b in rows)
        + "</table>",
        f'<p><a href="{run_link(live.id)}report">The report so far</a></p>',
    ]
    return page(f"{live.id} goes on", body, refresh_s=LIVE_REFRESH_S)


# Trends.


@dataclass(frozen=True)
class Trend:
    """All runs of one commit in one cell."""

    commit: str
    first: str
    outcomes: Mapping[str, int]
    answers_per_s: float | None


def trends(lines: Iterable[RunLine]) -> dict[str, list[Trend]]:
    """By workload, system, environment and faults: the commits in the order in which they were first run."""
    cells: dict[str, dict[str, list[RunLine]]] = {}
    for line in sorted(lines, key=lambda line: (line.time, line.id)):
        if line.commit and line.workload:
            cell = f"{line.workload} on {line.system} ({line.environment}), faults: {line.nemesis or 'none'}"
            cells.setdefault(cell, {}).setdefault(line.commit, []).append(line)
    found: dict[str, list[Trend]] = {}
    for cell, commits in sorted(cells.items()):
        for commit, runs in commits.items():
            rates = [run.answers_per_s for run in runs if run.answers_per_s is not None]
            outcomes: dict[str, int] = {}
            for run in runs:
                outcomes[run.verdict] = outcomes.get(run.verdict, 0) + 1
            found.setdefault(cell, []).append(
                Trend(commit, runs[0].time, outcomes, median(rates) if rates else None)
            )
    return found


def trends_page(found: Mapping[str, Sequence[Trend]]) -> str:
    """A chart and a table for each cell."""
    body = ["<h1>Trends over commits</h1>"]
    if not found:
        body.append("<p>No run says of which commit it is.</p>")
    for cell, points in found.items():
        body += [f"<h2>{html_text(cell)}</h2>", _chart(points), _trend_table(points)]
    return page("trends", body)


def _chart(points: Sequence[Trend]) -> str:
    """Answers a second, a bar a commit; red where a run was invalid."""
    highest = max((point.answers_per_s or 0.0 for point in points), default=0.0)
    if len(points) < 2 or not highest:
        return ""
    width, height = 14, 90
    bars = []
    for place, point in enumerate(points):
        tall = (point.answers_per_s or 0.0) / highest * (height - 10)
        color = "var(--red)" if point.outcomes.get("invalid") else "var(--green)"
        said = html_text(f"{point.commit[:10]}: {point.answers_per_s or 0:.1f} answers/s, {_outcomes(point)}")
        bars.append(
            f'<rect x="{place * width}" y="{height - tall:.1f}" width="{width - 3}" height="{max(tall, 1):.1f}" '
            f'fill="{color}"><title>{said}</title></rect>'
        )
    return (
        f'<svg role="img" aria-label="answers a second by commit" width="{len(points) * width}" height="{height}">'
        f"{''.join(bars)}</svg>"
    )


def _trend_table(points: Sequence[Trend]) -> str:
    rows = "".join(
        f'<tr><td><a href="/?commit={quote(point.commit)}"><code>{html_text(point.commit[:10])}</code></a></td>'
        f"<td>{html_text(point.first)}</td><td>{html_text(_outcomes(point))}</td>"
        f'<td class="number">{"" if point.answers_per_s is None else f"{point.answers_per_s:,.1f}"}</td></tr>'
        for point in reversed(points)
    )
    head = "<tr><th>commit</th><th>first run (UTC)</th><th>verdicts</th><th>answers/s (median)</th></tr>"
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def _outcomes(point: Trend) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(point.outcomes.items()))
