"""Which kernels run compiled, and which interpreted.

A *kernel* is a module named `*_kernel.py`, written in Cython's pure-Python mode: one source that runs anywhere and is
compiled by `build_kernels.py` where there is a C compiler. Importing one gives the compiled form only if it was made
from the source as it is now; an edited kernel runs interpreted until it is compiled again.

The environment variable `HARNESS_KERNELS` decides otherwise: `interpreted` never takes a compiled kernel, `compiled`
refuses to run one interpreted.
"""

from __future__ import annotations

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
    compiled = source.with_name(source.stem + sysconfig.get_config_var("EXT_SUFFIX"))
    if wanted != INTERPRETED and _is_current(source, compiled):
        loader = ExtensionFileLoader(name, str(compiled))
        return importlib.util.spec_from_file_location(name, compiled, loader=loader)
    if wanted == COMPILED:
        raise ImportError(
            f"{VARIABLE}={COMPILED}, but {source.name} is not compiled as it is now; python build_kernels.py does it"
        )
    return importlib.util.spec_from_file_location(name, source, loader=SourceFileLoader(name, str(source)))


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
