"""A history as EDN, event by event, as Jepsen keeps it: for Knossos, Elle, elle-cli and Jepsen's own pages.

Names are keywords: types, functions, keys of maps that read like names, the function of a micro-operation, observers.
Every other text is a string, so that what is read back is what was written. The rules of the notation are those of
the EDN specification (edn-format/edn).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from results.operation import Operation

MICRO_OPERATIONS: Final = frozenset({"r", "w", "append", "read", "write", "add"})
"""What the first part of a micro-operation may be."""
_NAME: Final = re.compile(r"[A-Za-z*!_?$%&=<>][A-Za-z0-9*+!_?$%&=<>.-]*\Z")
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_SPECIAL: Final = re.compile(r'["\\\x00-\x1f\x7f\ud800-\udfff]')


def events(operations: Iterable[Operation]) -> Iterator[str]:
    """A line of EDN for each event, a map with `:index :time :process :type :f :value` and what else it has."""
    for operation in operations:
        yield event(operation)


def event(operation: Operation) -> str:
    """One event as a map, without a line's end."""
    process = operation.process
    parts = [
        f":index {operation.index}",
        f":time {operation.time}",
        f":process {process if isinstance(process, int) else keyword(process)}",
        f":type :{operation.type}",
        f":f {keyword(operation.f)}",
        f":value {value(operation.value, in_transaction=operation.f == 'txn')}",
    ]
    if operation.error is not None:
        parts.append(f":error {value(operation.error)}")
    if operation.node is not None:
        parts.append(f":node {text(operation.node)}")
    if operation.phase is not None:
        parts.append(f":phase {keyword(operation.phase)}")
    return "{" + ", ".join(parts) + "}"


def keyword(name: str) -> str:
    """The name as a keyword, or as a string where no keyword can carry it."""
    return f":{name}" if _NAME.match(name) else text(name)


def text(given: str) -> str:
    """A string of EDN."""
    return '"' + _SPECIAL.sub(_escaped, given) + '"'


def _escaped(found: re.Match[str]) -> str:
    letter = found.group()
    return _ESCAPES.get(letter) or f"\\u{ord(letter):04x}"


def value(given: Any, *, in_transaction: bool = False) -> str:
    """JSON-like data as EDN; `in_transaction`: a list of micro-operations, whose functions are keywords.

    Raises TypeError for anything else.
    """
    if given is None:
        return "nil"
    if given is True:
        return "true"
    if given is False:
        return "false"
    if isinstance(given, int):
        # Beyond 64 bits an integer is marked as one of any size.
        return str(given) if -(1 << 63) <= given < 1 << 63 else f"{given}N"
    if isinstance(given, float):
        return _float(given)
    if isinstance(given, str):
        return text(given)
    if isinstance(given, list | tuple):
        if in_transaction:
            return "[" + " ".join(micro_operation(one) for one in given) + "]"
        return "[" + " ".join(value(one) for one in given) + "]"
    if isinstance(given, dict):
        pairs = (f"{_map_key(key)} {value(one)}" for key, one in given.items())
        return "{" + ", ".join(pairs) + "}"
    raise TypeError(f"{given!r:.200} is a {type(given).__name__}: EDN is written of JSON-like data only")


def micro_operation(given: Any) -> str:
    """`[:append 1 2]`; what does not look like one is written as any other value."""
    if isinstance(given, list | tuple) and given and given[0] in MICRO_OPERATIONS:
        return "[" + " ".join([f":{given[0]}", *(value(one) for one in given[1:])]) + "]"
    return value(given)


def _map_key(key: Any) -> str:
    return keyword(key) if isinstance(key, str) else value(key)


def _float(given: float) -> str:
    if math.isnan(given):
        return "##NaN"
    if math.isinf(given):
        return "##Inf" if given > 0 else "##-Inf"
    return repr(given)
