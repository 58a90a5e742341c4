"""Live progress of a run: a panel on a terminal, plain lines every few seconds where there is none (CI).

Rules that live here:
- This file only reads counters (`Progress`); it never asks the engine to do anything.
- Nothing is drawn faster than the eye reads it (`PANEL_INTERVAL_S`), so that the display costs the event loop, on
  which operations are stamped, about a millisecond four times a second.
- Plain lines appear at every change of phase or of the active faults, and every `LINE_INTERVAL_S` seconds besides:
  a log of a CI run tells the story without the panel.
- `rich` is imported only when a panel is drawn.
"""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

PANEL_INTERVAL_S = 0.25
LINE_INTERVAL_S = 5.0
BAR_CELLS = 32
LONGEST_VIOLATION = 100
VIOLATION_CELLS = 60
"""In a panel a violation is folded, into three lines at the most, so that it fits on a terminal of 80 columns."""
FAULTS_SHOWN = 6


class Progress(Protocol):
    """The counters that a running engine offers. All of them are cumulative except the last four."""

    @property
    def phase(self) -> str:
        """For example "main", "heal", "final"."""

    @property
    def elapsed_s(self) -> float: ...

    @property
    def time_limit_s(self) -> float | None:
        """Length of the main phase; None where it is not limited."""

    @property
    def ok(self) -> int: ...

    @property
    def fail(self) -> int: ...

    @property
    def info(self) -> int: ...

    @property
    def rate(self) -> float:
        """Completed operations a second, lately."""

    @property
    def p50_ms(self) -> float | None:
        """Median latency, lately; None before the first completion."""

    @property
    def p99_ms(self) -> float | None: ...

    @property
    def active_faults(self) -> Sequence[str]:
        """What is broken now, in words: "partition one-way n1", in the order in which the faults began."""

    @property
    def violation(self) -> str | None:
        """The first violation of a promise that was seen so far, in words."""


class Display(Protocol):
    """Something that shows progress when told that time has passed."""

    def refresh(self) -> None:
        """Draws if enough has changed or enough time has passed; may be called as often as one likes."""


class LineDisplay:
    """One plain line at each change of phase or faults and every `LINE_INTERVAL_S` seconds."""

    def __init__(
        self, progress: Progress, stream: TextIO, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._progress = progress
        self._stream = stream
        self._clock = clock
        self._shown: tuple[str | None, ...] | None = None
        self._next_at = 0.0

    def refresh(self) -> None:
        progress, now = self._progress, self._clock()
        situation = (progress.phase, *progress.active_faults, progress.violation)
        if situation == self._shown and now < self._next_at:
            return
        self._shown, self._next_at = situation, now + LINE_INTERVAL_S
        self._stream.write(progress_line(progress) + "\n")
        self._stream.flush()


class PanelDisplay:
    """A panel that is redrawn in place. Use `live_progress`, which also puts the terminal right at the end."""

    def __init__(
        self,
        title: str,
        progress: Progress,
        update: Callable[[RenderableType], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._progress = progress
        self._update = update
        self._clock = clock
        self._next_at = 0.0

    def refresh(self) -> None:
        now = self._clock()
        if now < self._next_at:
            return
        self._next_at = now + PANEL_INTERVAL_S
        self._update(progress_panel(self._title, self._progress))


@contextlib.contextmanager
def live_progress(
    title: str, progress: Progress, stream: TextIO, *, interactive: bool | None = None
) -> Iterator[Display]:
    """A display on `stream` for as long as the block runs: a panel on a terminal, plain lines otherwise.

    `interactive` overrides the guess. Whoever runs the block calls `refresh` now and then. The last
    state is drawn once more when the block ends, also by an exception or Ctrl-C.
    """
    if interactive is None:
        interactive = stream.isatty()
    if not interactive:
        yield LineDisplay(progress, stream)
        stream.write(progress_line(progress) + "\n")
        stream.flush()
        return

    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        try:
            yield PanelDisplay(title, progress, lambda panel: live.update(panel, refresh=True))
        finally:
            live.update(progress_panel(title, progress), refresh=True)


def progress_line(progress: Progress) -> str:
    """One line, for example `main 12/60 s | 198 op/s | p50 1.9 ms p99 14 ms | ok 2301 fail 3 info 2 | kill n2`."""
    limit = progress.time_limit_s if progress.phase == "main" else None
    elapsed = f"{progress.elapsed_s:.0f} s" if limit is None else f"{progress.elapsed_s:.0f}/{limit:.0f} s"
    faults = ", ".join(progress.active_faults) or "no active fault"
    return (
        f"{progress.phase} {elapsed} | {progress.rate:.0f} op/s | {_latency(progress)} | "
        f"ok {progress.ok} fail {progress.fail} info {progress.info} | {faults}"
        + (f" | VIOLATION SEEN: {_short(progress.violation)}" if progress.violation else "")
    )


def progress_panel(title: str, progress: Progress) -> RenderableType:
    """The panel of the same numbers. Plain aligned text: a table of rich's costs five milliseconds to lay out."""
    from rich import box
    from rich.panel import Panel
    from rich.text import Text

    faults = list(progress.active_faults)
    if len(faults) > FAULTS_SHOWN:
        faults[FAULTS_SHOWN - 1 :] = [f"and {len(faults) - FAULTS_SHOWN + 1} more"]
    violation = (
        textwrap.wrap(_short(progress.violation, 3 * VIOLATION_CELLS), VIOLATION_CELLS)
        if progress.violation
        else []
    )
    rows = [
        ("phase", _phase_parts(progress)),
        ("rate", [(f"{progress.rate:.0f} operations/s", "")]),
        ("latency", [(_latency(progress), "")]),
        (
            "operations",
            [
                (f"{progress.ok} ok   ", "blue"),
                (f"{progress.fail} fail   ", "yellow" if progress.fail else "dim"),
                (f"{progress.info} info", "magenta" if progress.info else "dim"),
            ],
        ),
        ("faults", [(faults[0], "bold red")] if faults else [("none active", "dim")]),
        *(("", [(fault, "bold red")]) for fault in faults[1:]),
        *(("" if at else "violation", [(line, "bold red")]) for at, line in enumerate(violation)),
    ]
    # `Text`, never markup: a node or fault name with brackets shows as it is.
    text = Text(no_wrap=True, overflow="ellipsis")
    for position, (name, parts) in enumerate(rows):
        text.append(f"{'' if position == 0 else chr(10)}{name:>10}  ", "dim")
        for part, style in parts:
            text.append(part, style)
    return Panel(text, title=Text(title), title_align="left", box=box.ROUNDED, expand=False, padding=(0, 1))


def _short(text: str, most: int = LONGEST_VIOLATION) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _phase_parts(progress: Progress) -> list[tuple[str, str]]:
    limit = progress.time_limit_s
    if limit is None or progress.phase != "main":
        return [(f"{progress.phase}, {progress.elapsed_s:.0f} s since the start", "")]
    share = min(1.0, max(0.0, progress.elapsed_s / limit)) if limit > 0 else 1.0
    filled = round(share * BAR_CELLS)
    left = max(0.0, limit - progress.elapsed_s)
    return [
        (f"{progress.phase} ", ""),
        ("━" * filled, "green"),
        ("━" * (BAR_CELLS - filled), "dim"),
        (f" {left:.0f} s left", ""),
    ]


def _latency(progress: Progress) -> str:
    if progress.p50_ms is None or progress.p99_ms is None:
        return "no latency yet"
    return f"p50 {_milliseconds(progress.p50_ms)} p99 {_milliseconds(progress.p99_ms)}"


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
