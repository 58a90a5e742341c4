"""Live progress tells the story of a run in plain lines, and draws a panel where there is a terminal."""

import io
from dataclasses import dataclass, field

from rich.console import Console

from harness.cli.progress import (
    LINE_INTERVAL_S,
    LineDisplay,
    PanelDisplay,
    live_progress,
    progress_line,
    progress_panel,
)


@dataclass
class Counters:
    phase: str = "main"
    elapsed_s: float = 12.3
    time_limit_s: float | None = 60.0
    ok: int = 2301
    fail: int = 3
    info: int = 2
    rate: float = 198.4
    p50_ms: float | None = 1.94
    p99_ms: float | None = 14.2
    active_faults: list[str] = field(default_factory=list)
    violation: str | None = None


def test_a_line_holds_every_counter():
    assert progress_line(Counters(active_faults=["kill n2", "partition [one-way] n1"])) == (
        "main 12/60 s | 198 op/s | p50 1.9 ms p99 14 ms | ok 2301 fail 3 info 2 | kill n2, partition [one-way] n1"
    )
    line = progress_line(Counters(violation="bank: wrong total: " + 100 * "x"))
    assert line.endswith("no active fault | VIOLATION SEEN: bank: wrong total: " + 80 * "x" + "…")
    assert "no latency yet" in progress_line(Counters(p50_ms=None, p99_ms=None))
    assert progress_line(Counters(time_limit_s=None)).startswith("main 12 s |")


def test_lines_appear_when_something_changes_and_every_few_seconds_besides():
    now = 0.0
    counters, stream = Counters(), io.StringIO()
    display = LineDisplay(counters, stream, clock=lambda: now)

    def lines_after(seconds: float) -> int:
        nonlocal now
        now += seconds
        before = stream.getvalue().count("\n")
        display.refresh()
        return stream.getvalue().count("\n") - before

    assert lines_after(0) == 1
    assert lines_after(1) == 0
    counters.active_faults = ["pause n3"]
    assert lines_after(0.1) == 1, "a fault that begins is told at once"
    counters.phase = "heal"
    assert lines_after(0.1) == 1, "so is a new phase"
    assert lines_after(LINE_INTERVAL_S - 0.1) == 0
    assert lines_after(0.2) == 1


def test_a_panel_is_drawn_at_most_four_times_a_second():
    now, drawn = 0.0, []
    display = PanelDisplay("bank", Counters(), drawn.append, clock=lambda: now)
    for _ in range(101):
        display.refresh()
        now += 0.01
    assert 4 <= len(drawn) <= 5


def test_a_terminal_gets_the_panel_and_names_with_brackets_stay_text():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    counters = Counters(active_faults=["partition [red]x[/red]"])
    with live_progress("bank [bold]", counters, stream) as display:
        display.refresh()
        counters.ok = 9999
    text = stream.getvalue()
    assert "48 s left" in text
    assert "[red]x[/red]" in text
    assert "bank [bold]" in text
    assert "9999 ok" in text, "the last state is drawn when the block ends"


def test_without_a_terminal_there_are_only_lines_and_the_last_state_is_told():
    stream = io.StringIO()
    counters = Counters()
    with live_progress("bank", counters, stream) as display:
        display.refresh()
        counters.phase = "final"
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().splitlines()[-1].startswith("final 12 s |")


def test_a_panel_fits_on_eighty_columns_whatever_it_has_to_tell():
    faults = [f"partition one-way n{at}→" + ", ".join(f"n{one}" for one in range(30)) for at in range(9)]
    violation = "register: not linearizable: " + "a read of an old value; " * 30
    stream = io.StringIO()
    console = Console(file=stream, width=80)
    console.print(progress_panel("register " * 20, Counters(active_faults=faults, violation=violation)))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 16
    assert sum("partition" in line for line in lines) == 5
    assert any("and 4 more" in line for line in lines)
