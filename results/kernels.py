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

_PACKAGES: Final = ("results.", "checkers.")
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
    compiled = _compiled(source)
    if wanted != INTERPRETED and _is_current(source, compiled) and all_are_current():
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
    root = Path(__file__).resolve().parents[1]
    for package in _PACKAGES:
        for folder, inner, names in os.walk(root / package[:-1]):
            inner[:] = [name for name in inner if name not in _WITHOUT_KERNELS]
            for name in names:
                source = Path(folder, name)
                if name.endswith(f"{SUFFIX}.py") and not _is_current(source, _compiled(source)):
                    return False
    return True


def _compiled(source: Path) -> Path:
    """Where the compiled form of a kernel lies for this Python."""
    return source.with_name(source.stem + sysconfig.get_config_var("EXT_SUFFIX"))


def _is_current(source: Path, compiled: Path) -> bool:
    try:
        made_from = compiled.with_name(compiled.name + ".digest").read_text()
        return compiled.is_file() and made_from == _digest(source)
    except OSError:
        return False


def _digest(source: Path) -> str:
    return hashlib.blake2b(source.read_bytes(), digest_size=16).hexdigest()


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
