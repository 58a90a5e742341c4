"""Files of commands with their printed answers, as in cockroachdb/datadriven: reading, comparing, rewriting.

A directive is a command line, optional input lines, `----`, and the expected answer up to a blank line; an answer
that itself holds blank lines stands between `----` `----` pairs. State lasts from directive to directive of a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Argument:
    """`key`, `key=value` or `key=(value, value)`."""

    key: str
    values: tuple[str, ...] = ()


@dataclass
class Directive:
    line: int
    command: str
    arguments: list[Argument]
    input: list[str]
    expected: str
    head: list[str] = field(default_factory=list)
    """Comments and blank lines before the command, and the command and its input as written."""

    @property
    def nodes(self) -> list[int]:
        """The bare arguments, which name nodes."""
        return [int(argument.key) for argument in self.arguments if not argument.values]

    def value(self, key: str, default: str = "") -> str:
        for argument in self.arguments:
            if argument.key == key and argument.values:
                return argument.values[0]
        return default


_ARGUMENT = re.compile(r"([^\s=()]+)(?:=(\([^)]*\)|[^\s()]*))?")


def parse_line(text: str) -> tuple[str, list[Argument]]:
    """A command line into its command and arguments. Raises `ValueError`."""
    command, _, rest = text.strip().partition(" ")
    arguments = []
    at = 0
    rest = rest.strip()
    while at < len(rest):
        found = _ARGUMENT.match(rest, at)
        if found is None:
            raise ValueError(f"can't read the arguments of {text!r} from {rest[at:]!r} on")
        key, value = found.groups()
        if value is None:
            values: tuple[str, ...] = ()
        elif value.startswith("("):
            values = tuple(re.split(r"[\s,]+", value[1:-1].strip()))
        else:
            values = (value,)
        arguments.append(Argument(key, values))
        at = found.end()
        while at < len(rest) and rest[at].isspace():
            at += 1
    return command, arguments


def parse(path: Path) -> list[Directive]:
    """All directives of a file, in order."""
    lines = path.read_text().split("\n")
    directives: list[Directive] = []
    head: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip() or line.startswith("#"):
            head.append(line)
            at += 1
            continue
        start = at
        command_line = line
        while command_line.endswith("\\"):
            at += 1
            command_line = command_line[:-1] + " " + lines[at]
        at += 1
        given: list[str] = []
        while at < len(lines) and lines[at] != "----":
            given.append(lines[at])
            at += 1
        if at == len(lines):
            raise ValueError(f"{path.name}:{start + 1}: {command_line!r} has no answer ('----' is missing)")
        head += lines[start:at]
        at += 1
        answer: list[str] = []
        if at < len(lines) and lines[at] == "----":
            at += 1
            while lines[at : at + 2] != ["----", "----"]:
                answer.append(lines[at])
                at += 1
            at += 2
        else:
            while at < len(lines) and lines[at].strip():
                answer.append(lines[at])
                at += 1
        command, arguments = parse_line(command_line)
        directives.append(Directive(start + 1, command, arguments, given, "\n".join(answer), head))
        head = []
    return directives


def run(path: Path, handle: Callable[[Directive], str], same: Callable[[str, str], bool]) -> list[str]:
    """Run a file. Returns a text for every directive whose answer isn't the expected one; stops at the first."""
    for directive in parse(path):
        answer = handle(directive).rstrip("\n")
        if not same(directive.expected, answer):
            return [
                f"{path.name}:{directive.line}: {directive.command}\n"
                f"--- expected\n{directive.expected}\n--- answered\n{answer}\n"
            ]
    return []


def rewrite(path: Path, handle: Callable[[Directive], str]) -> None:
    """Put the real answers into a file of our own. Read the difference before committing it."""
    out: list[str] = []
    for directive in parse(path):
        answer = handle(directive).rstrip("\n")
        out += directive.head
        out.append("----")
        out += ["----", answer, "----", "----"] if "\n\n" in answer else [answer]
    path.write_text("\n".join(out) + "\n")
