"""The wall clock of programs that ask the C library for the time, shifted by a library that is loaded before it.

libfaketime reads a file whenever the time is asked, and adds what stands there. It is the last choice for clock faults:
it does nothing to programs that are linked statically (Go's), it has to be there when a process starts, and it breaks
some that it can be loaded into: `time.sleep` of CPython 3.11 fails with EINVAL (wolfcw/libfaketime, issue 426). So each
program is tried before it is trusted. Monotonic clocks go on as they are.
"""

from __future__ import annotations

import functools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

PLACES: Final = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)
PROBE_NS: Final = 3_600_000_000_000
PROBE_ERROR_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 10.0
PT_INTERP: Final = 3
"""Kind of the program header that names the dynamic linker; without one a program is linked statically."""
_ANY: Final = "read line; date +%s; sleep 0.01 && echo sleeps"
_PYTHON: Final = (
    "import sys, time\n"
    "before = time.monotonic()\n"
    "sys.stdin.readline()\n"
    "print(int(time.time()), flush=True)\n"
    "time.sleep(0.01)\n"
    "print('sleeps' if 0 < time.monotonic() - before < 1800 else 'its monotonic clock jumps')\n"
)


@functools.cache
def library() -> Path | None:
    """The library as it is installed here."""
    for place in PLACES:
        found = sorted(Path("/").glob(place.lstrip("/")))
        if found:
            return found[0]
    return None


def variables(file: Path) -> dict[str, str]:
    """Environment variables of a process whose clock is to follow a file. The library must be there."""
    there = library()
    assert there is not None, "the library is looked for before it is used"
    return {
        "LD_PRELOAD": str(there),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def write(file: Path, offset_ns: int) -> None:
    """From now on, whoever follows this file is so far ahead of real time. In one step: it is read at any moment."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(f"{offset_ns / 1e9:+.9f}\n")
    fresh.replace(file)


def why_not(program: str) -> str | None:
    """Why the clock of a program, a path or a name on PATH, cannot be shifted so; None if it can. A child is tried."""
    if not sys.platform.startswith("linux"):
        return f"libfaketime is loaded as Linux does it, this is {sys.platform}"
    if library() is None:
        return "libfaketime is not installed (apt-get install libfaketime, as root)"
    path = shutil.which(program)
    if path is None:
        return f"there is no program {program}"
    real = Path(path).resolve()
    if _is_static(real):
        return f"{real.name} is linked statically, so that nothing can be loaded into it"
    return _tried(str(real), real.name.startswith("python"))


def _is_static(path: Path) -> bool:
    """Whether a file is a program of ELF (64 bits, as here) without a dynamic linker; scripts are not."""
    with path.open("rb") as file:
        head = file.read(64)
        if head[:5] != b"\x7fELF\x02":
            return False
        (table,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(table)
        headers = file.read(size * count)
    return all(struct.unpack_from("<I", headers, number * size)[0] != PT_INTERP for number in range(count))


@functools.cache
def _tried(path: str, is_python: bool) -> str | None:
    """A child is sent an hour ahead while it runs, and sleeps."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "offset"
        write(file, 0)
        argv = [path, "-S", "-c", _PYTHON] if is_python else ["sh", "-c", _ANY]
        child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **variables(file)},
            text=True,
        )
        write(file, PROBE_NS)
        wanted_s = time.time() + PROBE_NS / 1e9
        try:
            said, complaint = child.communicate("\n", PROBE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            return f"a child with libfaketime did not end within {PROBE_TIMEOUT_S:g} s"
    what = "Python" if is_python else "a program of C"
    lines = said.split("\n")
    if not lines[0].isdigit() or abs(int(lines[0]) - wanted_s) > PROBE_ERROR_S:
        return f"libfaketime does not shift the clock of {what} here (it said {lines[0]!r})"
    if lines[1:2] != ["sleeps"]:
        last = (complaint.strip() or said.strip()).splitlines()[-1]
        return f"libfaketime breaks {what} here: {last}"
    return None
