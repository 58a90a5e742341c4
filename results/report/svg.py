"""A few shapes as SVG, shown without scripts: every text goes through `html_text`, colours are those of the page."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from results.report.escape import html_text, visible

LETTER = 7.3
"""Width of a letter of 12 px in a monospaced font, in pixels, rather more than less."""


def cut(text: str, width: float) -> str:
    """The text as it fits into so many pixels, on one line, its end replaced by an ellipsis."""
    plain = " ".join(visible(text).split())
    most = max(1, int(width / LETTER))
    return plain if len(plain) <= most else plain[: most - 1] + "…"


@dataclass(frozen=True)
class Box:
    """A rectangle; pixels from the left and the top."""

    left: float
    top: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        return self.left + self.width / 2, self.top + self.height / 2

    def border_towards(self, x: float, y: float) -> tuple[float, float]:
        """Where the line from the middle to a point leaves the box."""
        own_x, own_y = self.middle
        dx, dy = x - own_x, y - own_y
        if dx == 0 and dy == 0:
            return own_x, own_y
        reach = min(
            self.width / 2 / abs(dx) if dx else math.inf,
            self.height / 2 / abs(dy) if dy else math.inf,
        )
        return own_x + dx * reach, own_y + dy * reach


@dataclass
class Drawing:
    """Shapes in the order in which they are drawn. `alt` says in words what the drawing shows."""

    width: float
    height: float
    alt: str
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start") -> None:
        """A line of text with its baseline at `y`; `style` names classes of the style sheet."""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{html_text(text)}</text>'
        )

    def box(self, box: Box, style: str, tip: str = "") -> None:
        """A rectangle, with a text that shows where somebody points at it."""
        title = f"<title>{html_text(tip)}</title>" if tip else ""
        self.parts.append(
            f'<rect x="{box.left:.1f}" y="{box.top:.1f}" width="{max(1.0, box.width):.1f}" '
            f'height="{box.height:.1f}" rx="3" class="{style}">{title}</rect>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>')

    def arrow(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """A line with a head at its end."""
        length = math.hypot(x2 - x1, y2 - y1) or 1.0
        along_x, along_y = (x2 - x1) / length, (y2 - y1) / length
        back_x, back_y = x2 - 10 * along_x, y2 - 10 * along_y
        self.line(x1, y1, back_x, back_y, style)
        corners = (
            (x2, y2),
            (back_x - 4.5 * along_y, back_y + 4.5 * along_x),
            (back_x + 4.5 * along_y, back_y - 4.5 * along_x),
        )
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        self.parts.append(f'<polygon points="{points}" class="{style}"/>')

    def html(self) -> str:
        """The drawing as an element; no wider than its place, and scrolled rather than made unreadably small."""
        return (
            f'<div class="wide"><svg role="img" aria-label="{html_text(self.alt)}" class="drawing" '
            f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" width="{self.width:.0f}" '
            f'height="{self.height:.0f}">{"".join(self.parts)}</svg></div>'
        )
