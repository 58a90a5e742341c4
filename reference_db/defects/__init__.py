"""Planted defects: deliberate bugs by name, each one small module that overrides one rule from outside.

A module here is a defect: its file's name, with hyphens, is the name on the command line, and the first line of its
docstring says what it does. `plant(node)` puts it into a node that was made and not yet started. Constants say where
it belongs and how it should be found, see `Defect`; `describe` reads them.

A defect changes objects of the node that it is planted in, never a class or a module that other nodes use: many runs
share a process. Most take an object's place by a subclass of its own (`become`), which overrides one method.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

import msgspec

from reference_db.node import Node
from reference_db.raft import RaftGroup
from reference_db.ranges.descriptor import Descriptor
from reference_db.ranges.replica import Replica
from reference_db.txn.evaluate import Leadership

T = TypeVar("T")

LAYERS = (
    "election",
    "commit",
    "log",
    "read",
    "lease",
    "membership",
    "apply",
    "snapshot",
    "storage",
    "transaction",
    "follower read",
    "split",
    "merge",
    "move",
    "sleep",
)
ROUTES = {
    "H": "history checker",
    "I": "invariant of the running nodes",
    "A": "audit of the final state",
    "C": "exact count",
    "L": "liveness probe",
}
"""How a defect may be found."""

OWN: dict[str, Any] = {"layer": "transaction", "routes": ("H", "I", "A"), "workload": "", "nemesis": "all"}
"""What holds for a defect from elsewhere whose module doesn't say."""


class Defect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a module says of its defect, in constants of these names in capitals."""

    name: str
    caption: str
    """What it does, in a sentence."""
    layer: str
    """One of `LAYERS`."""
    routes: tuple[str, ...]
    """Keys of `ROUTES`; the expected first detector comes first."""
    workload: str
    """The workload that should find it; empty: any."""
    nemesis: str
    """The faults that it takes, as on the command line; empty: none."""
    nodes: int = 3
    """How many nodes it takes at least."""
    system_options: dict[str, Any] = {}
    """What the database must be set to."""
    scenario: dict[str, Any] = {}
    """Other fields of a scenario in which its story is likely: replication, ranges, rate, operation_timeout ..."""
    seeds: tuple[int, ...] = ()
    """Seeds that are known to find it with this workload and nemesis, smallest first."""
    directed: str | None = None
    """The directed schedule that shows it, a module of `reference_db.directed`; None if there is none."""
    witnessed: str | None = None
    """The directed schedule whose clients keep a history that shows it, a module of `reference_db.directed` with
    `witnessed`: random search hardly comes to a history that does."""
    reachable: bool = True
    """Whether a whole database can be led into it. If not, only its directed schedule shows it."""


def defect_names() -> list[str]:
    """All defects, as on the command line."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def describe(name: str) -> Defect:
    """What is said of a defect. Raises ValueError for one that says too little, or something impossible."""
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return _described(name, module, {})


def describe_own(name: str) -> Defect:
    """What is said of a defect from elsewhere, `module:attribute`. Its module need say nothing: then any workload may
    find it, with any fault. Raises ValueError if it cannot be had, or says something impossible."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"defect {name}: {error}; module:function must be importable from where you are (PYTHONPATH)"
        ) from error
    if not callable(getattr(module, attribute, None)):
        raise ValueError(f"defect {name}: {module_name} has no function {attribute!r} that takes a node")
    return _described(name, module, OWN)


def _described(name: str, module: ModuleType, usual: dict[str, Any]) -> Defect:
    said: dict[str, Any] = {
        field: getattr(module, field.upper())
        for field in Defect.__struct_fields__
        if field not in ("name", "caption") and hasattr(module, field.upper())
    }
    try:
        defect = msgspec.convert({"name": name, "caption": _caption(module), **usual, **said}, type=Defect)
    except msgspec.ValidationError as error:
        raise ValueError(f"defect {name}: {error}; each defect needs {', '.join(_needed())}") from error
    unknown = [route for route in defect.routes if route not in ROUTES]
    if defect.layer not in LAYERS or unknown or not defect.routes:
        raise ValueError(
            f"defect {name}: layer {defect.layer!r}, routes {defect.routes}; layers are {', '.join(LAYERS)}, "
            f"routes {', '.join(ROUTES)}"
        )
    if not defect.reachable and defect.directed is None:
        raise ValueError(f"defect {name} is not reachable and names no directed schedule: nothing shows it")
    return defect


def _caption(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().partition("\n")[0]


def _needed() -> tuple[str, ...]:
    return tuple(field.upper() for field in ("layer", "routes", "workload", "nemesis"))


# For those who plant.


def become(thing: T, kind: type[T]) -> None:
    """This one object behaves as `kind` from now on, a subclass of its class that adds no fields."""
    was = type(thing)
    assert was in kind.__mro__[1:], f"{kind.__name__} is no subclass of {was.__name__}"
    thing.__class__ = kind


def when_leading(replica: Replica, change: Callable[[Leadership], None]) -> None:
    """Have `change` done to what a replica remembers, each time that it begins to lead."""
    may_serve = replica._may_serve

    def may_serve_with_defect() -> bool:
        before = replica.leadership
        answer = may_serve()
        leadership = replica.leadership
        if leadership is not None and leadership is not before:
            change(leadership)
        return answer

    replica._may_serve = may_serve_with_defect  # type: ignore[method-assign]


def in_replicas(node: Node, plant_in: Callable[[Replica], None]) -> None:
    """Plant in every replica of a node, and in those that splits bring."""
    for replica in node.store.replicas.values():
        plant_in(replica)
    add = node.store._add

    def add_with_defect(descriptor: Descriptor) -> Replica:
        replica = add(descriptor)
        plant_in(replica)
        return replica

    node.store._add = add_with_defect  # type: ignore[method-assign]


def in_groups(node: Node, plant_in: Callable[[RaftGroup], None]) -> None:
    """Plant in the Raft group of every replica of a node."""
    in_replicas(node, lambda replica: plant_in(replica.group))
