"""Secrets among options: given by reference only, so that no scenario, log, report or list of processes holds one.

An option whose name says that it is a secret (`password`, `api_key` ...) has the value `env:NAME` (of an environment
variable) or `file:PATH` (the file's first line). The reference is what a scenario keeps, prints and repeats; the secret
is read when a session is opened. A URL with a password in it is refused in any option. No sentence here repeats what
it refuses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

NAMES = re.compile(
    r"(^|_)(password|passwd|passphrase|pwd|secret|token|credentials?|(api|access|private|secret)_?key)(_|$)",
    re.IGNORECASE,
)
"""Names of options that hold secrets."""
URL_WITH_PASSWORD = re.compile(
    r"[a-z][a-z0-9+.-]*://[^/\s@:]*:[^/\s@]+@|[?&;\s](password|passwd)=", re.IGNORECASE
)
REFERENCE = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)")
HIDDEN = "[hidden]"


def is_secret_name(option: str) -> bool:
    """Whether an option is a secret by its name."""
    return NAMES.search(option.replace("-", "_")) is not None


def problems_with_secrets(kind: str, options: Mapping[str, object]) -> list[str]:
    """What is wrong with the secrets among options of a kind (`system option`), without repeating any."""
    problems = []
    for name, value in sorted(options.items()):
        if is_secret_name(name) and not (isinstance(value, str) and REFERENCE.fullmatch(value)):
            problems.append(
                f"{kind} {name}: it is a secret, and scenarios, logs and reports would keep it; give {name}=env:NAME "
                f"(an environment variable) or {name}=file:PATH instead"
            )
        elif isinstance(value, str) and URL_WITH_PASSWORD.search(f" {value}"):
            problems.append(
                f"{kind} {name}: there is a password in it, and scenarios, logs and reports would keep it; leave it "
                "out, and give the option password=env:NAME or password=file:PATH beside it"
            )
    return problems


def read_secret(name: str, reference: str) -> str:
    """The secret that a reference stands for. Raises ValueError."""
    kind, _, place = reference.partition(":")
    if kind == "env":
        value = os.environ.get(place)
        if value is None:
            raise ValueError(f"option {name}={reference}: there is no environment variable {place}; set it")
        return value
    try:
        lines = Path(place).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"option {name}={reference}: the file cannot be read: {error}") from error
    if not lines:
        raise ValueError(f"option {name}={reference}: the file is empty; its first line must be the secret")
    return lines[0]


def hide(text: str, secrets: Iterable[str]) -> str:
    """A text of others (an error of a library) without the secrets that may be in it."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, HIDDEN)
    return text
