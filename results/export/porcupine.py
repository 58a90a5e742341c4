"""A history of a register or a key-value map as a log that Porcupine's test suite reads.

Porcupine is a library; what its users call its logs are the two notations that its own tests load: Jepsen's console log
for one register (`INFO  jepsen.util - 3 :invoke :write 4`), and a map a line for key-value stores with get, put and
append. Histories of other functions have no notation there, and are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from results.export import edn
from results.operation import FAIL, INFO, INVOKE, OK, Operation

REGISTER: Final = frozenset({"read", "write", "cas"})
KEY_VALUE: Final = frozenset({"get", "put", "append"})


def lines(operations: Sequence[Operation]) -> Iterator[str]:
    """The lines of the log, without line ends; events of observers are left out. Raises ValueError for a history of
    other functions, or of a register for each key."""
    clients = [operation for operation in operations if operation.is_client]
    functions = {operation.f for operation in clients}
    if functions <= REGISTER:
        return _register_lines(clients)
    if functions <= KEY_VALUE:
        return _key_value_lines(clients)
    raise ValueError(
        f"the history has the functions {', '.join(sorted(functions))}; Porcupine's logs are of one register (read, "
        "write, cas) or of a key-value map (get, put, append). Export it as edn"
    )


def _register_lines(clients: list[Operation]) -> Iterator[str]:
    for operation, said in _with_values(clients):
        if operation.type == INVOKE and operation.f == "read" and said is not None:
            raise ValueError(
                f"event {operation.index} reads {said!r:.80}: each key is a register of its own, and Porcupine's log "
                "has one register. Choose one with --key, or export the history as edn"
            )
        # What ended unknown has no value in these logs, only the reason.
        written = ":timed-out" if operation.type == INFO else edn.value(said)
        yield f"INFO  jepsen.util - {operation.process}\t:{operation.type}\t:{operation.f}\t{written}"


def _key_value_lines(clients: list[Operation]) -> Iterator[str]:
    for operation, said in _with_values(clients):
        if not isinstance(said, list | tuple) or len(said) != 2:
            raise ValueError(
                f"event {operation.index} ({operation.type} {operation.f}) has the value {said!r:.80}; a key-value "
                "log wants [key, value]"
            )
        yield (
            f"{{:process {operation.process}, :type :{operation.type}, :f :{operation.f}, "
            f":key {edn.value(said[0])}, :value {edn.value(said[1])}}}"
        )


def _with_values(clients: list[Operation]) -> Iterator[tuple[Operation, Any]]:
    """Each event with its value; completions that repeat what was asked by leaving it out say it again."""
    asked: dict[int | str, Any] = {}
    for operation in clients:
        said = operation.value
        if operation.type == INVOKE:
            asked[operation.process] = said
        else:
            before = asked.pop(operation.process, None)
            if said is None and (
                operation.type in (FAIL, INFO) or (operation.type == OK and operation.f != "read")
            ):
                said = before
        yield operation, said
