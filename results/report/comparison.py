"""Two runs side by side: verdict, throughput, latency, availability under each kind of fault, recovery.

A figure is compared as a ratio, B to A; which way is better is part of the figure (`Figure.better`). Nothing is judged
here: that two runs differ says nothing of why, and figures of different machines or loads say little. What the
scenarios differ in is listed first, so that nobody compares what cannot be compared without seeing it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from results.report.escape import html_text, shortened, value_text
from results.report.measures import OperationTable, measure_functions, tabulate
from results.report.plain_page import plain_page
from results.report.record import RunRecord
from results.verdict import Verdict

Better = Literal["higher", "lower", "same"]
NOTABLE: Final = 0.1
"""A ratio that is further from 1 than this is marked."""
_NOT_COMPARED: Final = frozenset({"seed", "command"})
"""Differs from run to run, and says nothing that the other fields do not."""


@dataclass(frozen=True)
class Figure:
    """One line of the comparison."""

    group: str
    name: str
    unit: str
    a: float | None
    b: float | None
    better: Better

    @property
    def ratio(self) -> float | None:
        """B over A; None where one of them is missing or A is zero."""
        if self.a is None or self.b is None or self.a == 0:
            return None
        return self.b / self.a

    @property
    def tendency(self) -> str:
        """`better`, `worse`, or empty where the two are much the same or cannot be compared."""
        if self.a is None or self.b is None or self.a == self.b or self.better == "same":
            return ""
        ratio = self.ratio
        if ratio is not None and abs(ratio - 1) <= NOTABLE:
            return ""
        return "better" if (self.b > self.a) == (self.better == "higher") else "worse"


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common and what not."""

    a: str
    b: str
    verdict_a: str
    verdict_b: str
    scenario: list[tuple[str, Any, Any]]
    """Fields in which the scenarios, or the machines and the code, differ: name, A's, B's."""
    figures: list[Figure]
    problems: list[str]

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "verdict": {"a": self.verdict_a, "b": self.verdict_b},
            "differences": [{"field": name, "a": one, "b": other} for name, one, other in self.scenario],
            "figures": [
                {**asdict(figure), "ratio": figure.ratio, "tendency": figure.tendency}
                for figure in self.figures
            ],
            "problems": self.problems,
        }


def compare(a: RunRecord, b: RunRecord) -> Comparison:
    """The comparison of two runs, as far as both could be read."""
    tables = tabulate(a.history), tabulate(b.history)
    figures = [
        *_overall(*(_availability(record.verdict) for record in (a, b))),
        *_by_function(*tables),
        *_by_fault(*(_availability(record.verdict) for record in (a, b))),
    ]
    return Comparison(
        a=a.id,
        b=b.id,
        verdict_a=_outcome(a),
        verdict_b=_outcome(b),
        scenario=[*_differences(a.scenario, b.scenario), *_surroundings(a.environment, b.environment)],
        figures=figures,
        problems=[*(f"{a.id}: {text}" for text in a.problems), *(f"{b.id}: {text}" for text in b.problems)],
    )


def _outcome(record: RunRecord) -> str:
    if record.verdict is None:
        return "still running" if record.is_live else "not judged"
    return record.verdict.outcome


def _availability(verdict: Verdict | None) -> dict[str, Any]:
    """The details of the availability checker; empty where the run has none."""
    for part in verdict.parts if verdict is not None else []:
        if part.checker == "availability":
            return part.details
    return {}


def _overall(a: dict[str, Any], b: dict[str, Any]) -> list[Figure]:
    def longest(details: dict[str, Any]) -> float | None:
        outage = details.get("longest_outage")
        return None if outage is None else (outage["end_ns"] - outage["start_ns"]) / 1e9

    lines: list[tuple[str, str, float | None, float | None, Better]] = [
        ("answers", "1/s", a.get("answers_per_s"), b.get("answers_per_s"), "higher"),
        ("answers while nothing was broken", "1/s", a.get("normal_rate"), b.get("normal_rate"), "higher"),
        ("share of operations answered", "", a.get("ok_fraction"), b.get("ok_fraction"), "higher"),
        ("longest time without an answer", "s", longest(a), longest(b), "lower"),
    ]
    return [Figure("overall", *line) for line in lines]


def _by_function(a: OperationTable, b: OperationTable) -> list[Figure]:
    measured = [{shortened(one.function, 100): one for one in measure_functions(table)} for table in (a, b)]
    figures = []
    for function in dict.fromkeys(name for side in measured for name in side):
        sides = [side.get(function) for side in measured]
        counts = [None if one is None else float(one.ok) for one in sides]
        figures.append(Figure(f"function {function}", "ok", "", counts[0], counts[1], "higher"))
        for place, name in enumerate(("p50", "p95", "p99", "longest")):
            times = [
                None if one is None or one.quantiles_ms is None else one.quantiles_ms[place] for one in sides
            ]
            figures.append(Figure(f"function {function}", name, "ms", times[0], times[1], "lower"))
    return figures


def _by_fault(a: dict[str, Any], b: dict[str, Any]) -> list[Figure]:
    sides = [_faults(details) for details in (a, b)]
    figures = []
    for kind in sorted({kind for side in sides for kind in side}):
        found = [side.get(kind, []) for side in sides]

        def worst(name: str, found: Sequence[list[dict[str, Any]]] = found) -> list[float | None]:
            values = [[one[name] for one in side if one.get(name) is not None] for side in found]
            return [max(side, default=None) for side in values]

        shares = []
        for side in found:
            asked = sum(one.get("operations") or 0 for one in side)
            shares.append(sum(one.get("ok") or 0 for one in side) / asked if asked else None)
        group = f"fault {kind}"
        times = [float(len(side)) for side in found]
        silence, recovery = worst("longest_silence_s"), worst("recovery_s")
        figures += [
            Figure(group, "times", "", times[0], times[1], "same"),
            Figure(group, "share of operations answered", "", shares[0], shares[1], "higher"),
            Figure(group, "longest silence", "s", silence[0], silence[1], "lower"),
            Figure(group, "slowest recovery", "s", recovery[0], recovery[1], "lower"),
        ]
    return figures


def _faults(details: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Faults that took effect, by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for fault in details.get("faults", []):
        if fault.get("took_effect"):
            kind = shortened(str(fault["fault"]) + (f":{fault['shape']}" if fault.get("shape") else ""), 100)
            found.setdefault(kind, []).append(fault)
    return found


def _differences(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return [
        (name, a.get(name), b.get(name))
        for name in names
        if name not in _NOT_COMPARED and (a.get(name) or None) != (b.get(name) or None)
    ]


def _surroundings(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Where and of what code the two were made."""
    flat = [_flat(environment) for environment in (a, b)]
    names = [*flat[0], *(name for name in flat[1] if name not in flat[0])]
    return [
        (name, flat[0].get(name), flat[1].get(name))
        for name in names
        if name not in _NOT_COMPARED and flat[0].get(name) != flat[1].get(name)
    ]


def _flat(environment: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in environment.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[before + str(name)] = value
    return found


# In words.


def text_lines(comparison: Comparison) -> list[str]:
    """The comparison for a terminal: columns of text."""
    lines = [
        f"A  {comparison.a}: {comparison.verdict_a}",
        f"B  {comparison.b}: {comparison.verdict_b}",
        *(f"note: {problem}" for problem in comparison.problems),
    ]
    if comparison.scenario:
        lines += ["", "they differ in"]
        lines += [f"  {name}: {_short(one)} | {_short(other)}" for name, one, other in comparison.scenario]
    group = ""
    width = max((len(_labelled(figure)) for figure in comparison.figures), default=0)
    for figure in comparison.figures:
        if figure.group != group:
            group = figure.group
            lines += ["", f"{group:{width + 2}}  {'A':>10}  {'B':>10}  {'B/A':>7}"]
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        numbers = f"{_number(figure.a):>10}  {_number(figure.b):>10}  {ratio:>7}"
        lines.append(f"  {_labelled(figure):{width}}  {numbers}  {figure.tendency}".rstrip())
    return lines


def _labelled(figure: Figure) -> str:
    return f"{figure.name} ({figure.unit})" if figure.unit else figure.name


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1 else f"{value:,.3f}"


def _short(value: Any) -> str:
    return "-" if value is None else value_text(value, 60)


STYLE: Final = "td { overflow-wrap: anywhere; } td.number { overflow-wrap: normal; } .number { width: 8rem; }"


def render(comparison: Comparison) -> str:
    """The comparison as one self-contained page without scripts."""
    parts = [
        "<h1>Two runs side by side</h1>",
        _table(
            ("", "run", "verdict"),
            [
                ("A", html_text(comparison.a), html_text(comparison.verdict_a)),
                ("B", html_text(comparison.b), html_text(comparison.verdict_b)),
            ],
        ),
        *(f"<p>{html_text(shortened(problem, 800))}</p>" for problem in comparison.problems),
        "<h2>What they differ in</h2>",
    ]
    if comparison.scenario:
        parts.append(
            _table(
                ("", "A", "B"),
                [
                    (html_text(shortened(name, 100)), html_text(_short(one)), html_text(_short(other)))
                    for name, one, other in comparison.scenario
                ],
            )
        )
    else:
        parts.append("<p>Nothing but their seeds and times.</p>")
    for group in dict.fromkeys(figure.group for figure in comparison.figures):
        parts.append(f"<h2>{html_text(group)}</h2>")
        parts.append(_figures([figure for figure in comparison.figures if figure.group == group]))
    parts.append(
        '<p class="soft">B/A is B’s figure over A’s; more than a tenth apart is marked. Figures of different machines, '
        "or of a machine that others used as well, say little.</p>"
    )
    return plain_page(f"{comparison.a} and {comparison.b}", parts, style=STYLE)


def _figures(figures: Iterable[Figure]) -> str:
    rows = []
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        mark = (
            f'<span class="{figure.tendency}">{ratio} {figure.tendency}</span>' if figure.tendency else ratio
        )
        rows.append((html_text(_labelled(figure)), _number(figure.a), _number(figure.b), mark))
    return _table(("", "A", "B", "B/A"), rows, numbers=(1, 2, 3))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """Cells are HTML already."""

    def cells(tag: str, row: Sequence[str]) -> str:
        marks = (' class="number"' if place in numbers else "" for place in range(len(row)))
        return "".join(f"<{tag}{mark}>{cell}</{tag}>" for cell, mark in zip(row, marks, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{cells("th", columns)}</tr>{body}</table></div>'
