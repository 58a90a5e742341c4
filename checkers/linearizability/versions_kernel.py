"""The versions of one key of a map with append, from the texts that were read (a kernel: see `results/kernels.py`).

`versions.py` says what they are for, and when there are any.
"""

# mypy: ignore-errors

from __future__ import annotations

from bisect import bisect_left

import cython

ROOT = 0
"""The version of a key that nobody has written."""


@cython.final
@cython.cclass
class Chain:
    """A put, or the beginning, and the appends after it."""

    root: cython.Py_ssize_t
    text: object
    ends: list
    """How long the text was after each of its parts."""
    versions: list
    """The version after each part."""

    def __init__(self, root, text):
        self.root = root
        self.text = text
        self.ends = []
        self.versions = []


@cython.final
@cython.cclass
class KeyVersions:
    """The versions of one key."""

    absent: object
    """The text of a key that nobody has written."""
    put: dict
    """Text -> the row that put it."""
    appended: dict
    lengths: list
    """How long texts are, each once."""
    from_the_end: cython.bint
    """Whether texts have to be taken apart from their end."""
    chains: dict
    """By the first part."""
    count: cython.Py_ssize_t
    """Versions so far."""
    before: dict
    """Row of an append that was seen -> the version before it."""
    after: dict
    """Row of a put or append that was seen -> the version that it made."""
    texts: dict
    """Versions that nobody wrote -> what was read."""

    def __init__(self, absent):
        self.absent = absent
        self.put = {}
        self.appended = {}
        self.lengths = []
        self.from_the_end = False
        self.chains = {}
        self.count = 1
        self.before = {}
        self.after = {}
        self.texts = {}

    def versions(self) -> int:
        """How many there are."""
        return self.count

    def was_seen(self, row: int) -> bool:
        """Whether a get tells what the put or append at a row made."""
        return row in self.after

    def text_of(self, version: int) -> object:
        """The text that a version is."""
        if version == ROOT:
            return self.absent
        for chain in self.chains.values():
            known: Chain = chain
            place = bisect_left(known.versions, version)
            if place < len(known.versions) and known.versions[place] == version:
                return known.text[: known.ends[place]]
        return self.texts[version]

    @cython.cfunc
    def can_be_taken_apart(self, writes: cython.Py_ssize_t) -> cython.bint:
        """Whether a text of this key can be taken apart in one way only; sets `lengths` and `from_the_end`."""
        texts: list = [*self.put, *self.appended]
        if len(texts) < writes or len(set(texts)) < writes or self.absent in texts:
            return False
        kinds: set = {type(text) for text in texts}
        if len(kinds) > 1 or not kinds <= {str, tuple}:
            return False
        self.lengths = sorted({len(text) for text in texts})
        try:
            if not has_prefix(texts):
                return True
            self.from_the_end = not has_prefix([text[::-1] for text in texts])
        except TypeError:  # Lists of things that have no order.
            return False
        return self.from_the_end

    @cython.cfunc
    @cython.exceptval(-1)
    def fresh(self) -> cython.Py_ssize_t:
        self.count += 1
        return self.count - 1

    @cython.cfunc
    @cython.exceptval(-1)
    def version_of(self, text: object) -> cython.Py_ssize_t:
        """The version that a get saw."""
        known: cython.Py_ssize_t
        length: cython.Py_ssize_t
        if text == self.absent:
            return ROOT
        first = None
        if not self.from_the_end:
            first = self.part_at(text, 0)
            if first is None:
                return self.nobodys(text)
        found = self.chains.get(first) if first is not None else None
        if found is None:
            return self.new_chain(text)
        chain: Chain = found
        known = len(chain.text)
        length = len(text)
        if length <= known:
            if chain.text[:length] == text:
                place = bisect_left(chain.ends, length)
                if chain.ends[place] == length:
                    return chain.versions[place]
            return self.nobodys(text)
        if text[:known] != chain.text:
            return self.nobodys(text)
        parts = self.parts(text, known)
        if parts is None:
            return self.nobodys(text)
        return self.extend(chain, text, parts)

    @cython.cfunc
    @cython.exceptval(-1)
    def new_chain(self, text: object) -> cython.Py_ssize_t:
        chain: Chain
        parts: list = self.parts(text, 0)
        shared: cython.Py_ssize_t
        if parts is None:
            return self.nobodys(text)
        first = parts[0]
        if self.from_the_end and first in self.chains:
            chain = self.chains[first]
            shared = len(chain.ends)
            if len(parts) <= shared:
                if chain.text[: len(text)] == text:
                    return chain.versions[len(parts) - 1]
                return self.nobodys(text)
            if text[: len(chain.text)] != chain.text:
                return self.nobodys(text)
            return self.extend(chain, text, parts[shared:])
        if first in self.put:
            row = self.put[first]
            version = self.after[row] = self.fresh()
            chain = Chain(version, first)
            chain.ends.append(len(first))
            chain.versions.append(version)
            parts = parts[1:]
        else:
            chain = Chain(ROOT, self.absent)
        self.chains[first] = chain
        return self.extend(chain, text, parts) if parts else version_at_end(chain)

    @cython.cfunc
    @cython.exceptval(-1)
    def extend(self, chain: Chain, text: object, parts: list) -> cython.Py_ssize_t:
        """Adds appends to a chain; what was seen elsewhere already cannot be here too."""
        rows: list = []
        i: cython.Py_ssize_t
        version: cython.Py_ssize_t
        length: cython.Py_ssize_t
        for i in range(len(parts)):
            row = self.appended.get(parts[i])
            if row is None or row in self.after:
                return self.nobodys(text)
            rows.append(row)
        if len(rows) > 1 and len(set(rows)) < len(rows):
            return self.nobodys(text)
        version = version_at_end(chain)
        length = len(chain.text)
        for i in range(len(parts)):
            self.before[rows[i]] = version
            version = self.fresh()
            self.after[rows[i]] = version
            length += len(parts[i])
            chain.ends.append(length)
            chain.versions.append(version)
        chain.text = text
        return version

    @cython.cfunc
    @cython.exceptval(-1)
    def nobodys(self, text: object) -> cython.Py_ssize_t:
        version: cython.Py_ssize_t = self.fresh()
        self.texts[version] = text
        return version

    @cython.cfunc
    def part_at(self, text: object, start: cython.Py_ssize_t) -> object:
        """The text that was put or appended and begins there; None if there is none."""
        for length in self.lengths:
            part = text[start : start + length]
            if part in self.appended or part in self.put:
                return part
        return None

    @cython.cfunc
    def parts(self, text: object, start: cython.Py_ssize_t) -> list:
        """What the rest of a text was put together from; None if it was not."""
        parts: list = []
        end: cython.Py_ssize_t = len(text)
        size: cython.Py_ssize_t
        if self.from_the_end:
            while end > start:
                for length in self.lengths:
                    size = length
                    part = text[max(start, end - size) : end]
                    if len(part) == size and (part in self.appended or part in self.put):
                        break
                else:
                    return None
                parts.append(part)
                end -= size
            parts.reverse()
            return parts
        while start < end:
            part = self.part_at(text, start)
            if part is None:
                return None
            parts.append(part)
            start += len(part)
        return parts


@cython.cfunc
@cython.exceptval(-1)
def version_at_end(chain: Chain) -> cython.Py_ssize_t:
    """The last version of a chain; compiled, negative places do not count from the end."""
    return chain.versions[len(chain.versions) - 1] if chain.versions else chain.root


@cython.cfunc
def has_prefix(texts: list) -> cython.bint:
    """Whether one of the texts begins another."""
    i: cython.Py_ssize_t
    ordered: list = sorted(texts)
    for i in range(len(ordered) - 1):  # noqa: SIM110 - compiled, a loop makes no generator.
        if ordered[i + 1][: len(ordered[i])] == ordered[i]:
            return True
    return False


def find_versions(
    rows: list,
    gets: list,
    puts: list,
    crashed: list,
    argument: list,
    result: list,
    values: list,
    absent: object,
    observed: list,
    written: list,
) -> KeyVersions | None:
    """The versions of the key whose calls are at `rows`; None if its texts cannot be taken apart in one way only.

    The other lists have an entry a call: whether it is a get, or a put, or crashed; the places in `values` of what it
    asked and was answered. Sets in `observed` and `written` the versions that it read and made.
    """
    key: KeyVersions = KeyVersions(absent)
    writes: list = []
    seen: dict = {}
    for row in rows:
        if not gets[row]:
            writes.append(row)
            text = values[argument[row]]
            if puts[row]:
                key.put[text] = row
            else:
                key.appended[text] = row
    if not key.can_be_taken_apart(len(writes)):
        return None
    for row in rows:
        if gets[row] and not crashed[row]:
            number = result[row]
            version = seen.get(number)
            if version is None:
                version = seen[number] = key.version_of(values[number])
            observed[row] = version
    for row in writes:
        version = key.after.get(row)
        if version is None:
            written[row] = key.fresh()
        else:
            written[row] = version
            version = key.before.get(row)
            if version is not None:
                observed[row] = version
    return key
