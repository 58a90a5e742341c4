"""What others have written and installed, found by name: entry points, and objects at `module:name`.

It lies on the lowest floor that asks for it: the registry of models does, and the harness's catalog for systems,
workloads and nemeses. Rules that live here:
- Nothing is imported before somebody names it; a plug-in that is broken disturbs nobody who does not use it.
- Names of the house win: an entry point with such a name is never asked for.
- Whatever is wrong is said with the reference, the rule and the way out, and blames the page that is to blame.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

GROUPS: Final[dict[str, str]] = {
    "system": "harness.systems",
    "workload": "harness.workloads",
    "nemesis": "harness.nemeses",
    "checker": "harness.checkers",
}
"""Kind of plug-in -> the group of entry points in which it is found."""

REFERENCE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""`module:name`, either with dots."""


class PlugInError(ValueError):
    """A plug-in that was named is not there, cannot be loaded, or is something else than it should be."""


@dataclass(frozen=True)
class Found:
    """An entry point."""

    name: str
    reference: str
    """`module:name` of what it stands for."""
    package: str
    """The distribution that brings it, with its version."""


def is_reference(name: str) -> bool:
    """Whether a name has the form `module:name`."""
    return REFERENCE.fullmatch(name) is not None


def found(kind: str) -> dict[str, Found]:
    """The entry points of a kind by name, sorted. Of two with the same name the later distribution is left out here,
    and `load` refuses the name."""
    return {one.name: one for one in reversed(_entry_points(kind))}


def _entry_points(kind: str) -> list[Found]:
    # Here, since it brings e-mail and sockets with it, and who judges a history needs none of that.
    from importlib import metadata

    seen = set()
    for point in metadata.entry_points(group=GROUPS[kind]):
        package = (
            f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown package"
        )
        seen.add(Found(point.name, point.value.replace(" ", ""), package))
    return sorted(seen, key=lambda one: (one.name, one.package))


def load(kind: str, name: str, house: Iterable[str]) -> Any:
    """The object that `module:name`, or an entry point of this name, stands for; `house` are the names that are no
    plug-ins. Raises PlugInError."""
    if ":" in name:
        return load_reference(kind, name)
    points = [one for one in _entry_points(kind) if one.name == name]
    if len(points) > 1:
        raise PlugInError(
            f"{kind} {name!r} is brought by {' and by '.join(one.package for one in points)}; name the one you mean "
            f"as module:name: {' or '.join(one.reference for one in points)}"
        )
    if points:
        return load_reference(kind, points[0].reference)
    known = [*house, *found(kind)]
    kinds = "nemeses" if kind == "nemesis" else f"{kind}s"
    raise PlugInError(
        f"unknown {kind} {name!r}; the {kinds} are {', '.join(known)}; one of your own is named module:name"
    )


def load_reference(kind: str, reference: str) -> Any:
    """The object at `module:name`. Raises PlugInError."""
    if not is_reference(reference):
        raise PlugInError(
            f"{kind} {reference!r}: must be a name of `harness list`, or module:name of one of your own, such as "
            "my_package.my_page:MyClass"
        )
    module_name, _, path = reference.partition(":")
    thing = _module(kind, reference, module_name)
    for part in path.split("."):
        try:
            thing = getattr(thing, part)
        except AttributeError as error:
            public = [
                name
                for name, one in vars(thing).items()
                if not name.startswith("_") and inspect.isclass(one) and one.__module__ == module_name
            ]
            raise PlugInError(
                f"{kind} {reference!r}: {module_name} has no {part}; "
                + (f"its classes are {', '.join(public)}" if public else "it has no class of its own")
            ) from error
    return thing


def _module(kind: str, reference: str, name: str) -> Any:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        # As `python -m harness` has it; an installed `harness` would not see the folder it was called in.
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if name == missing or name.startswith(missing + "."):
            raise PlugInError(
                f"{kind} {reference!r}: there is no module {missing}; a module is looked for in the present folder "
                f"({here}), on PYTHONPATH, and among what is installed for {sys.executable}"
            ) from error
        raise PlugInError(
            f"{kind} {reference!r}: {name} needs the module {missing}, which is not installed; "
            f"install it for {sys.executable}"
        ) from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise PlugInError(
            f"{kind} {reference!r}: importing {name} raised {type(error).__name__}: {error} "
            f"({last.filename}, line {last.lineno})"
        ) from error


def members_of(role: type) -> list[str]:
    """The public names that a role (a protocol) demands, sorted."""
    names = {
        name
        for part in role.__mro__
        if getattr(part, "_is_protocol", False)
        for name in (*vars(part), *vars(part).get("__annotations__", {}))
    }
    return sorted(name for name in names if not name.startswith("_"))


def require_members(kind: str, reference: str, thing: Any, role: type) -> None:
    """Raises PlugInError with everything that a thing lacks to play its role."""
    lacking = [name for name in members_of(role) if not hasattr(thing, name)]
    if lacking:
        raise PlugInError(
            f"{kind} {reference!r}: {type(thing).__name__} is no {kind}: it lacks {', '.join(lacking)}; "
            f"see {role.__module__}.{role.__name__} and docs/plug-in.md"
        )


def require_arguments(kind: str, reference: str, factory: Any, *arguments: Any, **named: Any) -> None:
    """Raises PlugInError for something that cannot be called like this."""
    if not callable(factory):
        raise PlugInError(
            f"{kind} {reference!r}: must be a class, and is {type(factory).__name__} {factory!r:.80}"
        )
    try:
        inspect.signature(factory).bind(*arguments, **named)
    except TypeError as error:
        taken = ", ".join(
            [*(f"<{type(one).__name__}>" for one in arguments), *(f"{name}=" for name in named)]
        )
        raise PlugInError(
            f"{kind} {reference!r}: cannot be made: {error}; it is called with ({taken})"
        ) from error
    except ValueError:
        return  # No signature that could be looked at.
