"""A history as a Parquet file: a row an event, for pandas, DuckDB, Spark. Needs the package `pyarrow`.

Columns: `index` and `time` (nanoseconds) as 64-bit integers; `process` as text, with `is_client` beside it; `type`;
`f`; `value` and `error` as JSON text, null where there is none; `intended` (nanoseconds), `node`, `phase`; `pair`, the
index of the event at the other end of the operation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from results.history import History

ROWS_AT_ONCE: Final = 100_000
MISSING: Final = (
    "a Parquet file needs the package pyarrow, which is not installed; install it where harness is: "
    ".venv/bin/python -m pip install pyarrow"
)


def write(history: History, path: Path) -> None:
    """Writes the file. Raises ImportError, which says what to install, where pyarrow is missing."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(MISSING) from error
    name = arrow.dictionary(arrow.int32(), arrow.string())
    schema = arrow.schema(
        [
            ("index", arrow.int64()),
            ("time", arrow.int64()),
            ("process", arrow.string()),
            ("is_client", arrow.bool_()),
            ("type", name),
            ("f", name),
            ("value", arrow.string()),
            ("error", arrow.string()),
            ("intended", arrow.int64()),
            ("node", name),
            ("phase", name),
            ("pair", arrow.int64()),
        ]
    )
    events = history.operations
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(events), ROWS_AT_ONCE):
            part = events[start : start + ROWS_AT_ONCE]
            columns: dict[str, list[Any]] = {
                "index": [event.index for event in part],
                "time": [event.time for event in part],
                "process": [str(event.process) for event in part],
                "is_client": [event.is_client for event in part],
                "type": [event.type for event in part],
                "f": [event.f for event in part],
                "value": [_json(event.value) for event in part],
                "error": [_json(event.error) for event in part],
                "intended": [event.intended for event in part],
                "node": [event.node for event in part],
                "phase": [event.phase for event in part],
                "pair": [history.partner_index(event.index) for event in part],
            }
            writer.write_table(arrow.table(columns, schema=schema))


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
