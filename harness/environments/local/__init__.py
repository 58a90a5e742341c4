"""The environment `local`: real processes on loopback, a proxy per directed link in a process of its own.

The supervisor and the proxy are processes that start from this package, and should start fast; so the environment
itself is imported when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.environments.local.environment import LocalEnvironment

__all__ = ["LocalEnvironment"]


def __getattr__(name: str) -> Any:
    if name == "LocalEnvironment":
        from harness.environments.local.environment import LocalEnvironment

        return LocalEnvironment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
