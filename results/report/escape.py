"""Hostile text made harmless: what a client, a node or a log wrote is shown as text and never as markup.

Three places need three treatments:

- text between tags and in attributes (`html_text`): `html.escape`, and invisible characters written out, so that
  a right-to-left mark cannot turn a sentence around and a control character cannot hide;
- data inside a script element (`script_json`): JSON in ASCII in which no `<`, `>` or `&` appears, so that neither
  `</script` nor `<!--` can end or change the element;
- links to files of the run folder (`relative_link`): quoted, relative, and never with a scheme.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any
from urllib.parse import quote

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Control, zero-width and bidirectional characters, lone surrogates; tab and newline are left alone."""


def visible(text: str) -> str:
    r"""The text with every invisible character written as `\uXXXX` (`\u{XXXXX}` beyond the first plane)."""
    return _INVISIBLE.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\u{{{code:x}}}"


def html_text(text: object) -> str:
    """Text for an HTML page, also inside a quoted attribute."""
    return html.escape(visible(str(text)), quote=True)


def beginning(text: str, limit: int) -> str:
    """The first whole sentences or clauses of the text that fit; an ellipsis if there is more."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    end = max(head.rfind(sign) for sign in (". ", "; "))
    return f"{head[:end] if end > limit // 3 else head.rstrip()} …"


def shortened(text: str, limit: int = 300) -> str:
    """The text, or its two ends with the number of characters left out between them."""
    if len(text) <= limit:
        return text
    head, tail = limit * 3 // 4, limit // 8
    return f"{text[:head]} … {len(text) - head - tail:,} characters left out … {text[-tail:]}"


def value_text(value: Any, limit: int = 300) -> str:
    """A JSON-like value as compact JSON, shortened; a bare text stays a bare text."""
    if isinstance(value, str):
        return shortened(value, limit)
    return shortened(json.dumps(value, ensure_ascii=False, separators=(", ", ": "), default=repr), limit)


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False, default=repr)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def relative_link(*parts: str) -> str:
    """A link to a file beside the page, for an attribute; a name with `:` or `//` cannot become another place."""
    return "./" + "/".join(quote(part.encode("utf-8", "surrogateescape"), safe="") for part in parts)
