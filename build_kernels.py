"""Compiles the kernels in place: the modules named `*_kernel.py`, written in Cython's pure-Python mode.

    python build_kernels.py [--quiet]

A kernel is ordinary Python and runs as it is, only slower: where there is no C compiler nothing fails, and the tool
says which of the two it uses (`results/kernels.py`). `./run` and `./check` call this page when a kernel has changed,
and the build of a wheel calls it too. Beside each compiled kernel lies the digest of the source that it was made
from; a compiled kernel whose source has changed since is not used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from results.kernels import compiled_path, digest, digest_path, is_current, sources

__all__ = ["ROOT", "build", "compiled_path", "digest", "digest_path", "is_current", "main", "sources"]

ROOT = Path(__file__).resolve().parent
ONE = "--kernel"
"""The option that compiles one kernel, for `build_apart`."""


DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
"""How Cython is to translate: array accesses are not checked, and negative indexes do not count from the end."""


def build(source: Path) -> None:
    """Compiles one kernel in place. Raises whatever Cython or the compiler's driver raises."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    made_from = digest(source)
    relative = source.relative_to(ROOT)
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
        extensions = cythonize(  # type: ignore[no-untyped-call]
            [
                Extension(
                    ".".join(relative.with_suffix("").parts),
                    [str(relative)],
                    extra_compile_args=["-O2", "-Wno-unused-function", "-Wno-unused-variable"],
                )
            ],
            build_dir=folder,
            compiler_directives=DIRECTIVES,
        )
        digest_path(source).unlink(missing_ok=True)
        command = build_ext(Distribution({"ext_modules": extensions}))
        command.inplace = True
        command.build_temp = folder
        command.ensure_finalized()
        command.run()
    digest_path(source).write_text(made_from)


def build_apart(source: Path) -> str | None:
    """Compiles one kernel in a process of its own, as compilers print and may fail; answers what was said if it did."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "build_kernels.py"), ONE, str(source)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return None if is_current(source) else done.stdout


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Nobody else compiles the kernels of this checkout meanwhile: waits for who does."""
    name = hashlib.blake2b(str(ROOT).encode(), digest_size=8).hexdigest()
    with open(Path(tempfile.gettempdir(), f"multiraft-kernels-{os.getuid()}-{name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(quiet: bool) -> int:
    """0 if every kernel is compiled, 1 if some are not; then they run interpreted."""
    with alone():
        stale = [source for source in sources() if not is_current(source)]
        if not stale:
            return 0
        print(f"Compiling {len(stale)} kernels ...", file=sys.stderr, flush=True)
        with ThreadPoolExecutor(os.cpu_count() or 1) as several:
            said = dict(zip(stale, several.map(build_apart, stale), strict=True))
    left = {source: text for source, text in said.items() if text is not None}
    if not left:
        return 0
    if not quiet:
        print("\n".join(left.values()), file=sys.stderr)
    names = ", ".join(str(source.relative_to(ROOT)) for source in left)
    why = "python build_kernels.py shows why; a C compiler and Python's headers are needed"
    print(f"Not compiled, so slower, with the same verdicts: {names} ({why})", file=sys.stderr)
    return 1


if __name__ == "__main__":
    if ONE in sys.argv:
        os.chdir(ROOT)
        build(Path(sys.argv[sys.argv.index(ONE) + 1]))
    else:
        sys.exit(main("--quiet" in sys.argv[1:]))
