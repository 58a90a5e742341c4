"""Reads EDN, the data notation of Clojure, into plain Python values.

Keywords and symbols become strings (`:ok` is `"ok"`), vectors and lists become lists, maps become dicts (keys that
cannot be hashed are frozen to tuples), sets become lists, characters strings, and a tagged value the value without
its tag. Written after the notation's description, https://github.com/edn-format/edn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

_TOKEN: Final = re.compile(
    r"""[\s,]+                              # between tokens; a comma is white space
      | ;[^\n]*                             # a comment
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<open>\#\{|[\[({])
      | (?P<close>[\])}])
      | (?P<discard>\#_)
      | (?P<tag>\#[A-Za-z][^\s,;"\[\](){}]*)
      | (?P<char>\\(?:newline|space|tab|return|formfeed|backspace|u[0-9a-fA-F]{4}|.))
      | (?P<atom>[^\s,;"\[\](){}]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_INTEGER: Final = re.compile(r"[+-]?\d+N?")
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?M?")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CONSTANTS: Final = {"nil": None, "true": True, "false": False}
_CLOSING: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_CHARACTERS: Final = {
    "newline": "\n",
    "space": " ",
    "tab": "\t",
    "return": "\r",
    "formfeed": "\f",
    "backspace": "\b",
}


class EdnError(ValueError):
    """The text is not EDN; the message says where."""


class _Discard:
    """Stands for a value that `#_` takes out."""


def read_all(text: str) -> list[Any]:
    """Every top-level value of the text. Raises EdnError."""
    tokens = _tokens(text)
    values = []
    for kind, token, at in tokens:
        value = _value(kind, token, at, tokens)
        if value is not _Discard:
            values.append(value)
    return values


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise EdnError(f"not EDN at character {at}: {text[at : at + 30]!r}")
        if match.lastgroup is not None:
            yield match.lastgroup, match.group(), at
        at = match.end()


def _value(kind: str, token: str, at: int, tokens: Iterator[tuple[str, str, int]]) -> Any:
    match kind:
        case "atom":
            return _atom(token)
        case "string":
            return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", _unescape, token[1:-1], flags=re.DOTALL)
        case "char":
            name = token[1:]
            return (
                chr(int(name[1:], 16)) if len(name) == 5 and name[0] == "u" else _CHARACTERS.get(name, name)
            )
        case "open":
            return _collection(token, at, tokens)
        case "discard" | "tag":
            following = next(tokens, None)
            while following is not None:
                value = _value(*following, tokens)
                if value is not _Discard:
                    return _Discard if kind == "discard" else value
                following = next(tokens, None)
            raise EdnError(f"nothing follows the {token!r} at character {at}")
    raise EdnError(f"unexpected {token!r} at character {at}")


def _collection(opening: str, at: int, tokens: Iterator[tuple[str, str, int]]) -> Any:
    closing = _CLOSING[opening]
    items = []
    for kind, token, place in tokens:
        if kind == "close":
            if token != closing:
                raise EdnError(f"{token!r} at character {place} closes the {opening!r} of character {at}")
            break
        value = _value(kind, token, place, tokens)
        if value is not _Discard:
            items.append(value)
    else:
        raise EdnError(f"the {opening!r} of character {at} is never closed")
    if opening != "{":
        return items
    if len(items) % 2:
        raise EdnError(f"the map of character {at} has a key without a value")
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(value: Any) -> Any:
    return tuple(_key(item) for item in value) if isinstance(value, list) else value


def _atom(token: str) -> Any:
    if token in _CONSTANTS:
        return _CONSTANTS[token]
    if token[0] == ":":
        return token[1:]
    if token[0] in "+-0123456789":
        if _INTEGER.fullmatch(token):
            return int(token.rstrip("N"))
        if _NUMBER.fullmatch(token):
            return float(token.rstrip("M"))
    return token


def _unescape(match: re.Match[str]) -> str:
    name = match.group(1)
    return chr(int(name[1:], 16)) if len(name) == 5 else _ESCAPES.get(name, name)
