"""Compiles the kernels in place: the modules named `*_kernel.py`, written in Cython's pure-Python mode.

    python build_kernels.py [--quiet]

A kernel is ordinary Python and runs as it is, only slower: where there is no C compiler nothing fails, and the tool
says which of the two it uses (`results/kernels.py`). `./run` and `./check` call this page when a kernel has changed,
and the build of a wheel calls it too. Beside each compiled kernel lies the digest of the source that it was made
from; a compiled kernel whose source has changed since is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGES = ("results", "checkers")
"""Where kernels may be."""

DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
"""How Cython is to translate: array accesses are not checked, and negative indexes do not count from the end."""


def kernels() -> list[Path]:
    """The sources of all kernels, in order."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*_kernel.py"))


def compiled_path(source: Path) -> Path:
    """Where the compiled kernel of a source lies for this Python."""
    return source.with_suffix("").with_name(source.stem + sysconfig.get_config_var("EXT_SUFFIX"))


def digest_path(source: Path) -> Path:
    """Where the digest of the source lies that the compiled kernel was made from."""
    compiled = compiled_path(source)
    return compiled.with_name(compiled.name + ".digest")


def digest(source: Path) -> str:
    return hashlib.blake2b(source.read_bytes(), digest_size=16).hexdigest()


def is_current(source: Path) -> bool:
    """Whether the compiled kernel was made from the source as it is now."""
    try:
        return compiled_path(source).is_file() and digest_path(source).read_text() == digest(source)
    except OSError:
        return False


def build(sources: list[Path], folder: Path, *, quiet: bool) -> list[Path]:
    """Compiles kernels with `folder` for what lies about meanwhile; returns those that could not be compiled."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    digests = {source: digest(source) for source in sources}
    extensions = cythonize(  # type: ignore[no-untyped-call]
        [
            Extension(
                ".".join(source.relative_to(ROOT).with_suffix("").parts),
                [str(source.relative_to(ROOT))],
                extra_compile_args=["-O2", "-Wno-unused-function", "-Wno-unused-variable"],
            )
            for source in sources
        ],
        build_dir=str(folder),
        compiler_directives=DIRECTIVES,
        quiet=quiet,
    )
    for extension in extensions:
        extension.optional = True  # One that cannot be compiled must not keep the others from it.
    for source in sources:
        digest_path(source).unlink(missing_ok=True)
    command = build_ext(Distribution({"ext_modules": extensions}))
    command.inplace = True
    command.build_temp = str(folder)
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()
    for source in sources:
        if compiled_path(source).is_file():
            digest_path(source).write_text(digests[source])
    return [source for source in sources if not is_current(source)]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing is printed inside, by compilers neither, which know only file descriptors."""
    saved = [os.dup(number) for number in (1, 2)]
    with open(os.devnull, "w") as nowhere:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def main(quiet: bool) -> int:
    """0 if every kernel is compiled, 1 if some are not; then they run interpreted."""
    os.chdir(ROOT)
    stale = [source for source in kernels() if not is_current(source)]
    if not stale:
        return 0
    print(f"Compiling {len(stale)} kernels of the checkers ...", file=sys.stderr, flush=True)
    reason = "see the compiler's messages above"
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder, contextlib.ExitStack() as stack:
        if quiet:
            stack.enter_context(_silence())
            reason = "python build_kernels.py shows why; a C compiler and Python's headers are needed"
        try:
            left = build(stale, Path(folder), quiet=quiet)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever is wrong with the compiler, kernels run.
            left, reason = [s for s in stale if not is_current(s)], f"{type(error).__name__}: {error}"
    if left:
        names = ", ".join(str(source.relative_to(ROOT)) for source in left)
        print(f"Not compiled, so slower, with the same verdicts: {names} ({reason})", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main("--quiet" in sys.argv[1:]))
