"""Where the modules of a program know certain functions, beside where these live: what the guards must replace too.

A function is known to a module that imported it by name, to a class that was given it in its body, to a function as the
default of an argument, and to a `functools.partial`. A closure or an object that keeps one is not found.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

_OUR_OWN = frozenset(f"harness.environments.simulation.{name}" for name in ("guards", "known_places"))
_KEPT = ("_real_clock", "_real_all_tasks")
"""What keeps the real ones on purpose: modules, and names of others."""

Place = tuple[Callable[[Any], object], Any, Any]
"""How to put something there, what is there, what shall be there."""

_scanned: tuple[int, list[Place]] = (0, [])


def known_elsewhere(by_identity: dict[int, tuple[Any, Any]]) -> list[Place]:
    """The places outside of the standard library that know one of the replaced functions. Remembered until another
    module is loaded."""
    global _scanned
    if _scanned[0] != len(sys.modules):
        found: list[Place] = []
        for module_name, module in sorted(sys.modules.items()):
            top = module_name.partition(".")[0]
            if top in sys.stdlib_module_names or module is None or module_name in _OUR_OWN:
                continue
            for name, value in list(vars(module).items()):
                new = _instead(value, by_identity)
                if new is not None:
                    if name not in _KEPT:
                        found.append((functools.partial(setattr, module, name), value, new))
                elif isinstance(value, type):
                    if value.__module__ == module_name:
                        found += _known_to_class(value, by_identity)
                else:
                    found += _known_to_callable(value, by_identity)
        _scanned = (len(sys.modules), found)
    return _scanned[1]


def _instead(value: Any, by_identity: dict[int, tuple[Any, Any]]) -> Any:
    """What replaces this value; None if it is not one of the replaced."""
    real, new = by_identity.get(id(value), (None, None))
    return new if real is value else None


def _known_to_class(owner: type, by_identity: dict[int, tuple[Any, Any]]) -> Iterator[Place]:
    for name, value in list(vars(owner).items()):
        inner = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        new = _instead(inner, by_identity)
        if new is None:
            yield from _known_to_callable(inner, by_identity)
        else:
            # A function of C in the body of a class takes no `self`, so ours may not either.
            yield functools.partial(setattr, owner, name), value, staticmethod(new)


def _known_to_callable(value: Any, by_identity: dict[int, tuple[Any, Any]]) -> Iterator[Place]:
    if isinstance(value, types.FunctionType):
        defaults, named = value.__defaults__ or (), value.__kwdefaults__ or {}
        if any(_instead(one, by_identity) is not None for one in defaults):
            changed = tuple(_instead(one, by_identity) or one for one in defaults)
            yield functools.partial(setattr, value, "__defaults__"), defaults, changed
        if any(_instead(one, by_identity) is not None for one in named.values()):
            renamed = {name: _instead(one, by_identity) or one for name, one in named.items()}
            yield functools.partial(setattr, value, "__kwdefaults__"), named, renamed
    elif isinstance(value, functools.partial):
        new = _instead(value.func, by_identity)
        if new is not None:
            put: Callable[[Any], object] = value.__setstate__  # type: ignore[attr-defined]
            state = value.args, value.keywords, value.__dict__
            yield put, (value.func, *state), (new, *state)
