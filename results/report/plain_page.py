"""Pages without scripts: one frame and one style for all of them, so that they look like each other.

The policy in the page's head runs nothing and loads nothing, wherever the page is opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from results.report.escape import html_text

STYLE: Final = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #f6f8fa; --red: #a8320b; --green: #11734b;
  --amber: #7a5900; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --soft: #161b22; --red: #ff9a70; --green: #5fd0a0; --amber: #e8c75a; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
.better { color: var(--green); font-weight: 600; } .worse { color: var(--red); font-weight: 600; }
.scroll { overflow-x: auto; } .soft { opacity: .75; }
""".strip()


def plain_page(title: str, body: Iterable[str], *, style: str = "", head: str = "") -> str:
    """A whole page. `title` is text; `body`, and `head` for the page's head, are HTML; `style` comes after `STYLE`."""
    rules = f"{STYLE}\n{style}" if style else STYLE
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"{head}<title>{html_text(title)}</title><style>{rules}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )
