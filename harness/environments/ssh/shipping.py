"""What is copied to a host before a run: the harness's own small programs, and the sources of the system under test, or
the program that it is: one file, which has to bring along what it needs, as those of Go do."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import shlex
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import harness
from harness.environments.docker.image import source_files
from harness.environments.environment import EnvironmentFailed
from harness.environments.ssh.hosts import Host

TOOLS, SOURCES, PROGRAMS = "tools", "sources", "programs"
"""Folders in that of the run on a host."""
_PROGRAMS = (
    "harness/environments/clock_file.py",
    "harness/environments/supervisor.py",
    "harness/environments/disks/layer.py",
    "harness/environments/disks/probe.py",
    "harness/environments/disks/unsynced.py",
    "harness/environments/linux/entering.py",
    "harness/environments/linux/packets.py",
    "harness/environments/linux/vdso.py",
    "harness/environments/ssh/agent.py",
    "harness/environments/ssh/remote.py",
    "results/process_identity.py",
)
_PACKAGES = (
    "harness",
    "harness/environments",
    "harness/environments/disks",
    "harness/environments/linux",
    "harness/environments/ssh",
    "results",
)
"""Each gets an empty `__init__.py`, so that nothing else is wanted there."""


def bundle(packages: Sequence[str]) -> bytes:
    """A compressed archive: our programs under `tools`, the sources of these packages under `sources`."""
    root = Path(harness.__file__).resolve().parents[1]
    files = {f"{TOOLS}/{package}/__init__.py": b"" for package in _PACKAGES}
    files |= {f"{TOOLS}/{name}": (root / name).read_bytes() for name in _PROGRAMS}
    files |= {f"{SOURCES}/{name}": content for name, content in source_files(packages)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


async def send_program(host: Host, program: Path, home: PurePosixPath) -> str:
    """Where a program of this host is on another one, after this: in the folder of the run there, unless the very same
    one is at the same place. Raises EnvironmentFailed."""
    content = await asyncio.to_thread(program.read_bytes)
    digest = hashlib.sha256(content).hexdigest()
    _, output = await host.run(f"sha256sum {shlex.quote(str(program))} 2>/dev/null; true")
    if output.startswith(digest):
        return str(program)
    there = home / PROGRAMS / program.name
    quoted = shlex.quote(str(there))
    packed = await asyncio.to_thread(gzip.compress, content, 1)
    status, output = await host.run(
        f"mkdir -p {shlex.quote(str(there.parent))} && gunzip -c > {quoted} && chmod 755 {quoted}", packed
    )
    if status != 0:
        raise EnvironmentFailed(
            f"{host.destination}: copying {program.name} to {there} failed: {output.strip()[:300]}"
        )
    return str(there)
