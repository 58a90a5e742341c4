"""Reads EDN and JSON, and events of histories without a detour over maps (a kernel: see `results/kernels.py`).

EDN becomes plain values: keywords, symbols and characters are strings (`:ok` is `"ok"`), vectors, lists and sets are
lists (those of sets in one order, however they were printed), maps are dicts (keys that are lists become tuples), a
tagged value is the value without its tag, metadata and what `#_` takes out are gone. Whole numbers are ints of any
size; a decimal that no float holds exactly, and a ratio, keep their text, so that two that differ never become equal.
Written after https://github.com/edn-format/edn and, where that is silent, what Clojure's own reader takes. JSON is read
strictly, but for NaN and Infinity, which some programs write.

Names are read once and then found again by their bytes: a million events share one string for each name.
"""

# mypy: ignore-errors

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import cython

from results.interchange.places import FormatError
from results.operation import Operation

MAX_DEPTH = cython.declare(cython.int, 200)
"""Deeper nesting is refused: no program that writes histories needs it, and no reader after this one could follow."""
SLOTS = cython.declare(cython.int, 1024)
LONGEST_NAME = cython.declare(cython.int, 48)
MOST_MISSES = cython.declare(cython.int, 50)
"""Events, one after another, that were not written as we do, before no other such are expected."""

# Kinds of bytes: part of a token, blank, or the end of a token.
_BLANK_BYTES = b" \t\n\r\f\v,"
_KIND = bytes(1 if c in _BLANK_BYTES else 2 if c in b'()[]{}";' else 0 for c in range(256))

# What an interpreted kernel scans with.
_BLANKS = re.compile(rb"[ \t\n\r\f\v,]*")
_JSON_BLANKS = re.compile(rb"[ \t\n\r]*")
_TOKEN = re.compile(rb'[^ \t\n\r\f\v,()\[\]{}";]*')
_STRING = re.compile(rb'(?:[^"\\]|\\.)*', re.DOTALL)

_SYMBOLS = {b"nil": None, b"true": True, b"false": False}
_JSON_SYMBOLS = {
    b"null": None,
    b"true": True,
    b"false": False,
    b"NaN": float("nan"),
    b"Infinity": float("inf"),
    b"-Infinity": float("-inf"),
}
_SYMBOLIC = {b"##NaN": float("nan"), b"##Inf": float("inf"), b"##-Inf": float("-inf")}
_CHARACTERS = {
    "newline": "\n",
    "space": " ",
    "tab": "\t",
    "return": "\r",
    "formfeed": "\f",
    "backspace": "\b",
}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}
_HALF = re.compile("[\ud800-\udfff]")
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)N?")
_HEXADECIMAL = re.compile(r"[+-]?0[xX][0-9a-fA-F]+N?")
_OCTAL = re.compile(r"[+-]?0[0-7]+N?")
_RADIX = re.compile(r"([+-]?)(\d{1,2})[rR]([0-9a-zA-Z]+)")
_RATIO = re.compile(r"[+-]?\d+/\d+")
_DECIMAL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?M?")

# The fields of an event, by number.
_FIELDS = (
    b"index",
    b"time",
    b"process",
    b"type",
    b"f",
    b"value",
    b"error",
    b"intended",
    b"node",
    b"phase",
    b"key",
    b"committed_at",
)
_FIELD_NUMBERS = {name: number for number, name in enumerate(_FIELDS)}
_TYPES = frozenset(("invoke", "ok", "fail", "info"))
_FARTHEST = 1 << 62
_MISSING = object()


@cython.cclass
class Reader:
    """A place in a text; values and events are read from there on."""

    data: bytes
    at = cython.declare(cython.Py_ssize_t, visibility="readonly")
    end: cython.Py_ssize_t
    is_json: cython.bint
    closing: cython.int
    is_strict: cython.bint
    indexed = cython.declare(cython.Py_ssize_t, visibility="readonly")
    timed = cython.declare(cython.Py_ssize_t, visibility="readonly")
    event_at = cython.declare(cython.Py_ssize_t, visibility="readonly")
    in_list = cython.declare(cython.bint, visibility="readonly")
    columns: object
    tokens: list
    names: list
    cache: dict

    def __init__(self, data: bytes, is_json: bool) -> None:
        self.data = data
        self.at = 3 if data[:3] == b"\xef\xbb\xbf" else 0
        self.end = len(data)
        self.is_json = is_json
        self.closing = 0
        self.indexed = 0  # Events that had an index of their own.
        self.timed = 0  # Events that had a time.
        self.event_at = self.at  # Where the event began that was read last, or is being read.
        self.in_list = False  # Whether the events are in a list.
        self.is_strict = False
        self.columns = None
        self.tokens = [None] * SLOTS
        self.names = [None] * SLOTS
        self.cache = {}

    def values(self) -> list:
        """Every top-level value of the rest of the text. Raises FormatError."""
        found: list = []
        while True:
            self._skip(0)
            if self.at >= self.end:
                return found
            found.append(self._value(0))

    def value(self) -> object:
        """The next value. Raises FormatError, also if there is none."""
        self._skip(0)
        return self._value(0)

    def events(self, into: list) -> None:
        """Reads the events of the rest of the text and appends them to `into`. Raises FormatError; what could be read
        before that is in `into`.

        Events are the maps at the top level, or in one vector or list there, whatever tags they wear. Without an
        index they get their position, and without a time that many milliseconds.
        """
        while self._next_event(into):
            pass

    def own_lines(self, into: list) -> None:
        """Reads our own JSON lines as they are, an event a line, and appends the events to `into`.

        Raises FormatError also for what `results.operation` may understand: it is asked again then.
        """
        self.is_strict = True
        while self._next_event(into):
            pass

    def transactions(self, columns: object) -> None:
        """Reads the events as `events` does, but into `TransactionColumns`; stops where they are broken."""
        into: list = []
        misses: cython.int = 0
        at: cython.Py_ssize_t
        self.columns = columns
        while not columns.broken:
            if self.is_json and not self.in_list and misses < MOST_MISSES:
                at = columns.own_lines(self.data, self.at)
                if at > self.at:
                    misses = 0
                    self.at = self.event_at = at
                    self.timed += 1  # All that were taken.
                    into[:] = [None]
                    continue
                misses += 1
            if not self._next_event(into):
                break
            into[:] = [None]  # There was an event.

    @cython.cfunc
    def _next_event(self, into: list) -> cython.bint:
        """Appends the next event; False at the end of the text."""
        c: cython.uchar
        while True:
            self._skip(0)
            if self.at >= self.end:
                if self.closing > 0:
                    raise FormatError(
                        f"the list of events is never closed, after {len(into)} events", self.end
                    )
                return False
            self.event_at = self.at
            c = self.data[self.at]
            if c == 123:  # {
                into.append(self._event(len(into)))
                if self.is_json and self.closing > 0:
                    self._after_item()
                return True
            if self.closing == 0 and (c == 91 or c == 40):  # [ (
                if into:
                    raise FormatError("a list follows events; events are maps", self.at)
                self.closing = 93 if c == 91 else 41
                self.in_list = True
                self.at += 1
            elif self.closing > 0 and c == self.closing:
                self.closing = -1
                self.at += 1
            elif c == 35 and not self.is_json:  # a tag
                self._token_after_hash()
            elif c == 94 and not self.is_json:  # metadata
                self.at += 1
                self._skip(0)
                self._value(1)
            else:
                raise FormatError(f"events are maps, and this is none: {_shown(self.data, self.at)}", self.at)

    # The text between values.

    @cython.cfunc
    def _skip(self, depth: cython.int) -> cython.int:
        """Moves to the next token, over blanks, comments and what `#_` takes out."""
        data: bytes = self.data
        kind: bytes = _KIND
        at: cython.Py_ssize_t = self.at
        end: cython.Py_ssize_t = self.end
        c: cython.uchar
        if self.is_json:
            if cython.compiled:
                if at < end and data[at] > 32:
                    return 0
                while at < end:
                    c = data[at]
                    if c != 32 and c != 10 and c != 13 and c != 9:
                        break
                    at += 1
                self.at = at
            else:
                self.at = _JSON_BLANKS.match(data, at).end()
            return 0
        while at < end:
            if cython.compiled:
                while at < end:
                    c = data[at]
                    if kind[c] != 1:
                        break
                    at += 1
            else:
                at = _BLANKS.match(data, at).end()
            if at >= end:
                break
            c = data[at]
            if c == 59:  # ;
                at = data.find(b"\n", at)
                if at < 0:
                    at = end
            elif c == 35 and at + 1 < end and data[at + 1] == 95:  # #_
                if depth > MAX_DEPTH:
                    raise FormatError(f"nested deeper than {MAX_DEPTH} levels", at)
                self.at = at + 2
                self._skip(depth + 1)
                if self.at >= end:
                    raise FormatError("nothing follows the '#_'", at)
                self._value(depth + 1)
                at = self.at
            else:
                break
        self.at = at
        return 0

    @cython.cfunc
    def _token_end(self, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        data: bytes = self.data
        kind: bytes = _KIND
        end: cython.Py_ssize_t = self.end
        c: cython.uchar
        if not cython.compiled:
            return _TOKEN.match(data, at).end()
        while at < end:
            c = data[at]
            if kind[c] != 0:
                break
            at += 1
        return at

    @cython.cfunc
    def _token_after_hash(self) -> cython.int:
        """Passes over a tag: `#` and a symbol."""
        start: cython.Py_ssize_t = self.at
        self.at = self._token_end(start + 1)
        if self.at == start + 1:
            raise FormatError(f"no tag follows the '#': {_shown(self.data, start)}", start)
        return 0

    @cython.cfunc
    def _after_item(self) -> cython.int:
        """JSON, in a list of events: a comma and another item, or the end of the list."""
        self._skip(0)
        if self.at < self.end and self.data[self.at] == 44:
            self.at += 1
            self._skip(0)
            if self.at < self.end and self.data[self.at] == self.closing:
                raise FormatError("a comma with nothing after it", self.at)
        elif self.at < self.end and self.data[self.at] != self.closing:
            raise FormatError(f"a comma is missing before {_shown(self.data, self.at)}", self.at)
        return 0

    # Values.

    @cython.cfunc
    def _value(self, depth: cython.int) -> object:
        """The value that begins here."""
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at
        stop: cython.Py_ssize_t
        c: cython.uchar
        if start >= self.end:
            raise FormatError("the text ends where a value should be", start)
        if depth > MAX_DEPTH:
            raise FormatError(f"nested deeper than {MAX_DEPTH} levels", start)
        c = data[start]
        if 48 <= c <= 57 or c == 45:
            return self._number()
        if c == 34:
            return self._string()
        if self.is_json:
            if c == 91:
                return self._json_list(depth)
            if c == 123:
                return self._json_map(depth)
            stop = self.at = self._token_end(start)
            token = data[start:stop]
            if token in _JSON_SYMBOLS:
                return _JSON_SYMBOLS[token]
            raise FormatError(f"no value of JSON: {_shown(data, start)}", start)
        if c == 58:  # :
            stop = self.at = self._token_end(start)
            if stop == start + 1:
                raise FormatError("a ':' without a name", start)
            return self._name(start + 1, stop)
        if c == 91:
            return self._list(depth, 93)
        if c == 40:
            return self._list(depth, 41)
        if c == 123:
            return self._map(depth)
        if c == 35:
            return self._dispatch(depth)
        if c == 92:
            return self._character()
        if c == 94:  # metadata, and the value that it is about
            self.at += 1
            self._skip(depth)
            self._value(depth + 1)
            self._skip(depth)
            return self._value(depth + 1)
        if c == 43:
            return self._number()
        stop = self.at = self._token_end(start)
        if stop == start:
            raise FormatError(f"unexpected {_shown(data, start, 1)}", start)
        if stop - start <= 5:
            token = data[start:stop]
            if token in _SYMBOLS:
                return _SYMBOLS[token]
        return self._name(start, stop)

    @cython.cfunc
    def _list(self, depth: cython.int, closing: cython.int) -> object:
        """The values up to the closing bracket, from the opening one."""
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at
        end: cython.Py_ssize_t = self.end
        c: cython.uchar
        items: list = []
        self.at += 1
        while True:
            self._skip(depth)
            if self.at >= end:
                raise FormatError(f"the {chr(data[start])!r} is never closed", start)
            c = data[self.at]
            if c == closing:
                self.at += 1
                return items
            if c == 93 or c == 41 or c == 125:
                raise FormatError(f"{chr(c)!r} where {chr(closing)!r} has to come", self.at)
            items.append(self._value(depth + 1))

    @cython.cfunc
    def _map(self, depth: cython.int) -> object:
        start: cython.Py_ssize_t = self.at
        items: list = self._list(depth, 125)
        count: cython.Py_ssize_t = len(items)
        i: cython.Py_ssize_t
        if count % 2:
            raise FormatError("a map has a key without a value", start)
        mapping: dict = {}
        for i in range(0, count, 2):
            key = items[i]
            if isinstance(key, (list, dict)):
                key = _hashable(key)
            mapping[key] = items[i + 1]
        if 2 * len(mapping) != count:
            raise FormatError(
                "a map has a key twice (names, texts and numbers that are equal here count as one)", start
            )
        return mapping

    @cython.cfunc
    def _json_list(self, depth: cython.int) -> object:
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at
        items: list = []
        self.at += 1
        self._skip(0)
        if self.at < self.end and data[self.at] == 93:
            self.at += 1
            return items
        while True:
            self._skip(0)
            items.append(self._value(depth + 1))
            if self._json_goes_on(start, 93) == 0:
                return items

    @cython.cfunc
    def _json_map(self, depth: cython.int) -> object:
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at
        mapping: dict = {}
        self.at += 1
        self._skip(0)
        if self.at < self.end and data[self.at] == 125:
            self.at += 1
            return mapping
        while True:
            self._skip(0)
            if self.at < self.end and data[self.at] != 34:
                raise FormatError(f"no key of a JSON object: {_shown(data, self.at)}", self.at)
            key = self._value(depth + 1)
            self._json_colon()
            if key in mapping:
                raise FormatError(f"a map has the key {key!r:.60} twice", start)
            mapping[key] = self._value(depth + 1)
            if self._json_goes_on(start, 125) == 0:
                return mapping

    @cython.cfunc
    def _json_colon(self) -> cython.int:
        data: bytes = self.data
        if self.at + 1 < self.end and data[self.at] == 58 and data[self.at + 1] > 32:
            self.at += 1  # Mostly there are no blanks around it.
            return 0
        self._skip(0)
        if self.at >= self.end or self.data[self.at] != 58:
            raise FormatError("a ':' has to follow a key of JSON", self.at)
        self.at += 1
        self._skip(0)
        return 0

    @cython.cfunc
    def _json_goes_on(self, start: cython.Py_ssize_t, closing: cython.int) -> cython.int:
        """Passes the comma, and gives 1, or the closing bracket, and gives 0."""
        c: cython.uchar
        self._skip(0)
        if self.at >= self.end:
            raise FormatError(f"the {chr(self.data[start])!r} is never closed", start)
        c = self.data[self.at]
        self.at += 1
        if c == 44:
            return 1
        if c != closing:
            raise FormatError(f"',' or {chr(closing)!r} has to come here, not {chr(c)!r}", self.at - 1)
        return 0

    @cython.cfunc
    def _number(self) -> object:
        """A number that begins with a sign or a digit; a sign may also begin a symbol."""
        data: bytes = self.data
        kind: bytes = _KIND
        start: cython.Py_ssize_t = self.at
        at: cython.Py_ssize_t = start
        end: cython.Py_ssize_t = self.end
        first: cython.Py_ssize_t
        number: cython.longlong = 0
        c: cython.uchar = 0
        if cython.compiled:
            if data[at] == 45:
                at += 1
            first = at
            while at < end:
                c = data[at]
                if c < 48 or c > 57:
                    break
                if at - first < 18:
                    number = number * 10 + (c - 48)
                at += 1
            if (
                0 < at - first <= 18
                and (at == end or kind[c] != 0)
                and (at - first == 1 or data[first] != 48)
                and (first == start or number != 0)
            ):
                self.at = at
                return number if first == start else -number
        at = self._token_end(start)
        self.at = at
        token = data[start:at].decode("ascii", "replace")
        if self.is_json:
            value = _json_number(token)
        else:
            value = _number_of(token)
        if value is _MISSING:
            c = data[start + 1] if at > start + 1 else 0
            if not self.is_json and not 48 <= data[start] <= 57 and not 48 <= c <= 57:
                return self._name(start, at)
            raise FormatError(f"no number: {_shown(data, start)}", start)
        return value

    @cython.cfunc
    def _string(self) -> object:
        """The text between quotes, from the opening one."""
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at + 1
        at: cython.Py_ssize_t = start
        end: cython.Py_ssize_t = self.end
        escaped: cython.bint = False
        c: cython.uchar
        if cython.compiled:
            while at < end:
                c = data[at]
                if c == 34:
                    break
                if c == 92:
                    escaped = True
                    at += 1
                at += 1
        else:
            at = _STRING.match(data, at).end()
            escaped = data.find(b"\\", start, at) >= 0
            if at < end and data[at] != 34:
                at = end  # A backslash is the last byte.
        if at >= end:
            raise FormatError("a text is never closed", start - 1)
        self.at = at + 1
        if not escaped:
            return self._name(start, at)
        text = _decoded(data, start, at)
        try:
            return _without_surrogates(_ESCAPE.sub(_unescaped, text))
        except ValueError as error:
            raise FormatError(str(error), start - 1) from None

    @cython.cfunc
    def _name(self, start: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> object:
        """The text of these bytes; the same object for the same short bytes, mostly."""
        data: bytes = self.data
        cached: bytes
        slot: cython.uint = 2166136261
        i: cython.Py_ssize_t
        length: cython.Py_ssize_t = stop - start
        if length > LONGEST_NAME:
            return _decoded(data, start, stop)
        if not cython.compiled:
            token = data[start:stop]
            name = self.cache.get(token)
            if name is None:
                name = _decoded(data, start, stop)
                if len(self.cache) < 4096:
                    self.cache[token] = name
            return name
        for i in range(start, stop):
            slot = (slot ^ cython.cast(cython.uchar, data[i])) * 16777619
        slot = (slot ^ (slot >> 15)) & 1023
        if self.tokens[slot] is not None:
            cached = self.tokens[slot]
            if len(cached) == length:
                for i in range(length):
                    if cached[i] != data[start + i]:
                        break
                else:
                    return self.names[slot]
        name = _decoded(data, start, stop)
        self.tokens[slot] = data[start:stop]
        self.names[slot] = name
        return name

    @cython.cfunc
    def _character(self) -> object:
        """A character, from its backslash: one, or the name of one."""
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at
        stop: cython.Py_ssize_t = self._token_end(start + 1)
        if stop == start + 1:  # A blank, a bracket: the character itself.
            stop = start + 2
            if stop > self.end:
                raise FormatError("a backslash with nothing after it", start)
        self.at = stop
        name = _decoded(data, start + 1, stop)
        if len(name) == 1:
            return name
        if name in _CHARACTERS:
            return _CHARACTERS[name]
        if name[0] == "u" and len(name) == 5:
            try:
                return _without_surrogates(chr(int(name[1:], 16)))
            except ValueError:
                pass
        elif name[0] == "o" and name[1:].isdigit():
            try:
                return chr(int(name[1:], 8))
            except ValueError:
                pass
        raise FormatError(f"no character of EDN: {_shown(data, start)}", start)

    @cython.cfunc
    def _dispatch(self, depth: cython.int) -> object:
        """What begins with `#`: a set, a tagged value, a symbolic number, a pattern."""
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at
        c: cython.uchar = data[start + 1] if start + 1 < self.end else 0
        if c == 123:
            self.at += 1
            return _in_order(self._list(depth, 125))
        if c == 34:
            self.at += 1
            begin: cython.Py_ssize_t = self.at + 1
            stop: cython.Py_ssize_t = begin
            while stop < self.end and data[stop] != 34:
                stop += 2 if data[stop] == 92 else 1
            if stop >= self.end:
                raise FormatError("a pattern is never closed", start)
            self.at = stop + 1
            return _decoded(data, begin, stop)
        if c == 35:
            self.at = self._token_end(start)
            token = data[start : self.at]
            if token in _SYMBOLIC:
                return _SYMBOLIC[token]
            raise FormatError(f"no number: {_shown(data, start)}", start)
        self._token_after_hash()
        self._skip(depth)
        if self.at >= self.end:
            raise FormatError(f"nothing follows the tag {_shown(data, start)}", start)
        return self._value(depth + 1)

    # Events.

    @cython.cfunc
    def _event(self, line: cython.Py_ssize_t) -> object:
        """The event of the map that begins here."""
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at
        end: cython.Py_ssize_t = self.end
        first: cython.Py_ssize_t
        c: cython.uchar
        field: cython.int
        seen: cython.uint = 0
        index = None
        time = None
        process = None
        type_ = None
        f = None
        value = None
        error = None
        intended = None
        node = None
        phase = None
        key = None
        committed_at = None
        self.at += 1
        while True:
            self._skip(1)
            if self.at >= end:
                raise FormatError("an event is never closed: the text was cut off", start)
            c = data[self.at]
            if c == 125:
                self.at += 1
                break
            field = -1
            if self.is_json:
                if seen:
                    if c != 44:
                        raise FormatError(f"',' or '}}' has to come here, not {chr(c)!r}", self.at)
                    self.at += 1
                    self._skip(1)
                first = self.at + 1
                if self.at >= end or data[self.at] != 34:
                    raise FormatError(f"no key of a JSON object: {_shown(data, self.at)}", self.at)
                field = self._json_field(first)
                self._json_colon()
            elif c == 58:
                first = self.at + 1
                self.at = self._token_end(first)
                field = self._field(first, self.at)
                self._skip(1)
            else:
                self._value(1)
                self._skip(1)
            if self.at < end and data[self.at] == 125:
                raise FormatError("a map has a key without a value", start)
            if field == 5 and self.columns is not None:
                item = self._taken()
            else:
                item = self._value(1)
            if field >= 0:
                if seen & (cython.cast(cython.uint, 2) << field):
                    raise FormatError(f"the event has its {_FIELDS[field].decode()} twice", start)
                seen |= cython.cast(cython.uint, 2) << field
            seen |= 1
            if field == 0:
                index = item
            elif field == 1:
                time = item
            elif field == 2:
                process = item
            elif field == 3:
                type_ = item
            elif field == 4:
                f = item
            elif field == 5:
                value = item
            elif field == 6:
                error = item
            elif field == 7:
                intended = item
            elif field == 8:
                node = item
            elif field == 9:
                phase = item
            elif field == 10:
                key = item
            elif field == 11:
                committed_at = item
        if self.is_strict and (
            seen & 31 << 1 != 31 << 1
            or seen & (2 << 10)
            or type(index) is not int
            or type(time) is not int
            or (type(process) is not int and type(process) is not str)
            or type(type_) is not str
            or type_ not in _TYPES
            or type(f) is not str
            or (seen & 7 << 8 and not _are_ours(intended, node, phase))
            or (committed_at is not None and type(committed_at) is not int)
            or not -_FARTHEST <= time <= _FARTHEST
            or self.in_list
        ):
            raise FormatError("this is no plain event of ours", start)
        if self.is_strict:
            if not seen & (7 << 8 | 2 << 11):
                return Operation(index, time, process, type_, f, value, error)
            return Operation(
                index, time, process, type_, f, value, error, intended, node, phase, committed_at
            )
        indexed_before: cython.Py_ssize_t = self.indexed
        if type(index) is int:
            self.indexed += 1
        else:
            index = line
        if time is not None:
            self.timed += 1
        if type(time) is not int:
            time = _time_of(time, line)
        elif not -4611686018427387904 <= time <= 4611686018427387904:
            time = line * 1_000_000
        if type(process) is not int:
            process = _process_of(process, start)
        if type(type_) is not str or type_ not in _TYPES:
            type_ = _type_of(type_, start)
        if f is None:
            f = "txn"
        elif type(f) is not str:
            f = str(f)
        if type(committed_at) is not int:
            committed_at = None
        if self.columns is not None:
            if committed_at is not None:
                raise FormatError("commit timestamps have no place in the columns", start)
            given = index if self.indexed > indexed_before else None
            self.columns.add(given, process, type_, f, 0 if value is None else value)
            return None
        if seen & (2 << 10):
            value = [key, value]
        if not seen & (2 << 7 | 2 << 8 | 2 << 9 | 2 << 11):
            return Operation(index, time, process, type_, f, value, error)
        return Operation(
            index,
            time,
            process,
            type_,
            f,
            value,
            error,
            intended if type(intended) is int else None,
            node if type(node) is str else None,
            phase if type(phase) is str else None,
            committed_at,
        )

    @cython.cfunc
    def _taken(self) -> object:
        """Gives the value that begins here to the columns: 1; 2 if they cannot take it, None if it is nil."""
        stop: cython.Py_ssize_t = self.columns.take_text(self.data, self.at, self.is_json)
        if stop >= 0:
            self.at = stop
            return 1
        value = self._value(1)
        if value is None:
            return None
        return 1 if self.columns.take_value(value) else 2

    @cython.cfunc
    def _json_field(self, start: cython.Py_ssize_t) -> cython.int:
        """The number of the field whose name begins here, after its quote; passes over the name."""
        data: bytes = self.data
        at: cython.Py_ssize_t = start
        stop: cython.Py_ssize_t = self.end
        if stop > start + 13:
            stop = start + 13
        while at < stop:
            if data[at] == 34:
                self.at = at + 1
                return self._field(start, at)
            if data[at] == 92:
                break
            at += 1
        self._string()  # Too long for a field, or escaped.
        return -1

    @cython.cfunc
    def _field(self, start: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.int:
        """The number of the field whose name these bytes are; -1 if it is none."""
        data: bytes = self.data
        length: cython.Py_ssize_t = stop - start
        c: cython.uchar
        field: cython.int = -1
        name: bytes
        i: cython.Py_ssize_t
        if not cython.compiled:
            return _FIELD_NUMBERS.get(data[start:stop], -1)
        if length == 0:
            return -1
        c = data[start]
        if length == 1:
            return 4 if c == 102 else -1
        if length == 4:
            field = (3 if data[start + 1] == 121 else 1) if c == 116 else 8 if c == 110 else -1
        elif length == 5:
            field = 5 if c == 118 else 0 if c == 105 else 6 if c == 101 else 9 if c == 112 else -1
        elif length == 7:
            field = 2
        elif length == 3:
            field = 10
        elif length == 8:
            field = 7
        elif length == 12:
            field = 11
        if field < 0:
            return -1
        name = _FIELDS[field]
        for i in range(length):
            if name[i] != data[start + i]:
                return -1
        return field


def _are_ours(intended: object, node: object, phase: object) -> bool:
    """Whether the rarer fields of an event are of their types."""
    return (
        (intended is None or type(intended) is int)
        and (node is None or type(node) is str)
        and (phase is None or type(phase) is str)
    )


def _decoded(data: bytes, start: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> str:
    try:
        return data[start:stop].decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("bytes that are no UTF-8", start + error.start) from None


def _shown(data: bytes, at: cython.Py_ssize_t, length: int = 30) -> str:
    return repr(data[at : at + length].decode("utf-8", "replace"))


def _unescaped(match: object) -> str:
    name = match.group(1)
    if len(name) == 5:
        return chr(int(name[1:], 16))
    if name in _ESCAPES:
        return _ESCAPES[name]
    if name[0] in "01234567":
        return chr(int(name, 8))
    raise ValueError(f"a text has the escape '\\{name}', which is none")


def _without_surrogates(text: str) -> str:
    """Two halves of a character that escapes spelt apart become it; a half alone, which no text can hold, becomes a
    replacement mark and its number, so that two that differ never become equal."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return _HALF.sub(lambda half: f"\ufffd{ord(half[0]):x}", text)


def _in_order(elements: list) -> list:
    """The elements of a set in an order that depends on nothing but which they are."""
    element: object
    if len(elements) > 1:
        kind = type(elements[0])
        if kind is int or kind is str:
            for element in elements:
                if type(element) is not kind:
                    break
            else:
                elements.sort()
                return elements
        elements.sort(key=_rank)
    return elements


def _rank(value: object) -> tuple:
    """What values are ordered by, whatever their types. Lists in it come from sets and vectors alike."""
    kind = type(value)
    if value is None:
        return (0,)
    if kind is bool:
        return (1, value)
    if kind is int or kind is float:
        return (2, value) if value == value else (3,)
    if kind is str:
        return (4, value)
    if isinstance(value, dict):
        return (6, sorted([(_rank(name), _rank(item)) for name, item in value.items()]))
    return (5, [_rank(item) for item in value])


def _hashable(key: object) -> object:
    if isinstance(key, list):
        return tuple([_hashable(item) for item in key])
    if isinstance(key, dict):
        return tuple(sorted(((_hashable(name), _hashable(item)) for name, item in key.items()), key=repr))
    return key


def _json_number(token: str) -> object:
    if token == "-Infinity":
        return float("-inf")
    if _JSON_NUMBER.fullmatch(token) is None:
        return _MISSING
    try:
        return int(token)
    except ValueError:
        return _exact(token) if len(token) < 4000 else _MISSING


def _number_of(token: str) -> object:
    """The number that a token of EDN is; `_MISSING` if it is none."""
    if len(token) > 4000:
        return _MISSING
    if _INTEGER.fullmatch(token):
        return int(token.rstrip("N"))
    if _DECIMAL.fullmatch(token) and (len(token.lstrip("+-")) == 1 or not _OCTAL.fullmatch(token)):
        digits = token.lstrip("+-")
        if digits[0] == "0" and digits[1:2].isdigit():
            return _MISSING
        return _exact(token.removesuffix("M")) if token.endswith("M") else float(token)
    if _HEXADECIMAL.fullmatch(token):
        return int(token.rstrip("N"), 16)
    if _OCTAL.fullmatch(token):
        return int(token.rstrip("N"), 8)
    if _RATIO.fullmatch(token):
        try:
            ratio = Fraction(token)
        except ZeroDivisionError:
            return _MISSING
        return ratio.numerator if ratio.denominator == 1 else str(ratio)
    radix = _RADIX.fullmatch(token)
    if radix is not None:
        try:
            return int(radix[1] + radix[3], int(radix[2]))
        except ValueError:
            return _MISSING
    return _MISSING


def _exact(token: str) -> object:
    """A decimal as a float where that is the same number when it is written again; else its text."""
    number = float(token)
    try:
        return number if Decimal(repr(number)) == Decimal(token) else token
    except InvalidOperation:
        return token


def _time_of(time: object, line: int) -> int:
    """Nanoseconds; without a time that can be used, events are a millisecond apart."""
    if isinstance(time, float) and -4e18 < time < 4e18:
        return int(time)
    return line * 1_000_000


def _process_of(process: object, start: int) -> object:
    """A client's number, or an observer's name."""
    if isinstance(process, str) and process:
        name = process.removeprefix(":")
        return int(name) if name.isascii() and name.isdigit() and len(name) < 19 else name
    if isinstance(process, float) and process.is_integer():
        return int(process)
    raise FormatError(
        "the event has no process; it is a number, or the name of an observer such as the nemesis"
        if process is None
        else f"the event's process is {process!r:.60}; it is a number, or the name of an observer",
        start,
    )


def _type_of(type_: object, start: int) -> str:
    if isinstance(type_, str) and type_.removeprefix(":") in _TYPES:
        return type_.removeprefix(":")
    raise FormatError(
        "the event has no type (invoke, ok, fail or info)"
        if type_ is None
        else f"the event's type is {type_!r:.60}; types are invoke, ok, fail and info",
        start,
    )
