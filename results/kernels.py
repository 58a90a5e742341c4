"""Whether kernels run compiled or interpreted: in one process all do the same.

A *kernel* is a module named `*_kernel.py`, written in Cython's pure-Python mode: one source that runs anywhere and is
compiled by `build_kernels.py` where there is a C compiler. Importing one gives the compiled form only if every kernel
has one that was made from its source as it is now: they hand each other arrays or lists, as their form asks for. So
while some are still to be compiled, or one was edited, all run interpreted. A process decides once.

The environment variable `HARNESS_KERNELS` decides otherwise: `interpreted` never takes a compiled kernel, `compiled`
refuses to run one interpreted.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Final

SUFFIX: Final = "_kernel"
VARIABLE: Final = "HARNESS_KERNELS"
INTERPRETED: Final = "interpreted"
COMPILED: Final = "compiled"

_PACKAGES: Final = ("results.", "checkers.", "harness.")
_WITHOUT_KERNELS: Final = frozenset({"__pycache__", "front_end"})
"""Folders that are not looked into."""


class KernelFinder:
    """Finds kernels for `import`; first in `sys.meta_path`, and silent about all other modules."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.endswith(SUFFIX) or not name.startswith(_PACKAGES) or path is None:
            return None
        for folder in path:
            source = Path(folder, f"{name.rpartition('.')[2]}.py")
            if source.is_file():
                return _spec(name, source)
        return None


def _spec(name: str, source: Path) -> ModuleSpec | None:
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", INTERPRETED, COMPILED):
        raise ImportError(f"{VARIABLE}={wanted!r} must be {INTERPRETED!r}, {COMPILED!r} or not be set")
    if wanted != INTERPRETED and is_current(source) and all_are_current():
        compiled = compiled_path(source)
        loader = ExtensionFileLoader(name, str(compiled))
        return importlib.util.spec_from_file_location(name, compiled, loader=loader)
    if wanted == COMPILED:
        raise ImportError(
            f"{VARIABLE}={COMPILED}, but not every kernel is compiled as it is now; python build_kernels.py does it"
        )
    return importlib.util.spec_from_file_location(name, source, loader=SourceFileLoader(name, str(source)))


@functools.cache
def all_are_current() -> bool:
    """Whether every kernel has a compiled form, made from its source as it is now; looked at once in a process."""
    return all(is_current(source) for source in sources())


def sources() -> list[Path]:
    """The sources of all kernels, in order."""
    root = Path(__file__).resolve().parents[1]
    found = []
    for package in _PACKAGES:
        for folder, inner, names in os.walk(root / package[:-1]):
            inner[:] = [name for name in inner if name not in _WITHOUT_KERNELS]
            found += [Path(folder, name) for name in names if name.endswith(f"{SUFFIX}.py")]
    return sorted(found)


def compiled_path(source: Path) -> Path:
    """Where the compiled form of a kernel lies for this Python."""
    return source.with_name(source.stem + sysconfig.get_config_var("EXT_SUFFIX"))


def digest_path(source: Path) -> Path:
    """Where the digest of the source lies that the compiled form was made from."""
    compiled = compiled_path(source)
    return compiled.with_name(compiled.name + ".digest")


def digest(source: Path) -> str:
    """Tells one state of a source from another."""
    return hashlib.blake2b(source.read_bytes(), digest_size=16).hexdigest()


def is_current(source: Path) -> bool:
    """Whether the compiled form is there and was made from the source as it is now."""
    try:
        return compiled_path(source).is_file() and digest_path(source).read_text() == digest(source)
    except OSError:
        return False


def install() -> None:
    """Makes `import` find kernels by the rules of this page; called when `results` is imported."""
    if KernelFinder not in sys.meta_path:
        sys.meta_path.insert(0, KernelFinder)


def is_compiled(kernel: ModuleType) -> bool:
    """Whether an imported kernel runs compiled."""
    return isinstance(getattr(kernel.__spec__, "loader", None), ExtensionFileLoader)


def load_interpreted(kernel: ModuleType) -> ModuleType:
    """The same kernel from its source, as a module of its own; to compare the two forms."""
    package, _, name = kernel.__name__.rpartition(".")
    folder = Path(str(sys.modules[package].__file__)).parent
    source = folder / f"{name}.py"
    loader = SourceFileLoader(f"{kernel.__name__}_{INTERPRETED}", str(source))
    spec = importlib.util.spec_from_file_location(loader.name, source, loader=loader)
    assert spec is not None, f"no module can be made of {source}"
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module
