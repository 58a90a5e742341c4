"""`--json` for every command: one JSON document on stdout, and what is meant for people on stderr.

A command tells what it found with `tell`, beside saying it in words. Without `--json` nobody listens. A command that
has a `--json` of its own keeps it; one that fails before it has an answer (exit code 2 or 4) leaves stdout empty.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import sys
from collections.abc import Iterator
from typing import Any

import click
import msgspec

_listening: list[dict[str, Any]] = []
"""The answers that are being collected, the innermost last."""


def tell(**fields: Any) -> None:
    """Adds to the answer, if one is collected. Values are JSON-like, or structs, paths and dataclasses of such."""
    if _listening:
        _listening[-1].update(fields)


@contextlib.contextmanager
def collected() -> Iterator[dict[str, Any]]:
    """While the block runs, what is told is put into the mapping, and what is printed goes to stderr."""
    answer: dict[str, Any] = {}
    _listening.append(answer)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield answer
    finally:
        _listening.pop()


def with_json(command: click.Command) -> click.Command:
    """The same command with the flag `--json`, if it has none and is no group of others."""
    inner = command.callback
    has_flag = any("--json" in parameter.opts for parameter in command.params)
    if has_flag or inner is None or isinstance(command, click.Group):
        return command

    @functools.wraps(inner)
    def callback(*arguments: Any, as_json: bool, **flags: Any) -> Any:
        if not as_json:
            return inner(*arguments, **flags)
        with collected() as answer:
            code = inner(*arguments, **flags)
        document = {"command": command.name, "exit_code": code, **answer}
        click.echo(json.dumps(msgspec.to_builtins(document, enc_hook=str), indent=2, default=str))
        return code

    flag = click.Option(
        ["--json", "as_json"], is_flag=True, help="One JSON document on stdout, and nothing else there."
    )
    other = copy.copy(command)
    other.callback = callback
    other.params = [*command.params, flag]
    return other
