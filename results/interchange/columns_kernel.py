"""Takes the transactions of a file apart into columns as they are read (a kernel: see `results/kernels.py`).

A reader of events hands over each value where it stands in the text. What a million transactions mostly hold (micro-
operations whose keys and values are whole numbers, names or short texts) is numbered on the spot, without a Python
object for each; whatever else comes along is read as a value first and then taken. The rules are those of
`results.transaction_columns`, and so are the columns, but for the numbers that keys and values get.

What breaks a rule of histories or of transactions sets `broken`, and nothing more: the way over a `History` then finds
out what was wrong, and says it.
"""

# mypy: ignore-errors

from __future__ import annotations

import cython
import numpy as np

from results.transaction_columns import CODES, canonical

_READ = cython.declare(cython.int, 0)
_APPEND = cython.declare(cython.int, 1)
_WRITE = cython.declare(cython.int, 2)
_FOREVER = cython.declare(cython.longlong, 1 << 62)
_CACHED = cython.declare(cython.int, 1 << 14)
_LONGEST = cython.declare(cython.int, 48)


@cython.cclass
class Numbering:
    """Numbers values: equal ones get the same number, by order of first use."""

    numbers: dict
    values = cython.declare(list, visibility="readonly")
    cached_value: cython.longlong[:]
    cached_number: cython.int[:]

    def __init__(self) -> None:
        self.numbers = {}
        self.values = []
        # The value of small numbers is often looked for again at once. Place i holds a value of remainder i, or none.
        self.cached_value = np.zeros(_CACHED, np.int64)
        self.cached_number = np.full(_CACHED, -1, np.int32)

    @cython.cfunc
    def of_integer(self, value: cython.longlong) -> cython.int:
        place: cython.int = cython.cast(cython.int, value & (_CACHED - 1))
        if self.cached_number[place] >= 0 and self.cached_value[place] == value:
            return self.cached_number[place]
        number: cython.int = self._of(value, value)
        self.cached_value[place] = value
        self.cached_number[place] = number
        return number

    @cython.cfunc
    def of_any(self, value: object) -> cython.int:
        return self._of(canonical(value), value)

    @cython.cfunc
    def _of(self, name: object, value: object) -> cython.int:
        found = self.numbers.get(name)
        if found is None:
            found = self.numbers[name] = len(self.values)
            self.values.append(value)
        return found


@cython.cclass
class TransactionColumns:
    """Grows the columns of the transactions of one file, event by event."""

    of_registers: cython.bint
    broken = cython.declare(cython.bint, visibility="readonly")
    events = cython.declare(cython.Py_ssize_t, visibility="readonly")
    transactions = cython.declare(cython.Py_ssize_t, visibility="readonly")
    renamed = cython.declare(cython.Py_ssize_t, visibility="readonly")
    keys: Numbering
    values: Numbering
    # Per micro-operation, as they come; `m` of them, and `e` elements.
    m: cython.Py_ssize_t
    e: cython.Py_ssize_t
    kind: cython.char[:]
    key: cython.int[:]
    value: cython.int[:]
    element_first: cython.longlong[:]
    element: cython.int[:]
    # Where the event that is being read began.
    m_mark: cython.Py_ssize_t
    e_mark: cython.Py_ssize_t
    # Per transaction: the micro-operations `source : source_end` are what is known of it.
    process: cython.int[:]
    start: cython.longlong[:]
    finish: cython.longlong[:]
    outcome: cython.char[:]
    source: cython.longlong[:]
    source_end: cython.longlong[:]
    # Process in the file -> its number here, while it is alive; process here -> its open transaction.
    numbers: dict
    open: dict
    used: set
    highest: object
    last_index: object
    # The text at hand.
    data: bytes
    at: cython.Py_ssize_t

    def __init__(self, of_registers: bool) -> None:
        self.of_registers = of_registers
        self.broken = False
        self.events = self.transactions = self.renamed = 0
        self.keys = Numbering()
        self.values = Numbering()
        self.m = self.e = self.m_mark = self.e_mark = 0
        self.kind = np.empty(1024, np.int8)
        self.key = np.empty(1024, np.int32)
        self.value = np.empty(1024, np.int32)
        self.element_first = np.empty(1024, np.int64)
        self.element = np.empty(1024, np.int32)
        self.process = np.empty(1024, np.int32)
        self.start = np.empty(1024, np.int64)
        self.finish = np.empty(1024, np.int64)
        self.outcome = np.empty(1024, np.int8)
        self.source = np.empty(1024, np.int64)
        self.source_end = np.empty(1024, np.int64)
        self.numbers = {}
        self.open = {}
        self.used = set()
        self.highest = 0
        self.last_index = None

    # Values.

    def take_text(self, data: bytes, at: cython.Py_ssize_t, is_json: cython.bint) -> cython.Py_ssize_t:
        """Takes the value that begins at `at`, and gives where it ends; -1, and takes nothing, if it is none of the
        plain ones."""
        self.data = data
        self.at = at
        self.m_mark, self.e_mark = self.m, self.e
        if is_json:
            if self._json_list():
                return self.at
        elif self._edn_list():
            return self.at
        self.m, self.e = self.m_mark, self.e_mark
        return -1

    def take_value(self, value: object) -> bool:
        """Takes a value that was read; False if it is no list of micro-operations."""
        self.m_mark, self.e_mark = self.m, self.e
        if not isinstance(value, list):
            return False
        for step in value:
            if not isinstance(step, list) or len(step) != 3 or not isinstance(step[0], str):
                return False
            code = CODES.get(step[0])
            if code is None or code > _WRITE:
                return False
            answer = step[2]
            if code == _READ:
                self._micro_operation(_READ, self.keys.of_any(step[1]), -1)
                if answer is None:
                    continue
                if self.of_registers:
                    self._element(self.values.of_any(answer))
                    continue
                if not isinstance(answer, list):
                    return False
                for element in answer:
                    self._element(self.values.of_any(element))
            elif answer is None and code == _WRITE:
                self._micro_operation(code, self.keys.of_any(step[1]), -1)
            else:
                self._micro_operation(code, self.keys.of_any(step[1]), self.values.of_any(answer))
        return True

    @cython.cfunc
    def _micro_operation(self, kind: cython.int, key: cython.int, value: cython.int) -> cython.int:
        if self.m + 1 >= self.kind.shape[0]:
            self.kind = _longer(self.kind)
            self.key = _longer(self.key)
            self.value = _longer(self.value)
            self.element_first = _longer(self.element_first)
        self.kind[self.m] = kind
        self.key[self.m] = key
        self.value[self.m] = value
        self.element_first[self.m] = self.e
        self.m += 1
        return 0

    @cython.cfunc
    def _element(self, number: cython.int) -> cython.int:
        if self.e >= self.element.shape[0]:
            self.element = _longer(self.element)
        self.element[self.e] = number
        self.e += 1
        return 0

    # Our own lines.

    def own_lines(self, data: bytes, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Takes the events from `at` on that stand there as this tool writes them: JSON without blanks, the fields
        index, time, process, type, f and value in this order and no others. Gives where the first other one begins.

        Compiled, this takes a third of the time; interpreted it would take longer, and nothing is taken.
        """
        index: cython.longlong
        process: cython.longlong
        value: cython.int
        last: cython.longlong = -1
        if not cython.compiled:
            return at
        if self.last_index is not None:
            if self.last_index > _FOREVER:
                return at
            last = self.last_index
        self.data = data
        while not self.broken:
            self.at = at
            if not self._passes(b'{"index":'):
                break
            index = self._digits()
            if index < 0 or not self._passes(b',"time":') or self._digits() < 0:
                break
            if not self._passes(b',"process":'):
                break
            process = self._digits()
            if process < 0 or not self._passes(b',"type":"'):
                break
            if self._passes(b'invoke","'):
                type_ = "invoke"
            elif self._passes(b'ok","'):
                type_ = "ok"
            elif self._passes(b'fail","'):
                type_ = "fail"
            elif self._passes(b'info","'):
                type_ = "info"
            else:
                break
            if not self._passes(b'f":"txn","value":'):
                break
            self.m_mark, self.e_mark = self.m, self.e
            value = 1
            if self._passes(b"null}"):
                value = 0
            elif self.at >= len(data) or not self._json_list() or not self._passes(b"}"):
                self.m, self.e = self.m_mark, self.e_mark
                break
            at = self.at
            if at < len(data) and data[at] == 10:
                at += 1
            if index < last:
                self.broken = True  # The file's order is another one.
            last = index
            self._add(process, type_, "txn", value)
            self.m_mark, self.e_mark = self.m, self.e
        if last >= 0:
            self.last_index = last
        return at

    @cython.cfunc
    def _passes(self, text: bytes) -> cython.bint:
        """Whether the text begins here; then it is passed over."""
        data: bytes = self.data
        at: cython.Py_ssize_t = self.at
        length: cython.Py_ssize_t = len(text)
        i: cython.Py_ssize_t
        if len(data) - at < length:
            return False
        for i in range(length):
            if data[at + i] != text[i]:
                return False
        self.at = at + length
        return True

    @cython.cfunc
    def _digits(self) -> cython.longlong:
        """The whole number that begins here, without a sign and of at most 18 digits; -1 if there is none."""
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at
        at: cython.Py_ssize_t = start
        end: cython.Py_ssize_t = len(data)
        number: cython.longlong = 0
        c: cython.uchar
        while at < end and at - start < 18:
            c = data[at]
            if c < 48 or c > 57:
                break
            number = number * 10 + (c - 48)
            at += 1
        if at == start or (data[start] == 48 and at - start > 1):
            return -1
        self.at = at
        return number

    # The plain values of a text.

    @cython.cfunc
    def _blank(self, comma: cython.bint) -> cython.int:
        """Passes over blanks, in EDN over commas too; gives the byte that follows, 0 at the end."""
        data: bytes = self.data
        at: cython.Py_ssize_t = self.at
        end: cython.Py_ssize_t = len(data)
        c: cython.uchar = 0
        while at < end:
            c = data[at]
            if c != 32 and c != 10 and c != 13 and c != 9 and not (comma and c == 44):
                break
            at += 1
        self.at = at
        return c if at < end else 0

    @cython.cfunc
    def _edn_list(self) -> cython.bint:
        c: cython.int
        if self.data[self.at] != 91:
            return False
        self.at += 1
        while True:
            c = self._blank(True)
            if c == 93:
                self.at += 1
                return True
            if c != 91:
                return False
            self.at += 1
            c = self._blank(True)
            if c != 58 and c != 34:
                return False
            if not self._step(False):
                return False
            if self._blank(True) != 93:
                return False
            self.at += 1

    @cython.cfunc
    def _json_list(self) -> cython.bint:
        c: cython.int
        if self.data[self.at] != 91:
            return False
        self.at += 1
        if self._blank(False) == 93:
            self.at += 1
            return True
        while True:
            if self._blank(False) != 91:
                return False
            self.at += 1
            if self._blank(False) != 34 or not self._step(True):
                return False
            if self._blank(False) != 93:
                return False
            self.at += 1
            c = self._blank(False)
            self.at += 1
            if c == 93:
                return True
            if c != 44:
                return False

    @cython.cfunc
    def _step(self, is_json: cython.bint) -> cython.bint:
        """A micro-operation without its brackets, from its name on."""
        data: bytes = self.data
        kind: cython.int
        key: cython.int
        value: cython.int
        c: cython.int
        start: cython.Py_ssize_t = self.at + 1
        stop: cython.Py_ssize_t = self._name_end(start, data[self.at] == 34)
        if stop < 0:
            return False
        if stop - start == 1 and data[start] == 114:
            kind = _READ
        elif stop - start == 1 and data[start] == 119:
            kind = _WRITE
        elif data[start:stop] == b"append":
            kind = _APPEND
        else:
            return False
        if not self._comma(is_json):
            return False
        key = self._plain(self.keys, is_json)
        if key < 0 or not self._comma(is_json):
            return False
        c = self._blank(not is_json)
        if c == 110:  # nil, null
            length: cython.Py_ssize_t = 4 if is_json else 3
            if data[self.at : self.at + length] != (b"null" if is_json else b"nil"):
                return False
            self.at += length
            if self.at < len(data) and data[self.at] not in b" ,]\n\r\t":
                return False
            if kind == _APPEND:
                return False
            self._micro_operation(kind, key, -1)
            return True
        if kind != _READ:
            value = self._plain(self.values, is_json)
            if value < 0:
                return False
            self._micro_operation(kind, key, value)
            return True
        self._micro_operation(_READ, key, -1)
        if c != 91:
            if not self.of_registers:
                return False  # A list was asked for; what this is tells the way through objects.
            value = self._plain(self.values, is_json)
            if value < 0:
                return False
            self._element(value)
            return True
        if self.of_registers:
            return False
        self.at += 1
        if self._blank(not is_json) == 93:
            self.at += 1
            return True
        self._numbers(44 if is_json else 32)
        while True:
            value = self._plain(self.values, is_json)
            if value < 0:
                return False
            self._element(value)
            c = self._blank(not is_json)
            if c == 93:
                self.at += 1
                return True
            if is_json:
                if c != 44:
                    return False
                self.at += 1
                self._blank(False)

    @cython.cfunc
    def _numbers(self, between: cython.int) -> cython.int:
        """Takes the elements of a list from here on, all but the last, as far as they are whole numbers without a sign
        that have one byte between them."""
        data: bytes = self.data
        end: cython.Py_ssize_t = len(data)
        at: cython.Py_ssize_t = self.at
        start: cython.Py_ssize_t
        number: cython.longlong
        place: cython.int
        known: cython.int
        c: cython.uchar
        numbering: Numbering = self.values
        cached_value: cython.longlong[:] = numbering.cached_value
        cached_number: cython.int[:] = numbering.cached_number
        element: cython.int[:] = self.element
        e: cython.Py_ssize_t = self.e
        room: cython.Py_ssize_t = element.shape[0]
        while e < room:
            start = at
            number = 0
            c = 0
            while at < end and at - start < 18:
                c = data[at]
                if c < 48 or c > 57:
                    break
                number = number * 10 + (c - 48)
                at += 1
            if at == start or c != between or at + 1 >= end or (data[start] == 48 and at - start > 1):
                at = start
                break
            c = data[at + 1]
            if c < 48 or c > 57:
                at = start
                break
            at += 1
            place = cython.cast(cython.int, number & (_CACHED - 1))
            known = cached_number[place]
            if known < 0 or cached_value[place] != number:
                known = numbering.of_integer(number)
            element[e] = known
            e += 1
        self.at = at
        self.e = e
        return 0

    @cython.cfunc
    def _comma(self, is_json: cython.bint) -> cython.bint:
        """Passes over what has to stand between two parts of a micro-operation."""
        if is_json:
            if self._blank(False) != 44:
                return False
            self.at += 1
        self._blank(not is_json)
        return True

    @cython.cfunc
    def _plain(self, numbering: Numbering, is_json: cython.bint) -> cython.int:
        """The number of a plain value: a whole number, in EDN a keyword, a short text; -1 for anything else."""
        data: bytes = self.data
        end: cython.Py_ssize_t = len(data)
        at: cython.Py_ssize_t
        start: cython.Py_ssize_t
        number: cython.longlong = 0
        c: cython.uchar
        negative: cython.bint = False
        if self.at >= end:
            return -1
        at = self.at
        c = data[at]
        if c == 34 or (c == 58 and not is_json):
            start = at + 1
            at = self._name_end(start, c == 34)
            if at < 0 or (at == start and c == 58):
                return -1
            name = data[start:at].decode("ascii")
            return numbering._of(name, name)
        if c == 45:
            negative = True
            at += 1
        start = at
        while at < end:
            c = data[at]
            if c < 48 or c > 57:
                break
            if at - start >= 18:
                return -1
            number = number * 10 + (c - 48)
            at += 1
        else:
            return -1
        if (
            at == start
            or (c != 32 and c != 44 and c != 93 and c != 10)
            or (data[start] == 48 and at - start > 1)
        ):
            return -1
        if negative and number == 0:
            return -1
        self.at = at
        return numbering.of_integer(-number if negative else number)

    @cython.cfunc
    def _name_end(self, start: cython.Py_ssize_t, quoted: cython.bint) -> cython.Py_ssize_t:
        """Where a short name of plain ASCII ends, and moves behind it; -1 if it is none."""
        data: bytes = self.data
        end: cython.Py_ssize_t = len(data)
        at: cython.Py_ssize_t = start
        c: cython.uchar
        while at < end and at - start <= _LONGEST:
            c = data[at]
            if quoted:
                if c == 34:
                    self.at = at + 1
                    return at
                if c == 92 or c >= 128:
                    return -1
            else:
                if c == 32 or c == 44 or c == 93 or c == 10:
                    self.at = at
                    return at
                if c >= 128 or c < 33 or c in b'()[{}";':
                    return -1
            at += 1
        return -1

    # Texts of lines; `results.interchange.transactions_text` says how they go.

    def micro_operations(self, data: bytes) -> None:
        """Reads a text of events with micro-operations. What does not fit leaves the columns broken."""
        self.data = data
        self.at = 0
        start: cython.Py_ssize_t
        kind: cython.int
        key: cython.int
        value: cython.int
        c: cython.int
        while not self.broken:
            c = self._blank(False)
            if c == 0:
                return
            start = self.at
            type_ = data[start : self._word_end()]
            self._spaces()
            start = self.at
            process = data[start : self._word_end()]
            if type_ not in (b"invoke", b"ok", b"fail", b"info") or not process.isdigit() or len(process) > 9:
                self.broken = True
                return
            while self._spaces():
                kind = data[self.at]
                start = self.at
                if self._word_end() != start + 1 or not self._spaces():
                    self.broken = True
                    return
                kind = _READ if kind == 114 else _APPEND if kind == 97 else _WRITE if kind == 119 else -1
                # Lists and registers must not be mixed, and the kind of a file is known.
                if kind < 0 or kind == (_APPEND if self.of_registers else _WRITE):
                    self.broken = True
                    return
                key = self._word(self.keys, 0)
                if key < 0 or not self._spaces():
                    self.broken = True
                    return
                if kind != _READ:
                    value = self._word(self.values, 0)
                    if value < 0:
                        self.broken = True
                        return
                    self._micro_operation(kind, key, value)
                    continue
                self._micro_operation(_READ, key, -1)
                start = self.at
                if self._is_nothing(start, self._word_end()):
                    continue
                self.at = start
                while True:
                    value = self._word(self.values, 44)
                    if value < 0 or (self.of_registers and self.at < len(data) and data[self.at] == 44):
                        self.broken = True
                        return
                    self._element(value)
                    if self.at >= len(data) or data[self.at] != 44:
                        break
                    self.at += 1
            self.add(None, int(process), type_.decode(), "txn", 1)

    def sessions(self, data: bytes) -> None:
        """Reads a text of sessions. What does not fit leaves the columns broken."""
        self.data = data
        self.at = 0
        start: cython.Py_ssize_t
        session: cython.Py_ssize_t = 0
        key: cython.int
        value: cython.int
        c: cython.int
        while True:
            c = self._blank(False)
            if c == 45 or c == 61 or c == 0:
                self._commit(session)
                if c == 0:
                    return
                start = self.at
                line = data[start : self._word_end()]
                if line.strip(b"-" if c == 45 else b"=") or self._spaces():
                    self.broken = True
                    return
                session += c == 61
                continue
            start = self.at
            if (c != 114 and c != 119) or self._word_end() != start + 1 or not self._spaces():
                self.broken = True
                return
            key = self._word(self.keys, 0)
            if key < 0 or not self._spaces():
                self.broken = True
                return
            start = self.at
            if self._is_nothing(start, self._word_end()):
                self._micro_operation(_READ if c == 114 else _WRITE, key, -1)
            else:
                self.at = start
                value = self._word(self.values, 0)
                if value < 0:
                    self.broken = True
                    return
                self._micro_operation(_READ if c == 114 else _WRITE, key, -1 if c == 114 else value)
                if c == 114:
                    self._element(value)
            if self._spaces():
                self.broken = True
                return

    @cython.cfunc
    def _commit(self, session: cython.Py_ssize_t) -> cython.int:
        """Ends a transaction of a session, if anything was done in it: it was invoked, and committed."""
        if self.m == self.m_mark:
            return 0
        m: cython.Py_ssize_t = self.m_mark
        e: cython.Py_ssize_t = self.e_mark
        self._add(session, "invoke", "txn", 1)
        self.m_mark, self.e_mark = m, e
        self._add(session, "ok", "txn", 1)
        self.m_mark, self.e_mark = self.m, self.e
        return 0

    @cython.cfunc
    def _spaces(self) -> cython.bint:
        """Passes over blanks in the line; whether anything follows in it."""
        data: bytes = self.data
        at: cython.Py_ssize_t = self.at
        end: cython.Py_ssize_t = len(data)
        c: cython.uchar
        while at < end:
            c = data[at]
            if c != 32 and c != 9 and c != 13:
                self.at = at
                return c != 10
            at += 1
        self.at = at
        return False

    @cython.cfunc
    def _word_end(self) -> cython.Py_ssize_t:
        """Passes over a word, and gives where it ends."""
        data: bytes = self.data
        at: cython.Py_ssize_t = self.at
        end: cython.Py_ssize_t = len(data)
        c: cython.uchar
        while at < end:
            c = data[at]
            if c == 32 or c == 9 or c == 13 or c == 10:
                break
            at += 1
        self.at = at
        return at

    @cython.cfunc
    def _is_nothing(self, start: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.bint:
        if stop - start == 1:
            return self.data[start] == 45
        return stop - start < 5 and self.data[start:stop] in (b"nil", b"null", b"None")

    @cython.cfunc
    def _word(self, numbering: Numbering, end_too: cython.int) -> cython.int:
        """The number of the word that begins here, and ends at a blank or at the byte `end_too`; -1 for nothing, what
        is no plain ASCII, and what is only nearly a number."""
        data: bytes = self.data
        start: cython.Py_ssize_t = self.at
        at: cython.Py_ssize_t = start
        end: cython.Py_ssize_t = len(data)
        first: cython.Py_ssize_t = start
        number: cython.longlong = 0
        c: cython.uchar = 0
        is_number: cython.bint = True
        if at < end and data[at] == 45:
            at += 1
            first = at
        while at < end:
            c = data[at]
            if c == 32 or c == 9 or c == 13 or c == 10 or c == end_too:
                break
            if c >= 128 or c < 32:
                return -1
            if c < 48 or c > 57:
                is_number = False
            elif at - first < 18:
                number = number * 10 + (c - 48)
            at += 1
        self.at = at
        if at == start or self._is_nothing(start, at):
            return -1
        if is_number and first < at:
            if at - first > 17:
                return -1
            return numbering.of_integer(number if first == start else -number)
        name = data[start:at].decode("ascii")
        if data[start] == 45 and name.lstrip("-").isdigit():
            return -1
        return numbering._of(name, name)

    # Events.

    def add(self, index: object, process: object, type_: str, f: str, value: cython.int) -> None:
        """Takes an event. `index` is the one it has in the file, if any; `value` says what became of its value: it is
        nil (0), it was taken (1), or it could not be (2)."""
        if index is not None:
            if self.last_index is not None and index < self.last_index:
                self.broken = True  # The file's order is another one.
            self.last_index = index
        self._add(process, type_, f, value)
        self.m_mark, self.e_mark = self.m, self.e

    @cython.cfunc
    def _add(self, process: object, type_: object, f: object, value: cython.int) -> cython.int:
        position: cython.Py_ssize_t = self.events
        t: cython.Py_ssize_t
        self.events += 1
        if type(process) is not int:
            self._forget()
            self.broken |= f == "txn"  # An observer that does what clients do: the way through objects tells.
            return 0
        if f != "txn" or value == 2:
            self.broken = True
            return 0
        given = self.numbers.get(process)
        if type_ == "invoke":
            if given is None:
                given = process
                if process in self.used:
                    given = self.highest + 1
                    self.renamed += 1
                self.used.add(given)
                if given > self.highest:
                    self.highest = given
                self.numbers[process] = given
            if value != 1 or given in self.open or not -2147483648 <= given <= 2147483647:
                self.broken = True
                return 0
            t = self.transactions
            if t >= self.start.shape[0]:
                self._more_transactions()
            self.process[t] = given
            self.start[t] = position
            self.finish[t] = _FOREVER
            self.outcome[t] = 3
            self.source[t] = self.m_mark
            self.source_end[t] = self.m
            self.open[given] = t
            self.transactions += 1
            return 0
        place = self.open.pop(given, None)
        if place is None:
            self.broken = True
            return 0
        t = place
        if type_ == "ok":
            self.outcome[t] = 1
            self.finish[t] = position
            if value == 1:
                if not self._is_about(self.source[t], self.source_end[t]):
                    self.broken = True
                self.source[t] = self.m_mark
                self.source_end[t] = self.m
            return 0
        self._forget()
        if type_ == "fail":
            self.outcome[t] = 2
            self.finish[t] = position
        else:
            del self.numbers[process]
        return 0

    @cython.cfunc
    def _is_about(self, first: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
        """Whether the value that was taken last answers these micro-operations: the same, but for what was read."""
        i: cython.Py_ssize_t
        at: cython.Py_ssize_t = self.m_mark
        if self.m - at != end - first:
            return False
        for i in range(first, end):
            if self.kind[i] != self.kind[at] or self.key[i] != self.key[at]:
                return False
            if self.kind[i] != _READ and self.value[i] != self.value[at]:
                return False
            at += 1
        return True

    @cython.cfunc
    def _forget(self) -> cython.int:
        """Gives back the value that was taken last: nobody needs it."""
        self.m, self.e = self.m_mark, self.e_mark
        return 0

    @cython.cfunc
    def _more_transactions(self) -> cython.int:
        self.process = _longer(self.process)
        self.start = _longer(self.start)
        self.finish = _longer(self.finish)
        self.outcome = _longer(self.outcome)
        self.source = _longer(self.source)
        self.source_end = _longer(self.source_end)
        return 0

    # The end.

    def done(self) -> dict:
        """The columns by their names in `Transactions`. What was read is given away: this can be called once."""
        n: cython.Py_ssize_t = self.transactions
        t: cython.Py_ssize_t
        i: cython.Py_ssize_t
        j: cython.Py_ssize_t
        m: cython.Py_ssize_t = 0
        e: cython.Py_ssize_t = 0
        last: cython.longlong
        is_ok: cython.bint
        source_end: cython.longlong[:] = self.source_end
        source: cython.longlong[:] = self.source
        outcome: cython.char[:] = self.outcome
        kind: cython.char[:] = self.kind
        element: cython.int[:] = self.element
        element_first: cython.longlong[:] = self.element_first
        element_first[self.m] = self.e
        micro_operations: cython.Py_ssize_t = 0
        for t in range(n):
            micro_operations += source_end[t] - source[t]
        columns = {
            "first": np.empty(n + 1, np.int64),
            "kind": np.empty(micro_operations, np.int8),
            "key": np.empty(micro_operations, np.int32),
            "value": np.empty(micro_operations, np.int32),
            "known": np.empty(micro_operations, np.int8),
            "element_first": np.empty(micro_operations + 1, np.int64),
            "elements": np.empty(self.e, np.int32),
        }
        to_first: cython.longlong[:] = columns["first"]
        to_kind: cython.char[:] = columns["kind"]
        to_key: cython.int[:] = columns["key"]
        to_value: cython.int[:] = columns["value"]
        to_known: cython.char[:] = columns["known"]
        to_element_first: cython.longlong[:] = columns["element_first"]
        to_elements: cython.int[:] = columns["elements"]
        for t in range(n):
            to_first[t] = m
            is_ok = outcome[t] == 1
            for i in range(source[t], source_end[t]):
                to_kind[m] = kind[i]
                to_key[m] = self.key[i]
                to_value[m] = self.value[i]
                to_known[m] = is_ok or kind[i] != _READ
                to_element_first[m] = e
                m += 1
                if is_ok:
                    last = element_first[i + 1]
                    for j in range(element_first[i], last):
                        to_elements[e] = element[j]
                        e += 1
        to_first[n] = m
        to_element_first[m] = e
        return {
            **columns,
            "process": np.asarray(self.process)[:n].copy(),
            "start": np.asarray(self.start)[:n].copy(),
            "end": np.asarray(self.finish)[:n].copy(),
            "outcome": np.asarray(self.outcome)[:n].copy(),
            "known": columns["known"].astype(np.bool_),
            "elements": columns["elements"][:e],
            "keys": self.keys.values,
            "values": self.values.values,
            "of_registers": bool(self.of_registers),
        }


def _longer(column: object) -> object:
    """The column with room for twice as many."""
    old = np.asarray(column)
    new = np.empty(2 * len(old), old.dtype)
    new[: len(old)] = old
    return new
