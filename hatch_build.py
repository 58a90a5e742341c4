"""Puts the compiled kernels into a wheel where they could be compiled; else the wheel is pure Python, and slower."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent))


class KernelsBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's hook: called once for each wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        import build_kernels

        build_kernels.main(quiet=True)
        compiled = [source for source in build_kernels.sources() if build_kernels.is_current(source)]
        for source in compiled:
            for path in (build_kernels.compiled_path(source), build_kernels.digest_path(source)):
                build_data["force_include"][str(path)] = str(path.relative_to(build_kernels.ROOT))
        if compiled:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
