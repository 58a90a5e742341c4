"""Sequential models by name: what each kind of object does when one operation happens at a time.

`MODELS` has a maker for each name as it stands on the command line; `model_named("kv")` makes one. Further arguments
(an initial value, the permits of a semaphore) go to the maker. A model of one's own is a `GivenModel` made of two
functions, or a subclass of `SequentialModel`; both pages have an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from checkers.linearizability.models.containers import (
    Bag,
    FifoQueue,
    GrowSet,
    PriorityQueue,
    RemovableSet,
    Stack,
)
from checkers.linearizability.models.counters import Counter
from checkers.linearizability.models.given import GivenModel
from checkers.linearizability.models.locks import FencedLock, Mutex, OwnedMutex, Semaphore
from checkers.linearizability.models.maps import AppendMap, MultiRegister
from checkers.linearizability.models.model import (
    NOTHING,
    Footprint,
    Model,
    NoFunctionError,
    SequentialModel,
    State,
    no_function,
    show,
)
from checkers.linearizability.models.registers import CasRegister, Register

MODELS: Final[Mapping[str, Callable[..., SequentialModel]]] = {
    "register": Register,
    "cas-register": CasRegister,
    "multi-register": MultiRegister,
    "kv": AppendMap,
    "set": GrowSet,
    "set-full": GrowSet,
    "removable-set": RemovableSet,
    "counter": Counter,
    "queue": FifoQueue,
    "unordered-queue": Bag,
    "stack": Stack,
    "priority-queue": PriorityQueue,
    "mutex": Mutex,
    "owned-mutex": OwnedMutex,
    "fenced-lock": FencedLock,
    "semaphore": Semaphore,
}
"""What makes the model of each name."""


def model_named(name: str, **arguments: Any) -> SequentialModel:
    """The model of that name. Raises ValueError for an unknown one."""
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; models are {', '.join(MODELS)}")
    return MODELS[name](**arguments)


__all__ = [
    "MODELS",
    "NOTHING",
    "AppendMap",
    "Bag",
    "CasRegister",
    "Counter",
    "FencedLock",
    "FifoQueue",
    "Footprint",
    "GivenModel",
    "GrowSet",
    "Model",
    "MultiRegister",
    "Mutex",
    "NoFunctionError",
    "OwnedMutex",
    "PriorityQueue",
    "Register",
    "RemovableSet",
    "Semaphore",
    "SequentialModel",
    "Stack",
    "State",
    "model_named",
    "no_function",
    "show",
]
