"""A run's operations as packed columns: small in the page, whole, and quick to unpack in a browser.

One row is one client operation, in the order of invocation. A column of integers is taken apart so that gzip finds
its regularity: the difference to the row before where that is small (`delta`), zigzag (so that small negative numbers
are small), then *planes*, all lowest bytes first, then all second bytes, and so on; gzip; base64.

A column of texts (the values as JSON) is taken apart into *templates* and numbers. `{"from":3,"to":7,"amount":5}`
has the template `{"from":#,"to":#,"amount":#}` and the slots 3, 7 and 5. The rows of one template keep each slot as
a column of integers, relative to the row before or to an earlier slot of the same row, whichever is smaller. Texts
that share a template with few others, or that have very many numbers, are kept whole, in blocks of lines, gzipped one
by one: transactions that read lists come in thousands of templates, and a browser unpacks a block when it is looked at.

A million register operations take eight megabytes, a million list-append transactions twenty-two. Nothing is left out
but the middle of very long values, which the page shows shortened; the run folder has them whole.
`front_end/src/columns.ts` is the other side.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUMBER = re.compile(r"(?<![0-9])(0|[1-9][0-9]{0,14})(?![0-9])")
"""Whole numbers that a double holds exactly, written in the only way that gives the same digits back."""
SLOT = "\x01"
"""Stands for a number in a template. Valid JSON has no raw control characters, so these three are free."""
ANSWER = "\x02"
"""Between what was asked and what was answered."""
CUT = "\x03"
"""Around the number of characters of a value that is shown shortened."""

MAX_SLOTS = 64
MAX_TEMPLATES = 4000
MIN_ROWS = 16
"""A template with fewer rows costs more than it saves."""
MAX_COLUMNS = 256
"""Slots of all templates together: a page unpacks each of them before it is alive."""
BLOCK = 1024
"""Lines of a block; the other side knows the number."""
VALUE_LIMIT = 400
"""Characters of a value that the page shows."""


def pack_integers(values: NDArray[np.integer[Any]] | Sequence[int], *, delta: bool = False) -> dict[str, Any]:
    """A column of integers between -2**52 and 2**52 as `{"n", "planes", "delta", "bytes"}`."""
    import numpy as np

    column = np.asarray(values, dtype=np.int64)
    if delta and column.size:
        column = np.diff(column, prepend=0)
    zigzag = ((column << 1) ^ (column >> 63)).astype(np.uint64)
    top = int(zigzag.max()) if zigzag.size else 0
    planes = max(1, (top.bit_length() + 7) // 8)
    assert planes <= 7, f"a column holds {top >> 1}, which a double cannot hold exactly"
    planar = zigzag.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :planes].T
    return {"n": int(column.size), "planes": planes, "delta": delta, "bytes": _packed(planar.tobytes())}


def pack_texts(texts: Iterable[str]) -> dict[str, Any]:
    """A column of texts without newlines as `{"templates": [[template, slots], ...], "row": column, "blocks": [...]}`.

    `row` says for each text which template it has; 0 means that it is the next line of the blocks. A slot is
    `[reference, column]`: -1 for differences to the row before, else the earlier slot to add.
    """
    rows, numbers, names, whole = _taken_apart(texts)
    rows, kept = _without_rare_templates(rows, numbers, names, whole)
    templates = []
    for template in kept:
        slots = _pack_slots(numbers[template])
        templates.append([names[template], slots])
    lines = [whole[position] for position in sorted(whole)]
    blocks = ["\n".join(lines[first : first + BLOCK]) for first in range(0, len(lines), BLOCK)]
    return {
        "templates": templates,
        "row": pack_integers(rows),
        "blocks": [_packed(block.encode("utf-8", "surrogatepass")) for block in blocks],
    }


def _taken_apart(
    texts: Iterable[str],
) -> tuple[list[int], list[list[tuple[int, ...]]], list[str], dict[int, str]]:
    """Per row its template (0: whole); per template the numbers of its rows, and its text; the whole texts."""
    split = NUMBER.split
    template_ids: dict[str, int] = {}
    names: list[str] = [""]
    numbers: list[list[tuple[int, ...]]] = [[]]
    rows: list[int] = []
    whole: dict[int, str] = {}
    for text in texts:
        parts = split(text)
        template = SLOT.join(parts[::2])
        number = template_ids.get(template)
        if number is None:
            if len(parts) > 2 * MAX_SLOTS + 1 or len(names) > MAX_TEMPLATES:
                whole[len(rows)] = text
                rows.append(0)
                continue
            number = template_ids[template] = len(names)
            names.append(template)
            numbers.append([])
        numbers[number].append(tuple(map(int, parts[1::2])))
        rows.append(number)
    return rows, numbers, names, whole


def _without_rare_templates(
    rows: list[int], numbers: list[list[tuple[int, ...]]], names: list[str], whole: dict[int, str]
) -> tuple[list[int], list[int]]:
    """Renumbers the templates worth keeping from 1 and puts the texts of the others into `whole`."""
    kept = _templates_worth_keeping(numbers)
    if len(kept) == len(names) - 1:
        return rows, kept
    renumbered = {number: position for position, number in enumerate(kept, start=1)}
    taken = [0] * len(names)
    result = []
    for position, number in enumerate(rows):
        new = renumbered.get(number, 0)
        if number and not new:
            values = iter(numbers[number][taken[number]])
            taken[number] += 1
            literals = names[number].split(SLOT)
            whole[position] = literals[0] + "".join(f"{next(values)}{literal}" for literal in literals[1:])
        result.append(new)
    return result, kept


def _templates_worth_keeping(numbers: list[list[tuple[int, ...]]]) -> list[int]:
    """Those with the most rows, as long as there is room for their slots; in their order."""
    often = [number for number in range(1, len(numbers)) if len(numbers[number]) >= MIN_ROWS]
    often.sort(key=lambda number: (-len(numbers[number]), number))
    room, kept = MAX_COLUMNS, []
    for number in often:
        slots = len(numbers[number][0])
        if slots <= room:
            room -= slots
            kept.append(number)
    return sorted(kept)


def _pack_slots(rows: list[tuple[int, ...]]) -> list[list[Any]]:
    import numpy as np

    if not rows[0]:
        return []
    table = np.array(rows, dtype=np.int64)
    slots: list[list[Any]] = []
    for slot in range(table.shape[1]):
        column = table[:, slot]
        best, best_delta = -1, np.diff(column, prepend=0)
        best_cost = _cost(best_delta)
        for reference in range(max(0, slot - 8), slot):
            difference = column - table[:, reference]
            cost = _cost(difference)
            if cost < best_cost:
                best, best_delta, best_cost = reference, difference, cost
        slots.append([best, pack_integers(best_delta)])
    return slots


def _cost(differences: NDArray[np.int64]) -> float:
    """About how many bits the differences take."""
    import numpy as np

    return float(np.log2(np.abs(differences) + 1.0).sum())


def _packed(data: bytes) -> str:
    # mtime 0: the same run gives the same page.
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode("ascii")


_encode = msgspec.json.Encoder(enc_hook=repr).encode


def short_value(value: Any, limit: int = VALUE_LIMIT) -> str:
    """A value as JSON; of a long one both ends, and between them its length, marked by `CUT`."""
    try:
        text = _encode(value).decode()
    except (UnicodeEncodeError, ValueError, TypeError):  # A lone surrogate, a key that is no text.
        text = _encode(repr(value).encode("utf-8", "backslashreplace").decode()).decode()
    if len(text) <= limit:
        return text
    return f"{text[: limit * 3 // 4]}{CUT}{len(text)}{CUT}{text[-(limit // 8) :]}"
