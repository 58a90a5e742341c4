"""The other side of results/report/columns.py in Python, so that tests can look into a page."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from itertools import accumulate, chain
from typing import Any

from results.report.columns import BLOCK


def unpack_integers(packed: dict[str, Any]) -> list[int]:
    data = gzip.decompress(base64.b64decode(packed["bytes"]))
    count, planes = packed["n"], packed["planes"]
    assert len(data) == count * planes
    zigzags = [sum(data[plane * count + row] << 8 * plane for plane in range(planes)) for row in range(count)]
    values = [(zigzag >> 1) ^ -(zigzag & 1) for zigzag in zigzags]
    return list(accumulate(values)) if packed["delta"] else values


def unpack_texts(packed: dict[str, Any]) -> list[str]:
    blocks = [gzip.decompress(base64.b64decode(block)) for block in packed["blocks"]]
    lines = [block.decode("utf-8", "surrogatepass").split("\n") for block in blocks]
    assert all(len(block) == BLOCK for block in lines[:-1])
    streams: list[Iterator[str]] = [chain.from_iterable(lines)]
    for template, slots in packed["templates"]:
        columns: list[list[int]] = []
        for reference, integers in slots:
            column = unpack_integers({**integers, "delta": reference < 0})
            if reference >= 0:
                column = [a + b for a, b in zip(column, columns[reference], strict=True)]
            columns.append(column)
        streams.append(_texts(template.split("\x01"), columns))
    return [next(streams[row]) for row in unpack_integers(packed["row"])]


def _texts(literals: list[str], columns: list[list[int]]) -> Any:
    if not columns:
        while True:
            yield literals[0]
    for numbers in zip(*columns, strict=True):
        yield literals[0] + "".join(
            f"{number}{literal}" for number, literal in zip(numbers, literals[1:], strict=True)
        )


def page_json(page: str) -> dict[str, Any]:
    """The data that a page's script reads."""
    found = re.search(r'<script type="application/json" id="run-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data
